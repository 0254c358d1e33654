/*
 * What the hot loops in AVX-512 intrinsics share, and the table of logarithms in
 * registers. Intrinsics are used where plain C leaves speed behind: tails by masks instead
 * of scalar loops (rows are short), sums of counts, division by a corrected reciprocal.
 * Each gives the bits of the plain C beside it in kernel_sums.h and kernel_transform.h.
 * Part of kernels.c.
 */
#ifndef CSRN_KERNEL_AVX512_H
#define CSRN_KERNEL_AVX512_H

#include "kernel_load.h"
#include "numerics.h"

#if CSRN_AVX512

#include <immintrin.h>

/* For _mm512_ternarylogic_epi32(a, b, c): a | (b ^ c). */
#define OR_XOR 0xf6

/* The first n of 16 or 8 lanes (n >= 0). */
INLINE __mmask16 first_lanes(int64_t n) {
  return (__mmask16)(n >= 16 ? 0xffffU : (1U << n) - 1);
}

/* 16 values from data[i] on as float32, rounded as a cast does; zeros where masked out. */
INLINE __m512 load16(const void *data, csrn_dtype type, int64_t i, __mmask16 lanes) {
  switch (type) {
  case CSRN_F32:
    return _mm512_maskz_loadu_ps(lanes, (const float *)data + i);
  case CSRN_I32:
    return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(lanes, (const int32_t *)data + i));
  case CSRN_U32:
    return _mm512_cvtepu32_ps(_mm512_maskz_loadu_epi32(lanes, (const uint32_t *)data + i));
  case CSRN_U16:
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, (const uint16_t *)data + i)));
  default: /* u8 */
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, (const uint8_t *)data + i)));
  }
}

INLINE bool has_load16(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_I32 || type == CSRN_U32 || type == CSRN_U16 || type == CSRN_U8;
}

/* 8 reals from data[i] on as float64. */
INLINE __m512d load8(const void *data, csrn_dtype type, int64_t i, __mmask8 lanes) {
  if (type == CSRN_F32)
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(lanes, (const float *)data + i));
  return _mm512_maskz_loadu_pd(lanes, (const double *)data + i);
}

/* How many of the n elements from p on lie before the next multiple of 64 bytes. */
INLINE int64_t before_alignment(const float *p, int64_t n) {
  int64_t head = (int64_t)(-(uintptr_t)p / sizeof(float) % 16);
  return head < n ? head : n;
}

/* ---- The table of logarithms ----------------------------------------------- */

/* table[64] in registers. */
typedef struct table64 {
  __m512 quarter[4];
} table64;

INLINE table64 table64_of(const float *table) {
  table64 t;
  for (int64_t k = 0; k < 4; k++)
    t.quarter[k] = _mm512_loadu_ps(table + 16 * k);
  return t;
}

/* Lanes of x that are one of the counts 0 to 63 (-0 is not), with the counts. */
INLINE __mmask16 small_counts16(__m512 x, __m512i *counts) {
  *counts = _mm512_cvttps_epi32(x);
  __mmask16 whole =
      _mm512_cmpeq_epi32_mask(_mm512_castps_si512(_mm512_cvtepi32_ps(*counts)), _mm512_castps_si512(x));
  return _mm512_mask_cmplt_epu32_mask(whole, *counts, _mm512_set1_epi32(64));
}

INLINE __m512 look_up16(const table64 *t, __m512i counts) {
  __m512 low = _mm512_permutex2var_ps(t->quarter[0], counts, t->quarter[1]);
  __mmask16 upper = _mm512_test_epi32_mask(counts, _mm512_set1_epi32(32));
  return _mm512_mask_blend_ps(upper, low, _mm512_permutex2var_ps(t->quarter[2], counts, t->quarter[3]));
}

/* out[i .. i + 64) by the table; does nothing and returns false if one of the 64 values is
 * no small count. */
INLINE bool look_up_64(const table64 *t, const void *data, csrn_dtype type, int64_t i, float *out) {
  __m512i counts[4], fractions = _mm512_setzero_si512(), all = _mm512_setzero_si512();
  for (int64_t k = 0; k < 4; k++) {
    const __m512 x = load16(data, type, i + 16 * k, 0xffff);
    counts[k] = _mm512_cvttps_epi32(x);
    const __m512i whole = _mm512_castps_si512(_mm512_cvtepi32_ps(counts[k]));
    fractions = _mm512_ternarylogic_epi32(fractions, _mm512_castps_si512(x), whole, OR_XOR);
    all = _mm512_or_epi32(all, counts[k]);
  }
  if (_mm512_test_epi32_mask(fractions, fractions) | _mm512_cmpgt_epu32_mask(all, _mm512_set1_epi32(63)))
    return false;
  for (int64_t k = 0; k < 4; k++)
    _mm512_store_ps(out + i + 16 * k, look_up16(t, counts[k]));
  return true;
}

#endif
#endif
