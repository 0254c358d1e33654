/* Making and reading the files that hdf5_samples.h describes. */
#include "hdf5_samples.h"

#include "hdf5_util.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const int64_t sample_indptr[SAMPLE_ROWS + 1] = {0, 2, 2, 5, 6};
const int64_t sample_indices[SAMPLE_NNZ] = {0, 3, 4, 1, 2, 2};
const double sample_values[SAMPLE_NNZ] = {1, 2, 3, 4, 5, 6};
const double sample_dense[SAMPLE_ROWS * SAMPLE_COLUMNS] = {1, 0, 0, 2, 0, 0, 0, 0, 0, 0,
                                                           0, 4, 5, 0, 3, 0, 0, 6, 0, 0};
csrn_context *sample_context;

static char directory[] = "/tmp/csrnorm-hdf5-XXXXXX";

__attribute__((visibility("default"))) const char *__asan_default_options(void);
/* A size that no machine has must be told as that, not end the program. */
const char *__asan_default_options(void) {
  return "allocator_may_return_null=1";
}

/* What libhdf5 does not free after a write that failed. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libhdf5";
}

/* ---- Open identifiers ---- */

static const H5I_type_t kinds[] = {H5I_FILE,    H5I_GROUP, H5I_DATATYPE,   H5I_DATASPACE,
                                   H5I_DATASET, H5I_ATTR,  H5I_GENPROP_LST};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };
static int64_t open_at_start[N_KINDS]; /* libhdf5's own */

static int64_t count_open(H5I_type_t kind) {
  hsize_t n = 0;
  H5Inmembers(kind, &n);
  return (int64_t)n;
}

void sample_nothing_open(void **state) {
  (void)state;
  for (int i = 0; i < N_KINDS; i++)
    if (count_open(kinds[i]) != open_at_start[i])
      fail_msg("%d identifiers of kind %d left open", (int)(count_open(kinds[i]) - open_at_start[i]),
               (int)kinds[i]);
}

/* ---- The directory ---- */

int sample_setup(void **state) {
  (void)state;
  csrn_hdf5_begin(); /* the samples use lzf, too */
  for (int i = 0; i < N_KINDS; i++)
    open_at_start[i] = count_open(kinds[i]);
  return mkdtemp(directory) && csrn_context_create(NULL, &sample_context) == CSRN_OK ? 0 : -1;
}

int sample_teardown(void **state) {
  (void)state;
  DIR *entries = opendir(directory);
  for (struct dirent *entry; entries && (entry = readdir(entries));)
    unlink(sample_path(entry->d_name));
  if (entries)
    closedir(entries);
  csrn_context_destroy(sample_context);
  return rmdir(directory);
}

const char *sample_path(const char *name) {
  static char paths[8][300];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", directory, name);
  return path;
}

char *sample_read_bytes(const char *path, size_t *n) {
  struct stat status;
  assert_int_equal(stat(path, &status), 0);
  *n = (size_t)status.st_size;
  char *bytes = malloc(*n + 1);
  FILE *file = fopen(path, "rb");
  assert_non_null(bytes);
  assert_non_null(file);
  assert_int_equal(fread(bytes, 1, *n, file), *n);
  fclose(file);
  return bytes;
}

/* ---- Making ---- */

