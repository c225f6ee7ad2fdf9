// to_bfloat16, quantize_row, quantize_weight, matmul_bfloat16 and matmul_int8.
#pragma once

#include <bit>
#include <limits>
#include <string>

#include "kernel_case.h"
#include "kernels/reference.h"
#include "matmul_cases.h"
#include "tested_kernels.h"

namespace bertcpp::testing {

inline float from_bits(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Instructions make denormals zeros.
inline bool right_bfloat16(uint16_t bits, float x) {
  const uint16_t expected = reference::bfloat16_bits(x);
  const bool denormal = std::fpclassify(x) == FP_SUBNORMAL;
  return bits == expected || (denormal && bits == (expected & 0x8000u));
}

inline void test_to_bfloat16(Case& test) {
  const float special[] = {0.0f,
                           -0.0f,
                           1e-40f,
                           3.4e38f,
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN(),
                           std::bit_cast<float>(0x7f800001u)};
  for (int64_t n = 1; n < 70; ++n) {
    describe("%s to_bfloat16 n %ld", test.kernels.name, long{n});
    const Guarded<float> x = test.random.floats(n);
    for (int64_t i = 0; i < n; ++i) {
      if (test.random.coin()) x[i] = special[test.random.integer(0, 7)];
      if (test.random.integer(0, 3) == 0)
        x[i] = std::bit_cast<float>((std::bit_cast<uint32_t>(x[i]) & ~0xffffu) | 0x8000u);
    }
    const Guarded<uint16_t> out(n, test.random.place());
    test.kernels.to_bfloat16(x.data(), n, out.data());
    bool right = out.untouched_behind();
    for (int64_t i = 0; i < n; ++i) right = right && right_bfloat16(out[i], x[i]);
    CHECK_CASE(right);
  }
}

inline void test_quantize_row(Case& test) {
  for (int64_t n = 1; n < 150; n += 1 + n / 20) {
    describe("%s quantize_row n %ld", test.kernels.name, long{n});
    const Guarded<float> x = test.random.floats(n);
    const float shift = test.random.integer(0, 2) == 0 ? 3.0f * test.random.uniform() : 0.0f;
    for (int64_t i = 0; i < n; ++i) x[i] += shift;
    const Guarded<uint8_t> out(n, test.random.place());
    float scale = 0.0f;
    int32_t zero = 0;
    test.kernels.quantize_row(x.data(), n, out.data(), &scale, &zero);
    bool right = out.untouched_behind() && zero >= 0 && zero <= 255 && scale > 0.0f;
    for (int64_t i = 0; i < n; ++i) {
      right = right && std::abs(static_cast<double>(x[i]) - static_cast<double>(scale) * (out[i] - zero)) <=
                           0.501 * static_cast<double>(scale) + 0.5 * static_cast<double>(scale) * (out[i] % 255 == 0);
    }
    CHECK_CASE(right);
    x[test.random.integer(0, n - 1)] =
        test.random.coin() ? std::numeric_limits<float>::quiet_NaN() : -std::numeric_limits<float>::infinity();
    test.kernels.quantize_row(x.data(), n, out.data(), &scale, &zero);
    CHECK_CASE(std::isnan(scale));
    for (int64_t i = 0; i < n; ++i) x[i] = 0.0f;
    test.kernels.quantize_row(x.data(), n, out.data(), &scale, &zero);
    CHECK_CASE(zero == 0 && out[n - 1] == 0 && std::isfinite(scale));
  }
}

inline void test_quantize_weight(Case& test) {
  for (int64_t n = 1; n < 150; n += 1 + n / 20) {
    describe("%s quantize_weight n %ld", test.kernels.name, long{n});
    const Guarded<float> w = test.random.floats(n);
    const Guarded<int8_t> out(n, test.random.place());
    float scale = 0.0f;
    int32_t sum = 0;
    test.kernels.quantize_weight(w.data(), n, out.data(), &scale, &sum);
    bool right = out.untouched_behind() && scale > 0.0f;
    int32_t total = 0;
    for (int64_t i = 0; i < n; ++i) {
      total += out[i];
      right = right && out[i] >= -127 &&
              std::abs(static_cast<double>(w[i]) - static_cast<double>(scale) * out[i]) <=
                  0.501 * static_cast<double>(scale);
    }
    CHECK_CASE(right && total == sum);
    w[test.random.integer(0, n - 1)] = std::numeric_limits<float>::quiet_NaN();
    test.kernels.quantize_weight(w.data(), n, out.data(), &scale, &sum);
    CHECK_CASE(std::isnan(scale));
  }
}

// A product in words: its operands, and the values that they stand for.
struct WordProblem {
  int64_t m = 0, n = 0, k = 0;  // k in values
  int64_t words = 0;            // of a row of w
  int64_t a_row_words = 0;      // of a row of a: the same, or k floats
  int64_t segments = 0;
  std::vector<int64_t> segment_ends;
  std::vector<float> a_values, w_values;
  std::vector<int32_t> a_words, w_words;
  std::vector<float> row_scale, column_scale;
  std::vector<int32_t> row_zero, column_sum;
  Guarded<float> packed, bias;
  GuardedRows residual{0, 1, 1, Place::kEnd};
  std::vector<double> expected;
  Activation activation = Activation::kIdentity;
  bool has_bias = true, has_residual = true;

  void expect() {
    const float* added = has_residual ? residual.row(0) : nullptr;
    expected = reference::matmul({a_values.data(), k}, {w_values.data(), k}, has_bias ? bias.data() : nullptr,
                                 {added, residual.stride()}, m, n, k, activation);
  }
};

inline WordProblem problem(int64_t m, int64_t n, int64_t k, int64_t values_per_word) {
  WordProblem p;
  p.m = m;
  p.n = n;
  p.k = k;
  p.words = (k + values_per_word - 1) / values_per_word;
  p.a_row_words = p.words;
  return p;
}

inline int64_t columns_of(const Kernels& kernels, int64_t n) { return (n + kernels.nr - 1) / kernels.nr * kernels.nr; }

inline void finish_problem(Case& test, WordProblem& p) {
  const int64_t columns = columns_of(test.kernels, p.n);
  p.packed = Guarded<float>(columns * p.words, Place::kBuffer);
  test.kernels.pack_weight(reinterpret_cast<const float*>(p.w_words.data()), p.words, p.n, p.words, p.packed.data());
  p.bias = Guarded<float>(columns, Place::kBuffer);
  for (int64_t i = 0; i < p.n; ++i) p.bias[i] = test.random.uniform();
  p.residual = test.random.rows(p.m, p.n);
  p.activation = test.random.activation();
  p.has_bias = test.random.coin();
  p.has_residual = test.random.coin();
  p.expect();
}

// Rows that are not rounded, where the product reads floats.
inline WordProblem bfloat16_problem(Case& test, int64_t m, int64_t n, int64_t k) {
  WordProblem p = problem(m, n, k, 2);
  const auto fill = [&](int64_t rows, float factor, std::vector<float>& values, std::vector<int32_t>& words) {
    values.resize(static_cast<size_t>(rows * k));
    words.assign(static_cast<size_t>(rows * p.words), 0);
    auto* halves = reinterpret_cast<uint16_t*>(words.data());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < k; ++i) {
        const uint16_t bits = reference::bfloat16_bits(test.random.uniform() * factor);
        halves[r * p.words * 2 + i] = bits;
        values[static_cast<size_t>(r * k + i)] = from_bits(bits);
      }
    }
  };
  if (test.kernels.native_bfloat16) {
    fill(m, 1.0f, p.a_values, p.a_words);
  } else {
    p.a_row_words = k;
    for (int64_t i = 0; i < m * k; ++i) {
      p.a_values.push_back(test.random.uniform());
      p.a_words.push_back(std::bit_cast<int32_t>(p.a_values.back()));
    }
  }
  fill(n, 3.0f / std::sqrt(static_cast<float>(k)), p.w_values, p.w_words);
  finish_problem(test, p);
  return p;
}

