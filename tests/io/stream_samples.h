/*
 * Matrices for the tests of the streaming engine, with rows of every kind: empty, single, and around
 * the 4,096 elements that are summed at once; and the comparison of two results.
 */
#ifndef CSRN_STREAM_SAMPLES_H
#define CSRN_STREAM_SAMPLES_H

#include "hdf5_samples.h"

enum { ROWS = 12, COLUMNS = 9000, CELLS = 16 /* of a CSC matrix, whose genes are the rows */ };

typedef struct stream_case {
  const char *filters; /* of sample_storage(); NULL: not chunked */
  int chunk;
  /* ODD: NaN, infinities, -0, negative numbers; ALMOST: a value in each 1,000 that is nearly a count;
   * WIDE: of magnitudes that no float64 sum holds; LARGE: 8,192 of them are 2^63. */
  enum { COUNTS, REALS, ODD, ALMOST, WIDE, LARGE } values;
  csrn_dtype type;
  int64_t unit;
  int threads;
  int64_t memory;
} stream_case;

int64_t total_length(void);

/* "in.h5ad", whose values, indices and indptr are of the case's kinds, with so many values behind the last
 * row. */
void make_matrix(const stream_case *c, int csc, hid_t indices_type, hid_t indptr_type, int spare);
/* The same with a dense matrix, with zeros, in tiles. */
void make_dense(const stream_case *c, hsize_t height, hsize_t width);
/* "in.h5", a 10x file: of every third feature the type is another; of version 2 with no types. APART: the
 * chunks of the indices are of another size than those of the values; ABSENT: the type is another of the
 * first features alone, of which no cell has any. */
typedef enum sample_kind { USUAL, APART, ABSENT } sample_kind;
void make_10x(const stream_case *c, int v3, hid_t indices_type, sample_kind kind);

void expect_same_dataset(hid_t one, hid_t other, const char *path);
/* Matrix, factors and encodings, with their storage. */
void expect_same_files(const char *one, const char *other);

#endif
