/*
 * Element-wise operations: a multiplication or division by the factor of a row or
 * column, then log1p. Part of kernels.c.
 *
 * The logarithm is a second pass over a few kilobytes that are still in the first-level
 * cache, so that it exists once per output type. Long rows of counts take a shorter way:
 * a table of log1p(k / factor) for small k, filled by the same formula, so with the same
 * bits; short ones share such tables (kernel_tables.h).
 */
#ifndef CSRN_KERNEL_TRANSFORM_H
#define CSRN_KERNEL_TRANSFORM_H

#include "kernel_load.h"
#include "kernel_log.h"
#include "kernel_tables.h"
#include "kernel_vector_divide.h"

enum {
  CHUNK = 2048,                           /* elements between a step and its logarithm: 8 or 16 KiB */
  TABLE_MIN_ROW = CSRN_VECTORS ? 192 : 96 /* shorter rows do not earn back a table of their own */
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
  /* Each element with a factor of its own, from factors[0] on. */                                           \
  INLINE void spread_step_##suffix(csrn_step step, const void *data, csrn_dtype type, int64_t begin,         \
                                   int64_t end, const C *factors, O *out) {                                  \
    if (step == CSRN_STEP_DIVIDE) {                                                                          \
      _Pragma("omp simd") for (int64_t i = begin; i < end; i++) out[i] =                                     \
          (O)(load(data, type, i) / factors[i - begin]);                                                     \
    } else {                                                                                                 \
      _Pragma("omp simd") for (int64_t i = begin; i < end; i++) out[i] =                                     \
          (O)(load(data, type, i) * factors[i - begin]);                                                     \
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

INLINE void step_f32(csrn_step step, const void *data, csrn_dtype type, int64_t begin, int64_t end,
                     float factor, float *out) {
#if CSRN_VECTORS
  if (step == CSRN_STEP_DIVIDE && has_vec_load(type)) {
    divide_range(data, type, begin, end, factor, out);
    return;
  }
#endif
  step_f32_to_f32(step, data, type, begin, end, factor, out);
}

INLINE void step_f64(csrn_step step, const void *data, csrn_dtype type, int64_t begin, int64_t end,
                     double factor, double *out) {
  step_f64_to_f64(step, data, type, begin, end, factor, out);
}

/* A row through the table, group by group; returns where it stopped: at the last full
 * group, or earlier where the values turn out not to be small counts. */
#define DEFINE_TABLE(suffix, C)                                                                              \
  INLINE int64_t table_row_##suffix(const csrn_transform *how, const void *data, csrn_dtype type,            \
                                    int64_t begin, int64_t end, C factor, const C *table, C *out) {          \
    int64_t i = begin, misses = 0;                                                                           \
    for (; i + GROUP <= end && 4 * misses <= (i - begin) / GROUP + 16; i += GROUP) {                         \
      uint32_t counts[GROUP], all = 0;                                                                       \
      _Pragma("omp simd reduction(| : all)") for (int k = 0; k < GROUP; k++) {                               \
        counts[k] = small_count(data, type, i + k);                                                          \
        all |= counts[k];                                                                                    \
      }                                                                                                      \
      if (all < TABLE_SIZE) {                                                                                \
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

#if CSRN_VECTORS

/* LOOKED_UP values from data[i] on, that are not all small counts, to out[0 ...]: by the formula the vectors
 * that have others. */
INLINE void miss(const csrn_transform *how, const void *data, csrn_dtype type, int64_t i, float factor,
                 const vec_table *table, float *out) {
  vec_int counts[4];
  vec x[4];
  load_integers(counts, data, type, i);
  const uint64_t others = others_of(counts, data, type, i);
  for (int64_t k = 0; k < 4; k++)
    x[k] = vec_load_all(data, type, i + k * WIDTH);
  look_up_any(table, counts, out);
  for (int64_t k = 0; k < 4; k++) {
    if ((others >> (k * WIDTH) & ((1U << WIDTH) - 1)) == 0)
      continue;
    vec_store(out + k * WIDTH, how->step == CSRN_STEP_DIVIDE ? vec_div(x[k], vec_all(factor)) : x[k]);
    log1p_range_f32(out + k * WIDTH, WIDTH, how->log_base);
  }
}

/* The last n < LOOKED_UP values of a row. */
INLINE void table_rest(const csrn_transform *how, const void *data, csrn_dtype type, int64_t i, int64_t n,
                       float factor, const vec_table *table, float *out) {
  float values[LOOKED_UP];
  for (int64_t k = 0; k < 4; k++)
    vec_store(values + k * WIDTH,
              vec_load_data(data, type, i + k * WIDTH, first_lanes(n > k * WIDTH ? n - k * WIDTH : 0)));
  if (!look_up(table, values, CSRN_F32, 0, values))
    miss(how, values, CSRN_F32, 0, factor, table, values);
  for (int64_t k = 0; k * WIDTH < n; k++)
    vec_store_some(out + i + k * WIDTH, first_lanes(n - k * WIDTH), vec_load(values + k * WIDTH));
}

/* table_row_f32() by vectors: the whole row, unless its values turn out not to be small
 * counts. */
INLINE int64_t table_row_by_vectors(const csrn_transform *how, const void *data, csrn_dtype type,
                                    int64_t begin, int64_t end, float factor, const float *values,
                                    float *out) {
  vec_table table;
  load_table(&table, values);
  int64_t i = begin, misses = 0;
  for (; i + LOOKED_UP <= end && 4 * misses <= (i - begin) / LOOKED_UP + 4; i += LOOKED_UP) {
    prefetch_ahead(data, type, i, 4);
    if (!look_up(&table, data, type, i, out + i)) {
      misses++;
      miss(how, data, type, i, factor, &table, out + i);
    }
  }
  if (i < end && end - i < LOOKED_UP) {
    table_rest(how, data, type, i, end - i, factor, &table, out);
    i = end;
  }
  return i;
}

#endif

INLINE int64_t table_f32(const csrn_transform *how, const void *data, csrn_dtype type, int64_t begin,
                         int64_t end, float factor, const float *table, float *out) {
#if CSRN_VECTORS
  if (has_vec_load(type))
    return table_row_by_vectors(how, data, type, begin, end, factor, table, out);
#endif
  return table_row_f32(how, data, type, begin, end, factor, table, out);
}

INLINE int64_t table_f64(const csrn_transform *how, const void *data, csrn_dtype type, int64_t begin,
                         int64_t end, double factor, const double *table, double *out) {
  return table_row_f64(how, data, type, begin, end, factor, table, out);
}

/* ---- Short rows ------------------------------------------------------------ */

/* Rows of fewer values on average are worked on together, SPREAD_NNZ values at a time: row
 * by row, the branches that depend on their lengths would cost more than the arithmetic.
 * Where rows can have a table of logarithms, it saves more than that. */
enum { SHORT_ROW = 256, SPREAD_NNZ = STRETCH_VALUES, SPREAD_ROOM = 2 * SHORT_ROW };

INLINE bool mean_is_short(const csrn_transform *how, const int64_t *indptr, int64_t n) {
  return n > 1 && indptr[n] - indptr[0] < (how->log1p ? TABLE_MIN_ROW : SHORT_ROW) * n;
}

/* How many of the rows from indptr[0] on, at least one, are worked on together. */
INLINE int64_t rows_together(const int64_t *indptr, int64_t n) {
  int64_t rows = 1;
  while (rows < n && indptr[rows + 1] - indptr[0] <= SPREAD_NNZ)
    rows++;
  return rows;
}

/* `spread` gets the factor of every value. Whatever the length of a row, it is written
 * `ahead` <= SPREAD_ROOM times, and what is too much is overwritten by the next row. */
#define DEFINE_SHORT(suffix, C)                                                                              \
  INLINE void spread_##suffix(const int64_t *indptr, int64_t n, const C *factors, int64_t ahead,             \
                              C *spread) {                                                                   \
    int64_t i = 0;                                                                                           \
    for (int64_t r = 0; r < n; r++) {                                                                        \
      const int64_t end = indptr[r + 1] - indptr[0];                                                         \
      for (int64_t k = 0; k < ahead; k += GROUP)                                                             \
        for (int j = 0; j < GROUP; j++)                                                                      \
          spread[i + k + j] = factors[r];                                                                    \
      for (i += ahead; i < end; i += GROUP)                                                                  \
        for (int j = 0; j < GROUP; j++)                                                                      \
          spread[i + j] = factors[r];                                                                        \
      i = end;                                                                                               \
    }                                                                                                        \
  }                                                                                                          \
                                                                                                             \
  INLINE void short_rows_##suffix(const csrn_transform *how, const void *data, csrn_dtype type,              \
                                  const int64_t *indptr, int64_t n, const C *factors, C *out) {              \
    _Alignas(64) C spread[SPREAD_NNZ + SPREAD_ROOM];                                                         \
    const int64_t mean = (indptr[n] - indptr[0]) / n, ahead = (mean + mean / 4) / GROUP * GROUP + GROUP;     \
    int64_t rows;                                                                                            \
    for (int64_t r = 0; r < n; r += rows) {                                                                  \
      rows = rows_together(indptr + r, n - r);                                                               \
      const int64_t begin = indptr[r], end = indptr[r + rows];                                               \
      if (rows == 1) {                                                                                       \
        step_##suffix(how->step, data, type, begin, end, factors[r], out);                                   \
      } else {                                                                                               \
        spread_##suffix(indptr + r, rows, factors + r, ahead, spread);                                       \
        spread_step_##suffix##_to_##suffix(how->step, data, type, begin, end, spread, out);                  \
      }                                                                                                      \
      if (how->log1p)                                                                                        \
        log1p_range_##suffix(out + begin, end - begin, how->log_base);                                       \
    }                                                                                                        \
  }

DEFINE_SHORT(f32, float)
DEFINE_SHORT(f64, double)
#undef DEFINE_SHORT

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
    if (how->step != CSRN_STEP_NONE && mean_is_short(how, indptr, n)) {                                      \
      short_rows_##suffix(how, data, type, indptr, n, factors, out);                                         \
      return;                                                                                                \
    }                                                                                                        \
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

/* Divides short rows together where vectors do that faster than short_rows_f32(). */
INLINE bool divide_short_rows(const csrn_transform *how, const void *data, csrn_dtype type,
                              const int64_t *indptr, int64_t n, const float *factors, float *out) {
#if CSRN_AVX512
  if (how->step == CSRN_STEP_DIVIDE && has_vec_load(type) && mean_is_short(how, indptr, n)) {
    for (int64_t r = 0, rows; r < n; r += rows) {
      rows = n - r < WIDTH ? n - r : WIDTH;
      divide_few_rows(data, type, indptr + r, rows, factors + r, out);
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

INLINE void plain_rows_f32(const csrn_transform *how, const void *data, csrn_dtype type,
                           const int64_t *indptr, int64_t n, const float *factors, float *out) {
  if (!divide_short_rows(how, data, type, indptr, n, factors, out))
    transform_rows_f32(how, data, type, indptr, n, factors, out);
}

INLINE void plain_rows_f64(const csrn_transform *how, const void *data, csrn_dtype type,
                           const int64_t *indptr, int64_t n, const double *factors, double *out) {
  transform_rows_f64(how, data, type, indptr, n, factors, out);
}

/* Rows some at a time, through tables where they are short and that pays. */
#define DEFINE_STRETCHES(suffix, C)                                                                          \
  INLINE void transform_stretches_##suffix(const csrn_transform *how, csrn_tables *tables, const void *data, \
                                           csrn_dtype type, const int64_t *indptr, int64_t n,                \
                                           const C *factors, C *out) {                                       \
    const bool tabled = tables && how->step == CSRN_STEP_DIVIDE && mean_is_short(how, indptr, n);            \
    int64_t rows;                                                                                            \
    for (int64_t r = 0; r < n; r += rows) {                                                                  \
      rows = tabled ? rows_together(indptr + r, n - r) : n;                                                  \
      if (!tabled || !tabled_rows_##suffix(tables, how, data, type, indptr + r, rows, factors + r, out))     \
        plain_rows_##suffix(how, data, type, indptr + r, rows, factors ? factors + r : NULL, out);           \
    }                                                                                                        \
  }

DEFINE_STRETCHES(f32, float)
DEFINE_STRETCHES(f64, double)
#undef DEFINE_STRETCHES

INLINE void transform_rows(const csrn_transform *how, csrn_tables *tables, const void *data, csrn_dtype type,
                           const int64_t *indptr, int64_t n, const void *factors, void *out) {
  if (how->arithmetic == CSRN_IN_F32_TO_F32) {
    transform_stretches_f32(how, tables, data, type, indptr, n, factors, out);
  } else if (how->arithmetic == CSRN_IN_F64_TO_F64) {
    transform_stretches_f64(how, tables, data, type, indptr, n, factors, out);
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
  static void transform_rows_of_##name(const csrn_transform *how, csrn_tables *tables, const void *data,     \
                                       const int64_t *indptr, int64_t n, const void *factors, void *out) {   \
    transform_rows(how, tables, data, code, indptr, n, factors, out);                                        \
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