// Bytes at random, the extremes among them, in up to three segments.
inline WordProblem int8_problem(Case& test, int64_t m, int64_t n, int64_t k) {
  WordProblem p = problem(m, n, k, 4);
  for (int64_t s = 1; s <= 2; ++s) {
    const int64_t end = p.words * s / 3;
    if (end > (p.segment_ends.empty() ? 0 : p.segment_ends.back()) && end < p.words && test.random.coin())
      p.segment_ends.push_back(end);
  }
  p.segment_ends.push_back(p.words);
  p.segments = static_cast<int64_t>(p.segment_ends.size());
  const int64_t columns = columns_of(test.kernels, n);
  p.a_values.resize(static_cast<size_t>(m * k));
  p.w_values.resize(static_cast<size_t>(n * k));
  p.a_words.assign(static_cast<size_t>(m * p.words), 0);
  p.w_words.assign(static_cast<size_t>(n * p.words), 0);
  p.column_scale.resize(static_cast<size_t>(p.segments * columns));
  p.column_sum.resize(static_cast<size_t>(p.segments * columns));
  auto* a = reinterpret_cast<uint8_t*>(p.a_words.data());
  auto* w = reinterpret_cast<int8_t*>(p.w_words.data());
  const float factor = 3.0f / std::sqrt(static_cast<float>(k));
  const auto segment_of = [&](int64_t i) {
    int64_t s = 0;
    while (i / 4 >= p.segment_ends[static_cast<size_t>(s)]) ++s;
    return s;
  };
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t s = 0; s < p.segments; ++s) {
      p.row_scale.push_back((1.5f + test.random.uniform()) / 255.0f);
      p.row_zero.push_back(static_cast<int32_t>(test.random.integer(0, 255)));
    }
    for (int64_t i = 0; i < k; ++i) {
      const auto byte = static_cast<uint8_t>(test.random.integer(0, 3) == 0 ? 255 : test.random.integer(0, 255));
      a[r * p.words * 4 + i] = byte;
      const auto place = static_cast<size_t>(r * p.segments + segment_of(i));
      p.a_values[static_cast<size_t>(r * k + i)] = p.row_scale[place] * static_cast<float>(byte - p.row_zero[place]);
    }
  }
  for (int64_t c = 0; c < n; ++c) {
    for (int64_t s = 0; s < p.segments; ++s) {
      p.column_scale[static_cast<size_t>(s * columns + c)] = factor * (1.5f + test.random.uniform()) / 127.0f;
    }
    for (int64_t i = 0; i < k; ++i) {
      const auto byte = static_cast<int8_t>(test.random.integer(0, 3) == 0 ? 127 : test.random.integer(-127, 127));
      w[c * p.words * 4 + i] = byte;
      const auto place = static_cast<size_t>(segment_of(i) * columns + c);
      p.column_sum[place] += byte;
      p.w_values[static_cast<size_t>(c * k + i)] = p.column_scale[place] * static_cast<float>(byte);
    }
  }
  finish_problem(test, p);
  return p;
}

