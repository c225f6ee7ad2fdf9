#include "cuda/transfer.h"

#include <algorithm>
#include <cstring>

#include "cuda/errors.h"

namespace bertcpp::cuda {
namespace {

// What is larger goes in pieces of this size.
constexpr size_t kMostBytes = size_t{32} << 20;

}  // namespace

std::byte* Transfer::pinned(size_t bytes) {
  pinned_.grow(Place::kPinned, bytes);
  return pinned_.data();
}

void Transfer::fetch(cudaStream_t stream, Matrix<const float> x, int64_t rows, int64_t n, float* out) {
  const size_t row_bytes = static_cast<size_t>(n) * sizeof(float);
  if (x.stride == n) return download(stream, x.data, static_cast<size_t>(rows) * row_bytes, out);
  const int64_t at_once = std::clamp<int64_t>(static_cast<int64_t>(kMostBytes / row_bytes), 1, rows);
  std::byte* through = pinned(static_cast<size_t>(at_once) * row_bytes);
  for (int64_t first = 0; first < rows; first += at_once) {
    const auto count = static_cast<size_t>(std::min(at_once, rows - first));
    check(
        cudaMemcpy2DAsync(through, row_bytes, x.data + first * x.stride, static_cast<size_t>(x.stride) * sizeof(float),
                          row_bytes, count, cudaMemcpyDeviceToHost, stream),
        "copying results from the GPU");
    check(cudaStreamSynchronize(stream), "computing on the GPU");
    std::memcpy(out + first * n, through, count * row_bytes);
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
