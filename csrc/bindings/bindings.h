// The parts of the extension module bertcpp._core. Arrays in, arrays out; no arithmetic.
#pragma once

#include <pybind11/pybind11.h>

namespace bertcpp::bindings {

// C++ errors become the classes of bertcpp.errors, which is imported when the first one is thrown.
void translate_errors();
// instruction_set() ... cpu_info().
void bind_processor(pybind11::module_& module);
void bind_encoder(pybind11::module_& module);
void bind_linear(pybind11::module_& module);
void bind_gru(pybind11::module_& module);
void bind_layer_norm(pybind11::module_& module);

}  // namespace bertcpp::bindings
