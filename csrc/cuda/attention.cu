// Attention on tensor cores with an online softmax: the scores of 64 queries with 64 keys at a time live in registers,
// and no matrix of scores is ever written (arXiv 2205.14135).
//
// A block has four warps, each with 16 queries of one (sequence, head). A lane holds, of the rows `lane / 4` and eight
// further on, two neighbouring columns of every eight: see tensor_cores.h. What a product leaves in registers is what
// the next one reads, so the softmax happens there too.

#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/tensor_cores.h"

namespace bertcpp::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;
constexpr int kTileKeys = 64;
static_assert(kTileQueries == kWarps * 16);

// One (sequence, head) and where its rows begin.
template <class T>
struct Head {
  const T* q;
  const T* k;
  const T* v;
  int64_t stride;
  int length;
  int keys;
  int head_dim;
};

template <class T>
__device__ Head<T> head_of(const AttentionArgs<T>& args, int sequence, int head) {
  const int32_t begin = args.sequences.cu_seqlens[sequence];
  const int64_t width = static_cast<int64_t>(args.heads) * args.head_dim;
  const T* q = args.qkv.data + begin * args.qkv.stride + static_cast<int64_t>(head) * args.head_dim;
  return {q,
          q + width,
          q + 2 * width,
          args.qkv.stride,
          args.sequences.cu_seqlens[sequence + 1] - begin,
          args.sequences.key_lens[sequence],
          args.head_dim};
}

// Two neighbours of a row; 0 past the last row or the last element.
template <class T>
__device__ uint32_t row_pair(const T* rows, int64_t stride, int row, int num_rows, int element, int n) {
  if (row >= num_rows) return 0;
  const T zero = from_float<T>(0.0f);
  const T* from = rows + row * stride + element;
  return pair(element < n ? from[0] : zero, element + 1 < n ? from[1] : zero);
}

// The same element of two neighbouring rows.
template <class T>
__device__ uint32_t column_pair(const T* rows, int64_t stride, int row, int num_rows, int element, int n) {
  if (element >= n) return 0;
  const T zero = from_float<T>(0.0f);
  const T* from = rows + row * stride + element;
  return pair(row < num_rows ? from[0] : zero, row + 1 < num_rows ? from[stride] : zero);
}

// The bias between a query and a key; 0 where the model has none.
template <class T>
struct PositionBias {
  const float* table;      // this head's, at distance 0, or null
  const int32_t* columns;  // the sequence's, or null

  __device__ PositionBias(const AttentionArgs<T>& args, int sequence, int head)
      : table(args.position_bias == nullptr
                  ? nullptr
                  : args.position_bias + head * (2 * args.max_distance + 1) + args.max_distance),
        columns(args.sequences.columns == nullptr ? nullptr
                                                  : args.sequences.columns + args.sequences.cu_seqlens[sequence]) {}
  __device__ float operator()(int query, int key) const {
    if (table == nullptr) return 0.0f;
    return table[columns == nullptr ? key - query : columns[key] - columns[query]];
  }
};

// Of two rows: the largest score so far, the sum of exp(score - top), and how often a lane's share of it is scaled.
struct Softmax {
  float top[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0.0f, 0.0f};

  // scores = exp(scores - top) with the top of all keys so far; returns in `factor` what earlier sums shrink by.
  __device__ void add(float (&scores)[kTileKeys / 8][4], float (&factor)[2]) {
    BERTCPP_UNROLL
    for (int r = 0; r < 2; ++r) {
      float largest = top[r];
      BERTCPP_UNROLL
      for (int n = 0; n < kTileKeys / 8; ++n) {
        largest = fmaxf(largest, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
      }
      // The four lanes that share a row.
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
      factor[r] = expf(top[r] - largest);
      top[r] = largest;
      sum[r] *= factor[r];
      BERTCPP_UNROLL
      for (int n = 0; n < kTileKeys / 8; ++n) {
        BERTCPP_UNROLL
        for (int e = 2 * r; e < 2 * r + 2; ++e) {
          scores[n][e] = expf(scores[n][e] - largest);
          sum[r] += scores[n][e];
        }
      }
    }
  }

  __device__ float inverse(int r) const {
    float total = sum[r] + __shfl_xor_sync(kAllLanes, sum[r], 1);
    total += __shfl_xor_sync(kAllLanes, total, 2);
    return 1.0f / total;
  }
};

// Keys and values of a tile in pairs: of neighbouring elements of a key, and of one element of neighbouring values. The
// strides put what a warp reads at once into 32 different banks.
template <int kHeadDim>
struct Tile {
  uint32_t keys[kTileKeys][kHeadDim / 2 + 4];
  uint32_t values[kTileKeys / 2][kHeadDim + 8];
};

template <class T, int kHeadDim>
__device__ void load_tile(const Head<T>& head, int first, Tile<kHeadDim>& tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * kHeadDim / 2; i += kThreads) {
    const int key = i / (kHeadDim / 2);
    const int element = i % (kHeadDim / 2);
    tile.keys[key][element] = row_pair(head.k, head.stride, first + key, head.keys, 2 * element, head.head_dim);
  }
  for (int i = static_cast<int>(threadIdx.x); i < kTileKeys / 2 * kHeadDim; i += kThreads) {
    const int two = i / kHeadDim;
    const int element = i % kHeadDim;
    tile.values[two][element] = column_pair(head.v, head.stride, first + 2 * two, head.keys, element, head.head_dim);
  }
}

