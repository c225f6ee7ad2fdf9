#include "bindings/arrays.h"

#include <limits>
#include <string_view>

#include "runtime/errors.h"

namespace bertcpp::bindings {
namespace {

std::string dtype_text(const py::array& array) { return py::str(array.dtype()).cast<std::string>(); }

Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

py::array input_array(const py::object& value, const char* name) {
  if (py::isinstance<py::array>(value)) return py::reinterpret_borrow<py::array>(value);
  throw InputError(std::string(name) + " must be a NumPy array, not " +
                   py::str(py::type::of(value).attr("__name__")).cast<std::string>());
}

bool is_native(const py::array& array) { return array.dtype().attr("isnative").cast<bool>(); }

// The array in this dtype, C-contiguous and aligned; itself where it is so already.
py::array converted(const py::array& array, const char* dtype) {
  const py::object require = py::module_::import("numpy").attr("require");
  return require(array, dtype, "CA").cast<py::array>();
}

// Sizes that fit and (-1) sizes that are open.
bool matches(const Shape& shape, const Shape& wanted) {
  if (shape.size() != wanted.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (wanted[i] >= 0 && shape[i] != wanted[i]) return false;
  }
  return true;
}

}  // namespace

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::vector<int32_t> int32s(const py::object& value, const char* name, int64_t length) {
  const py::array array = input_array(value, name);
  const char kind = array.dtype().kind();
  if (kind != 'i' && kind != 'u') {
    throw InputError(std::string(name) + " must be an array of int32, not " + dtype_text(array));
  }
  if (array.ndim() != 1 || (length >= 0 && array.shape(0) != length)) {
    throw InputError(std::string(name) + " must have the shape " + shape_text({length}) + ", not " +
                     shape_text(shape_of(array)));
  }
  std::vector<int32_t> out(static_cast<size_t>(array.shape(0)));
  if (kind == 'i' && array.itemsize() == 4) {
    const py::array source = converted(array, "int32");
    const auto* data = static_cast<const int32_t*>(source.data());
    out.assign(data, data + out.size());
    return out;
  }
  const py::array source = converted(array, "int64");
  const auto* data = static_cast<const int64_t*>(source.data());
  for (size_t i = 0; i < out.size(); ++i) {
    // Values of uint64 beyond int64 have wrapped round to negative ones.
    if (data[i] < (kind == 'u' ? 0 : std::numeric_limits<int32_t>::min()) ||
        data[i] > std::numeric_limits<int32_t>::max()) {
      throw InputError(std::string(name) + "[" + std::to_string(i) + "] does not fit in int32");
    }
    out[i] = static_cast<int32_t>(data[i]);
  }
  return out;
}

std::optional<std::vector<int32_t>> optional_int32s(const py::object& value, const char* name, int64_t length) {
  if (value.is_none()) return std::nullopt;
  return int32s(value, name, length);
}

FloatArray floats(const py::object& value, const char* name, const Shape& shape) {
  const py::array array = input_array(value, name);
  if (array.dtype().kind() != 'f' || array.itemsize() > 4) {
    throw InputError(std::string(name) + " must be an array of float32, not " + dtype_text(array));
  }
  if (!matches(shape_of(array), shape)) {
    throw InputError(std::string(name) + " must have the shape " + shape_text(shape) + ", not " +
                     shape_text(shape_of(array)));
  }
  return py::reinterpret_steal<FloatArray>(converted(array, "float32").release());
}

Weight weight(const py::handle& value, const std::string& name, bool bytes) {
  if (!py::isinstance<py::array>(value)) {
    throw WeightError("weight " + name + " must be a NumPy array, not " +
                      py::str(py::type::of(value).attr("__name__")).cast<std::string>());
  }
  py::array array = py::reinterpret_borrow<py::array>(value);
  const char kind = array.dtype().kind();
  Weight result;
  const char* dtype = nullptr;
  if (kind == 'f' && array.itemsize() == 4) {
    result.view.dtype = DType::kFloat32;
    dtype = "float32";
  } else if (kind == 'f' && array.itemsize() == 2) {
    result.view.dtype = DType::kFloat16;
    dtype = "float16";
  } else if (kind == 'u' && array.itemsize() == 2) {
    result.view.dtype = DType::kBFloat16;
    dtype = "uint16";
  } else if (bytes && kind == 'u' && array.itemsize() == 1) {
    result.view.dtype = DType::kBytes;
    dtype = "uint8";
  } else {
    throw WeightError("weight " + name + " has the dtype " + dtype_text(array) +
                      "; the engine reads float32, float16, and bfloat16 as the bits in uint16");
  }
  // The engine reads unaligned data as well, so that a mapped file is never copied.
  if ((array.flags() & py::array::c_style) == 0 || !is_native(array)) array = converted(array, dtype);
  result.view.data = array.data();
  result.view.shape = shape_of(array);
  result.array = std::move(array);
  return result;
}

int checked_num_threads(int64_t num_threads) {
  if (num_threads >= 0 && num_threads <= 1024) return static_cast<int>(num_threads);
  throw InputError("num_threads must lie between 0 (the default) and 1024, not " + std::to_string(num_threads));
}

}  // namespace bertcpp::bindings
