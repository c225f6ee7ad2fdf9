// The table of kernels that one instruction set offers. Plain data only: this header is included by objects compiled
// with different instruction sets, so it must not define inline functions.
//
// Letters: out[M,N] = a[M,K] * w[N,K]^T. Strides are in elements, between rows. Every sum runs over its depth in
// an order that depends on the depth alone (most in ascending order with one accumulator for each element of out), so a
// row's bits do not depend on the rows around it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bertcpp {

// The activations that checkpoints name in `hidden_act`; equations of torch.nn.functional and transformers' ACT2FN.
enum class Activation : int32_t {
  kIdentity = 0,
  kGelu,         // 0.5 x (1 + erf(x / sqrt 2))
  kGeluTanh,     // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  kGeluClipped,  // gelu cut to [-10, 10]
  kQuickGelu,    // x sigmoid(1.702 x)
  kRelu,
  kReluSquared,
  kRelu6,
  kLeakyRelu,  // slope 0.01
  kSilu,
  kTanh,
  kSigmoid,
  kMish,     // x tanh(log(1 + exp(x)))
  kLaplace,  // 0.5 (1 + erf((x - 0.707107) / (0.282095 sqrt 2)))
  kCount
};

// What a product multiplies. The depth is counted in words of 32 bits: one float32, two bfloat16 or four bytes.
enum class Precision : int32_t { kFloat32 = 0, kBFloat16, kInt8 };

// out[M,N] = activation(a[M,K] * w[N,K]^T + bias[N]) + residual[M,N], `w` packed by pack_weight.
struct MatmulArgs {
  const void* a;          // rows of words; of bfloat16 without native_bfloat16 twice as many, which are floats
  ptrdiff_t a_stride;     // in words
  const void* packed;     // panels of nr columns: packed[ceil(N / nr)][K][nr] words
  const float* bias;      // [N] padded with anything to a multiple of nr, or null
  const float* residual;  // [M,N] or null; must not overlap out
  ptrdiff_t residual_stride;
  void* out;  // floats, or bfloat16 where out_bfloat16
  ptrdiff_t out_stride;
  int64_t m;
  int64_t n_begin;  // columns [n_begin, n_end) are computed; n_begin is a multiple of nr
  int64_t n_end;
  int64_t k;                 // in words
  bool half_word = false;    // of floats times bfloat16: the last word of w holds one factor, and `a` one float for it
  float* scratch = nullptr;  // bfloat16_scratch floats, aligned to 64 bytes; of matmul_bfloat16 alone
  Activation activation;
  bool out_bfloat16 =
      false;  // not of floats times bfloat16; then a GELU is exact to 1e-4, which is what rounding loses at 0.05
  // Of bytes alone: the depth is cut into segments, which end at segment_ends[segments] (in words, the last is k). A
  // value of a is row_scale (byte - row_zero), one of w is column_scale times its byte; column_sum sums the bytes.
  int64_t segments = 0;
  const int64_t* segment_ends = nullptr;
  const float* row_scale = nullptr;     // [M][segments]
  const int32_t* row_zero = nullptr;    // [M][segments]
  const float* column_scale = nullptr;  // [segments][column_stride], readable to N rounded up to nr; and so is
  const int32_t* column_sum = nullptr;
  ptrdiff_t column_stride = 0;
};

// One (sequence, head): out = softmax(scale q k^T + position bias) v for the queries [query_begin, query_end) of a
// sequence of num_tokens, of which the first num_keys are attended to. A cut through the queries changes no bits.
struct AttentionArgs {
  const float* q;  // [num_tokens, head_dim], and so are k, v and out
  const float* k;
  const float* v;
  ptrdiff_t stride;  // between tokens, of q, k and v
  float* out;
  ptrdiff_t out_stride;
  int64_t num_tokens;
  int64_t query_begin;
  int64_t query_end;
  int64_t num_keys;
  int64_t head_dim;
  float scale;  // positive
  const float*
      position_bias;       // this head's bias at distance 0: bias(i, j) = position_bias[column(j) - column(i)]; or null
  const int32_t* columns;  // [num_tokens], or null for 0, 1, 2 ...
  float* probabilities;    // [num_tokens, num_tokens] out, or null; keys at and after num_keys get 0
  float* scratch;          // attention_scratch(num_tokens, num_keys, head_dim) floats, aligned to 64 bytes
  // Both products round what they multiply to bfloat16, and sum in float32; the softmax stays float32.
  bool bfloat16 = false;
};

