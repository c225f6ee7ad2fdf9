// What the checks of whole encoders share: the files of write_cases.py, and comparisons with what they expect.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "case_file.h"
#include "check.h"
#include "layers/activation.h"
#include "models/encoder.h"

namespace bertcpp::testing {

inline EncoderConfig read_config(const CaseFile& file) {
  const auto integer = [&file](const char* name, int64_t otherwise) {
    return file.integer(std::string("config.") + name, otherwise);
  };
  EncoderConfig config;
  config.vocab_size = integer("vocab_size", 0);
  config.hidden_size = integer("hidden_size", 0);
  config.num_hidden_layers = integer("num_hidden_layers", 0);
  config.num_attention_heads = integer("num_attention_heads", 0);
  config.intermediate_size = integer("intermediate_size", 0);
  config.max_position_embeddings = integer("max_position_embeddings", 0);
  config.type_vocab_size = integer("type_vocab_size", 0);
  config.embedding_size = integer("embedding_size", config.hidden_size);
  config.hidden_act = activation_from_name(file.at("config.hidden_act", 's').data);
  config.layer_norm_eps = *file.at("config.layer_norm_eps", 'd').as<double>();
  config.relative_attention_num_buckets = integer("relative_attention_num_buckets", 0);
  config.relative_attention_max_distance = integer("relative_attention_max_distance", 128);
  config.has_pooler = integer("has_pooler", 0) != 0;
  return config;
}

inline WeightMap read_weights(const CaseFile& file) {
  const std::string prefix = "weights.";
  WeightMap weights;
  for (const auto& [name, entry] : file.entries()) {
    if (!name.starts_with(prefix)) continue;
    const DType dtype = entry.kind == 'f' ? DType::kFloat32 : entry.kind == 'e' ? DType::kFloat16 : DType::kBFloat16;
    weights[name.substr(prefix.size())] = {entry.data.data(), dtype, entry.shape};
  }
  return weights;
}

inline EncoderBatch read_batch(const CaseFile& file) {
  const auto ids = [&file](const char* name) { return file.array<int32_t>(std::string("batch.") + name, 'i'); };
  return {
      .input_ids = ids("input_ids"),
      .inputs_embeds = file.array<float>("batch.inputs_embeds", 'f'),
      .position_ids = ids("position_ids"),
      .token_type_ids = ids("token_type_ids"),
      .cu_seqlens = ids("cu_seqlens"),
      .key_lens = ids("key_lens"),
      .columns = ids("columns"),
      .num_tokens = file.at("batch.position_ids", 'i').count(),
      .num_sequences = file.at("batch.cu_seqlens", 'i').count() - 1,
  };
}

// Everything an encoder gives, by the names of the case file.
using Results = std::vector<std::pair<std::string, std::vector<float>>>;

// What forward(batch, outputs) of an encoder gives.
template <class Engine, class Forward>
Results compute(const Engine& encoder, const EncoderBatch& batch, Forward forward) {
  const EncoderConfig& config = encoder.config();
  int64_t probabilities = 0;
  for (int64_t b = 0; b < batch.num_sequences; ++b) {
    const int64_t length = batch.cu_seqlens[b + 1] - batch.cu_seqlens[b];
    probabilities += length * length;
  }
  Results results;
  const auto sized = [&results](const std::string& name, int64_t count) {
    results.emplace_back(name, std::vector<float>(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN()));
    return results.back().second.data();
  };
  EncoderOutputs outputs;
  outputs.pooling = {Pooling::kCls,         Pooling::kMean,         Pooling::kMax,
                     Pooling::kMeanSqrtLen, Pooling::kWeightedMean, Pooling::kLastToken};
  for (int64_t i = 0; i <= config.num_hidden_layers; ++i) {
    outputs.hidden_states.push_back(
        sized("expected.hidden_states." + std::to_string(i), batch.num_tokens * config.hidden_size));
  }
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    outputs.attentions.push_back(sized("expected.attentions." + std::to_string(i), encoder.heads(i) * probabilities));
  }
  outputs.last_hidden_state = sized("last_hidden_state", batch.num_tokens * config.hidden_size);
  outputs.pooled = sized("expected.pooled", batch.num_sequences * config.hidden_size * 6);
  if (config.has_pooler) {
    outputs.pooler_output = sized("expected.pooler_output", batch.num_sequences * config.hidden_size);
  }
  forward(batch, outputs);
  return results;
}

