// pack_weight, matmul and matmul_depth.
#pragma once

#include <memory>

#include "kernel_case.h"
#include "kernels/reference.h"

namespace bertcpp::testing {

// The floats of a packed weight [n, k].
inline int64_t packed_size(const Kernels& kernels, int64_t n, int64_t k) {
  return (n + kernels.nr - 1) / kernels.nr * kernels.nr * k;
}

inline std::vector<int64_t> column_counts(const Kernels& kernels) {
  const int64_t w = kernels.vector_width;
  const int64_t nr = kernels.nr;
  std::vector<int64_t> counts = {1,      2,  3,      w - 1,  w,          w + 1,      2 * w,      2 * w + 1,
                                 nr - 1, nr, nr + 1, nr + w, nr + 2 * w, 2 * nr - 1, 2 * nr + 1, 4 * nr + 3};
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts;
}

inline void test_pack_weight(Case& test) {
  const Kernels& kernels = test.kernels;
  for (const int64_t n : column_counts(kernels)) {
    for (const int64_t k : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100}) {
      describe("%s pack_weight n %ld k %ld", kernels.name, long{n}, long{k});
      const GuardedRows w = test.random.rows(n, k);
      const Guarded<float> out(packed_size(kernels, n, k), Place::kBuffer);
      kernels.pack_weight(w.row(0), w.stride(), n, k, out.data());
      bool right = out.untouched_behind();
      for (int64_t i = 0; i < out.size(); ++i) {
        const int64_t column = i / (kernels.nr * k) * kernels.nr + i % kernels.nr;
        const int64_t depth = i / kernels.nr % k;
        right = right && same_bits(out[i], column < n ? w.at(column, depth) : 0.0f);
      }
      CHECK_CASE(right);
    }
  }
}

// One weight matrix and the most rows that it is multiplied with.
class MatmulProblem {
 public:
  MatmulProblem(Case& test, int64_t max_m, int64_t n, int64_t k)
      : test_(test),
        max_m_(max_m),
        n_(n),
        k_(k),
        activation_(test.random.activation()),
        a_(test.random.rows(max_m, k)),
        w_(test.random.rows(n, k)),
        residual_(test.random.rows(max_m, n)),
        packed_(packed_size(test.kernels, n, k), Place::kBuffer),
        bias_((n + test.kernels.nr - 1) / test.kernels.nr * test.kernels.nr, Place::kBuffer),
        has_bias_(test.random.coin()),
        has_residual_(test.random.coin()) {
    for (int64_t i = 0; i < n; ++i) bias_[i] = test.random.uniform();  // the padding stays NaN
    // Sums of about 1, whatever the depth: where an activation has bent its input, errors are not lost in large values.
    const float factor = 3.0f / std::sqrt(static_cast<float>(k));
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < k; ++c) w_.at(r, c) *= factor;
    }
    test.kernels.pack_weight(w_.row(0), w_.stride(), n, k, packed_.data());
    expected_ =
        reference::matmul({a_.row(0), a_.stride()}, {w_.row(0), w_.stride()}, has_bias_ ? bias_.data() : nullptr,
                          {has_residual_ ? residual_.row(0) : nullptr, residual_.stride()}, max_m, n, k, activation_);
    first_ = std::make_unique<GuardedRows>(multiply(0, max_m, {0, n}));
    const double tolerance = kTolerance * largest_magnitude(expected_);
    bool right = true;
    for (int64_t r = 0; r < max_m; ++r) {
      for (int64_t c = 0; c < n; ++c)
        right = right && close(first_->at(r, c), expected_[static_cast<size_t>(r * n + c)], tolerance);
    }
    CHECK_CASE(right);
  }

  // The rows [row, row + m) give the bits they gave among all rows, with the columns cut in two at random.
  void check_rows(int64_t row, int64_t m) {
    const int64_t nr = test_.kernels.nr;
    const int64_t cut = test_.random.integer(0, (n_ - 1) / nr) * nr;
    const GuardedRows out = multiply(row, m, {0, cut, n_});
    bool same = true;
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t c = 0; c < n_; ++c) same = same && same_bits(out.at(r, c), first_->at(row + r, c));
    }
    CHECK_CASE(same);
  }

  // A row of NaNs leaves the bits of the others as they are.
  void check_rows_do_not_mix() {
    const int64_t poisoned = test_.random.integer(0, max_m_ - 1);
    std::vector<float> saved(a_.row(poisoned), a_.row(poisoned) + k_);
    std::fill_n(a_.row(poisoned), k_, std::numeric_limits<float>::quiet_NaN());
    const GuardedRows out = multiply(0, max_m_, {0, n_});
    bool same = true;
    for (int64_t r = 0; r < max_m_; ++r) {
      for (int64_t c = 0; c < n_; ++c) same = same && (r == poisoned || same_bits(out.at(r, c), first_->at(r, c)));
    }
    CHECK_CASE(same);
    std::copy(saved.begin(), saved.end(), a_.row(poisoned));
  }

 private:
  // The product of rows [row, row + m), columns cut at `cuts`.
  GuardedRows multiply(int64_t row, int64_t m, const std::vector<int64_t>& cuts) {
    describe("%s matmul m %ld (from row %ld) n %ld k %ld cut at %ld activation %d bias %d residual %d",
             test_.kernels.name, long{m}, long{row}, long{n_}, long{k_}, long{cuts[1]}, static_cast<int>(activation_),
             has_bias_, has_residual_);
    GuardedRows out(m, n_, test_.random.stride(n_), test_.random.place());
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      if (cuts[i] == cuts[i + 1]) continue;
      test_.kernels.matmul({
          .a = a_.row(row),
          .a_stride = a_.stride(),
          .packed = packed_.data(),
          .bias = has_bias_ ? bias_.data() : nullptr,
          .residual = has_residual_ ? residual_.row(row) : nullptr,
          .residual_stride = residual_.stride(),
          .out = out.row(0),
          .out_stride = out.stride(),
          .m = m,
          .n_begin = cuts[i],
          .n_end = cuts[i + 1],
          .k = k_,
          .activation = activation_,
      });
    }
    CHECK_CASE(out.untouched_outside(0, m, n_));
    return out;
  }

  Case& test_;
  int64_t max_m_;
  int64_t n_;
  int64_t k_;
  Activation activation_;
  GuardedRows a_;
  GuardedRows w_;
  GuardedRows residual_;
  Guarded<float> packed_;
  Guarded<float> bias_;
  bool has_bias_;
  bool has_residual_;
  std::vector<double> expected_;
  std::unique_ptr<GuardedRows> first_;
};

