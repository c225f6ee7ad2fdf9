// NumPy arrays as the engine takes them. What is not as the contract says but can be converted without loss (another
// layout, byte order or integer type) is converted; everything else throws, naming the argument.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "layers/tensor.h"

namespace bertcpp::bindings {

namespace py = pybind11;

using FloatArray = py::array_t<float, py::array::c_style>;
using Shape = std::vector<int64_t>;

// "(3, 4)".
std::string shape_text(const Shape& shape);

// A private copy: what has been checked cannot be changed by other Python threads while the engine reads it.
// Throws InputError unless `value` is a one-dimensional array of integers that fit in int32, of `length` elements where
// that is not negative.
std::vector<int32_t> int32s(const py::object& value, const char* name, int64_t length = -1);
// The same; nothing for None.
std::optional<std::vector<int32_t>> optional_int32s(const py::object& value, const char* name, int64_t length);

// float32 of this shape (-1: any), C-contiguous and aligned. Throws InputError.
FloatArray floats(const py::object& value, const char* name, const Shape& shape);

// A weight where it lies, and the array that must be kept while it is read. Bytes only where `bytes` allows them.
// Throws WeightError.
struct Weight {
  py::array array;
  TensorView view;
};
Weight weight(const py::handle& value, const std::string& name, bool bytes = false);

// num_threads as calls take it: 0 for the default, up to 1024. Throws InputError.
int checked_num_threads(int64_t num_threads);

}  // namespace bertcpp::bindings
