/*
 * Row sums in AVX-512 intrinsics. Counts take a faster route than the canonical lanes of
 * numerics.h: integers from 0 on with a sum below 2^24 add up exactly in float32, in any
 * order, so that the conversion to float64 is saved, which is what the canonical sum
 * spends its time on. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_AVX512_SUMS_H
#define CSRN_KERNEL_AVX512_SUMS_H

#include "kernel_avx512.h"

#if CSRN_AVX512

/* ---- Canonical sums --------------------------------------------------------- */

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
  for (int64_t k = 0; k < 4; k++)
    lanes[k] = _mm512_add_pd(lanes[k], load8(data, type, i + 8 * k, (__mmask8)(mask >> (8 * k))));
}

INLINE double block_sum_avx512(const void *data, csrn_dtype type, int64_t begin, int64_t end) {
  __m512d lanes[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
  int64_t i = begin;
  const size_t size = type == CSRN_F32 ? sizeof(float) : sizeof(double);
  int64_t past = (int64_t)((uintptr_t)((const char *)data + begin * (int64_t)size) / size % (64 / size));
  if (past && end - begin >= INT64_C(2) * CSRN_LANES) {
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

/* ---- Sums of counts --------------------------------------------------------- */

/* What values tell of themselves by the bits that all of them have set together: whether
 * one is no integer, and whether one has the sign bit set. NaN and infinity get through,
 * but the sum shows them. */
typedef struct count_check {
  __m512i fractions, signs;
} count_check;

INLINE void look_at(count_check *check, __m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i whole = _mm512_castps_si512(_mm512_roundscale_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
  check->fractions = _mm512_ternarylogic_epi32(check->fractions, bits, whole, OR_XOR);
  check->signs = _mm512_or_epi32(check->signs, bits);
}

INLINE bool are_counts(const count_check *check) {
  return !_mm512_test_epi32_mask(check->fractions, check->fractions) && !_mm512_movepi32_mask(check->signs);
}

/* Partial sums are integers up to the sum of all, since nothing is negative. */
#define EXACT_SUM_LIMIT 0x1p24F

/* 64 values from data[i] on, in their order; zeros where masked out. */
INLINE void load64(__m512 x[4], const float *data, int64_t i, uint64_t lanes, count_check *check) {
  for (int64_t k = 0; k < 4; k++) {
    x[k] = _mm512_maskz_loadu_ps((__mmask16)(lanes >> (16 * k)), data + i + 16 * k);
    look_at(check, x[k]);
  }
}

/* The first n of 64 lanes (n >= 0). */
INLINE uint64_t first_64_lanes(int64_t n) {
  return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

INLINE void add_64(__m512 sums[4], const float *data, int64_t i, uint64_t lanes, count_check *check) {
  __m512 x[4];
  load64(x, data, i, lanes, check);
  for (int k = 0; k < 4; k++)
    sums[k] = _mm512_add_ps(sums[k], x[k]);
}

/* The sum of the counts of a long row; false, soon, if they are not counts. */
INLINE bool sum_counts(const float *data, int64_t begin, int64_t end, double *sum) {
  count_check check = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  const int64_t past = (int64_t)((uintptr_t)(data + begin) / sizeof *data % 16);
  int64_t i = begin - past;
  const __mmask16 lanes = (__mmask16)(first_lanes(end - i) & (0xffffU << past));
  __m512 sums[4] = {_mm512_maskz_loadu_ps(lanes, data + i), _mm512_setzero_ps(), _mm512_setzero_ps(),
                    _mm512_setzero_ps()};
  look_at(&check, sums[0]);
  if (!are_counts(&check))
    return false;
  for (i += 16; i + 64 <= end; i += 64)
    add_64(sums, data, i, ~(uint64_t)0, &check);
  if (i < end)
    add_64(sums, data, i, first_64_lanes(end - i), &check);
  const float total =
      _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
  *sum = (double)total;
  return total < EXACT_SUM_LIMIT && are_counts(&check);
}

/* The canonical sum of any row. */
INLINE double sum_row_avx512(const void *data, csrn_dtype type, int64_t begin, int64_t end, bool *counts) {
  double sum = 0.0;
  for (int64_t i = begin; i < end; i += CSRN_BLOCK) {
    const int64_t stop = end - i < CSRN_BLOCK ? end : i + CSRN_BLOCK;
    double block;
    *counts = *counts && sum_counts(data, i, stop, &block);
    sum += *counts ? block : block_sum_avx512(data, type, i, stop);
  }
  return sum;
}

/* Short rows are summed so many at a time. */
enum { SHORT_ROWS = 64, SHORT_NNZ = 2048, SHORT_ROW_NNZ = 256 };

/* The sums of 16 rows from their 16 lanes each. */
INLINE __m512 add_up_16_rows(const float *lanes) {
  __m512 by16[16], by8[8], by4[4], by2[2];
  for (int64_t k = 0; k < 16; k++)
    by16[k] = _mm512_load_ps(lanes + 16 * k);
  /* Quarters of rows k, k + 4, k + 8 and k + 12 come to lie in one register. */
  for (int k = 0; k < 8; k++) {
    const __m512 a = by16[k % 4 + (k / 4) * 8], b = by16[k % 4 + (k / 4) * 8 + 4];
    by8[k] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  for (int k = 0; k < 4; k++)
    by4[k] = _mm512_add_ps(_mm512_shuffle_f32x4(by8[k], by8[k + 4], 0x88),
                           _mm512_shuffle_f32x4(by8[k], by8[k + 4], 0xdd));
  for (int k = 0; k < 2; k++)
    by2[k] = _mm512_add_ps(_mm512_unpacklo_ps(by4[k], by4[k + 2]), _mm512_unpackhi_ps(by4[k], by4[k + 2]));
  return _mm512_add_ps(_mm512_unpacklo_ps(by2[0], by2[1]), _mm512_unpackhi_ps(by2[0], by2[1]));
}

/* The sums of n <= SHORT_ROWS rows of SHORT_NNZ values at most, all together; false if they
 * are not counts. A row is what has been added up at its end, less what had been at the end
 * of the row before: a register of 16 partial sums each, which a first loop keeps for every
 * vector of 16 values. So no branch depends on the length of a row: it would be mispredicted
 * for nearly every row, and cost more than the row's sum. */
INLINE bool sum_short_rows(const float *data, const int64_t *indptr, int64_t n, double *sums) {
  _Alignas(64) float before[SHORT_NNZ + 32], lanes[16 * SHORT_ROWS];
  count_check check = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  const int64_t past = (int64_t)((uintptr_t)(data + indptr[0]) / sizeof *data % 16);
  const int64_t origin = indptr[0] - past, nnz = indptr[n] - origin;
  const float *aligned = data + origin;
  const __mmask16 head = (__mmask16)(0xffffU << past);
  __m512 x = _mm512_maskz_loadu_ps((__mmask16)(head & first_lanes(nnz)), aligned);
  look_at(&check, x);
  if (!are_counts(&check))
    return false;
  _mm512_store_ps(before, _mm512_setzero_ps());
  __m512 sum = x;
  int64_t i = 16;
  for (; i + 32 <= nnz; i += 32) { /* by twos, since each sum waits for the one before */
    x = _mm512_load_ps(aligned + i);
    const __m512 next = _mm512_load_ps(aligned + i + 16);
    look_at(&check, x);
    look_at(&check, next);
    _mm512_store_ps(before + i, sum);
    _mm512_store_ps(before + i + 16, _mm512_add_ps(sum, x));
    sum = _mm512_add_ps(sum, _mm512_add_ps(x, next));
  }
  for (; i + 16 <= nnz; i += 16) {
    x = _mm512_load_ps(aligned + i);
    look_at(&check, x);
    _mm512_store_ps(before + i, sum);
    sum = _mm512_add_ps(sum, x);
  }
  if (i < nnz) {
    x = _mm512_maskz_loadu_ps(first_lanes(nnz - i), aligned + i);
    look_at(&check, x);
  }
  _mm512_store_ps(before + i, sum);
  sum = _mm512_setzero_ps();
  for (int64_t r = 0; r < n; r++) {
    const int64_t end = indptr[r + 1] - origin, k = end / 16 * 16;
    const uint32_t in = ((uint32_t)1 << (end % 16)) - 1;
    x = _mm512_maskz_loadu_ps((__mmask16)(k == 0 ? in & head : in), aligned + k);
    x = _mm512_add_ps(_mm512_load_ps(before + k), x);
    _mm512_store_ps(lanes + 16 * r, _mm512_sub_ps(x, sum));
    sum = x;
  }
  __mmask16 exact = _mm512_cmp_ps_mask(sum, _mm512_set1_ps(EXACT_SUM_LIMIT), _CMP_LT_OQ);
  for (int64_t r = 0; r < n; r += 16) {
    const __mmask16 rows = first_lanes(n - r);
    const __m512 total = add_up_16_rows(lanes + 16 * r);
    exact &= (__mmask16)(_mm512_cmp_ps_mask(total, _mm512_set1_ps(EXACT_SUM_LIMIT), _CMP_LT_OQ) | ~rows);
    _mm512_mask_storeu_pd(sums + r, (__mmask8)rows, _mm512_cvtps_pd(_mm512_castps512_ps256(total)));
    _mm512_mask_storeu_pd(sums + r + 8, (__mmask8)(rows >> 8),
                          _mm512_cvtps_pd(_mm512_extractf32x8_ps(total, 1)));
  }
  return exact == 0xffff && are_counts(&check);
}

/* Canonical sums of n rows of reals. */
INLINE void sum_rows_avx512(const void *data, csrn_dtype type, const int64_t *indptr, int64_t n,
                            double *sums) {
  bool counts = type == CSRN_F32;
  int64_t rows;
  for (int64_t r = 0; r < n; r += rows) {
    rows = n - r < SHORT_ROWS ? n - r : SHORT_ROWS;
    while (rows > 1 && indptr[r + rows] - indptr[r] > SHORT_NNZ)
      rows /= 2;
    const bool are_short = rows > 1 && indptr[r + rows] - indptr[r] < SHORT_ROW_NNZ * rows;
    counts = counts && (!are_short || sum_short_rows(data, indptr + r, rows, sums + r));
    if (counts && are_short)
      continue;
    for (int64_t k = r; k < r + rows; k++)
      sums[k] = sum_row_avx512(data, type, indptr[k], indptr[k + 1], &counts);
  }
}

#endif
#endif
