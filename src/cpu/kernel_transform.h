/*
 * Element-wise operations: a multiplication or division by the factor of a row or
 * column, then log1p. Part of kernels.c.
 *
 * The logarithm is a second pass over a few kilobytes that are still in the first-level
 * cache, so that it exists once per output type. Long rows of counts take a shorter way:
 * a table of log1p(k / factor) for small k, filled by the same formula, so with the same
 * bits.
 */
#ifndef CSRN_KERNEL_TRANSFORM_H
#define CSRN_KERNEL_TRANSFORM_H

#include "kernel_avx512_divide.h"
#include "kernel_load.h"
#include "numerics.h"

enum {
  CHUNK = 2048,        /* elements between a step and its logarithm: 8 or 16 KiB */
  TABLE_SIZE = 64,     /* 99.9 % of the counts of a typical matrix are below */
  TABLE_MIN_ROW = 512, /* shorter rows do not earn back the filling of the table */
  GROUP = 16           /* elements that take the table, or not, together */
};

/* One definition per arithmetic: C computes, O is stored. In place is allowed: every
 * element is read before it is written, and `omp simd` says that no other is touched. */
#define DEFINE_STEP(suffix, C, O, load)                                                                      \
  INLINE void step_##suffix(csrn_step step, const void *data, csrn_dtype type, int64_t begin, int64_t end,   \
                            C factor, O *out) {                                                              \
    if (step == CSRN_STEP_DIVIDE) {                                                                          \
      _Pragma("omp simd") for (int64_t i = begin; i < end; i++) out[i] = (O)(load(data, type, i) / factor);  \
    } else if (step == CSRN_STEP_MULTIPLY) {                                                                 \
      _Pragma("omp simd") for (int64_t i = begin; i < end; i++) out[i] = (O)(load(data, type, i) * factor);  \
    } else {                                                                                                 \
      _Pragma("omp simd") for (int64_t i = begin; i < end; i++) out[i] = (O)load(data, type, i);             \
    }                                                                                                        \
  }                                                                                                          \
  INLINE void gather_step_##suffix(csrn_step step, const void *data, csrn_dtype type, const void *indices,   \
                                   csrn_dtype index_type, int64_t begin, int64_t end, const C *factors,      \
                                   O *out) {                                                                 \
    if (step == CSRN_STEP_DIVIDE) {                                                                          \
      _Pragma("omp simd") for (int64_t i = begin; i < end; i++) out[i] =                                     \
          (O)(load(data, type, i) / factors[load_integer(indices, index_type, i)]);                          \
    } else {                                                                                                 \
      _Pragma("omp simd") for (int64_t i = begin; i < end; i++) out[i] =                                     \
          (O)(load(data, type, i) * factors[load_integer(indices, index_type, i)]);                          \
    }                                                                                                        \
  }

DEFINE_STEP(f32_to_f32, float, float, load_f32)
DEFINE_STEP(f64_to_f64, double, double, load_f64)
DEFINE_STEP(f64_to_f32, double, float, load_f64)
#undef DEFINE_STEP

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

/* The count that data[i] is, if it is one below TABLE_SIZE; else TABLE_SIZE. -0 is none. */
INLINE uint32_t small_count(const void *data, csrn_dtype type, int64_t i) {
  if (!is_real(type)) {
    uint64_t value = (uint64_t)load_integer(data, type, i);
    return value < TABLE_SIZE ? (uint32_t)value : TABLE_SIZE;
  }
  double value = load_f64(data, type, i);
  bool inside = value >= 0.0 && value < TABLE_SIZE;
  int32_t count = (int32_t)(inside ? value : 0.0);
  double back = count;
  int64_t bits, back_bits;
  memcpy(&bits, &value, sizeof bits);
  memcpy(&back_bits, &back, sizeof back_bits);
  return bits == back_bits ? (uint32_t)count : TABLE_SIZE;
}

#if CSRN_AVX512

INLINE void step_f32(csrn_step step, const void *data, csrn_dtype type, int64_t begin, int64_t end,
                     float factor, float *out) {
  if (step == CSRN_STEP_DIVIDE && has_load16(type))
    divide_range_avx512(data, type, begin, end, factor, out);
  else
    step_f32_to_f32(step, data, type, begin, end, factor, out);
}

#else

INLINE void step_f32(csrn_step step, const void *data, csrn_dtype type, int64_t begin, int64_t end,
                     float factor, float *out) {
  step_f32_to_f32(step, data, type, begin, end, factor, out);
}