// scores[16, kTileKeys] = scale q k^T + bias of a warp's 16 queries from `query` on; -infinity past the last key.
template <class T, int kHeadDim>
__device__ void score_tile(const Head<T>& head, const PositionBias<T>& bias, float scale, int query, int first,
                           const Tile<kHeadDim>& tile, const uint32_t (&q)[kHeadDim / 16][4],
                           float (&scores)[kTileKeys / 8][4]) {
  const int row = static_cast<int>(threadIdx.x) % kWarp / 4;
  const int column = static_cast<int>(threadIdx.x) % 4;
  BERTCPP_UNROLL
  for (int n = 0; n < kTileKeys / 8; ++n) {
    BERTCPP_UNROLL
    for (int e = 0; e < 4; ++e) scores[n][e] = 0.0f;
    BERTCPP_UNROLL
    for (int d = 0; d < kHeadDim / 16; ++d) {
      const uint32_t* key = tile.keys[n * 8 + row] + d * 8 + column;
      multiply_add<T>(scores[n], q[d], key[0], key[4]);
    }
    BERTCPP_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int asking = query + row + e / 2 * 8;
      const int key = first + n * 8 + 2 * column + e % 2;
      // Multiplied apart from what follows: a fused subtraction of the largest score would not give 0 for itself.
      const float scaled = __fmul_rn(scores[n][e], scale);
      const bool inside = key < head.keys && asking < head.length;
      scores[n][e] = key < head.keys ? (inside ? scaled + bias(asking, key) : scaled) : -INFINITY;
    }
  }
}

// out[16, kHeadDim] = factor out + p[16, kTileKeys] v.
template <class T, int kHeadDim>
__device__ void accumulate_tile(const Tile<kHeadDim>& tile, const float (&p)[kTileKeys / 8][4],
                                const float (&factor)[2], float (&out)[kHeadDim / 8][4]) {
  const int row = static_cast<int>(threadIdx.x) % kWarp / 4;
  const int column = static_cast<int>(threadIdx.x) % 4;
  BERTCPP_UNROLL
  for (int n = 0; n < kHeadDim / 8; ++n) {
    BERTCPP_UNROLL
    for (int e = 0; e < 4; ++e) out[n][e] *= factor[e / 2];
  }
  BERTCPP_UNROLL
  for (int k = 0; k < kTileKeys / 16; ++k) {
    const float (&left)[4] = p[2 * k];
    const float (&right)[4] = p[2 * k + 1];
    const uint32_t a[4] = {
        pair(from_float<T>(left[0]), from_float<T>(left[1])), pair(from_float<T>(left[2]), from_float<T>(left[3])),
        pair(from_float<T>(right[0]), from_float<T>(right[1])), pair(from_float<T>(right[2]), from_float<T>(right[3]))};
    BERTCPP_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      multiply_add<T>(out[n], a, tile.values[k * 8 + column][n * 8 + row],
                      tile.values[k * 8 + 4 + column][n * 8 + row]);
    }
  }
}

template <class T, int kHeadDim>
__global__ void __launch_bounds__(kThreads) attention_kernel(const AttentionArgs<T> args) {
  __shared__ Tile<kHeadDim> tile;
  const QueryTile queries = args.sequences.tiles[blockIdx.x];
  const Head<T> head = head_of(args, queries.sequence, static_cast<int>(blockIdx.y));
  const PositionBias<T> bias(args, queries.sequence, static_cast<int>(blockIdx.y));
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int row = lane / 4;
  const int column = lane % 4;
  const int query = queries.query + static_cast<int>(threadIdx.x) / kWarp * 16;

  uint32_t q[kHeadDim / 16][4];
  BERTCPP_UNROLL
  for (int d = 0; d < kHeadDim / 16; ++d) {
    BERTCPP_UNROLL
    for (int e = 0; e < 4; ++e) {
      q[d][e] = row_pair(head.q, head.stride, query + row + e % 2 * 8, head.length, d * 16 + 2 * column + e / 2 * 8,
                         head.head_dim);
    }
  }
  float out[kHeadDim / 8][4] = {};
  float scores[kTileKeys / 8][4];
  float factor[2];
  Softmax softmax;
  for (int first = 0; first < head.keys; first += kTileKeys) {
    __syncthreads();  // the tile before has been read
    load_tile(head, first, tile);
    __syncthreads();
    score_tile(head, bias, args.scale, query, first, tile, q, scores);
    softmax.add(scores, factor);
    accumulate_tile<T>(tile, scores, factor, out);
  }
  BERTCPP_UNROLL
  for (int r = 0; r < 2; ++r) {
    const float inverse = softmax.inverse(r);  // by all lanes, also of rows past the end
    const int asking = query + row + r * 8;
    if (asking >= head.length) continue;
    T* to = args.context.data + (args.sequences.cu_seqlens[queries.sequence] + asking) * args.context.stride +
            static_cast<int64_t>(blockIdx.y) * args.head_dim;
    BERTCPP_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      BERTCPP_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int element = n * 8 + 2 * column + e;
        if (element < head.head_dim) to[element] = from_float<T>(out[n][2 * r + e] * inverse);
      }
    }
  }
}

}  // namespace

template <class T>
void attention(cudaStream_t stream, const AttentionArgs<T>& args) {
  const auto run = [&](auto kernel) { launch(stream, kernel, args.sequences.num_tiles, args.heads, kThreads, args); };
  if (args.head_dim <= 32) return run(attention_kernel<T, 32>);
  if (args.head_dim <= 64) return run(attention_kernel<T, 64>);
  if (args.head_dim <= 128) return run(attention_kernel<T, 128>);
  plain_attention(stream, args);
}

template <>
void attention<float>(cudaStream_t stream, const AttentionArgs<float>& args) {
  plain_attention(stream, args);
}

template void attention<__half>(cudaStream_t, const AttentionArgs<__half>&);
template void attention<__nv_bfloat16>(cudaStream_t, const AttentionArgs<__nv_bfloat16>&);

}  // namespace bertcpp::cuda
