/*
 * AVX-512 without AVX-512: with this header in place of the compiler's own, the kernels of
 * src/cpu/kernel_vector*.h become portable C, which every machine and every sanitizer runs.
 * What an instruction does is told by SIMDe; here is what SIMDe 0.7.4 lacks, or does not do
 * to the bit. Loads and stores touch their unmasked lanes only.
 */
#ifndef CSRN_TEST_EMULATED_IMMINTRIN_H
#define CSRN_TEST_EMULATED_IMMINTRIN_H

#define SIMDE_NO_INLINE /* inlined, it would take the compiler minutes under a sanitizer */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <math.h>
#include <stdint.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): these are Intel's names */

typedef simde__mmask8 __mmask8;
typedef simde__mmask16 __mmask16;

#undef _MM_FROUND_NO_EXC
#undef _mm512_shuffle_f32x4
#undef _mm512_roundscale_ps
#define _MM_FROUND_NO_EXC          SIMDE_MM_FROUND_NO_EXC
#define _mm512_shuffle_f32x4       simde_mm512_shuffle_f32x4
#define _mm512_roundscale_ps(a, i) simde_mm512_roundscale_ps(a, (i)) /* SIMDe lacks the parentheses */

/* A register, seen as lanes. */
typedef union register_lanes {
  __m512 ps;
  __m512d pd;
  __m512i si;
  __m256 ps256[2];
  __m256i si256;
  __m128i si128;
  float f32[16];
  double f64[8];
  int32_t i32[16];
  uint32_t u32[16];
  uint16_t u16[16];
  uint8_t u8[16];
} register_lanes;

#define EMULATED static __attribute__((noinline, unused))

/* Lane k of an argument; whether a mask has lane k. */
#define F32(a) (((const register_lanes){.ps = (a)}).f32[k])
#define F64(a) (((const register_lanes){.pd = (a)}).f64[k])
#define I32(a) (((const register_lanes){.si = (a)}).i32[k])
#define U32(a) (((const register_lanes){.si = (a)}).u32[k])
#define IN(m)  ((m) >> k & 1)

/* Returns the register `whole` whose n lanes `part` have this value each; or a mask. */
#define RETURN_LANES(n, part, whole, value)                                                                  \
  register_lanes r_;                                                                                         \
  for (int k = 0; k < (n); k++)                                                                              \
    r_.part[k] = (value);                                                                                    \
  return r_.whole
#define RETURN_MASK(value)                                                                                   \
  uint32_t r_ = 0;                                                                                           \
  for (int k = 0; k < 16; k++)                                                                               \
    r_ |= (uint32_t)(value) << k;                                                                            \
  return (__mmask16)r_

/* ---- Arithmetic: fused, with -0, with overflow --------------------------------- */

#undef _mm512_fmadd_ps
EMULATED __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
  RETURN_LANES(16, f32, ps, fmaf(F32(a), F32(b), F32(c)));
}

#undef _mm512_fnmadd_ps
EMULATED __m512 _mm512_fnmadd_ps(__m512 a, __m512 b, __m512 c) {
  RETURN_LANES(16, f32, ps, fmaf(-F32(a), F32(b), F32(c)));
}

#undef _mm512_sub_epi32
EMULATED __m512i _mm512_sub_epi32(__m512i a, __m512i b) {
  RETURN_LANES(16, u32, si, U32(a) - U32(b));
}

/* ---- Loads and stores ------------------------------------------------------- */

#undef _mm512_maskz_loadu_ps
EMULATED __m512 _mm512_maskz_loadu_ps(__mmask16 m, const void *p) {
  RETURN_LANES(16, f32, ps, IN(m) ? ((const float *)p)[k] : 0);
}

#undef _mm512_maskz_loadu_pd
EMULATED __m512d _mm512_maskz_loadu_pd(__mmask8 m, const void *p) {
  RETURN_LANES(8, f64, pd, IN(m) ? ((const double *)p)[k] : 0);
}

