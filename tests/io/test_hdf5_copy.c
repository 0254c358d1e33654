/*
 * Copies of .h5ad files with what H5Ocopy() of libhdf5 1.10.8 crashes on, or does not copy as it should be:
 * many and large attributes.
 */
#include "hdf5_samples.h"

#include <stdlib.h>
#include <string.h>

enum { MANY = 12, LARGE = 9000 /* numbers, more than 64 KiB */ };

/* Writes "in.h5ad" to "out.h5ad", with its own values. */
static csrn_io_status copy_input(csrn_io_output output, csrn_io_error *error) {
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
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

static hid_t copied(csrn_io_output output) {
  csrn_io_error error = {""};
  if (copy_input(output, &error))
    fail_msg("%s", error.text);
  hid_t file = H5Fopen(sample_path("out.h5ad"), H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(file >= 0);
  return file;
}

/* Groups, datasets and a type at several depths. */
static const char *const objects[] = {"/",   "X",       "X/data",          "X/indices",  "obs", "obs/_index",
                                      "uns", "uns/a/b", "uns/a/b/numbers", "uns/a/type", "type"};
enum { N_OBJECTS = sizeof objects / sizeof objects[0] };

static hid_t make_type(hid_t file, const char *path) {
  hid_t type = H5Tcopy(H5T_STD_I16LE);
  assert_true(H5Tcommit2(file, path, type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) >= 0);
  return type;
}

/* "in.h5ad" in the newer format, with the objects above. */
static hid_t make_input(void) {
  const hsize_t n = SAMPLE_NNZ;
  hid_t access = H5Pcreate(H5P_FILE_ACCESS), storage = sample_storage(4, "sg");
  H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  hid_t file = H5Fcreate(sample_path("in.h5ad"), H5F_ACC_TRUNC, H5P_DEFAULT, access);
  assert_true(file >= 0);
  sample_annotation(file);
  sample_sparse(file, "X", &(sample_options){.storage = storage});
  H5Gclose(H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Gclose(H5Gcreate2(file, "uns/a", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Gclose(H5Gcreate2(file, "uns/a/b", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  sample_dataset(file, "uns/a/b/numbers", H5T_IEEE_F64LE, storage, 1, &n, H5T_NATIVE_DOUBLE, sample_values);
  H5Tclose(make_type(file, "uns/a/type"));
  H5Tclose(make_type(file, "type"));
  H5Pclose(storage);
  H5Pclose(access);
  return file;
}

static void add_many(hid_t file, const char *path) {
  char name[20];
  hid_t object = H5Oopen(file, path, H5P_DEFAULT);
  for (int i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "text%d", i);
    sample_text(object, name, path);
  }
  H5Oclose(object);
}

static void expect_many(hid_t file, const char *path) {
  char name[20];
  for (int i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "text%d", i);
    assert_string_equal(sample_texts(file, path, name), path);
  }
}

/* All numbers of an attribute are `value`. */
static void add_large(hid_t file, const char *path, int64_t value) {
  int64_t *values = malloc(LARGE * sizeof *values);
  assert_non_null(values);
  for (int i = 0; i < LARGE; i++)
    values[i] = value;
  hid_t object = H5Oopen(file, path, H5P_DEFAULT);
  sample_text(object, "some", path);
  sample_integers(object, "large", LARGE, values);
  H5Oclose(object);
  free(values);
}

static void expect_large(hid_t file, const char *path, int64_t value) {
  int64_t *values = calloc(LARGE, sizeof *values);
  assert_non_null(values);
  hid_t attribute = H5Aopen_by_name(file, path, "large", H5P_DEFAULT, H5P_DEFAULT);
  assert_true(H5Aread(attribute, H5T_NATIVE_INT64, values) >= 0);
  for (int i = 0; i < LARGE; i++)
    assert_int_equal(values[i], value);
  H5Aclose(attribute);
  free(values);
  assert_string_equal(sample_texts(file, path, "some"), path);
}

/* That all that has no attributes added is as it was. */
static void expect_rest(hid_t file) {
  double values[SAMPLE_NNZ];
  sample_load(file, "X/data", SAMPLE_NNZ, values);
  assert_memory_equal(values, sample_values, sizeof values);
  sample_load(file, "uns/a/b/numbers", SAMPLE_NNZ, values);
  assert_memory_equal(values, sample_values, sizeof values);
  assert_string_equal(sample_texts(file, "obs", "encoding-type"), "dataframe");
  assert_string_equal(sample_texts(file, "obs/_index", NULL), "cell0|cell1|cell2|cell3");
  for (int i = 0; i < N_OBJECTS; i++)
    assert_int_equal(sample_has(file, objects[i]), 1);
  hid_t type = H5Topen2(file, "uns/a/type", H5P_DEFAULT);
  assert_true(H5Tequal(type, H5T_STD_I16LE) > 0);
  H5Tclose(type);
}

/* Each object alone, then all of them. */
static void many_attributes(void **state) {
  (void)state;
  for (int i = 0; i <= N_OBJECTS; i++) {
    hid_t file = make_input();
    for (int j = 0; j < N_OBJECTS; j++)
      if (i == j || i == N_OBJECTS)
        add_many(file, objects[j]);
    H5Fclose(file);
    file = copied((csrn_io_output){0});
    for (int j = 0; j < N_OBJECTS; j++)
      if (i == j || i == N_OBJECTS)
        expect_many(file, objects[j]);
    expect_rest(file);
    H5Fclose(file);
  }
}

static void large_attributes(void **state) {
  (void)state;
  for (int i = 0; i <= N_OBJECTS; i++) {
    hid_t file = make_input();
    for (int j = 0; j < N_OBJECTS; j++)
      if (i == j || i == N_OBJECTS)
        add_large(file, objects[j], j);
    H5Fclose(file);
    file = copied((csrn_io_output){.compression = CSRN_IO_COMPRESSION_GZIP});
    for (int j = 0; j < N_OBJECTS; j++)
      if (i == j || i == N_OBJECTS)
        expect_large(file, objects[j], j);
    expect_rest(file);
    H5Fclose(file);
  }
}

/* What is added to a copy is added to objects of many attributes, too. */
static void annotated(void **state) {
  (void)state;
  const float factors[SAMPLE_ROWS] = {1, 2, 3, 4};
  double found[SAMPLE_ROWS];
  hid_t file = make_input();
  add_many(file, "obs");
  add_large(file, "obs", 5);
  add_many(file, "uns");
  H5Fclose(file);
  file = copied((csrn_io_output){
      .factors = factors, .factors_type = CSRN_F32, .key_added = "factor", .log1p = 1, .log_base = 2});
  expect_many(file, "obs");
  expect_large(file, "obs", 5);
  expect_many(file, "uns");
  expect_rest(file);
  assert_string_equal(sample_texts(file, "obs", "column-order"), "factor");
  sample_load(file, "obs/factor", SAMPLE_ROWS, found);
  assert_true(found[3] == 4);
  sample_load(file, "uns/log1p/base", 1, found);
  assert_true(found[0] == 2);
  H5Fclose(file);
}

/* Texts of variable length in a dataset that has many attributes, and links to it. */
static void texts_with_attributes(void **state) {
  (void)state;
  const char *const texts[] = {"one", "two", "three"};
  hid_t file = make_input();
  sample_strings(file, "uns/a/texts", 3, texts);
  add_many(file, "uns/a/texts");
  H5Lcreate_hard(file, "uns/a/texts", file, "uns/again", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/uns/a/texts", file, "uns/soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  file = copied((csrn_io_output){0});
  assert_string_equal(sample_texts(file, "uns/again", NULL), "one|two|three");
  assert_string_equal(sample_texts(file, "uns/soft", NULL), "one|two|three");
  expect_many(file, "uns/a/texts");
  H5Fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(many_attributes),     cmocka_unit_test(large_attributes),
      cmocka_unit_test(annotated),           cmocka_unit_test(texts_with_attributes),
      cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("copies of h5ad", tests, sample_setup, sample_teardown);
}
