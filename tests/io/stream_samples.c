/* See stream_samples.h. */
#include "stream_samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ABSENT_FEATURES = 800 };

static const int lengths[ROWS] = {0, 3, 4096, 0, 0, 4097, 1, 8192, 700, 0, 257, 0};

static double value_of(const stream_case *c, int64_t i) {
  const double count = (double)((uint64_t)i * 2654435761U % 1000 % 97 + 1);
  static const double odd[] = {NAN, INFINITY, -0.0, -3.5, -INFINITY, 70000, 300, 0};
  if (c->values == LARGE)
    return 0x1p50;
  if (c->values == WIDE)
    return i % 700 == 5 ? 1e13 / 7 : i % 3 ? count / 7 : -count / 11;
  if (c->values == REALS)
    return count / 7;
  const double almost[] = {3.0000002384185791, 1.0009765625, 2.0048828125, 100.2998046875,
                           0x1p-149,           0x1p-1074,    3 + 0x1p-51};
  if (c->values == ALMOST && i % 1000 == 500)
    return almost[i / 1000 % (c->type == CSRN_F32 ? 5 : 7)];
  return c->values == ODD && i % 1500 < 8 ? odd[i % 1500] : count;
}

static hid_t stored_type(csrn_dtype type) {
  static const hid_t *const types[] = {NULL,
                                       &H5T_IEEE_F32LE_g,
                                       &H5T_IEEE_F64LE_g,
                                       &H5T_STD_U8LE_g,
                                       &H5T_STD_U16LE_g,
                                       &H5T_STD_U32LE_g,
                                       &H5T_STD_U64LE_g,
                                       &H5T_STD_I32LE_g,
                                       &H5T_STD_I64LE_g};
  return *types[type];
}

int64_t total_length(void) {
  int64_t n = 0;
  for (int i = 0; i < ROWS; i++)
    n += lengths[i];
  return n;
}

/* Values, indices and indptr of the case's kinds in a group. */
static void fill_group(const stream_case *c, hid_t group, int csc, hid_t indices_type, hid_t indptr_type,
                       int spare, hsize_t index_chunk, int64_t first_column) {
  const hsize_t n = (hsize_t)total_length() + (hsize_t)spare, rows = ROWS + 1;
  double *values = calloc(n, sizeof *values);
  int64_t *indices = calloc(n, sizeof *indices), indptr[ROWS + 1] = {0};
  assert_true(values && indices);
  for (int i = 0; i < ROWS; i++)
    indptr[i + 1] = indptr[i] + lengths[i];
  for (int i = 0; i < ROWS; i++)
    for (int64_t k = indptr[i]; k < indptr[i + 1]; k++) {
      values[k] = value_of(c, k);
      indices[k] = csc ? k * 7 % (CELLS - 1) : k - indptr[i] + first_column;
    }
  hid_t storage = c->filters ? sample_storage((hsize_t)c->chunk, c->filters) : H5Pcreate(H5P_DATASET_CREATE);
  hid_t other = c->filters ? sample_storage(index_chunk, c->filters) : H5Pcreate(H5P_DATASET_CREATE);
  sample_dataset(group, "data", stored_type(c->type), storage, 1, &n, H5T_NATIVE_DOUBLE, values);
  sample_dataset(group, "indices", indices_type, other, 1, &n, H5T_NATIVE_INT64, indices);
  sample_dataset(group, "indptr", indptr_type, 0, 1, &rows, H5T_NATIVE_INT64, indptr);
  H5Pclose(other);
  H5Pclose(storage);
  free(indices);
  free(values);
}

