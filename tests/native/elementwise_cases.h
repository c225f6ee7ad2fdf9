// layer_norm, activate and the kernels that add, compare and convert.
#pragma once

#include "kernel_case.h"
#include "kernels/reference.h"

namespace bertcpp::testing {

inline const std::vector<int64_t>& lengths() {
  static const std::vector<int64_t> all = [] {
    std::vector<int64_t> values;
    for (int64_t n = 1; n <= 130; ++n) values.push_back(n);
    for (const int64_t n : {384, 767, 768, 1024, 3072, 4097}) values.push_back(n);
    return values;
  }();
  return all;
}

inline void check_layer_norm(Case& test, int64_t rows, int64_t n, float offset, float eps) {
  describe("%s layer_norm rows %ld n %ld offset %g eps %g", test.kernels.name, long{rows}, long{n},
           static_cast<double>(offset), static_cast<double>(eps));
  const GuardedRows x = test.random.rows(rows, n);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) x.at(r, c) += offset;
  }
  const Guarded<float> weight = test.random.floats(n);
  const Guarded<float> bias = test.random.floats(n);
  const std::vector<double> expected =
      reference::layer_norm({x.row(0), x.stride()}, weight.data(), bias.data(), static_cast<double>(eps), rows, n);
  const GuardedRows out(rows, n, test.random.stride(n), test.random.place());
  test.kernels.layer_norm(x.row(0), x.stride(), weight.data(), bias.data(), eps, rows, n, out.row(0), out.stride());
  CHECK_CASE(out.untouched_outside(0, rows, n));
  // A row by itself, in place: the same bits.
  const int64_t one = test.random.integer(0, rows - 1);
  test.kernels.layer_norm(x.row(one), x.stride(), weight.data(), bias.data(), eps, 1, n, x.row(one), x.stride());
  const double tolerance = kTolerance * largest_magnitude(expected);
  bool right = true;
  bool same = true;
  for (int64_t c = 0; c < n; ++c) {
    for (int64_t r = 0; r < rows; ++r)
      right = right && close(out.at(r, c), expected[static_cast<size_t>(r * n + c)], tolerance);
    same = same && same_bits(x.at(one, c), out.at(one, c));
  }
  CHECK_CASE(right);
  CHECK_CASE(same);
}

inline void test_layer_norm(Case& test) {
  for (const int64_t n : lengths()) {
    check_layer_norm(test, test.random.integer(1, 6), n, 0.0f, 1e-12f);
    // Differences of a few values far from 0 are as wrong as their rounding; the larger eps keeps that bounded.
    check_layer_norm(test, test.random.integer(1, 6), n, n < 8 ? 0.5f : 3.0f, 1e-5f);
  }
}

// Values of every size and both signs, and those where functions change their branch.
inline std::vector<float> activation_inputs(Random& random) {
  std::vector<float> x = {0.0f,  -0.0f,  0.05f,     -0.05f, 20.0f,   -20.0f,   88.0f,  -88.0f,
                          1e4f,  -1e4f,  3e38f,     -3e38f, 1e-38f,  -1e-38f,  1e-30f, 6.0f,
                          10.0f, -10.0f, 0.707107f, 3.93f,  5.5579f, -5.5579f, 87.33f, -87.34f};
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) * 0.005f);
  for (int i = 0; i < 4000; ++i) x.push_back(std::ldexp(random.uniform(), static_cast<int>(random.integer(-30, 7))));
  return x;
}

// 0, or the error of activation(x) in units of what is allowed. x erf(x) and its like may lose as many digits as 1 -
// erf(x) has in float32, but only where that is not 0: for arguments far from 0 every function has reached its limit.
inline double activation_excess(float x, float value, Activation activation) {
  const double expected = reference::activation(static_cast<double>(x), activation);
  const double argument = std::abs(static_cast<double>(x));
  const double cancelled = argument < 10.0 ? argument : 0.0;
  const double tolerance = kActivationTolerance * std::max({1.0, std::abs(expected), cancelled});
  if (close(value, expected, tolerance)) return 0.0;
  return std::max(1.001, std::abs(static_cast<double>(value) - expected) / tolerance);
}

