// Results that stay on the device.
#pragma once

#include <sys/types.h>

#include <vector>

#include "cuda/memory.h"

namespace bertcpp::cuda {

// float32 in row-major order in memory of its own, which any thread may give back, in the scope of any device.
class Array {
 public:
  Array(int device, std::vector<int64_t> shape);  // throws InputError, DeviceError, DeviceMemoryError
  ~Array();
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  int device() const { return device_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  size_t nbytes() const { return block_.size(); }
  float* data() const { return reinterpret_cast<float*>(block_.data()); }

 private:
  int device_;
  pid_t process_;
  std::vector<int64_t> shape_;
  Block block_;
};

}  // namespace bertcpp::cuda
