#include "cuda/errors.h"

#include <string>

namespace bertcpp::cuda {

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  const std::string text =
      std::string(doing) + " failed: " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
  if (status == cudaErrorMemoryAllocation) throw DeviceMemoryError("the GPU's memory is used up: " + text);
  throw DeviceError(text);
}

void check(cublasStatus_t status, const char* doing) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string text = std::string(doing) + " failed: " + cublasLtGetStatusString(status);
  if (status == CUBLAS_STATUS_ALLOC_FAILED) throw DeviceMemoryError("the GPU's memory is used up: " + text);
  throw DeviceError(text);
}

}  // namespace bertcpp::cuda
