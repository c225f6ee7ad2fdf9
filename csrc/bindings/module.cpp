// bertcpp._core: the boundary between Python and C++, as ARCHITECTURE.md describes it.

#include "bindings/bindings.h"

// The engine keeps no Python state between calls, so free-threaded interpreters need no lock around it.
PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  using namespace bertcpp::bindings;
  module.doc() = "The engine of bertcpp: packed batches of tokens in, hidden states and vectors out.";
  translate_errors();
  bind_processor(module);
  bind_encoder(module);
  bind_linear(module);
  bind_layer_norm(module);
  bind_gru(module);
}
