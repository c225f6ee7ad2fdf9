#include "cuda/memory.h"

#include <string>
#include <utility>

#include "cuda/errors.h"
#include "runtime/sizes.h"

namespace bertcpp::cuda {

DeviceScope::DeviceScope(int device) {
  check(cudaGetDevice(&before_), "asking for the GPU in use");
  check(cudaSetDevice(device), "choosing the GPU");
}

DeviceScope::~DeviceScope() { static_cast<void>(cudaSetDevice(before_)); }

Block::Block(Place place, size_t bytes) : place_(place) {
  if (bytes == 0) return;
  void* memory = nullptr;
  const cudaError_t status =
      place == Place::kDevice ? cudaMalloc(&memory, bytes) : cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    size_t available = 0;
    size_t total = 0;
    static_cast<void>(cudaMemGetInfo(&available, &total));
    throw DeviceMemoryError((place == Place::kDevice ? "the GPU has no " : "the host can pin no ") +
                            std::to_string(bytes >> 20) + " MiB of memory left (" + std::to_string(available >> 20) +
                            " of the GPU's " + std::to_string(total >> 20) +
                            " MiB are free); pass smaller batches, or end other programs that use it");
  }
  check(status, "allocating memory");
  data_ = static_cast<std::byte*>(memory);
  size_ = bytes;
}

Block::~Block() {
  if (data_ == nullptr) return;
  static_cast<void>(place_ == Place::kDevice ? cudaFree(data_) : cudaFreeHost(data_));
}

Block::Block(Block&& other) noexcept
    : place_(other.place_), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Block& Block::operator=(Block&& other) noexcept {
  std::swap(place_, other.place_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void Block::grow(Place place, size_t bytes) {
  if (bytes <= size_) return;
  {
    const Block old = std::move(*this);
  }
  *this = Block(place, bytes);
}

void* Carver::take_bytes(int64_t count, size_t element_size) {
  constexpr int64_t kAlignment = 256;
  const int64_t bytes = checked_mul(count, static_cast<int64_t>(element_size));
  std::byte* start = base_ == nullptr ? nullptr : base_ + used_;
  used_ = static_cast<size_t>(checked_add(static_cast<int64_t>(used_), checked_round_up(bytes, kAlignment)));
  return start;
}

void* Carver::take_rows(int64_t rows, int64_t n, size_t element_size) {
  return take_bytes(checked_mul(rows, device_stride(n)), element_size);
}

}  // namespace bertcpp::cuda
