// gru_cell.
#pragma once

#include "elementwise_cases.h"
#include "kernel_case.h"
#include "kernels/reference.h"

namespace bertcpp::testing {

// Products up to `largest`: gates that are open, half open and shut.
inline void check_gru_cell(Case& test, int64_t n, float largest) {
  describe("%s gru_cell n %ld products up to %g", test.kernels.name, long{n}, static_cast<double>(largest));
  const Guarded<float> input = test.random.floats(3 * n);
  const Guarded<float> hidden = test.random.floats(3 * n);
  const Guarded<float> state = test.random.floats(n);
  for (int64_t i = 0; i < 3 * n; ++i) {
    input[i] *= largest;
    hidden[i] *= largest;
  }
  const std::vector<double> expected = reference::gru_cell(input.data(), hidden.data(), state.data(), n);
  const std::vector<float> before(state.data(), state.data() + n);
  test.kernels.gru_cell(input.data(), hidden.data(), n, state.data());
  // Sums of large products lose digits before the gates see them.
  const double tolerance = 2e-7 * std::max(5.0, static_cast<double>(largest));
  bool right = state.untouched_behind();
  for (int64_t i = 0; i < n; ++i) right = right && close(state[i], expected[static_cast<size_t>(i)], tolerance);
  CHECK_CASE(right);
  // A unit by itself: the same bits, wherever it stood.
  const int64_t one = test.random.integer(0, n - 1);
  const Guarded<float> alone(1, test.random.place());
  const float single_input[3] = {input[one], input[n + one], input[2 * n + one]};
  const float single_hidden[3] = {hidden[one], hidden[n + one], hidden[2 * n + one]};
  alone[0] = before[static_cast<size_t>(one)];
  test.kernels.gru_cell(single_input, single_hidden, 1, alone.data());
  CHECK_CASE(same_bits(alone[0], state[one]));
  // NaN in any operand stays NaN.
  state[one] = std::numeric_limits<float>::quiet_NaN();
  test.kernels.gru_cell(input.data(), hidden.data(), n, state.data());
  CHECK_CASE(std::isnan(state[one]));
}

inline void test_gru_cell(Case& test) {
  for (const int64_t n : lengths()) {
    for (const float largest : {1.0f, 8.0f, 200.0f}) check_gru_cell(test, n, largest);
  }
}

}  // namespace bertcpp::testing
