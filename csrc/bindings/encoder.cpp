#include "models/encoder.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/config.h"
#include "bindings/gil.h"
#include "models/checks.h"
#include "runtime/errors.h"
#include "runtime/sizes.h"

namespace bertcpp::bindings {
namespace {

Pooling pooling_from_name(const std::string& name) {
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

bool is_table(const std::string& name) {
  return name == "embeddings.word.weight" || name == "embeddings.position.weight" ||
         name == "embeddings.token_type.weight";
}

struct Wanted {
  bool hidden_states;
  bool attentions;
  bool pooler;
};

class PyEncoder {
 public:
  PyEncoder(const py::dict& config, const py::dict& weights) : config_(read_config(config)) {
    WeightMap views;
    std::vector<py::array> arrays;  // held while they are packed
    for (const auto& [key, value] : weights) {
      if (!py::isinstance<py::str>(key)) throw WeightError("the names of weights must be strings");
      const std::string name = key.cast<std::string>();
      Weight one = weight(value, name);
      // The embedding tables are read where they lie for as long as the encoder lives.
      if (is_table(name)) tables_.push_back(one.array);
      views.emplace(name, std::move(one.view));
      arrays.push_back(std::move(one.array));
    }
    const Kernels& kernels = active_kernels();
    const GilRelease release;
    encoder_ = std::make_unique<Encoder>(config_.encoder, views, kernels);
  }

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
  std::vector<py::array> tables_;
  std::unique_ptr<const Encoder> encoder_;
};

}  // namespace

void bind_encoder(py::module_& module) {
  py::class_<PyEncoder>(module, "Encoder", py::is_final(), "A BERT-family encoder over packed batches.")
      .def(py::init<const py::dict&, const py::dict&>(), py::arg("config"), py::arg("weights"))
      .def("forward", &PyEncoder::forward, py::arg("input_ids"), py::arg("cu_seqlens"), py::arg("position_ids"),
           py::arg("token_type_ids") = py::none(), py::kw_only(), py::arg("inputs_embeds") = py::none(),
           py::arg("key_lens") = py::none(), py::arg("columns") = py::none(), py::arg("output_hidden_states") = false,
           py::arg("output_attentions") = false, py::arg("pooler") = true, py::arg("num_threads") = 0,
           "Hidden states of a packed batch: a dict with last_hidden_state, pooler_output, hidden_states, attentions.")
      .def("embed", &PyEncoder::embed, py::arg("input_ids"), py::arg("cu_seqlens"), py::arg("position_ids"),
           py::arg("token_type_ids") = py::none(), py::kw_only(), py::arg("pooling"),
           py::arg("pooling_weights") = py::none(), py::arg("num_threads") = 0,
           "One vector per sequence, pooled inside the engine: float32 [B, H * len(pooling)].")
      .def_property_readonly("config", &PyEncoder::config, "The configuration as it was given, defaults filled in.")
      .def_property_readonly("nbytes", &PyEncoder::nbytes, "Bytes of the weights that the encoder reads.");
}

}  // namespace bertcpp::bindings
