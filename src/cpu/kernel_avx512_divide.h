/*
 * Division in AVX-512 intrinsics: by the reciprocal of the row's divisor, corrected to
 * what IEEE division gives. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_AVX512_DIVIDE_H
#define CSRN_KERNEL_AVX512_DIVIDE_H

#include "kernel_avx512.h"

#if CSRN_AVX512

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

/* 64 values from data[i] on; returns whether the reciprocal may be used for all. */
INLINE bool load_to_divide(__m512 x[4], const void *data, csrn_dtype type, int64_t i) {
  __m512i ranges = _mm512_setzero_si512();
  for (int64_t k = 0; k < 4; k++) {
    x[k] = load16(data, type, i + 16 * k, 0xffff);
    ranges = _mm512_or_si512(ranges, range16(x[k]));
  }
  return type != CSRN_F32 || !any_unsafe(ranges);
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
    const bool exact = load_to_divide(x, data, type, i);
    for (int64_t k = 0; k < 4; k++)
      _mm512_store_ps(out + i + 16 * k, exact ? divide16(x[k], &d) : _mm512_div_ps(x[k], d.y));
  }
  for (; i < end; i += 16)
    divide_some(data, type, i, first_lanes(end - i), &d, safe, out);
}

/* ---- Short rows ------------------------------------------------------------- */

/* CSRN_ROW_GROUP short rows of at most so many values are divided as one stretch. */
enum { STRETCH_NNZ = 8192 };

/* A stretch: the divisors of its rows with their reciprocals, and which row each value
 * belongs to, counted from a multiple of 64 bytes of the output. */
typedef struct stretch {
  divisor16 divisors;
  bool safe;
  int64_t origin;
  _Alignas(64) uint8_t rows[STRETCH_NNZ + 256];
} stretch;

INLINE void load_divisors(stretch *s, const float *divisors, int64_t n) {
  const __m512 one = _mm512_set1_ps(1.0F);
  const __m512 y = _mm512_mask_loadu_ps(one, first_lanes(n), divisors), magnitude = _mm512_abs_ps(y);
  s->divisors = (divisor16){y, _mm512_div_ps(one, y)};
  s->safe = (_mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(SAFE_DIVISOR_LOW), _CMP_GE_OQ) &
             _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(SAFE_DIVISOR_HIGH), _CMP_LE_OQ)) == 0xffff;
}

/* Writes the row of every value; too far for most rows, which the next ones overwrite, so
 * that no branch depends on the length of a row. */
INLINE void number_values(stretch *s, const int64_t *indptr, int64_t n) {
  int64_t begin = indptr[0] - s->origin;
  for (int64_t k = 0; k < n; k++) {
    const __m512i row = _mm512_set1_epi8((char)k);
    const int64_t end = indptr[k + 1] - s->origin;
    _mm512_storeu_si512(s->rows + begin, row);
    _mm512_storeu_si512(s->rows + begin + 64, row);
    for (begin += 128; begin < end; begin += 64)
      _mm512_storeu_si512(s->rows + begin, row);
    begin = end;
  }
}

/* The divisors of the 16 values from i on. */
INLINE divisor16 divisors_of(const stretch *s, int64_t i) {
  const __m512i row = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(s->rows + (i - s->origin))));
  return (divisor16){_mm512_permutexvar_ps(row, s->divisors.y), _mm512_permutexvar_ps(row, s->divisors.r)};
}

/* A vector may reach into the next rows. Row by row, a masked store at the end of each
 * would hold up the loads of the next, which overlap it. */
INLINE void divide_stretch(stretch *s, const void *data, csrn_dtype type, int64_t begin, int64_t end,
                           float *out) {
  int64_t i = s->origin;
  if (i < begin) {
    const divisor16 d = divisors_of(s, i);
    divide_some(data, type, i, (__mmask16)(first_lanes(end - i) & (0xffffU << (begin - i))), &d, s->safe,
                out);
    i += 16;
  }
  for (; s->safe && i + 64 <= end; i += 64) {
    __m512 x[4];
    const bool exact = load_to_divide(x, data, type, i);
    for (int64_t k = 0; k < 4; k++) {
      const divisor16 d = divisors_of(s, i + 16 * k);
      _mm512_store_ps(out + i + 16 * k, exact ? divide16(x[k], &d) : _mm512_div_ps(x[k], d.y));
    }
  }
  for (; i < end; i += 16) {
    const divisor16 d = divisors_of(s, i);
    divide_some(data, type, i, first_lanes(end - i), &d, s->safe, out);
  }
}

/* n <= CSRN_ROW_GROUP rows, each divided by its own divisor: together, unless they are
 * longer than a stretch. */
INLINE void divide_rows_avx512(const void *data, csrn_dtype type, const int64_t *indptr, int64_t n,
                               const float *divisors, float *out) {
  const int64_t begin = indptr[0], end = indptr[n];
  if (end - begin > STRETCH_NNZ) {
    for (int64_t r = 0; r < n; r++)
      divide_range_avx512(data, type, indptr[r], indptr[r + 1], divisors[r], out);
    return;
  }
  stretch s;
  s.origin = begin - (int64_t)((uintptr_t)(out + begin) / sizeof *out % 16);
  load_divisors(&s, divisors, n);
  number_values(&s, indptr, n);
  divide_stretch(&s, data, type, begin, end, out);
}

#endif
#endif
