// Every kernel for one instruction set. Compiled once per row of cmake/isa.cmake; the object exports one symbol, the
// function at the end. Everything else lies in an anonymous namespace, and no header that instantiates code is
// included: an inline function compiled here may hold instructions that other processors lack, and must never be
// shared.

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/kernels.h"

namespace bertcpp {
namespace {

#include "kernels/simd.h"
#include "kernels/activation.inc"
#include "kernels/matmul.inc"
#include "kernels/panels.inc"
#include "kernels/matmul_int8.inc"
#include "kernels/peak.inc"
#if defined(BERTCPP_TILES)
#include "kernels/tiles.inc"
#include "kernels/low_precision_tiles.inc"
#else
#include "kernels/low_precision.inc"
#endif
#include "kernels/quantize.inc"
#include "kernels/attention.inc"
#include "kernels/gru.inc"
#include "kernels/layer_norm.inc"
#include "kernels/pooling.inc"

constexpr Kernels kTable = {
    .name = BERTCPP_ISA_NAME,
    .vector_width = kWidth,
    .mr = kMr,
    .low_mr = kTallestTile,
    .nr = kNr,
    .head_mr = kHeadMr,
    .native_bfloat16 = kNativeBFloat16,
    .pack_weight = pack_weight,
    .matmul = matmul,
    .matmul_bfloat16 = matmul_bfloat16,
    .bfloat16_scratch = kBFloat16Scratch,
    .matmul_int8 = matmul_int8,
    .matmul_depth = matmul_depth,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .gru_cell = gru_cell,
    .layer_norm = layer_norm,
    .add = add,
    .activate = activate,
    .accumulate = accumulate,
    .maximum = maximum,
    .scale = scale,
    .sum_squares = sum_squares,
    .from_float16 = from_float16,
    .from_bfloat16 = from_bfloat16,
    .to_bfloat16 = to_bfloat16,
    .quantize_row = quantize_row,
    .quantize_weight = quantize_weight,
    .fma_peak = fma_peak,
    .bfloat16_peak = bfloat16_peak,
    .int8_peak = int8_peak,
};

}  // namespace

extern "C" const Kernels* BERTCPP_ISA_TABLE() { return &kTable; }

}  // namespace bertcpp
