/*
 * Values kept in memory between two passes. Counts are small integers in whatever type they
 * are stored, and most fit into 8 bits; as such they give the same results bit for bit.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

/* A number x from 0 to 2^23 - 1 (2^52 - 1 for float64) plus 2^23 (2^52) has x in the low bits, if x is an
 * integer; if not, or if it is negative, -0, infinite or NaN, the sum less 2^23 is not x, or the bits above
 * those of a count are not 0. Each returns the count, or for what is none a number that has all bits. */
static inline uint64_t count_f32(float x) {
  const float shifted = x + 0x1p23F, back = shifted - 0x1p23F;
  uint32_t bits, old_bits, back_bits;
  memcpy(&bits, &shifted, sizeof bits);
  memcpy(&old_bits, &x, sizeof bits);
  memcpy(&back_bits, &back, sizeof bits);
  return (bits - 0x4b000000U) | (old_bits == back_bits ? 0 : ~(uint32_t)0);
}

static inline uint64_t count_f64(double x) {
  const double shifted = x + 0x1p52, back = shifted - 0x1p52;
  uint64_t bits, old_bits, back_bits;
  memcpy(&bits, &shifted, sizeof bits);
  memcpy(&old_bits, &x, sizeof bits);
  memcpy(&back_bits, &back, sizeof bits);
  return (bits - 0x4330000000000000U) | (old_bits == back_bits ? 0 : ~(uint64_t)0);
}

/* For each type: all counts or'ed, which is above 65535 if one of the values is no count of 16 bits; and the
 * counts in a type that has room for them. BITS: an unsigned type of the same size. */
#define COUNTS(NAME, TYPE, BITS, COUNT)                                                                      \
  static uint64_t or_##NAME(const TYPE *values, int64_t n) {                                                 \
    BITS all = 0;                                                                                            \
    for (int64_t i = 0; i < n; i++)                                                                          \
      all |= (BITS)COUNT(values[i]);                                                                         \
    return all;                                                                                              \
  }                                                                                                          \
  static void narrow_##NAME(const TYPE *values, int64_t n, csrn_dtype type, void *to) {                      \
    if (type == CSRN_U8)                                                                                     \
      for (int64_t i = 0; i < n; i++)                                                                        \
        ((uint8_t *)to)[i] = (uint8_t)COUNT(values[i]);                                                      \
    else                                                                                                     \
      for (int64_t i = 0; i < n; i++)                                                                        \
        ((uint16_t *)to)[i] = (uint16_t)COUNT(values[i]);                                                    \
  }                                                                                                          \
  static void widen_##NAME(const void *counts, csrn_dtype type, int64_t n, TYPE *to) {                       \
    if (type == CSRN_U8)                                                                                     \
      for (int64_t i = 0; i < n; i++)                                                                        \
        to[i] = (TYPE)((const uint8_t *)counts)[i];                                                          \
    else                                                                                                     \
      for (int64_t i = 0; i < n; i++)                                                                        \
        to[i] = (TYPE)((const uint16_t *)counts)[i];                                                         \
  }

#define TYPES(DO)                                                                                            \
  DO(f32, float, uint32_t, CSRN_F32, count_f32)                                                              \
  DO(f64, double, uint64_t, CSRN_F64, count_f64)                                                             \
  DO(i32, int32_t, uint32_t, CSRN_I32, )                                                                     \
  DO(i64, int64_t, uint64_t, CSRN_I64, )                                                                     \
  DO(u32, uint32_t, uint32_t, CSRN_U32, )                                                                    \
  DO(u16, uint16_t, uint16_t, CSRN_U16, )

#define DEFINE(NAME, TYPE, BITS, DTYPE, COUNT) COUNTS(NAME, TYPE, BITS, COUNT)
TYPES(DEFINE)

/* The narrowest type for the values. */
static csrn_dtype packed_type(const void *values, csrn_dtype type, int64_t n) {
  uint64_t all = UINT64_MAX;
  switch (type) {
#define CASE(NAME, TYPE, BITS, DTYPE, COUNT)                                                                 \
  case DTYPE:                                                                                                \
    all = or_##NAME(values, n);                                                                              \
    break;
    TYPES(CASE)
#undef CASE
  default:
    break; /* bytes */
  }
  return all <= UINT8_MAX ? CSRN_U8 : all <= UINT16_MAX ? CSRN_U16 : type;
}

static void narrow(const void *values, csrn_dtype type, int64_t n, csrn_dtype to_type, void *to) {
  switch (type) {
#define CASE(NAME, TYPE, BITS, DTYPE, COUNT)                                                                 \
  case DTYPE:                                                                                                \
    narrow_##NAME(values, n, to_type, to);                                                                   \
    break;
    TYPES(CASE)
#undef CASE
  default:
    break; /* bytes stay as they are */
  }
}

void csrn_stream_keep(csrn_stream_pool *pool, csrn_stream_matrix *matrix, int64_t unit, const void *values,
                      int64_t n) {
  csrn_stream_kept *kept = &matrix->kept[unit];
  const csrn_dtype type = matrix->data.type;
  kept->type = packed_type(values, type, n);
  const int64_t bytes = n * (int64_t)csrn_dtype_size(kept->type);
  pthread_mutex_lock(&pool->state);
  const bool fits = bytes <= matrix->room;
  matrix->room -= fits ? bytes : 0;
  pthread_mutex_unlock(&pool->state);
  kept->values = fits ? malloc((size_t)bytes + 1) : NULL;
  if (!kept->values)
    return;
  if (kept->type == type)
    memcpy(kept->values, values, (size_t)bytes);
  else
    narrow(values, type, n, kept->type, kept->values);
}

void csrn_stream_unpack(const csrn_stream_kept *kept, int64_t n, csrn_dtype type, void *values) {
  if (kept->type == type) {
    memcpy(values, kept->values, (size_t)n * csrn_dtype_size(type));
    return;
  }
  switch (type) {
#define CASE(NAME, TYPE, BITS, DTYPE, COUNT)                                                                 \
  case DTYPE:                                                                                                \
    widen_##NAME(kept->values, kept->type, n, values);                                                       \
    break;
    TYPES(CASE)
#undef CASE
  default:
    break; /* bytes stay as they are */
  }
}
