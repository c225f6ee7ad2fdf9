#include "bindings/dlpack.h"

#include <utility>

#include "bindings/arrays.h"
#include "runtime/errors.h"

namespace bertcpp::bindings {
namespace {

constexpr const char* kFresh = "dltensor";
constexpr const char* kTaken = "used_dltensor";  // the consumer has it, and gives it back

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

}  // namespace

Borrowed::Borrowed(const py::capsule& capsule, const std::string& name, int device) : tensor_(nullptr), name_(name) {
  if (PyCapsule_IsValid(capsule.ptr(), kFresh) == 0) {
    throw InputError(name + ".__dlpack__() gave no capsule of a tensor, or one that was taken before");
  }
  auto* managed = static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), kFresh));
  const dlpack::Tensor& tensor = managed->tensor;
  if (tensor.device.type != dlpack::kCuda || tensor.device.index != device) {
    throw InputError(name + " is not on cuda:" + std::to_string(device));
  }
  const dlpack::DataType dtype = tensor.dtype;
  const bool known = dtype.code == dlpack::kInt || dtype.code == dlpack::kUint || dtype.code == dlpack::kFloat ||
                     dtype.code == dlpack::kBFloat || dtype.code == dlpack::kBool;
  if (!known || dtype.lanes != 1 || (dtype.bits != 8 && dtype.bits != 16 && dtype.bits != 32 && dtype.bits != 64) ||
      (dtype.code == dlpack::kFloat && dtype.bits == 8)) {
    throw InputError(name + " must be an array of integers, floats or booleans; its DLPack type is code " +
                     std::to_string(dtype.code) + " of " + std::to_string(dtype.bits) + " bits");
  }
  if (PyCapsule_SetName(capsule.ptr(), kTaken) != 0) throw py::error_already_set();
  tensor_ = managed;
}

Borrowed::~Borrowed() {
  if (tensor_->deleter != nullptr) tensor_->deleter(tensor_);
}

std::vector<int64_t> Borrowed::strides() const {
  const dlpack::Tensor& tensor = tensor_->tensor;
  if (tensor.strides == nullptr) return row_major(shape());
  return {tensor.strides, tensor.strides + tensor.ndim};
}

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