#endif

INLINE void step_f64(csrn_step step, const void *data, csrn_dtype type, int64_t begin, int64_t end,
                     double factor, double *out) {
  step_f64_to_f64(step, data, type, begin, end, factor, out);
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

/* A row through the table, group by group; returns where it stopped: at the last full
 * group, or earlier where the values turn out not to be small counts. */
#define DEFINE_TABLE(suffix, C)                                                                              \
  INLINE int64_t table_row_##suffix(const csrn_transform *how, const void *data, csrn_dtype type,            \
                                    int64_t begin, int64_t end, C factor, const C *table, C *out) {          \
    int64_t i = begin, misses = 0;                                                                           \
    for (; i + GROUP <= end && 4 * misses <= (i - begin) / GROUP + 16; i += GROUP) {                         \
      uint32_t counts[GROUP], largest = 0;                                                                   \
      for (int k = 0; k < GROUP; k++) {                                                                      \
        counts[k] = small_count(data, type, i + k);                                                          \
        largest = counts[k] > largest ? counts[k] : largest;                                                 \
      }                                                                                                      \
      if (largest < TABLE_SIZE) {                                                                            \
        for (int k = 0; k < GROUP; k++)                                                                      \
          out[i + k] = table[counts[k]];                                                                     \
      } else {                                                                                               \
        misses++;                                                                                            \
        step_##suffix(how->step, data, type, i, i + GROUP, factor, out);                                     \
        log1p_range_##suffix(out + i, GROUP, how->log_base);                                                 \
      }                                                                                                      \
    }                                                                                                        \
    return i;                                                                                                \
  }

DEFINE_TABLE(f32, float)
DEFINE_TABLE(f64, double)
#undef DEFINE_TABLE

#if CSRN_AVX512

/* 16 values that are not all small counts. */
static __attribute__((noinline)) __m512 transform16(const csrn_transform *how, __m512 x, float factor) {
  float values[16];
  _mm512_storeu_ps(values, x);
  step_f32(how->step, values, CSRN_F32, 0, 16, factor, values);
  log1p_range_f32(values, 16, how->log_base);
  return _mm512_loadu_ps(values);
}

/* 16 values by the table, or by the formula, which is counted. */
INLINE void table16(const csrn_transform *how, const void *data, csrn_dtype type, int64_t i, __mmask16 lanes,
                    float factor, const table64 *table, int64_t *misses, float *out) {
  __m512 x = load16(data, type, i, lanes), y;
  __m512i counts;
  if (small_counts16(x, &counts) == 0xffff) {
    y = look_up16(table, counts);
  } else {
    ++*misses;
    y = transform16(how, x, factor);
  }
  _mm512_mask_storeu_ps(out + i, lanes, y);
}

/* table_row_f32() with the table in registers, aligned stores and masked ends: the whole
 * row, unless its values turn out not to be small counts. */
INLINE int64_t table_row_avx512(const csrn_transform *how, const void *data, csrn_dtype type, int64_t begin,
                                int64_t end, float factor, const float *values, float *out) {
  const table64 table = table64_of(values);
  int64_t i = begin, misses = 0, head = before_alignment(out + begin, end - begin);
  if (head) {
    table16(how, data, type, i, first_lanes(head), factor, &table, &misses, out);
    i += head;
  }
  for (; i + 64 <= end && 4 * misses <= (i - begin) / 16 + 16; i += 64) {
    for (int k = look_up_64(&table, data, type, i, out) ? 64 : 0; k < 64; k += 16)
      table16(how, data, type, i + k, 0xffff, factor, &table, &misses, out);
  }
  for (; i < end && end - i < 64; i += 16)
    table16(how, data, type, i, first_lanes(end - i), factor, &table, &misses, out);
  return i < end ? i : end;
}

#endif

#if CSRN_AVX2

/* table[counts], counts from 0 to 31: four permutations of eight entries, chosen by the bits 3 and 4. */
INLINE __m256 look_up8(const __m256 table[4], __m256i counts) {
  const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(counts, 28));
  const __m256 bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(counts, 27));
  const __m256 low = _mm256_blendv_ps(_mm256_permutevar8x32_ps(table[0], counts),
                                      _mm256_permutevar8x32_ps(table[1], counts), bit3);
  const __m256 high = _mm256_blendv_ps(_mm256_permutevar8x32_ps(table[2], counts),
                                       _mm256_permutevar8x32_ps(table[3], counts), bit3);
  return _mm256_blendv_ps(low, high, bit4);
}

