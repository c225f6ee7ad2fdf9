// Stands in for CUDA's header of the same name: only what csrc/cuda uses, with the meaning of NVIDIA's documentation.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include "emulated.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(threads)

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
  dim3() = default;
  dim3(unsigned x_blocks, unsigned y_blocks, unsigned z_blocks) : x(x_blocks), y(y_blocks), z(z_blocks) {}
};

inline emulated::Index threadIdx;
inline emulated::Index blockIdx;

inline void __syncthreads() { emulated::wait_for_block(); }

inline float __shfl_sync(unsigned, float value, int from) {
  std::memcpy(emulated::lane_words(emulated::lane()), &value, sizeof(value));
  emulated::wait_for_warp();
  std::memcpy(&value, emulated::lane_words(static_cast<unsigned>(from) % 32), sizeof(value));
  emulated::next_words();
  return value;
}

inline float __shfl_xor_sync(unsigned mask, float value, int other) {
  return __shfl_sync(mask, value, static_cast<int>(emulated::lane()) ^ other);
}

inline float __fmul_rn(float a, float b) { return a * b; }

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorLaunchFailure = 719,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
constexpr unsigned cudaHostAllocDefault = 0;
constexpr unsigned cudaStreamNonBlocking = 1;

struct EmulatedStream;
using cudaStream_t = EmulatedStream*;

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major;
  int minor;
};

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemGetInfo(size_t* available, size_t* total);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  if (emulated::launch_fails()) return cudaErrorLaunchFailure;
  const dim3 grid = config->gridDim;
  const unsigned threads = config->blockDim.x;
  if (grid.x == 0 || grid.y == 0 || grid.z != 1 || grid.y > 65535 || threads == 0 || threads > 1024 ||
      config->blockDim.y != 1 || config->blockDim.z != 1 || config->stream == nullptr) {
    return cudaErrorInvalidValue;
  }
  emulated::run_grid({grid.x, grid.y, 1}, threads, [&] { kernel(arguments...); });
  return cudaSuccess;
}
