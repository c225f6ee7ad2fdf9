// Which channels come first where bytes stand for values: those that reach far, so that they share a scale among
// themselves (see LinearLayout). Told from the weights alone: a LayerNorm's output has its bias as mean and its weight
// as standard deviation, or nearly so, and a product's output follows from these as if its inputs were independent.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layers/tensor.h"
#include "models/encoder.h"

namespace bertcpp {

// An order of the hidden state for all layers of a model: the mean over the inputs of its products of each channel's
// reach, in units of the input's mean reach.
std::vector<int32_t> hidden_order(const EncoderConfig& config, const WeightMap& weights, const Kernels& kernels);
// Under this name weights may hold the bytes of hidden_order's result, which the packed products were made with.
constexpr const char* kStoredOrder = "hidden_order";
// An order of the feed-forward network's inner channels in the layer `name`.
std::vector<int32_t> intermediate_order(const EncoderConfig& config, const WeightMap& weights, const Kernels& kernels,
                                        const std::string& name);

}  // namespace bertcpp
