#include "cuda/transfer.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cuda/errors.h"

namespace bertcpp::cuda {
namespace {

// What is larger goes in pieces of this size.
constexpr size_t kMostBytes = size_t{32} << 20;
// Copies of rows that are further apart go row by row: CUDA's limit.
constexpr size_t kLargestPitch = std::numeric_limits<int32_t>::max();

}  // namespace

std::byte* Transfer::pinned(size_t bytes) {
  pinned_.grow(Place::kPinned, bytes);
  return pinned_.data();
}

void Transfer::fetch(cudaStream_t stream, Matrix<const float> x, int64_t rows, int64_t n, float* out) {
  download(stream,
           {.first = x.data,
            .count = static_cast<size_t>(rows),
            .bytes = static_cast<size_t>(n) * sizeof(float),
            .pitch = static_cast<size_t>(x.stride) * sizeof(float)},
           out);
}

void Transfer::download(cudaStream_t stream, const ByteRows& from, void* to) {
  if (from.pitch == from.bytes) return download(stream, from.first, from.count * from.bytes, to);
  const auto* first = static_cast<const std::byte*>(from.first);
  auto* next = static_cast<std::byte*>(to);
  if (from.bytes > kMostBytes || from.pitch > kLargestPitch) {
    for (size_t row = 0; row < from.count; ++row, first += from.pitch, next += from.bytes) {
      download(stream, first, from.bytes, next);
    }
    return;
  }
  const size_t at_once = std::min(kMostBytes / from.bytes, from.count);
  std::byte* through = pinned(at_once * from.bytes);
  for (size_t done = 0; done < from.count; done += at_once) {
    const size_t count = std::min(at_once, from.count - done);
    check(cudaMemcpy2DAsync(through, from.bytes, first + done * from.pitch, from.pitch, from.bytes, count,
                            cudaMemcpyDeviceToHost, stream),
          "copying results from the GPU");
    check(cudaStreamSynchronize(stream), "computing on the GPU");
    std::memcpy(next + done * from.bytes, through, count * from.bytes);
  }
}

void Transfer::download(cudaStream_t stream, const void* from, size_t bytes, void* to) {
  std::byte* through = pinned(std::min(bytes, kMostBytes));
  for (size_t first = 0; first < bytes; first += kMostBytes) {
    const size_t count = std::min(kMostBytes, bytes - first);
    check(cudaMemcpyAsync(through, static_cast<const std::byte*>(from) + first, count, cudaMemcpyDeviceToHost, stream),
          "copying results from the GPU");
    check(cudaStreamSynchronize(stream), "computing on the GPU");
    std::memcpy(static_cast<std::byte*>(to) + first, through, count);
  }
}

void Transfer::upload(cudaStream_t stream, const void* from, size_t bytes, void* to) {
  std::byte* through = pinned(std::min(bytes, kMostBytes));
  for (size_t first = 0; first < bytes; first += kMostBytes) {
    const size_t count = std::min(kMostBytes, bytes - first);
    std::memcpy(through, static_cast<const std::byte*>(from) + first, count);
    check(cudaMemcpyAsync(static_cast<std::byte*>(to) + first, through, count, cudaMemcpyHostToDevice, stream),
          "copying to the GPU");
    check(cudaStreamSynchronize(stream), "copying to the GPU");
  }
}

}  // namespace bertcpp::cuda
