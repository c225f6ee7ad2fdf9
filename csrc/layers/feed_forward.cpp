#include "layers/feed_forward.h"

namespace bertcpp {

FeedForward::FeedForward(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t hidden_size,
                         int64_t intermediate_size, Activation activation, double layer_norm_eps)
    : activation_(activation), norm_(kernels, weights, name + ".norm", hidden_size, layer_norm_eps) {
  const TensorView& up = weight_at(weights, name + ".up.weight", {intermediate_size, hidden_size});
  const TensorView& up_bias = weight_at(weights, name + ".up.bias", {intermediate_size});
  const TensorView& down = weight_at(weights, name + ".down.weight", {hidden_size, intermediate_size});
  const TensorView& down_bias = weight_at(weights, name + ".down.bias", {hidden_size});
  up_ = Linear(kernels, {{&up, &up_bias}});
  down_ = Linear(kernels, {{&down, &down_bias}});
}

void FeedForward::forward(Team& team, const LayerWorkspace& workspace, int64_t m, float* x, int64_t x_stride) const {
  up_.forward(team, {x, x_stride, m},
              {.y = workspace.intermediate, .stride = workspace.intermediate_stride, .activation = activation_});
  down_.forward(
      team, {workspace.intermediate, workspace.intermediate_stride, m},
      {.y = workspace.context, .stride = workspace.context_stride, .residual = x, .residual_stride = x_stride});
  norm_.forward(team, workspace.context, workspace.context_stride, m, x, x_stride);
}

}  // namespace bertcpp
