// What the layers of one encoder have in common: the precision of their products and the order of their channels.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/linear.h"

namespace bertcpp {

struct LayerFormat {
  Precision precision = Precision::kFloat32;
  // Of the hidden state: channel i is the checkpoint's hidden_order[i]. Empty where the order is the checkpoint's.
  std::vector<int32_t> hidden_order;
  std::vector<int64_t> hidden_segments;  // of bytes, see LinearLayout

  const std::vector<int32_t>* order() const { return hidden_order.empty() ? nullptr : &hidden_order; }
};

// Where the segments of a depth of k channels end: about where these ends are, in whole cache lines as tile
// instructions ask for, and at k.
std::vector<int64_t> segment_ends(int64_t k, const std::vector<int64_t>& ends);

}  // namespace bertcpp
