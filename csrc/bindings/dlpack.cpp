#include "bindings/dlpack.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "bindings/arrays.h"
#include "runtime/errors.h"

namespace bertcpp::bindings {
namespace {

constexpr const char* kFresh = "dltensor";
constexpr const char* kTaken = "used_dltensor";  // the consumer has it, and gives it back

constexpr int32_t kMostAxes = 32;  // of NumPy's arrays, before its version 2

// What a lent array's description points into.
struct Lent {
  std::shared_ptr<const cuda::Array> array;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  dlpack::ManagedTensor managed;
};

void release(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, kFresh) == 0) return;
  auto* managed = static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule, kFresh));
  managed->deleter(managed);
}

std::vector<int64_t> row_major(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

int64_t itemsize(const dlpack::Tensor& tensor) { return tensor.dtype.bits / 8; }

std::vector<int64_t> shape_of(const dlpack::Tensor& tensor) { return {tensor.shape, tensor.shape + tensor.ndim}; }

std::vector<int64_t> strides_of(const dlpack::Tensor& tensor) {
  if (tensor.strides == nullptr) return row_major(shape_of(tensor));
  return {tensor.strides, tensor.strides + tensor.ndim};
}

bool is_empty(const std::vector<int64_t>& shape) { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }

bool is_known(const dlpack::DataType& dtype) {
  const auto bits = dtype.bits;
  const bool wide = bits == 16 || bits == 32 || bits == 64;
  if (dtype.lanes != 1) return false;
  switch (dtype.code) {
    case dlpack::kInt:
    case dlpack::kUint:
      return wide || bits == 8;
    case dlpack::kFloat:
      return wide;
    case dlpack::kBFloat:
      return bits == 16;
    case dlpack::kBool:
      return bits == 8;
    default:
      return false;
  }
}

void check_type(const dlpack::DataType& dtype, const std::string& name) {
  if (is_known(dtype)) return;
  const std::string lanes = dtype.lanes == 1 ? "" : " in " + std::to_string(dtype.lanes) + " lanes";
  throw InputError(name + " must be an array of integers, floats or booleans; its DLPack type is code " +
                   std::to_string(dtype.code) + " of " + std::to_string(dtype.bits) + " bits" + lanes);
}

// Throws InputError unless the array has sizes, and as many bytes as they say fit in memory.
void check_shape(const dlpack::Tensor& tensor, const std::string& name) {
  if (tensor.ndim < 0 || tensor.ndim > kMostAxes || (tensor.ndim > 0 && tensor.shape == nullptr)) {
    throw InputError(name + " must be an array of 0 to " + std::to_string(kMostAxes) + " axes; by DLPack it has " +
                     std::to_string(tensor.ndim) + (tensor.shape == nullptr ? ", and no shape" : ""));
  }
  int64_t bytes = itemsize(tensor);
  for (int32_t i = 0; i < tensor.ndim; ++i) {
    const int64_t size = tensor.shape[i];
    if (size < 0) throw InputError(name + " has a negative size by DLPack: " + std::to_string(size));
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) {
      throw InputError(name + " is larger than any memory by DLPack");
    }
  }
}

// Throws InputError where the elements cannot all be in memory, as far as their addresses tell.
void check_memory(const dlpack::Tensor& tensor, const std::string& name) {
  const std::vector<int64_t> shape = shape_of(tensor);
  if (is_empty(shape)) return;
  if (tensor.data == nullptr) throw InputError(name + " has elements, but no memory by DLPack");
  const std::vector<int64_t> strides = strides_of(tensor);
  uintptr_t low = 0;
  bool beyond = __builtin_add_overflow(reinterpret_cast<uintptr_t>(tensor.data), tensor.byte_offset, &low);
  if (low % static_cast<uintptr_t>(itemsize(tensor)) != 0) {
    throw InputError(name + " is not aligned to its elements of " + std::to_string(itemsize(tensor)) +
                     " bytes; pass a copy of it");
  }
  uintptr_t high = low;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t reach = 0;
    beyond = beyond || __builtin_mul_overflow(shape[i] - 1, strides[i], &reach) ||
             __builtin_mul_overflow(reach, itemsize(tensor), &reach) ||
             (reach < 0 ? __builtin_add_overflow(low, reach, &low) : __builtin_add_overflow(high, reach, &high));
  }
  beyond = beyond || __builtin_add_overflow(high, itemsize(tensor), &high) ||
           high - low > static_cast<uintptr_t>(std::numeric_limits<int64_t>::max());
  if (beyond) throw InputError(name + " lies beyond any memory by DLPack: its strides or byte_offset are too large");
}

}  // namespace

std::string type_name(const py::object& value) {
  return py::str(py::type::of(value).attr("__name__")).cast<std::string>();
}

Borrowed::Borrowed(const py::object& capsule, const std::string& name, int device) : tensor_(nullptr), name_(name) {
  if (PyCapsule_IsValid(capsule.ptr(), kFresh) == 0) {
    throw InputError(name + ".__dlpack__() gave " +
                     (PyCapsule_CheckExact(capsule.ptr()) ? "no capsule of a tensor, or one that was taken before"
                                                          : "a " + type_name(capsule) + ", not a capsule") +
                     "; pass an array of a library that keeps to DLPack");
  }
  auto* managed = static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), kFresh));
  const dlpack::Tensor& tensor = managed->tensor;
  if (tensor.device.type != dlpack::kCuda || tensor.device.index != device) {
    throw InputError(name + " is not on cuda:" + std::to_string(device));
  }
  check_type(tensor.dtype, name);
  check_shape(tensor, name);
  check_memory(tensor, name);
  if (PyCapsule_SetName(capsule.ptr(), kTaken) != 0) throw py::error_already_set();
  tensor_ = managed;
}