inline void test_matmul(Case& test) {
  const int64_t w = test.kernels.vector_width;
  const int64_t nr = test.kernels.nr;
  for (const int64_t n : column_counts(test.kernels)) {
    for (const int64_t k : {int64_t{1}, int64_t{2}, int64_t{3}, w - 1, w + 1, nr, nr + 1, int64_t{64}, int64_t{129}}) {
      MatmulProblem problem(test, 40, n, k);
      for (int64_t m = 1; m <= 40; ++m) problem.check_rows(test.random.integer(0, 40 - m), m);
      problem.check_rows_do_not_mix();
    }
  }
  // Rows and depths beyond whatever a kernel works through at a time.
  const struct {
    int64_t m, n, k;
  } large[] = {{600, nr + 5, 384},     {70, 3 * nr + 1, 768}, {33, nr, 3072},
               {41, 2 * nr - 1, 4099}, {5, 700, 1536},        {90, 2 * nr + 1, 2100}};
  for (const auto& size : large) {
    MatmulProblem problem(test, size.m, size.n, size.k);
    for (const int64_t m :
         {int64_t{1}, int64_t{3}, int64_t{40}, test.random.integer(1, size.m), test.random.integer(1, size.m)}) {
      const int64_t rows = std::min(m, size.m);
      problem.check_rows(test.random.integer(0, size.m - rows), rows);
    }
    problem.check_rows_do_not_mix();
  }
}

inline void test_matmul_depth(Case& test) {
  for (int64_t k = 1; k < 5000; k += 1 + k / 10) {
    describe("%s matmul_depth k %ld", test.kernels.name, long{k});
    const int64_t depth = test.kernels.matmul_depth(k);
    CHECK_CASE(depth >= 1 && depth <= k);
  }
}

}  // namespace bertcpp::testing
