// The class `Linear` of the extension module: a dense head over a packed weight.
#pragma once

#include <string>

#include "bindings/arrays.h"
#include "layers/linear.h"

namespace bertcpp::bindings {

// y[M,N] = activation(x[M,K] W[N,K]^T + bias[N]).
class DenseHead {
 public:
  DenseHead(const py::object& weight_array, const py::object& bias_array, const std::string& activation);

  FloatArray call(const py::object& x_array, int64_t num_threads) const;
  size_t nbytes() const { return linear_.nbytes(); }
  const Linear& linear() const { return linear_; }

 private:
  Activation activation_;
  Linear linear_;
};

}  // namespace bertcpp::bindings
