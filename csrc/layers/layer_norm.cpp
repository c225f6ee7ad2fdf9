#include "layers/layer_norm.h"

#include <algorithm>

namespace bertcpp {

LayerNorm::LayerNorm(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t n, double eps,
                     const std::vector<int32_t>* order)
    : kernels_(&kernels),
      n_(n),
      eps_(static_cast<float>(eps)),
      parameters_(static_cast<size_t>(2 * n) * sizeof(float)) {
  float* out = parameters_.floats();
  for (const char* part : {".weight", ".bias"}) {
    const TensorView& tensor = weight_at(weights, name + part, {n});
    for (int64_t i = 0; i < n; ++i) {
      read_floats(kernels, tensor, order == nullptr ? i : (*order)[static_cast<size_t>(i)], 1, out + i);
    }
    out += n;
  }
}

void LayerNorm::rows(const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride) const {
  kernels_->layer_norm(x, x_stride, parameters_.floats(), parameters_.floats() + n_, eps_, rows, n_, y, y_stride);
}

void LayerNorm::forward(Team& team, const float* x, int64_t x_stride, int64_t count, float* y, int64_t y_stride,
                        const Linear* next, const OperandRows& operand) const {
  constexpr int64_t kRows = 16;
  team.for_each((count + kRows - 1) / kRows, [&](int64_t block) {
    const int64_t end = std::min(count, (block + 1) * kRows);
    rows(x + block * kRows * x_stride, x_stride, end - block * kRows, y + block * kRows * y_stride, y_stride);
    for (int64_t row = block * kRows; next != nullptr && row < end; ++row) {
      next->prepare(y + row * y_stride, row, operand);
    }
  });
}

}  // namespace bertcpp
