/*
 * Writes .h5ad: a copy of an .h5ad input with other values, or a new AnnData file
 * (encoding 0.1.0) from any other input, whose obs and var hold the names of its cells
 * and genes. Files are readable by every HDF5 since 1.8.
 */
#include "hdf5_util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- A new file ---- */

/* "0", "1", ... as the names of rows that have none. */
static char **number_names(int64_t n) {
  char **names = calloc((size_t)n + 1, sizeof *names);
  for (int64_t i = 0; names && i < n; i++) {
    names[i] = csrn_hdf5_format("%" PRId64, i);
    if (!names[i]) {
      csrn_hdf5_strings_free(names, i);
      names = NULL;
    }
  }
  return names;
}

static int write_columns(hid_t frame, const csrn_io_table *table) {
  static const char *const no_names[1] = {NULL};
  int n = table->n_columns > 1 ? table->n_columns - 1 : 0;
  int fault = csrn_hdf5_write_texts(frame, "column-order",
                                    (char *const *)(uintptr_t)(n ? table->names + 1 : no_names), n);
  for (int i = 1; !fault && i < table->n_columns; i++)
    fault = csrn_hdf5_write_string_array(frame, table->names[i], table->columns[i], table->n_rows);
  return fault;
}

/* Names go into datasets that say that they are UTF-8. */
static csrn_io_status check_names(const csrn_hdf5_file *file, const char *name, const csrn_io_table *table) {
  for (int c = 0; c < table->n_columns; c++) {
    if (!csrn_io_is_utf8(table->names[c]))
      return csrn_hdf5_refuse(file, "a column of %s has a name that is not UTF-8", name);
    for (int64_t i = 0; i < table->n_rows; i++)
      if (!csrn_io_is_utf8(table->columns[c][i]))
        return csrn_hdf5_refuse(file, "%s of row %" PRId64 " of %s is not UTF-8", table->names[c], i, name);
  }
  return CSRN_IO_OK;
}

/* obs or var with n rows; `table` may be NULL or empty. */
static csrn_io_status write_frame(const csrn_hdf5_file *file, const char *name, const csrn_io_table *table,
                                  int64_t n) {
  static const csrn_io_table empty;
  int named = table && table->n_columns > 0;
  if (named && table->n_rows != n)
    return csrn_hdf5_refuse(file, "%" PRId64 " names for %" PRId64 " rows of %s", table->n_rows, n, name);
  if (named && check_names(file, name, table))
    return CSRN_IO_FAILED;
  char **numbers = named ? NULL : number_names(n);
  char **index = named ? table->columns[0] : numbers;
  hid_t frame = index ? csrn_hdf5_create_group(file->id, name, "dataframe", "0.2.0") : -1;
  int fault = frame < 0 || csrn_hdf5_write_text(frame, "_index", "_index") ||
              csrn_hdf5_write_string_array(frame, "_index", index, n) ||
              write_columns(frame, named ? table : &empty);
  csrn_hdf5_close(frame);
  csrn_hdf5_strings_free(numbers, n);
  return fault ? csrn_hdf5_failed(file, "write", name) : CSRN_IO_OK;
}

/* One array of X, with the filters of the input's values (`model`) where it has a say. */
static csrn_io_status write_array(const csrn_hdf5_file *file, hid_t group, csrn_hdf5_values *values,
                                  hid_t model, const csrn_io_output *output, const csrn_io_progress *progress,
                                  hid_t *dataset) {
  int sparse = values->rank == 1;
  values->max[0] = sparse ? H5S_UNLIMITED : values->extent[0];
  values->max[1] = values->extent[1];
  hid_t storage = csrn_hdf5_storage(sparse ? model : -1, values->rank, values->extent, output->compression,
                                    output->level);
  if (storage < 0)
    return csrn_hdf5_failed(file, "prepare", values->name);
  /* Values that may grow, as anndata has them, need chunks; also where the model has none. */
  if (sparse && H5Pget_layout(storage) != H5D_CHUNKED)
    values->max[0] = values->extent[0];
  csrn_io_status status = csrn_hdf5_write_values(file, group, values, storage, progress, dataset);
  csrn_hdf5_close(storage);
  return status;
}

/* scipy can do nothing with uint64 here; below 2^63 int64 has the same bits. */
static csrn_dtype readable_type(csrn_dtype type) {
  return type == CSRN_U64 ? CSRN_I64 : type;
}

