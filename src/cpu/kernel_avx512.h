/*
 * The kernels' hot loops in AVX-512 intrinsics, where plain C leaves speed behind: tails
 * by masks instead of scalar loops (rows are short), division by a corrected reciprocal,
 * and the table of logarithms in registers. Each gives the bits of the plain C beside it
 * in kernel_sums.h and kernel_transform.h. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_AVX512_H
#define CSRN_KERNEL_AVX512_H

#include "kernel_load.h"
#include "numerics.h"

#if CSRN_AVX512

#include <immintrin.h>

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

/* ---- Sums ----------------------------------------------------------------- */

/* The lanes 0-7, 8-15, 16-23 and 24-31 combined by halving. */
INLINE double combine_lanes_avx512(__m512d a, __m512d b, __m512d c, __m512d d) {
  __m512d by8 = _mm512_add_pd(_mm512_add_pd(a, c), _mm512_add_pd(b, d));
  __m256d by4 = _mm256_add_pd(_mm512_castpd512_pd256(by8), _mm512_extractf64x4_pd(by8, 1));
  __m128d by2 = _mm_add_pd(_mm256_castpd256_pd128(by4), _mm256_extractf128_pd(by4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(by2, _mm_unpackhi_pd(by2, by2)));
}

/* block_sum() of reals without a mask. Loads are aligned to 64 bytes where the row is
 * long: the elements before come first, in lanes of their own choice, since halving does
 * not care how the lanes are rotated. Masked-out lanes add +0, which changes nothing
 * since no lane is ever -0. */
INLINE void add_lanes(__m512d lanes[4], const void *data, csrn_dtype type, int64_t i, uint32_t mask) {
  for (int k = 0; k < 4; k++)
    lanes[k] = _mm512_add_pd(lanes[k], load8(data, type, i + 8 * k, (__mmask8)(mask >> (8 * k))));
}

INLINE double block_sum_avx512(const void *data, csrn_dtype type, int64_t begin, int64_t end) {
  __m512d lanes[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
  int64_t i = begin;
  const size_t size = type == CSRN_F32 ? sizeof(float) : sizeof(double);
  int64_t past = (int64_t)((uintptr_t)((const char *)data + begin * (int64_t)size) / size % (64 / size));
  if (past && end - begin >= 2 * CSRN_LANES) {
    i -= past;
    add_lanes(lanes, data, type, i, ~(uint32_t)0 << past);
    i += CSRN_LANES;
  }
  for (; i + CSRN_LANES <= end; i += CSRN_LANES)
    add_lanes(lanes, data, type, i, ~(uint32_t)0);
  uint32_t rest = ((uint32_t)1 << (end - i)) - 1; /* at most 31 lanes */
  if (rest)
    add_lanes(lanes, data, type, i, rest);
  return combine_lanes_avx512(lanes[0], lanes[1], lanes[2], lanes[3]);
}

/* Of 16 columns with int32 indices, those that are not excluded (0 where masked out). */
INLINE __mmask16 kept_lanes(const int32_t *indices, const uint32_t *excluded, __mmask16 lanes) {
  __m512i columns = _mm512_maskz_loadu_epi32(lanes, indices);
  __m512i words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), lanes, _mm512_srli_epi32(columns, 5),
                                              excluded, sizeof *excluded);
  /* The rotation takes the column modulo 32 by itself. */
  __m512i bits = _mm512_rolv_epi32(_mm512_set1_epi32(1), columns);
  return _mm512_mask_testn_epi32_mask(lanes, words, bits);
}

/* block_sum() of reals without the excluded columns. */
INLINE double kept_sum_avx512(const void *data, csrn_dtype type, const int32_t *indices,
                              const uint32_t *excluded, int64_t begin, int64_t end) {
  __m512d lanes[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
  for (int64_t i = begin; i < end; i += CSRN_LANES) {
    __mmask16 low = first_lanes(end - i), high = end - i > 16 ? first_lanes(end - i - 16) : 0;
    uint32_t kept = kept_lanes(indices + i, excluded, low);
    kept |= (uint32_t)kept_lanes(indices + i + 16, excluded, high) << 16;
    add_lanes(lanes, data, type, i, kept);
  }
  return combine_lanes_avx512(lanes[0], lanes[1], lanes[2], lanes[3]);
}

/* ---- Division ------------------------------------------------------------- */

/* x / y as IEEE 754 rounds it, from r = 1 / y rounded: q = x * r is within 1.5 ulp, the
 * remainder x - q * y is exact, and q + remainder * r rounds correctly (Brisebarre, Muller
 * and Raina, "Accelerating correctly rounded floating-point division when the divisor is
 * known in advance", 2004). That holds as long as nothing overflows or underflows, for
 * which |y| in [2^-40, 2^40] and x in [2^-63, 2^65) is more than enough: q lies in
 * [2^-103, 2^105), and the last bit of q * y at 2^-110 or above. Other x (zeros too, for
 * the sign of -0, and negative ones) take the division. Integers convert to +0 or to a
 * magnitude of [1, 2^32], so need no look. */
#define SAFE_DIVISOR_LOW  0x1p-40F
#define SAFE_DIVISOR_HIGH 0x1p40F

typedef struct divisor16 {
  __m512 y, r;
} divisor16;

INLINE bool is_safe_divisor(float y) {
  float magnitude = y < 0 ? -y : y;
  return magnitude >= SAFE_DIVISOR_LOW && magnitude <= SAFE_DIVISOR_HIGH;
}

/* Has one of its two top bits set if a lane of x is not safe: the bits of 2^-63, as an
 * integer, are subtracted, so that the 2^30 bit patterns up to 2^65 remain below 2^30. */
INLINE __m512i range16(__m512 x) {
  return _mm512_sub_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x20000000));
}

