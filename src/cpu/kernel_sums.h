/*
 * Row sums: canonical for reals (numerics.h), exact for integers; with or without a
 * mask of excluded columns. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_SUMS_H
#define CSRN_KERNEL_SUMS_H

#include "kernel_load.h"
#include "kernel_vector_sums.h"
#include "numerics.h"

/* A value, or +0 if its column is excluded; `indices` NULL excludes nothing. */
typedef struct masked_values {
  const void *data;
  csrn_dtype type;
  const void *indices;
  csrn_dtype index_type;
  const uint32_t *excluded; /* a bit per column: 32 times smaller than what gathers read */
} masked_values;

/* Indices are not negative, so 32 bits of those that have no more are enough. */
INLINE bool is_excluded(const masked_values *v, int64_t i) {
  if (!v->indices)
    return false;
  if (v->index_type == CSRN_I64) {
    int64_t column = ((const int64_t *)v->indices)[i];
    return v->excluded[column >> 5] >> (column & 31) & 1;
  }
  uint32_t column = (uint32_t)load_integer(v->indices, v->index_type, i);
  return v->excluded[column >> 5] >> (column & 31) & 1;
}

INLINE double real_value(const masked_values *v, int64_t i) {
  return is_excluded(v, i) ? 0.0 : load_f64(v->data, v->type, i);
}

/* The canonical sum of at most CSRN_BLOCK values. */
INLINE double block_sum(const masked_values *v, int64_t begin, int64_t end) {
#if CSRN_VECTORS
  if (v->index_type == CSRN_I32)
    return kept_sum(v->data, v->type, v->indices, v->excluded, begin, end);
#endif
  double lanes[CSRN_LANES] = {0};
  int64_t i = begin;
  for (; i + CSRN_LANES <= end; i += CSRN_LANES)
    for (int k = 0; k < CSRN_LANES; k++)
      lanes[k] += real_value(v, i + k);
  for (int k = 0; i + k < end; k++)
    lanes[k] += real_value(v, i + k);
  return csrn_combine_lanes(lanes);
}

INLINE double real_sum(const masked_values *v, int64_t begin, int64_t end) {
  double sum = block_sum(v, begin, end - begin < CSRN_BLOCK ? end : begin + CSRN_BLOCK);
  for (int64_t i = begin + CSRN_BLOCK; i < end; i += CSRN_BLOCK)
    sum += block_sum(v, i, end - i < CSRN_BLOCK ? end : i + CSRN_BLOCK);
  return sum;
}

/* A block of CSRN_BLOCK = 2^12 values leaves room to spare in the accumulators: 2^12 *
 * 2^16 < 2^32 for the short types, 2^12 * 2^32 < 2^63 for the others and for the two
 * halves of a 64-bit integer. */
INLINE csrn_wide integer_block_sum(const masked_values *v, int64_t begin, int64_t end) {
  uint32_t small = 0;
  int64_t low = 0, high = 0;
  for (int64_t i = begin; i < end; i++) {
    int64_t value = is_excluded(v, i) ? 0 : load_integer(v->data, v->type, i);
    if (v->type == CSRN_U8 || v->type == CSRN_U16) {
      small += (uint32_t)value;
    } else if (v->type == CSRN_I64) {
      low += value & 0xffffffff;
      high += value >> 32;
    } else {
      low += value;
    }
  }
  return (csrn_wide)high * ((csrn_wide)1 << 32) + low + small;
}

INLINE csrn_wide integer_sum(const masked_values *v, int64_t begin, int64_t end) {
  csrn_wide sum = 0;
  for (int64_t i = begin; i < end; i += CSRN_BLOCK)
    sum += integer_block_sum(v, i, end - i < CSRN_BLOCK ? end : i + CSRN_BLOCK);
  return sum;
}

INLINE void sum_rows(const masked_values *v, const int64_t *indptr, int64_t n, void *sums) {
#if CSRN_VECTORS
  if (is_real(v->type) && !v->indices) {
    sum_rows_by_vectors(v->data, v->type, indptr, n, sums);
    return;
  }
#endif
  for (int64_t r = 0; r < n; r++) {
    if (is_real(v->type))
      ((double *)sums)[r] = real_sum(v, indptr[r], indptr[r + 1]);
    else
      ((csrn_wide *)sums)[r] = integer_sum(v, indptr[r], indptr[r + 1]);
  }
}

#define DEFINE(code, type, name)                                                                             \
  static void row_sums_##name(const void *data, const int64_t *indptr, int64_t n, void *sums) {              \
    const masked_values v = {data, code, NULL, CSRN_NONE, NULL};                                             \
    sum_rows(&v, indptr, n, sums);                                                                           \
  }
DATA_TYPES(DEFINE)
#undef DEFINE

#define DEFINE_PAIR(code, name, index_code, index_name)                                                      \
  static void row_sums_excluding_##name##_##index_name(const void *data, const void *indices,                \
                                                       const uint32_t *excluded, const int64_t *indptr,      \
                                                       int64_t n, void *sums) {                              \
    const masked_values v = {data, code, indices, index_code, excluded};                                     \
    sum_rows(&v, indptr, n, sums);                                                                           \
  }
PAIRS(DEFINE_PAIR)
#undef DEFINE_PAIR

#endif
