#include "cuda/delivery.h"

#include "cuda/errors.h"
#include "runtime/sizes.h"

namespace bertcpp::cuda {

void Delivery::clear(const EncoderBatch& batch, const Padding* padding, int64_t width, float* out) {
  if (out == nullptr || padding == nullptr) return;
  const bool filled = padding->cells == nullptr && batch.key_lens == nullptr &&
                      batch.num_tokens == batch.num_sequences * padding->columns;
  if (filled) return;
  const int64_t values = checked_mul({batch.num_sequences, padding->columns, width});
  check(cudaMemsetAsync(out, 0, checked_bytes(values, sizeof(float)), stream_), "clearing memory");
}

void Delivery::tokens(const Piece& piece, const Inputs& inputs, Matrix<const float> x, int64_t n, float* out) {
  if (out == nullptr) return;
  if (piece.padding == nullptr) {
    transfer_.fetch(stream_, x, piece.num_tokens, n, out + piece.first_token * n);
  } else {
    scatter(stream_, x, inputs.places, piece.num_tokens, n, out);
  }
}

void Delivery::sequences(const Piece& piece, Matrix<const float> x, int64_t n, float* out) {
  out += piece.first_sequence * n;
  if (piece.padding == nullptr) return transfer_.fetch(stream_, x, piece.num_sequences, n, out);
  const size_t row_bytes = static_cast<size_t>(n) * sizeof(float);
  check(cudaMemcpy2DAsync(out, row_bytes, x.data, static_cast<size_t>(x.stride) * sizeof(float), row_bytes,
                          static_cast<size_t>(piece.num_sequences), cudaMemcpyDeviceToDevice, stream_),
        "copying results");
}

void Delivery::probabilities(const Piece& piece, const Inputs& inputs, const float* x, int64_t heads, float* out) {
  if (piece.padding == nullptr) {
    transfer_.fetch(stream_, {x, heads}, piece.num_probabilities, heads, out + heads * piece.first_probability);
    return;
  }
  scatter_probabilities(stream_, {.probabilities = x,
                                  .offsets = inputs.offsets,
                                  .cu_seqlens = inputs.cu_seqlens,
                                  .key_lens = inputs.key_lens,
                                  .places = inputs.places,
                                  .first_sequence = piece.first_sequence,
                                  .num_tokens = piece.num_tokens,
                                  .columns = piece.padding->columns,
                                  .heads = heads,
                                  .out = out});
}

}  // namespace bertcpp::cuda
