#include "layers/layer_norm.h"

#include <cmath>
#include <string>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "runtime/errors.h"

namespace bertcpp::bindings {
namespace {

// y[M,N] = (x - mean) / sqrt(variance + eps) * weight[N] + bias[N], row by row.
class Norm {
 public:
  Norm(const py::object& weight_array, const py::object& bias_array, double eps) {
    const Weight w = weight(weight_array, "weight");
    const Weight bias = weight(bias_array, "bias");
    if (w.view.shape.size() != 1 || w.view.shape[0] < 1) {
      throw WeightError("weight has the shape " + shape_text(w.view.shape) + "; a norm needs (n,)");
    }
    if (!std::isfinite(eps) || eps < 0) {
      throw ConfigError("eps is " + std::to_string(eps) + ", but must be a number of at least 0");
    }
    n_ = w.view.shape[0];
    norm_ = LayerNorm(active_kernels(), {{"norm.weight", w.view}, {"norm.bias", bias.view}}, "norm", n_, eps);
  }

  FloatArray call(const py::object& x_array, int64_t num_threads) const {
    const int threads = checked_num_threads(num_threads);
    const FloatArray x = floats(x_array, "x", {-1, n_});
    const int64_t m = x.shape(0);
    FloatArray y({m, n_});
    if (m == 0) return y;
    const float* from = x.data();
    float* to = y.mutable_data();
    const GilRelease release;
    run_team(threads, [&](Team& team) { norm_.forward(team, from, n_, m, to, n_); });
    return y;
  }

  size_t nbytes() const { return norm_.nbytes(); }

 private:
  int64_t n_ = 0;
  LayerNorm norm_;
};

}  // namespace

void bind_layer_norm(py::module_& module) {
  py::class_<Norm>(module, "LayerNorm", py::is_final(),
                   "Rows y[M, N] = (x - mean) / sqrt(variance + eps) * weight[N] + bias[N].")
      .def(py::init<const py::object&, const py::object&, double>(), py::arg("weight"), py::arg("bias"), py::arg("eps"))
      .def("__call__", &Norm::call, py::arg("x"), py::kw_only(), py::arg("num_threads") = 0)
      .def_property_readonly("nbytes", &Norm::nbytes, "Bytes of the weight and bias.");
}

}  // namespace bertcpp::bindings
