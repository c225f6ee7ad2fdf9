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

// Where the segments of a depth of k channels end: a `first` of them, a `second`, and the rest. Whole cache lines, as
// tile instructions ask for.
std::vector<int64_t> segment_ends(int64_t k, int64_t first, int64_t second);

}  // namespace bertcpp