INLINE bool any_unsafe(__m512i ranges) {
  return _mm512_test_epi32_mask(ranges, _mm512_set1_epi32((int)0xc0000000U)) != 0;
}

INLINE __m512 divide16(__m512 x, const divisor16 *d) {
  __m512 q = _mm512_mul_ps(x, d->r);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(q, d->y, x), d->r, q);
}

INLINE void divide_some(const void *data, csrn_dtype type, int64_t i, __mmask16 lanes, const divisor16 *d,
                        bool safe, float *out) {
  __m512 x = load16(data, type, i, lanes);
  bool exact = safe && (type != CSRN_F32 || !any_unsafe(_mm512_maskz_mov_epi32(lanes, range16(x))));
  _mm512_mask_storeu_ps(out + i, lanes, exact ? divide16(x, d) : _mm512_div_ps(x, d->y));
}

/* How many of the n elements from p on lie before the next multiple of 64 bytes. */
INLINE int64_t before_alignment(const float *p, int64_t n) {
  int64_t head = (int64_t)(-(uintptr_t)p / sizeof(float) % 16);
  return head < n ? head : n;
}

/* out[begin .. end) = data / y */
INLINE void divide_range_avx512(const void *data, csrn_dtype type, int64_t begin, int64_t end, float y,
                                float *out) {
  const divisor16 d = {_mm512_set1_ps(y), _mm512_set1_ps(1.0F / y)};
  const bool safe = is_safe_divisor(y);
  int64_t i = begin, head = before_alignment(out + begin, end - begin);
  if (head) {
    divide_some(data, type, i, first_lanes(head), &d, safe, out);
    i += head;
  }
  for (; safe && i + 64 <= end; i += 64) {
    __m512 x[4];
    __m512i ranges = _mm512_setzero_si512();
    for (int k = 0; k < 4; k++) {
      x[k] = load16(data, type, i + 16 * k, 0xffff);
      ranges = _mm512_or_si512(ranges, range16(x[k]));
    }
    if (type == CSRN_F32 && any_unsafe(ranges)) {
      for (int k = 0; k < 4; k++)
        _mm512_store_ps(out + i + 16 * k, _mm512_div_ps(x[k], d.y));
    } else {
      for (int k = 0; k < 4; k++)
        _mm512_store_ps(out + i + 16 * k, divide16(x[k], &d));
    }
  }
  for (; i < end; i += 16)
    divide_some(data, type, i, first_lanes(end - i), &d, safe, out);
}

/* Short rows of a batch, divided as one stretch: a vector that reaches into the next rows
 * gets their divisors in its upper lanes. Row by row, a masked store at the end of each
 * would hold up the loads of the next, which overlap it. */
INLINE void divide_short_rows_avx512(const void *data, csrn_dtype type, const int64_t *indptr, int64_t n,
                                     const float *divisors, float *out) {
  float reciprocals[CSRN_BATCH_ROWS];
  bool safe = true;
  for (int64_t r = 0; r < n; r++) {
    reciprocals[r] = 1.0F / divisors[r];
    safe &= is_safe_divisor(divisors[r]);
  }
  const int64_t begin = indptr[0], end = indptr[n];
  divisor16 d = {_mm512_set1_ps(divisors[0]), _mm512_set1_ps(reciprocals[0])};
  int64_t r = 0, lanes;
  for (int64_t i = begin; i < end; i += lanes) {
    lanes = i == begin ? before_alignment(out + begin, end - begin) : 16;
    lanes = lanes == 0 ? 16 : lanes;
    divisor16 mixed = d;
    while (r + 1 < n && indptr[r + 1] < i + lanes) {
      r++;
      __mmask16 upper = (__mmask16)(0xffffU << (indptr[r] - i));
      d.y = _mm512_set1_ps(divisors[r]);
      d.r = _mm512_set1_ps(reciprocals[r]);
      mixed.y = _mm512_mask_mov_ps(mixed.y, upper, d.y);
      mixed.r = _mm512_mask_mov_ps(mixed.r, upper, d.r);
    }
    if (lanes == 16 && end - i >= 16) {
      __m512 x = load16(data, type, i, 0xffff);
      bool exact = safe && (type != CSRN_F32 || !any_unsafe(range16(x)));
      _mm512_storeu_ps(out + i, exact ? divide16(x, &mixed) : _mm512_div_ps(x, mixed.y));
    } else {
      divide_some(data, type, i, first_lanes(end - i < lanes ? end - i : lanes), &mixed, safe, out);
    }
  }
}

/* ---- The table of logarithms ----------------------------------------------- */

/* table[64] in registers. */
typedef struct table64 {
  __m512 quarter[4];
} table64;

INLINE table64 table64_of(const float *table) {
  table64 t;
  for (int k = 0; k < 4; k++)
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

#endif
#endif
