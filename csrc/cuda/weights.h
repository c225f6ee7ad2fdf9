// Weights on the device, in the type that is computed in.
#pragma once

#include <string>
#include <vector>

#include "cuda/memory.h"
#include "layers/tensor.h"

namespace bertcpp::cuda {

// Copies weights to the device, one block of memory for each, and owns them.
class DeviceWeights {
 public:
  DeviceWeights(const WeightMap& weights, cudaStream_t stream) : weights_(&weights), stream_(stream) {}

  // The weight with this name, [n] as one row or [rows, n]. Throws WeightError, DeviceMemoryError.
  template <class T>
  Matrix<const T> load(const std::string& name, const std::vector<int64_t>& shape);
  // Several matrices of one width below each other, as one.
  template <class T>
  Matrix<const T> stack(const std::vector<std::string>& names, const std::vector<int64_t>& shape);
  // Several vectors one after the other, as one.
  template <class T>
  const T* join(const std::vector<std::string>& names, int64_t n);
  const float* vector(const std::string& name, int64_t n) { return load<float>(name, {n}).data; }
  Norm norm(const std::string& name, int64_t n, double eps) {
    return {vector(name + ".weight", n), vector(name + ".bias", n), static_cast<float>(eps)};
  }
  // Floats that no checkpoint has, as they are.
  const float* copy(const float* values, int64_t count);

  size_t nbytes() const { return nbytes_; }
  // No weights are read any more: the map they came from and the memory they travelled through may go.
  void finish();

 private:
  std::byte* allocate(size_t bytes);
  // to[rows, n] = the tensor, converted on the device.
  template <class T>
  void convert(const TensorView& tensor, int64_t rows, int64_t n, Matrix<T> to);

  const WeightMap* weights_;
  cudaStream_t stream_;
  std::vector<Block> blocks_;
  Block staging_;
  size_t nbytes_ = 0;
};

}  // namespace bertcpp::cuda
