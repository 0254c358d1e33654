/*
 * The matrix of an open .h5ad or 10x file: the state that both readers keep, the checks
 * of data, indices and indptr against each other, and reading them. What can be found out
 * from metadata and the last element of indptr is found out at opening.
 */
#include "hdf5_util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

csrn_io_status csrn_hdf5_input_open(csrn_io_input *input, csrn_io_error *error) {
  csrn_hdf5_begin();
  csrn_hdf5_input *state = calloc(1, sizeof *state);
  if (!state)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory", input->path);
  input->state = state;
  state->file.path = input->path;
  state->file.error = error;
  state->file.fault = &state->fault;
  state->file.id = csrn_hdf5_open_file(input->path, &state->fault);
  return state->file.id < 0 ? csrn_hdf5_failed(&state->file, "open", "it as an HDF5 file") : CSRN_IO_OK;
}

void csrn_hdf5_input_close(csrn_io_input *input) {
  csrn_hdf5_input *state = input->state;
  if (!state)
    return;
  csrn_hdf5_begin();
  csrn_hdf5_array_close(&state->data);
  csrn_hdf5_array_close(&state->indices);
  csrn_hdf5_array_close(&state->indptr);
  csrn_hdf5_close(state->file.id);
  csrn_hdf5_list_free(state->layers);
  csrn_hdf5_list_free(state->genomes);
  csrn_hdf5_list_free(state->feature_types);
  csrn_hdf5_list_free(state->feature_names);
  free(state->matrix);
  free(state->column_of);
  free(state);
  input->state = NULL;
}

csrn_io_status csrn_hdf5_settle_input(const csrn_io_input *input, csrn_io_status status) {
  const csrn_hdf5_input *state = input->state;
  return state ? csrn_hdf5_settle(&state->file, status) : status;
}

void csrn_hdf5_describe(const csrn_hdf5_input *input, csrn_io_description *description) {
  static const char *const nothing[] = {NULL};
#define LIST(list) ((list) ? (const char *const *)(list) : nothing)
  description->data_type = input->data.type;
  description->indices_type = input->dense ? CSRN_NONE : input->indices.type;
  description->indptr_type = input->dense ? CSRN_NONE : input->indptr.type;
  description->nnz = description->nnz_file = input->nnz;
  description->chunk = (int64_t)(input->data.chunk[0] * (input->dense ? input->data.chunk[1] : 1));
  description->filters = input->data.filters;
  description->layers = LIST(input->layers);
  description->genomes = LIST(input->genomes);
  description->feature_types = LIST(input->feature_types);
#undef LIST
}

static int64_t dataset_length(hid_t location, const char *path) {
  hsize_t extent[1] = {0};
  hid_t dataset = H5Dopen2(location, path, H5P_DEFAULT);
  hid_t space = dataset < 0 ? -1 : H5Dget_space(dataset);
  int64_t length = -1;
  if (space >= 0 && H5Sget_simple_extent_ndims(space) == 1 &&
      H5Sget_simple_extent_dims(space, extent, NULL) == 1)
    length = (int64_t)extent[0];
  csrn_hdf5_close(space);
  csrn_hdf5_close(dataset);
  H5Eclear2(H5E_DEFAULT);
  return length;
}

int64_t csrn_hdf5_frame_length(hid_t file, const char *frame) {
  csrn_hdf5_kind kind = csrn_hdf5_kind_of(file, frame);
  if (kind != CSRN_HDF5_GROUP)
    return kind == CSRN_HDF5_DATASET ? dataset_length(file, frame) : -1;
  hid_t group = H5Gopen2(file, frame, H5P_DEFAULT);
  char *index = group < 0 ? NULL : csrn_hdf5_text_attribute(group, "_index");
  int64_t length = -1;
  if (index && csrn_hdf5_kind_of(group, index) == CSRN_HDF5_DATASET)
    length = dataset_length(group, index);
  free(index);
  csrn_hdf5_close(group);
  return length;
}

/* ---- Opening the three arrays ---- */

static csrn_io_status open_part(csrn_hdf5_input *input, const char *name, csrn_hdf5_use use,
                                csrn_hdf5_array *array) {
  char *path = csrn_hdf5_format("%s/%s", input->matrix, name);
  if (!path)
    return csrn_hdf5_no_memory(&input->file, name, strlen(name));
  csrn_io_status status = csrn_hdf5_array_open(&input->file, path, 1, use, array);
  free(path);
  return status;
}

