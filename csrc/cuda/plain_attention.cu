// Attention on ordinary cores, a warp for each query: in float, for heads that tensor cores have no tile for, and where
// the probabilities are wanted.

#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/scalar.h"

namespace bertcpp::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;
constexpr int kPieces = 4;  // a pass over the keys sums up 4 * 32 elements of a query's context

// One query of one (sequence, head).
template <class T>
struct Query {
  const T* q;
  const T* k;  // the sequence's first
  const T* v;
  int64_t stride;
  int keys;
  int head_dim;
  float scale;
  const float* bias;       // this head's at distance 0, or null
  const int32_t* columns;  // the sequence's, or null
  int place;               // in the sequence

  // The score of a key; -infinity past the last one.
  __device__ float score(int key) const {
    if (key >= keys) return -INFINITY;
    const T* other = k + key * stride;
    float sum = 0.0f;
    for (int d = 0; d < head_dim; ++d) sum += to_float(q[d]) * to_float(other[d]);
    // Multiplied apart from what follows: a fused subtraction of the largest score would not give 0 for itself.
    const float scaled = __fmul_rn(sum, scale);
    if (bias == nullptr) return scaled;
    return scaled + bias[columns == nullptr ? key - place : columns[key] - columns[place]];
  }
};

template <class T>
__device__ Query<T> query_of(const AttentionArgs<T>& args, int sequence, int head, int place) {
  const DeviceSequences& sequences = args.sequences;
  const int32_t begin = sequences.cu_seqlens[sequence];
  const int64_t width = static_cast<int64_t>(args.heads) * args.head_dim;
  const T* first = args.qkv.data + begin * args.qkv.stride + static_cast<int64_t>(head) * args.head_dim;
  return {first + place * args.qkv.stride,
          first + width,
          first + 2 * width,
          args.qkv.stride,
          sequences.key_lens[sequence],
          args.head_dim,
          args.scale,
          args.position_bias == nullptr ? nullptr
                                        : args.position_bias + head * (2 * args.max_distance + 1) + args.max_distance,
          sequences.columns == nullptr ? nullptr : sequences.columns + begin,
          place};
}

// context[from, from + kPieces * 32) of a query, an element of each 32 in a lane.
template <class T>
__device__ void attend(const Query<T>& query, int from, T* context) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float sums[kPieces] = {};
  float top = -INFINITY;
  float total = 0.0f;
  for (int first = 0; first < query.keys; first += kWarp) {
    const float score = query.score(first + lane);
    const float largest = fmaxf(top, warp_max(score));
    const float factor = expf(top - largest);
    const float p = expf(score - largest);
    top = largest;
    total = total * factor + p;  // this lane's keys; all are summed up at the end
    BERTCPP_UNROLL
    for (int i = 0; i < kPieces; ++i) sums[i] *= factor;
    const int count = query.keys - first < kWarp ? query.keys - first : kWarp;
    for (int j = 0; j < count; ++j) {
      const float other = __shfl_sync(kAllLanes, p, j);
      const T* v = query.v + (first + j) * query.stride;
      BERTCPP_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        const int element = from + i * kWarp + lane;
        if (element < query.head_dim) sums[i] += other * to_float(v[element]);
      }
    }
  }
  const float inverse = 1.0f / warp_sum(total);
  BERTCPP_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    const int element = from + i * kWarp + lane;
    if (element < query.head_dim) context[element] = from_float<T>(sums[i] * inverse);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) plain_attention_kernel(const AttentionArgs<T> args) {
  const QueryTile tile = args.sequences.tiles[blockIdx.x];
  const int32_t begin = args.sequences.cu_seqlens[tile.sequence];
  const int length = args.sequences.cu_seqlens[tile.sequence + 1] - begin;
  const int head = static_cast<int>(blockIdx.y);
  const int end = tile.query + kTileQueries < length ? tile.query + kTileQueries : length;
  for (int place = tile.query + static_cast<int>(threadIdx.x) / kWarp; place < end; place += kWarps) {
    const Query<T> query = query_of(args, tile.sequence, head, place);
    T* context = args.context.data + (begin + place) * args.context.stride + static_cast<int64_t>(head) * args.head_dim;
    for (int from = 0; from < args.head_dim; from += kPieces * kWarp) attend(query, from, context);
  }
}

// row[length] = the probabilities of a query, 0 for what is not attended to.
template <class T>
__device__ void write_probabilities(const Query<T>& query, int length, float* row) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float top = -INFINITY;
  for (int key = lane; key < query.keys; key += kWarp) {
    row[key] = query.score(key);
    top = fmaxf(top, row[key]);
  }
  top = warp_max(top);
  float total = 0.0f;
  for (int key = lane; key < query.keys; key += kWarp) {
    row[key] = expf(row[key] - top);
    total += row[key];
  }
  const float inverse = 1.0f / warp_sum(total);
  for (int key = lane; key < length; key += kWarp) row[key] = key < query.keys ? row[key] * inverse : 0.0f;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    probabilities_kernel(const AttentionArgs<T> args, const int64_t* offsets, float* probabilities) {
  const QueryTile tile = args.sequences.tiles[blockIdx.x];
  const int length = args.sequences.cu_seqlens[tile.sequence + 1] - args.sequences.cu_seqlens[tile.sequence];
  const int head = static_cast<int>(blockIdx.y);
  const int end = tile.query + kTileQueries < length ? tile.query + kTileQueries : length;
  float* block = probabilities + args.heads * offsets[tile.sequence] + static_cast<int64_t>(head) * length * length;
  for (int place = tile.query + static_cast<int>(threadIdx.x) / kWarp; place < end; place += kWarps) {
    write_probabilities(query_of(args, tile.sequence, head, place), length,
                        block + static_cast<int64_t>(place) * length);
  }
}

}  // namespace

template <class T>
void plain_attention(cudaStream_t stream, const AttentionArgs<T>& args) {
  launch(stream, plain_attention_kernel<T>, args.sequences.num_tiles, args.heads, kThreads, args);
}

template <class T>
void attention_probabilities(cudaStream_t stream, const AttentionArgs<T>& args, const int64_t* offsets,
                             float* probabilities) {
  launch(stream, probabilities_kernel<T>, args.sequences.num_tiles, args.heads, kThreads, args, offsets, probabilities);
}

#define BERTCPP_PLAIN_ATTENTION(T)                                         \
  template void plain_attention<T>(cudaStream_t, const AttentionArgs<T>&); \
  template void attention_probabilities<T>(cudaStream_t, const AttentionArgs<T>&, const int64_t*, float*);
BERTCPP_PLAIN_ATTENTION(float)
BERTCPP_PLAIN_ATTENTION(__half)
BERTCPP_PLAIN_ATTENTION(__nv_bfloat16)

}  // namespace bertcpp::cuda
