/*
 * Sample matrices in host memory, from fixed seeds, and access to their elements by
 * type. The list of data types is here once; every test goes through it.
 */
#ifndef CSRN_TEST_SAMPLE_H
#define CSRN_TEST_SAMPLE_H

#include "fixture.h"

#define SAMPLE_DATA_TYPES(X)                                                                                 \
  X(CSRN_F32, float)                                                                                         \
  X(CSRN_F64, double)                                                                                        \
  X(CSRN_U8, uint8_t)                                                                                        \
  X(CSRN_U16, uint16_t)                                                                                      \
  X(CSRN_U32, uint32_t)                                                                                      \
  X(CSRN_I32, int32_t)                                                                                       \
  X(CSRN_I64, int64_t)
#define SAMPLE_INDEX_TYPES(X)                                                                                \
  X(CSRN_I32, int32_t)                                                                                       \
  X(CSRN_I64, int64_t)                                                                                       \
  X(CSRN_U8, uint8_t)                                                                                        \
  X(CSRN_U16, uint16_t)                                                                                      \
  X(CSRN_U32, uint32_t)                                                                                      \
  X(CSRN_U64, uint64_t)

enum { N_DATA_TYPES = 7, N_INDEX_TYPES = 6 };
extern const csrn_dtype data_types[N_DATA_TYPES];
extern const csrn_dtype index_types[N_INDEX_TYPES];

bool is_real(csrn_dtype type);
bool is_signed(csrn_dtype type);

__extension__ typedef __int128 int128;

/* Element i as float64 or float32 (rounded once), or of an integer array exactly. */
double load_f64(csrn_dtype type, const void *array, int64_t i);
float load_f32(csrn_dtype type, const void *array, int64_t i);
int128 load_int(csrn_dtype type, const void *array, int64_t i);
/* Element i = x, converted as C does. */
void store_f64(csrn_dtype type, void *array, int64_t i, double x);
void store_int(csrn_dtype type, void *array, int64_t i, int64_t x);

/* ---- Random numbers: splitmix64 ---- */

uint64_t random_bits(uint64_t *seed);
int64_t random_below(uint64_t *seed, int64_t n); /* 0 .. n-1 */
double random_unit(uint64_t *seed);              /* [0, 1) */

/* ---- Matrices ---- */

typedef enum sample_values {
  SAMPLE_LOW,      /* counts of 1 to 31 */
  SAMPLE_COUNTS,   /* mostly below 32, some to 63, some to 1,000, a few beyond 2^24, some zeros */
  SAMPLE_POSITIVE, /* reals (or integers) of a few orders of magnitude */
  SAMPLE_REALS,    /* the same of both signs, and wider */
  SAMPLE_FINITE,   /* any finite bits: subnormals, huge, -0; any integer */
  SAMPLE_WILD      /* the same with NaN and Inf */
} sample_values;

typedef struct sample_shape {
  const int64_t *lengths; /* [n_rows]: stored values of each row */
  int64_t n_rows, n_cols;
  int64_t lead, tail; /* entries before the first and behind the last row, full of garbage */
} sample_shape;

typedef struct sample {
  int64_t n_rows, n_cols, nnz;
  int64_t *indptr;  /* [n_rows + 1] */
  int64_t *indices; /* [nnz], unsorted, with duplicates */
  void *data;       /* [nnz] */
  csrn_dtype type;
} sample;

/* Host memory, zeroed, until the end of the test or host_release(). */
void *host_array(int64_t n, size_t size);
void host_release(void);

sample sample_make(const sample_shape *shape, csrn_dtype type, sample_values kind, uint64_t seed);
/* From literals: values are converted to `type`. */
sample sample_literal(int64_t n_rows, int64_t n_cols, const int64_t *indptr, const int64_t *indices,
                      csrn_dtype type, const double *values);
/* One random value of a kind. */
void sample_value(csrn_dtype type, void *array, int64_t i, sample_values kind, uint64_t *seed);

/* How a matrix is given to the library. */
typedef struct layout {
  csrn_dtype indptr, indices; /* their types */
  bool in_place;              /* the output is A.data */
} layout;
#define LAYOUT(indptr, indices) ((layout){CSRN_##indptr, CSRN_##indices, false})
#define LAYOUT_DEFAULT          LAYOUT(I64, I32)
#define LAYOUT_IN_PLACE         ((layout){CSRN_I64, CSRN_I32, true})

/* The matrix in guarded buffers; the data may be changed by calls if in_place. */
csrn_csr sample_place(const sample *m, layout how);

/* Lengths around every boundary of lanes, vectors and blocks; 50,000 at the end. */
extern const int64_t boundary_lengths[];
extern const int64_t n_boundary_lengths;
/* The same without those above `longest`. */
sample_shape boundary_shape(int64_t longest, int64_t n_cols);
/* n rows of lengths 0 .. 2 * mean, from a seed. */
sample_shape random_shape(int64_t n_rows, int64_t mean, int64_t n_cols, uint64_t seed);

#endif