// The rows [row, row + m), computed as floats or as bfloat16, which is widened.
inline std::vector<float> multiply_words(Case& test, const WordProblem& p, int64_t row, int64_t m, bool halves) {
  const Guarded<uint16_t> half_out(halves ? m * p.n : 0, Place::kEnd);
  const Guarded<float> out(halves ? 0 : m * p.n, Place::kEnd);
  const int64_t width = p.a_row_words;
  const int64_t stride = test.random.stride(width);
  const Guarded<int32_t> a((m - 1) * stride + width, test.random.place());  // NaN between its rows
  for (int64_t r = 0; r < m; ++r) std::copy_n(p.a_words.data() + (row + r) * width, width, a.data() + r * stride);
  const Guarded<float> scratch(test.kernels.bfloat16_scratch, Place::kBuffer);
  const MatmulArgs args{
      .a = a.data(),
      .a_stride = stride,
      .packed = p.packed.data(),
      .bias = p.has_bias ? p.bias.data() : nullptr,
      .residual = p.has_residual ? p.residual.row(row) : nullptr,
      .residual_stride = p.residual.stride(),
      .out = halves ? static_cast<void*>(half_out.data()) : out.data(),
      .out_stride = p.n,
      .m = m,
      .n_begin = 0,
      .n_end = p.n,
      .k = p.words,
      .half_word = p.segments == 0 && !test.kernels.native_bfloat16 && p.k % 2 != 0,
      .scratch = scratch.data(),
      .activation = p.activation,
      .out_bfloat16 = halves,
      .segments = p.segments,
      .segment_ends = p.segment_ends.data(),
      .row_scale = p.row_scale.data() + row * p.segments,
      .row_zero = p.row_zero.data() + row * p.segments,
      .column_scale = p.column_scale.data(),
      .column_sum = p.column_sum.data(),
      .column_stride = columns_of(test.kernels, p.n),
  };
  (p.segments > 0 ? test.kernels.matmul_int8 : test.kernels.matmul_bfloat16)(args);
  std::vector<float> result;
  for (int64_t i = 0; i < m * p.n; ++i) result.push_back(halves ? from_bits(half_out[i]) : out[i]);
  return result;
}

