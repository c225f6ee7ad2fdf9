#include "bindings/linear.h"

#include <optional>

#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "layers/activation.h"
#include "runtime/errors.h"

namespace bertcpp::bindings {

DenseHead::DenseHead(const py::object& weight_array, const py::object& bias_array, const std::string& activation)
    : activation_(activation_from_name(activation)) {
  const Weight w = weight(weight_array, "weight");
  if (w.view.shape.size() != 2 || w.view.shape[0] < 1 || w.view.shape[1] < 1) {
    throw WeightError("weight has the shape " + shape_text(w.view.shape) + "; a dense head needs (out, in)");
  }
  std::optional<Weight> bias;
  if (!bias_array.is_none()) {
    bias = weight(bias_array, "bias");
    if (bias->view.shape != Shape{w.view.shape[0]}) {
      throw WeightError("bias has the shape " + shape_text(bias->view.shape) + ", but weight " +
                        shape_text(w.view.shape) + " needs " + shape_text({w.view.shape[0]}));
    }
  }
  const Kernels& kernels = active_kernels();
  const GilRelease release;
  linear_ = Linear(kernels, {{&w.view, bias ? &bias->view : nullptr}});
}

FloatArray DenseHead::call(const py::object& x_array, int64_t num_threads) const {
  const int threads = checked_num_threads(num_threads);
  const FloatArray x = floats(x_array, "x", {-1, linear_.k()});
  const int64_t m = x.shape(0);
  FloatArray y({m, linear_.n()});
  if (m == 0) return y;
  const LinearInput input{.x = x.data(), .stride = linear_.k(), .m = m};
  const LinearOutput output{.y = y.mutable_data(), .stride = linear_.n(), .activation = activation_};
  const GilRelease release;
  run_team(threads, [&](Team& team) { linear_.forward(team, input, output); });
  return y;
}

void bind_linear(py::module_& module) {
  py::class_<DenseHead>(module, "Linear", py::is_final(),
                        "A dense head: y[M, N] = activation(x[M, K] weight[N, K]^T + bias[N]).")
      .def(py::init<const py::object&, const py::object&, const std::string&>(), py::arg("weight"),
           py::arg("bias") = py::none(), py::arg("activation") = "identity")
      .def("__call__", &DenseHead::call, py::arg("x"), py::kw_only(), py::arg("num_threads") = 0)
      .def_property_readonly("nbytes", &DenseHead::nbytes, "Bytes of the packed weight and bias.");
}

}  // namespace bertcpp::bindings
