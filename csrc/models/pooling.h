// One vector per sequence from its hidden states.
#pragma once

#include <vector>

#include "models/encoder.h"

namespace bertcpp {

struct HiddenStates {
  const float* x;  // [tokens, width]
  int64_t stride;
  int64_t width;
};

// The token that was first in its row: the first one, unless it is masked; then it follows those that are attended to.
inline int64_t first_token(const Sequences& sequences, int64_t b) {
  const int64_t keys = sequences.keys(b);
  return sequences.cu_seqlens[b] + (keys < sequences.length(b) ? keys : 0);
}

// out[B, width * modes.size()], the modes side by side. weights [tokens] or null: 0 leaves a token out.
void pool(Team& team, const Kernels& kernels, const Sequences& sequences, const HiddenStates& states,
          const std::vector<Pooling>& modes, const float* weights, float* out);

}  // namespace bertcpp
