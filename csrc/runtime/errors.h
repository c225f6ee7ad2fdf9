// One exception type per cause. The bindings turn each into the Python exception of the same meaning.
#pragma once

#include <stdexcept>
#include <string>

namespace bertcpp {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A configuration that no engine can be built from.
class ConfigError : public Error {
 public:
  using Error::Error;
};

// A weight that is missing, or whose shape or dtype contradicts the configuration.
class WeightError : public Error {
 public:
  using Error::Error;
};

// An argument of a call: shapes, lengths, values out of range.
class InputError : public Error {
 public:
  using Error::Error;
};

// A token, position or token type id outside its table.
class TokenIdError : public InputError {
 public:
  using InputError::InputError;
};

// A forced instruction set that this build does not carry or this processor lacks.
class InstructionSetError : public Error {
 public:
  using Error::Error;
};

// A GPU that is not there, or that did not do what it was asked for.
class DeviceError : public Error {
 public:
  using Error::Error;
};

// The memory of a GPU, or the host's that it reads, is used up.
class DeviceMemoryError : public Error {
 public:
  using Error::Error;
};

}  // namespace bertcpp