inline void check_activation(Case& test, Activation activation) {
  const Kernels& kernels = test.kernels;
  const std::vector<float> inputs = activation_inputs(test.random);
  const auto count = static_cast<int64_t>(inputs.size());
  Guarded<float> whole(count, Place::kEnd);
  std::copy(inputs.begin(), inputs.end(), whole.data());
  describe("%s activate %d n %ld", kernels.name, static_cast<int>(activation), long{count});
  kernels.activate(whole.data(), count, activation);
  int64_t wrong = 0;
  int64_t worst = 0;
  double worst_excess = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const double excess = activation_excess(inputs[static_cast<size_t>(i)], whole[i], activation);
    if (excess > 1.0) ++wrong;
    if (excess > worst_excess) worst = i;
    worst_excess = std::max(worst_excess, excess);
  }
  const float x = inputs[static_cast<size_t>(worst)];
  CHECK(wrong == 0, "%s: %ld wrong; that of %.9g is %.9g, not %.9g", current_case(), long{wrong},
        static_cast<double>(x), static_cast<double>(whole[worst]),
        reference::activation(static_cast<double>(x), activation));
  // Any cut of the array gives the same bits.
  for (int64_t n = 1; n <= 70; ++n) {
    const int64_t begin = test.random.integer(0, count - n);
    describe("%s activate %d n %ld from %ld", kernels.name, static_cast<int>(activation), long{n}, long{begin});
    const Guarded<float> part(n, test.random.place());
    std::copy_n(inputs.begin() + begin, n, part.data());
    kernels.activate(part.data(), n, activation);
    bool same = part.untouched_behind();
    for (int64_t i = 0; i < n; ++i) same = same && same_bits(part[i], whole[begin + i]);
    CHECK_CASE(same);
    std::fill_n(part.data(), n, std::numeric_limits<float>::quiet_NaN());
    kernels.activate(part.data(), n, activation);
    bool nan = true;
    for (int64_t i = 0; i < n; ++i) nan = nan && std::isnan(part[i]);
    CHECK_CASE(nan);
  }
}

inline void test_activate(Case& test) {
  for (int32_t a = 0; a < static_cast<int32_t>(Activation::kCount); ++a)
    check_activation(test, static_cast<Activation>(a));
}

inline void test_add(Case& test) {
  for (const int64_t n : lengths()) {
    describe("%s add n %ld", test.kernels.name, long{n});
    const Guarded<float> a = test.random.floats(n);
    const Guarded<float> b = test.random.floats(n);
    const Guarded<float> c = test.random.floats(n);
    const Guarded<float> out(n, test.random.place());
    const bool has_b = test.random.coin();
    const bool has_c = test.random.coin();
    test.kernels.add(a.data(), has_b ? b.data() : nullptr, has_c ? c.data() : nullptr, n, out.data());
    bool right = out.untouched_behind();
    for (int64_t i = 0; i < n; ++i) {
      float sum = a[i];
      if (has_b) sum += b[i];
      if (has_c) sum += c[i];
      right = right && same_bits(out[i], sum);
    }
    CHECK_CASE(right);
  }
}

inline void test_accumulate(Case& test) {
  for (const int64_t n : lengths()) {
    describe("%s accumulate n %ld", test.kernels.name, long{n});
    const Guarded<float> x = test.random.floats(n);
    const Guarded<float> out = test.random.floats(n);
    const std::vector<float> before(out.data(), out.data() + n);
    const float weight = test.random.uniform() * 3.0f;
    test.kernels.accumulate(x.data(), weight, n, out.data());
    bool right = out.untouched_behind();
    for (int64_t i = 0; i < n; ++i) {
      const double expected =
          static_cast<double>(before[static_cast<size_t>(i)]) + static_cast<double>(weight) * static_cast<double>(x[i]);
      right = right && close(out[i], expected, 1e-6);
    }
    CHECK_CASE(right);
  }
}

