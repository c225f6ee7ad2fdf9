// One multiplication of tensor cores: d[16,8] += a[16,16] * b[16,8], by the 32 lanes of a warp together, summed in
// float.
//
// What a lane holds (PTX ISA, "Matrix Fragments for mma.m16n8k16" with .f16 or .bf16), where row = lane / 4 and
// column = 2 (lane % 4), each register a pair of neighbours:
//   a[0] = A[row][column, column + 1]       a[1] = A[row + 8][column, column + 1]
//   a[2] = A[row][column + 8, column + 9]   a[3] = A[row + 8][column + 8, column + 9]
//   b[0] = B[column, column + 1][row]       b[1] = B[column + 8, column + 9][row]
//   d[0], d[1] = D[row][column, column + 1] d[2], d[3] = D[row + 8][column, column + 1]
#pragma once

#include "cuda/scalar.h"

namespace bertcpp::cuda {

#if defined(__CUDACC__)

template <class T>
__device__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <>
__device__ inline void multiply_add<__half>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ inline void multiply_add<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#else

template <class T>
void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulated::multiply_add<T>(d, a, b0, b1);
}

#endif

}  // namespace bertcpp::cuda
