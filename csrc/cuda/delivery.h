// Results on their way to where they are wanted: the host, or a caller's padded arrays on the device.
#pragma once

#include "cuda/batch.h"
#include "cuda/transfer.h"

namespace bertcpp::cuda {

// Throws DeviceError, DeviceMemoryError.
class Delivery {
 public:
  explicit Delivery(cudaStream_t stream) : stream_(stream) {}

  Transfer& transfer() { return transfer_; }
  // Zeros a padded array on the device, `width` values a cell, unless tokens fill it.
  void clear(const EncoderBatch& batch, const Padding* padding, int64_t width, float* out);
  // out[tokens, n] of the whole batch, or [num_sequences, columns, n]: the piece's tokens, x[piece's tokens, n].
  void tokens(const Piece& piece, const Inputs& inputs, Matrix<const float> x, int64_t n, float* out);
  // out[num_sequences, n] of the whole batch: the piece's sequences.
  void sequences(const Piece& piece, Matrix<const float> x, int64_t n, float* out);
  // out, as EncoderOutputs::attentions have it, or [num_sequences, heads, columns, columns].
  void probabilities(const Piece& piece, const Inputs& inputs, const float* x, int64_t heads, float* out);

 private:
  cudaStream_t stream_;
  Transfer transfer_;
};

}  // namespace bertcpp::cuda
