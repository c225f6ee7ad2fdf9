// The class `Encoder` of an extension module, over an engine on the processor or on a GPU: an object with the members
// config(), heads(layer), nbytes() and forward(batch, outputs, num_threads) of models/encoder.h.
#pragma once

#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/config.h"
#include "bindings/gil.h"
#include "models/checks.h"
#include "models/encoder.h"
#include "runtime/errors.h"
#include "runtime/sizes.h"

namespace bertcpp::bindings {

inline Pooling pooling_from_name(const std::string& name) {
  static constexpr struct {
    const char* name;
    Pooling pooling;
  } kModes[] = {
      {"cls", Pooling::kCls},
      {"mean", Pooling::kMean},
      {"max", Pooling::kMax},
      {"mean_sqrt_len", Pooling::kMeanSqrtLen},
      {"weightedmean", Pooling::kWeightedMean},
      {"lasttoken", Pooling::kLastToken},
  };
  std::string known;
  for (const auto& mode : kModes) {
    if (name == mode.name) return mode.pooling;
    known += (known.empty() ? "" : ", ") + std::string(mode.name);
  }
  throw InputError("there is no pooling mode \"" + name + "\"; the modes are " + known);
}

// The arguments of a call, copied or held, and the view of them that the engine takes.
class Batch {
 public:
  Batch(const EncoderConfig& config, const py::object& input_ids, const py::object& inputs_embeds,
        const py::object& cu_seqlens, const py::object& position_ids, const py::object& token_type_ids)
      : position_ids_(int32s(position_ids, "position_ids")), cu_seqlens_(int32s(cu_seqlens, "cu_seqlens")) {
    const auto tokens = static_cast<int64_t>(position_ids_.size());
    if (cu_seqlens_.empty()) throw InputError("cu_seqlens is empty; it needs an entry per sequence and one more");
    input_ids_ = optional_int32s(input_ids, "input_ids", tokens);
    if (!inputs_embeds.is_none())
      inputs_embeds_ = floats(inputs_embeds, "inputs_embeds", {tokens, config.embedding_size});
    token_type_ids_ = optional_int32s(token_type_ids, "token_type_ids", tokens);
  }

  void set_key_lens(const py::object& key_lens) { key_lens_ = optional_int32s(key_lens, "key_lens", num_sequences()); }
  void set_columns(const py::object& columns) { columns_ = optional_int32s(columns, "columns", num_tokens()); }

  int64_t num_tokens() const { return static_cast<int64_t>(position_ids_.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(cu_seqlens_.size()) - 1; }

  EncoderBatch view() const {
    const auto data = [](const auto& ids) { return ids ? ids->data() : nullptr; };
    return {
        .input_ids = data(input_ids_),
        .inputs_embeds = data(inputs_embeds_),
        .position_ids = position_ids_.data(),
        .token_type_ids = data(token_type_ids_),
        .cu_seqlens = cu_seqlens_.data(),
        .key_lens = data(key_lens_),
        .columns = data(columns_),
        .num_tokens = num_tokens(),
        .num_sequences = num_sequences(),
    };
  }

  // The floats of one head's attention probabilities. Throws InputError where the batch is not well formed.
  int64_t attention_floats(const EncoderConfig& config) const {
    check(config, view(), {});
    int64_t total = 0;
    for (size_t b = 0; b + 1 < cu_seqlens_.size(); ++b) {
      const int64_t length = cu_seqlens_[b + 1] - cu_seqlens_[b];
      total = checked_add(total, checked_mul(length, length));
    }
    return total;
  }

 private:
  std::vector<int32_t> position_ids_;
  std::vector<int32_t> cu_seqlens_;
  std::optional<std::vector<int32_t>> input_ids_;
  std::optional<FloatArray> inputs_embeds_;
  std::optional<std::vector<int32_t>> token_type_ids_;
  std::optional<std::vector<int32_t>> key_lens_;
  std::optional<std::vector<int32_t>> columns_;
};

struct Wanted {
  bool hidden_states;
  bool attentions;
  bool pooler;
};

// The weights of a call by their names, and the arrays that hold them.
class NamedWeights {
 public:
  explicit NamedWeights(const py::dict& weights) {
    for (const auto& [key, value] : weights) {
      if (!py::isinstance<py::str>(key)) throw WeightError("the names of weights must be strings");
      const std::string name = key.cast<std::string>();
      Weight one = weight(value, name, true);
      views_.emplace(name, std::move(one.view));
      arrays_.emplace(name, std::move(one.array));
    }
  }
  const WeightMap& views() const { return views_; }
  // The array of this name goes with the caller, who needs it for longer; an empty one where there is none.
  py::array keep(const std::string& name) const {
    const auto found = arrays_.find(name);
    return found == arrays_.end() ? py::array() : found->second;
  }
  // The same of all arrays of bytes, which are read where they lie.
  std::vector<py::array> keep_bytes() const {
    std::vector<py::array> kept;
    for (const auto& [name, view] : views_) {
      if (view.dtype == DType::kBytes) kept.push_back(arrays_.at(name));
    }
    return kept;
  }

 private:
  WeightMap views_;
  std::map<std::string, py::array> arrays_;
};

template <class Engine>
class PyEncoder {
 public:
  // `kept`: arrays that the engine reads for as long as it lives.
  PyEncoder(NamedConfig config, std::unique_ptr<const Engine> engine, std::vector<py::array> kept)
      : config_(std::move(config)), kept_(std::move(kept)), encoder_(std::move(engine)) {}

