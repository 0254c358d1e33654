/*
 * Sparse matrices as scipy.sparse.save_npz() writes them: a zip, by libzip, of the arrays
 * data, indices, indptr, shape and format.
 */
#include "npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zip.h>

typedef struct npz_state {
  zip_t *zip;
  csrn_npy data, indices, indptr;
  int64_t shape[2];
  bool csc, cells_in_columns;
} npz_state;

static int recognizes_npz(const char *path, const unsigned char magic[8]) {
  (void)path;
  return memcmp(magic, "PK\x03\x04", 4) == 0;
}

static csrn_io_status fail_member(const csrn_io_input *input, const char *name, const char *what,
                                  csrn_io_error *error) {
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s %s", input->path, name, what);
}

/* ---- Reading ---------------------------------------------------------------- */

/* Reads up to n bytes; -1 for an error. */
static int64_t read_bytes(zip_file_t *file, char *to, int64_t n, const csrn_io_progress *progress) {
  int64_t done = 0;
  while (done < n) {
    int64_t part = n - done < (1 << 24) ? n - done : 1 << 24;
    zip_int64_t got = zip_fread(file, to + done, (zip_uint64_t)part);
    if (got < 0 || !csrn_io_proceed(progress, "reading", done, n))
      return -1;
    if (got == 0)
      break;
    done += got;
  }
  return done;
}

/* Parses a member's header, and checks that the member is as long as it says. */
static csrn_io_status read_header(const csrn_io_input *input, const char *name, csrn_npy *npy,
                                  csrn_io_error *error) {
  const npz_state *state = input->state;
  unsigned char bytes[1200];
  zip_stat_t status;
  zip_file_t *file = zip_fopen(state->zip, name, 0);
  if (!file || zip_stat(state->zip, name, 0, &status) != 0) {
    if (file)
      zip_fclose(file);
    return fail_member(input, name, "is missing or cannot be opened: is this from scipy.sparse.save_npz?",
                       error);
  }
  int64_t n = read_bytes(file, (char *)bytes, sizeof bytes, NULL);
  zip_fclose(file);
  if (n < 0 || !csrn_npy_parse(bytes, (size_t)n, npy))
    return fail_member(input, name, "is damaged or no one-dimensional array of numbers", error);
  if ((uint64_t)npy->n > (uint64_t)INT64_MAX / 16 / npy->size ||
      status.size - npy->data_offset != (uint64_t)npy->n * npy->size)
    return fail_member(input, name, "is shorter or longer than its header says", error);
  return CSRN_IO_OK;
}

/* Reads a member's elements into malloc'ed memory, as npy->type where that is a number. */
static csrn_io_status read_values(const csrn_io_input *input, const char *name, const csrn_npy *npy,
                                  void **values, const csrn_io_progress *progress, csrn_io_error *error) {
  const npz_state *state = input->state;
  const size_t memory = csrn_dtype_size(npy->type);
  const size_t bytes = (size_t)npy->n * npy->size;
  char header[1200];
  *values = malloc((size_t)npy->n * (memory > npy->size ? memory : npy->size) + 1);
  if (!*values)
    return fail_member(input, name, "does not fit into memory", error);
  zip_file_t *file = zip_fopen(state->zip, name, 0);
  bool done = file &&
              read_bytes(file, header, (int64_t)npy->data_offset, NULL) == (int64_t)npy->data_offset &&
              read_bytes(file, *values, (int64_t)bytes, progress) == (int64_t)bytes;
  /* The checksum is compared only at the end of the member. */
  done = done && zip_fread(file, header, 1) == 0;
  if (file)
    zip_fclose(file);
  if (done) {
    if (npy->type != CSRN_NONE)
      csrn_npy_convert(npy, *values);
    return CSRN_IO_OK;
  }
  free(*values);
  *values = NULL;
  return fail_member(input, name, "cannot be read: the file is damaged", error);
}

/* The text of format.npy, "csr" say, from either kind of string. */
static csrn_io_status read_layout(csrn_io_input *input, csrn_io_error *error) {
  npz_state *state = input->state;
  csrn_npy npy;
  void *values = NULL;
  char text[16] = "";
  csrn_io_status status = read_header(input, "format.npy", &npy, error);
  if (!status && npy.n != 1)
    status = fail_member(input, "format.npy", "is not one word", error);
  if (!status)
    status = read_values(input, "format.npy", &npy, &values, NULL, error);
  if (status)
    return status;
  const size_t step = npy.kind == 'U' ? 4 : 1;
  for (size_t i = 0; i < npy.size / step && i < sizeof text - 1; i++)
    text[i] = ((const char *)values)[i * step + (npy.kind == 'U' && npy.swapped ? 3 : 0)];
  free(values);
  state->csc = strcmp(text, "csc") == 0;
  if (!state->csc && strcmp(text, "csr") != 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: the sparse format is \"%s\"; expected csr or csc",
                        input->path, text);
  return CSRN_IO_OK;
}

