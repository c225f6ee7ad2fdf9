// Between the host's pageable memory and the device, through pinned memory that transfers are fast from.
#pragma once

#include "cuda/memory.h"

namespace bertcpp::cuda {

// Each call waits for its end, and so for all that the stream had to do before. Throws DeviceError, DeviceMemoryError.
class Transfer {
 public:
  // out[rows,n] on the host = x.
  void fetch(cudaStream_t stream, Matrix<const float> x, int64_t rows, int64_t n, float* out);
  void download(cudaStream_t stream, const void* from, size_t bytes, void* to);
  void upload(cudaStream_t stream, const void* from, size_t bytes, void* to);

 private:
  std::byte* pinned(size_t bytes);

  Block pinned_;
};

}  // namespace bertcpp::cuda
