/*
 * Logarithms of short rows of counts. A row of 60 values does not earn back a table of its
 * own; but rows with the same total have the same divisor, and matrices of short rows have
 * few different totals. So each thread keeps the tables that it has filled. Part of
 * kernels.c.
 *
 * A stretch of rows is first turned into bytes, whatever the lengths of its rows, with the
 * few values aside that are no small counts. Then each row goes through its table, further
 * than it is long, and the next one overwrites that: hardly a branch depends on the length
 * of a row. On a Zen 4, one thread, rows of 60 values in memory: 0.78 ns a value by the
 * formula, 0.53 this way.
 */
#ifndef CSRN_KERNEL_TABLES_H
#define CSRN_KERNEL_TABLES_H

#include "kernel_log.h"

enum {
  STRETCH_VALUES = 2048, /* of several rows */
  STRETCH_OTHERS = 64,   /* values of a stretch that are in no table, at most */
#if CSRN_VECTORS
  COUNTED = LOOKED_UP /* values that are turned into bytes together */
#else
  COUNTED = GROUP,
  BYTES_LOOKED_UP = GROUP
#endif
};

/* ---- Counts as bytes ------------------------------------------------------- */

/* bytes[0 .. COUNTED) = the counts from data[i] on; returns the bits of those that are not
 * small, in whose place anything is written. */
INLINE uint64_t small_counts(const void *data, csrn_dtype type, int64_t i, uint8_t *bytes) {
#if CSRN_VECTORS
  if (has_vec_load(type))
    return store_small_counts(data, type, i, bytes);
#endif
  uint32_t all = 0;
  uint64_t others = 0;
  _Pragma("omp simd reduction(| : all)") for (int k = 0; k < COUNTED; k++) {
    const uint32_t count = small_count(data, type, i + k);
    bytes[k] = (uint8_t)count;
    all |= count;
  }
  for (int k = 0; all >= TABLE_SIZE && k < COUNTED; k++)
    others |= (uint64_t)(small_count(data, type, i + k) >= TABLE_SIZE) << k;
  return others;
}

/* The next stretch is on its way while this one is worked on. */
INLINE void prefetch_stretch(const void *data, csrn_dtype type, int64_t i) {
#if CSRN_VECTORS
  prefetch(data, type, i, COUNTED / WIDTH, 4096);
#else
  (void)data, (void)type, (void)i;
#endif
}

/* The values of some rows: the small counts as bytes, the others with where they are, in
 * order. What is looked up together may begin with the last byte. */
#define DEFINE_STRETCH(suffix, C)                                                                            \
  typedef struct stretch_##suffix {                                                                          \
    int64_t n_others;                                                                                        \
    int64_t where[STRETCH_OTHERS + COUNTED];                                                                 \
    C others[STRETCH_OTHERS + COUNTED];                                                                      \
    _Alignas(64) uint8_t counts[STRETCH_VALUES + COUNTED + BYTES_LOOKED_UP];                                 \
  } stretch_##suffix;                                                                                        \
                                                                                                             \
  /* COUNTED values from data[i] on, which are those from s->counts[at] on. */                               \
  INLINE void count_##suffix(stretch_##suffix *s, int64_t at, const void *data, csrn_dtype type,             \
                             int64_t i) {                                                                    \
    for (uint64_t others = small_counts(data, type, i, s->counts + at); others; others &= others - 1) {      \
      const int64_t k = __builtin_ctzll(others);                                                             \
      s->counts[at + k] = 0;                                                                                 \
      s->where[s->n_others] = at + k;                                                                        \
      s->others[s->n_others++] = load_##suffix(data, type, i + k);                                           \
    }                                                                                                        \
  }                                                                                                          \
                                                                                                             \
  /* False, soon, if the values are no small counts. */                                                      \
  INLINE bool load_stretch_##suffix(stretch_##suffix *s, const void *data, csrn_dtype type, int64_t begin,   \
                                    int64_t n) {                                                             \
    const int64_t size = load_size(type);                                                                    \
    double rest[COUNTED]; /* of any type */                                                                  \
    int64_t i = 0;                                                                                           \
    s->n_others = 0;                                                                                         \
    for (; i + COUNTED <= n && s->n_others <= STRETCH_OTHERS; i += COUNTED) {                                \
      prefetch_stretch(data, type, begin + i);                                                               \
      count_##suffix(s, i, data, type, begin + i);                                                           \
    }                                                                                                        \
    if (i < n && s->n_others <= STRETCH_OTHERS) {                                                            \
      memset(rest, 0, (size_t)(COUNTED * size));                                                             \
      memcpy(rest, (const char *)data + (begin + i) * size, (size_t)((n - i) * size));                       \
      count_##suffix(s, i, rest, type, 0);                                                                   \
    }                                                                                                        \
    memset(s->counts + n, 0, BYTES_LOOKED_UP);                                                               \
    return s->n_others <= STRETCH_OTHERS;                                                                    \
  }

DEFINE_STRETCH(f32, float)
DEFINE_STRETCH(f64, double)
#undef DEFINE_STRETCH

/* ---- Kept tables ----------------------------------------------------------- */

#if CSRN_VECTORS
typedef vec_table log_table_f32;
#else
typedef struct log_table_f32 {
  float values[TABLE_SIZE];
} log_table_f32;
#endif
typedef struct log_table_f64 {
  double values[TABLE_SIZE];
} log_table_f64;

INLINE void keep_table_f32(log_table_f32 *table, const float *values) {
#if CSRN_VECTORS
  load_table(table, values);
#else
  memcpy(table, values, sizeof *table);
#endif
}

INLINE void keep_table_f64(log_table_f64 *table, const double *values) {
  memcpy(table, values, sizeof *table);
}

