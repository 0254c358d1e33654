/*
 * Between the parts of reading MatrixMarket: what the header of a file says, its entries, and
 * those of them that name the same place.
 */
#ifndef CSRN_MTX_INTERNAL_H
#define CSRN_MTX_INTERNAL_H

#include "text_input.h"

typedef enum mtx_field { FIELD_INTEGER, FIELD_REAL, FIELD_PATTERN } mtx_field;

typedef struct mtx_state {
  csrn_text *text;
  mtx_field field;
  csrn_dtype real_type; /* as our own writer notes it for reals; CSRN_NONE: the values decide */
  bool cells_in_rows;
  int64_t n_rows, n_cols, nnz; /* as the header has them */
  bool consumed;               /* the text is behind its header */
} mtx_state;

/* A value of either kind; what the file's field does not need is not set. */
typedef union mtx_value {
  double real;
  int64_t integer;
} mtx_value;

/* Entries as they come. */
typedef struct mtx_entries {
  int64_t n;
  int32_t *cells, *genes;
  mtx_value *values; /* NULL for pattern files */
  bool fits_i32, fits_f32;
} mtx_entries;

bool csrn_mtx_allocate(const mtx_state *state, int64_t n, mtx_entries *entries);
void csrn_mtx_free(mtx_entries *entries);

/* Reads all entries of a text that is behind its header, by so many threads; entries has room for those that
 * the header says. */
csrn_io_status csrn_mtx_read_entries(const csrn_io_input *input, int threads, mtx_entries *entries,
                                     const csrn_io_progress *progress, csrn_io_error *error);

/* ---- text_names.c ---- */

/* Finds the files of names beside a matrix, and looks through them. */
csrn_io_status csrn_mtx_find_names(csrn_io_input *input, csrn_io_error *error);

/* ---- whole_memory.c ---- */

/* Bytes that a thread reads text with, at most: a block of it, and its entries. */
enum { CSRN_MTX_BLOCK = 4 << 20 };
/* As many of the threads wanted as the input's memory is enough for, beside the entries; at least one. */
int csrn_mtx_affordable_threads(const csrn_io_input *input, int wanted);

/* ---- mtx_duplicates.c ---- */

/* Whether entries of a matrix of int64 and int32 indices, grouped by cell, name the same place; -1 without
 * memory. */
int csrn_mtx_has_duplicates(const csrn_csr *csr);
/* Adds those up, each at the place of the first and in the order of the file. */
csrn_io_status csrn_mtx_add_duplicates(const csrn_io_input *input, csrn_csr *csr, csrn_io_error *error);

/* ---- mtx_read.c ---- */

/* The type of the values of a field: integers and reals are as wide as they need to be. */
csrn_dtype csrn_mtx_type(mtx_field field, bool fits_i32, bool fits_f32);
/* data[i] = value */
void csrn_mtx_store(mtx_value value, void *data, csrn_dtype type, int64_t i);

#endif