// Of a GELU that is rounded to bfloat16: half a step in its last place, and what the polynomial is off.
inline double gelu_tolerance(float value) { return 0x1.01p-8 * std::abs(static_cast<double>(value)) + 1e-4; }

// The GELU of every bfloat16 in a range, as the product with 1 applies it.
inline void test_gelu_of_bfloat16(Case& test) {
  describe("%s GELU to bfloat16", test.kernels.name);
  const Guarded<float> scratch(test.kernels.bfloat16_scratch, Place::kBuffer);
  const std::vector<int32_t> one(static_cast<size_t>(test.kernels.nr), 0x3f80);
  bool right = true;
  for (int step = -1500; step <= 1500; ++step) {
    const uint16_t half = reference::bfloat16_bits(static_cast<float>(step) * 0.01f);
    const int32_t x = test.kernels.native_bfloat16 ? half : half << 16;
    uint16_t bits = 0;
    MatmulArgs args{};
    args.a = &x;
    args.a_stride = 1;
    args.packed = one.data();
    args.out = &bits;
    args.out_stride = 1;
    args.m = 1;
    args.n_end = 1;
    args.k = 1;
    args.half_word = !test.kernels.native_bfloat16;
    args.scratch = scratch.data();
    args.activation = Activation::kGelu;
    args.out_bfloat16 = true;
    test.kernels.matmul_bfloat16(args);
    const double expected = reference::activation(static_cast<double>(from_bits(half)), Activation::kGelu);
    right = right && close(from_bits(bits), expected, gelu_tolerance(static_cast<float>(expected)));
  }
  CHECK_CASE(right);
}

// Any m rows give the bits that they have among all.
inline void check_rows_alone(Case& test, const WordProblem& p, const std::vector<float>& all, int64_t m,
                             bool halves = false) {
  const int64_t row = test.random.integer(0, p.m - m);
  const std::vector<float> some = multiply_words(test, p, row, m, halves);
  bool same = true;
  for (size_t i = 0; i < some.size(); ++i) same = same && same_bits(some[i], all[static_cast<size_t>(row * p.n) + i]);
  CHECK_CASE(same);
}

