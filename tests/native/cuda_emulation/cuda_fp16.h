// Stands in for CUDA's header of the same name.
#pragma once

#include <cstdint>

struct __half {
  uint16_t bits;
};

float __half2float(__half x);
// Rounded to nearest, ties to even; what is too large becomes infinity.
__half __float2half_rn(float x);
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