  py::dict forward(const py::object& input_ids, const py::object& cu_seqlens, const py::object& position_ids,
                   const py::object& token_type_ids, const py::object& inputs_embeds, const py::object& key_lens,
                   const py::object& columns, bool output_hidden_states, bool output_attentions, bool pooler,
                   int64_t num_threads) const {
    const int threads = checked_num_threads(num_threads);
    Batch batch(config_.encoder, input_ids, inputs_embeds, cu_seqlens, position_ids, token_type_ids);
    batch.set_key_lens(key_lens);
    batch.set_columns(columns);
    return run(batch, {output_hidden_states, output_attentions, pooler && config_.encoder.has_pooler}, threads);
  }

  FloatArray embed(const py::object& input_ids, const py::object& cu_seqlens, const py::object& position_ids,
                   const py::object& token_type_ids, const std::vector<std::string>& pooling,
                   const py::object& pooling_weights, int64_t num_threads) const {
    const int threads = checked_num_threads(num_threads);
    if (pooling.empty()) throw InputError("pooling names no mode; give at least one");
    EncoderOutputs outputs;
    for (const std::string& name : pooling) outputs.pooling.push_back(pooling_from_name(name));
    const Batch batch(config_.encoder, input_ids, py::none(), cu_seqlens, position_ids, token_type_ids);
    std::optional<FloatArray> weights;
    if (!pooling_weights.is_none()) weights = floats(pooling_weights, "pooling_weights", {batch.num_tokens()});
    if (weights) outputs.pooling_weights = weights->data();
    FloatArray pooled({batch.num_sequences(), config_.encoder.hidden_size * static_cast<int64_t>(pooling.size())});
    outputs.pooled = pooled.mutable_data();
    compute(batch, outputs, threads);
    return pooled;
  }

  py::dict config() const { return config_as_dict(config_); }
  size_t nbytes() const { return encoder_->nbytes(); }
  const Engine& engine() const { return *encoder_; }
  const EncoderConfig& encoder_config() const { return config_.encoder; }

 private:
  void compute(const Batch& batch, const EncoderOutputs& outputs, int num_threads) const {
    const GilRelease release;
    encoder_->forward(batch.view(), outputs, num_threads);
  }

  py::dict run(const Batch& batch, const Wanted& wanted, int num_threads) const {
    const EncoderConfig& config = config_.encoder;
    const int64_t hidden = config.hidden_size;
    EncoderOutputs outputs;
    py::dict results;
    for (const char* name : {"last_hidden_state", "pooler_output", "hidden_states", "attentions"}) {
      results[name] = py::none();
    }
    if (wanted.hidden_states) {
      // The last of them is last_hidden_state, so that is not written twice.
      const std::vector<Shape> shapes(static_cast<size_t>(config.num_hidden_layers + 1), {batch.num_tokens(), hidden});
      const py::list states = arrays(shapes, outputs.hidden_states);
      results["last_hidden_state"] = states[states.size() - 1];
      results["hidden_states"] = states;
    } else {
      FloatArray last({batch.num_tokens(), hidden});
      outputs.last_hidden_state = last.mutable_data();
      results["last_hidden_state"] = std::move(last);
    }
    if (wanted.attentions) {
      const int64_t floats = batch.attention_floats(config);
      std::vector<Shape> shapes;
      for (int64_t i = 0; i < config.num_hidden_layers; ++i)
        shapes.push_back({checked_mul(encoder_->heads(i), floats)});
      results["attentions"] = arrays(shapes, outputs.attentions);
    }
    if (wanted.pooler) {
      FloatArray pooled({batch.num_sequences(), hidden});
      outputs.pooler_output = pooled.mutable_data();
      results["pooler_output"] = std::move(pooled);
    }
    compute(batch, outputs, num_threads);
    return results;
  }

  // A list of new arrays, and where they lie.
  static py::list arrays(const std::vector<Shape>& shapes, std::vector<float*>& data) {
    py::list list;
    for (const Shape& shape : shapes) {
      FloatArray array(shape);
      data.push_back(array.mutable_data());
      list.append(std::move(array));
    }
    return list;
  }

  NamedConfig config_;
  std::vector<py::array> kept_;
  std::unique_ptr<const Engine> encoder_;
};

// What the class has beside its constructor.
template <class Engine>
void define_encoder_methods(py::class_<PyEncoder<Engine>>& type) {
  using Self = PyEncoder<Engine>;
  type.def("forward", &Self::forward, py::arg("input_ids"), py::arg("cu_seqlens"), py::arg("position_ids"),
           py::arg("token_type_ids") = py::none(), py::kw_only(), py::arg("inputs_embeds") = py::none(),
           py::arg("key_lens") = py::none(), py::arg("columns") = py::none(), py::arg("output_hidden_states") = false,
           py::arg("output_attentions") = false, py::arg("pooler") = true, py::arg("num_threads") = 0,
           "Hidden states of a packed batch: a dict with last_hidden_state, pooler_output, hidden_states, attentions.")
      .def("embed", &Self::embed, py::arg("input_ids"), py::arg("cu_seqlens"), py::arg("position_ids"),
           py::arg("token_type_ids") = py::none(), py::kw_only(), py::arg("pooling"),
           py::arg("pooling_weights") = py::none(), py::arg("num_threads") = 0,
           "One vector per sequence, pooled inside the engine: float32 [B, H * len(pooling)].")
      .def_property_readonly("config", &Self::config, "The configuration as it was given, defaults filled in.")
      .def_property_readonly("nbytes", &Self::nbytes, "Bytes of the weights that the encoder reads.");
}

}  // namespace bertcpp::bindings
