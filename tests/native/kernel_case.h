// What the tests of kernels share: the table under test, random numbers, and comparisons.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"
#include "guarded.h"
#include "kernels/kernels.h"

namespace bertcpp::testing {

// The largest error of a sum or an activation, relative to the largest magnitude of the result.
constexpr double kTolerance = 2e-5;
// Of an activation alone.
constexpr double kActivationTolerance = 1e-6;

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t integer(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  bool coin() { return integer(0, 1) == 1; }
  // Of [-1, 1], on a grid of 2^-20.
  float uniform() { return static_cast<float>(integer(-(1 << 20), 1 << 20)) * 0x1p-20f; }
  Place place() { return coin() ? Place::kBegin : Place::kEnd; }
  Activation activation() { return static_cast<Activation>(integer(0, static_cast<int64_t>(Activation::kCount) - 1)); }
  // A stride for rows of n: the least or a little more.
  int64_t stride(int64_t n) { return n + (coin() ? 0 : integer(1, 20)); }

  GuardedRows rows(int64_t count, int64_t n) {
    GuardedRows result(count, n, stride(n), place());
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t c = 0; c < n; ++c) result.at(r, c) = uniform();
    }
    return result;
  }
  Guarded<float> floats(int64_t n) {
    Guarded<float> result(n, place());
    for (int64_t i = 0; i < n; ++i) result[i] = uniform();
    return result;
  }

 private:
  std::mt19937_64 engine_;
};

struct Case {
  const Kernels& kernels;
  Random random;
};

__attribute__((format(printf, 1, 2))) inline void describe(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(current_case(), sizeof(current_case()), format, arguments);
  va_end(arguments);
}

// The same bits; every NaN counts as the same.
inline bool same_bits(float a, float b) {
  if (std::isnan(a) && std::isnan(b)) return true;
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

inline double largest_magnitude(const std::vector<double>& values) {
  double largest = 0.0;
  for (const double v : values) largest = std::max(largest, std::abs(v));
  return largest;
}

// Whether value is expected to within `tolerance`; infinities and NaNs must be met exactly.
inline bool close(float value, double expected, double tolerance) {
  const auto rounded = static_cast<float>(expected);
  if (std::isnan(rounded) || std::isinf(rounded)) return same_bits(value, rounded);
  return std::abs(static_cast<double>(value) - expected) <= tolerance;
}

}  // namespace bertcpp::testing

#define CHECK_CASE(condition) CHECK(condition, "%s", bertcpp::testing::current_case())
