// Stands in for CUDA's header of the same name.
#pragma once

#include <cstdint>

struct __nv_bfloat16 {
  uint16_t bits;
};

float __bfloat162float(__nv_bfloat16 x);
// Rounded to nearest, ties to even.
__nv_bfloat16 __float2bfloat16_rn(float x);
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
