/*
 * Small HDF5 files made for the tests of the .h5ad and 10x formats, and looking into the
 * files that come out. All hold the same matrix, of 4 rows and 5 columns:
 *
 *     1 . . 2 .
 *     . . . . .
 *     . 4 5 . 3      stored in the order 3, 4, 5
 *     . . 6 . .
 */
#ifndef CSRN_HDF5_SAMPLES_H
#define CSRN_HDF5_SAMPLES_H

#include "io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <hdf5.h>

enum { SAMPLE_ROWS = 4, SAMPLE_COLUMNS = 5, SAMPLE_NNZ = 6 };
extern const int64_t sample_indptr[SAMPLE_ROWS + 1];
extern const int64_t sample_indices[SAMPLE_NNZ];
extern const double sample_values[SAMPLE_NNZ];
extern const double sample_dense[SAMPLE_ROWS * SAMPLE_COLUMNS];

/* A directory of this program for its files, removed with all in it at the end; the path of
 * a file in it, valid until the eighth call after. */
int sample_setup(void **state);
int sample_teardown(void **state);
const char *sample_path(const char *name);
/* The bytes of a whole file, to be freed. */
char *sample_read_bytes(const char *path, size_t *n);
extern csrn_context *sample_context;
/* The test that comes after the others: whatever failed, every identifier has been closed. */
void sample_nothing_open(void **state);

/* How a sparse group is made; zeros are the usual: float32, int32, int32, one chunk, csr. */
typedef struct sample_options {
  hid_t data_type, indices_type, indptr_type; /* in the file */
  hid_t storage;                              /* of data and indices */
  int csc, old, fixed_texts;
} sample_options;

hid_t sample_create(const char *name);
void sample_text(hid_t object, const char *name, const char *text);
void sample_fixed_text(hid_t object, const char *name, const char *text);
void sample_integers(hid_t object, const char *name, int n, const int64_t *values);
void sample_dataset(hid_t group, const char *name, hid_t file_type, hid_t storage, int rank,
                    const hsize_t *extent, hid_t memory_type, const void *values);
void sample_strings(hid_t group, const char *name, int n, const char *const *texts);
void sample_fixed_strings(hid_t group, const char *name, int n, size_t size, const char *const *texts);
/* The matrix above as a group, and as an array. */
void sample_sparse(hid_t location, const char *name, const sample_options *options);
void sample_array(hid_t location, const char *name, hid_t type, hid_t storage);
/* obs or var with n rows named prefix0, prefix1, ... */
void sample_frame(hid_t file, const char *name, int n, const char *prefix);
/* Root attributes, obs and var for the matrix above. */
void sample_annotation(hid_t file);
/* A whole file: X, obs, var. */
void sample_h5ad(const char *name, const sample_options *options);
/* Makes an object of a closed file one that libhdf5 cannot open. */
void sample_spoil(const char *name, const char *path);
/* Creation properties: chunks of `chunk` values and, for each letter of `filters`, s shuffle,
 * g gzip, l lzf, f fletcher32, z szip. */
hid_t sample_storage(hsize_t chunk, const char *filters);

/* Opens and reads, or fails the test with the message. */
csrn_io_input *sample_open(const char *path, const csrn_io_select *select);
void sample_read(csrn_io_input *input, csrn_io_matrix *matrix);
/* Writes "in.h5ad" to "out.h5ad", with its own values; and opens that, or fails the test. */
csrn_io_status sample_copy(const csrn_io_select *select, csrn_io_output output, csrn_io_error *error);
hid_t sample_copied(const csrn_io_select *select, csrn_io_output output);
/* Opens and reads, which must fail with `status` and a sentence that has all of the words. */
void sample_refused(const char *path, const csrn_io_select *select, csrn_io_status status, ...);

double sample_element(const void *values, csrn_dtype type, int64_t i);
/* That the matrix is the one above. */
void sample_expect(const csrn_io_matrix *matrix, csrn_dtype type);

/* ---- Looking into a file ---- */

/* A dataset of at most n values as doubles; fails the test if there are not n. */
void sample_load(hid_t file, const char *path, int n, double *values);
/* The texts of a dataset, or of an attribute of an object, joined by "|"; valid until the
 * next call. */
const char *sample_texts(hid_t file, const char *path, const char *attribute);
int sample_has(hid_t file, const char *path);

#endif
