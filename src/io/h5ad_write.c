/*
 * Writes .h5ad: a copy of an .h5ad input with other values, or a new AnnData file
 * (encoding 0.1.0) from any other input, whose obs and var hold the names of its cells
 * and genes. Files are readable by every HDF5 since 1.8.
 */
#include "decimal.h"
#include "hdf5_util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- A new file ---- */

/* Names go into datasets that say that they are UTF-8. */
static csrn_io_status check_names(const csrn_hdf5_file *file, const char *name, const csrn_io_table *table) {
  for (int c = 0; c < table->n_columns; c++) {
    if (!csrn_io_is_utf8(table->names[c]))
      return csrn_hdf5_refuse(file, "a column of %s has a name that is not UTF-8", name);
    for (int64_t i = 0; table->columns[c] && i < table->n_rows; i++)
      if (!csrn_io_is_utf8(table->columns[c][i]))
        return csrn_hdf5_refuse(file, "%s of row %" PRId64 " of %s is not UTF-8", table->names[c], i, name);
  }
  return CSRN_IO_OK;
}

/* A frame that is being written. */
struct frame {
  const csrn_hdf5_file *file;
  const char *name;
  const csrn_io_table *table; /* without columns: the rows are numbered */
  int64_t n;
  hid_t columns[CSRN_IO_COLUMNS]; /* datasets, the first being the index */
};

static csrn_io_status write_failed(const struct frame *frame) {
  return csrn_hdf5_failed(frame->file, "write", frame->name);
}

/* The group with its datasets, which are left open. */
static csrn_io_status make_frame(struct frame *frame) {
  static const char *const no_names[1] = {NULL};
  const csrn_io_table *table = frame->table;
  const int n = table->n_columns > 1 ? table->n_columns - 1 : 0;
  hid_t group = csrn_hdf5_create_group(frame->file->id, frame->name, "dataframe", "0.2.0");
  int fault = group < 0 || csrn_hdf5_write_text(group, "_index", "_index") ||
              (frame->columns[0] = csrn_hdf5_make_string_array(group, "_index", frame->n)) < 0 ||
              csrn_hdf5_write_texts(group, "column-order",
                                    (char *const *)(uintptr_t)(n ? table->names + 1 : no_names), n);
  for (int c = 1; !fault && c < table->n_columns; c++)
    fault = (frame->columns[c] = csrn_hdf5_make_string_array(group, table->names[c], frame->n)) < 0;
  csrn_hdf5_close(group);
  return fault ? write_failed(frame) : CSRN_IO_OK;
}

/* Rows that have no names have "0", "1", .... */
static csrn_io_status write_numbers(const struct frame *frame) {
  enum { LONGEST = 21 };
  char *digits = malloc((size_t)CSRN_NAMES_AT_ONCE * LONGEST);
  char **texts = malloc(CSRN_NAMES_AT_ONCE * sizeof *texts);
  int fault = !digits || !texts;
  for (int64_t start = 0, n; !fault && start < frame->n; start += n) {
    n = frame->n - start < CSRN_NAMES_AT_ONCE ? frame->n - start : CSRN_NAMES_AT_ONCE;
    for (int64_t i = 0; i < n; i++) {
      texts[i] = digits + i * LONGEST;
      texts[i][csrn_format_integer(texts[i], start + i)] = '\0';
    }
    fault = csrn_hdf5_write_strings(frame->columns[0], start, n, texts) || !csrn_hdf5_is_sound(frame->file);
  }
  free(texts);
  free(digits);
  return fault ? write_failed(frame) : CSRN_IO_OK;
}

/* Names that are in a text file. */
static csrn_io_status write_from_text(const struct frame *frame) {
  csrn_names *names = csrn_names_open(frame->table, frame->file->error);
  csrn_io_status status = names ? CSRN_IO_OK : CSRN_IO_FAILED;
  for (int64_t start = 0, n = 1; !status && n > 0; start += n) {
    n = csrn_names_next(names, frame->file->error);
    status = n < 0 ? CSRN_IO_FAILED : CSRN_IO_OK;
    for (int c = 0; !status && c < frame->table->n_columns; c++)
      if (csrn_hdf5_write_strings(frame->columns[c], start, n, csrn_names_column(names, c)) ||
          !csrn_hdf5_is_sound(frame->file))
        status = write_failed(frame);
  }
  csrn_names_close(names);
  return status;
}

static csrn_io_status write_names(const struct frame *frame) {
  const csrn_io_table *table = frame->table;
  if (table->n_columns == 0)
    return write_numbers(frame);
  if (table->path)
    return write_from_text(frame);
  for (int c = 0; c < table->n_columns; c++)
    if (csrn_hdf5_write_strings(frame->columns[c], 0, frame->n, table->columns[c]))
      return write_failed(frame);
  return CSRN_IO_OK;
}

/* obs or var with n rows; `table` may be NULL or empty. */
static csrn_io_status write_frame(const csrn_hdf5_file *file, const char *name, const csrn_io_table *table,
                                  int64_t n) {
  static const csrn_io_table empty;
  struct frame frame = {.file = file, .name = name, .table = table ? table : &empty, .n = n};
  if (frame.table->n_columns > 0 && frame.table->n_rows != n)
    return csrn_hdf5_refuse(file, "%" PRId64 " names for %" PRId64 " rows of %s", frame.table->n_rows, n,
                            name);
  if (check_names(file, name, frame.table))
    return CSRN_IO_FAILED;
  for (int c = 0; c < CSRN_IO_COLUMNS; c++)
    frame.columns[c] = -1;
  csrn_io_status status = make_frame(&frame);
  if (!status)
    status = write_names(&frame);
  for (int c = 0; c < CSRN_IO_COLUMNS; c++)
    csrn_hdf5_close(frame.columns[c]);
  return status;
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
