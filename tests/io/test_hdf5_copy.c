/*
 * Copies of .h5ad files with what H5Ocopy() of libhdf5 1.10.8 crashes on, or does not copy as it should be:
 * many and large attributes, and references.
 */
#include "hdf5_samples.h"

#include <stdlib.h>
#include <string.h>

enum { MANY = 12, LARGE = 9000 /* numbers, more than 64 KiB */ };

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
    file = sample_copied(NULL, (csrn_io_output){0});
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
    file = sample_copied(NULL, (csrn_io_output){.compression = CSRN_IO_COMPRESSION_GZIP});
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
  file = sample_copied(
      NULL,
      (csrn_io_output){
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
  file = sample_copied(NULL, (csrn_io_output){0});
  assert_string_equal(sample_texts(file, "uns/again", NULL), "one|two|three");
  assert_string_equal(sample_texts(file, "uns/soft", NULL), "one|two|three");
  expect_many(file, "uns/a/texts");
  H5Fclose(file);
}

/* ---- References ---- */

static hid_t array_of(hid_t type) {
  const hsize_t one = 1;
  return H5Tarray_create2(type, 1, &one);
}

static hid_t record_of(hid_t type) {
  hid_t record = H5Tcreate(H5T_COMPOUND, H5Tget_size(type));
  H5Tinsert(record, "reference", 0, type);
  return record;
}

/* A dataset or, with `attribute`, an attribute of the object `path` with one reference to `target`, within a
 * value of that kind unless NULL. */
static void refer(hid_t file, const char *path, const char *attribute, const char *target, H5R_type_t kind,
                  hid_t (*within)(hid_t type)) {
  const hsize_t one = 1, first = 1;
  hid_t plain = kind == H5R_OBJECT ? H5T_STD_REF_OBJ : H5T_STD_REF_DSETREG;
  hid_t type = within ? within(plain) : H5Tcopy(plain), space = H5Screate_simple(1, &one, NULL);
  char reference[sizeof(hdset_reg_ref_t)] = {0};
  hid_t region = -1;
  if (target && kind == H5R_DATASET_REGION) {
    hid_t dataset = H5Dopen2(file, target, H5P_DEFAULT);
    region = H5Dget_space(dataset);
    H5Sselect_hyperslab(region, H5S_SELECT_SET, &first, NULL, &one, NULL);
    H5Dclose(dataset);
  }
  if (target)
    assert_true(H5Rcreate(reference, file, target, kind, region) >= 0);
  if (attribute) {
    hid_t object = H5Oopen(file, path, H5P_DEFAULT);
    hid_t made = H5Acreate2(object, attribute, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(made, type, reference) >= 0);
    H5Aclose(made);
    H5Oclose(object);
  } else
    sample_dataset(file, path, type, 0, 1, &one, type, reference);
  if (region >= 0)
    H5Sclose(region);
  H5Sclose(space);
  H5Tclose(type);
}

/* That there is nothing in the root that was not there before. */
static void expect_links(hid_t file, hsize_t n) {
  H5G_info_t info;
  assert_true(H5Gget_info(file, &info) >= 0);
  assert_int_equal(info.nlinks, n);
}

/* The first reference of a dataset, or attribute, leads to `target`. */
static void expect_reference(hid_t file, const char *path, const char *attribute, H5R_type_t kind,
                             const char *target) {
  char reference[sizeof(hdset_reg_ref_t)], name[100] = "";
  hid_t object = H5Oopen(file, path, H5P_DEFAULT);
  hid_t id = attribute ? H5Aopen(object, attribute, H5P_DEFAULT) : object;
  hid_t type = kind == H5R_OBJECT ? H5T_STD_REF_OBJ : H5T_STD_REF_DSETREG;
  assert_true((attribute ? H5Aread(id, type, reference)
                         : H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, reference)) >= 0);
  assert_true(H5Rget_name(object, kind, reference, name, sizeof name) > 0);
  assert_string_equal(name, target);
  if (attribute)
    H5Aclose(id);
  H5Oclose(object);
}

/* References within what is copied in one go lead to the copies of what they led to; those that are not set
 * stay so. */
static void references_within(void **state) {
  (void)state;
  hid_t file = make_input();
  refer(file, "uns/objects", NULL, "uns/a/b", H5R_OBJECT, NULL);
  refer(file, "uns/a/regions", NULL, "uns/a/b/numbers", H5R_DATASET_REGION, NULL);
  refer(file, "uns/a/b", "up", "uns", H5R_OBJECT, NULL);
  refer(file, "uns/unset", NULL, NULL, H5R_OBJECT, NULL);
  refer(file, "uns/unset_region", NULL, NULL, H5R_DATASET_REGION, NULL);
  H5Fclose(file);
  file = sample_copied(NULL, (csrn_io_output){0});
  expect_reference(file, "uns/objects", NULL, H5R_OBJECT, "/uns/a/b");
  expect_reference(file, "uns/a/regions", NULL, H5R_DATASET_REGION, "/uns/a/b/numbers");
  expect_reference(file, "uns/a/b", "up", H5R_OBJECT, "/uns");
  expect_links(file, 5);
  expect_rest(file);
  H5Fclose(file);
}

static void expect_refused(const char *const *words) {
  csrn_io_error error = {""};
  assert_int_equal(sample_copy(NULL, (csrn_io_output){0}, &error), CSRN_IO_FAILED);
  for (; *words; words++)
    if (!strstr(error.text, *words))
      fail_msg("\"%s\" lacks \"%s\"", error.text, *words);
  assert_null(fopen(sample_path("out.h5ad"), "r"));
}

