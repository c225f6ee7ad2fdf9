// Operands between pages that cannot be touched: a kernel that reads or writes past either end dies on the spot, and
// the handler says in which case.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

namespace bertcpp::testing {

// What is being tested right now; printed when a guard page is hit.
inline char (&current_case())[512] {
  static char text[512] = "";
  return text;
}

inline void die_at_guard(int signal_number) {
  static const char kMessage[] = "memory outside its operands was touched by: ";
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  written = write(STDERR_FILENO, current_case(), std::strlen(current_case()));
  written = write(STDERR_FILENO, "\n", 1);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

inline void install_guard_handler() {
  current_case();
  signal(SIGSEGV, die_at_guard);
  signal(SIGBUS, die_at_guard);
}

// kEnd: the last element touches the guard page behind, at whatever alignment that gives. kBegin: the first one touches
// the guard page before. kBuffer: what comes from a Buffer, aligned to 64 bytes, with 256 readable bytes behind.
enum class Place { kBegin, kEnd, kBuffer };

template <class T>
class Guarded {
 public:
  Guarded() = default;
  Guarded(int64_t count, Place place) : count_(count), place_(place) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t slack = place == Place::kBuffer ? kSlack : 0;
    const size_t used = round_up(static_cast<size_t>(count) * sizeof(T), place == Place::kBuffer ? 64 : 1) + slack;
    const size_t inside = round_up(used, page);
    length_ = inside + 2 * page;
    base_ = static_cast<std::byte*>(mmap(nullptr, length_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || (inside > 0 && mprotect(base_ + page, inside, PROT_READ | PROT_WRITE) != 0)) {
      std::perror("guard pages");
      std::exit(2);
    }
    data_ = reinterpret_cast<T*>(base_ + page + (place == Place::kBegin ? 0 : inside - used));
    std::memset(static_cast<void*>(base_ + page), kFill, inside);
  }
  ~Guarded() {
    if (base_ != nullptr) munmap(base_, length_);
  }
  Guarded(Guarded&& other) noexcept { swap(other); }
  Guarded& operator=(Guarded&& other) noexcept {
    swap(other);
    return *this;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() const { return data_; }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) const { return data_[i]; }
  // Whether the bytes behind the last element, as far as they can be touched, are as they were.
  bool untouched_behind() const {
    if (place_ == Place::kEnd) return true;
    const auto* begin = reinterpret_cast<const std::byte*>(data_ + count_);
    const std::byte* end = base_ + length_ - static_cast<size_t>(sysconf(_SC_PAGESIZE));
    for (const std::byte* p = begin; p < end; ++p) {
      if (*p != std::byte{kFill}) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kSlack = 256;
  static constexpr unsigned char kFill = 0xff;  // NaN in every format

  static size_t round_up(size_t x, size_t multiple) { return (x + multiple - 1) / multiple * multiple; }
  void swap(Guarded& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(length_, other.length_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(place_, other.place_);
  }

  std::byte* base_ = nullptr;
  size_t length_ = 0;
  T* data_ = nullptr;
  int64_t count_ = 0;
  Place place_ = Place::kEnd;
};

// Rows of `columns` floats, `stride` apart; what lies between them is NaN with a payload that no arithmetic makes.
class GuardedRows {
 public:
  static constexpr uint32_t kPadding = 0xffa5a5a5u;

  GuardedRows(int64_t rows, int64_t columns, int64_t stride, Place place)
      : memory_(rows == 0 ? 0 : (rows - 1) * stride + columns, place), rows_(rows), columns_(columns), stride_(stride) {
    for (int64_t i = 0; i < memory_.size(); ++i) memory_[i] = std::bit_cast<float>(kPadding);
  }

  float* row(int64_t r) const { return memory_.data() + r * stride_; }
  float& at(int64_t r, int64_t c) const { return row(r)[c]; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t stride() const { return stride_; }

  // Whether nothing outside rows [first, first + rows) and columns [0, columns) has been written since the start.
  bool untouched_outside(int64_t first, int64_t rows, int64_t columns) const {
    for (int64_t i = 0; i < memory_.size(); ++i) {
      const int64_t r = i / stride_;
      if (r >= first && r < first + rows && i % stride_ < columns) continue;
      uint32_t bits = 0;
      std::memcpy(&bits, &memory_[i], sizeof(bits));
      if (bits != kPadding) return false;
    }
    return memory_.untouched_behind();
  }

 private:
  Guarded<float> memory_;
  int64_t rows_;
  int64_t columns_;
  int64_t stride_;
};

}  // namespace bertcpp::testing
