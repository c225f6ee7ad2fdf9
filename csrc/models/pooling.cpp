#include "models/pooling.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bertcpp {
namespace {

// One sequence: its first token's row, how many tokens take part, and their weights.
struct Tokens {
  const float* x;
  int64_t stride;
  int64_t width;
  int64_t count;
  const float* weights;  // [count] or null

  const float* row(int64_t t) const { return x + t * stride; }
  float weight(int64_t t) const { return weights == nullptr ? 1.0f : weights[t]; }
};

// out = sum of weight(t) place(t) x[t] over the tokens; returns the sum of the factors.
template <class Place>
float weighted_sum(const Kernels& kernels, const Tokens& tokens, float* out, Place place) {
  std::fill_n(out, tokens.width, 0.0f);
  float total = 0.0f;
  for (int64_t t = 0; t < tokens.count; ++t) {
    const float factor = tokens.weight(t) * place(t);
    if (factor == 0.0f) continue;
    kernels.accumulate(tokens.row(t), factor, tokens.width, out);
    total += factor;
  }
  return std::max(total, 1e-9f);
}

void pool_one(const Kernels& kernels, const Tokens& tokens, const float* first, Pooling mode, float* out) {
  const size_t bytes = static_cast<size_t>(tokens.width) * sizeof(float);
  const auto one = [](int64_t) { return 1.0f; };
  switch (mode) {
    case Pooling::kCls:
      std::memcpy(out, first, bytes);
      return;
    case Pooling::kLastToken: {
      int64_t last = tokens.count - 1;
      while (last > 0 && tokens.weight(last) == 0.0f) --last;
      std::memcpy(out, tokens.row(last), bytes);
      return;
    }
    case Pooling::kMax:
      std::fill_n(out, tokens.width, -1e9f);
      for (int64_t t = 0; t < tokens.count; ++t) {
        if (tokens.weight(t) != 0.0f) kernels.maximum(tokens.row(t), tokens.width, out);
      }
      return;
    case Pooling::kMean:
      kernels.scale(out, tokens.width, 1.0f / weighted_sum(kernels, tokens, out, one));
      return;
    case Pooling::kMeanSqrtLen:
      kernels.scale(out, tokens.width, 1.0f / std::sqrt(weighted_sum(kernels, tokens, out, one)));
      return;
    case Pooling::kWeightedMean: {
      const float total = weighted_sum(kernels, tokens, out, [](int64_t t) { return static_cast<float>(t + 1); });
      kernels.scale(out, tokens.width, 1.0f / total);
      return;
    }
  }
}

}  // namespace

void pool(Team& team, const Kernels& kernels, const Sequences& sequences, const HiddenStates& states,
          const std::vector<Pooling>& modes, const float* weights, float* out) {
  const int64_t count = static_cast<int64_t>(modes.size());
  team.for_each(sequences.num_sequences * count, [&](int64_t task) {
    const int64_t b = task / count;
    const int64_t begin = sequences.cu_seqlens[b];
    const Tokens tokens{states.x + begin * states.stride, states.stride, states.width, sequences.keys(b),
                        weights == nullptr ? nullptr : weights + begin};
    pool_one(kernels, tokens, states.x + first_token(sequences, b) * states.stride,
             modes[static_cast<size_t>(task % count)], out + task * states.width);
  });
}

}  // namespace bertcpp
