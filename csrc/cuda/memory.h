// Memory of a device and of the host that transfers are fast from. Sized once, carved up, reused by the next call.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "cuda/kernels.h"

namespace bertcpp::cuda {

// Makes a device the calling thread's for as long as it lives.
class DeviceScope {
 public:
  explicit DeviceScope(int device);  // throws DeviceError
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = -1;
};

enum class Place { kDevice, kPinned };

// Memory on the device, or pinned memory of the host. It must be given back in the scope of its device.
class Block {
 public:
  Block() = default;
  Block(Place place, size_t bytes);  // throws DeviceMemoryError
  ~Block();
  Block(Block&& other) noexcept;
  Block& operator=(Block&& other) noexcept;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  // At least so many bytes; what was in it is lost. What there is goes before the new is asked for: at no time are both
  // held, and where the new is refused nothing is.
  void grow(Place place, size_t bytes);
  // What is in it is not given back.
  void forget() { data_ = nullptr; }

 private:
  Place place_ = Place::kDevice;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The elements between rows of n: whole pieces of 16 bytes for every type, as the products want them.
inline int64_t device_stride(int64_t n) { return (n + 7) / 8 * 8; }

// Hands out pieces of memory, each aligned to 256 bytes. Construct with null to measure: take() returns null and used()
// tells the size to allocate. Throws InputError when a size overflows.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  template <class T>
  T* take(int64_t count) {
    return static_cast<T*>(take_bytes(count, sizeof(T)));
  }
  // rows of n elements, device_stride(n) apart.
  template <class T>
  Matrix<T> matrix(int64_t rows, int64_t n) {
    return {static_cast<T*>(take_rows(rows, n, sizeof(T))), device_stride(n)};
  }
  size_t used() const { return used_; }

 private:
  void* take_bytes(int64_t count, size_t element_size);
  void* take_rows(int64_t rows, int64_t n, size_t element_size);

  std::byte* base_;
  size_t used_ = 0;
};

}  // namespace bertcpp::cuda
