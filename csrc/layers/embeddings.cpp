#include "layers/embeddings.h"

#include <algorithm>

#include "runtime/errors.h"

namespace bertcpp {
namespace {

constexpr const char* kProjection = "embeddings.projection";

}  // namespace

Embeddings::Embeddings(const Kernels& kernels, const WeightMap& weights, const EmbeddingSizes& sizes,
                       const Linear* decoder)
    : kernels_(&kernels), sizes_(sizes), decoder_(decoder) {
  const int64_t width = sizes.embedding_size;
  if (decoder == nullptr) {
    word_ = weight_at(weights, "embeddings.word.weight", {sizes.vocab_size, width});
  } else if (decoder->n() != sizes.vocab_size || decoder->k() != width || decoder->precision() != Precision::kFloat32) {
    throw WeightError("the decoder has the shape (" + std::to_string(decoder->n()) + ", " +
                      std::to_string(decoder->k()) + "), but the word embeddings need (" +
                      std::to_string(sizes.vocab_size) + ", " + std::to_string(width) + ")");
  }
  position_ = weight_at(weights, "embeddings.position.weight", {sizes.max_positions, width});
  if (sizes.token_types > 0) {
    token_type_ = weight_at(weights, "embeddings.token_type.weight", {sizes.token_types, width});
  }
  norm_ = LayerNorm(kernels, weights, "embeddings.norm", width, sizes.layer_norm_eps);
  if (width != sizes.hidden_size) {
    projection_ = Linear::of(kernels, weights, kProjection, {kProjection}, sizes.hidden_size, width);
  }
}

void Embeddings::collect(PackedParts& parts) const {
  if (projection_) projection_->collect(kProjection, parts);
}

const float* Embeddings::row(const TensorView& table, int64_t index, float* scratch) const {
  const int64_t width = sizes_.embedding_size;
  if (table.dtype == DType::kFloat32 && reinterpret_cast<uintptr_t>(table.data) % alignof(float) == 0) {
    return static_cast<const float*>(table.data) + index * width;
  }
  read_floats(*kernels_, table, index * width, width, scratch);
  return scratch;
}

const float* Embeddings::word(int64_t id, float* scratch) const {
  if (decoder_ == nullptr) return row(word_, id, scratch);
  decoder_->weight_row(id, scratch);
  return scratch;
}

void Embeddings::forward(Team& team, const EmbeddingInput& input, float* x, int64_t x_stride, float* narrow,
                         float* scratch) const {
  constexpr int64_t kTokens = 16;
  const int64_t width = sizes_.embedding_size;
  const int64_t own_stride = row_stride(width);
  float* own = scratch + team.rank() * scratch_floats();
  float* sums = projection_ ? narrow : x;
  const int64_t sums_stride = projection_ ? narrow_stride() : x_stride;
  team.for_each((input.num_tokens + kTokens - 1) / kTokens, [&](int64_t block) {
    const int64_t end = std::min((block + 1) * kTokens, input.num_tokens);
    for (int64_t t = block * kTokens; t < end; ++t) {
      const float* word =
          input.inputs_embeds != nullptr ? input.inputs_embeds + t * width : this->word(input.input_ids[t], own);
      const float* position = row(position_, input.position_ids[t], own + own_stride);
      const float* type = nullptr;
      if (sizes_.token_types > 0) {
        type = row(token_type_, input.token_type_ids != nullptr ? input.token_type_ids[t] : 0, own + 2 * own_stride);
      }
      float* sum = sums + t * sums_stride;
      if (type != nullptr) {
        kernels_->add(word, type, position, width, sum);
      } else {
        kernels_->add(word, position, nullptr, width, sum);
      }
      norm_.rows(sum, sums_stride, 1, sum, sums_stride);
    }
  });
  if (projection_) projection_->forward(team, {narrow, narrow_stride(), input.num_tokens}, {x, x_stride});
}

size_t Embeddings::nbytes() const {
  const auto table = [](const TensorView& tensor) {
    size_t count = tensor.shape.empty() ? 0 : static_cast<size_t>(element_size(tensor.dtype));
    for (const int64_t extent : tensor.shape) count *= static_cast<size_t>(extent);
    return count;
  };
  return table(word_) + (decoder_ != nullptr ? decoder_->nbytes() : 0) + table(position_) + table(token_type_) +
         norm_.nbytes() + (projection_ ? projection_->nbytes() : 0);
}

}  // namespace bertcpp
