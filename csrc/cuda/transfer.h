// Between the host's pageable memory and the device, through pinned memory that transfers are fast from.
#pragma once

#include "cuda/memory.h"

namespace bertcpp::cuda {

// Bytes on the device, `pitch` from row to row.
struct ByteRows {
  const void* first;
  size_t count;
  size_t bytes;
  size_t pitch;
};

// Each call waits for its end, and so for all that the stream had to do before. Throws DeviceError, DeviceMemoryError.
class Transfer {
 public:
  // out[rows,n] on the host = x.
  void fetch(cudaStream_t stream, Matrix<const float> x, int64_t rows, int64_t n, float* out);
  // The rows, one after another on the host.
  void download(cudaStream_t stream, const ByteRows& from, void* to);
  void upload(cudaStream_t stream, const void* from, size_t bytes, void* to);

 private:
  void download(cudaStream_t stream, const void* from, size_t bytes, void* to);
  std::byte* pinned(size_t bytes);

  Block pinned_;
};

}  // namespace bertcpp::cuda