/* nnz: the last element of indptr. */
static csrn_io_status read_nnz(csrn_hdf5_input *input) {
  const hsize_t offset = input->indptr.extent[0] - 1, one = 1;
  if (csrn_hdf5_check_chunks(&input->file, input->indptr.id, input->indptr.path, offset, one))
    return CSRN_IO_FAILED;
  hid_t from = H5Dget_space(input->indptr.id), to = H5Screate_simple(1, &one, NULL);
  int fault = from < 0 || to < 0 ||
              H5Sselect_hyperslab(from, H5S_SELECT_SET, &offset, NULL, &one, NULL) < 0 ||
              H5Dread(input->indptr.id, H5T_NATIVE_INT64, to, from, H5P_DEFAULT, &input->nnz) < 0;
  csrn_hdf5_close(from);
  csrn_hdf5_close(to);
  if (fault)
    return csrn_hdf5_failed(&input->file, "read", input->indptr.path);
  if (input->nnz < 0)
    return csrn_hdf5_refuse(&input->file, "%s ends with %" PRId64 ", expected the number of stored values",
                            input->indptr.path, input->nnz);
  return CSRN_IO_OK;
}

static csrn_io_status check_length(const csrn_hdf5_input *input, const csrn_hdf5_array *array) {
  if (array->extent[0] >= (uint64_t)input->nnz)
    return CSRN_IO_OK;
  return csrn_hdf5_refuse(&input->file, "%s has %llu values, expected %" PRId64 ", the last element of %s",
                          array->path, (unsigned long long)array->extent[0], input->nnz, input->indptr.path);
}

csrn_io_status csrn_hdf5_sparse_open(csrn_hdf5_input *input) {
  csrn_io_status status = open_part(input, "indptr", CSRN_HDF5_INDICES, &input->indptr);
  if (!status)
    status = open_part(input, "indices", CSRN_HDF5_INDICES, &input->indices);
  if (!status)
    status = open_part(input, "data", CSRN_HDF5_VALUES, &input->data);
  if (!status && input->indptr.extent[0] != (uint64_t)input->n_rows + 1)
    status = csrn_hdf5_refuse(&input->file, "%s has %llu elements, expected %" PRId64 " for the shape of %s",
                              input->indptr.path, (unsigned long long)input->indptr.extent[0],
                              input->n_rows + 1, input->matrix);
  if (!status)
    status = read_nnz(input);
  if (!status)
    status = check_length(input, &input->indices);
  return status ? status : check_length(input, &input->data);
}

/* ---- Reading ---- */

/* indptr of a matrix that stores every element. */
static csrn_io_status make_dense_rows(const csrn_hdf5_input *input, csrn_csr *csr) {
  int64_t *indptr = malloc(((uint64_t)input->n_rows + 1) * sizeof *indptr);
  if (!indptr)
    return csrn_hdf5_no_memory(&input->file, "the list of rows",
                               ((uint64_t)input->n_rows + 1) * sizeof *indptr);
  for (int64_t i = 0; i <= input->n_rows; i++)
    indptr[i] = i * input->n_cols;
  csr->indptr = indptr;
  csr->indptr_type = CSRN_I64;
  return CSRN_IO_OK;
}

static csrn_io_status read_sparse(const csrn_hdf5_input *input, csrn_csr *csr,
                                  const csrn_io_progress *progress) {
  const csrn_hdf5_file *file = &input->file;
  void *indptr = NULL, *indices = NULL;
  csrn_io_status status =
      csrn_hdf5_array_read(file, &input->indptr, input->n_rows + 1, "reading indptr", progress, &indptr);
  csr->indptr = indptr;
  csr->indptr_type = input->indptr.type;
  if (!status && csrn_io_integer_at(indptr, csr->indptr_type, 0) != 0)
    status = csrn_hdf5_refuse(file, "%s starts with %" PRId64 ", expected 0", input->indptr.path,
                              csrn_io_integer_at(indptr, csr->indptr_type, 0));
  if (!status)
    status = csrn_hdf5_array_read(file, &input->indices, input->nnz, "reading indices", progress, &indices);
  csr->indices = indices;
  csr->indices_type = input->indices.type;
  if (!status)
    status = csrn_hdf5_array_read(file, &input->data, input->nnz, "reading values", progress, &csr->data);
  return status;
}

csrn_io_status csrn_hdf5_matrix_read(csrn_hdf5_input *input, csrn_io_matrix *matrix,
                                     const csrn_io_progress *progress) {
  csrn_csr *csr = &matrix->csr;
  csr->n_rows = input->n_rows;
  csr->n_cols = input->n_cols;
  csr->nnz = input->nnz;
  csr->data_type = input->data.type;
  matrix->dense = input->dense;
  if (!input->dense)
    return read_sparse(input, csr, progress);
  csrn_io_status status = make_dense_rows(input, csr);
  return status ? status
                : csrn_hdf5_array_read(&input->file, &input->data, input->n_rows, "reading values", progress,
                                       &csr->data);
}