inline void check_problem(Case& test, const WordProblem& p, const char* name) {
  describe("%s %s m %ld n %ld k %ld segments %ld activation %d", test.kernels.name, name, long{p.m}, long{p.n},
           long{p.k}, long{p.segments}, static_cast<int>(p.activation));
  const double tolerance = kTolerance * largest_magnitude(p.expected);
  const std::vector<float> all = multiply_words(test, p, 0, p.m, false);
  const bool to_halves = p.segments > 0 || test.kernels.native_bfloat16;
  const std::vector<float> halves = multiply_words(test, p, 0, p.m, to_halves);
  bool right = true;
  for (size_t i = 0; i < all.size(); ++i) {
    right = right && close(all[i], p.expected[i], tolerance);
    if (!to_halves) continue;
    right = right && (p.activation == Activation::kGelu
                          ? close(halves[i], static_cast<double>(all[i]), gelu_tolerance(all[i]))
                          : right_bfloat16(static_cast<uint16_t>(std::bit_cast<uint32_t>(halves[i]) >> 16), all[i]));
  }
  CHECK_CASE(right);
  const Kernels* twin = twin_of(test.kernels);
  if (p.segments > 0 && twin != nullptr) {
    Case other{*twin, test.random};
    const std::vector<float> expected = multiply_words(other, p, 0, p.m, false);
    CHECK_CASE(std::memcmp(all.data(), expected.data(), all.size() * sizeof(float)) == 0);
  }
  check_rows_alone(test, p, all, test.random.integer(1, p.m));
  if (to_halves) check_rows_alone(test, p, halves, test.random.integer(1, p.m), true);
}

// However many rows are multiplied, and whatever is in the others.
inline void check_row_counts(Case& test, WordProblem p, const char* name) {
  describe("%s %s rows of m %ld n %ld k %ld", test.kernels.name, name, long{p.m}, long{p.n}, long{p.k});
  const std::vector<float> all = multiply_words(test, p, 0, p.m, false);
  for (int64_t m = 1; m <= p.m; ++m) check_rows_alone(test, p, all, m);
  const int64_t poisoned = test.random.integer(0, p.m - 1);
  std::fill_n(p.a_words.data() + poisoned * p.a_row_words, p.a_row_words, -1);
  const std::vector<float> others = multiply_words(test, p, 0, p.m, false);
  bool same = true;
  for (int64_t i = 0; i < p.m * p.n; ++i) {
    same = same && (i / p.n == poisoned || same_bits(others[static_cast<size_t>(i)], all[static_cast<size_t>(i)]));
  }
  CHECK_CASE(same);
}

template <class Make>
void test_words(Case& test, const char* name, Make make) {
  for (const int64_t n : column_counts(test.kernels)) {
    for (const int64_t k : {1, 2, 3, 5, 15, 16, 17, 64, 129, 260}) {
      check_problem(test, make(test, test.random.integer(1, 40), n, k), name);
    }
  }
  check_problem(test, make(test, 33, 2 * test.kernels.nr + 1, 3072), name);
  check_problem(test, make(test, 90, test.kernels.nr + 3, 768), name);
  check_problem(test, make(test, 7, test.kernels.nr, 4100), name);
  check_row_counts(test, make(test, 70, test.kernels.nr + 3, 129), name);
  // As a feed forward block begins.
  for (const bool has_bias : {true, false}) {
    WordProblem p = make(test, 33, 2 * test.kernels.nr + 3, 65);
    p.activation = Activation::kGelu;
    p.has_bias = has_bias;
    p.has_residual = false;
    p.expect();
    check_problem(test, p, name);
  }
  // A depth that few rows and many cut at different places; bytes and registers of tiles do not cut it.
  check_row_counts(test, make(test, 70, test.kernels.nr + 3, 1700), name);
}

inline void test_matmul_bfloat16(Case& test) {
  test_words(test, "matmul_bfloat16", bfloat16_problem);
  test_gelu_of_bfloat16(test);
}
inline void test_matmul_int8(Case& test) { test_words(test, "matmul_int8", int8_problem); }

}  // namespace bertcpp::testing
