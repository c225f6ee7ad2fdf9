#include "bindings/config.h"

#include <iterator>

#include "layers/activation.h"
#include "runtime/errors.h"

namespace bertcpp::bindings {
namespace {

namespace py = pybind11;

struct Size {
  const char* name;
  int64_t EncoderConfig::* member;
  bool required;
};

constexpr Size kSizes[] = {
    {"vocab_size", &EncoderConfig::vocab_size, true},
    {"hidden_size", &EncoderConfig::hidden_size, true},
    {"num_hidden_layers", &EncoderConfig::num_hidden_layers, true},
    {"num_attention_heads", &EncoderConfig::num_attention_heads, true},
    {"intermediate_size", &EncoderConfig::intermediate_size, true},
    {"max_position_embeddings", &EncoderConfig::max_position_embeddings, true},
    {"type_vocab_size", &EncoderConfig::type_vocab_size, false},
    {"embedding_size", &EncoderConfig::embedding_size, false},
    {"relative_attention_num_buckets", &EncoderConfig::relative_attention_num_buckets, false},
    {"relative_attention_max_distance", &EncoderConfig::relative_attention_max_distance, false},
};

constexpr struct {
  const char* name;
  Precision precision;
} kPrecisions[] = {{"float32", Precision::kFloat32}, {"bfloat16", Precision::kBFloat16}, {"int8", Precision::kInt8}};

[[noreturn]] void refuse(const std::string& name, const char* wanted, const py::handle& value) {
  throw ConfigError(name + " must be " + wanted + ", not " + py::repr(value).cast<std::string>());
}

int64_t integer(const std::string& name, const py::handle& value) {
  if (PyBool_Check(value.ptr()) || PyIndex_Check(value.ptr()) == 0) refuse(name, "an integer", value);
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) refuse(name, "an integer of 64 bits", value);
  return number;
}

double number(const std::string& name, const py::handle& value) {
  if (PyBool_Check(value.ptr()) || (PyFloat_Check(value.ptr()) == 0 && PyIndex_Check(value.ptr()) == 0)) {
    refuse(name, "a number", value);
  }
  const double result = PyFloat_AsDouble(value.ptr());
  if (result == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return result;
}

bool known(const std::string& key) {
  for (const Size& size : kSizes) {
    if (key == size.name) return true;
  }
  return key == "dtype" || key == "hidden_act" || key == "layer_norm_eps" || key == "has_pooler";
}

void refuse_unknown(const py::dict& config) {
  for (const auto& [key, value] : config) {
    const std::string name = py::str(key).cast<std::string>();
    if (!known(name)) throw ConfigError("the encoder's configuration has no field \"" + name + "\"");
  }
}

Precision precision_from_name(const py::object& value) {
  for (const auto& precision : kPrecisions) {
    if (py::isinstance<py::str>(value) && value.cast<std::string>() == precision.name) return precision.precision;
  }
  refuse("dtype", "\"float32\", \"bfloat16\" or \"int8\"", value);
}

}  // namespace

NamedConfig read_config(const py::dict& config) {
  refuse_unknown(config);
  NamedConfig result;
  EncoderConfig& encoder = result.encoder;
  for (const Size& size : kSizes) {
    if (config.contains(size.name)) {
      encoder.*size.member = integer(size.name, config[size.name]);
    } else if (size.required) {
      throw ConfigError("the encoder's configuration lacks " + std::string(size.name));
    }
  }
  if (!config.contains("embedding_size")) encoder.embedding_size = encoder.hidden_size;
  if (!config.contains("hidden_act")) throw ConfigError("the encoder's configuration lacks hidden_act");
  const py::object act = config["hidden_act"];
  if (!py::isinstance<py::str>(act)) refuse("hidden_act", "the name of an activation", act);
  result.hidden_act = act.cast<std::string>();
  encoder.hidden_act = activation_from_name(result.hidden_act);
  if (config.contains("layer_norm_eps")) encoder.layer_norm_eps = number("layer_norm_eps", config["layer_norm_eps"]);
  if (config.contains("dtype")) encoder.precision = precision_from_name(config["dtype"]);
  if (config.contains("has_pooler")) {
    const py::object pooler = config["has_pooler"];
    if (!PyBool_Check(pooler.ptr())) refuse("has_pooler", "True or False", pooler);
    encoder.has_pooler = pooler.is(py::bool_(true));
  }
  return result;
}

py::dict config_as_dict(const NamedConfig& config) {
  py::dict result;
  for (const Size& size : kSizes) result[size.name] = config.encoder.*size.member;
  result["hidden_act"] = config.hidden_act;
  result["layer_norm_eps"] = config.encoder.layer_norm_eps;
  result["has_pooler"] = config.encoder.has_pooler;
  for (const auto& precision : kPrecisions) {
    if (precision.precision == config.encoder.precision) result["dtype"] = precision.name;
  }
  return result;
}

}  // namespace bertcpp::bindings
