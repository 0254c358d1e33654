/*
 * Writing .h5ad: a copy of an .h5ad in which nothing but the values changes, with what
 * normalization adds; and new files from other inputs.
 */
#include "hdf5_samples.h"
#include "io_internal.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Reads `name`, replaces the values by n + 0.1 * their position in `type`, and writes. */
static csrn_io_status rewrite(const char *name, const csrn_io_select *select, csrn_dtype type,
                              csrn_io_output output, csrn_io_error *error) {
  csrn_io_input *input = sample_open(sample_path(name), select);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  size_t n = (size_t)matrix.csr.nnz, size = csrn_dtype_size(type);
  void *values = calloc(n + 1, size);
  assert_non_null(values);
  for (size_t i = 0; i < n; i++) {
    double value = sample_element(matrix.csr.data, matrix.csr.data_type, (int64_t)i) + 0.1 * (double)i;
    if (type == CSRN_F32)
      ((float *)values)[i] = (float)value;
    else if (type == CSRN_F64)
      ((double *)values)[i] = value;
    else
      ((int32_t *)values)[i] = (int32_t)value;
  }
  free(matrix.csr.data);
  matrix.csr.data = values;
  matrix.csr.data_type = type;
  output.path = sample_path("out.h5ad");
  output.force = 1;
  csrn_io_status status = csrn_io_write(input, &matrix, &output, NULL, error);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  return status;
}

