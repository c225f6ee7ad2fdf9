// The kernels of a GPU that are not matrix products. Each function puts one kernel on the stream and throws DeviceError
// where it cannot; pointers are to the device's memory.
//
// Matrices are row-major, strides in elements. T is what products read: float, __half or __nv_bfloat16. The residual
// stream is float throughout, with a copy in T beside it where T is another type. No sum's order depends on the batch.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/kernels.h"

namespace bertcpp::cuda {

template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t stride = 0;
};

struct Norm {
  const float* weight;  // [n]
  const float* bias;    // [n]
  float eps;
};

// x[rows,n] = LayerNorm(word[id] + token_type[type] + position[place]), and its copy `low`.
template <class T>
struct EmbedArgs {
  Matrix<const T> word;
  Matrix<const T> position;
  Matrix<const T> token_type;   // data null where the model has none
  const float* inputs_embeds;   // [rows,n] in place of word[id], or null
  const int32_t* input_ids;     // [rows], or null with inputs_embeds
  const int32_t* position_ids;  // [rows]
  const int32_t* type_ids;      // [rows], or null for 0
  Norm norm;
  int64_t rows;
  int64_t n;
  Matrix<float> x;
  Matrix<T> low;  // data null where T is float
};
template <class T>
void embed(cudaStream_t stream, const EmbedArgs<T>& args);

// x[rows,n] = LayerNorm(y[rows,n] + bias[n] + x[rows,n]), and its copy `low`.
template <class T>
struct AddNormArgs {
  Matrix<const float> y;
  const float* bias;
  Norm norm;
  int64_t rows;
  int64_t n;
  Matrix<float> x;
  Matrix<T> low;  // data null where T is float
};
template <class T>
void add_norm(cudaStream_t stream, const AddNormArgs<T>& args);

// y[rows,n] = activation(x[rows,n] + bias[n]); bias may be null, y may be x.
template <class From, class To>
void map(cudaStream_t stream, Matrix<const From> x, const float* bias, Activation activation, int64_t rows, int64_t n,
         Matrix<To> y);

// y[i,:] = x[rows[i],:] for `count` rows of n.
template <class T>
void gather(cudaStream_t stream, Matrix<const T> x, const int32_t* rows, int64_t count, int64_t n, Matrix<T> y);

// A part of a sequence: kTileQueries queries from `query` on, or those that are left.
struct QueryTile {
  int32_t sequence;
  int32_t query;
};
constexpr int kTileQueries = 64;

// Sequences end to end, as layers/self_attention.h has them.
struct DeviceSequences {
  const int32_t* cu_seqlens;  // [num_sequences + 1]
  const int32_t* key_lens;    // [num_sequences]
  const int32_t* columns;     // [num_tokens], or null for 0, 1, 2 ... in each sequence
  const QueryTile* tiles;     // [num_tiles]: every query of every sequence once
  int64_t num_tiles;
};

// context[tokens, heads head_dim] = softmax(scale q k^T + bias) v over each sequence and head.
template <class T>
struct AttentionArgs {
  DeviceSequences sequences;
  Matrix<const T> qkv;         // [tokens, 3 heads head_dim]
  Matrix<T> context;           // not written by attention_probabilities
  const float* position_bias;  // [heads][2 max_distance + 1], or null
  int64_t max_distance;
  int32_t heads;
  int32_t head_dim;
  float scale;
};
template <class T>
void attention(cudaStream_t stream, const AttentionArgs<T>& args);
template <>
void attention<float>(cudaStream_t stream, const AttentionArgs<float>& args);
// The same one query at a time on ordinary cores: what `attention` does for float and for wide heads.
template <class T>
void plain_attention(cudaStream_t stream, const AttentionArgs<T>& args);

// Each sequence's [heads, length, length] probabilities from heads offsets[sequence] on.
template <class T>
void attention_probabilities(cudaStream_t stream, const AttentionArgs<T>& args, const int64_t* offsets,
                             float* probabilities);

// A caller's array [batch, columns, n] on the device as it lies there, strides in elements.
enum class Element { kFloat16, kBFloat16, kFloat32, kFloat64 };
struct CallerArray {
  const void* data;
  Element element;
  int64_t strides[3];
};
// y[count,n] = the cells of x that `cells` counts along batch and columns.
void gather_cells(cudaStream_t stream, const CallerArray& x, const int32_t* cells, int64_t columns, int64_t count,
                  int64_t n, float* y);

// y[places[i],:] = x[i,:] for `count` rows of n, those left out whose place is negative.
void scatter(cudaStream_t stream, Matrix<const float> x, const int32_t* places, int64_t count, int64_t n, float* y);

// out[batch, heads, columns, columns]: what attention_probabilities gave, each probability where its query and its key
// are among batch * columns. What belongs to no pair of tokens is not written.
struct ScatterProbabilitiesArgs {
  const float* probabilities;
  const int64_t* offsets;     // [num_sequences]
  const int32_t* cu_seqlens;  // [num_sequences + 1]
  const int32_t* key_lens;    // [num_sequences]
  const int32_t* places;      // [num_tokens]; negative: left out
  int64_t first_sequence;     // the row of `batch` that the first sequence is
  int64_t num_tokens;
  int64_t columns;
  int64_t heads;
  float* out;
};
void scatter_probabilities(cudaStream_t stream, const ScatterProbabilitiesArgs& args);

// out[num_sequences, modes n], the modes side by side; equations of sentence-transformers' Pooling.
struct PoolArgs {
  Matrix<const float> x;      // [tokens, n]
  const int32_t* cu_seqlens;  // [num_sequences + 1]
  const int32_t* key_lens;    // [num_sequences]
  const int32_t* first_rows;  // [num_sequences]: of kCls
  const float* weights;       // [tokens], or null: 0 leaves a token out
  const int32_t* modes;       // [num_modes] of models/encoder.h's Pooling
  int64_t num_modes;
  int64_t num_sequences;
  int64_t n;
  float* out;
};
void pool(cudaStream_t stream, const PoolArgs& args);

}  // namespace bertcpp::cuda
