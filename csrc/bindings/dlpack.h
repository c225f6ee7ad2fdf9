// Arrays of the device's memory to and from other libraries, by DLPack (https://dmlc.github.io/dlpack): a capsule with
// a description of the memory, and a function that gives it back.
#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda/array.h"
#include "cuda/batch.h"

namespace bertcpp::bindings {

namespace py = pybind11;

// The layout that the protocol fixes, as it was before version 1.0, which every consumer and producer knows.
namespace dlpack {
constexpr int32_t kCuda = 2;
enum Code : uint8_t { kInt = 0, kUint = 1, kFloat = 2, kBFloat = 4, kBool = 6 };
struct Device {
  int32_t type;
  int32_t index;
};
struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null where rows follow each other
  uint64_t byte_offset;
};
struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};
}  // namespace dlpack

// A caller's array on a GPU, for as long as this lives.
class Borrowed {
 public:
  // Takes the tensor out of a capsule that the array's __dlpack__ made. Throws InputError where its elements are no
  // numbers, or it is on another device.
  Borrowed(const py::capsule& capsule, const std::string& name, int device);
  ~Borrowed();
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  const std::string& name() const { return name_; }
  std::vector<int64_t> shape() const { return {tensor_->tensor.shape, tensor_->tensor.shape + tensor_->tensor.ndim}; }
  std::vector<int64_t> strides() const;  // in elements
  std::string dtype() const;             // as NumPy names it, and "bfloat16"
  const std::byte* data() const;
  int64_t itemsize() const { return tensor_->tensor.dtype.bits / 8; }
  // As the engine reads floats. Throws InputError unless the shape is this and the elements are floats.
  cuda::CallerArray floats(const std::vector<int64_t>& shape) const;

 private:
  dlpack::ManagedTensor* tensor_;
  std::string name_;
};

// A capsule that holds the array, for a consumer on any stream: what is in the array is complete.
py::capsule lend(const std::shared_ptr<const cuda::Array>& array);

}  // namespace bertcpp::bindings
