// bertcpp._cuda: the encoder of bertcpp._core on an NVIDIA GPU. A module of its own, so that nothing of CUDA is loaded
// before a GPU is asked for.

#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "bindings/encoder_class.h"
#include "cuda/encoder.h"

namespace bertcpp::bindings {
namespace {

// As PyEncoder takes it: the number of threads means nothing here.
class GpuEncoder {
 public:
  GpuEncoder(const EncoderConfig& config, const WeightMap& weights, cuda::Compute compute, int device)
      : encoder_(config, weights, compute, device) {}
  void forward(const EncoderBatch& batch, const EncoderOutputs& outputs, int) const {
    encoder_.forward(batch, outputs);
  }
  int64_t heads(int64_t layer) const { return encoder_.heads(layer); }
  size_t nbytes() const { return encoder_.nbytes(); }

 private:
  cuda::Encoder encoder_;
};

cuda::Compute compute_from_name(const std::string& name) {
  if (name == "float32") return cuda::Compute::kFloat32;
  if (name == "tf32") return cuda::Compute::kTf32;
  if (name == "float16") return cuda::Compute::kFloat16;
  if (name == "bfloat16") return cuda::Compute::kBFloat16;
  throw InputError("there is no dtype \"" + name + "\" on a GPU; there are float32, tf32, float16 and bfloat16");
}

std::unique_ptr<PyEncoder<GpuEncoder>> make_encoder(const py::dict& settings, const py::dict& weights,
                                                    const std::string& dtype, int device) {
  NamedConfig config = read_config(settings);
  const cuda::Compute compute = compute_from_name(dtype);
  const NamedWeights named(weights);
  std::unique_ptr<const GpuEncoder> engine;
  {
    const GilRelease release;
    engine = std::make_unique<GpuEncoder>(config.encoder, named.views(), compute, device);
  }
  return std::make_unique<PyEncoder<GpuEncoder>>(std::move(config), std::move(engine), std::vector<py::array>{});
}

}  // namespace
}  // namespace bertcpp::bindings

PYBIND11_MODULE(_cuda, module, pybind11::mod_gil_not_used()) {
  using namespace bertcpp::bindings;
  module.doc() = "The engine of bertcpp on NVIDIA GPUs.";
  translate_errors();
  module.def("device_count", &bertcpp::cuda::device_count, "How many GPUs the driver offers.");
  module.def("device_text", &bertcpp::cuda::device_text, py::arg("device"), "A GPU's name, memory and capability.");
  py::class_<PyEncoder<GpuEncoder>> type(module, "Encoder", py::is_final(),
                                         "A BERT-family encoder over packed batches, on a GPU.");
  type.def(py::init(&make_encoder), py::arg("config"), py::arg("weights"), py::kw_only(), py::arg("dtype") = "float32",
           py::arg("device") = 0);
  define_encoder_methods(type);
}
