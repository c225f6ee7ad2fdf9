// What Linears have packed, as it is kept in files: bytes by name, read where they lie.
#pragma once

#include <map>
#include <span>
#include <string>

#include "layers/tensor.h"
#include "runtime/workspace.h"

namespace bertcpp {

// To be raised whenever other bytes are packed of the same weights, or others are asked for: the order of words and
// columns, how many columns a panel has, the parts and their names, how values are rounded, where depths are cut.
constexpr int kPackedLayout = 3;

// Each is Buffer::stored_size of what is used of it.
using PackedParts = std::map<std::string, std::span<const std::byte>>;

// What the parts of the product `name` are called up to their own names.
inline std::string packed_name(const std::string& name) { return name + ".packed."; }

// Whether weights has the parts of this product in place of its matrices.
bool is_packed(const WeightMap& weights, const std::string& name);

// The part `name`, of which `bytes` are used, where it lies. Throws WeightError if it is missing or another size.
Buffer part_at(const WeightMap& weights, const std::string& name, size_t bytes);

}  // namespace bertcpp
