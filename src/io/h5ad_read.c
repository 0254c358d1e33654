/*
 * Reads AnnData's .h5ad: X, a layer or raw/X, stored as CSR, CSC or dense, in the
 * encoding of today (encoding-type, shape) and in those before anndata 0.7
 * (h5sparse_format, h5sparse_shape, raw.X).
 */
#include "hdf5_util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int recognizes(const char *path, const unsigned char magic[8]) {
  csrn_hdf5_begin();
  const int is_10x = csrn_hdf5_is_hdf5(magic) ? csrn_hdf5_is_10x(path) : 1;
  return is_10x < 0 ? is_10x : !is_10x;
}

/* ---- Which matrix ---- */

/* The layers, and by which name raw/X, where there is one: "raw", but beside a layer of that name "raw/X". */
static char **list_layers(hid_t file, int has_raw, const char **raw) {
  char **layers = csrn_hdf5_list(file, "layers");
  size_t n = 0;
  while (layers && layers[n])
    n++;
  *raw = layers && csrn_hdf5_list_has(layers, "raw") ? "raw/X" : "raw";
  if (!layers || !has_raw)
    return layers;
  char **longer = realloc(layers, (n + 2) * sizeof *layers);
  if (!longer || !(longer[n] = strdup(*raw))) {
    csrn_hdf5_list_free(longer ? longer : layers);
    return NULL;
  }
  longer[n + 1] = NULL;
  return longer;
}

static csrn_io_status refuse_missing(const csrn_hdf5_input *input, const char *layer) {
  char layers[512];
  hid_t file = input->file.id;
  csrn_hdf5_list_text(input->layers, layers, sizeof layers);
  if (layer && csrn_hdf5_kind_of(file, "layers") == CSRN_HDF5_UNREADABLE)
    return csrn_hdf5_refuse_kind(&input->file, "layers", CSRN_HDF5_UNREADABLE);
  if (layer)
    return csrn_hdf5_refuse(&input->file, "there is no layer \"%s\"; layers: %s", layer, layers);
  if (csrn_hdf5_kind_of(file, "obs") == CSRN_HDF5_MISSING &&
      csrn_hdf5_kind_of(file, "var") == CSRN_HDF5_MISSING)
    return csrn_hdf5_refuse(&input->file, "an HDF5 file, but neither AnnData (no X, obs or var) nor 10x "
                                          "(no group with barcodes, data, indices and indptr)");
  return csrn_hdf5_refuse(&input->file,
                          csrn_hdf5_kind_of(file, "X") == CSRN_HDF5_DANGLING
                              ? "X is a link to another file, or to nothing; layers: %s"
                              : "X is missing; layers: %s",
                          layers);
}

/* Finds the matrix and stores its path. */
static csrn_io_status choose(csrn_hdf5_input *input, const char *layer) {
  hid_t file = input->file.id;
  csrn_hdf5_kind raw_kind = csrn_hdf5_kind_of(file, "raw"), x_kind = csrn_hdf5_kind_of(file, "X");
  const char *raw_path = raw_kind == CSRN_HDF5_GROUP || raw_kind == CSRN_HDF5_UNREADABLE ? "raw/X" : "raw.X";
  const int has_raw = csrn_hdf5_kind_of(file, raw_path) != CSRN_HDF5_MISSING;
  const char *raw;
  input->layers = list_layers(file, has_raw, &raw);
  if (!input->layers)
    return csrn_hdf5_no_memory(&input->file, "the list of layers", 0);
  int found = layer ? csrn_hdf5_list_has(input->layers, layer)
                    : x_kind != CSRN_HDF5_MISSING && x_kind != CSRN_HDF5_DANGLING;
  if (!found)
    return refuse_missing(input, layer);
  if (!layer)
    input->matrix = strdup("X");
  else if (!strcmp(layer, raw) && has_raw)
    input->matrix = strdup(raw_path);
  else
    input->matrix = csrn_hdf5_format("layers/%s", layer);
  return input->matrix
             ? CSRN_IO_OK
             : csrn_hdf5_no_memory(&input->file, "the name of the matrix", layer ? strlen(layer) : 1);
}

/* ---- Its shape ---- */

static csrn_io_status read_shape(const csrn_hdf5_input *input, hid_t group, const char *name,
                                 int64_t shape[2]) {
  hid_t attribute = H5Aexists(group, name) > 0 ? H5Aopen(group, name, H5P_DEFAULT) : -1;
  int fault = attribute < 0 || csrn_hdf5_integers(attribute, 2, shape);
  csrn_hdf5_close(attribute);
  if (fault)
    return csrn_hdf5_refuse(&input->file, "%s: the attribute %s is missing or does not hold two integers",
                            input->matrix, name);
  if (shape[0] < 0 || shape[1] < 0 || shape[0] == INT64_MAX || shape[1] == INT64_MAX)
    return csrn_hdf5_refuse(&input->file,
                            "%s: %s is %" PRId64 " x %" PRId64 ", which is no shape of a matrix",
                            input->matrix, name, shape[0], shape[1]);
  return CSRN_IO_OK;
}

/* The format ("csr", "csc") and shape of a sparse group, of either encoding. */
static csrn_io_status read_encoding(const csrn_hdf5_input *input, hid_t group, int *is_csc,
                                    int64_t shape[2]) {
  char *type = csrn_hdf5_text_attribute(group, "encoding-type");
  const char *shape_name = "shape";
  if (!type) {
    type = csrn_hdf5_text_attribute(group, "h5sparse_format");
    shape_name = "h5sparse_shape";
  }
  csrn_io_status status = CSRN_IO_OK;
  if (!type)
    status = csrn_hdf5_refuse(&input->file,
                              "%s: a group with neither encoding-type nor h5sparse_format, "
                              "expected a sparse matrix or a dense dataset",
                              input->matrix);
  else if (strcmp(type, "csr_matrix") && strcmp(type, "csc_matrix") && strcmp(type, "csr") &&
           strcmp(type, "csc"))
    status = csrn_hdf5_refuse(&input->file, "%s: encoding-type is \"%s\", expected csr_matrix or csc_matrix",
                              input->matrix, type);
  else {
    *is_csc = !strncmp(type, "csc", 3);
    status = read_shape(input, group, shape_name, shape);
  }
  free(type);
  return status;
}

