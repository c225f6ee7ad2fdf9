#include "models/encoder.h"

#include "bindings/bindings.h"
#include "bindings/encoder_class.h"
#include "bindings/linear.h"

namespace bertcpp::bindings {
namespace {

std::unique_ptr<PyEncoder<Encoder>> make_encoder(const py::dict& settings, const py::dict& weights,
                                                 const DenseHead* decoder) {
  NamedConfig config = read_config(settings);
  const NamedWeights named(weights);
  // The embedding tables, and what was packed before, are read where they lie for as long as the encoder lives.
  std::vector<py::array> kept = named.keep_bytes();
  for (const char* table : {"word", "position", "token_type"}) {
    if (decoder != nullptr && table == std::string("word")) continue;
    kept.push_back(named.keep(std::string("embeddings.") + table + ".weight"));
  }
  const Kernels& kernels = active_kernels();
  std::unique_ptr<const Encoder> engine;
  {
    const GilRelease release;
    engine = std::make_unique<Encoder>(config.encoder, named.views(), kernels,
                                       decoder == nullptr ? nullptr : &decoder->linear());
  }
  return std::make_unique<PyEncoder<Encoder>>(std::move(config), std::move(engine), std::move(kept));
}

// Views of the engine's memory, which live as long as they keep the encoder.
py::dict packed(const py::object& self) {
  py::dict result;
  for (const auto& [name, bytes] : self.cast<const PyEncoder<Encoder>&>().engine().packed()) {
    py::array_t<uint8_t> view({bytes.size()}, {size_t{1}}, reinterpret_cast<const uint8_t*>(bytes.data()), self);
    view.attr("setflags")(py::arg("write") = false);
    result[name.c_str()] = std::move(view);
  }
  return result;
}

}  // namespace

void bind_encoder(py::module_& module) {
  py::class_<PyEncoder<Encoder>> type(module, "Encoder", py::is_final(), "A BERT-family encoder over packed batches.");
  type.def(py::init(&make_encoder), py::arg("config"), py::arg("weights"), py::kw_only(),
           py::arg("decoder") = py::none(), py::keep_alive<1, 4>());
  define_encoder_methods(type);
  type.def("packed", &packed, "What the constructor takes in place of the matrices: bytes by name, read-only views.");
  module.def("packed_layout", [] { return kPackedLayout; }, "The version of what Encoder.packed() gives.");
}

}  // namespace bertcpp::bindings
