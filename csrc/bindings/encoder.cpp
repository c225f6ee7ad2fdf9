#include "models/encoder.h"

#include "bindings/bindings.h"
#include "bindings/encoder_class.h"

namespace bertcpp::bindings {
namespace {

std::unique_ptr<PyEncoder<Encoder>> make_encoder(const py::dict& settings, const py::dict& weights) {
  NamedConfig config = read_config(settings);
  const NamedWeights named(weights);
  // The embedding tables are read where they lie for as long as the encoder lives.
  std::vector<py::array> tables;
  for (const char* table : {"word", "position", "token_type"}) {
    tables.push_back(named.keep(std::string("embeddings.") + table + ".weight"));
  }
  const Kernels& kernels = active_kernels();
  std::unique_ptr<const Encoder> engine;
  {
    const GilRelease release;
    engine = std::make_unique<Encoder>(config.encoder, named.views(), kernels);
  }
  return std::make_unique<PyEncoder<Encoder>>(std::move(config), std::move(engine), std::move(tables));
}

}  // namespace

void bind_encoder(py::module_& module) {
  py::class_<PyEncoder<Encoder>> type(module, "Encoder", py::is_final(), "A BERT-family encoder over packed batches.");
  type.def(py::init(&make_encoder), py::arg("config"), py::arg("weights"));
  define_encoder_methods(type);
}

}  // namespace bertcpp::bindings
