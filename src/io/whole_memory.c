/*
 * How much memory a matrix takes that is read as a whole, from the first byte of it that is read to the last
 * of the result that is written: for --memory, which refuses what would take more. And what a copy of an
 * .h5ad takes beside the matrix.
 */
#include "mtx_internal.h"
#include "stream.h"

#include <stdlib.h>
#include <string.h>

enum {
  LINE = 64,               /* of a text, with its entry: more than there are as a rule */
  HDF5_WRITER = 4 << 20,   /* of libhdf5 when it writes, */
  HDF5_CACHE = 14 << 20,   /* and of what it keeps of what it has read or written: measured, and as much */
  HDF5_LEAST = 4 << 20,    /* which it needs for any file */
  HDF5_NAME = 112,         /* for each: measured */
  VALUES_PER_THREAD = 8192 /* that sums columns: cpu_parallel.c */
};

static double larger(double a, double b) {
  return a > b ? a : b;
}

/* A file may claim what no integer holds. */
static int64_t as_bytes(double bytes) {
  return bytes < 0x1p60 ? (int64_t)bytes : (int64_t)1 << 60;
}

/* ---- Text ------------------------------------------------------------------- */

/* Entries are two coordinates of 4 bytes and a value of 8, of which the genes are freed when they are
 * grouped; where some name the same place, sums of 8 bytes an entry stand beside the matrix (mtx_read.c,
 * mtx_duplicates.c). A block of a thread, freed, may stay with the C library. Integers, and patterns that are
 * counted, may turn out wider than is said of them. */
static double text_bytes(const csrn_io_description *d, const mtx_state *state) {
  const csrn_dtype type = d->widest_type ? d->widest_type : d->data_type;
  const bool pattern = state->field == FIELD_PATTERN;
  const double value = state->field == FIELD_INTEGER ? 8 : (double)csrn_dtype_size(type);
  const double n = (double)d->nnz_file;
  const double block = n * LINE < CSRN_MTX_BLOCK ? n * LINE : CSRN_MTX_BLOCK;
  return block + n * (pattern ? 16 : larger(20, 16 + value));
}

int csrn_mtx_affordable_threads(const csrn_io_input *input, int wanted) {
  const mtx_state *state = input->state;
  if (input->memory <= 0)
    return wanted;
  const double entries = (double)state->nnz * (state->field == FIELD_PATTERN ? 8 : 16);
  const double n = ((double)input->memory - CSRN_IO_PROGRAM - entries) / CSRN_MTX_BLOCK;
  return n < 1 ? 1 : n < wanted ? (int)n : wanted;
}

int csrn_io_affordable_writers(const csrn_io_input *input, const csrn_io_matrix *matrix, int64_t each,
                               int wanted) {
  const csrn_csr *csr = &matrix->csr;
  if (!input || input->memory <= 0)
    return wanted;
  const double index = csr->indices ? (double)csrn_dtype_size(csr->indices_type) : 0;
  const double held = (double)csr->nnz * (index + (double)csrn_dtype_size(csr->data_type)) +
                      ((double)csr->n_rows + (double)csr->n_cols) * 24;
  const double n = ((double)input->memory - CSRN_IO_PROGRAM - held) / (double)each;
  return n < 1 ? 1 : n < wanted ? (int)n : wanted;
}

/* ---- Names -------------------------------------------------------------------- */

double csrn_io_table_bytes(const csrn_io_table *table) {
  double bytes = 0;
  for (int c = 0; c < table->n_columns; c++)
    for (int64_t i = 0; table->columns[c] && i < table->n_rows; i++) {
      const size_t length = table->columns[c][i] ? strlen(table->columns[c][i]) : 0;
      bytes += 8 + (length < 24 ? 32 : (double)length + 24);
    }
  return bytes;
}

/* ---- HDF5 --------------------------------------------------------------------- */

