// bertcpp._cuda: the encoder of bertcpp._core on an NVIDIA GPU. A module of its own, so that nothing of CUDA is loaded
// before a GPU is asked for.

#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "bindings/dlpack.h"
#include "bindings/encoder_class.h"
#include "cuda/array.h"
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
  const cuda::Encoder& encoder() const { return encoder_; }

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

using Self = PyEncoder<GpuEncoder>;
using SharedArray = std::shared_ptr<cuda::Array>;

// The results of a call that stay on the device, as Python gets them.
class DeviceResults {
 public:
  explicit DeviceResults(int device) : device_(device) {
    for (const char* name : {"last_hidden_state", "pooler_output", "hidden_states", "attentions"}) {
      results_[name] = py::none();
    }
  }
  float* add(const char* name, const Shape& shape) {
    float* data = nullptr;
    results_[name] = array(shape, data);
    return data;
  }
  std::vector<float*> add_list(const char* name, const std::vector<Shape>& shapes) {
    py::list list;
    std::vector<float*> data(shapes.size());
    for (size_t i = 0; i < shapes.size(); ++i) list.append(array(shapes[i], data[i]));
    results_[name] = list;
    return data;
  }
  py::dict take() { return std::move(results_); }

 private:
  py::object array(const Shape& shape, float*& data) const {
    auto one = std::make_shared<cuda::Array>(device_, shape);
    data = one->data();
    return py::cast(std::move(one));
  }

  int device_;
  py::dict results_;
};

// `forward` for a caller on the same GPU: results are padded as the caller's arrays are, and stay there.
py::dict forward_padded(const Self& self, const py::object& input_ids, const py::object& cu_seqlens,
                        const py::object& position_ids, const py::object& token_type_ids,
                        const py::object& inputs_embeds, const py::object& key_lens, const py::object& columns,
                        const py::object& cells, int64_t width, bool output_hidden_states, bool output_attentions,
                        bool pooler) {
  const EncoderConfig& config = self.encoder_config();
  const GpuEncoder& engine = self.engine();
  const bool on_device = py::isinstance<Borrowed>(inputs_embeds);
  Batch arguments(config, input_ids, on_device ? py::none() : inputs_embeds, cu_seqlens, position_ids, token_type_ids);
  arguments.set_key_lens(key_lens);
  arguments.set_columns(columns);
  EncoderBatch batch = arguments.view();
  const int64_t rows = arguments.num_sequences();
  const auto cell_numbers = optional_int32s(cells, "cells", arguments.num_tokens());
  cuda::Padding padding{width, cell_numbers ? cell_numbers->data() : nullptr, {}};
  if (on_device) {
    padding.embeds = inputs_embeds.cast<const Borrowed&>().floats({rows, width, config.embedding_size});
    batch.inputs_embeds = static_cast<const float*>(padding.embeds.data);
  }
  engine.encoder().require(batch, padding);
  EncoderOutputs outputs;
  DeviceResults results(engine.encoder().device());
  const Shape states{rows, width, config.hidden_size};
  if (output_hidden_states) {
    outputs.hidden_states = results.add_list(
        "hidden_states", std::vector<Shape>(static_cast<size_t>(config.num_hidden_layers + 1), states));
  } else {
    outputs.last_hidden_state = results.add("last_hidden_state", states);
  }
  if (output_attentions) {
    std::vector<Shape> shapes;
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) shapes.push_back({rows, engine.heads(i), width, width});
    outputs.attentions = results.add_list("attentions", shapes);
  }
  if (pooler && config.has_pooler) {
    outputs.pooler_output = results.add("pooler_output", {rows, config.hidden_size});
  }
  {
    const GilRelease release;
    engine.encoder().forward(batch, outputs, padding);
  }
  py::dict done = results.take();
  // The last of them is last_hidden_state, so that is not written twice.
  if (output_hidden_states)
    done["last_hidden_state"] = py::list(done["hidden_states"])[static_cast<size_t>(config.num_hidden_layers)];
  return done;
}