struct Kernels {
  const char* name;
  int64_t vector_width;  // floats
  int64_t mr;            // rows of the largest tile of floats
  int64_t low_mr;        // the same of bfloat16 and bytes
  int64_t nr;            // columns of a panel
  int64_t head_mr;       // rows of attention's largest tile
  bool native_bfloat16;  // products of bfloat16 are instructions; else they take floats

  // packed[ceil(n / nr)][k][nr] = w[n,k]^T, columns past n are 0. Moves words, whatever they hold.
  void (*pack_weight)(const float* w, ptrdiff_t w_stride, int64_t n, int64_t k, float* packed);
  void (*matmul)(const MatmulArgs& args);           // floats
  void (*matmul_bfloat16)(const MatmulArgs& args);  // both operands bfloat16, or `a` floats; sums float32
  int64_t bfloat16_scratch;                         // floats that it needs at MatmulArgs::scratch
  void (*matmul_int8)(const MatmulArgs& args);      // a unsigned, w signed bytes, sums exact within a segment
  // The depth that matmul works through at a time for this k: it is fastest when m rows of that many floats fit in L2
  // beside two panels.
  int64_t (*matmul_depth)(int64_t k);

  int64_t (*attention_scratch)(int64_t num_tokens, int64_t num_keys, int64_t head_dim);
  void (*attention)(const AttentionArgs& args);

  // One step of a GRU, the gates in PyTorch's order (reset, update, candidate): input[3n] and hidden[3n] are the two
  // products with their biases, state[n] goes in and comes out.
  void (*gru_cell)(const float* input, const float* hidden, int64_t n, float* state);

  // out[r,:] = (x[r,:] - mean) / sqrt(variance + eps) * weight + bias, for each of `rows` rows of n; may run in place.
  void (*layer_norm)(const float* x, ptrdiff_t x_stride, const float* weight, const float* bias, float eps,
                     int64_t rows, int64_t n, float* out, ptrdiff_t out_stride);
  // out[:] = a[:] + b[:] + c[:] (b and c may be null), in that order.
  void (*add)(const float* a, const float* b, const float* c, int64_t n, float* out);
  // x[:] = activation(x[:]).
  void (*activate)(float* x, int64_t n, Activation activation);
  // out[n] += weight * x[n]: the running sums of pooling.
  void (*accumulate)(const float* x, float weight, int64_t n, float* out);
  // out[n] = max(out[n], x[n]), NaN where either is.
  void (*maximum)(const float* x, int64_t n, float* out);
  // x[:] *= factor.
  void (*scale)(float* x, int64_t n, float factor);
  // Sum of x[i]^2.
  float (*sum_squares)(const float* x, int64_t n);
  // float32 from half precision and bfloat16 bits.
  void (*from_float16)(const uint16_t* x, int64_t n, float* out);
  void (*from_bfloat16)(const uint16_t* x, int64_t n, float* out);
  // bfloat16 bits of x[n], rounded to the nearest, ties to even; denormals may become zeros.
  void (*to_bfloat16)(const float* x, int64_t n, uint16_t* out);
  // Bytes of x[n] for the rows of a product, x = scale (out - zero); scale is NaN where x holds NaN or infinity.
  void (*quantize_row)(const float* x, int64_t n, uint8_t* out, float* scale, int32_t* zero);
  // Bytes of w[n] for its columns, w = scale out, and their sum.
  void (*quantize_weight)(const float* w, int64_t n, int8_t* out, float* scale, int32_t* sum);

  // Each runs `iterations` rounds of independent multiplications of a precision, held in registers, and returns the
  // operations done: the measured peak that benchmarks quote. `sink` holds a vector or more of floats.
  double (*fma_peak)(int64_t iterations, float* sink);
  double (*bfloat16_peak)(int64_t iterations, float* sink);
  double (*int8_peak)(int64_t iterations, float* sink);
};

// Best first. Each entry is one compiled instruction set of this build; `supported` is false where the processor lacks
// it. What is slower here than an entry below it, or would displace it without ever having run on a processor, is taken
// only where BERTCPP_ISA names it.
struct KernelsEntry {
  const Kernels* kernels;
  bool supported;
  bool only_by_name = false;
};
const KernelsEntry* kernel_entries(size_t* count);

// The table in use: the best supported one that is not taken by name alone, or the one that BERTCPP_ISA names. Throws
// InstructionSetError.
const Kernels& active_kernels();
// The table with this name. Throws InstructionSetError if it is not carried or not runnable here.
const Kernels& kernels_named(const char* name);

}  // namespace bertcpp
