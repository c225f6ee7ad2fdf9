#include "layers/packed.h"

#include "runtime/errors.h"

namespace bertcpp {

bool is_packed(const WeightMap& weights, const std::string& name) {
  return weights.contains(packed_name(name) + "weight");
}

Buffer part_at(const WeightMap& weights, const std::string& name, size_t bytes) {
  constexpr uintptr_t kAlignment = 64;
  const auto found = weights.find(name);
  if (found == weights.end()) throw WeightError("the packed part '" + name + "' is missing");
  const TensorView& part = found->second;
  const auto stored = static_cast<int64_t>(Buffer::stored_size(bytes));
  if (part.dtype != DType::kBytes || part.shape != std::vector<int64_t>{stored}) {
    throw WeightError("the packed part '" + name + "' must be " + std::to_string(stored) +
                      " bytes by the configuration, and is not");
  }
  if (reinterpret_cast<uintptr_t>(part.data) % kAlignment != 0) {
    throw WeightError("the packed part '" + name + "' does not lie at a multiple of 64 bytes");
  }
  return Buffer::borrowed(part.data, bytes);
}

}  // namespace bertcpp