inline void test_maximum(Case& test) {
  for (const int64_t n : lengths()) {
    describe("%s maximum n %ld", test.kernels.name, long{n});
    const Guarded<float> x = test.random.floats(n);
    const Guarded<float> out = test.random.floats(n);
    for (int64_t i = 0; i < n; i += 5) out[i] = -std::numeric_limits<float>::infinity();  // where a maximum starts
    // NaN stays, on whichever side it came.
    x[test.random.integer(0, n - 1)] = std::numeric_limits<float>::quiet_NaN();
    out[test.random.integer(0, n - 1)] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> before(out.data(), out.data() + n);
    test.kernels.maximum(x.data(), n, out.data());
    bool right = out.untouched_behind();
    for (int64_t i = 0; i < n; ++i) {
      const float old = before[static_cast<size_t>(i)];
      right = right && same_bits(out[i], std::isnan(old) || std::isnan(x[i]) ? old + x[i] : std::max(old, x[i]));
    }
    CHECK_CASE(right);
    // NaN in a hidden state must not vanish from the pool.
    x[n - 1] = std::numeric_limits<float>::quiet_NaN();
    test.kernels.maximum(x.data(), n, out.data());
    CHECK_CASE(std::isnan(out[n - 1]));
  }
}

inline void test_scale(Case& test) {
  for (const int64_t n : lengths()) {
    describe("%s scale n %ld", test.kernels.name, long{n});
    const Guarded<float> x = test.random.floats(n);
    const std::vector<float> before(x.data(), x.data() + n);
    const float factor = test.random.uniform() * 3.0f;
    test.kernels.scale(x.data(), n, factor);
    bool right = x.untouched_behind();
    for (int64_t i = 0; i < n; ++i) right = right && same_bits(x[i], before[static_cast<size_t>(i)] * factor);
    CHECK_CASE(right);
  }
}

inline void test_sum_squares(Case& test) {
  for (const int64_t n : lengths()) {
    describe("%s sum_squares n %ld", test.kernels.name, long{n});
    const Guarded<float> x = test.random.floats(n);
    double expected = 0.0;
    for (int64_t i = 0; i < n; ++i) expected += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    CHECK_CASE(close(test.kernels.sum_squares(x.data(), n), expected, kTolerance * expected));
  }
}

// All 65,536 values exactly, then pieces of every length.
template <class Convert, class Expected>
void check_conversion(Case& test, const char* name, Convert convert, Expected expected) {
  for (const int64_t n : {int64_t{65536}, int64_t{1}, int64_t{3}, int64_t{7}, int64_t{8}, int64_t{15}, int64_t{17},
                          int64_t{33}, int64_t{100}}) {
    describe("%s %s n %ld", test.kernels.name, name, long{n});
    const int64_t first = test.random.integer(0, 65536 - n);
    const Guarded<uint16_t> x(n, test.random.place());
    const Guarded<float> out(n, test.random.place());
    for (int64_t i = 0; i < n; ++i) x[i] = static_cast<uint16_t>(first + i);
    convert(x.data(), n, out.data());
    bool right = out.untouched_behind();
    for (int64_t i = 0; i < n; ++i) right = right && same_bits(out[i], expected(x[i]));
    CHECK_CASE(right);
  }
}

inline void test_from_float16(Case& test) {
  check_conversion(test, "from_float16", test.kernels.from_float16,
                   [](uint16_t bits) { return static_cast<float>(reference::float16(bits)); });
}

inline void test_from_bfloat16(Case& test) {
  check_conversion(test, "from_bfloat16", test.kernels.from_bfloat16,
                   [](uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); });
}

// Results that are no NaN, and operations in proportion to the rounds.
inline void test_peak(Case& test, const char* name, double (*peak)(int64_t, float*)) {
  describe("%s %s", test.kernels.name, name);
  Guarded<float> sink(test.kernels.vector_width, Place::kEnd);
  for (int64_t i = 0; i < sink.size(); ++i) sink[i] = test.random.uniform();
  const double once = peak(1, sink.data());
  CHECK_CASE(once >= 2.0 * static_cast<double>(test.kernels.vector_width));
  for (int64_t i = 0; i < sink.size(); ++i) sink[i] = test.random.uniform();
  CHECK_CASE(peak(1000, sink.data()) == 1000.0 * once);
  for (int64_t i = 0; i < sink.size(); ++i) CHECK_CASE(!std::isnan(sink[i]));
}

}  // namespace bertcpp::testing