#undef _mm512_maskz_loadu_epi32
EMULATED __m512i _mm512_maskz_loadu_epi32(__mmask16 m, const void *p) {
  RETURN_LANES(16, u32, si, IN(m) ? ((const uint32_t *)p)[k] : 0);
}

#undef _mm256_maskz_loadu_ps
EMULATED __m256 _mm256_maskz_loadu_ps(__mmask8 m, const void *p) {
  RETURN_LANES(8, f32, ps256[0], IN(m) ? ((const float *)p)[k] : 0);
}

#undef _mm256_maskz_loadu_epi16
EMULATED __m256i _mm256_maskz_loadu_epi16(__mmask16 m, const void *p) {
  RETURN_LANES(16, u16, si256, IN(m) ? ((const uint16_t *)p)[k] : 0);
}

#undef _mm_maskz_loadu_epi8
EMULATED __m128i _mm_maskz_loadu_epi8(__mmask16 m, const void *p) {
  RETURN_LANES(16, u8, si128, IN(m) ? ((const uint8_t *)p)[k] : 0);
}

#undef _mm512_mask_i32gather_epi32
EMULATED __m512i _mm512_mask_i32gather_epi32(__m512i src, __mmask16 m, __m512i index, const void *p,
                                             int scale) {
  RETURN_LANES(16, u32, si,
               IN(m) ? *(const uint32_t *)((const char *)p + (int64_t)I32(index) * scale) : U32(src));
}

#undef _mm512_mask_storeu_ps
EMULATED void _mm512_mask_storeu_ps(void *p, __mmask16 m, __m512 a) {
  for (int k = 0; k < 16; k++)
    if (IN(m))
      ((float *)p)[k] = F32(a);
}

/* ---- Conversions ------------------------------------------------------------ */

#undef _mm512_cvtepi32_ps
EMULATED __m512 _mm512_cvtepi32_ps(__m512i a) {
  RETURN_LANES(16, f32, ps, (float)I32(a));
}

#undef _mm512_cvtepu32_ps
EMULATED __m512 _mm512_cvtepu32_ps(__m512i a) {
  RETURN_LANES(16, f32, ps, (float)U32(a));
}

#undef _mm512_cvttps_epi32
EMULATED __m512i _mm512_cvttps_epi32(__m512 a) {
  RETURN_LANES(16, i32, si, F32(a) >= -0x1p31F && F32(a) < 0x1p31F ? (int32_t)F32(a) : INT32_MIN);
}

#undef _mm512_cvtps_pd
EMULATED __m512d _mm512_cvtps_pd(__m256 a) {
  const register_lanes x = {.ps256 = {a}};
  RETURN_LANES(8, f64, pd, (double)x.f32[k]);
}

#undef _mm512_cvtepu16_epi32
EMULATED __m512i _mm512_cvtepu16_epi32(__m256i a) {
  const register_lanes x = {.si256 = a};
  RETURN_LANES(16, u32, si, x.u16[k]);
}

#undef _mm512_cvtepu8_epi32
EMULATED __m512i _mm512_cvtepu8_epi32(__m128i a) {
  const register_lanes x = {.si128 = a};
  RETURN_LANES(16, u32, si, x.u8[k]);
}

#undef _mm512_cvtepi32_epi8
EMULATED __m128i _mm512_cvtepi32_epi8(__m512i a) {
  RETURN_LANES(16, u8, si128, (uint8_t)U32(a));
}

/* ---- Comparisons ------------------------------------------------------------ */

#undef _mm512_mask_testn_epi32_mask
EMULATED __mmask16 _mm512_mask_testn_epi32_mask(__mmask16 m, __m512i a, __m512i b) {
  RETURN_MASK(IN(m) && (U32(a) & U32(b)) == 0);
}

/* ---- Across lanes ----------------------------------------------------------- */

/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

#undef EMULATED
#undef F32
#undef F64
#undef I32
#undef U32
#undef IN
#undef RETURN_LANES
#undef RETURN_MASK

#endif