/* A chunk that filters have to undo, as it lies in the file and as it is. */
static double chunk_bytes(const csrn_hdf5_array *array) {
  double bytes = (double)csrn_dtype_size(array->type);
  if (array->chunk[0] == 0 || strcmp(array->filters, "none") == 0)
    return 0;
  for (int i = 0; i < array->rank; i++)
    bytes *= (double)array->chunk[i];
  const double stored = (double)H5Dget_storage_size(array->id);
  return bytes + (stored < bytes ? stored : bytes);
}

/* Values are read when all else is in memory; the chunk is gone when the result is made. What libhdf5 keeps,
 * up to some megabytes, stays. */
static double read_chunks(const csrn_io_input *input, double values) {
  const csrn_hdf5_input *state = input->state;
  if (input->description.format != CSRN_IO_H5AD && input->description.format != CSRN_IO_10X)
    return 0;
  const double before = state->dense ? 0 : chunk_bytes(&state->indices) - values;
  return larger(chunk_bytes(&state->data), before);
}

/* ---- All ---------------------------------------------------------------------- */

/* indptr; totals and factors of cells, or a number for each gene; and the sums of columns, by thread. */
static double lists_bytes(const csrn_io_input *input, const csrn_io_whole *whole) {
  const csrn_io_description *d = &input->description;
  const bool by_columns = d->format != CSRN_IO_MTX && csrn_stream_cells_are_columns(input);
  const double cells = (double)d->n_cells, genes = (double)d->n_genes;
  const double offset = d->indptr_type ? (double)csrn_dtype_size(d->indptr_type) : 8;
  const double useful = ((double)d->nnz_file + (by_columns ? genes : cells)) / VALUES_PER_THREAD + 1;
  const double threads = useful < whole->threads ? useful : whole->threads;
  const bool sums_columns = by_columns ? whole->sums_cells : whole->sums_genes;
  const double columns = sums_columns ? (by_columns ? cells : genes) * (17 + 16 * threads) : 0;
  return (by_columns ? genes : cells) * offset + cells * (8 + (double)csrn_dtype_size(whole->out_type)) +
         genes * 8 + columns;
}

double csrn_io_writer_bytes(const csrn_io_input *input, const csrn_io_output *output) {
  if (!output || csrn_io_output_format(output->path) != CSRN_IO_H5AD)
    return 0;
  const csrn_io_description *d = &input->description;
  const double names = ((double)d->n_cells + (double)d->n_genes) * HDF5_NAME;
  const double copied = d->format == CSRN_IO_H5AD ? (double)csrn_hdf5_copied_bytes(input->state) : 0;
  return HDF5_WRITER + (names < HDF5_CACHE ? names : HDF5_CACHE) + copied;
}

int64_t csrn_io_matrix_bytes(const csrn_io_input *input, const csrn_io_whole *whole) {
  const csrn_io_description *d = &input->description;
  const csrn_dtype type = d->widest_type ? d->widest_type : d->data_type;
  const double value = (double)csrn_dtype_size(type), out = (double)csrn_dtype_size(whole->out_type);
  const double index = d->indices_type ? (double)csrn_dtype_size(d->indices_type) : 4;
  const double entries =
      d->layout == CSRN_IO_DENSE ? (double)d->n_cells * (double)d->n_genes : (double)d->nnz_file;
  const double tried = entries < (double)whole->trial_values ? 0 : (double)whole->trial_values * out;
  const double result = larger(value == out ? 0 : entries * out, tried), values = entries * value;
  double matrix = entries * index + values;
  if (d->format == CSRN_IO_H5AD || d->format == CSRN_IO_10X)
    matrix += matrix / 4 + HDF5_LEAST < HDF5_CACHE ? matrix / 4 + HDF5_LEAST : HDF5_CACHE;
  matrix += larger(result, read_chunks(input, values));
  if (d->format == CSRN_IO_MTX)
    matrix = larger(matrix, text_bytes(d, input->state));
  return as_bytes(CSRN_IO_PROGRAM + matrix + lists_bytes(input, whole) + csrn_io_table_bytes(&input->cells) +
                  csrn_io_table_bytes(&input->genes) + csrn_io_writer_bytes(input, whole->output));
}
