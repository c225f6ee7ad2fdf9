// The encoder's configuration as a dict.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "models/encoder.h"

namespace bertcpp::bindings {

struct NamedConfig {
  EncoderConfig encoder;
  std::string hidden_act;  // as it was given
};

// Throws ConfigError for keys that are missing or unknown and values of the wrong type. What may be left out:
// type_vocab_size, embedding_size (hidden_size), layer_norm_eps, relative_attention_*, has_pooler.
NamedConfig read_config(const pybind11::dict& config);
pybind11::dict config_as_dict(const NamedConfig& config);

}  // namespace bertcpp::bindings
