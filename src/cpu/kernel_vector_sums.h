/*
 * Row sums by vectors. Counts take a faster route than the canonical lanes of numerics.h:
 * integers from 0 on with a sum below 2^24 add up exactly in float32, in any order, so that
 * the conversion to float64 is saved, which is what the canonical sum spends its time on.
 * Part of kernels.c.
 */
#ifndef CSRN_KERNEL_VECTOR_SUMS_H
#define CSRN_KERNEL_VECTOR_SUMS_H

#include "kernel_vector.h"

#if CSRN_VECTORS

/* ---- Canonical sums --------------------------------------------------------- */

/* The lanes of numerics.h: vector k holds those from k * DOUBLES on. */
enum { LANE_VECTORS = CSRN_LANES / DOUBLES };

typedef struct lane_sums {
  vec_f64 sums[LANE_VECTORS];
} lane_sums;

INLINE void clear_lanes(lane_sums *s) {
  for (int k = 0; k < LANE_VECTORS; k++)
    s->sums[k] = f64_zero();
}

INLINE double combine_lanes(lane_sums *s) {
  for (int n = LANE_VECTORS / 2; n > 0; n /= 2)
    for (int k = 0; k < n; k++)
      s->sums[k] = f64_add(s->sums[k], s->sums[k + n]);
  return f64_combine(s->sums[0]);
}

/* Adds `some` of the WIDTH values from data[i] on to the lanes from that of vector k on.
 * The others add +0, which changes nothing since no lane is ever -0. */
INLINE void add_some(lane_sums *s, int k, const void *data, csrn_dtype type, int64_t i, vec_lanes some) {
  for (int half = 0; half < 2; half++)
    s->sums[k + half] = f64_add(
        s->sums[k + half], f64_load_some(data, type, i + (int64_t)half * DOUBLES, half_lanes(some, half)));
}

/* Adds CSRN_LANES values to the lanes from that of vector `first` on. */
INLINE void add_all(lane_sums *s, int first, const void *data, csrn_dtype type, int64_t i) {
  prefetch_ahead(data, type, i, CSRN_LANES / WIDTH);
  for (int k = first; k < LANE_VECTORS; k++)
    s->sums[k] = f64_add(s->sums[k], f64_load(data, type, i + (int64_t)k * DOUBLES));
}

/* block_sum() of reals without a mask. Loads are aligned where the row is long: the values
 * before the first multiple of a vector's size come first, in lanes of their own choice,
 * since halving does not care how the lanes are rotated. */
INLINE double plain_sum(const void *data, csrn_dtype type, int64_t begin, int64_t end) {
  const size_t size = type == CSRN_F32 ? sizeof(float) : sizeof(double);
  lane_sums s;
  clear_lanes(&s);
  int64_t i = begin;
  int64_t past =
      (int64_t)((uintptr_t)((const char *)data + begin * (int64_t)size) / size % (sizeof(vec) / size));
  if (past && end - begin >= INT64_C(2) * CSRN_LANES) {
    i -= past;
    add_some(&s, 0, data, type, i, lanes_from(past));
    add_all(&s, 2, data, type, i);
    i += CSRN_LANES;
  }
  for (; i + CSRN_LANES <= end; i += CSRN_LANES)
    add_all(&s, 0, data, type, i);
  if (i < end)
    for (int k = 0; k < LANE_VECTORS; k += 2, i += WIDTH)
      add_some(&s, k, data, type, i, first_lanes(i < end ? end - i : 0));
  return combine_lanes(&s);
}