/* table_row_f32() for float32 with half the table in registers: groups of counts below 32, nine of ten in a
 * typical matrix, are looked up eight at a time; others take the formula, which is faster here than single
 * look-ups. */
INLINE int64_t table_row_avx2(const csrn_transform *how, const float *data, int64_t begin, int64_t end,
                              float factor, const float *values, float *out) {
  const __m256i above = _mm256_set1_epi32(~31);
  __m256 table[4];
  for (int64_t k = 0; k < 4; k++)
    table[k] = _mm256_loadu_ps(values + 8 * k);
  int64_t i = begin, misses = 0;
  for (; i + GROUP <= end && 4 * misses <= (i - begin) / GROUP + 16; i += GROUP) {
    const __m256 x0 = _mm256_loadu_ps(data + i), x1 = _mm256_loadu_ps(data + i + 8);
    const __m256i c0 = _mm256_cvttps_epi32(x0), c1 = _mm256_cvttps_epi32(x1);
    const __m256 fraction0 = _mm256_xor_ps(_mm256_cvtepi32_ps(c0), x0); /* of the bits, so that -0 is none */
    const __m256 fraction1 = _mm256_xor_ps(_mm256_cvtepi32_ps(c1), x1);
    const __m256i other = _mm256_or_si256(_mm256_castps_si256(_mm256_or_ps(fraction0, fraction1)),
                                          _mm256_and_si256(_mm256_or_si256(c0, c1), above));
    if (_mm256_testz_si256(other, other)) {
      _mm256_storeu_ps(out + i, look_up8(table, c0));
      _mm256_storeu_ps(out + i + 8, look_up8(table, c1));
    } else {
      misses++;
      step_f32(how->step, data, CSRN_F32, i, i + GROUP, factor, out);
      log1p_range_f32(out + i, GROUP, how->log_base);
    }
  }
  return i;
}

#endif

INLINE int64_t table_f32(const csrn_transform *how, const void *data, csrn_dtype type, int64_t begin,
                         int64_t end, float factor, const float *table, float *out) {
#if CSRN_AVX512
  if (has_load16(type))
    return table_row_avx512(how, data, type, begin, end, factor, table, out);
#endif
#if CSRN_AVX2
  if (type == CSRN_F32)
    return table_row_avx2(how, data, begin, end, factor, table, out);
#endif
  return table_row_f32(how, data, type, begin, end, factor, table, out);
}

INLINE int64_t table_f64(const csrn_transform *how, const void *data, csrn_dtype type, int64_t begin,
                         int64_t end, double factor, const double *table, double *out) {
  return table_row_f64(how, data, type, begin, end, factor, table, out);
}

/* Whether rows are short enough to be divided together; then does so. */
INLINE bool divide_short_rows(const csrn_transform *how, const void *data, csrn_dtype type,
                              const int64_t *indptr, int64_t n, const float *factors, float *out) {
#if CSRN_AVX512
  enum { SHORT_ROW = 256 };
  if (how->step == CSRN_STEP_DIVIDE && has_load16(type) && n > 1 && indptr[n] - indptr[0] < SHORT_ROW * n) {
    for (int64_t r = 0, rows; r < n; r += rows) {
      rows = n - r < CSRN_ROW_GROUP ? n - r : CSRN_ROW_GROUP;
      divide_rows_avx512(data, type, indptr + r, rows, factors + r, out);
      if (how->log1p)
        log1p_range_f32(out + indptr[r], indptr[r + rows] - indptr[r], how->log_base);
    }
    return true;
  }
#else
  (void)how, (void)data, (void)type, (void)indptr, (void)n, (void)factors, (void)out;
#endif
  return false;
}

/* A row without its logarithm, but where that would be more than CHUNK behind. `logged` is
 * the offset up to which the logarithm is done; returns the new one. */
