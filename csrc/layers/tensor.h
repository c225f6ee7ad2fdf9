// Weights as they come in: where they lie, their dtype and shape. Nothing is owned here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace bertcpp {

// kBytes: no numbers, but a part of what was packed before; see layers/packed.h.
enum class DType { kFloat32, kFloat16, kBFloat16, kBytes };

// Row-major and contiguous; the address need not be aligned.
struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
};

using WeightMap = std::map<std::string, TensorView>;

// The tensor of numbers with this name and shape. Throws WeightError if it is missing or another one.
const TensorView& weight_at(const WeightMap& weights, const std::string& name, const std::vector<int64_t>& shape);

int64_t element_size(DType dtype);

// out[count] = the elements [first, first + count) of the tensor as float32.
void read_floats(const Kernels& kernels, const TensorView& tensor, int64_t first, int64_t count, float* out);

// The distance between rows of n floats in a workspace: an odd number of cache lines, so that the rows of a register
// tile do not all fall into one set of the cache.
int64_t row_stride(int64_t n);

}  // namespace bertcpp
