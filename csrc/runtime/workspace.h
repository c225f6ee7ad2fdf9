// One aligned arena per forward pass: sized once, carved up, reused by the next call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bertcpp {

// Memory of at least `bytes`, aligned to 64 bytes (2 MiB and MADV_HUGEPAGE where large), followed by 256 readable bytes
// of slack: kernels may load, never store, a vector past the end.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);  // throws std::bad_alloc
  // Memory of somebody else's, who keeps it for longer: stored_size(bytes) of it may be read, at a multiple of 64, and
  // none may be written.
  static Buffer borrowed(const void* data, size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  float* floats() const { return reinterpret_cast<float*>(data_); }
  int32_t* int32s() const { return reinterpret_cast<int32_t*>(data_); }
  size_t size() const { return size_; }
  // What may be read of a Buffer of `bytes`: the slack as well, and a multiple of 64.
  static size_t stored_size(size_t bytes);

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  bool borrowed_ = false;
};

// Hands out pieces of a Buffer, each aligned to 64 bytes. Construct with no buffer to measure: take() returns null and
// `used()` tells the size to allocate. Throws InputError when a size overflows.
class Arena {
 public:
  Arena() = default;
  explicit Arena(Buffer& buffer) : base_(buffer.data()), capacity_(buffer.size()) {}
  float* floats(int64_t count);
  int32_t* int32s(int64_t count);
  size_t used() const { return used_; }

 private:
  std::byte* take(size_t bytes);
  std::byte* base_ = nullptr;
  size_t capacity_ = 0;
  size_t used_ = 0;
};

// Keeps at most one Buffer between calls. acquire() and release() are lock-free and safe after fork; a buffer larger
// than `kKeepBytes` is given back to the system at once.
class BufferCache {
 public:
  static constexpr size_t kKeepBytes = size_t{64} << 20;
  BufferCache() = default;
  ~BufferCache();
  BufferCache(const BufferCache&) = delete;
  BufferCache& operator=(const BufferCache&) = delete;
  Buffer acquire(size_t bytes);
  void release(Buffer buffer);

 private:
  std::atomic<Buffer*> kept_{nullptr};
};

}  // namespace bertcpp
