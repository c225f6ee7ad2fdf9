// y = (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension.
#pragma once

#include <vector>

#include "layers/linear.h"

namespace bertcpp {

class LayerNorm {
 public:
  LayerNorm() = default;
  // weights holds `name`.weight and `name`.bias, both [n]; order as in LayerFormat, or null.
  LayerNorm(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t n, double eps,
            const std::vector<int32_t>* order = nullptr);

  // On the calling thread: rows of n floats from x to y, which may be x.
  void rows(const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride) const;
  // Shared among the team. Each row is prepared for the product `next` while it is in cache, where next is not null.
  void forward(Team& team, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride,
               const Linear* next = nullptr, const OperandRows& operand = {}) const;
  size_t nbytes() const { return parameters_.size(); }

 private:
  const Kernels* kernels_ = nullptr;
  int64_t n_ = 0;
  float eps_ = 0.0f;
  Buffer parameters_;  // weight [n], then bias [n]
};

}  // namespace bertcpp
