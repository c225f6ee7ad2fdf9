#include "layers/activation.h"

#include <string>
#include <utility>

#include "runtime/errors.h"

namespace bertcpp {
namespace {

constexpr std::pair<std::string_view, Activation> kNames[] = {
    {"gelu", Activation::kGelu},
    {"gelu_python", Activation::kGelu},
    {"gelu_10", Activation::kGeluClipped},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh},
    {"gelu_accurate", Activation::kGeluTanh},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_python_tanh", Activation::kGeluTanh},
    {"quick_gelu", Activation::kQuickGelu},
    {"relu", Activation::kRelu},
    {"relu2", Activation::kReluSquared},
    {"relu6", Activation::kRelu6},
    {"leaky_relu", Activation::kLeakyRelu},
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"tanh", Activation::kTanh},
    {"sigmoid", Activation::kSigmoid},
    {"mish", Activation::kMish},
    {"laplace", Activation::kLaplace},
    {"linear", Activation::kIdentity},
    {"identity", Activation::kIdentity},
};

}  // namespace

Activation activation_from_name(std::string_view name) {
  for (const auto& [known, activation] : kNames) {
    if (known == name) return activation;
  }
  std::string text = "unknown activation '" + std::string(name) + "'; known are";
  for (const auto& entry : kNames) text += " " + std::string(entry.first);
  throw ConfigError(text);
}

}  // namespace bertcpp
