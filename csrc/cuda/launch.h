// Puts a kernel on a stream and checks that it could be. Device code only.
#pragma once

#include <cuda_runtime.h>

#include <limits>
#include <string>
#include <utility>

#include "cuda/errors.h"

namespace bertcpp::cuda {

// A grid of x * y blocks of `threads`. Nothing is done where there are no blocks.
template <class... Parameters, class... Arguments>
void launch(cudaStream_t stream, void (*kernel)(Parameters...), int64_t x, int64_t y, unsigned threads,
            Arguments&&... arguments) {
  if (x == 0 || y == 0) return;
  constexpr int64_t kMostY = 65535;
  if (x > std::numeric_limits<int32_t>::max() || y > kMostY) {
    throw DeviceError("a kernel would need a grid of " + std::to_string(x) + " x " + std::to_string(y) +
                      " blocks, more than a GPU takes; pass smaller batches");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), 1);
  config.blockDim = dim3(threads, 1, 1);
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), "starting a kernel");
  check(cudaGetLastError(), "starting a kernel");
}

}  // namespace bertcpp::cuda
