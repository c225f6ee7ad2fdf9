#include "layers/layer_norm.h"

#include <algorithm>

namespace bertcpp {

LayerNorm::LayerNorm(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t n, double eps)
    : kernels_(&kernels),
      n_(n),
      eps_(static_cast<float>(eps)),
      parameters_(static_cast<size_t>(2 * n) * sizeof(float)) {
  read_floats(kernels, weight_at(weights, name + ".weight", {n}), 0, n, parameters_.floats());
  read_floats(kernels, weight_at(weights, name + ".bias", {n}), 0, n, parameters_.floats() + n);
}

void LayerNorm::rows(const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride) const {
  kernels_->layer_norm(x, x_stride, parameters_.floats(), parameters_.floats() + n_, eps_, rows, n_, y, y_stride);
}

void LayerNorm::forward(Team& team, const float* x, int64_t x_stride, int64_t count, float* y, int64_t y_stride) const {
  constexpr int64_t kRows = 16;
  team.for_each((count + kRows - 1) / kRows, [&](int64_t block) {
    const int64_t row = block * kRows;
    rows(x + row * x_stride, x_stride, std::min(kRows, count - row), y + row * y_stride, y_stride);
  });
}

}  // namespace bertcpp
