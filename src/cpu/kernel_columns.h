/*
 * Operations by column: sums that do not depend on the order of the entries, marks of
 * highly expressed genes, and the check of the indices. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_COLUMNS_H
#define CSRN_KERNEL_COLUMNS_H

#include "kernel_load.h"
#include "kernel_vector.h"
#include "numerics.h"

#include <math.h>
#if defined(__SSE2__) && !defined(CSRN_NO_INTRINSICS)
#include <immintrin.h>
#endif

/* ---- Sums ----------------------------------------------------------------- */

/* The integer of at most 31 bits and a sign that a real is, if it is one: 2^31 of them fit
 * an int64. The x86 instructions give INT32_MIN for what does not fit, which then differs
 * from the value, and save the comparisons that the cast of C needs. */
INLINE bool is_count(const void *data, csrn_dtype type, int64_t i, int64_t *count) {
#if defined(__SSE2__) && !defined(CSRN_NO_INTRINSICS)
  if (type == CSRN_F32) {
    float value = ((const float *)data)[i];
    int32_t whole = _mm_cvttss_si32(_mm_set_ss(value));
    *count = whole;
    return (float)whole == value;
  }
#endif
  double value = load_f64(data, type, i);
  bool inside = value > -2147483648.0 && value < 2147483648.0;
  *count = (int64_t)(inside ? value : 0.0);
  return (double)*count == value;
}

#if CSRN_VECTORS
/* column_counts() of float32: a vector of them is turned into integers and looked at
 * together, which takes less than half the instructions of one value after the other. Stops
 * before the first vector that is not all counts by its bits (-0 is none), or at the last
 * that is not full. */
INLINE int64_t count_by_vectors(const float *data, const void *indices, csrn_dtype index_type, int64_t begin,
                                int64_t end, int64_t *sums) {
  int64_t i = begin;
  for (; i + WIDTH <= end; i += WIDTH) {
    int32_t counts[WIDTH];
    const vec x = vec_load(data + i);
    const vec_int whole = ints_from_vec(x);
    if (any_bits(ints_or_xor(ints_zero(), vec_bits(x), vec_bits(vec_from_ints(whole))), -1))
      return i;
    ints_store(counts, whole);
    for (int64_t k = 0; k < WIDTH; k++)
      sums[load_integer(indices, index_type, i + k)] += counts[k];
  }
  return i;
}
#endif

/* One addition to memory after the other. Adding in 8, 16 or 32 bits with a carry that is
 * rare, so that more sums fit in the first-level cache, was at best as fast; so were several
 * rows at once, a stretch of columns after the other; and adding 4 to 16 sums at once after a
 * look for equal indices took 1.2 to 2 times as long. */
INLINE int64_t column_counts(const void *data, csrn_dtype type, const void *indices, csrn_dtype index_type,
                             int64_t begin, int64_t end, int64_t *sums) {
  int64_t i = begin;
#if CSRN_VECTORS
  if (type == CSRN_F32)
    i = count_by_vectors(data, indices, index_type, begin, end, sums);
#endif
  for (; i < end; i++) {
    int64_t count;
    if (!is_real(type))
      count = load_integer(data, type, i);
    else if (!is_count(data, type, i, &count))
      return i;
    sums[load_integer(indices, index_type, i)] += count;
  }
  return end;
}

INLINE void column_limbs(const void *data, csrn_dtype type, const void *indices, csrn_dtype index_type,
                         int64_t begin, int64_t end, const double unit[2], int64_t *limbs) {
  for (int64_t i = begin; i < end; i++) {
    int64_t high, low;
    if (is_real(type)) {
      double value = load_f64(data, type, i);
      if (!isfinite(value))
        continue;
      csrn_split_limbs(value, unit, &high, &low);
    } else {
      int64_t value = load_integer(data, type, i);
      high = value >> CSRN_LIMB_BITS;
      low = value & 0xffffffff;
    }
    int64_t *limb = limbs + 2 * load_integer(indices, index_type, i);
    limb[0] += high;
    limb[1] += low;
  }
}

/* Comparing the bits without the sign as integers orders magnitudes, and leaves the
 * compiler free to vectorize where a comparison of reals would not. */
INLINE double largest(const void *data, csrn_dtype type, int64_t begin, int64_t end, bool *nonfinite) {
  if (type == CSRN_F32) {
    uint32_t most = 0;
    const uint32_t infinity = 0x7f800000U;
    uint32_t special = 0;
    const uint32_t *bits = data;
    for (int64_t i = begin; i < end; i++) {
      uint32_t magnitude = bits[i] & 0x7fffffffU;
      special |= magnitude >= infinity;
      magnitude = magnitude >= infinity ? 0 : magnitude;
      most = magnitude > most ? magnitude : most;
    }
    *nonfinite = special;
    float result;
    memcpy(&result, &most, sizeof result);
    return result;
  }
  uint64_t most = 0, special = 0;
  const uint64_t infinity = 0x7ff0000000000000U;
  const uint64_t *bits = data;
  for (int64_t i = begin; i < end; i++) {
    uint64_t magnitude = bits[i] & 0x7fffffffffffffffU;
    special |= magnitude >= infinity;
    magnitude = magnitude >= infinity ? 0 : magnitude;
    most = magnitude > most ? magnitude : most;
  }
  *nonfinite = special;
  double result;
  memcpy(&result, &most, sizeof result);
  return result;
}