static hid_t text_type(void) {
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

hid_t sample_create(const char *name) {
  hid_t file = H5Fcreate(sample_path(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(file >= 0);
  return file;
}

static void attribute(hid_t object, const char *name, hid_t type, hid_t space, const void *value) {
  hid_t id = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(id >= 0 && H5Awrite(id, type, value) >= 0);
  H5Aclose(id);
  H5Sclose(space);
}

void sample_text(hid_t object, const char *name, const char *text) {
  hid_t type = text_type();
  attribute(object, name, type, H5Screate(H5S_SCALAR), &text);
  H5Tclose(type);
}

void sample_fixed_text(hid_t object, const char *name, const char *text) {
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, strlen(text)); /* as numpy writes it: without a zero at the end */
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  attribute(object, name, type, H5Screate(H5S_SCALAR), text);
  H5Tclose(type);
}

void sample_integers(hid_t object, const char *name, int n, const int64_t *values) {
  const hsize_t extent = (hsize_t)n;
  attribute(object, name, H5T_NATIVE_INT64, H5Screate_simple(1, &extent, NULL), values);
}

void sample_dataset(hid_t group, const char *name, hid_t file_type, hid_t storage, int rank,
                    const hsize_t *extent, hid_t memory_type, const void *values) {
  const hsize_t resizable[2] = {H5S_UNLIMITED, H5S_UNLIMITED};
  int chunked = storage > 0 && H5Pget_layout(storage) == H5D_CHUNKED;
  hid_t space = H5Screate_simple(rank, extent, chunked && rank == 1 ? resizable : NULL);
  hid_t id =
      H5Dcreate2(group, name, file_type, space, H5P_DEFAULT, storage ? storage : H5P_DEFAULT, H5P_DEFAULT);
  assert_true(id >= 0);
  if (values)
    assert_true(H5Dwrite(id, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(id);
  H5Sclose(space);
}

void sample_strings(hid_t group, const char *name, int n, const char *const *texts) {
  const hsize_t extent = (hsize_t)n;
  hid_t type = text_type();
  sample_dataset(group, name, type, 0, 1, &extent, type, texts);
  H5Tclose(type);
}

void sample_fixed_strings(hid_t group, const char *name, int n, size_t size, const char *const *texts) {
  const hsize_t extent = (hsize_t)n;
  char *fixed = calloc((size_t)n, size);
  assert_non_null(fixed);
  for (int i = 0; i < n; i++)
    memcpy(fixed + (size_t)i * size, texts[i], strnlen(texts[i], size));
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, size);
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  sample_dataset(group, name, type, 0, 1, &extent, type, fixed);
  H5Tclose(type);
  free(fixed);
}

static hid_t or_else(hid_t type, hid_t otherwise) {
  return type ? type : otherwise;
}

void sample_sparse(hid_t location, const char *name, const sample_options *options) {
  static const sample_options defaults;
  const sample_options *o = options ? options : &defaults;
  const hsize_t n = SAMPLE_NNZ, rows = SAMPLE_ROWS + 1;
  const int64_t shape[2] = {o->csc ? SAMPLE_COLUMNS : SAMPLE_ROWS, o->csc ? SAMPLE_ROWS : SAMPLE_COLUMNS};
  hid_t group = H5Gcreate2(location, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(group >= 0);
  sample_dataset(group, "data", or_else(o->data_type, H5T_IEEE_F32LE), o->storage, 1, &n, H5T_NATIVE_DOUBLE,
                 sample_values);
  sample_dataset(group, "indices", or_else(o->indices_type, H5T_STD_I32LE), o->storage, 1, &n,
                 H5T_NATIVE_INT64, sample_indices);
  sample_dataset(group, "indptr", or_else(o->indptr_type, H5T_STD_I32LE), 0, 1, &rows, H5T_NATIVE_INT64,
                 sample_indptr);
  void (*text)(hid_t, const char *, const char *) = o->fixed_texts ? sample_fixed_text : sample_text;
  if (o->old) {
    text(group, "h5sparse_format", o->csc ? "csc" : "csr");
    sample_integers(group, "h5sparse_shape", 2, shape);
  } else {
    text(group, "encoding-type", o->csc ? "csc_matrix" : "csr_matrix");
    text(group, "encoding-version", "0.1.0");
    sample_integers(group, "shape", 2, shape);
  }
  H5Gclose(group);
}

void sample_array(hid_t location, const char *name, hid_t type, hid_t storage) {
  const hsize_t extent[2] = {SAMPLE_ROWS, SAMPLE_COLUMNS};
  sample_dataset(location, name, type, storage, 2, extent, H5T_NATIVE_DOUBLE, sample_dense);
}

void sample_frame(hid_t file, const char *name, int n, const char *prefix) {
  char texts[16][32];
  const char *names[16];
  assert_true(n <= 16);
  for (int i = 0; i < n; i++) {
    snprintf(texts[i], sizeof texts[i], "%s%d", prefix, i);
    names[i] = texts[i];
  }
  hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(group >= 0);
  sample_text(group, "encoding-type", "dataframe");
  sample_text(group, "encoding-version", "0.2.0");
  sample_text(group, "_index", "_index");
  const hsize_t none = 0;
  attribute(group, "column-order", H5T_NATIVE_DOUBLE, H5Screate_simple(1, &none, NULL), texts);
  sample_strings(group, "_index", n, names);
  H5Gclose(group);
}

void sample_annotation(hid_t file) {
  sample_text(file, "encoding-type", "anndata");
  sample_text(file, "encoding-version", "0.1.0");
  sample_frame(file, "obs", SAMPLE_ROWS, "cell");
  sample_frame(file, "var", SAMPLE_COLUMNS, "gene");
}

void sample_h5ad(const char *name, const sample_options *options) {
  hid_t file = sample_create(name);
  sample_sparse(file, "X", options);
  if (!options || !options->csc)
    sample_annotation(file);
  H5Fclose(file);
}

void sample_spoil(const char *name, const char *path) {
  H5O_info_t info;
  hid_t id = H5Fopen(sample_path(name), H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(H5Oget_info_by_name2(id, path, &info, H5O_INFO_BASIC, H5P_DEFAULT) >= 0);
  H5Fclose(id);
  FILE *file = fopen(sample_path(name), "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, (long)info.addr, SEEK_SET), 0);
  assert_int_equal(fputc(99, file), 99); /* the version of its header */
  fclose(file);
}

hid_t sample_storage(hsize_t chunk, const char *filters) {
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(storage, 1, &chunk);
  for (; *filters; filters++) {
    herr_t fault = -1;
    if (*filters == 's')
      fault = H5Pset_shuffle(storage);
    else if (*filters == 'g')
      fault = H5Pset_deflate(storage, 6);
    else if (*filters == 'f')
      fault = H5Pset_fletcher32(storage);
    else if (*filters == 'z')
      fault = H5Pset_szip(storage, H5_SZIP_NN_OPTION_MASK, 8);
    else if (*filters == 'p') /* chunks across the border are not filtered */
      fault = H5Pset_chunk_opts(storage, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS);
    else if (*filters == 'l')
      fault = H5Pset_filter(storage, 32000, H5Z_FLAG_OPTIONAL, 0, NULL);
    assert_true(fault >= 0);
  }
  return storage;
}

/* ---- Reading ---- */

csrn_io_input *sample_open(const char *path, const csrn_io_select *select) {
  csrn_io_input *input = NULL;
  csrn_io_error error = {""};
  if (csrn_io_open(path, select, &input, &error))
    fail_msg("%s", error.text);
  return input;
}

void sample_read(csrn_io_input *input, csrn_io_matrix *matrix) {
  csrn_io_error error = {""};
  if (csrn_io_read(input, sample_context, matrix, NULL, &error))
    fail_msg("%s", error.text);
}

csrn_io_status sample_copy(const csrn_io_select *select, csrn_io_output output, csrn_io_error *error) {
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), select);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  output.path = sample_path("out.h5ad");
  output.force = 1;
  remove(output.path);
  csrn_io_status status = csrn_io_write(input, &matrix, &output, NULL, error);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  return status;
}

hid_t sample_copied(const csrn_io_select *select, csrn_io_output output) {
  csrn_io_error error = {""};
  if (sample_copy(select, output, &error))
    fail_msg("%s", error.text);
  hid_t file = H5Fopen(sample_path("out.h5ad"), H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(file >= 0);
  return file;
}

void sample_refused(const char *path, const csrn_io_select *select, csrn_io_status status, ...) {
  csrn_io_input *input = NULL;
  csrn_io_error error = {""};
  csrn_io_matrix matrix;
  csrn_io_status found = csrn_io_open(path, select, &input, &error);
  if (!found) {
    found = csrn_io_read(input, sample_context, &matrix, NULL, &error);
    if (!found) {
      csrn_io_matrix_free(&matrix);
      fail_msg("%s was read, expected a refusal", path);
    }
    assert_null(matrix.csr.data);
  }
  csrn_io_close(input);
  if (found != status)
    fail_msg("status %d, expected %d: %s", (int)found, (int)status, error.text);
  assert_non_null(strstr(error.text, path));
  va_list words;
  va_start(words, status);
  for (const char *word; (word = va_arg(words, const char *));)
    if (!strstr(error.text, word))
      fail_msg("\"%s\" is not in: %s", word, error.text);
  va_end(words);
}

double sample_element(const void *values, csrn_dtype type, int64_t i) {
  switch (type) {
  case CSRN_F32:
    return ((const float *)values)[i];
  case CSRN_F64:
    return ((const double *)values)[i];
  case CSRN_U8:
    return ((const uint8_t *)values)[i];
  case CSRN_U16:
    return ((const uint16_t *)values)[i];
  case CSRN_U32:
    return ((const uint32_t *)values)[i];
  case CSRN_U64:
    return (double)((const uint64_t *)values)[i];
  case CSRN_I32:
    return ((const int32_t *)values)[i];
  case CSRN_I64:
    return (double)((const int64_t *)values)[i];
  default:
    fail_msg("type %d", (int)type);
    return 0;
  }
}

void sample_expect(const csrn_io_matrix *matrix, csrn_dtype type) {
  const csrn_csr *csr = &matrix->csr;
  assert_int_equal(csr->data_type, type);
  assert_int_equal(csr->n_rows, SAMPLE_ROWS);
  assert_int_equal(csr->n_cols, SAMPLE_COLUMNS);
  assert_int_equal(csr->nnz, matrix->dense ? SAMPLE_ROWS * SAMPLE_COLUMNS : SAMPLE_NNZ);
  for (int i = 0; i <= SAMPLE_ROWS; i++)
    assert_true(sample_element(csr->indptr, csr->indptr_type, i) ==
                (double)(matrix->dense ? (int64_t)i * SAMPLE_COLUMNS : sample_indptr[i]));
  for (int64_t k = 0; k < csr->nnz; k++) {
    assert_true(sample_element(csr->data, type, k) == (matrix->dense ? sample_dense : sample_values)[k]);
    if (!matrix->dense)
      assert_true(sample_element(csr->indices, csr->indices_type, k) == (double)sample_indices[k]);
  }
  if (matrix->dense)
    assert_null(csr->indices);
}

/* ---- Looking into a file ---- */

void sample_load(hid_t file, const char *path, int n, double *values) {
  hid_t id = H5Dopen2(file, path, H5P_DEFAULT);
  assert_true(id >= 0);
  hid_t space = H5Dget_space(id);
  assert_int_equal(H5Sget_simple_extent_npoints(space), n);
  assert_true(H5Dread(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Sclose(space);
  H5Dclose(id);
}

const char *sample_texts(hid_t file, const char *path, const char *name) {
  static char joined[1024];
  char *texts[32] = {NULL};
  hid_t object = H5Oopen(file, path, H5P_DEFAULT);
  assert_true(object >= 0);
  hid_t id = name ? H5Aopen(object, name, H5P_DEFAULT) : object;
  assert_true(id >= 0);
  hid_t space = name ? H5Aget_space(id) : H5Dget_space(id), type = text_type();
  hssize_t n = H5Sget_simple_extent_npoints(space);
  assert_true(n <= 32);
  joined[0] = '\0';
  if (n > 0)
    assert_true((name ? H5Aread(id, type, texts) : H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts)) >=
                0);
  for (hssize_t i = 0; i < n; i++)
    snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i ? "|" : "", texts[i]);
  if (n > 0)
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts);
  H5Tclose(type);
  H5Sclose(space);
  if (name)
    H5Aclose(id);
  H5Oclose(object);
  return joined;
}

int sample_has(hid_t file, const char *path) {
  hid_t id = H5Oopen(file, path, H5P_DEFAULT);
  if (id >= 0)
    H5Oclose(id);
  return id >= 0;
}
