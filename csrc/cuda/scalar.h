// The element types of a GPU's matrices, and the few operations on them that kernels are written with. Device code:
// compiled by nvcc, and by the host's compiler against tests/native/cuda_emulation.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define BERTCPP_UNROLL _Pragma("unroll")
#else
#define BERTCPP_UNROLL  // the emulation's compiler may unroll as it likes
#endif

namespace bertcpp::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(double x) { return static_cast<float>(x); }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

// Rounded to nearest, ties to even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

__device__ inline uint32_t bits(__half x) { return __half_as_ushort(x); }
__device__ inline uint32_t bits(__nv_bfloat16 x) { return __bfloat16_as_ushort(x); }

// Two elements in a register, the first in the lower half, as tensor cores take them.
template <class T>
__device__ inline uint32_t pair(T first, T second) {
  return bits(first) | (bits(second) << 16);
}

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// The sum or the largest of a value over a warp, the same bits in every lane.
__device__ inline float warp_sum(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}
__device__ inline float warp_max(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, step));
  return x;
}

}  // namespace bertcpp::cuda
