/* See io_fixture.h. */
#include "io_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

csrn_context *io_context;
csrn_io_error io_error;
static char directory[64];

int io_setup(void **state) {
  (void)state;
  strcpy(directory, "/tmp/csrnorm-io-XXXXXX");
  memset(&io_error, 0, sizeof io_error);
  return mkdtemp(directory) ? 0 : -1;
}

int io_teardown(void **state) {
  (void)state;
  DIR *files = opendir(directory);
  struct dirent *entry;
  while (files && (entry = readdir(files)) != NULL)
    if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2)
      unlinkat(dirfd(files), entry->d_name, 0);
  if (files)
    closedir(files);
  return rmdir(directory);
}

int io_run_group(const struct CMUnitTest *tests, size_t n) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.threads = 1; /* thousands of tiny matrices */
  if (csrn_context_create(&options, &io_context))
    return 1;
  int failures = _cmocka_run_group_tests("io", tests, n, NULL, NULL);
  csrn_context_destroy(io_context);
  return failures;
}

/* ---- Files ------------------------------------------------------------------ */

const char *io_path(const char *name) {
  static char paths[8][512];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", directory, name);
  return path;
}

const char *io_directory(void) {
  return directory;
}

int io_count_files(void) {
  DIR *files = opendir(directory);
  int n = -2; /* . and .. */
  assert_non_null(files);
  while (readdir(files))
    n++;
  closedir(files);
  return n;
}

bool io_exists(const char *name) {
  return access(io_path(name), F_OK) == 0;
}

