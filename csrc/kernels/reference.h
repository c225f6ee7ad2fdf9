// What every kernel should compute, in naive loops over doubles. For tests: nothing else links it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace bertcpp::reference {

double activation(double x, Activation activation);

// Rows of floats, `stride` apart.
struct Matrix {
  const float* data;
  ptrdiff_t stride;
  const float* row(int64_t r) const { return data + r * stride; }
};

// result[M,N] = activation(a[M,K] * w[N,K]^T + bias[N]) + residual[M,N]; bias and residual.data may be null.
std::vector<double> matmul(Matrix a, Matrix w, const float* bias, Matrix residual, int64_t m, int64_t n, int64_t k,
                           Activation activation);

struct Attention {
  std::vector<double> out;            // [num_tokens, head_dim]
  std::vector<double> probabilities;  // [num_tokens, num_tokens]
};
// Probabilities are not rounded to bfloat16. For all queries: the range, `out`, `probabilities` and `scratch` of the
// arguments are not looked at.
Attention attention(const AttentionArgs& args);

// result[rows,n] = (x - mean) / sqrt(variance + eps) * weight + bias, row by row.
std::vector<double> layer_norm(Matrix x, const float* weight, const float* bias, double eps, int64_t rows, int64_t n);

// One step of a GRU (PyTorch's equations): input[3n], hidden[3n] and state[n] to the next state[n].
std::vector<double> gru_cell(const float* input, const float* hidden, const float* state, int64_t n);

// A value of half precision, from its bits (IEEE 754 binary16).
double float16(uint16_t bits);

// The bfloat16 nearest to x, ties to even; NaN becomes a quiet NaN.
uint16_t bfloat16_bits(float x);

}  // namespace bertcpp::reference
