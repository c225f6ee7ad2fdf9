#include "layers/tensor.h"

#include <cstring>

#include "runtime/errors.h"

namespace bertcpp {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

bool is_aligned(const void* address, int64_t size) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(size) == 0;
}

}  // namespace

const TensorView& weight_at(const WeightMap& weights, const std::string& name, const std::vector<int64_t>& shape) {
  const auto found = weights.find(name);
  if (found == weights.end())
    throw WeightError("the weight '" + name + "' of shape " + shape_text(shape) + " is missing");
  if (found->second.shape != shape) {
    throw WeightError("the weight '" + name + "' has shape " + shape_text(found->second.shape) +
                      ", but the configuration asks for " + shape_text(shape));
  }
  if (found->second.dtype == DType::kBytes) throw WeightError("the weight '" + name + "' must be floats, not bytes");
  return found->second;
}

int64_t element_size(DType dtype) { return dtype == DType::kFloat32 ? 4 : dtype == DType::kBytes ? 1 : 2; }

void read_floats(const Kernels& kernels, const TensorView& tensor, int64_t first, int64_t count, float* out) {
  const char* source = static_cast<const char*>(tensor.data) + first * element_size(tensor.dtype);
  if (tensor.dtype == DType::kFloat32) {
    std::memcpy(out, source, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  const auto convert = tensor.dtype == DType::kFloat16 ? kernels.from_float16 : kernels.from_bfloat16;
  if (is_aligned(source, 2)) return convert(reinterpret_cast<const uint16_t*>(source), count, out);
  uint16_t piece[256];
  for (int64_t done = 0; done < count; done += 256) {
    const int64_t n = count - done < 256 ? count - done : 256;
    std::memcpy(piece, source + done * 2, static_cast<size_t>(n) * 2);
    convert(piece, n, out + done);
  }
}

int64_t row_stride(int64_t n) { return (((n + 15) / 16) | 1) * 16; }

}  // namespace bertcpp