// The tolerance is a share of the largest magnitude.
inline void compare(const CaseFile& file, const std::string& where, const Results& results, double tolerance) {
  int64_t compared = 0;
  for (const auto& [name, values] : results) {
    const Entry* expected = file.find(name);
    if (expected == nullptr) continue;
    CHECK(expected->kind == 'f' && expected->count() == static_cast<int64_t>(values.size()), "%s: %s has another size",
          where.c_str(), name.c_str());
    if (expected->count() != static_cast<int64_t>(values.size())) continue;
    ++compared;
    double error = 0.0;
    double largest = 0.0;
    bool finite = true;
    for (size_t i = 0; i < values.size(); ++i) {
      const auto wanted = static_cast<double>(expected->as<float>()[i]);
      finite = finite && std::isfinite(values[i]);
      error = std::max(error, std::abs(static_cast<double>(values[i]) - wanted));
      largest = std::max(largest, std::abs(wanted));
    }
    CHECK(finite && error <= tolerance * largest, "%s: %s is off by %.2e of the largest magnitude%s", where.c_str(),
          name.c_str(), error / largest, finite ? "" : ", and not finite");
  }
  CHECK(compared >= 4, "%s: only %ld results to compare", where.c_str(), long{compared});
}

inline bool same_bits(const Results& a, const Results& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    const std::vector<float>& x = a[i].second;
    const std::vector<float>& y = b[i].second;
    if (x.size() != y.size() || std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) != 0) return false;
  }
  return a.size() == b.size();
}

inline const std::vector<float>& last_hidden_state(const Results& results) {
  const auto is_it = [](const auto& result) { return result.first == "last_hidden_state"; };
  return std::find_if(results.begin(), results.end(), is_it)->second;
}

// Each sequence alone gives the bits that it gave among the others.
template <class Engine, class Forward>
void check_alone(const Engine& encoder, const EncoderBatch& batch, const Results& together, const std::string& where,
                 Forward forward) {
  const int64_t hidden = encoder.config().hidden_size;
  for (int64_t b = 0; b < batch.num_sequences; ++b) {
    const int32_t first = batch.cu_seqlens[b];
    const int32_t cu_seqlens[] = {0, batch.cu_seqlens[b + 1] - first};
    const auto from = [](const auto* values, int64_t offset) { return values == nullptr ? nullptr : values + offset; };
    const EncoderBatch alone = {
        .input_ids = from(batch.input_ids, first),
        .inputs_embeds = from(batch.inputs_embeds, first * encoder.config().embedding_size),
        .position_ids = from(batch.position_ids, first),
        .token_type_ids = from(batch.token_type_ids, first),
        .cu_seqlens = cu_seqlens,
        .key_lens = from(batch.key_lens, b),
        .columns = from(batch.columns, first),
        .num_tokens = cu_seqlens[1],
        .num_sequences = 1,
    };
    const Results results = compute(
        encoder, alone, [&](const EncoderBatch& one, const EncoderOutputs& outputs) { forward(one, outputs, b); });
    const std::vector<float>& x = last_hidden_state(results);
    CHECK(std::memcmp(x.data(), last_hidden_state(together).data() + first * hidden, x.size() * sizeof(float)) == 0,
          "%s: sequence %ld has other bits alone", where.c_str(), long{b});
  }
}

}  // namespace bertcpp::testing