static csrn_io_status write_sparse(const csrn_hdf5_file *file, const csrn_io_matrix *matrix, hid_t model,
                                   const csrn_io_output *output, const csrn_io_progress *progress) {
  const csrn_csr *csr = &matrix->csr;
  int by_gene = matrix->cells == CSRN_PER_COLUMN;
  const int64_t shape[2] = {by_gene ? csr->n_cols : csr->n_rows, by_gene ? csr->n_rows : csr->n_cols};
  csrn_hdf5_values arrays[] = {
      {"data", "writing values", 1, {(hsize_t)csr->nnz, 0}, {0, 0}, csr->data_type, csr->data, csr->nnz},
      {"indices",
       "writing indices",
       1,
       {(hsize_t)csr->nnz, 0},
       {0, 0},
       readable_type(csr->indices_type),
       csr->indices,
       csr->nnz},
      {"indptr",
       NULL,
       1,
       {(hsize_t)csr->n_rows + 1, 0},
       {0, 0},
       readable_type(csr->indptr_type),
       csr->indptr,
       csr->n_rows + 1},
  };
  hid_t group = csrn_hdf5_create_group(file->id, "X", by_gene ? "csc_matrix" : "csr_matrix", "0.1.0");
  csrn_io_status status = CSRN_IO_OK;
  if (group < 0 || csrn_hdf5_write_integers(group, "shape", 2, shape))
    status = csrn_hdf5_failed(file, "write", "X");
  for (size_t i = 0; !status && i < sizeof arrays / sizeof arrays[0]; i++)
    status = write_array(file, group, &arrays[i], model, output, progress, NULL);
  csrn_hdf5_close(group);
  return status;
}

static csrn_io_status write_dense(const csrn_hdf5_file *file, const csrn_io_matrix *matrix,
                                  const csrn_io_output *output, const csrn_io_progress *progress) {
  const csrn_csr *csr = &matrix->csr;
  csrn_hdf5_values values = {
      "X",    "writing values", 2,         {(hsize_t)csr->n_rows, (hsize_t)csr->n_cols},
      {0, 0}, csr->data_type,   csr->data, csr->n_rows};
  hid_t dataset = -1;
  csrn_io_status status = write_array(file, file->id, &values, -1, output, progress, &dataset);
  if (!status && csrn_hdf5_write_encoding(dataset, "array", "0.2.0"))
    status = csrn_hdf5_failed(file, "encode", "X");
  csrn_hdf5_close(dataset);
  return status;
}

/* The dictionaries of an AnnData that holds only X, obs and var. */
static csrn_io_status write_rest(const csrn_hdf5_file *file) {
  static const char *const names[] = {"layers", "obsm", "obsp", "uns", "varm", "varp"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    hid_t group = csrn_hdf5_create_group(file->id, names[i], "dict", "0.1.0");
    if (group < 0)
      return csrn_hdf5_failed(file, "write", names[i]);
    csrn_hdf5_close(group);
  }
  return CSRN_IO_OK;
}

/* 10x files have a dataset of values whose storage can be kept; text files have not. */
static hid_t storage_model(const csrn_io_input *input) {
  if (!input || input->description.format != CSRN_IO_10X)
    return -1;
  const csrn_hdf5_input *state = input->state;
  return state->data.id;
}

static csrn_io_status write_new(const csrn_io_input *input, const csrn_io_matrix *matrix,
                                const csrn_io_output *output, const csrn_hdf5_file *file,
                                const csrn_io_progress *progress) {
  int by_gene = matrix->cells == CSRN_PER_COLUMN;
  int64_t n_cells = by_gene ? matrix->csr.n_cols : matrix->csr.n_rows;
  int64_t n_genes = by_gene ? matrix->csr.n_rows : matrix->csr.n_cols;
  csrn_io_status status = CSRN_IO_OK;
  if (csrn_hdf5_write_encoding(file->id, "anndata", "0.1.0"))
    status = csrn_hdf5_failed(file, "write", "the root");
  if (!status)
    status = matrix->dense ? write_dense(file, matrix, output, progress)
                           : write_sparse(file, matrix, storage_model(input), output, progress);
  if (!status)
    status = write_frame(file, "obs", input ? &input->cells : NULL, n_cells);
  if (!status)
    status = write_frame(file, "var", input ? &input->genes : NULL, n_genes);
  return status ? status : write_rest(file);
}

/* ---- Either ---- */

/* The order of links is kept where the input's root keeps one. */
static hid_t create_file(const char *path, const csrn_hdf5_input *like, csrn_hdf5_fault *fault) {
  hid_t properties = H5Pcreate(H5P_FILE_CREATE), file = -1;
  hid_t root = like ? H5Gopen2(like->file.id, "/", H5P_DEFAULT) : -1;
  hid_t root_properties = root < 0 ? -1 : H5Gget_create_plist(root);
  unsigned order = 0;
  if (root_properties >= 0)
    H5Pget_link_creation_order(root_properties, &order);
  if (properties >= 0 && H5Pset_link_creation_order(properties, order) >= 0 &&
      (root < 0 || !csrn_hdf5_allow_dense_attributes(root, properties)))
    file = csrn_hdf5_create_file(path, properties, fault);
  csrn_hdf5_close(root_properties);
  csrn_hdf5_close(root);
  csrn_hdf5_close(properties);
  return file;
}