static hid_t rewritten(const char *name, const csrn_io_select *select, csrn_dtype type,
                       csrn_io_output output) {
  csrn_io_error error = {""};
  if (rewrite(name, select, type, output, &error))
    fail_msg("%s", error.text);
  hid_t file = H5Fopen(sample_path("out.h5ad"), H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(file >= 0);
  return file;
}

/* That the dataset holds the sample's values + 0.1 * position, of `type`. */
static void expect_values(hid_t file, const char *path, csrn_dtype type) {
  double values[SAMPLE_NNZ];
  sample_load(file, path, SAMPLE_NNZ, values);
  for (int i = 0; i < SAMPLE_NNZ; i++) {
    double expected = sample_values[i] + 0.1 * i;
    assert_true(values[i] == (type == CSRN_F32   ? (float)expected
                              : type == CSRN_I32 ? (int)expected
                                                 : expected));
  }
}

static void expect_sample(hid_t file, const char *path) {
  double values[SAMPLE_NNZ];
  sample_load(file, path, SAMPLE_NNZ, values);
  assert_memory_equal(values, sample_values, sizeof values);
}

/* "filters chunk type" of a dataset, such as "shuffle+gzip-6 4 float32". */
static const char *storage_of(const char *path) {
  static char text[200];
  csrn_io_input *input = sample_open(sample_path(path), NULL);
  const csrn_io_description *d = csrn_io_describe(input);
  snprintf(text, sizeof text, "%s %d %s", d->filters, (int)d->chunk, csrn_dtype_name(d->data_type));
  csrn_io_close(input);
  return text;
}

/* ---- Copies ---- */

static void storage_of_values(void **state) {
  (void)state;
  static const struct {
    const char *letters;
    csrn_io_compression compression;
    int level;
    csrn_dtype type;
    const char *expected;
  } cases[] = {
      {"", CSRN_IO_COMPRESSION_KEEP, 0, CSRN_F32, "none 4 float32"},
      {"g", CSRN_IO_COMPRESSION_KEEP, 0, CSRN_F32, "gzip-6 4 float32"},
      {"sg", CSRN_IO_COMPRESSION_KEEP, 0, CSRN_F64, "shuffle+gzip-6 4 float64"},
      {"l", CSRN_IO_COMPRESSION_KEEP, 0, CSRN_F64, "lzf 4 float64"},
      {"sl", CSRN_IO_COMPRESSION_KEEP, 0, CSRN_F32, "shuffle+lzf 4 float32"},
      {"slf", CSRN_IO_COMPRESSION_KEEP, 0, CSRN_F32, "shuffle+lzf+fletcher32 4 float32"},
      {"g", CSRN_IO_COMPRESSION_KEEP, 0, CSRN_I32, "gzip-6 4 int32"},
      {"g", CSRN_IO_COMPRESSION_NONE, 0, CSRN_F32, "none 4 float32"},
      {"sl", CSRN_IO_COMPRESSION_NONE, 0, CSRN_F32, "none 4 float32"},
      {"", CSRN_IO_COMPRESSION_GZIP, 0, CSRN_F32, "gzip-4 4 float32"},
      {"l", CSRN_IO_COMPRESSION_GZIP, 9, CSRN_F32, "gzip-9 4 float32"},
      {"sl", CSRN_IO_COMPRESSION_GZIP, 1, CSRN_F32, "shuffle+gzip-1 4 float32"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    hid_t storage = sample_storage(4, cases[i].letters);
    const sample_options options = {.storage = storage, .data_type = H5T_STD_I32LE};
    sample_h5ad("in.h5ad", &options);
    H5Pclose(storage);
    const csrn_io_output output = {.compression = cases[i].compression, .level = cases[i].level};
    hid_t file = rewritten("in.h5ad", NULL, cases[i].type, output);
    expect_values(file, "X/data", cases[i].type);
    double indices[SAMPLE_NNZ];
    sample_load(file, "X/indices", SAMPLE_NNZ, indices);
    for (int k = 0; k < SAMPLE_NNZ; k++)
      assert_true(indices[k] == (double)sample_indices[k]);
    hsize_t extent, max;
    hid_t data = H5Dopen2(file, "X/data", H5P_DEFAULT), space = H5Dget_space(data);
    H5Sget_simple_extent_dims(space, &extent, &max);
    assert_true(max == H5S_UNLIMITED);
    H5Sclose(space);
    H5Dclose(data);
    H5Fclose(file);
    assert_string_equal(storage_of("out.h5ad"), cases[i].expected);
  }
}

/* Filters that would change other values than those they were made for. */
static void lossy_filters(void **state) {
  (void)state;
  const hsize_t chunk = 4;
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(storage, 1, &chunk);
  H5Pset_scaleoffset(storage, H5Z_SO_INT, 0);
  const sample_options options = {.storage = storage, .data_type = H5T_STD_I32LE};
  sample_h5ad("in.h5ad", &options);
  H5Pclose(storage);
  hid_t file =
      rewritten("in.h5ad", NULL, CSRN_F32, (csrn_io_output){.compression = CSRN_IO_COMPRESSION_KEEP});
  expect_values(file, "X/data", CSRN_F32);
  H5Fclose(file);
  assert_string_equal(storage_of("out.h5ad"), "gzip-4 4 float32");
}

static void contiguous_values(void **state) {
  (void)state;
  sample_h5ad("in.h5ad", NULL);
  hid_t file =
      rewritten("in.h5ad", NULL, CSRN_F64, (csrn_io_output){.compression = CSRN_IO_COMPRESSION_KEEP});
  expect_values(file, "X/data", CSRN_F64);
  H5Fclose(file);
  assert_string_equal(storage_of("out.h5ad"), "none 0 float64");
  file = rewritten("in.h5ad", NULL, CSRN_F32,
                   (csrn_io_output){.compression = CSRN_IO_COMPRESSION_GZIP, .level = 2});
  expect_values(file, "X/data", CSRN_F32);
  H5Fclose(file);
  assert_string_equal(storage_of("out.h5ad"), "gzip-2 6 float32");
}

/* Everything around the values: attributes of each kind, links, references, other groups. */
static void make_rich(const char *name) {
  hid_t file = sample_create(name);
  sample_annotation(file);
  sample_sparse(file, "X", NULL);
  sample_fixed_text(file, "fixed", "a fixed text");
  const int64_t numbers[3] = {1, -2, 3};
  sample_integers(file, "numbers", 3, numbers);
  hid_t group = H5Gopen2(file, "X", H5P_DEFAULT);
  sample_integers(group, "extra", 2, numbers);
  H5Gclose(group);
  hid_t data = H5Dopen2(file, "X/data", H5P_DEFAULT);
  sample_text(data, "unit", "counts");
  H5Dclose(data);
  group = H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_text(group, "encoding-type", "dict");
  sample_sparse(group, "spliced", NULL);
  sample_array(group, "dense", H5T_STD_I32LE, 0);
  H5Gclose(group);
  group = H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_array(group, "other", H5T_STD_I32LE, 0);
  H5Gclose(group);
  H5Lcreate_soft("/uns/other", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/nothing/here", file, "dangling", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("other.h5", "/there", file, "external", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file, "uns/other", file, "hard", H5P_DEFAULT, H5P_DEFAULT);
  /* Categories as anndata 0.7 keeps them: an attribute refers to another dataset. */
  const char *const categories[2] = {"B", "T"};
  group = H5Gopen2(file, "obs", H5P_DEFAULT);
  H5Gclose(H5Gcreate2(group, "__categories", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  sample_strings(group, "__categories/kind", 2, categories);
  const hsize_t n = SAMPLE_ROWS;
  sample_dataset(group, "kind", H5T_STD_I8LE, 0, 1, &n, H5T_NATIVE_INT64, sample_indptr);
  hobj_ref_t reference;
  H5Rcreate(&reference, group, "__categories/kind", H5R_OBJECT, -1);
  hid_t kind = H5Dopen2(group, "kind", H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(kind, "categories", H5T_STD_REF_OBJ, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, H5T_STD_REF_OBJ, &reference);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Dclose(kind);
  H5Gclose(group);
  H5Fclose(file);
}

static void expect_link(hid_t file, const char *name, H5L_type_t type, const char *value) {
  H5L_info_t info;
  char text[100];
  assert_true(H5Lget_info(file, name, &info, H5P_DEFAULT) >= 0);
  assert_int_equal(info.type, type);
  assert_true(H5Lget_val(file, name, text, sizeof text, H5P_DEFAULT) >= 0);
  if (type == H5L_TYPE_SOFT)
    assert_string_equal(text, value);
}

static void expect_rich(hid_t file) {
  char text[16] = "";
  int64_t numbers[3];
  double dense[SAMPLE_ROWS * SAMPLE_COLUMNS];
  hid_t attribute = H5Aopen(file, "fixed", H5P_DEFAULT), type = H5Aget_type(attribute);
  assert_int_equal(H5Tget_size(type), 12);
  H5Aread(attribute, type, text);
  assert_string_equal(text, "a fixed text");
  H5Tclose(type);
  H5Aclose(attribute);
  attribute = H5Aopen(file, "numbers", H5P_DEFAULT);
  H5Aread(attribute, H5T_NATIVE_INT64, numbers);
  assert_true(numbers[0] == 1 && numbers[1] == -2 && numbers[2] == 3);
  H5Aclose(attribute);
  assert_string_equal(sample_texts(file, "X", "encoding-type"), "csr_matrix");
  assert_string_equal(sample_texts(file, "layers", "encoding-type"), "dict");
  assert_string_equal(sample_texts(file, "X/data", "unit"), "counts");
  assert_true(H5Aexists_by_name(file, "X", "extra", H5P_DEFAULT) > 0);
  sample_load(file, "uns/other", SAMPLE_ROWS * SAMPLE_COLUMNS, dense);
  assert_memory_equal(dense, sample_dense, sizeof dense);
  sample_load(file, "soft", SAMPLE_ROWS * SAMPLE_COLUMNS, dense);
  sample_load(file, "hard", SAMPLE_ROWS * SAMPLE_COLUMNS, dense);
  assert_memory_equal(dense, sample_dense, sizeof dense);
  expect_link(file, "soft", H5L_TYPE_SOFT, "/uns/other");
  expect_link(file, "dangling", H5L_TYPE_SOFT, "/nothing/here");
  expect_link(file, "external", H5L_TYPE_EXTERNAL, NULL);
  hobj_ref_t reference;
  attribute = H5Aopen_by_name(file, "obs/kind", "categories", H5P_DEFAULT, H5P_DEFAULT);
  H5Aread(attribute, H5T_STD_REF_OBJ, &reference);
  assert_true(H5Rget_name(attribute, H5R_OBJECT, &reference, NULL, 0) > 0);
  hid_t categories = H5Rdereference2(attribute, H5P_DEFAULT, H5R_OBJECT, &reference);
  assert_string_equal(sample_texts(categories, ".", NULL), "B|T");
  H5Dclose(categories);
  H5Aclose(attribute);
}

static void everything_else_stays(void **state) {
  (void)state;
  const csrn_io_output keep = {.compression = CSRN_IO_COMPRESSION_KEEP};
  make_rich("rich.h5ad");
  hid_t file = rewritten("rich.h5ad", NULL, CSRN_F32, keep);
  expect_rich(file);
  expect_values(file, "X/data", CSRN_F32);
  expect_sample(file, "layers/spliced/data");
  H5Fclose(file);
  file = rewritten("rich.h5ad", &(csrn_io_select){.layer = "spliced"}, CSRN_F32, keep);
  expect_rich(file);
  expect_sample(file, "X/data");
  expect_values(file, "layers/spliced/data", CSRN_F32);
  assert_string_equal(sample_texts(file, "layers/spliced", "encoding-type"), "csr_matrix");
  H5Fclose(file);
  file = rewritten("rich.h5ad", &(csrn_io_select){.layer = "dense"}, CSRN_F64, keep);
  expect_rich(file);
  expect_sample(file, "X/data");
  double dense[SAMPLE_ROWS * SAMPLE_COLUMNS];
  sample_load(file, "layers/dense", SAMPLE_ROWS * SAMPLE_COLUMNS, dense);
  for (int i = 0; i < SAMPLE_ROWS * SAMPLE_COLUMNS; i++)
    assert_true(dense[i] == sample_dense[i] + 0.1 * i);
  H5Fclose(file);
}

enum { NAMES_ROOM = 100 };

/* The names that H5Literate() gives in order of creation. */
static herr_t join_name(hid_t group, const char *name, const H5L_info_t *info, void *user) {
  (void)group;
  (void)info;
  char *names = user;
  const size_t length = strlen(names);
  snprintf(names + length, NAMES_ROOM - length, "%s ", name);
  return 0;
}

static void order_of_creation(void **state) {
  (void)state;
  char names[NAMES_ROOM] = "";
  hid_t properties = H5Pcreate(H5P_FILE_CREATE);
  H5Pset_link_creation_order(properties, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  hid_t file = H5Fcreate(sample_path("order.h5ad"), H5F_ACC_TRUNC, properties, H5P_DEFAULT);
  H5Pclose(properties);
  sample_annotation(file);
  sample_sparse(file, "X", NULL);
  sample_array(file, "A", H5T_STD_I32LE, 0);
  H5Fclose(file);
  file = rewritten("order.h5ad", NULL, CSRN_F32, (csrn_io_output){0});
  assert_true(H5Literate(file, H5_INDEX_CRT_ORDER, H5_ITER_INC, NULL, join_name, names) >= 0);
  assert_string_equal(names, "obs var X A ");
  H5Fclose(file);
}

/* A matrix behind a soft link becomes a matrix of its own; what it pointed at stays. */
static void linked_matrix(void **state) {
  (void)state;
  hid_t file = sample_create("link.h5ad");
  sample_annotation(file);
  H5Gclose(H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  sample_sparse(file, "layers/counts", NULL);
  H5Lcreate_soft("/layers/counts", file, "X", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  file = rewritten("link.h5ad", NULL, CSRN_F32, (csrn_io_output){0});
  expect_values(file, "X/data", CSRN_F32);
  expect_sample(file, "layers/counts/data");
  H5Fclose(file);
}

/* Soft links to what changes, of every kind and in groups that are copied as a whole, keep what they showed;
 * those to what stays are links in the result, too. */
static void links_to_the_matrix(void **state) {
  (void)state;
  static const char *const copies[] = {"layers/counts/data", "alias/data", "uns/deep/deeper/data",
                                       "uns/values"};
  hid_t file = sample_create("link.h5ad");
  sample_annotation(file);
  sample_sparse(file, "X", NULL);
  H5Gclose(H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Gclose(H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Gclose(H5Gcreate2(file, "uns/deep", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  sample_sparse(file, "layers/other", NULL);
  H5Lcreate_soft("/X", file, "layers/counts", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("X", file, "alias", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/layers/counts", file, "uns/deep/deeper", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/X/data", file, "uns/values", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/layers/other", file, "uns/stays", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/X/indices", file, "uns/indices", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/nothing", file, "uns/dangling", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  file = rewritten("link.h5ad", NULL, CSRN_F32, (csrn_io_output){0});
  expect_values(file, "X/data", CSRN_F32);
  for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++)
    expect_sample(file, copies[i]);
  assert_string_equal(sample_texts(file, "layers/counts", "encoding-type"), "csr_matrix");
  expect_link(file, "uns/stays", H5L_TYPE_SOFT, "/layers/other");
  expect_link(file, "uns/indices", H5L_TYPE_SOFT, "/X/indices");
  expect_link(file, "uns/dangling", H5L_TYPE_SOFT, "/nothing");
  H5Fclose(file);
}

/* More values in the file than indptr says: the arrays keep their length. */
static void spare_values(void **state) {
  (void)state;
  const hsize_t n = SAMPLE_NNZ + 2;
  const double data[SAMPLE_NNZ + 2] = {1, 2, 3, 4, 5, 6, 7, 8};
  const int64_t indices[SAMPLE_NNZ + 2] = {0, 3, 4, 1, 2, 2, 99, -9};
  double found[SAMPLE_NNZ + 2];
  for (int chunked = 0; chunked < 2; chunked++) {
    sample_h5ad("spare.h5ad", NULL);
    hid_t storage = chunked ? sample_storage(5, "g") : H5P_DEFAULT;
    hid_t file = H5Fopen(sample_path("spare.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
    H5Ldelete(file, "X/data", H5P_DEFAULT);
    H5Ldelete(file, "X/indices", H5P_DEFAULT);
    sample_dataset(file, "X/data", H5T_IEEE_F32LE, storage, 1, &n, H5T_NATIVE_DOUBLE, data);
    sample_dataset(file, "X/indices", H5T_STD_I32LE, storage, 1, &n, H5T_NATIVE_INT64, indices);
    H5Fclose(file);
    if (chunked)
      H5Pclose(storage);
    for (csrn_io_compression how = CSRN_IO_COMPRESSION_KEEP; how <= CSRN_IO_COMPRESSION_GZIP; how++) {
      file = rewritten("spare.h5ad", NULL, CSRN_F64, (csrn_io_output){.compression = how});
      sample_load(file, "X/data", SAMPLE_NNZ + 2, found);
      for (int i = 0; i < SAMPLE_NNZ; i++)
        assert_true(found[i] == sample_values[i] + 0.1 * i);
      assert_true(found[SAMPLE_NNZ] == 0 && found[SAMPLE_NNZ + 1] == 0);
      sample_load(file, "X/indices", SAMPLE_NNZ + 2, found);
      assert_true(found[SAMPLE_NNZ] == 99 && found[SAMPLE_NNZ + 1] == -9);
      H5Fclose(file);
    }
  }
}

/* ---- What is added ---- */

static const float factors[SAMPLE_ROWS] = {0.5f, 0, 2, 1e-3f};

static void expect_factors(hid_t file, const char *path) {
  double found[SAMPLE_ROWS];
  sample_load(file, path, SAMPLE_ROWS, found);
  for (int i = 0; i < SAMPLE_ROWS; i++)
    assert_true(found[i] == factors[i]);
}

static void factors_in_obs(void **state) {
  (void)state;
  const csrn_io_output output = {.key_added = "size_factor", .factors = factors, .factors_type = CSRN_F32};
  sample_h5ad("in.h5ad", NULL);
  hid_t file = rewritten("in.h5ad", NULL, CSRN_F32, output);
  expect_factors(file, "obs/size_factor");
  assert_string_equal(sample_texts(file, "obs/size_factor", "encoding-type"), "array");
  assert_string_equal(sample_texts(file, "obs/size_factor", "encoding-version"), "0.2.0");
  assert_string_equal(sample_texts(file, "obs", "column-order"), "size_factor");
  assert_string_equal(sample_texts(file, "obs/_index", NULL), "cell0|cell1|cell2|cell3");
  H5Fclose(file);
  /* Once more, from a file that has that column and another one. */
  const hsize_t n = SAMPLE_ROWS;
  const char *const columns[2] = {"size_factor", "batch"};
  file = H5Fopen(sample_path("out.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  sample_dataset(file, "obs/batch", H5T_STD_I32LE, 0, 1, &n, H5T_NATIVE_INT64, sample_indptr);
  hid_t obs = H5Gopen2(file, "obs", H5P_DEFAULT);
  H5Adelete(obs, "column-order");
  hid_t type = H5Tcopy(H5T_C_S1), two = H5Screate_simple(1, (const hsize_t[]){2}, NULL);
  H5Tset_size(type, 12);
  char fixed[24] = "";
  memcpy(fixed, columns[0], strlen(columns[0]));
  memcpy(fixed + 12, columns[1], strlen(columns[1]));
  hid_t attribute = H5Acreate2(obs, "column-order", type, two, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, fixed);
  H5Aclose(attribute);
  H5Sclose(two);
  H5Tclose(type);
  H5Gclose(obs);
  H5Fclose(file);
  assert_int_equal(rename(sample_path("out.h5ad"), sample_path("again.h5ad")), 0);
  csrn_io_output other = output;
  other.key_added = "nf";
  H5Fclose(rewritten("again.h5ad", NULL, CSRN_F32, output));
  file = rewritten("again.h5ad", NULL, CSRN_F32, other);
  expect_factors(file, "obs/nf");
  assert_string_equal(sample_texts(file, "obs", "column-order"), "size_factor|batch|nf");
  assert_true(sample_has(file, "obs/batch"));
  H5Fclose(file);
}

/* The table of records that obs was before anndata 0.7, with texts of both kinds. */
typedef struct record {
  char name[6];
  int32_t n_genes;
  char *kind;
} record;

static void make_records(const char *name) {
  static char b[] = "B cell", t[] = "T cell";
  const record records[SAMPLE_ROWS] = {{"cell0", 1, b}, {"cell1", 2, t}, {"cell2", 3, b}, {"cell3", 4, t}};
  const hsize_t n = SAMPLE_ROWS;
  hid_t text = H5Tcopy(H5T_C_S1), variable = H5Tcopy(H5T_C_S1),
        type = H5Tcreate(H5T_COMPOUND, sizeof(record));
  H5Tset_size(text, sizeof records[0].name);
  H5Tset_size(variable, H5T_VARIABLE);
  H5Tinsert(type, "index", offsetof(record, name), text);
  H5Tinsert(type, "n_genes", offsetof(record, n_genes), H5T_NATIVE_INT32);
  H5Tinsert(type, "kind", offsetof(record, kind), variable);
  hid_t file = sample_create(name), storage = sample_storage(3, "g");
  sample_array(file, "X", H5T_STD_I32LE, 0);
  sample_dataset(file, "obs", type, storage, 1, &n, type, records);
  hid_t obs = H5Dopen2(file, "obs", H5P_DEFAULT);
  sample_text(obs, "source", "a test");
  H5Dclose(obs);
  H5Pclose(storage);
  H5Tclose(type);
  H5Tclose(variable);
  H5Tclose(text);
  H5Fclose(file);
}

static void factors_in_records(void **state) {
  (void)state;
  csrn_io_output output = {.key_added = "nf", .factors = factors, .factors_type = CSRN_F32};
  make_records("records.h5ad");
  hid_t file = rewritten("records.h5ad", NULL, CSRN_F32, output);
  struct {
    char name[6];
    int32_t n_genes;
    char *kind;
    float nf;
  } records[SAMPLE_ROWS];
  hid_t text = H5Tcopy(H5T_C_S1), variable = H5Tcopy(H5T_C_S1),
        type = H5Tcreate(H5T_COMPOUND, sizeof records[0]);
  H5Tset_size(text, sizeof records[0].name);
  H5Tset_size(variable, H5T_VARIABLE);
  H5Tinsert(type, "index", (size_t)((char *)records[0].name - (char *)records), text);
  H5Tinsert(type, "n_genes", (size_t)((char *)&records[0].n_genes - (char *)records), H5T_NATIVE_INT32);
  H5Tinsert(type, "kind", (size_t)((char *)&records[0].kind - (char *)records), variable);
  H5Tinsert(type, "nf", (size_t)((char *)&records[0].nf - (char *)records), H5T_NATIVE_FLOAT);
  hid_t obs = H5Dopen2(file, "obs", H5P_DEFAULT), found = H5Dget_type(obs), space = H5Dget_space(obs);
  assert_int_equal(H5Tget_nmembers(found), 4);
  assert_true(H5Dread(obs, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, records) >= 0);
  for (int i = 0; i < SAMPLE_ROWS; i++) {
    const char name[6] = {'c', 'e', 'l', 'l', (char)('0' + i), 0};
    assert_string_equal(records[i].name, name);
    assert_int_equal(records[i].n_genes, i + 1);
    assert_string_equal(records[i].kind, i % 2 ? "T cell" : "B cell");
    assert_true(records[i].nf == factors[i]);
  }
  assert_string_equal(sample_texts(file, "obs", "source"), "a test");
  H5Dvlen_reclaim(type, space, H5P_DEFAULT, records);
  H5Sclose(space);
  H5Tclose(found);
  H5Dclose(obs);
  H5Fclose(file);
  /* In the place of a field that is there already. */
  output.key_added = "n_genes";
  file = rewritten("records.h5ad", NULL, CSRN_F32, output);
  obs = H5Dopen2(file, "obs", H5P_DEFAULT);
  found = H5Dget_type(obs);
  assert_int_equal(H5Tget_nmembers(found), 3);
  size_t end = 0; /* numpy shows a gap between two fields as one more */
  for (unsigned i = 0; i < 3; i++) {
    hid_t member = H5Tget_member_type(found, i);
    assert_int_equal(H5Tget_member_offset(found, i), end);
    end += H5Tget_size(member);
    H5Tclose(member);
  }
  assert_int_equal(H5Tget_size(found), end);
  hid_t one = H5Tcreate(H5T_COMPOUND, sizeof(float));
  float values[SAMPLE_ROWS];
  H5Tinsert(one, "n_genes", 0, H5T_NATIVE_FLOAT);
  H5Dread(obs, one, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  assert_memory_equal(values, factors, sizeof values);
  H5Tclose(one);
  H5Tclose(found);
  H5Tclose(type);
  H5Tclose(variable);
  H5Tclose(text);
  H5Dclose(obs);
  H5Fclose(file);
}

static void expect_refused(const char *name, csrn_io_output output, csrn_io_status expected,
                           const char *words) {
  csrn_io_error error = {""};
  remove(sample_path("out.h5ad"));
  assert_int_equal(rewrite(name, NULL, CSRN_F32, output, &error), expected);
  if (!strstr(error.text, words))
    fail_msg("\"%s\" is not in: %s", words, error.text);
  assert_null(fopen(sample_path("out.h5ad"), "r"));
}

static void impossible_columns(void **state) {
  (void)state;
  csrn_io_output output = {.factors = factors, .factors_type = CSRN_F32};
  sample_h5ad("in.h5ad", NULL);
  output.key_added = "_index";
  expect_refused("in.h5ad", output, CSRN_IO_USAGE, "_index");
  output.key_added = "__categories";
  expect_refused("in.h5ad", output, CSRN_IO_USAGE, "__categories");
  output.key_added = "a/b";
  expect_refused("in.h5ad", output, CSRN_IO_USAGE, "/");
  output.key_added = "nf";
  hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT),
        obs = H5Gopen2(file, "obs", H5P_DEFAULT);
  H5Adelete(obs, "column-order");
  H5Gclose(obs);
  H5Fclose(file);
  expect_refused("in.h5ad", output, CSRN_IO_FAILED, "column-order");
  file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(file, "obs", H5P_DEFAULT);
  H5Fclose(file);
  expect_refused("in.h5ad", output, CSRN_IO_FAILED, "there is no obs");
  make_records("records.h5ad");
  output.key_added = "index";
  expect_refused("records.h5ad", output, CSRN_IO_FAILED, "obs/index");
}

static void record_of_log1p(void **state) {
  (void)state;
  sample_h5ad("in.h5ad", NULL);
  hid_t file = rewritten("in.h5ad", NULL, CSRN_F32, (csrn_io_output){.log1p = 1});
  assert_string_equal(sample_texts(file, "uns", "encoding-type"), "dict");
  assert_string_equal(sample_texts(file, "uns/log1p", "encoding-type"), "dict");
  assert_false(sample_has(file, "uns/log1p/base"));
  H5Fclose(file);
  /* In the place of an older record, with a base. */
  assert_int_equal(rename(sample_path("out.h5ad"), sample_path("again.h5ad")), 0);
  file = rewritten("again.h5ad", NULL, CSRN_F32, (csrn_io_output){.log1p = 1, .log_base = 2.5});
  double base;
  sample_load(file, "uns/log1p/base", 1, &base);
  assert_true(base == 2.5);
  assert_string_equal(sample_texts(file, "uns/log1p/base", "encoding-type"), "numeric-scalar");
  H5Fclose(file);
  /* A file without encodings gets none. */
  file = sample_create("old.h5ad");
  sample_array(file, "X", H5T_STD_I32LE, 0);
  H5Fclose(file);
  file = rewritten("old.h5ad", NULL, CSRN_F32, (csrn_io_output){.log1p = 1, .log_base = 2});
  assert_true(sample_has(file, "uns/log1p/base"));
  assert_true(H5Aexists_by_name(file, "uns/log1p", "encoding-type", H5P_DEFAULT) == 0);
  H5Fclose(file);
}

/* ---- New files ---- */

static const char *const gene_names[] = {"g0", "g1", "g2", "g1", "gène4"};
static const char *const gene_ids[] = {"E0", "E1", "E2", "E3", "E4"};
static const char *const gene_types[] = {"RNA", "RNA", "RNA", "RNA", ""};
static const char *const cell_names[] = {"c0", "c1", "c2", "c3"};

/* A table owns its texts, but a writer only reads them. */
static char **texts(const char *const *of) {
  return (char **)(uintptr_t)of;
}

/* An input of a text format: what a writer sees of it. */
static csrn_io_input text_input(int named) {
  csrn_io_input input = {.description = {.format = CSRN_IO_MTX, .filters = "none"}};
  if (named) {
    input.cells = (csrn_io_table){
        .n_rows = SAMPLE_ROWS, .n_columns = 1, .names = {"index"}, .columns = {texts(cell_names)}};
    input.genes = (csrn_io_table){.n_rows = SAMPLE_COLUMNS,
                                  .n_columns = 3,
                                  .names = {"index", "gene_ids", "feature_types"},
                                  .columns = {texts(gene_names), texts(gene_ids), texts(gene_types)}};
  }
  return input;
}

static csrn_io_matrix sample_matrix(csrn_axis cells, double *values) {
  memcpy(values, sample_values, SAMPLE_NNZ * sizeof *values);
  return (csrn_io_matrix){{SAMPLE_ROWS, SAMPLE_COLUMNS, SAMPLE_NNZ, sample_indptr, sample_indices, values,
                           CSRN_I64, CSRN_I64, CSRN_F64},
                          cells,
                          0};
}

static hid_t write_new(csrn_io_input *input, const csrn_io_matrix *matrix, csrn_io_output output) {
  csrn_io_error error = {""};
  output.path = "new.h5ad";
  if (csrn_io_write_h5ad(input, matrix, &output, sample_path("new.h5ad"), NULL, &error))
    fail_msg("%s", error.text);
  hid_t file = H5Fopen(sample_path("new.h5ad"), H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(file >= 0);
  return file;
}

static void expect_shape(hid_t file, int64_t rows, int64_t columns) {
  int64_t shape[2];
  hid_t attribute = H5Aopen_by_name(file, "X", "shape", H5P_DEFAULT, H5P_DEFAULT);
  H5Aread(attribute, H5T_NATIVE_INT64, shape);
  H5Aclose(attribute);
  assert_true(shape[0] == rows && shape[1] == columns);
}

static void new_file(void **state) {
  (void)state;
  double values[SAMPLE_NNZ];
  csrn_io_input input = text_input(1);
  csrn_io_matrix matrix = sample_matrix(CSRN_PER_ROW, values);
  const csrn_io_output output = {.key_added = "nf", .factors = factors, .factors_type = CSRN_F32, .log1p = 1};
  hid_t file = write_new(&input, &matrix, output);
  assert_string_equal(sample_texts(file, "/", "encoding-type"), "anndata");
  assert_string_equal(sample_texts(file, "/", "encoding-version"), "0.1.0");
  assert_string_equal(sample_texts(file, "X", "encoding-type"), "csr_matrix");
  expect_shape(file, SAMPLE_ROWS, SAMPLE_COLUMNS);
  expect_sample(file, "X/data");
  assert_string_equal(sample_texts(file, "obs/_index", NULL), "c0|c1|c2|c3");
  assert_string_equal(sample_texts(file, "obs", "column-order"), "nf");
  expect_factors(file, "obs/nf");
  assert_string_equal(sample_texts(file, "var/_index", NULL), "g0|g1|g2|g1|gène4");
  assert_string_equal(sample_texts(file, "var", "column-order"), "gene_ids|feature_types");
  assert_string_equal(sample_texts(file, "var/gene_ids", NULL), "E0|E1|E2|E3|E4");
  assert_string_equal(sample_texts(file, "var/feature_types", NULL), "RNA|RNA|RNA|RNA|");
  static const char *const groups[] = {"layers", "obsm", "obsp", "uns", "varm", "varp", "uns/log1p"};
  for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
    assert_string_equal(sample_texts(file, groups[i], "encoding-type"), "dict");
  H5Fclose(file);
  assert_string_equal(storage_of("new.h5ad"), "none 6 float64");
}

static void new_file_by_gene(void **state) {
  (void)state;
  double values[SAMPLE_NNZ];
  csrn_io_matrix matrix = sample_matrix(CSRN_PER_COLUMN, values);
  const csrn_io_output output = {.compression = CSRN_IO_COMPRESSION_GZIP, .level = 3};
  hid_t file = write_new(NULL, &matrix, output);
  assert_string_equal(sample_texts(file, "X", "encoding-type"), "csc_matrix");
  expect_shape(file, SAMPLE_COLUMNS, SAMPLE_ROWS);
  assert_string_equal(sample_texts(file, "obs/_index", NULL), "0|1|2|3|4");
  assert_string_equal(sample_texts(file, "var/_index", NULL), "0|1|2|3");
  assert_string_equal(sample_texts(file, "var", "column-order"), "");
  H5Fclose(file);
  assert_string_equal(storage_of("new.h5ad"), "gzip-3 6 float64");
  csrn_io_input *input = sample_open(sample_path("new.h5ad"), NULL);
  csrn_io_matrix again;
  sample_read(input, &again);
  assert_int_equal(again.cells, CSRN_PER_COLUMN);
  sample_expect(&again, CSRN_F64);
  csrn_io_matrix_free(&again);
  csrn_io_close(input);
}

static void new_dense_and_empty(void **state) {
  (void)state;
  double values[SAMPLE_ROWS * SAMPLE_COLUMNS];
  memcpy(values, sample_dense, sizeof values);
  const int64_t indptr[SAMPLE_ROWS + 1] = {0, 5, 10, 15, 20};
  csrn_io_matrix dense = {
      {SAMPLE_ROWS, SAMPLE_COLUMNS, 20, indptr, NULL, values, CSRN_I64, CSRN_NONE, CSRN_F64},
      CSRN_PER_ROW,
      1};
  H5Fclose(write_new(NULL, &dense, (csrn_io_output){.compression = CSRN_IO_COMPRESSION_GZIP}));
  csrn_io_input *input = sample_open(sample_path("new.h5ad"), NULL);
  csrn_io_matrix again;
  sample_read(input, &again);
  sample_expect(&again, CSRN_F64);
  csrn_io_matrix_free(&again);
  csrn_io_close(input);
  const int64_t nothing[3] = {0, 0, 0};
  csrn_io_matrix empty = {{2, 0, 0, nothing, nothing, values, CSRN_I64, CSRN_I64, CSRN_F64}, CSRN_PER_ROW, 0};
  for (csrn_io_compression how = CSRN_IO_COMPRESSION_KEEP; how <= CSRN_IO_COMPRESSION_GZIP; how++) {
    H5Fclose(write_new(NULL, &empty, (csrn_io_output){.compression = how}));
    input = sample_open(sample_path("new.h5ad"), NULL);
    sample_read(input, &again);
    assert_int_equal(again.csr.n_rows, 2);
    assert_int_equal(again.csr.nnz, 0);
    csrn_io_matrix_free(&again);
    csrn_io_close(input);
  }
}

/* Many slabs and chunks, bit for bit, NaN's payload and -0 included. */
static void long_values(void **state) {
  (void)state;
  enum { N = 2500003 };
  uint32_t *bits = malloc(N * sizeof *bits), random = 1;
  int32_t *indices = calloc(N, sizeof *indices);
  assert_true(bits && indices);
  for (int i = 0; i < N; i++)
    bits[i] = random = random * 1664525 + 1013904223;
  const int64_t indptr[2] = {0, N};
  csrn_io_matrix matrix = {{1, 1, N, indptr, indices, bits, CSRN_I64, CSRN_I32, CSRN_F32}, CSRN_PER_ROW, 0};
  for (csrn_io_compression how = CSRN_IO_COMPRESSION_NONE; how <= CSRN_IO_COMPRESSION_GZIP; how++) {
    H5Fclose(write_new(NULL, &matrix, (csrn_io_output){.compression = how, .level = 1}));
    assert_string_equal(storage_of("new.h5ad"),
                        how == CSRN_IO_COMPRESSION_NONE ? "none 65536 float32" : "gzip-1 65536 float32");
    csrn_io_input *input = sample_open(sample_path("new.h5ad"), NULL);
    csrn_io_matrix again;
    sample_read(input, &again);
    assert_memory_equal(again.csr.data, bits, N * sizeof *bits);
    csrn_io_matrix_free(&again);
    csrn_io_close(input);
  }
  free(bits);
  free(indices);
}

/* ---- Failures ---- */

static void wrong_structure(void **state) {
  (void)state;
  double values[SAMPLE_NNZ];
  csrn_io_error error = {""};
  sample_h5ad("in.h5ad", NULL);
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  csrn_io_matrix matrix = sample_matrix(CSRN_PER_ROW, values);
  matrix.csr.nnz--;
  const csrn_io_output output = {.path = "new.h5ad"};
  assert_int_equal(csrn_io_write_h5ad(input, &matrix, &output, sample_path("new.h5ad"), NULL, &error),
                   CSRN_IO_FAILED);
  assert_non_null(strstr(error.text, "cannot replace X"));
  csrn_io_close(input);
}

/* A file that may not grow, as on a full disk: a sentence, and the library goes on. */
static void full_disk(void **state) {
  (void)state;
  enum { N = 200000 };
  float *values = calloc(N, sizeof *values);
  int32_t *indices = calloc(N, sizeof *indices);
  const int64_t indptr[2] = {0, N};
  csrn_io_matrix matrix = {{1, 1, N, indptr, indices, values, CSRN_I64, CSRN_I32, CSRN_F32}, CSRN_PER_ROW, 0};
  const csrn_io_output output = {.path = "new.h5ad"};
  csrn_io_error error;
  struct rlimit old, now;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, SIG_IGN);
  for (rlim_t limit = 0; limit <= 1 << 20; limit = 3 * limit + 500) {
    now = old;
    now.rlim_cur = limit;
    error.text[0] = '\0';
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    csrn_io_status status = csrn_io_write_h5ad(NULL, &matrix, &output, sample_path("new.h5ad"), NULL, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, CSRN_IO_FAILED);
    if (!strstr(error.text, "new.h5ad: cannot be written: File too large"))
      fail_msg("at %d bytes: %s", (int)limit, error.text);
  }
  signal(SIGXFSZ, SIG_DFL);
  free(values);
  free(indices);
  new_file(state);
}

/* Texts in a chunk that does not inflate: H5Ocopy() of libhdf5 1.10.8 crashes on them. */
static void damaged_texts(void **state) {
  (void)state;
  const char *const texts[SAMPLE_ROWS] = {"a", "bb", "ccc", "dddd"};
  const hsize_t n = SAMPLE_ROWS, first = 0;
  sample_h5ad("in.h5ad", NULL);
  hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t uns = H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &n, NULL), storage = sample_storage(2, "g");
  H5Tset_size(type, H5T_VARIABLE);
  hid_t packed = H5Dcreate2(uns, "packed", type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  assert_true(H5Dwrite(packed, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) >= 0);
  assert_true(H5Dwrite_chunk(packed, H5P_DEFAULT, 0, &first, 4, "junk") >= 0);
  H5Dclose(packed);
  H5Pclose(storage);
  H5Sclose(space);
  H5Tclose(type);
  H5Gclose(uns);
  H5Fclose(file);
  expect_refused("in.h5ad", (csrn_io_output){0}, CSRN_IO_FAILED, "in.h5ad: cannot read uns: ");
}

static int stop_at_fifth(void *user, const char *step, int64_t done, int64_t total) {
  (void)step;
  (void)done;
  (void)total;
  return ++*(int *)user == 5;
}

static void interruption(void **state) {
  (void)state;
  int calls = 0;
  const csrn_io_progress progress = {stop_at_fifth, &calls};
  csrn_io_error error = {""};
  sample_h5ad("in.h5ad", NULL);
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  const csrn_io_output output = {.path = sample_path("stopped.h5ad")};
  assert_int_equal(csrn_io_write(input, &matrix, &output, &progress, &error), CSRN_IO_FAILED);
  assert_non_null(strstr(error.text, "interrupted"));
  assert_null(fopen(sample_path("stopped.h5ad"), "r"));
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(storage_of_values),
      cmocka_unit_test(lossy_filters),
      cmocka_unit_test(contiguous_values),
      cmocka_unit_test(everything_else_stays),
      cmocka_unit_test(order_of_creation),
      cmocka_unit_test(linked_matrix),
      cmocka_unit_test(links_to_the_matrix),
      cmocka_unit_test(spare_values),
      cmocka_unit_test(factors_in_obs),
      cmocka_unit_test(factors_in_records),
      cmocka_unit_test(impossible_columns),
      cmocka_unit_test(record_of_log1p),
      cmocka_unit_test(new_file),
      cmocka_unit_test(new_file_by_gene),
      cmocka_unit_test(new_dense_and_empty),
      cmocka_unit_test(long_values),
      cmocka_unit_test(wrong_structure),
      cmocka_unit_test(damaged_texts),
      cmocka_unit_test(full_disk),
      cmocka_unit_test(interruption),
      cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("writing h5ad", tests, sample_setup, sample_teardown);
}
