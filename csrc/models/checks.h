// What an Encoder refuses. Nothing behind these checks looks at a value again.
#pragma once

#include "models/encoder.h"

namespace bertcpp {

// Returns the configuration. Throws ConfigError.
const EncoderConfig& check(const EncoderConfig& config);

// Throws InputError, or TokenIdError for an id outside its table.
void check(const EncoderConfig& config, const EncoderBatch& batch, const EncoderOutputs& outputs);

// The largest place a token can have for relative position biases.
int64_t largest_column(const EncoderConfig& config);

}  // namespace bertcpp
