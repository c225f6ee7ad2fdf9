#include "layers/gru.h"

#include <memory>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "runtime/errors.h"

namespace bertcpp::bindings {
namespace {

constexpr int64_t kMostLayers = 1024;

// What torch.nn.GRU computes for a packed batch.
class PyGru {
 public:
  PyGru(const py::dict& weights, int64_t num_layers, bool bidirectional) {
    WeightMap views;
    std::vector<py::array> arrays;  // held while they are packed
    for (const auto& [key, value] : weights) {
      if (!py::isinstance<py::str>(key)) throw WeightError("the names of weights must be strings");
      const std::string name = key.cast<std::string>();
      Weight one = weight(value, name);
      views.emplace(name, std::move(one.view));
      arrays.push_back(std::move(one.array));
    }
    const GruConfig config = config_of(views, num_layers, bidirectional);
    const Kernels& kernels = active_kernels();
    const GilRelease release;
    gru_ = std::make_unique<Gru>(config, views, kernels);
  }

  py::tuple call(const py::object& x_array, const py::object& cu_seqlens_array, int64_t num_threads) const {
    const GruConfig& config = gru_->config();
    const int threads = checked_num_threads(num_threads);
    const FloatArray x = floats(x_array, "x", {-1, config.input_size});
    const std::vector<int32_t> cu_seqlens = int32s(cu_seqlens_array, "cu_seqlens");
    const int64_t tokens = x.shape(0);
    if (cu_seqlens.empty() || cu_seqlens.back() != tokens) {
      throw InputError("cu_seqlens must end with " + std::to_string(tokens) + ", the number of rows of x");
    }
    const int64_t sequences = static_cast<int64_t>(cu_seqlens.size()) - 1;
    FloatArray states({tokens, config.directions() * config.hidden_size});
    FloatArray finals({config.num_layers * config.directions(), sequences, config.hidden_size});
    const GruBatch batch{x.data(), cu_seqlens.data(), sequences};
    const GruOutputs outputs{states.mutable_data(), finals.mutable_data()};
    {
      const GilRelease release;
      gru_->forward(batch, outputs, threads);
    }
    return py::make_tuple(states, finals);
  }

  size_t nbytes() const { return gru_->nbytes(); }

 private:
  // The sizes that weight_ih_l0 [3 hidden_size, input_size] tells.
  static GruConfig config_of(const WeightMap& weights, int64_t num_layers, bool bidirectional) {
    const auto first = weights.find("weight_ih_l0");
    if (first == weights.end()) throw WeightError("the weight 'weight_ih_l0' is missing");
    const Shape& shape = first->second.shape;
    if (shape.size() != 2 || shape[0] < 3 || shape[0] % 3 != 0 || shape[1] < 1) {
      throw WeightError("weight_ih_l0 has the shape " + shape_text(shape) +
                        "; a GRU needs (3 * hidden_size, input_size)");
    }
    if (num_layers < 1 || num_layers > kMostLayers) {
      throw ConfigError("num_layers is " + std::to_string(num_layers) + "; it must lie between 1 and " +
                        std::to_string(kMostLayers));
    }
    return {.input_size = shape[1],
            .hidden_size = shape[0] / 3,
            .num_layers = num_layers,
            .bidirectional = bidirectional,
            .bias = weights.count("bias_ih_l0") > 0};
  }

  std::unique_ptr<Gru> gru_;
};

}  // namespace

void bind_gru(py::module_& module) {
  py::class_<PyGru>(module, "GRU", py::is_final(), "Gated recurrent units over packed sequences, as torch.nn.GRU.")
      .def(py::init<const py::dict&, int64_t, bool>(), py::arg("weights"), py::kw_only(), py::arg("num_layers") = 1,
           py::arg("bidirectional") = false)
      .def("__call__", &PyGru::call, py::arg("x"), py::arg("cu_seqlens"), py::kw_only(), py::arg("num_threads") = 0)
      .def_property_readonly("nbytes", &PyGru::nbytes, "Bytes of the packed weights and biases.");
}

}  // namespace bertcpp::bindings
