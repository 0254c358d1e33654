/*
 * The logarithm of a range of values, and tables of it for small counts, filled by the same
 * formula and so with the same bits. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_LOG_H
#define CSRN_KERNEL_LOG_H

#include "kernel_load.h"
#include "kernel_vector_table.h"
#include "numerics.h"

enum { GROUP = 16 }; /* elements that take a table, or not, together */

/* log1p of values[0 .. n) in place, in the base whose logarithm is log_base (0: natural). */
#define DEFINE_LOG(suffix, C)                                                                                \
  static void log1p_range_##suffix(C *values, int64_t n, double log_base) {                                  \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) values[i] = csrn_log1p_##suffix(values[i]);          \
    if (log_base != 0.0) {                                                                                   \
      _Pragma("omp simd") for (int64_t i = 0; i < n; i++) values[i] =                                        \
          csrn_rebase_##suffix(values[i], log_base);                                                         \
    }                                                                                                        \
  }

DEFINE_LOG(f32, float)
DEFINE_LOG(f64, double)
#undef DEFINE_LOG

/* The count that data[i] is, if it is one below TABLE_SIZE; else a number from TABLE_SIZE
 * on. -0 is none. By the bits of reals, which are ordered as the positive reals are, and in
 * a width of its own for each type: loops over it vectorize, and branch nowhere. */
#define DEFINE_SMALL_REAL(suffix, C, U)                                                                      \
  INLINE uint32_t small_count_of_##suffix(const void *data, int64_t i) {                                     \
    const C limit = TABLE_SIZE;                                                                              \
    U bits, limit_bits, back_bits;                                                                           \
    memcpy(&bits, (const C *)data + i, sizeof bits);                                                         \
    memcpy(&limit_bits, &limit, sizeof limit_bits);                                                          \
    const U inside_bits = bits & -(U)(bits < limit_bits);                                                    \
    C inside;                                                                                                \
    memcpy(&inside, &inside_bits, sizeof inside);                                                            \
    const int32_t count = (int32_t)inside;                                                                   \
    const C back = (C)count;                                                                                 \
    memcpy(&back_bits, &back, sizeof back_bits);                                                             \
    return (uint32_t)count + TABLE_SIZE * (uint32_t)(bits != back_bits);                                     \
  }

DEFINE_SMALL_REAL(f32, float, uint32_t)
DEFINE_SMALL_REAL(f64, double, uint64_t)
#undef DEFINE_SMALL_REAL

INLINE uint32_t small_count(const void *data, csrn_dtype type, int64_t i) {
  switch (type) {
  case CSRN_F32:
    return small_count_of_f32(data, i);
  case CSRN_F64:
    return small_count_of_f64(data, i);
  case CSRN_I64: {
    const uint64_t value = (uint64_t)load_integer(data, type, i);
    return value < TABLE_SIZE ? (uint32_t)value : TABLE_SIZE;
  }
  default:
    return (uint32_t)load_integer(data, type, i);
  }
}

/* table[k] = what a count k of a row with this factor becomes. */
#define DEFINE_FILL(suffix, C)                                                                               \
  INLINE void fill_table_##suffix(const csrn_transform *how, C factor, C *table) {                           \
    for (int k = 0; k < TABLE_SIZE; k++)                                                                     \
      table[k] = how->step == CSRN_STEP_DIVIDE ? (C)k / factor : (C)k;                                       \
    log1p_range_##suffix(table, TABLE_SIZE, how->log_base);                                                  \
  }

DEFINE_FILL(f32, float)
DEFINE_FILL(f64, double)
#undef DEFINE_FILL

#endif