void make_matrix(const stream_case *c, int csc, hid_t indices_type, hid_t indptr_type, int spare) {
  const int64_t shape[2] = {csc ? CELLS : ROWS, csc ? ROWS : COLUMNS};
  hid_t file = sample_create("in.h5ad"), group = H5Gcreate2(file, "X", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  fill_group(c, group, csc, indices_type, indptr_type, spare, (hsize_t)c->chunk, 0);
  sample_text(group, "encoding-type", csc ? "csc_matrix" : "csr_matrix");
  sample_text(group, "encoding-version", "0.1.0");
  sample_integers(group, "shape", 2, shape);
  sample_text(file, "encoding-type", "anndata");
  sample_text(file, "encoding-version", "0.1.0");
  sample_frame(file, "obs", csc ? CELLS : ROWS, "cell");
  H5Gclose(group);
  H5Fclose(file);
}

/* `n` texts made of a word and a number, or of one of two words: the other one as of which features the type
 * is another. */
static void number_texts(hid_t group, const char *name, int n, const char *word, const char *other,
                         sample_kind kind) {
  enum { LENGTH = 24 };
  char *room = calloc((size_t)n, LENGTH);
  const char **texts = calloc((size_t)n, sizeof *texts);
  assert_true(room && texts);
  for (int i = 0; i < n; i++) {
    texts[i] = room + (size_t)i * LENGTH;
    const int differs = kind == ABSENT ? i < ABSENT_FEATURES : i % 3 == 2;
    if (other)
      snprintf(room + (size_t)i * LENGTH, LENGTH, "%s", differs ? other : word);
    else
      snprintf(room + (size_t)i * LENGTH, LENGTH, "%s%d", word, i);
  }
  sample_strings(group, name, n, texts);
  free(texts);
  free(room);
}

void make_10x(const stream_case *c, int v3, hid_t indices_type, sample_kind kind) {
  const int64_t shape[2] = {COLUMNS, ROWS};
  const hsize_t two = 2;
  hid_t file = sample_create("in.h5");
  hid_t group = H5Gcreate2(file, v3 ? "matrix" : "mm10", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  fill_group(c, group, 0, indices_type, H5T_STD_I64LE, 0,
             (hsize_t)(kind == APART ? c->chunk * 2 / 3 : c->chunk), kind == ABSENT ? ABSENT_FEATURES : 0);
  sample_dataset(group, "shape", H5T_STD_I32LE, 0, 1, &two, H5T_NATIVE_INT64, shape);
  number_texts(group, "barcodes", ROWS, "cell", NULL, kind);
  hid_t features = group;
  if (v3)
    features = H5Gcreate2(group, "features", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  number_texts(features, v3 ? "id" : "genes", COLUMNS, "id", NULL, kind);
  number_texts(features, v3 ? "name" : "gene_names", COLUMNS, "gene", NULL, kind);
  if (v3) {
    number_texts(features, "feature_type", COLUMNS, "Gene Expression", "Antibody Capture", kind);
    H5Gclose(features);
  }
  H5Gclose(group);
  H5Fclose(file);
}

void make_dense(const stream_case *c, hsize_t height, hsize_t width) {
  const hsize_t extent[2] = {ROWS, 5000}, chunk[2] = {height, width};
  double *values = calloc(extent[0] * extent[1], sizeof *values);
  assert_non_null(values);
  for (int64_t i = 0; i < (int64_t)(extent[0] * extent[1]); i++)
    values[i] = i % 3 || i / 5000 == 4 ? 0 : value_of(c, i);
  hid_t storage = c->filters ? sample_storage(1, c->filters) : H5Pcreate(H5P_DATASET_CREATE);
  if (c->filters)
    H5Pset_chunk(storage, 2, chunk);
  hid_t file = sample_create("in.h5ad");
  sample_dataset(file, "X", stored_type(c->type), storage, 2, extent, H5T_NATIVE_DOUBLE, values);
  hid_t X = H5Dopen2(file, "X", H5P_DEFAULT);
  sample_text(X, "encoding-type", "array");
  sample_text(X, "encoding-version", "0.2.0");
  sample_text(file, "encoding-type", "anndata");
  sample_text(file, "encoding-version", "0.1.0");
  sample_frame(file, "obs", ROWS, "cell");
  H5Dclose(X);
  H5Fclose(file);
  H5Pclose(storage);
  free(values);
}

/* Elements of a dataset in the type they have in the file. */
static void *load_raw(hid_t file, const char *path, size_t *bytes) {
  hid_t id = H5Dopen2(file, path, H5P_DEFAULT), type = H5Dget_type(id), space = H5Dget_space(id);
  assert_true(id >= 0);
  *bytes = (size_t)H5Sget_simple_extent_npoints(space) * H5Tget_size(type);
  void *elements = calloc(*bytes + 1, 1);
  assert_non_null(elements);
  assert_true(H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements) >= 0);
  H5Sclose(space);
  H5Tclose(type);
  H5Dclose(id);
  return elements;
}

void expect_same_dataset(hid_t one, hid_t other, const char *path) {
  size_t n, m;
  void *a = load_raw(one, path, &n), *b = load_raw(other, path, &m);
  assert_int_equal(n, m);
  if (memcmp(a, b, n) != 0)
    fail_msg("%s differs", path);
  free(a);
  free(b);
}

static void expect_same_storage(hid_t one, hid_t other, const char *path) {
  hid_t a = H5Dopen2(one, path, H5P_DEFAULT), b = H5Dopen2(other, path, H5P_DEFAULT);
  hid_t a_list = H5Dget_create_plist(a), b_list = H5Dget_create_plist(b);
  H5Pset_obj_track_times(a_list, 0);
  H5Pset_obj_track_times(b_list, 0);
  if (H5Pequal(a_list, b_list) <= 0)
    fail_msg("the storage of %s differs", path);
  H5Pclose(a_list);
  H5Pclose(b_list);
  H5Dclose(a);
  H5Dclose(b);
}

void expect_same_files(const char *one, const char *other) {
  hid_t a = H5Fopen(sample_path(one), H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t b = H5Fopen(sample_path(other), H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(a >= 0 && b >= 0);
  static const char *const sparse[] = {"X/data", "X/indices", "X/indptr", "obs/factor", NULL};
  static const char *const dense[] = {"X", "obs/factor", NULL};
  for (const char *const *path = sample_has(a, "X/data") ? sparse : dense; *path; path++) {
    assert_true(sample_has(a, *path) == sample_has(b, *path));
    if (!sample_has(a, *path))
      continue;
    expect_same_dataset(a, b, *path);
    expect_same_storage(a, b, *path);
  }
  static char encoding[40];
  snprintf(encoding, sizeof encoding, "%s", sample_texts(a, "X", "encoding-type"));
  assert_string_equal(sample_texts(b, "X", "encoding-type"), encoding);
  if (sample_has(a, "obs/factor"))
    assert_string_equal(sample_texts(a, "obs", "column-order"), "factor");
  assert_true(sample_has(a, "uns/log1p") == sample_has(b, "uns/log1p"));
  H5Fclose(a);
  H5Fclose(b);
}
