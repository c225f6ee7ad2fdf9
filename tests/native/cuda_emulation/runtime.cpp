// The device's memory, which is the host's, and the conversions of its types.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"

struct EmulatedStream {};

namespace {

struct Memory {
  std::map<void*, size_t> blocks;
  size_t in_use = 0;
  size_t limit = std::numeric_limits<size_t>::max();
};

Memory& memory() {
  static Memory one;
  return one;
}

cudaError_t last_error = cudaSuccess;

cudaError_t failed(cudaError_t error) { return last_error = error; }

cudaError_t allocate(void** result, size_t bytes) {
  Memory& all = memory();
  if (bytes > all.limit || all.in_use > all.limit - bytes) return failed(cudaErrorMemoryAllocation);
  *result = std::malloc(bytes);
  if (*result == nullptr) return failed(cudaErrorMemoryAllocation);
  std::memset(*result, 0xff, bytes);  // NaN in each type
  all.blocks[*result] = bytes;
  all.in_use += bytes;
  return cudaSuccess;
}

cudaError_t release(void* block) {
  if (block == nullptr) return cudaSuccess;
  const auto found = memory().blocks.find(block);
  if (found == memory().blocks.end()) return failed(cudaErrorInvalidValue);
  memory().in_use -= found->second;
  memory().blocks.erase(found);
  std::free(block);
  return cudaSuccess;
}

uint32_t bits_of(float x) {
  uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

float float_of(uint32_t bits) {
  float x = 0.0f;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

}  // namespace

namespace emulated {
void set_memory_limit(size_t bytes) { memory().limit = bytes; }
size_t memory_in_use() { return memory().in_use; }
}  // namespace emulated

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "unknown";
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : failed(cudaErrorInvalidValue); }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated GPU", size_t{1} << 30, 8, 0};
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** result, size_t bytes) { return allocate(result, bytes); }
cudaError_t cudaFree(void* block) { return release(block); }
cudaError_t cudaHostAlloc(void** result, size_t bytes, unsigned) { return allocate(result, bytes); }
cudaError_t cudaFreeHost(void* block) { return release(block); }
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  *total = memory().limit;
  *available = memory().limit - memory().in_use;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  if (stream == nullptr) return failed(cudaErrorInvalidValue);
  ++emulated::counts().copies;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind, cudaStream_t stream) {
  if (stream == nullptr || width > to_pitch || width > from_pitch) return failed(cudaErrorInvalidValue);
  ++emulated::counts().copies;
  for (size_t row = 0; row < height; ++row) {
    std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
  }
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (stream == nullptr) return failed(cudaErrorInvalidValue);
  std::memset(to, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

namespace {

float value_of(uint32_t half) {
  const uint32_t sign = (half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return float_of(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

}  // namespace

float __half2float(__half x) {
  static const std::vector<float> values = [] {
    std::vector<float> all;
    for (uint32_t bits = 0; bits < 0x10000; ++bits) all.push_back(value_of(bits));
    return all;
  }();
  return values[x.bits];
}

__half __float2half_rn(float x) {
  const uint32_t bits = bits_of(x);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const float magnitude = std::fabs(x);
  if (std::isnan(x)) return {0x7fff};
  if (magnitude >= 65520.0f) return {static_cast<uint16_t>(sign | 0x7c00u)};
  // In units of the last place: 2^-24 below 2^-14, else 2^-10 of the power of two below.
  const int exponent = magnitude < 0x1p-14f ? -14 : std::ilogb(magnitude);
  const float units = std::nearbyint(std::ldexp(magnitude, 10 - exponent));  // to nearest, ties to even
  // A number that was rounded up to the next power of two carries into the exponent by itself.
  const auto steps =
      static_cast<uint32_t>(units) + (magnitude < 0x1p-14f ? 0u : static_cast<uint32_t>(exponent + 14) << 10);
  return {static_cast<uint16_t>(sign | steps)};
}

float __bfloat162float(__nv_bfloat16 x) { return float_of(uint32_t{x.bits} << 16); }

__nv_bfloat16 __float2bfloat16_rn(float x) {
  const uint32_t bits = bits_of(x);
  if (std::isnan(x)) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