void io_write_bytes(const char *name, const void *bytes, size_t n) {
  unlink(io_path(name)); /* file systems write out a truncated file at once, a new one in time */
  FILE *file = fopen(io_path(name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

void io_write_text(const char *name, const char *text) {
  io_write_bytes(name, text, strlen(text));
}

void io_gzip(const char *name, const char *text, int n_members) {
  const size_t length = strlen(text);
  for (int m = 0; m < n_members; m++) {
    const size_t from = length * (size_t)m / (size_t)n_members;
    const size_t to = length * (size_t)(m + 1) / (size_t)n_members;
    gzFile file = gzopen(io_path(name), m ? "ab" : "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text + from, (unsigned)(to - from)), to - from);
    assert_int_equal(gzclose(file), Z_OK);
  }
}

char *io_read_bytes(const char *name, size_t *n) {
  FILE *file = fopen(io_path(name), "rb");
  struct stat status;
  assert_non_null(file);
  assert_int_equal(fstat(fileno(file), &status), 0);
  *n = (size_t)status.st_size;
  char *bytes = malloc(*n + 1);
  assert_non_null(bytes);
  assert_int_equal(fread(bytes, 1, *n, file), *n);
  bytes[*n] = '\0';
  fclose(file);
  return bytes;
}

/* ---- Reading and writing ---------------------------------------------------- */

csrn_io_input *io_open(const char *name, const csrn_io_select *select) {
  csrn_io_input *input = NULL;
  csrn_io_error error = {""};
  if (csrn_io_open(io_path(name), select, &input, &error))
    fail_msg("%s", error.text);
  return input;
}

void io_read(csrn_io_input *input, csrn_io_matrix *matrix) {
  csrn_io_error error = {""};
  if (csrn_io_read(input, io_context, matrix, NULL, &error))
    fail_msg("%s", error.text);
}

void io_read_file(const char *name, const csrn_io_select *select, csrn_io_matrix *matrix) {
  csrn_io_input *input = io_open(name, select);
  io_read(input, matrix);
  csrn_io_close(input);
}

void io_expect_words(const char *const *words) {
  for (; *words; words++)
    if (!strstr(io_error.text, *words))
      fail_msg("\"%s\" does not say \"%s\"", io_error.text, *words);
}

void io_expect_failure(const char *name, const csrn_io_select *select, const char *const *words) {
  csrn_io_input *input = NULL;
  csrn_io_matrix matrix;
  memset(&io_error, 0, sizeof io_error);
  csrn_io_status status = csrn_io_open(io_path(name), select, &input, &io_error);
  if (status)
    assert_null(input);
  else
    status = csrn_io_read(input, io_context, &matrix, NULL, &io_error);
  csrn_io_close(input);
  assert_int_equal(status, CSRN_IO_FAILED);
  io_says(io_path(name));
  io_expect_words(words);
  assert_null(strchr(io_error.text, '\n'));
}

csrn_io_status io_write_as(csrn_io_input *input, const csrn_io_matrix *matrix, const csrn_io_output *output) {
  memset(&io_error, 0, sizeof io_error);
  return csrn_io_write(input, matrix, output, NULL, &io_error);
}

void io_write(csrn_io_input *input, const csrn_io_matrix *matrix, const char *name) {
  const csrn_io_output output = {.path = io_path(name), .force = 1};
  if (io_write_as(input, matrix, &output))
    fail_msg("%s", io_error.text);
}

/* ---- Matrices --------------------------------------------------------------- */

#define FOR_TYPES(X)                                                                                         \
  X(CSRN_F32, float)                                                                                         \
  X(CSRN_F64, double)                                                                                        \
  X(CSRN_U8, uint8_t)                                                                                        \
  X(CSRN_U16, uint16_t)                                                                                      \
  X(CSRN_U32, uint32_t)                                                                                      \
  X(CSRN_U64, uint64_t)                                                                                      \
  X(CSRN_I32, int32_t)                                                                                       \
  X(CSRN_I64, int64_t)

double io_value(const void *values, csrn_dtype type, int64_t i) {
  switch (type) {
#define CASE(name, c_type)                                                                                   \
  case name:                                                                                                 \
    return (double)((const c_type *)values)[i];
    FOR_TYPES(CASE)
#undef CASE
  default:
    fail_msg("no type");
    return 0;
  }
}

void io_store(void *values, csrn_dtype type, int64_t i, double value) {
  switch (type) {
#define CASE(name, c_type)                                                                                   \
  case name:                                                                                                 \
    ((c_type *)values)[i] = (c_type)value;                                                                   \
    break;
    FOR_TYPES(CASE)
#undef CASE
  default:
    fail_msg("no type");
  }
}

void io_expect_matrix(const csrn_io_matrix *matrix, const io_expected *expected) {
  const csrn_csr *csr = &matrix->csr;
  assert_int_equal(csr->n_rows, expected->n_rows);
  assert_int_equal(csr->n_cols, expected->n_cols);
  assert_int_equal(matrix->cells, expected->cells);
  assert_string_equal(csrn_dtype_name(csr->data_type), csrn_dtype_name(expected->data_type));
  assert_false(matrix->dense);
  for (int64_t i = 0; i <= csr->n_rows; i++)
    assert_int_equal((int64_t)io_value(csr->indptr, csr->indptr_type, i), expected->indptr[i]);
  assert_int_equal(csr->nnz, expected->indptr[csr->n_rows]);
  for (int64_t i = 0; i < csr->nnz; i++) {
    assert_int_equal((int64_t)io_value(csr->indices, csr->indices_type, i), expected->indices[i]);
    const double value = io_value(csr->data, csr->data_type, i);
    assert_memory_equal(&value, &expected->values[i], sizeof value);
  }
}

void io_expect_same(const csrn_io_matrix *a, const csrn_io_matrix *b) {
  const csrn_csr *x = &a->csr, *y = &b->csr;
  assert_int_equal(a->cells, b->cells);
  assert_int_equal(x->n_rows, y->n_rows);
  assert_int_equal(x->n_cols, y->n_cols);
  assert_int_equal(x->nnz, y->nnz);
  assert_int_equal(x->data_type, y->data_type);
  for (int64_t i = 0; i <= x->n_rows; i++)
    assert_true(io_value(x->indptr, x->indptr_type, i) == io_value(y->indptr, y->indptr_type, i));
  for (int64_t i = 0; i < x->nnz; i++)
    assert_true(io_value(x->indices, x->indices_type, i) == io_value(y->indices, y->indices_type, i));
  if (x->nnz)
    assert_memory_equal(x->data, y->data, (size_t)x->nnz * csrn_dtype_size(x->data_type));
}

/* splitmix64. */
uint64_t io_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15U;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

/* Bits as they come for reals, so that there are subnormal, huge and negative ones; the whole range for
 * integers. */
static void store_random(void *data, csrn_dtype type, int64_t i, uint64_t *state) {
  const size_t size = csrn_dtype_size(type);
  uint64_t bits = io_random(state);
  if (io_random(state) % 4 == 0) { /* a small count */
    io_store(data, type, i, (double)(bits % 100));
    return;
  }
  memcpy((char *)data + (size_t)i * size, &bits, size);
  if ((type == CSRN_F32 || type == CSRN_F64) && io_value(data, type, i) != io_value(data, type, i))
    io_store(data, type, i, 0.1); /* not a number keeps no bits in text */
}

void io_random_matrix(csrn_io_matrix *matrix, int64_t n_rows, int64_t n_cols, csrn_dtype data_type,
                      csrn_dtype indices_type, csrn_dtype indptr_type, uint64_t seed) {
  enum { per_row = 5 };
  int64_t chosen[per_row];
  const int64_t room = n_rows * per_row;
  void *indptr = malloc((size_t)(n_rows + 1) * csrn_dtype_size(indptr_type));
  void *indices = malloc((size_t)room * csrn_dtype_size(indices_type) + 1);
  void *data = malloc((size_t)room * csrn_dtype_size(data_type) + 1);
  int64_t nnz = 0;
  assert_true(indptr && indices && data);
  io_store(indptr, indptr_type, 0, 0);
  for (int64_t row = 0; row < n_rows; row++) {
    const int64_t drawn = (int64_t)(io_random(&seed) % (uint64_t)per_row), first = nnz;
    for (int64_t n = drawn < n_cols ? drawn : n_cols; n; n--, nnz++) {
      int64_t column = (int64_t)(io_random(&seed) % (uint64_t)n_cols);
      for (int64_t i = first; i < nnz; i++)
        if (chosen[i - first] == column) { /* each once: go on to the next, and look again */
          column = (column + 1) % n_cols;
          i = first - 1;
        }
      chosen[nnz - first] = column;
      io_store(indices, indices_type, nnz, (double)column);
      store_random(data, data_type, nnz, &seed);
    }
    io_store(indptr, indptr_type, row + 1, (double)nnz);
  }
  *matrix = (csrn_io_matrix){.cells = CSRN_PER_ROW,
                             .csr = {.n_rows = n_rows,
                                     .n_cols = n_cols,
                                     .nnz = nnz,
                                     .indptr = indptr,
                                     .indices = indices,
                                     .data = data,
                                     .indptr_type = indptr_type,
                                     .indices_type = indices_type,
                                     .data_type = data_type}};
}