static csrn_io_status read_shape(csrn_io_input *input, csrn_io_error *error) {
  npz_state *state = input->state;
  csrn_npy npy;
  void *values = NULL;
  csrn_io_status status = read_header(input, "shape.npy", &npy, error);
  if (!status && (npy.n != 2 || (npy.type != CSRN_I64 && npy.type != CSRN_I32)))
    status = fail_member(input, "shape.npy", "does not hold two integers", error);
  if (!status)
    status = read_values(input, "shape.npy", &npy, &values, NULL, error);
  for (int i = 0; !status && i < 2; i++)
    state->shape[i] = npy.type == CSRN_I64 ? ((const int64_t *)values)[i] : ((const int32_t *)values)[i];
  free(values);
  if (!status && (state->shape[0] < 0 || state->shape[1] < 0))
    status = fail_member(input, "shape.npy", "is negative", error);
  return status;
}

static csrn_io_status read_headers(csrn_io_input *input, csrn_io_error *error) {
  npz_state *state = input->state;
  csrn_io_status status = read_layout(input, error);
  if (!status)
    status = read_shape(input, error);
  if (!status)
    status = read_header(input, "data.npy", &state->data, error);
  if (!status)
    status = read_header(input, "indices.npy", &state->indices, error);
  if (!status)
    status = read_header(input, "indptr.npy", &state->indptr, error);
  if (status)
    return status;
  if (state->data.type == CSRN_NONE)
    return fail_member(input, "data.npy", "does not hold numbers", error);
  if (!strchr("iu", state->indices.kind) || !strchr("iu", state->indptr.kind))
    return fail_member(input, "indices.npy or indptr.npy", "does not hold integers", error);
  if (state->indices.n != state->data.n)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %" PRId64 " indices for %" PRId64 " values", input->path,
                        state->indices.n, state->data.n);
  if (state->indptr.n != state->shape[state->csc] + 1)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: indptr has %" PRId64 " elements; expected %" PRId64,
                        input->path, state->indptr.n, state->shape[state->csc] + 1);
  return CSRN_IO_OK;
}

static csrn_io_status open_npz(csrn_io_input *input, const csrn_io_select *select, csrn_io_error *error) {
  static const char *const nothing[] = {NULL};
  npz_state *state = calloc(1, sizeof *state);
  int code;
  input->state = state;
  if (!state)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory", input->path);
  if (select->layer || select->genome || select->feature_types)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: an .npz has no layers, genomes or feature types",
                        input->path);
  state->zip = zip_open(input->path, ZIP_RDONLY, &code);
  if (!state->zip) {
    zip_error_t reason;
    zip_error_init_with_code(&reason, code);
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: is no readable zip file: %s", input->path,
                 zip_error_strerror(&reason));
    zip_error_fini(&reason);
    return CSRN_IO_FAILED;
  }
  csrn_io_status status = read_headers(input, error);
  state->cells_in_columns = select->cells == CSRN_IO_CELLS_COLUMNS;
  input->description =
      (csrn_io_description){.format = CSRN_IO_NPZ,
                            .layout = state->csc ? CSRN_IO_CSC : CSRN_IO_CSR,
                            .format_name = "scipy npz",
                            .matrix_name = "matrix",
                            .n_cells = state->shape[state->cells_in_columns],
                            .n_genes = state->shape[!state->cells_in_columns],
                            .nnz = state->data.n,
                            .nnz_file = state->data.n,
                            .data_type = state->data.type == CSRN_U64 ? CSRN_I64 : state->data.type,
                            .indices_type = state->indices.type,
                            .indptr_type = state->indptr.type,
                            .filters = "zip",
                            .layers = nothing,
                            .genomes = nothing,
                            .feature_types = nothing};
  return status;
}

/* uint64 data are read as int64, where all of them fit. */
static csrn_io_status as_signed(const csrn_io_input *input, csrn_csr *csr, csrn_io_error *error) {
  if (csr->data_type != CSRN_U64)
    return CSRN_IO_OK;
  for (int64_t i = 0; i < csr->nnz; i++)
    if (((const uint64_t *)csr->data)[i] > INT64_MAX)
      return fail_member(input, "data.npy", "holds values above 2^63 - 1", error);
  csr->data_type = CSRN_I64;
  return CSRN_IO_OK;
}

