/*
 * Loads of one element of any type, for kernels that are written once for all types: with
 * a constant `type` the switch disappears when the function is inlined, and loops over it
 * vectorize as if they had been written for that type. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_LOAD_H
#define CSRN_KERNEL_LOAD_H

#include "cpu/cpu_internal.h"
#include "data_types.h"

#define INLINE static inline __attribute__((always_inline))

/* Index types with their C types; with DATA_TYPES the lists from which kernels are made. */
#define INDEX_TYPES(X)                                                                                       \
  X(CSRN_U8, uint8_t, u8)                                                                                    \
  X(CSRN_U16, uint16_t, u16)                                                                                 \
  X(CSRN_U32, uint32_t, u32)                                                                                 \
  X(CSRN_I32, int32_t, i32)                                                                                  \
  X(CSRN_I64, int64_t, i64)

/* Every pair of a data type and an index type: X(code, name, index code, index name). */
#define PAIRS_OF(X, code, name)                                                                              \
  X(code, name, CSRN_U8, u8)                                                                                 \
  X(code, name, CSRN_U16, u16)                                                                               \
  X(code, name, CSRN_U32, u32)                                                                               \
  X(code, name, CSRN_I32, i32)                                                                               \
  X(code, name, CSRN_I64, i64)
#define PAIRS(X)                                                                                             \
  PAIRS_OF(X, CSRN_F32, f32)                                                                                 \
  PAIRS_OF(X, CSRN_F64, f64)                                                                                 \
  PAIRS_OF(X, CSRN_U8, u8)                                                                                   \
  PAIRS_OF(X, CSRN_U16, u16)                                                                                 \
  PAIRS_OF(X, CSRN_U32, u32)                                                                                 \
  PAIRS_OF(X, CSRN_I32, i32)                                                                                 \
  PAIRS_OF(X, CSRN_I64, i64)

#define LOAD(result, data, type, i)                                                                          \
  switch (type) {                                                                                            \
  case CSRN_F32:                                                                                             \
    return (result)((const float *)(data))[i];                                                               \
  case CSRN_F64:                                                                                             \
    return (result)((const double *)(data))[i];                                                              \
  case CSRN_U8:                                                                                              \
    return (result)((const uint8_t *)(data))[i];                                                             \
  case CSRN_U16:                                                                                             \
    return (result)((const uint16_t *)(data))[i];                                                            \
  case CSRN_U32:                                                                                             \
    return (result)((const uint32_t *)(data))[i];                                                            \
  case CSRN_I32:                                                                                             \
    return (result)((const int32_t *)(data))[i];                                                             \
  default:                                                                                                   \
    return (result)((const int64_t *)(data))[i];                                                             \
  }

INLINE float load_f32(const void *data, csrn_dtype type, int64_t i){LOAD(float, data, type, i)}

INLINE double load_f64(const void *data, csrn_dtype type, int64_t i){LOAD(double, data, type, i)}

/* For integer types only. */
INLINE int64_t load_integer(const void *data, csrn_dtype type, int64_t i){LOAD(int64_t, data, type, i)}

#undef LOAD

INLINE int64_t load_size(csrn_dtype type) {
  return type == CSRN_F64 || type == CSRN_I64 ? 8 : type == CSRN_U16 ? 2 : type == CSRN_U8 ? 1 : 4;
}

INLINE bool is_real(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_F64;
}

#endif
