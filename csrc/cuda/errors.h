// What CUDA and cuBLASLt answer becomes an exception.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include "runtime/errors.h"

namespace bertcpp::cuda {

// Throws DeviceMemoryError where memory ran out, else DeviceError, naming what was being done. The error is taken off
// the device's record, so that the next call does not meet it.
void check(cudaError_t status, const char* doing);
void check(cublasStatus_t status, const char* doing);

}  // namespace bertcpp::cuda
