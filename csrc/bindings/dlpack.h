// Arrays of the device's memory to and from other libraries, by DLPack (https://dmlc.github.io/dlpack): a capsule with
// a description of the memory, and a function that gives it back.
#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda/array.h"
#include "cuda/batch.h"
#include "cuda/transfer.h"

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

// How an array comes to the host: rows of its memory, without what lies between them.
struct HostLayout {
  cuda::ByteRows from;           // none where there are no elements
  std::vector<int64_t> strides;  // in bytes, where the rows follow each other
  int64_t start;                 // the first element's byte there
};

// A caller's array on a GPU, for as long as this lives.
class Borrowed {
 public:
  // Takes the tensor out of a capsule that the array's __dlpack__ made. Throws InputError where it is none, is on
  // another device, its elements are no numbers, or its sizes, strides and address make no sense.
  Borrowed(const py::object& capsule, const std::string& name, int device);
  ~Borrowed();
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  std::vector<int64_t> shape() const { return {tensor_->tensor.shape, tensor_->tensor.shape + tensor_->tensor.ndim}; }
  std::vector<int64_t> strides() const;  // in elements
  std::string dtype() const;             // as NumPy names it, and "bfloat16"
  const std::byte* data() const;
  HostLayout host_layout() const;
  // As the engine reads floats. Throws InputError unless the shape is this and the elements are floats.
  cuda::CallerArray floats(const std::vector<int64_t>& shape) const;

 private:
  dlpack::ManagedTensor* tensor_;
  std::string name_;
};

// The name of an object's type, for messages.
std::string type_name(const py::object& value);

// A capsule that holds the array, for a consumer on any stream: what is in the array is complete.
py::capsule lend(const std::shared_ptr<const cuda::Array>& array);

}  // namespace bertcpp::bindings
