/*
 * Sample matrices: see sample.h. Nothing here depends on the library's arithmetic or on
 * libm, so that the same seed is the same matrix everywhere.
 */
#include "sample.h"

#include <stdlib.h>
#include <string.h>

#define TYPE_CODE(code, type) code,
const csrn_dtype data_types[N_DATA_TYPES] = {SAMPLE_DATA_TYPES(TYPE_CODE)};
const csrn_dtype index_types[N_INDEX_TYPES] = {SAMPLE_INDEX_TYPES(TYPE_CODE)};

bool is_real(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_F64;
}

bool is_signed(csrn_dtype type) {
  return is_real(type) || type == CSRN_I32 || type == CSRN_I64;
}

/* ---- Elements ------------------------------------------------------------- */

#define ALL_TYPES(X)                                                                                         \
  SAMPLE_DATA_TYPES(X)                                                                                       \
  X(CSRN_U64, uint64_t)

double load_f64(csrn_dtype type, const void *array, int64_t i) {
#define CASE(code, ctype)                                                                                    \
  case code:                                                                                                 \
    return (double)((const ctype *)array)[i];
  switch (type) {
    ALL_TYPES(CASE)
  default:
    abort();
  }
#undef CASE
}

float load_f32(csrn_dtype type, const void *array, int64_t i) {
#define CASE(code, ctype)                                                                                    \
  case code:                                                                                                 \
    return (float)((const ctype *)array)[i];
  switch (type) {
    ALL_TYPES(CASE)
  default:
    abort();
  }
#undef CASE
}

int128 load_int(csrn_dtype type, const void *array, int64_t i) {
#define CASE(code, ctype)                                                                                    \
  case code:                                                                                                 \
    return (int128)((const ctype *)array)[i];
  switch (type) {
    ALL_TYPES(CASE)
  default:
    abort();
  }
#undef CASE
}

void store_f64(csrn_dtype type, void *array, int64_t i, double x) {
#define CASE(code, ctype)                                                                                    \
  case code:                                                                                                 \
    ((ctype *)array)[i] = (ctype)x;                                                                          \
    break;
  switch (type) {
    ALL_TYPES(CASE)
  default:
    abort();
  }
#undef CASE
}

void store_int(csrn_dtype type, void *array, int64_t i, int64_t x) {
#define CASE(code, ctype)                                                                                    \
  case code:                                                                                                 \
    ((ctype *)array)[i] = (ctype)x;                                                                          \
    break;
  switch (type) {
    ALL_TYPES(CASE)
  default:
    abort();
  }
#undef CASE
}

/* ---- Random numbers ------------------------------------------------------- */

