// The vector type of each instruction set, with one set of operations: the only `#if` on instruction sets.
//
// Included by isa.cpp alone, inside its anonymous namespace, so that no function compiled for one instruction set can
// be merged by the linker with its twin compiled for another. Arithmetic and comparisons are those of GNU vector types;
// what they lack (fused multiply-add, maximum, square root, partial loads) is given here for each instruction set.
//
// BERTCPP_ISA_<NAME> selects the section:
//   kWidth  floats in a vector
//   kMr     rows of the largest register tile, kNv its columns in vectors: kMr * kNv accumulators fill the registers
//   kHeadMr, kHeadNv  the same of attention's products, which keep to tiles that heads of 32 and 64 columns fill

// Rows that extend another: they add instructions for low precision, and share everything else with it.
#if defined(BERTCPP_ISA_AMX)
#define BERTCPP_ISA_AVX512_BF16 1
#define BERTCPP_TILES 1  // products of low precision are those of tiles.inc, and not of vectors
#endif
#if defined(BERTCPP_ISA_AVX512_BF16)
#define BERTCPP_ISA_AVX512_VNNI 1
#endif
#if defined(BERTCPP_ISA_AVX512_VNNI)
#define BERTCPP_ISA_AVX512 1
#endif
#if defined(BERTCPP_ISA_AVX2_VNNI)
#define BERTCPP_ISA_AVX2 1
#endif
#if defined(BERTCPP_ISA_NEON_DOTPROD)
#define BERTCPP_ISA_NEON 1
#endif

#if defined(BERTCPP_ISA_AVX512_BF16)

constexpr int kWidth = 16;
constexpr int kMr = 14;
constexpr int kNv = 2;
constexpr int kHeadMr = kMr;
constexpr int kHeadNv = kNv;

#elif defined(BERTCPP_ISA_AVX512)

// Where two vectors are multiplied in a cycle and a neighbour on the same core takes its share of the loads, products
// wait for loads: 14 rows by 2 vectors load 16 times for 28 products, these 12 times for 27. (Measured on Ice Lake:
// products 15 to 30% faster. Not measured on Emerald Rapids.)
constexpr int kWidth = 16;
constexpr int kMr = 9;
constexpr int kNv = 3;
constexpr int kHeadMr = 14;
constexpr int kHeadNv = 2;

#elif defined(BERTCPP_ISA_AVX2)

// 7 loads for 12 products, as above; 6 rows by 2 vectors would load 8 times. (On Ice Lake 3 to 6% faster, bytes 17%.)
constexpr int kWidth = 8;
constexpr int kMr = 4;
constexpr int kNv = 3;
constexpr int kHeadMr = 6;
constexpr int kHeadNv = 2;

#elif defined(BERTCPP_ISA_NEON)

constexpr int kWidth = 4;
constexpr int kMr = 6;
constexpr int kNv = 4;
constexpr int kHeadMr = kMr;
constexpr int kHeadNv = kNv;

#elif defined(BERTCPP_ISA_SCALAR)

// Portable: four floats at a time in plain C++, for whatever the compiler's baseline offers; no fused multiply-add.
constexpr int kWidth = 4;
constexpr int kMr = 4;
constexpr int kNv = 2;
constexpr int kHeadMr = kMr;
constexpr int kHeadNv = kNv;

#endif

constexpr int kNr = kNv * kWidth;
constexpr int kHeadNr = kHeadNv * kWidth;

// Whether products of bfloat16 are instructions, faster than those of floats, or emulated.
#if defined(BERTCPP_ISA_AVX512_BF16)
constexpr bool kNativeBFloat16 = true;
#else
constexpr bool kNativeBFloat16 = false;
#endif

// may_alias and the alignment of one float: vectors are read from and written to plain float arrays.
using Vec = float __attribute__((vector_size(kWidth * 4)));
using VecUnaligned = float __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
using IntVec = int32_t __attribute__((vector_size(kWidth * 4)));
using UintVec = uint32_t __attribute__((vector_size(kWidth * 4)));  // its sums wrap round
using IntVecUnaligned = int32_t __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
using HalfVec = uint16_t __attribute__((vector_size(kWidth * 2)));
using HalfVecUnaligned = uint16_t __attribute__((vector_size(kWidth * 2), aligned(2), may_alias));

#define BERTCPP_INLINE inline __attribute__((always_inline))

// x - 0 is x for every x, -0 and NaN among them, so this compiles to a broadcast alone (0 + x would not).
BERTCPP_INLINE Vec set1(float x) { return x - Vec{}; }
BERTCPP_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
BERTCPP_INLINE void store(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }

#if defined(BERTCPP_ISA_AVX512)