/* out[0 .. BYTES_LOOKED_UP) = table[counts[...]] */
INLINE void look_up_bytes_f32(const log_table_f32 *table, const uint8_t *counts, float *out) {
#if CSRN_VECTORS
  look_up_stored(table, counts, out);
#else
  for (int k = 0; k < BYTES_LOOKED_UP; k++)
    out[k] = table->values[counts[k]];
#endif
}

INLINE void look_up_bytes_f64(const log_table_f64 *table, const uint8_t *counts, double *out) {
  for (int k = 0; k < BYTES_LOOKED_UP; k++)
    out[k] = table->values[counts[k]];
}

#define DEFINE_TABLES(suffix, C, U)                                                                          \
  /* The table of a divisor. Its place is that of the total, so that neighbouring totals, which are whole    \
   * numbers, do not share one, as they would by chance. */                                                  \
  INLINE const log_table_##suffix *find_table_##suffix(csrn_tables *tables, const csrn_transform *how,       \
                                                       C divisor, int64_t *n_filled) {                       \
    const double total = (double)divisor * how->target + 0x1p52; /* in the low bits, rounded */              \
    uint64_t whole;                                                                                          \
    memcpy(&whole, &total, sizeof whole);                                                                    \
    const uint64_t place = whole % (sizeof tables->memory / sizeof(log_table_##suffix));                     \
    log_table_##suffix *table = (log_table_##suffix *)(void *)tables->memory + place;                        \
    U bits;                                                                                                  \
    memcpy(&bits, &divisor, sizeof bits);                                                                    \
    if (tables->divisors[place] != bits) {                                                                   \
      C values[TABLE_SIZE];                                                                                  \
      fill_table_##suffix(how, divisor, values);                                                             \
      keep_table_##suffix(table, values);                                                                    \
      tables->divisors[place] = bits;                                                                        \
      ++*n_filled;                                                                                           \
    }                                                                                                        \
    return table;                                                                                            \
  }                                                                                                          \
                                                                                                             \
  /* out[0 .. n) = table[counts[...]]; up to out[room) anything may be written, and `ahead` values are       \
   * before n is looked at. */                                                                               \
  INLINE void look_up_row_##suffix(const log_table_##suffix *table, const uint8_t *counts, int64_t n,        \
                                   int64_t ahead, int64_t room, C *out) {                                    \
    int64_t k = 0;                                                                                           \
    if (room >= ahead && room >= n + BYTES_LOOKED_UP) {                                                      \
      for (; k < ahead; k += BYTES_LOOKED_UP)                                                                \
        look_up_bytes_##suffix(table, counts + k, out + k);                                                  \
      for (; k < n; k += BYTES_LOOKED_UP)                                                                    \
        look_up_bytes_##suffix(table, counts + k, out + k);                                                  \
      return;                                                                                                \
    }                                                                                                        \
    for (C last[BYTES_LOOKED_UP]; k < n; k += BYTES_LOOKED_UP) {                                             \
      look_up_bytes_##suffix(table, counts + k, last);                                                       \
      memcpy(out + k, last, (size_t)(n - k < BYTES_LOOKED_UP ? n - k : BYTES_LOOKED_UP) * sizeof *out);      \
    }                                                                                                        \
  }                                                                                                          \
                                                                                                             \
  /* n rows by tables: out = log1p(data / divisors[r]). Does nothing and returns false where the formula is  \
   * better: for values that are no counts, or while the divisors are too different. */                      \
  INLINE bool tabled_rows_##suffix(csrn_tables *tables, const csrn_transform *how, const void *data,         \
                                   csrn_dtype type, const int64_t *indptr, int64_t n, const C *divisors,     \
                                   C *out) {                                                                 \
    const int64_t begin = indptr[0], nnz = indptr[n] - begin, mean = nnz / n;                                \
    const int64_t ahead = (mean + mean / 4 + BYTES_LOOKED_UP - 1) / BYTES_LOOKED_UP * BYTES_LOOKED_UP;       \
    stretch_##suffix s;                                                                                      \
    if (nnz > STRETCH_VALUES)                                                                                \
      return false;                                                                                          \
    if (tables->balance < 0) {                                                                               \
      tables->balance += nnz / 16; /* so that a little of what is ahead will be tried again */               \
      return false;                                                                                          \
    }                                                                                                        \
    if (!load_stretch_##suffix(&s, data, type, begin, nnz)) {                                                \
      tables->balance = -nnz;                                                                                \
      return false;                                                                                          \
    }                                                                                                        \
    int64_t other = 0, n_filled = 0;                                                                         \
    for (int64_t r = 0; r < n; r++) {                                                                        \
      const int64_t first = indptr[r] - begin, end = indptr[r + 1] - begin;                                  \
      const log_table_##suffix table = *find_table_##suffix(tables, how, divisors[r], &n_filled);            \
      look_up_row_##suffix(&table, s.counts + first, end - first, ahead, nnz - first, out + begin + first);  \
      for (; other < s.n_others && s.where[other] < end; other++) {                                          \
        C *value = out + begin + s.where[other];                                                             \
        *value = s.others[other] / divisors[r];                                                              \
        log1p_range_##suffix(value, 1, how->log_base);                                                       \
      }                                                                                                      \
    }                                                                                                        \
    tables->balance += nnz - n_filled * CSRN_TABLE_COST;                                                     \
    if (tables->balance > CSRN_TABLES_CREDIT)                                                                \
      tables->balance = CSRN_TABLES_CREDIT;                                                                  \
    return true;                                                                                             \
  }

DEFINE_TABLES(f32, float, uint32_t)
DEFINE_TABLES(f64, double, uint64_t)
#undef DEFINE_TABLES

#endif