uint64_t random_bits(uint64_t *seed) {
  uint64_t z = (*seed += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

int64_t random_below(uint64_t *seed, int64_t n) {
  return (int64_t)(random_bits(seed) % (uint64_t)n);
}

double random_unit(uint64_t *seed) {
  return (double)(random_bits(seed) >> 11) * 0x1p-53;
}

/* ---- Values --------------------------------------------------------------- */

static int64_t random_count(uint64_t *seed) {
  int64_t kind = random_below(seed, 1000);
  if (kind < 30)
    return 0;
  if (kind < 900)
    return 1 + random_below(seed, 31);
  if (kind < 960)
    return 32 + random_below(seed, 32);
  if (kind < 997)
    return 64 + random_below(seed, 1000);
  return (INT64_C(1) << 24) + random_below(seed, 1000);
}

/* Largest count that a type holds; smaller types wrap below it. */
static int64_t count_limit(csrn_dtype type) {
  return type == CSRN_U8 ? UINT8_MAX : type == CSRN_U16 ? UINT16_MAX : INT32_MAX;
}

/* A significand of 53 bits times 2^-spread .. 2^spread. */
static double random_real(uint64_t *seed, int spread) {
  double x = 1.0 + random_unit(seed);
  for (int64_t k = random_below(seed, 2 * spread + 1) - spread; k != 0; k -= k > 0 ? 1 : -1)
    x = k > 0 ? x * 2.0 : x * 0.5;
  return x;
}

/* Any bits of a real; `wild` ones may be NaN or infinite. Special values are frequent. */
static double random_real_bits(csrn_dtype type, bool wild, uint64_t *seed) {
  for (;;) {
    uint64_t bits = random_bits(seed);
    if (type == CSRN_F32) {
      static const uint32_t special[] = {0x80000000u, 0x00000001u, 0x007FFFFFu, 0x00800000u, 0x7F7FFFFFu,
                                         0xFF7FFFFFu, 0x7F800000u, 0xFF800000u, 0x7FC00000u, 0x3F800000u};
      uint32_t half = bits % 4 == 0 ? special[(bits >> 32) % COUNT(special)] : (uint32_t)(bits >> 32);
      float x;
      memcpy(&x, &half, sizeof x);
      if (wild || (half & 0x7F800000u) != 0x7F800000u)
        return (double)x;
    } else {
      static const uint64_t special[] = {0x8000000000000000u, 0x0000000000000001u, 0x000FFFFFFFFFFFFFu,
                                         0x0010000000000000u, 0x7FEFFFFFFFFFFFFFu, 0xFFEFFFFFFFFFFFFFu,
                                         0x7FF0000000000000u, 0xFFF0000000000000u, 0x7FF8000000000000u,
                                         0x3FF0000000000000u};
      uint64_t whole = bits % 4 == 0 ? special[(bits >> 32) % COUNT(special)] : bits;
      double x;
      memcpy(&x, &whole, sizeof x);
      if (wild || (whole & 0x7FF0000000000000u) != 0x7FF0000000000000u)
        return x;
    }
  }
}

/* Any integer; int64 ones within +-2^48, so that sums of many stay in range. */
static int64_t random_integer(csrn_dtype type, uint64_t *seed) {
  int64_t bits = (int64_t)random_bits(seed);
  return type == CSRN_I64 ? bits / (1 << 15) : bits;
}

void sample_value(csrn_dtype type, void *array, int64_t i, sample_values kind, uint64_t *seed) {
  if (kind == SAMPLE_LOW)
    store_int(type, array, i, 1 + random_below(seed, 31));
  else if (kind == SAMPLE_COUNTS)
    store_int(type, array, i, random_count(seed) % (count_limit(type) + 1));
  else if (!is_real(type))
    store_int(type, array, i,
              kind == SAMPLE_POSITIVE ? 1 + random_below(seed, count_limit(type))
                                      : random_integer(type, seed));
  else if (kind == SAMPLE_POSITIVE)
    store_f64(type, array, i, random_real(seed, 6));
  else if (kind == SAMPLE_REALS)
    store_f64(type, array, i, (random_bits(seed) & 1 ? 1.0 : -1.0) * random_real(seed, 16));
  else
    store_f64(type, array, i, random_real_bits(type, kind == SAMPLE_WILD, seed));
}

/* ---- Matrices ------------------------------------------------------------- */

static void **host_arrays;
static size_t n_host_arrays;

void *host_array(int64_t n, size_t size) {
  void **grown = realloc(host_arrays, (n_host_arrays + 1) * sizeof *grown);
  assert_non_null(grown);
  host_arrays = grown;
  void *memory = calloc(n > 0 ? (size_t)n : 1, size);
  assert_non_null(memory);
  host_arrays[n_host_arrays++] = memory;
  return memory;
}

void host_release(void) {
  for (size_t i = 0; i < n_host_arrays; i++)
    free(host_arrays[i]);
  free(host_arrays);
  host_arrays = NULL;
  n_host_arrays = 0;
}

sample sample_make(const sample_shape *shape, csrn_dtype type, sample_values kind, uint64_t seed) {
  sample m = {shape->n_rows, shape->n_cols, shape->lead, NULL, NULL, NULL, type};
  m.indptr = host_array(m.n_rows + 1, sizeof *m.indptr);
  m.indptr[0] = shape->lead;
  for (int64_t i = 0; i < m.n_rows; i++)
    m.indptr[i + 1] = m.indptr[i] + shape->lengths[i];
  m.nnz = m.indptr[m.n_rows] + shape->tail;
  m.indices = host_array(m.nnz, sizeof *m.indices);
  m.data = host_array(m.nnz, csrn_dtype_size(type));
  if (m.nnz)
    memset(m.data, 0xFF, (size_t)m.nnz * csrn_dtype_size(type));
  for (int64_t j = 0; j < m.nnz; j++)
    m.indices[j] = INT64_MAX;
  for (int64_t j = m.indptr[0]; j < m.indptr[m.n_rows]; j++) {
    m.indices[j] = random_below(&seed, m.n_cols);
    sample_value(type, m.data, j, kind, &seed);
  }
  return m;
}

sample sample_literal(int64_t n_rows, int64_t n_cols, const int64_t *indptr, const int64_t *indices,
                      csrn_dtype type, const double *values) {
  sample m = {n_rows, n_cols, indptr[n_rows], NULL, NULL, NULL, type};
  m.indptr = host_array(n_rows + 1, sizeof *m.indptr);
  memcpy(m.indptr, indptr, (size_t)(n_rows + 1) * sizeof *m.indptr);
  m.indices = host_array(m.nnz, sizeof *m.indices);
  m.data = host_array(m.nnz, csrn_dtype_size(type));
  for (int64_t j = 0; j < m.nnz; j++) {
    m.indices[j] = indices ? indices[j] : 0;
    store_f64(type, m.data, j, values[j]);
  }
  return m;
}

static const void *place_integers(const int64_t *values, int64_t n, csrn_dtype type) {
  void *converted = calloc(n > 0 ? (size_t)n : 1, 8);
  assert_non_null(converted);
  for (int64_t i = 0; i < n; i++)
    store_int(type, converted, i, values[i]);
  void *placed = place_input(converted, n, csrn_dtype_size(type));
  free(converted);
  return placed;
}

csrn_csr sample_place(const sample *m, layout how) {
  csrn_csr A = {.n_rows = m->n_rows,
                .n_cols = m->n_cols,
                .nnz = m->nnz,
                .indptr = place_integers(m->indptr, m->n_rows + 1, how.indptr),
                .indices = place_integers(m->indices, m->nnz, how.indices),
                .indptr_type = how.indptr,
                .indices_type = how.indices,
                .data_type = m->type};
  size_t size = csrn_dtype_size(m->type);
  A.data = how.in_place ? place_inout(m->data, m->nnz, size) : place_input(m->data, m->nnz, size);
  return A;
}

/* ---- Shapes --------------------------------------------------------------- */

const int64_t boundary_lengths[] = {
    0,    1,    2,    3,    4,    5,    7,    8,    9,    15,   16,   17,   24,  31,  32,    33,    47,
    48,   60,   63,   64,   65,   95,   96,   97,   127,  128,  129,  0,    255, 256, 257,   500,   1000,
    1023, 1024, 1025, 4063, 4064, 4095, 4096, 4097, 4128, 8191, 8192, 8193, 0,   0,   12288, 20000, 50000};
const int64_t n_boundary_lengths = COUNT(boundary_lengths);

sample_shape boundary_shape(int64_t longest, int64_t n_cols) {
  int64_t *lengths = host_array(n_boundary_lengths, sizeof *lengths);
  int64_t n = 0;
  for (int64_t i = 0; i < n_boundary_lengths; i++)
    if (boundary_lengths[i] <= longest)
      lengths[n++] = boundary_lengths[i];
  return (sample_shape){lengths, n, n_cols, 0, 0};
}

sample_shape random_shape(int64_t n_rows, int64_t mean, int64_t n_cols, uint64_t seed) {
  int64_t *lengths = host_array(n_rows, sizeof *lengths);
  for (int64_t i = 0; i < n_rows; i++)
    lengths[i] = random_below(&seed, 2 * mean + 1);
  return (sample_shape){lengths, n_rows, n_cols, 0, 0};
}