static csrn_io_status read_npz(csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                               const csrn_io_progress *progress, csrn_io_error *error) {
  (void)ctx;
  const npz_state *state = input->state;
  csrn_csr *csr = &matrix->csr;
  void *indptr = NULL, *indices = NULL;
  matrix->cells = state->csc == state->cells_in_columns ? CSRN_PER_ROW : CSRN_PER_COLUMN;
  *csr = (csrn_csr){.n_rows = state->shape[state->csc],
                    .n_cols = state->shape[!state->csc],
                    .nnz = state->data.n,
                    .indptr_type = state->indptr.type,
                    .indices_type = state->indices.type,
                    .data_type = state->data.type};
  csrn_io_status status = read_values(input, "data.npy", &state->data, &csr->data, progress, error);
  if (!status)
    status = read_values(input, "indices.npy", &state->indices, &indices, progress, error);
  csr->indices = indices;
  if (!status)
    status = read_values(input, "indptr.npy", &state->indptr, &indptr, progress, error);
  csr->indptr = indptr;
  return status ? status : as_signed(input, csr, error);
}

static void close_npz(csrn_io_input *input) {
  npz_state *state = input->state;
  if (state && state->zip)
    zip_discard(state->zip);
  free(state);
}

const csrn_io_reader csrn_io_npz_reader = {recognizes_npz, open_npz, read_npz, close_npz};

/* ---- Writing ---------------------------------------------------------------- */

/* A member of a 128-byte header and n elements; the bytes are copied, and freed by libzip. */
static bool add_member(zip_t *zip, const char *name, const char *header, const void *values, size_t bytes,
                       const csrn_io_output *output) {
  char *copy = malloc(128 + bytes);
  if (!copy)
    return false;
  memcpy(copy, header, 128);
  memcpy(copy + 128, values, bytes);
  zip_source_t *source = zip_source_buffer(zip, copy, 128 + bytes, 1);
  if (!source) {
    free(copy);
    return false;
  }
  zip_int64_t index = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    zip_source_free(source);
    return false;
  }
  bool deflate = output->compression != CSRN_IO_COMPRESSION_NONE;
  /* The same bytes for the same matrix: 1 January 1980, the first day a zip knows. */
  return zip_set_file_compression(zip, (zip_uint64_t)index, deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE,
                                  (zip_uint32_t)output->level) == 0 &&
         zip_file_set_dostime(zip, (zip_uint64_t)index, 0, 33, 0) == 0;
}

static bool add_array(zip_t *zip, const char *name, csrn_dtype type, int64_t n, const void *values,
                      const csrn_io_output *output) {
  char header[128];
  csrn_npy_header(type, n, false, header);
  return add_member(zip, name, header, values, (size_t)n * csrn_dtype_size(type), output);
}

static bool add_format(zip_t *zip, const char *format, const csrn_io_output *output) {
  char header[128];
  csrn_npy_header(CSRN_U8, 1, true, header);
  memcpy(strstr(header, "|u1"), "|S3", 3);
  return add_member(zip, "format.npy", header, format, 3, output);
}

static int on_progress(zip_t *zip, void *user) {
  (void)zip;
  return !csrn_io_proceed(user, "writing", 0, 0);
}

/* A dense matrix has indices by now; the rows of a CSR are what the file calls its major axis. */
static bool add_all(zip_t *zip, const csrn_csr *csr, bool csc, const csrn_io_output *output) {
  const int64_t shape[2] = {csc ? csr->n_cols : csr->n_rows, csc ? csr->n_rows : csr->n_cols};
  return add_array(zip, "indices.npy", csr->indices ? csr->indices_type : CSRN_I32, csr->nnz, csr->indices,
                   output) &&
         add_array(zip, "indptr.npy", csr->indptr_type, csr->n_rows + 1, csr->indptr, output) &&
         add_format(zip, csc ? "csc" : "csr", output) &&
         add_array(zip, "shape.npy", CSRN_I64, 2, shape, output) &&
         add_array(zip, "data.npy", csr->data_type, csr->nnz, csr->data, output);
}

/* Whether the file has its cells in columns, as the input had. */
static bool cells_in_columns(const csrn_io_input *input) {
  return input && input->reader == &csrn_io_npz_reader && ((const npz_state *)input->state)->cells_in_columns;
}

csrn_io_status csrn_io_write_npz(csrn_io_input *input, const csrn_io_matrix *matrix,
                                 const csrn_io_output *output, const char *path,
                                 const csrn_io_progress *progress, csrn_io_error *error) {
  csrn_io_matrix view = *matrix;
  csrn_io_status status = csrn_io_matrix_indices(&view, error);
  if (status)
    return status;
  int code = 0;
  zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
  const bool csc = (matrix->cells == CSRN_PER_COLUMN) != cells_in_columns(input);
  bool done = zip && add_all(zip, &view.csr, csc, output);
  if (done) {
    zip_register_cancel_callback_with_state(zip, on_progress, NULL, (void *)(uintptr_t)progress);
    done = zip_close(zip) == 0;
  }
  if (!done) {
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", output->path,
                 zip ? zip_strerror(zip) : "no file can be made there");
    if (zip)
      zip_discard(zip);
  }
  if (view.csr.indices != matrix->csr.indices)
    free((void *)(uintptr_t)view.csr.indices);
  return done ? CSRN_IO_OK : CSRN_IO_FAILED;
}