#define DEFINE_ROWS(suffix, C)                                                                               \
  INLINE int64_t plain_row_##suffix(const csrn_transform *how, const void *data, csrn_dtype type, int64_t i, \
                                    int64_t end, C factor, int64_t logged, C *out) {                         \
    while (i < end) {                                                                                        \
      int64_t stop = how->log1p && end - i > CHUNK ? i + CHUNK : end;                                        \
      step_##suffix(how->step, data, type, i, stop, factor, out);                                            \
      i = stop;                                                                                              \
      if (how->log1p && i - logged >= CHUNK) {                                                               \
        log1p_range_##suffix(out + logged, i - logged, how->log_base);                                       \
        logged = i;                                                                                          \
      }                                                                                                      \
    }                                                                                                        \
    return logged;                                                                                           \
  }                                                                                                          \
                                                                                                             \
  /* Rows of a transform whose result has the type it is computed in. */                                     \
  INLINE void transform_rows_##suffix(const csrn_transform *how, const void *data, csrn_dtype type,          \
                                      const int64_t *indptr, int64_t n, const C *factors, C *out) {          \
    C table[TABLE_SIZE];                                                                                     \
    int64_t logged = indptr[0];                                                                              \
    for (int64_t r = 0; r < n; r++) {                                                                        \
      int64_t i = indptr[r], end = indptr[r + 1];                                                            \
      C factor = factors ? factors[r] : (C)1;                                                                \
      if (how->log1p && end - i >= TABLE_MIN_ROW) {                                                          \
        log1p_range_##suffix(out + logged, i - logged, how->log_base);                                       \
        fill_table_##suffix(how, factor, table);                                                             \
        i = logged = table_##suffix(how, data, type, i, end, factor, table, out);                            \
      }                                                                                                      \
      logged = plain_row_##suffix(how, data, type, i, end, factor, logged, out);                             \
    }                                                                                                        \
    if (how->log1p)                                                                                          \
      log1p_range_##suffix(out + logged, indptr[n] - logged, how->log_base);                                 \
  }

DEFINE_ROWS(f32, float)
DEFINE_ROWS(f64, double)
#undef DEFINE_ROWS

INLINE void transform_rows(const csrn_transform *how, const void *data, csrn_dtype type,
                           const int64_t *indptr, int64_t n, const void *factors, void *out) {
  if (how->arithmetic == CSRN_IN_F32_TO_F32) {
    if (!divide_short_rows(how, data, type, indptr, n, factors, out))
      transform_rows_f32(how, data, type, indptr, n, factors, out);
  } else if (how->arithmetic == CSRN_IN_F64_TO_F64) {
    transform_rows_f64(how, data, type, indptr, n, factors, out);
  } else {
    for (int64_t r = 0; r < n; r++)
      step_f64_to_f32(how->step, data, type, indptr[r], indptr[r + 1], ((const double *)factors)[r], out);
  }
}

INLINE void transform_columns(const csrn_transform *how, const void *data, csrn_dtype type,
                              const void *indices, csrn_dtype index_type, int64_t begin, int64_t end,
                              const void *factors, void *out) {
  for (int64_t i = begin; i < end; i += CHUNK) {
    int64_t stop = end - i > CHUNK ? i + CHUNK : end;
    if (how->arithmetic == CSRN_IN_F32_TO_F32) {
      gather_step_f32_to_f32(how->step, data, type, indices, index_type, i, stop, factors, out);
      if (how->log1p)
        log1p_range_f32((float *)out + i, stop - i, how->log_base);
    } else if (how->arithmetic == CSRN_IN_F64_TO_F64) {
      gather_step_f64_to_f64(how->step, data, type, indices, index_type, i, stop, factors, out);
      if (how->log1p)
        log1p_range_f64((double *)out + i, stop - i, how->log_base);
    } else {
      gather_step_f64_to_f32(how->step, data, type, indices, index_type, i, stop, factors, out);
    }
  }
}

#define DEFINE(code, type, name)                                                                             \
  static void transform_rows_of_##name(const csrn_transform *how, const void *data, const int64_t *indptr,   \
                                       int64_t n, const void *factors, void *out) {                          \
    transform_rows(how, data, code, indptr, n, factors, out);                                                \
  }
DATA_TYPES(DEFINE)
#undef DEFINE

#define DEFINE_PAIR(code, name, index_code, index_name)                                                      \
  static void transform_columns_##name##_##index_name(const csrn_transform *how, const void *data,           \
                                                      const void *indices, int64_t begin, int64_t end,       \
                                                      const void *factors, void *out) {                      \
    transform_columns(how, data, code, indices, index_code, begin, end, factors, out);                       \
  }
PAIRS(DEFINE_PAIR)
#undef DEFINE_PAIR

#endif
