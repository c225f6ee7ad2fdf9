#include "runtime/workspace.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

#include "runtime/sizes.h"

namespace bertcpp {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kSlack = 256;
// From this size on memory is mapped, so that freeing it gives it back to the system, and huge pages are asked for.
constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t x, size_t multiple) { return (x + multiple - 1) / multiple * multiple; }

// The length of the mapping that holds `bytes` and the slack.
size_t mapped_length(size_t bytes) {
  static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return round_up(round_up(bytes, kAlignment) + kSlack, page);
}

// Maps more than needed and cuts off what lies before and after the aligned part.
std::byte* map_aligned(size_t bytes) {
  const size_t length = mapped_length(bytes);
  void* mapped = mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  const auto address = reinterpret_cast<uintptr_t>(mapped);
  const size_t before = round_up(address, kHugePage) - address;
  auto* start = static_cast<std::byte*>(mapped) + before;
  if (before > 0) munmap(mapped, before);
  if (before < kHugePage) munmap(start + length, kHugePage - before);
  madvise(start, length, MADV_HUGEPAGE);  // a wish: systems without huge pages refuse it, which costs speed alone
  return start;
}

}  // namespace

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  if (bytes >= kHugePage) {
    data_ = map_aligned(bytes);
  } else {
    data_ = static_cast<std::byte*>(::operator new(stored_size(bytes), std::align_val_t{kAlignment}));
    std::memset(data_ + bytes, 0, stored_size(bytes) - bytes);
  }
}

Buffer Buffer::borrowed(const void* data, size_t bytes) {
  Buffer buffer;
  buffer.data_ = static_cast<std::byte*>(const_cast<void*>(data));
  buffer.size_ = bytes;
  buffer.borrowed_ = true;
  return buffer;
}

size_t Buffer::stored_size(size_t bytes) { return round_up(bytes, kAlignment) + kSlack; }

Buffer::~Buffer() {
  if (data_ == nullptr || borrowed_) return;
  if (size_ >= kHugePage) {
    munmap(data_, mapped_length(size_));
  } else {
    ::operator delete(data_, std::align_val_t{kAlignment});
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      borrowed_(std::exchange(other.borrowed_, false)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(borrowed_, other.borrowed_);
  return *this;
}

std::byte* Arena::take(size_t bytes) {
  const size_t begin = used_;
  used_ = static_cast<size_t>(
      checked_add(static_cast<int64_t>(begin), checked_round_up(static_cast<int64_t>(bytes), kAlignment)));
  if (base_ == nullptr) return nullptr;
  if (used_ > capacity_) throw std::logic_error("the arena was measured smaller than it is used");
  return base_ + begin;
}

float* Arena::floats(int64_t count) { return reinterpret_cast<float*>(take(checked_bytes(count, sizeof(float)))); }

int32_t* Arena::int32s(int64_t count) {
  return reinterpret_cast<int32_t*>(take(checked_bytes(count, sizeof(int32_t))));
}

BufferCache::~BufferCache() { delete kept_.load(std::memory_order_acquire); }

Buffer BufferCache::acquire(size_t bytes) {
  Buffer buffer;
  if (Buffer* kept = kept_.exchange(nullptr, std::memory_order_acq_rel); kept != nullptr) {
    buffer = std::move(*kept);
    delete kept;
  }
  if (buffer.data() != nullptr && buffer.size() >= bytes) return buffer;
  buffer = Buffer();  // given back before the larger one is asked for
  return Buffer(bytes);
}

void BufferCache::release(Buffer buffer) {
  if (buffer.data() == nullptr || buffer.size() > kKeepBytes) return;
  auto* node = new (std::nothrow) Buffer(std::move(buffer));
  if (node == nullptr) return;
  delete kept_.exchange(node, std::memory_order_acq_rel);
}

}  // namespace bertcpp