/* block_sum() of reals without the excluded columns. */
INLINE double kept_sum(const void *data, csrn_dtype type, const int32_t *indices, const uint32_t *excluded,
                       int64_t begin, int64_t end) {
  lane_sums s;
  clear_lanes(&s);
  int64_t i = begin;
  for (; i + CSRN_LANES <= end; i += CSRN_LANES)
    for (int64_t k = 0; k < LANE_VECTORS; k += 2)
      add_some(&s, (int)k, data, type, i + k * DOUBLES, all_kept_lanes(indices + i + k * DOUBLES, excluded));
  for (int k = 0; k < LANE_VECTORS && i < end; k += 2, i += WIDTH)
    add_some(&s, k, data, type, i,
             i + WIDTH <= end ? all_kept_lanes(indices + i, excluded)
                              : kept_lanes(indices + i, excluded, first_lanes(end - i)));
  return combine_lanes(&s);
}

/* ---- Sums of counts --------------------------------------------------------- */

/* What values tell of themselves by the bits that all of them have set together: whether
 * one is no integer, and whether one has the sign bit set. NaN and infinity get through,
 * but the sum shows them. */
typedef struct count_check {
  vec_int fractions, signs;
} count_check;

INLINE void look_at(count_check *check, vec x) {
  check->fractions = ints_or_xor(check->fractions, vec_bits(x), vec_bits(vec_truncate(x)));
  check->signs = ints_or(check->signs, vec_bits(x));
}

INLINE bool are_counts(const count_check *check) {
  return !any_bits(check->fractions, -1) && !any_bits(check->signs, INT32_MIN);
}

/* Partial sums are integers up to the sum of all, since nothing is negative. */
#define EXACT_SUM_LIMIT 0x1p24F

/* Vectors that are loaded together, each into a sum of its own. */
enum { SUMMED = 4 };

/* The sum of the counts of a long row; false, soon, if they are not counts. */
INLINE bool sum_counts(const float *data, int64_t begin, int64_t end, double *sum) {
  count_check check = {ints_zero(), ints_zero()};
  const int64_t past = past_alignment(data + begin);
  int64_t i = begin - past;
  vec sums[SUMMED] = {vec_load_some(data + i, both_lanes(first_lanes(end - i), lanes_from(past)))};
  for (int k = 1; k < SUMMED; k++)
    sums[k] = vec_all(0.0F);
  look_at(&check, sums[0]);
  if (!are_counts(&check))
    return false;
  i += WIDTH;
  for (; i + (int64_t)SUMMED * WIDTH <= end; i += (int64_t)SUMMED * WIDTH) {
    prefetch_ahead(data, CSRN_F32, i, SUMMED);
    for (int k = 0; k < SUMMED; k++) {
      const vec x = vec_load(data + i + (int64_t)k * WIDTH);
      look_at(&check, x);
      sums[k] = vec_add(sums[k], x);
    }
  }
  if (i < end) {
    for (int k = 0; k < SUMMED; k++, i += WIDTH) {
      const vec x = vec_load_some(data + i, first_lanes(i < end ? end - i : 0));
      look_at(&check, x);
      sums[k] = vec_add(sums[k], x);
    }
  }
  float by_lane[WIDTH], total = 0.0F;
  vec_store(by_lane, vec_add(vec_add(sums[0], sums[1]), vec_add(sums[2], sums[3])));
  for (int k = 0; k < WIDTH; k++)
    total += by_lane[k];
  *sum = (double)total;
  return total < EXACT_SUM_LIMIT && are_counts(&check);
}

/* The canonical sum of any row. */
INLINE double sum_row(const void *data, csrn_dtype type, int64_t begin, int64_t end, bool *counts) {
  double sum = 0.0;
  for (int64_t i = begin; i < end; i += CSRN_BLOCK) {
    const int64_t stop = end - i < CSRN_BLOCK ? end : i + CSRN_BLOCK;
    double block;
    *counts = *counts && sum_counts(data, i, stop, &block);
    sum += *counts ? block : plain_sum(data, type, i, stop);
  }
  return sum;
}

/* Short rows are summed so many at a time. */
enum { SHORT_ROWS = 64, SHORT_NNZ = 2048, SHORT_ROW_NNZ = 256 };

/* The sums of n rows from WIDTH partial sums each, in a multiple of WIDTH rows; false if one
 * is not exact. */
