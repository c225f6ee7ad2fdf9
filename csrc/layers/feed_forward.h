// y = LayerNorm(x + down(activation(up(x)))).
#pragma once

#include "layers/self_attention.h"

namespace bertcpp {

class FeedForward {
 public:
  // weights holds `name`.{up,down}.{weight,bias} and `name`.norm.{weight,bias}.
  FeedForward(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t hidden_size,
              int64_t intermediate_size, Activation activation, double layer_norm_eps);

  // x[m, hidden_size] in place.
  void forward(Team& team, const LayerWorkspace& workspace, int64_t m, float* x, int64_t x_stride) const;
  size_t nbytes() const { return up_.nbytes() + down_.nbytes() + norm_.nbytes(); }

 private:
  Activation activation_;
  Linear up_;
  Linear down_;
  LayerNorm norm_;
};

}  // namespace bertcpp
