// x = LayerNorm(word[id] + token_type[type] + position[place]), then a projection where the embedding is narrower than
// the hidden state (ELECTRA).
#pragma once

#include <optional>

#include "layers/layer_norm.h"
#include "layers/linear.h"

namespace bertcpp {

struct EmbeddingSizes {
  int64_t vocab_size;
  int64_t max_positions;
  int64_t token_types;  // 0: none
  int64_t embedding_size;
  int64_t hidden_size;
  double layer_norm_eps;
};

struct EmbeddingInput {
  const int32_t* input_ids;       // [num_tokens], or null with inputs_embeds
  const float* inputs_embeds;     // [num_tokens, embedding_size], or null
  const int32_t* position_ids;    // [num_tokens]
  const int32_t* token_type_ids;  // [num_tokens], or null for 0
  int64_t num_tokens;
};

class Embeddings {
 public:
  Embeddings() = default;
  // `decoder`: the product of a masked language model whose matrix is the word embeddings', which are read out of it;
  // it must outlive this. Null where there is none, or another matrix.
  Embeddings(const Kernels& kernels, const WeightMap& weights, const EmbeddingSizes& sizes,
             const Linear* decoder = nullptr);

  // x[num_tokens, hidden_size]; scratch[threads, scratch_floats()]. Ids must have been checked.
  void forward(Team& team, const EmbeddingInput& input, float* x, int64_t x_stride, float* narrow,
               float* scratch) const;
  // For each thread.
  int64_t scratch_floats() const { return 3 * row_stride(sizes_.embedding_size); }
  // [num_tokens, this] for `narrow`; 0 where there is no projection.
  int64_t narrow_stride() const { return projection_ ? row_stride(sizes_.embedding_size) : 0; }
  size_t nbytes() const;
  void collect(PackedParts& parts) const;  // the projection, packed

 private:
  // A table is read where it lies: only the rows that occur are touched, and a mapped file is not copied.
  const float* row(const TensorView& table, int64_t index, float* scratch) const;
  const float* word(int64_t id, float* scratch) const;

  const Kernels* kernels_ = nullptr;
  EmbeddingSizes sizes_{};
  TensorView word_;
  const Linear* decoder_ = nullptr;  // in place of word_
  TensorView position_;
  TensorView token_type_;
  LayerNorm norm_;
  std::optional<Linear> projection_;
};

}  // namespace bertcpp