INLINE bool add_up_rows(float *partial, int64_t n, double *sums) {
  float totals[SHORT_ROWS];
  bool exact = true;
  for (int64_t r = n; r % WIDTH; r++)
    vec_store(partial + r * WIDTH, vec_all(0.0F));
  for (int64_t r = 0; r < n; r += WIDTH)
    vec_store(totals + r, vec_row_sums(partial + r * WIDTH));
  for (int64_t r = 0; r < n; r++) {
    exact &= totals[r] < EXACT_SUM_LIMIT;
    sums[r] = (double)totals[r];
  }
  return exact;
}

/* The sums of n <= SHORT_ROWS rows of SHORT_NNZ values at most, all together; false if they
 * are not counts. A row is what has been added up at its end, less what had been at the end
 * of the row before: a register of partial sums each, which a first loop keeps for every
 * vector of values. So no branch depends on the length of a row: it would be mispredicted
 * for nearly every row, and cost more than the row's sum. */
INLINE bool sum_short_rows(const float *data, const int64_t *indptr, int64_t n, double *sums) {
  _Alignas(64) float before[SHORT_NNZ + 2 * WIDTH], partial[WIDTH * SHORT_ROWS];
  count_check check = {ints_zero(), ints_zero()};
  if (indptr[n] == indptr[0]) { /* there may be no array */
    for (int64_t r = 0; r < n; r++)
      sums[r] = 0;
    return true;
  }
  const int64_t past = past_alignment(data + indptr[0]);
  const int64_t origin = indptr[0] - past, nnz = indptr[n] - origin;
  const float *aligned = data + origin;
  const vec_lanes head = lanes_from(past);
  vec x = vec_load_some(aligned, both_lanes(head, first_lanes(nnz)));
  look_at(&check, x);
  if (!are_counts(&check))
    return false;
  vec_store(before, vec_all(0.0F));
  vec sum = x;
  int64_t i = WIDTH;
  for (; i + INT64_C(2) * WIDTH <= nnz;
       i += INT64_C(2) * WIDTH) { /* since each sum waits for the one before */
    prefetch_ahead(aligned, CSRN_F32, i, 2);
    x = vec_load(aligned + i);
    const vec next = vec_load(aligned + i + WIDTH);
    look_at(&check, x);
    look_at(&check, next);
    vec_store(before + i, sum);
    vec_store(before + i + WIDTH, vec_add(sum, x));
    sum = vec_add(sum, vec_add(x, next));
  }
  for (; i + WIDTH <= nnz; i += WIDTH) {
    x = vec_load(aligned + i);
    look_at(&check, x);
    vec_store(before + i, sum);
    sum = vec_add(sum, x);
  }
  if (i < nnz)
    look_at(&check, vec_load_some(aligned + i, first_lanes(nnz - i)));
  vec_store(before + i, sum);
  sum = vec_all(0.0F);
  for (int64_t r = 0; r < n; r++) {
    const int64_t end = indptr[r + 1] - origin, k = end / WIDTH * WIDTH;
    const vec_lanes in = first_lanes(end % WIDTH);
    x = vec_load_some(aligned + k, k == 0 ? both_lanes(in, head) : in);
    x = vec_add(vec_load(before + k), x);
    vec_store(partial + r * WIDTH, vec_sub(x, sum));
    sum = x;
  }
  vec_store(before, sum);
  bool exact = true;
  for (int k = 0; k < WIDTH; k++)
    exact &= before[k] < EXACT_SUM_LIMIT;
  return add_up_rows(partial, n, sums) && exact && are_counts(&check);
}

/* Canonical sums of n rows of reals. */
INLINE void sum_rows_by_vectors(const void *data, csrn_dtype type, const int64_t *indptr, int64_t n,
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
      sums[k] = sum_row(data, type, indptr[k], indptr[k + 1], &counts);
  }
}

#endif
#endif
