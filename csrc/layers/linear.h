// y = activation(x W^T + bias) + residual with W packed once for the instruction set in use.
#pragma once

#include <vector>

#include "layers/tensor.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace bertcpp {

// One matrix of a Linear: weight [n, k], bias [n] or null (zeros).
struct LinearPart {
  const TensorView* weight;
  const TensorView* bias;
};

struct LinearInput {
  const float* x;  // [m, k]
  int64_t stride;
  int64_t m;
};

struct LinearOutput {
  float* y;  // [m, n]
  int64_t stride;
  Activation activation = Activation::kIdentity;
  const float* residual = nullptr;  // [m, n], apart from y
  int64_t residual_stride = 0;
};

class Linear {
 public:
  Linear() = default;
  // Stacks the parts along n (query, key and value are one product); all have the same k. Packs on num_threads threads.
  Linear(const Kernels& kernels, const std::vector<LinearPart>& parts, int num_threads = 0);

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  size_t nbytes() const { return weight_.size() + bias_.size(); }

  // All members of the team call it; columns and rows are shared out among them, and all have finished when it returns.
  void forward(Team& team, const LinearInput& input, const LinearOutput& output) const;

 private:
  void pack_panel(const std::vector<LinearPart>& parts, int64_t panel, float* rows);

  const Kernels* kernels_ = nullptr;
  int64_t n_ = 0;
  int64_t k_ = 0;
  Buffer weight_;  // [ceil(n / nr)][k][nr]
  Buffer bias_;    // [n rounded up to nr]
};

}  // namespace bertcpp
