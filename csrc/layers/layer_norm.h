// y = (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension.
#pragma once

#include "layers/tensor.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace bertcpp {

class LayerNorm {
 public:
  LayerNorm() = default;
  // weights holds `name`.weight and `name`.bias, both [n].
  LayerNorm(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t n, double eps);

  // On the calling thread: rows of n floats from x to y, which may be x.
  void rows(const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride) const;
  // Shared among the team.
  void forward(Team& team, const float* x, int64_t x_stride, int64_t rows, float* y, int64_t y_stride) const;
  size_t nbytes() const { return parameters_.size(); }

 private:
  const Kernels* kernels_ = nullptr;
  int64_t n_ = 0;
  float eps_ = 0.0f;
  Buffer parameters_;  // weight [n], then bias [n]
};

}  // namespace bertcpp