// A copy on the host, with the axes in the order of the caller's array; bfloat16 as its bits.
py::array fetch(const Self& self, const Borrowed& given) {
  const HostLayout layout = given.host_layout();
  py::array_t<uint8_t> bytes(static_cast<int64_t>(layout.from.count * layout.from.bytes));
  uint8_t* to = bytes.mutable_data();
  if (bytes.size() > 0) {
    const GilRelease release;
    self.engine().encoder().download(layout.from, to);
  }
  const std::string dtype = given.dtype();
  return py::array(py::dtype(dtype == "bfloat16" ? "uint16" : dtype), given.shape(), layout.strides, to + layout.start,
                   bytes);
}

SharedArray upload(const Self& self, const py::object& values) {
  const FloatArray array = floats(values, "values", Shape(static_cast<size_t>(py::array(values).ndim()), -1));
  const cuda::Encoder& encoder = self.engine().encoder();
  encoder.refuse_after_fork();
  auto result = std::make_shared<cuda::Array>(encoder.device(), Shape(array.shape(), array.shape() + array.ndim()));
  const void* data = array.data();
  const GilRelease release;
  encoder.upload(data, result->nbytes(), result->data());
  return result;
}

std::unique_ptr<Borrowed> borrow(const Self& self, const py::object& capsule, const std::string& name) {
  return std::make_unique<Borrowed>(capsule, name, self.engine().encoder().device());
}

// What a consumer asks for beside the stream is what there is, or refused. Every stream may read at once: a call is
// done before it returns.
py::capsule array_dlpack(const SharedArray& array, const py::object& stream, const py::object&,
                         const py::object& device, const py::object& copy) {
  if (!stream.is_none() && PyIndex_Check(stream.ptr()) == 0) {
    throw InputError("stream must be None or the number of a CUDA stream, not a " + type_name(stream));
  }
  if (stream.equal(py::int_(0))) {
    throw py::buffer_error("stream is 0, which DLPack leaves open on CUDA; pass 1 for the legacy default stream");
  }
  if (!device.is_none() && !device.equal(py::make_tuple(dlpack::kCuda, array->device()))) {
    throw py::buffer_error("this array is on cuda:" + std::to_string(array->device()) + " and is not moved");
  }
  if (!copy.is_none() && !copy.equal(py::bool_(false))) throw py::buffer_error("this array is lent, not copied");
  return lend(array);
}

void define_arrays(py::module_& module) {
  py::class_<cuda::Array, SharedArray>(module, "Array", py::is_final(), "float32 in a GPU's memory.")
      .def_property_readonly("shape", [](const cuda::Array& array) { return py::tuple(py::cast(array.shape())); })
      .def("__dlpack__", &array_dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack_device__", [](const cuda::Array& array) { return py::make_tuple(dlpack::kCuda, array.device()); });
  py::class_<Borrowed>(module, "Borrowed", py::is_final(), "A caller's array on a GPU, kept while this is.")
      .def_property_readonly("shape", [](const Borrowed& array) { return py::tuple(py::cast(array.shape())); })
      .def_property_readonly("dtype", &Borrowed::dtype);
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
  define_arrays(module);
  type.def_property_readonly("device", [](const Self& self) { return self.engine().encoder().device(); })
      .def_property_readonly("stream", [](const Self& self) { return self.engine().encoder().stream(); })
      .def("borrow", &borrow, py::arg("capsule"), py::arg("name"))
      .def("fetch", &fetch, py::arg("array"))
      .def("upload", &upload, py::arg("values"))
      .def("forward_padded", &forward_padded, py::arg("input_ids"), py::arg("cu_seqlens"), py::arg("position_ids"),
           py::arg("token_type_ids") = py::none(), py::kw_only(), py::arg("inputs_embeds") = py::none(),
           py::arg("key_lens") = py::none(), py::arg("columns") = py::none(), py::arg("cells") = py::none(),
           py::arg("width"), py::arg("output_hidden_states") = false, py::arg("output_attentions") = false,
           py::arg("pooler") = true);
}
