#include "kernels/reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

namespace bertcpp::reference {
namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double gelu(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }

double gelu_tanh(double x) {
  const double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1.0 + std::tanh(inner));
}

// Written so that NaN stays NaN.
double clip(double x, double low, double high) { return x < low ? low : (x > high ? high : x); }

double softplus(double x) { return x > 30.0 ? x : std::log1p(std::exp(x)); }

// What attention multiplies in place of x.
double operand(const AttentionArgs& args, float x) {
  if (!args.bfloat16) return static_cast<double>(x);
  return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bfloat16_bits(x)) << 16));
}

size_t index(int64_t row, int64_t columns, int64_t column) { return static_cast<size_t>(row * columns + column); }

double bias_of(const AttentionArgs& args, int64_t query, int64_t key) {
  if (args.position_bias == nullptr) return 0.0;
  const int64_t distance = args.columns == nullptr ? key - query : args.columns[key] - args.columns[query];
  return args.position_bias[distance];
}

}  // namespace

double activation(double x, Activation activation) {
  switch (activation) {
    case Activation::kIdentity:
    case Activation::kCount:
      return x;
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kGeluClipped:
      return clip(gelu(x), -10.0, 10.0);
    case Activation::kQuickGelu:
      return x * sigmoid(1.702 * x);
    case Activation::kRelu:
      return clip(x, 0.0, std::numeric_limits<double>::infinity());
    case Activation::kReluSquared:
      return x < 0.0 ? 0.0 : x * x;
    case Activation::kRelu6:
      return clip(x, 0.0, 6.0);
    case Activation::kLeakyRelu:
      return x < 0.0 ? 0.01 * x : x;
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kMish:
      return x * std::tanh(softplus(x));
    case Activation::kLaplace:
      return 0.5 * std::erfc(-(x - 0.707107) / (0.282095 * std::numbers::sqrt2));
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::vector<double> matmul(Matrix a, Matrix w, const float* bias, Matrix residual, int64_t m, int64_t n, int64_t k,
                           Activation function) {
  std::vector<double> out(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (int64_t d = 0; d < k; ++d) sum += static_cast<double>(a.row(i)[d]) * static_cast<double>(w.row(j)[d]);
      if (bias != nullptr) sum += static_cast<double>(bias[j]);
      sum = activation(sum, function);
      if (residual.data != nullptr) sum += static_cast<double>(residual.row(i)[j]);
      out[index(i, n, j)] = sum;
    }
  }
  return out;
}

Attention attention(const AttentionArgs& args) {
  Attention result;
  result.out.assign(static_cast<size_t>(args.num_tokens * args.head_dim), 0.0);
  result.probabilities.assign(static_cast<size_t>(args.num_tokens * args.num_tokens), 0.0);
  for (int64_t i = 0; i < args.num_tokens; ++i) {
    double* p = result.probabilities.data() + i * args.num_tokens;
    double top = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < args.num_keys; ++j) {
      double score = 0.0;
      for (int64_t d = 0; d < args.head_dim; ++d) {
        score += operand(args, args.q[i * args.stride + d]) * operand(args, args.k[j * args.stride + d]);
      }
      p[j] = score * static_cast<double>(args.scale) + bias_of(args, i, j);
      top = std::max(top, p[j]);
    }
    double sum = 0.0;
    for (int64_t j = 0; j < args.num_keys; ++j) sum += p[j] = std::exp(p[j] - top);
    for (int64_t j = 0; j < args.num_keys; ++j) {
      p[j] /= sum;
      for (int64_t d = 0; d < args.head_dim; ++d) {
        result.out[index(i, args.head_dim, d)] += p[j] * operand(args, args.v[j * args.stride + d]);
      }
    }
  }
  return result;
}

std::vector<double> layer_norm(Matrix x, const float* weight, const float* bias, double eps, int64_t rows, int64_t n) {
  std::vector<double> out(static_cast<size_t>(rows * n));
  for (int64_t r = 0; r < rows; ++r) {
    double mean = 0.0;
    for (int64_t i = 0; i < n; ++i) mean += static_cast<double>(x.row(r)[i]);
    mean /= static_cast<double>(n);
    double variance = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(x.row(r)[i]) - mean;
      variance += d * d;
    }
    variance /= static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) {
      const double normal = (static_cast<double>(x.row(r)[i]) - mean) / std::sqrt(variance + eps);
      out[index(r, n, i)] = normal * static_cast<double>(weight[i]) + static_cast<double>(bias[i]);
    }
  }
  return out;
}

std::vector<double> gru_cell(const float* input, const float* hidden, const float* state, int64_t n) {
  std::vector<double> next(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const double r = sigmoid(static_cast<double>(input[i]) + static_cast<double>(hidden[i]));
    const double z = sigmoid(static_cast<double>(input[n + i]) + static_cast<double>(hidden[n + i]));
    const double c = std::tanh(static_cast<double>(input[2 * n + i]) + r * static_cast<double>(hidden[2 * n + i]));
    next[static_cast<size_t>(i)] = (1.0 - z) * c + z * static_cast<double>(state[i]);
  }
  return next;
}

double float16(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const int mantissa = bits & 0x3ff;
  double magnitude = std::ldexp(mantissa, -24);  // subnormal
  if (exponent == 0x1f) {
    magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent > 0) {
    magnitude = std::ldexp(1024 + mantissa, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

uint16_t bfloat16_bits(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  const auto below = static_cast<uint16_t>(bits >> 16);
  const uint32_t rest = bits & 0xffffu;
  const bool up = rest > 0x8000u || (rest == 0x8000u && (below & 1u) != 0);
  return static_cast<uint16_t>(below + (up ? 1 : 0));
}

}  // namespace bertcpp::reference