/* Those that would lead to something else, or to nothing, are refused, and nothing is written. */
static void references_out(void **state) {
  (void)state;
  static const struct {
    const char *path, *attribute, *target;
    H5R_type_t kind;
    hid_t (*within)(hid_t type);
    const char *words[2];
  } cases[] = {
      {"uns/a/refs", NULL, "obs", H5R_OBJECT, NULL, {"uns/a/refs holds a reference to what is not in uns"}},
      {"uns/a/refs",
       NULL,
       "X/data",
       H5R_OBJECT,
       NULL,
       {"uns/a/refs holds a reference to what is not in uns"}},
      {"uns/a/refs", NULL, "X/data", H5R_DATASET_REGION, NULL, {"uns/a/refs holds a reference"}},
      {"refs", NULL, "uns", H5R_OBJECT, NULL, {"refs holds a reference to what is not in refs"}},
      {"uns/a/b", "out", "obs/_index", H5R_OBJECT, NULL, {"the attribute out of uns/a/b holds a reference"}},
      {"X/indptr", "out", "obs", H5R_OBJECT, NULL, {"the attribute out of X/indptr holds a reference"}},
      {"uns/a/type", "out", "obs", H5R_OBJECT, NULL, {"the attribute out of uns/a/type holds a reference"}},
      {"uns/refs", NULL, "uns/a", H5R_OBJECT, array_of, {"uns/refs holds references inside of other values"}},
      {"uns/refs", NULL, "uns/a", H5R_OBJECT, record_of, {"uns/refs holds references inside of other"}},
      {"uns/a", "in", "uns/a", H5R_OBJECT, record_of, {"the attribute in of uns/a holds references inside"}},
      {"X/data", "out", "uns", H5R_OBJECT, NULL, {"the attribute out of X/data holds references"}},
      {"uns/refs", NULL, "deleted", H5R_OBJECT, NULL, {"uns/refs holds a reference to what is not in uns"}},
      {"uns/refs", NULL, "deleted", H5R_DATASET_REGION, NULL, {"uns/refs holds a reference to what is not"}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const hsize_t n = SAMPLE_NNZ;
    hid_t file = make_input();
    sample_dataset(file, "deleted", H5T_IEEE_F64LE, 0, 1, &n, H5T_NATIVE_DOUBLE, sample_values);
    refer(file, cases[i].path, cases[i].attribute, cases[i].target, cases[i].kind, cases[i].within);
    H5Ldelete(file, "deleted", H5P_DEFAULT);
    H5Fclose(file);
    expect_refused(cases[i].words);
  }
}

/* A dataset may claim any number of elements, of which few are in the file. */
static void claimed_references(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    const hsize_t n = (hsize_t)1 << 40, start = 5, one = 1;
    hid_t file = make_input(), storage = sample_storage(16, "g"), memory = H5Screate_simple(1, &one, NULL);
    sample_dataset(file, "uns/refs", H5T_STD_REF_OBJ, storage, 1, &n, H5T_STD_REF_OBJ, NULL);
    hid_t dataset = H5Dopen2(file, "uns/refs", H5P_DEFAULT), space = H5Dget_space(dataset);
    hobj_ref_t reference;
    H5Rcreate(&reference, file, "uns/a", H5R_OBJECT, -1);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &one, NULL);
    if (i)
      assert_true(H5Dwrite(dataset, H5T_STD_REF_OBJ, memory, space, H5P_DEFAULT, &reference) >= 0);
    H5Sclose(space);
    H5Sclose(memory);
    H5Dclose(dataset);
    H5Pclose(storage);
    H5Fclose(file);
    if (i)
      expect_refused((const char *const[]){"uns/refs holds more references than are looked at", NULL});
    else
      H5Fclose(sample_copied(NULL, (csrn_io_output){0}));
  }
}

/* A group of which the parts are copied one by one cannot have references from one to another. */
static void references_and_attributes(void **state) {
  (void)state;
  hid_t file = make_input();
  refer(file, "uns/refs", NULL, "uns/a", H5R_OBJECT, NULL);
  add_many(file, "uns");
  H5Fclose(file);
  expect_refused((const char *const[]){"uns/refs holds a reference to what is not in refs", NULL});
}

/* A type goes with each dataset that has it. */
static void datasets_of_named_types(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    const hsize_t n = SAMPLE_NNZ;
    double values[SAMPLE_NNZ];
    hid_t file = make_input(), type = H5Topen2(file, "uns/a/type", H5P_DEFAULT);
    sample_dataset(file, "uns/typed", type, 0, 1, &n, H5T_NATIVE_DOUBLE, sample_values);
    H5Tclose(type);
    if (i)
      add_many(file, "uns/a/type");
    H5Fclose(file);
    if (i) {
      expect_refused((const char *const[]){"uns/typed has a named type with many or large attributes", NULL});
      continue;
    }
    file = sample_copied(NULL, (csrn_io_output){0});
    sample_load(file, "uns/typed", SAMPLE_NNZ, values);
    assert_memory_equal(values, sample_values, sizeof values);
    H5Fclose(file);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(many_attributes),
      cmocka_unit_test(large_attributes),
      cmocka_unit_test(annotated),
      cmocka_unit_test(texts_with_attributes),
      cmocka_unit_test(references_within),
      cmocka_unit_test(references_out),
      cmocka_unit_test(claimed_references),
      cmocka_unit_test(references_and_attributes),
      cmocka_unit_test(datasets_of_named_types),
      cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("copies of h5ad", tests, sample_setup, sample_teardown);
}