BERTCPP_INLINE __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
// The first n < kWidth floats of p, then zeros; memory past them is not touched.
BERTCPP_INLINE Vec load(const float* p, int64_t n) { return (Vec)_mm512_maskz_loadu_ps(first(n), p); }
BERTCPP_INLINE void store(float* p, Vec v, int64_t n) { _mm512_mask_storeu_ps(p, first(n), (__m512)v); }
// a * b + c, rounded once.
BERTCPP_INLINE Vec fma(Vec a, Vec b, Vec c) { return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
BERTCPP_INLINE Vec max(Vec a, Vec b) { return (Vec)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b); }
BERTCPP_INLINE Vec min(Vec a, Vec b) { return (Vec)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b); }
BERTCPP_INLINE Vec from_half(HalfVec h) { return (Vec)_mm512_maskz_cvtph_ps(0xffff, (__m256i)h); }

#elif defined(BERTCPP_ISA_AVX2)

BERTCPP_INLINE __m256i first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
BERTCPP_INLINE Vec load(const float* p, int64_t n) { return (Vec)_mm256_maskload_ps(p, first(n)); }
BERTCPP_INLINE void store(float* p, Vec v, int64_t n) { _mm256_maskstore_ps(p, first(n), (__m256)v); }
BERTCPP_INLINE Vec fma(Vec a, Vec b, Vec c) { return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
BERTCPP_INLINE Vec max(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
BERTCPP_INLINE Vec min(Vec a, Vec b) { return (Vec)_mm256_min_ps((__m256)a, (__m256)b); }
BERTCPP_INLINE Vec from_half(HalfVec h) { return (Vec)_mm256_cvtph_ps((__m128i)h); }

#else

BERTCPP_INLINE Vec load(const float* p, int64_t n) {
  Vec v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
BERTCPP_INLINE void store(float* p, Vec v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}
#if defined(BERTCPP_ISA_NEON)
BERTCPP_INLINE Vec fma(Vec a, Vec b, Vec c) { return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
BERTCPP_INLINE Vec from_half(HalfVec h) { return (Vec)vcvt_f32_f16((float16x4_t)h); }
#else
BERTCPP_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
BERTCPP_INLINE Vec from_half(HalfVec h) {
  // Exponent and mantissa move up by 13 bits; multiplying by 2^112 corrects the bias and makes subnormals right too.
  // Infinity and NaN keep an exponent of all ones.
  const IntVec x = __builtin_convertvector(h, IntVec);
  const IntVec sign = (x & 0x8000) << 16;
  const IntVec magnitude = (x & 0x7fff) << 13;
  const IntVec finite = (IntVec)((Vec)magnitude * 0x1p112f);
  const IntVec special = magnitude | 0x7f800000;
  return (Vec)(sign | (magnitude >= 0x0f800000 ? special : finite));
}
#endif
// As on x86: the second operand where either is NaN.
BERTCPP_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
BERTCPP_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }

#endif

BERTCPP_INLINE Vec select(IntVec condition, Vec yes, Vec no) { return condition ? yes : no; }
BERTCPP_INLINE Vec abs(Vec v) { return (Vec)((IntVec)v & 0x7fffffff); }
// |magnitude| with the sign of `sign`.
BERTCPP_INLINE Vec copysign(Vec magnitude, Vec sign) {
  return (Vec)(((IntVec)magnitude & 0x7fffffff) | ((IntVec)sign & static_cast<int32_t>(0x80000000u)));
}
BERTCPP_INLINE Vec from_bfloat16(HalfVec h) { return (Vec)(__builtin_convertvector(h, IntVec) << 16); }

// Rounded to the nearest, ties to even; NaN becomes a quiet NaN. The instruction makes denormals zeros.
BERTCPP_INLINE HalfVec to_bfloat16(Vec v) {
#if defined(BERTCPP_ISA_AVX512_BF16)
  return (HalfVec)_mm512_cvtneps_pbh((__m512)v);
#else
  const UintVec x = (UintVec)v;
  const UintVec rounded = (x + 0x7fffu + ((x >> 16) & 1u)) >> 16;
  const UintVec nan = (x >> 16) | 0x40u;
  return __builtin_convertvector(v == v ? rounded : nan, HalfVec);
#endif
}
// Pairs of bfloat16: `low` and `high`, lane by lane.
BERTCPP_INLINE UintVec to_bfloat16(Vec low, Vec high) {
  return __builtin_convertvector(to_bfloat16(low), UintVec) | __builtin_convertvector(to_bfloat16(high), UintVec) << 16;
}

// Words: 32 bits of a row or a column along the depth, whatever they hold.
using Word = int32_t __attribute__((may_alias));
BERTCPP_INLINE IntVec set1(int32_t x) { return x - IntVec{}; }
BERTCPP_INLINE IntVec load_words(const void* p) { return *static_cast<const IntVecUnaligned*>(p); }

// c + a[0] b[0] + a[1] b[1], lane by lane, of pairs of bfloat16; products are exact in float32.
BERTCPP_INLINE Vec dot_bfloat16(IntVec a, IntVec b, Vec c) {
#if defined(BERTCPP_ISA_AVX512_BF16)
  return (Vec)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#else
  const IntVec high = set1(static_cast<int32_t>(0xffff0000u));
  return fma((Vec)(a & high), (Vec)(b & high), fma((Vec)(a << 16), (Vec)(b << 16), c));
#endif
}

// c + the sum of a[i] b[i], lane by lane, of four unsigned bytes a and four signed bytes b: exact.
BERTCPP_INLINE IntVec dot_int8(IntVec a, IntVec b, IntVec c) {
#if defined(BERTCPP_ISA_AVX512_VNNI)
  return (IntVec)_mm512_dpbusd_epi32((__m512i)c, (__m512i)a, (__m512i)b);
#elif defined(BERTCPP_ISA_AVX2_VNNI)
  return (IntVec)_mm256_dpbusd_avx_epi32((__m256i)c, (__m256i)a, (__m256i)b);
#elif defined(BERTCPP_ISA_NEON_DOTPROD)
  // Signed products alone: a - 128 is a byte with its highest bit turned, and 128 times the sum of b is added back.
  const int8x16_t bytes = (int8x16_t)b;
  const int32x4_t shifted = vdotq_s32((int32x4_t)c, (int8x16_t)(a ^ set1(static_cast<int32_t>(0x80808080u))), bytes);
  return (IntVec)vaddq_s32(shifted, vshlq_n_s32(vdotq_s32(vdupq_n_s32(0), vdupq_n_s8(1), bytes), 7));
#else
  // Even and odd bytes as 16-bit numbers: pairs of their products fit 32 bits, where vpmaddubsw would saturate 16.
  const IntVec a_even = a & 0x00ff00ff;
  const IntVec a_odd = (IntVec)((UintVec)a >> 8) & 0x00ff00ff;
#if defined(BERTCPP_ISA_AVX512)
  const __m512i b_even = _mm512_srai_epi16(_mm512_slli_epi16((__m512i)b, 8), 8);
  const __m512i b_odd = _mm512_srai_epi16((__m512i)b, 8);
  return c + (IntVec)_mm512_madd_epi16((__m512i)a_even, b_even) + (IntVec)_mm512_madd_epi16((__m512i)a_odd, b_odd);
#elif defined(BERTCPP_ISA_AVX2)
  const __m256i b_even = _mm256_srai_epi16(_mm256_slli_epi16((__m256i)b, 8), 8);
  const __m256i b_odd = _mm256_srai_epi16((__m256i)b, 8);
  return c + (IntVec)_mm256_madd_epi16((__m256i)a_even, b_even) + (IntVec)_mm256_madd_epi16((__m256i)a_odd, b_odd);
#else
  const IntVec low = (a_even & 0xffff) * ((b << 24) >> 24) + (a_odd & 0xffff) * ((b << 16) >> 24);
  return c + low + (a_even >> 16) * ((b << 8) >> 24) + (a_odd >> 16) * (b >> 24);
#endif
#endif
}

// Lane i is lane index[i] of a, b end to end.
BERTCPP_INLINE Vec shuffle(Vec a, Vec b, IntVec index) {
#if defined(__clang__)
  Vec v{};
  for (int i = 0; i < kWidth; ++i) v[i] = index[i] < kWidth ? a[index[i]] : b[index[i] - kWidth];
  return v;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

// Lane i is lane (i + N) modulo the width of v.
template <int N>
BERTCPP_INLINE Vec rotate(Vec v) {
  IntVec index{};
#pragma GCC unroll 16
  for (int i = 0; i < kWidth; ++i) index[i] = (i + N) % kWidth;
  return shuffle(v, v, index);
}

// The lanes are added in halves: (0 + W/2), (1 + W/2 + 1) ...; the order is part of the results.
BERTCPP_INLINE float reduce_add(Vec v) {
  if constexpr (kWidth > 8) v += rotate<8>(v);
  if constexpr (kWidth > 4) v += rotate<4>(v);
  v += rotate<2>(v);
  v += rotate<1>(v);
  return v[0];
}
BERTCPP_INLINE float reduce_max(Vec v) {
  if constexpr (kWidth > 8) v = max(v, rotate<8>(v));
  if constexpr (kWidth > 4) v = max(v, rotate<4>(v));
  v = max(v, rotate<2>(v));
  v = max(v, rotate<1>(v));
  return v[0];
}