/* Whether `matrix` has the structure of the input's, so that its values can take their place. */
static csrn_io_status check_structure(const csrn_hdf5_input *state, const csrn_io_matrix *matrix,
                                      const csrn_hdf5_file *file) {
  const csrn_csr *csr = &matrix->csr;
  if (csr->n_rows == state->n_rows && csr->n_cols == state->n_cols && csr->nnz == state->nnz &&
      !matrix->dense == !state->dense)
    return CSRN_IO_OK;
  return csrn_hdf5_refuse(file,
                          "a matrix of %" PRId64 " x %" PRId64 " with %" PRId64
                          " values cannot replace %s of %" PRId64 " x %" PRId64 " with %" PRId64,
                          csr->n_rows, csr->n_cols, csr->nnz, state->matrix, state->n_rows, state->n_cols,
                          state->nnz);
}

/* Closes the output; what the system refused of it, or of the input where that is HDF5, too, is the reason
 * for whatever came of it. */
static csrn_io_status finish(const csrn_hdf5_file *file, const csrn_hdf5_input *input,
                             csrn_io_status status) {
  if (file->id >= 0 && !status && H5Fflush(file->id, H5F_SCOPE_LOCAL) < 0)
    status = csrn_hdf5_failed(file, "write", "the file");
  if (file->id >= 0 && H5Fclose(file->id) < 0 && !status)
    status = csrn_hdf5_failed(file, "close", "the file");
  status = csrn_hdf5_settle(file, status);
  return input ? csrn_hdf5_settle(&input->file, status) : status;
}

static int64_t cells_of(const csrn_io_matrix *matrix) {
  return matrix->cells == CSRN_PER_COLUMN ? matrix->csr.n_cols : matrix->csr.n_rows;
}

csrn_io_status csrn_hdf5_write_copy(csrn_hdf5_input *input, const csrn_io_matrix *matrix,
                                    const csrn_io_output *output, const char *path, csrn_hdf5_fill fill,
                                    void *user, const csrn_io_progress *progress, csrn_io_error *error) {
  csrn_hdf5_fault fault = {.writes = true};
  csrn_hdf5_file file = {-1, output->path, error, &fault};
  csrn_io_output filled = *output;
  input->file.error = error;
  csrn_io_status status = check_structure(input, matrix, &file);
  if (!status)
    status = csrn_hdf5_check_places(&input->file, output);
  if (status)
    return csrn_hdf5_settle(&input->file, status);
  file.id = create_file(path, input, &fault);
  if (file.id < 0)
    status = csrn_hdf5_failed(&file, "create", "the file");
  else
    status = csrn_hdf5_copy_h5ad(input, matrix, output, &file, progress);
  if (!status && fill)
    status = fill(user, &file, &filled);
  if (!status)
    status = csrn_hdf5_annotate(&file, &filled, cells_of(matrix));
  return finish(&file, input, status);
}

csrn_io_status csrn_hdf5_write_new(csrn_io_input *input, const csrn_io_matrix *matrix,
                                   const csrn_io_output *output, const char *path, csrn_hdf5_fill fill,
                                   void *user, const csrn_io_progress *progress, csrn_io_error *error) {
  csrn_hdf5_fault fault = {.writes = true};
  csrn_hdf5_file file = {create_file(path, NULL, &fault), output->path, error, &fault};
  csrn_io_output filled = *output;
  csrn_hdf5_input *state = NULL;
  if (input && input->description.format == CSRN_IO_10X) {
    state = input->state;
    state->file.error = error;
  }
  csrn_io_status status = file.id < 0 ? csrn_hdf5_failed(&file, "create", "the file")
                                      : write_new(input, matrix, output, &file, progress);
  if (!status && fill)
    status = fill(user, &file, &filled);
  if (!status)
    status = csrn_hdf5_annotate(&file, &filled, cells_of(matrix));
  return finish(&file, state, status);
}

csrn_io_status csrn_io_write_h5ad(csrn_io_input *input, const csrn_io_matrix *matrix,
                                  const csrn_io_output *output, const char *path,
                                  const csrn_io_progress *progress, csrn_io_error *error) {
  csrn_hdf5_begin();
  if (input && input->description.format == CSRN_IO_H5AD)
    return csrn_hdf5_write_copy(input->state, matrix, output, path, NULL, NULL, progress, error);
  return csrn_hdf5_write_new(input, matrix, output, path, NULL, NULL, progress, error);
}
