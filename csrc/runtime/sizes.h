// Sizes and counts without silent overflow: every product or sum that sizes memory goes through these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "runtime/errors.h"

namespace bertcpp {

// a + b of numbers that must not be negative. Throws InputError when the sum does not fit.
inline int64_t checked_add(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &sum)) {
    throw InputError("size overflow: " + std::to_string(a) + " + " + std::to_string(b));
  }
  return sum;
}

// The product of numbers that must not be negative. Throws InputError when it does not fit.
inline int64_t checked_mul(std::initializer_list<int64_t> factors) {
  int64_t product = 1;
  for (const int64_t factor : factors) {
    int64_t next = 0;
    if (factor < 0 || __builtin_mul_overflow(product, factor, &next)) {
      throw InputError("size overflow: " + std::to_string(product) + " * " + std::to_string(factor));
    }
    product = next;
  }
  return product;
}

inline int64_t checked_mul(int64_t a, int64_t b) { return checked_mul({a, b}); }

// x rounded up to a multiple of `multiple` > 0.
inline int64_t checked_round_up(int64_t x, int64_t multiple) {
  return checked_add(x, multiple - 1) / multiple * multiple;
}

// The size in bytes of `count` elements, as memory is asked for.
inline size_t checked_bytes(int64_t count, int64_t element_size) {
  return static_cast<size_t>(checked_mul(count, element_size));
}

}  // namespace bertcpp
