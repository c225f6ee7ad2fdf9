#include "models/channel_order.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "layers/tensor.h"
#include "runtime/errors.h"

namespace bertcpp {
namespace {

// Standard deviations that a channel is taken to reach.
constexpr double kReach = 3.0;

std::vector<float> read(const WeightMap& weights, const Kernels& kernels, const std::string& name, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  read_floats(kernels, weight_at(weights, name, {n}), 0, n, values.data());
  return values;
}

// Largest first; what is no number comes last, and equals keep their order.
std::vector<int32_t> descending(const std::vector<double>& scores) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto rank = [&](int32_t i) {
    const double score = scores[static_cast<size_t>(i)];
    return std::isnan(score) ? -1.0 : score;
  };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return rank(a) > rank(b); });
  return order;
}

// What was stored must be an order, since channels are looked up by it.
std::vector<int32_t> stored_order(const TensorView& stored, int64_t hidden) {
  std::vector<int32_t> order(static_cast<size_t>(hidden));
  std::vector<bool> seen(order.size());
  bool whole = stored.dtype == DType::kBytes && stored.shape == std::vector<int64_t>{hidden * 4};
  if (whole) std::memcpy(order.data(), stored.data, order.size() * sizeof(int32_t));
  for (size_t i = 0; whole && i < order.size(); ++i) {
    whole = order[i] >= 0 && order[i] < hidden && !seen[static_cast<size_t>(order[i])];
    if (whole) seen[static_cast<size_t>(order[i])] = true;
  }
  if (!whole) throw WeightError(std::string(kStoredOrder) + " is no order of " + std::to_string(hidden) + " channels");
  return order;
}

}  // namespace

std::vector<int32_t> hidden_order(const EncoderConfig& config, const WeightMap& weights, const Kernels& kernels) {
  const int64_t hidden = config.hidden_size;
  const auto stored = weights.find(kStoredOrder);
  if (stored != weights.end()) return stored_order(stored->second, hidden);
  std::vector<std::string> norms;
  if (config.embedding_size == hidden) norms.push_back("embeddings.norm");
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = "layers." + std::to_string(i);
    norms.push_back(layer + ".attention.norm");
    if (i + 1 < config.num_hidden_layers) norms.push_back(layer + ".ffn.norm");
  }
  std::vector<double> scores(static_cast<size_t>(hidden));
  for (const std::string& name : norms) {
    const std::vector<float> weight = read(weights, kernels, name + ".weight", hidden);
    const std::vector<float> bias = read(weights, kernels, name + ".bias", hidden);
    std::vector<double> reach;
    for (size_t c = 0; c < scores.size(); ++c) reach.push_back(std::abs(bias[c]) + kReach * std::abs(weight[c]));
    const double total = std::accumulate(reach.begin(), reach.end(), 0.0);
    for (size_t c = 0; c < scores.size() && total > 0.0; ++c) scores[c] += reach[c] / total;
  }
  return descending(scores);
}

std::vector<int32_t> intermediate_order(const EncoderConfig& config, const WeightMap& weights, const Kernels& kernels,
                                        const std::string& name) {
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  const std::vector<float> deviation = read(weights, kernels, name + ".attention.norm.weight", hidden);
  const std::vector<float> mean = read(weights, kernels, name + ".attention.norm.bias", hidden);
  const std::vector<float> bias = read(weights, kernels, name + ".ffn.up.bias", inner);
  const TensorView& up = weight_at(weights, name + ".ffn.up.weight", {inner, hidden});
  std::vector<float> row(static_cast<size_t>(hidden));
  std::vector<double> scores;
  for (int64_t i = 0; i < inner; ++i) {
    read_floats(kernels, up, i * hidden, hidden, row.data());
    double sum = bias[static_cast<size_t>(i)];
    double variance = 0.0;
    for (size_t c = 0; c < row.size(); ++c) {
      const double w = row[c];
      sum += w * mean[c];
      variance += w * deviation[c] * w * deviation[c];
    }
    scores.push_back(std::max(0.0, sum + kReach * std::sqrt(variance)));  // activations keep large values, not small
  }
  return descending(scores);
}

}  // namespace bertcpp
