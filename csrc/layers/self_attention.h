// y = LayerNorm(x + output(softmax(q k^T / sqrt(head_dim) + bias) v)) over each sequence and head.
#pragma once

#include "layers/format.h"
#include "layers/layer_norm.h"
#include "layers/linear.h"

namespace bertcpp {

// Sequences end to end. num_tokens = cu_seqlens[num_sequences].
struct Sequences {
  const int32_t* cu_seqlens;  // [num_sequences + 1]
  const int32_t* key_lens;    // [num_sequences], or null: all tokens of each are attended to
  const int32_t* columns;     // [num_tokens], or null for 0, 1, 2 ... in each sequence
  int64_t num_tokens;
  int64_t num_sequences;

  int64_t length(int64_t b) const { return cu_seqlens[b + 1] - cu_seqlens[b]; }
  int64_t keys(int64_t b) const { return key_lens != nullptr ? key_lens[b] : length(b); }
  int64_t longest() const;
};

// MPNet's bias by distance, the same in every layer: a bucket of the distance and a learned value per bucket and head.
class RelativePositionBias {
 public:
  RelativePositionBias() = default;
  // weights holds relative_attention_bias.weight [buckets, heads]. Distances up to max_distance() either way are
  // tabled.
  RelativePositionBias(const Kernels& kernels, const WeightMap& weights, int64_t buckets, int64_t far, int64_t heads,
                       int64_t max_distance);
  // This head's bias at distance 0; nullptr where the model has none.
  const float* head(int64_t h) const {
    return heads_ == 0 ? nullptr : table_.floats() + h * (2 * max_distance_ + 1) + max_distance_;
  }
  int64_t max_distance() const { return max_distance_; }

 private:
  int64_t heads_ = 0;
  int64_t max_distance_ = 0;
  Buffer table_;  // [heads][2 max_distance + 1]
};

// Memory of a forward pass that layers share.
struct LayerWorkspace {
  float* qkv;  // [num_tokens, 3 hidden_size]; fewer columns are used where heads were pruned
  int64_t qkv_stride;
  float* context;  // [num_tokens, hidden_size]
  int64_t context_stride;
  float* intermediate;  // [num_tokens, intermediate_size]; see FeedForward for what lies there in low precision
  int64_t intermediate_stride;
  OperandRows operand;  // the hidden state of [num_tokens], or another state as wide, as the next product reads it
  OperandRows inner;    // of bytes: the intermediate state of as many rows as `intermediate` has
  float* scratch;       // [threads][scratch_floats]
  int64_t scratch_floats;

  // x[m, k] as a product's input, with the operand that was made of it.
  LinearInput input(const float* x, int64_t stride, int64_t m, const OperandRows& made) const {
    return {x, stride, m, &made, scratch, scratch_floats};
  }
  // The same for rows from `row` on that this thread computes alone.
  LayerWorkspace from(int64_t row, int rank) const;
};

class SelfAttention {
 public:
  // weights holds `name`.{query,key,value,output}.{weight,bias} and `name`.norm.{weight,bias}; what collect() adds may
  // stand for all of them but the norm and query.bias. Heads of hidden_size / heads values; a layer that was pruned has
  // fewer of them, as its query's bias tells.
  SelfAttention(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t hidden_size,
                int64_t heads, double layer_norm_eps, const LayerFormat& format);

  // x[num_tokens, hidden_size] in place, in three steps; of low precision workspace.operand has x as first() reads it,
  // and gets the result as `next` does. The first step and the last take any rows, the one between all of them.
  void project(Team& team, const LayerWorkspace& workspace, int64_t m, const float* x, int64_t x_stride) const;
  // probabilities: each sequence's [heads, length, length] end to end, or null.
  void attend(Team& team, const Sequences& sequences, const RelativePositionBias& bias, const LayerWorkspace& workspace,
              float* probabilities) const;
  void finish(Team& team, const LayerWorkspace& workspace, int64_t m, float* x, int64_t x_stride,
              const Linear& next) const;
  const Linear& first() const { return qkv_; }
  // Of one thread, for sequences of up to `longest` tokens.
  static int64_t scratch_floats(const Kernels& kernels, int64_t longest, int64_t head_dim);
  int64_t heads() const { return heads_; }
  size_t nbytes() const { return qkv_.nbytes() + output_.nbytes() + norm_.nbytes(); }
  void collect(const std::string& name, PackedParts& parts) const;  // the products, packed

 private:
  const Kernels* kernels_;
  int64_t head_dim_;
  int64_t heads_;
  Linear qkv_;
  Linear output_;
  LayerNorm norm_;
};

}  // namespace bertcpp