Borrowed::~Borrowed() {
  if (tensor_->deleter != nullptr) tensor_->deleter(tensor_);
}

std::vector<int64_t> Borrowed::strides() const { return strides_of(tensor_->tensor); }

std::string Borrowed::dtype() const {
  const std::string bits = std::to_string(tensor_->tensor.dtype.bits);
  switch (tensor_->tensor.dtype.code) {
    case dlpack::kInt:
      return "int" + bits;
    case dlpack::kUint:
      return "uint" + bits;
    case dlpack::kFloat:
      return "float" + bits;
    case dlpack::kBFloat:
      return "bfloat16";
    default:
      return "bool";
  }
}

const std::byte* Borrowed::data() const {
  return static_cast<const std::byte*>(tensor_->tensor.data) + tensor_->tensor.byte_offset;
}

HostLayout Borrowed::host_layout() const {
  const std::vector<int64_t> sizes = shape();
  if (is_empty(sizes)) return {.from = {}, .strides = std::vector<int64_t>(sizes.size()), .start = 0};
  HostLayout layout{.from = {}, .strides = strides(), .start = 0};
  std::vector<size_t> axes;  // those along which something lies, from the longest stride to the shortest
  int64_t row_bytes = itemsize(tensor_->tensor);
  int64_t before = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    int64_t& stride = layout.strides[i];
    stride = sizes[i] == 1 ? 0 : stride * itemsize(tensor_->tensor);
    if (stride < 0) before -= (sizes[i] - 1) * stride;
    row_bytes += (sizes[i] - 1) * std::abs(stride);
    if (stride != 0) axes.push_back(i);
  }
  const auto length = [&](size_t axis) { return std::abs(layout.strides[axis]); };
  std::stable_sort(axes.begin(), axes.end(), [&](size_t a, size_t b) { return length(a) > length(b); });
  const int64_t whole = row_bytes;
  // The outer axes whose indices count rows of one pitch; within a row lie the others.
  int64_t rows = 1;
  int64_t pitch = 0;
  size_t outer = 0;
  for (; outer < axes.size(); ++outer) {
    const int64_t size = sizes[axes[outer]];
    if (outer > 0 && (pitch % size != 0 || pitch / size != length(axes[outer]))) break;
    pitch = length(axes[outer]);
    rows *= size;
    row_bytes -= (size - 1) * pitch;
  }
  if (pitch - row_bytes <= pitch / 2) {  // little or nothing lies between the rows: one copy is faster
    rows = 1;
    pitch = row_bytes = whole;
    outer = 0;
  }
  for (size_t i = 0; i < outer; ++i) layout.strides[axes[i]] = layout.strides[axes[i]] / pitch * row_bytes;
  for (size_t i = 0; i < sizes.size(); ++i) layout.start -= (sizes[i] - 1) * std::min<int64_t>(layout.strides[i], 0);
  layout.from = {.first = data() - before,
                 .count = static_cast<size_t>(rows),
                 .bytes = static_cast<size_t>(row_bytes),
                 .pitch = static_cast<size_t>(pitch)};
  return layout;
}

cuda::CallerArray Borrowed::floats(const std::vector<int64_t>& wanted) const {
  if (shape() != wanted) {
    throw InputError(name_ + " must have the shape " + shape_text(wanted) + ", not " + shape_text(shape()));
  }
  static constexpr std::pair<const char*, cuda::Element> kElements[] = {
      {"float16", cuda::Element::kFloat16},
      {"bfloat16", cuda::Element::kBFloat16},
      {"float32", cuda::Element::kFloat32},
      {"float64", cuda::Element::kFloat64},
  };
  const std::vector<int64_t> steps = strides();
  for (const auto& [type, element] : kElements) {
    if (dtype() == type) return {data(), element, {steps.at(0), steps.at(1), steps.at(2)}};
  }
  throw InputError(name_ + " must be floats, not " + dtype());
}

py::capsule lend(const std::shared_ptr<const cuda::Array>& array) {
  auto lent = std::make_unique<Lent>();
  lent->array = array;
  lent->shape = array->shape();
  lent->strides = row_major(lent->shape);
  lent->managed.tensor = {.data = array->data(),
                          .device = {dlpack::kCuda, array->device()},
                          .ndim = static_cast<int32_t>(lent->shape.size()),
                          .dtype = {dlpack::kFloat, 32, 1},
                          .shape = lent->shape.data(),
                          .strides = lent->strides.data(),
                          .byte_offset = 0};
  lent->managed.context = lent.get();
  // Consumers call this from any thread, with the interpreter's lock or without: it touches nothing of Python's.
  lent->managed.deleter = [](dlpack::ManagedTensor* managed) { delete static_cast<Lent*>(managed->context); };
  PyObject* capsule = PyCapsule_New(&lent->managed, kFresh, &release);
  if (capsule == nullptr) throw py::error_already_set();
  static_cast<void>(lent.release());
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace bertcpp::bindings