static csrn_io_status open_sparse(csrn_hdf5_input *input, csrn_io_description *description) {
  hid_t group = H5Gopen2(input->file.id, input->matrix, H5P_DEFAULT);
  if (group < 0)
    return csrn_hdf5_failed(&input->file, "open", input->matrix);
  int is_csc = 0;
  int64_t shape[2] = {0, 0};
  csrn_io_status status = read_encoding(input, group, &is_csc, shape);
  csrn_hdf5_close(group);
  if (status)
    return status;
  description->layout = is_csc ? CSRN_IO_CSC : CSRN_IO_CSR;
  description->n_cells = shape[0];
  description->n_genes = shape[1];
  input->n_rows = shape[is_csc];
  input->n_cols = shape[!is_csc];
  return csrn_hdf5_sparse_open(input);
}

static csrn_io_status open_dense(csrn_hdf5_input *input, csrn_io_description *description) {
  input->dense = 1;
  csrn_io_status status =
      csrn_hdf5_array_open(&input->file, input->matrix, 2, CSRN_HDF5_VALUES, &input->data);
  if (status)
    return status;
  description->layout = CSRN_IO_DENSE;
  description->n_cells = input->n_rows = (int64_t)input->data.extent[0];
  description->n_genes = input->n_cols = (int64_t)input->data.extent[1];
  if (input->n_rows > 0 && input->n_cols > INT64_MAX / 16 / input->n_rows)
    return csrn_hdf5_refuse(&input->file,
                            "%s claims %" PRId64 " x %" PRId64 " elements, more than any file holds",
                            input->matrix, input->n_rows, input->n_cols);
  input->nnz = input->n_rows * input->n_cols;
  return CSRN_IO_OK;
}

/* ---- Its cells and genes ---- */

static csrn_io_status check_frame(const csrn_hdf5_input *input, const char *frame, int64_t n) {
  int64_t length = csrn_hdf5_frame_length(input->file.id, frame);
  if (length < 0 || length == n)
    return CSRN_IO_OK;
  return csrn_hdf5_refuse(&input->file, "%s has %" PRId64 " %s, expected %" PRId64 ", the rows of %s",
                          input->matrix, n, strcmp(frame, "obs") ? "genes" : "cells", length, frame);
}

static csrn_io_status check_frames(const csrn_hdf5_input *input, const csrn_io_description *description) {
  const char *var = !strcmp(input->matrix, "raw/X")   ? "raw/var"
                    : !strcmp(input->matrix, "raw.X") ? "raw.var"
                                                      : "var";
  csrn_io_status status = check_frame(input, "obs", description->n_cells);
  return status ? status : check_frame(input, var, description->n_genes);
}

/* ---- The reader ---- */

static csrn_io_status refuse_options(const csrn_hdf5_file *file, const csrn_io_select *select) {
  if (select->genome)
    return csrn_hdf5_refuse(file, "a genome was chosen: only 10x files have genomes");
  if (select->feature_types)
    return csrn_hdf5_refuse(file, "feature types were chosen: only 10x files have feature types");
  if (select->cells == CSRN_IO_CELLS_COLUMNS)
    return csrn_hdf5_refuse(file, "cells were said to be columns: an h5ad file has its cells in rows");
  return CSRN_IO_OK;
}

static csrn_io_status open_parts(csrn_io_input *input, const csrn_io_select *select) {
  csrn_io_description *description = &input->description;
  csrn_hdf5_input *state = input->state;
  csrn_io_status status = refuse_options(&state->file, select);
  if (!status)
    status = choose(state, select->layer);
  if (status)
    return status;
  csrn_hdf5_kind kind = csrn_hdf5_kind_of(state->file.id, state->matrix);
  status = kind == CSRN_HDF5_GROUP ? open_sparse(state, description) : open_dense(state, description);
  if (!status)
    status = check_frames(state, description);
  if (status)
    return status;
  description->format = CSRN_IO_H5AD;
  description->format_name = "AnnData h5ad";
  description->matrix_name = state->matrix;
  csrn_hdf5_describe(state, description);
  return CSRN_IO_OK;
}

static csrn_io_status open_h5ad(csrn_io_input *input, const csrn_io_select *select, csrn_io_error *error) {
  csrn_io_status status = csrn_hdf5_input_open(input, error);
  if (!status)
    status = open_parts(input, select);
  return csrn_hdf5_settle_input(input, status);
}

static csrn_io_status read_h5ad(csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                                const csrn_io_progress *progress, csrn_io_error *error) {
  (void)ctx;
  csrn_hdf5_begin();
  csrn_hdf5_input *state = input->state;
  state->file.error = error;
  memset(matrix, 0, sizeof *matrix);
  matrix->cells = input->description.layout == CSRN_IO_CSC ? CSRN_PER_COLUMN : CSRN_PER_ROW;
  csrn_io_status status = csrn_hdf5_settle(&state->file, csrn_hdf5_matrix_read(state, matrix, progress));
  if (status)
    csrn_io_matrix_free(matrix);
  return status;
}

const csrn_io_reader csrn_io_h5ad_reader = {recognizes, open_h5ad, read_h5ad, csrn_hdf5_input_close};
