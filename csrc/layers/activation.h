// The names that checkpoints give activations.
#pragma once

#include <string_view>

#include "kernels/kernels.h"

namespace bertcpp {

// Throws ConfigError, naming the known ones. The names are those of transformers' ACT2FN, and "identity".
Activation activation_from_name(std::string_view name);

}  // namespace bertcpp