static double largest_f32(const void *data, int64_t begin, int64_t end, bool *nonfinite) {
  return largest(data, CSRN_F32, begin, end, nonfinite);
}

static double largest_f64(const void *data, int64_t begin, int64_t end, bool *nonfinite) {
  return largest(data, CSRN_F64, begin, end, nonfinite);
}

/* ---- Marks ---------------------------------------------------------------- */

/* Several threads may mark the same column. */
INLINE void mark(uint8_t *mask, int64_t i) {
  __atomic_store_n(mask + i, 1, __ATOMIC_RELAXED);
}

/* A float32 exceeds a float64 threshold if and only if it exceeds the largest float32 that
 * is not above the threshold, and more of them are compared at once. */
INLINE float threshold_f32(double threshold) {
  float rounded = (float)threshold;
  return (double)rounded > threshold ? nextafterf(rounded, -INFINITY) : rounded;
}

INLINE bool any_above(const void *data, csrn_dtype type, int64_t begin, int64_t end, double threshold) {
  uint32_t any = 0;
  if (type == CSRN_F32) {
    const float *values = data;
    const float limit = threshold_f32(threshold);
    for (int64_t i = begin; i < end; i++)
      any |= values[i] > limit;
  } else {
    for (int64_t i = begin; i < end; i++)
      any |= load_f64(data, type, i) > threshold;
  }
  return any;
}

/* Few entries exceed a threshold, so a stretch is first asked whether any does. */
INLINE void mark_columns(const void *data, csrn_dtype type, const void *indices, csrn_dtype index_type,
                         const int64_t *indptr, int64_t n, const double *thresholds, uint8_t *mask) {
  enum { STRETCH = 256 };
  for (int64_t r = 0; r < n; r++) {
    const double threshold = thresholds[r];
    for (int64_t i = indptr[r]; i < indptr[r + 1]; i += STRETCH) {
      int64_t stop = indptr[r + 1] - i > STRETCH ? i + STRETCH : indptr[r + 1];
      bool any = any_above(data, type, i, stop, threshold);
      for (int64_t j = i; any && j < stop; j++)
        if (load_f64(data, type, j) > threshold)
          mark(mask, load_integer(indices, index_type, j));
    }
  }
}

INLINE void mark_rows(const void *data, csrn_dtype type, const void *indices, csrn_dtype index_type,
                      const int64_t *indptr, int64_t n, const double *thresholds, uint8_t *mask) {
  for (int64_t r = 0; r < n; r++) {
    uint32_t any = 0;
    for (int64_t i = indptr[r]; i < indptr[r + 1]; i++)
      any |= load_f64(data, type, i) > thresholds[load_integer(indices, index_type, i)];
    if (any)
      mark(mask, r);
  }
}

/* ---- Indices -------------------------------------------------------------- */

/* In stretches, so that the search for the first bad one stays out of the fast loop. */
INLINE int64_t check_indices(const void *indices, csrn_dtype type, int64_t begin, int64_t end,
                             int64_t n_cols) {
  enum { STRETCH = 1024 };
  for (int64_t i = begin; i < end; i += STRETCH) {
    int64_t stop = end - i > STRETCH ? i + STRETCH : end;
    uint32_t bad = 0;
    for (int64_t j = i; j < stop; j++)
      bad |= (uint64_t)load_integer(indices, type, j) >= (uint64_t)n_cols;
    for (int64_t j = i; bad && j < stop; j++)
      if ((uint64_t)load_integer(indices, type, j) >= (uint64_t)n_cols)
        return j;
  }
  return end;
}

#define DEFINE(code, type, name)                                                                             \
  static int64_t check_indices_##name(const void *indices, int64_t begin, int64_t end, int64_t n_cols) {     \
    return check_indices(indices, code, begin, end, n_cols);                                                 \
  }
INDEX_TYPES(DEFINE)
#undef DEFINE

#define DEFINE_PAIR(code, name, index_code, index_name)                                                      \
  static int64_t column_counts_##name##_##index_name(const void *data, const void *indices, int64_t begin,   \
                                                     int64_t end, int64_t *sums) {                           \
    return column_counts(data, code, indices, index_code, begin, end, sums);                                 \
  }                                                                                                          \
  static void column_limbs_##name##_##index_name(const void *data, const void *indices, int64_t begin,       \
                                                 int64_t end, const double unit[2], int64_t *limbs) {        \
    column_limbs(data, code, indices, index_code, begin, end, unit, limbs);                                  \
  }                                                                                                          \
  static void mark_columns_##name##_##index_name(const void *data, const void *indices,                      \
                                                 const int64_t *indptr, int64_t n, const double *thresholds, \
                                                 uint8_t *mask) {                                            \
    mark_columns(data, code, indices, index_code, indptr, n, thresholds, mask);                              \
  }                                                                                                          \
  static void mark_rows_##name##_##index_name(const void *data, const void *indices, const int64_t *indptr,  \
                                              int64_t n, const double *thresholds, uint8_t *mask) {          \
    mark_rows(data, code, indices, index_code, indptr, n, thresholds, mask);                                 \
  }
PAIRS(DEFINE_PAIR)
#undef DEFINE_PAIR

#endif
