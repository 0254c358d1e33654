/*
 * .h5ad files that lead elsewhere: into other files, which are neither read nor written, to nothing, and
 * round in circles.
 */
#include "hdf5_samples.h"

#include <stdlib.h>
#include <string.h>

static hid_t make_input(void) {
  hid_t file = sample_create("in.h5ad");
  sample_annotation(file);
  sample_sparse(file, "X", NULL);
  H5Gclose(H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  return file;
}

/* "other.h5ad", with all that another file can lead to. */
static void make_other(void) {
  sample_h5ad("other.h5ad", NULL);
  hid_t file = H5Fopen(sample_path("other.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Gclose(H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Fclose(file);
}

static H5L_type_t link_type(hid_t file, const char *path) {
  H5L_info_t info;
  assert_true(H5Lget_info(file, path, &info, H5P_DEFAULT) >= 0);
  return info.type;
}

/* ---- Other files ---------------------------------------------------------------- */

/* `name` leads to the same in other.h5ad: itself, or by a soft link through the root there. */
static void lead_away(const char *name, int softly) {
  char path[20];
  snprintf(path, sizeof path, "/other/%s", name);
  hid_t file = make_input();
  H5Ldelete(file, name, H5P_DEFAULT);
  H5Lcreate_external("other.h5ad", softly ? "/" : path + strlen("/other"), file, softly ? "other" : name,
                     H5P_DEFAULT, H5P_DEFAULT);
  if (softly)
    H5Lcreate_soft(path, file, name, H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
}

/* Nothing is added to what lies in another file, and links to it stay links. */
static void places_in_other_files(void **state) {
  (void)state;
  static const char *const names[] = {"uns", "obs"};
  const float factors[SAMPLE_ROWS] = {1, 2, 3, 4};
  make_other();
  for (int i = 0; i < 4; i++) {
    const char *name = names[i % 2];
    csrn_io_output output = {.factors = factors, .factors_type = CSRN_F32};
    size_t before_bytes, after_bytes;
    csrn_io_error error = {""};
    char words[100], *before = sample_read_bytes(sample_path("other.h5ad"), &before_bytes);
    snprintf(words, sizeof words, "in.h5ad: %s is a link to another file, or to nothing", name);
    lead_away(name, i / 2);
    hid_t file = sample_copied(NULL, (csrn_io_output){0});
    assert_int_equal(link_type(file, name), i / 2 ? H5L_TYPE_SOFT : H5L_TYPE_EXTERNAL);
    assert_int_equal(sample_has(file, name), 1); /* through the usual driver */
    H5Fclose(file);
    output.log1p = i % 2 == 0;
    output.key_added = i % 2 ? "factor" : NULL;
    assert_int_equal(sample_copy(NULL, output, &error), CSRN_IO_FAILED);
    if (!strstr(error.text, words))
      fail_msg("\"%s\" lacks \"%s\"", error.text, words);
    assert_null(fopen(sample_path("out.h5ad"), "r"));
    char *after = sample_read_bytes(sample_path("other.h5ad"), &after_bytes);
    assert_int_equal(after_bytes, before_bytes);
    assert_memory_equal(after, before, before_bytes);
    free(after);
    free(before);
  }
}

/* A file is sound whatever its links lead to, and so is its copy. */
static void dangling(void **state) {
  (void)state;
  hid_t file = make_input();
  H5Lcreate_external("nowhere.h5ad", "/raw", file, "raw", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  file = sample_copied(NULL, (csrn_io_output){0});
  assert_int_equal(link_type(file, "raw"), H5L_TYPE_EXTERNAL);
  H5Fclose(file);
}

static void matrix_in_another_file(void **state) {
  (void)state;
  make_other();
  lead_away("X", 0);
  sample_refused(sample_path("in.h5ad"), NULL, CSRN_IO_FAILED, "X is a link to another file, or to nothing",
                 NULL);
}

static void expect_input(void) {
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  sample_expect(&matrix, CSRN_F32);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
}

/* Elements that are none of this file are no zeros; those that a dataset has from another of the same file
 * are read. */
static void virtual_datasets(void **state) {
  (void)state;
  static const char *const paths[] = {"X/data", "X/indices", "X/indptr"};
  make_other();
  for (int i = 0; i < 6; i++) {
    const char *path = paths[i / 2], *source = i % 2 ? "." : "other.h5ad", *from = i % 2 ? "kept" : path;
    const hsize_t n = i / 2 == 2 ? SAMPLE_ROWS + 1 : SAMPLE_NNZ;
    hid_t file = make_input(), space = H5Screate_simple(1, &n, NULL), storage = H5Pcreate(H5P_DATASET_CREATE);
    H5Lmove(file, path, file, "kept", H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Pset_virtual(storage, space, source, from, space) >= 0);
    sample_dataset(file, path, i / 2 ? H5T_STD_I32LE : H5T_IEEE_F32LE, storage, 1, &n, 0, NULL);
    H5Pclose(storage);
    H5Sclose(space);
    H5Fclose(file);
    if (i % 2 == 0)
      sample_refused(sample_path("in.h5ad"), NULL, CSRN_IO_FAILED, path,
                     "is a virtual dataset of what is in another file, other.h5ad", NULL);
    else
      expect_input();
  }
}

/* ---- Circles -------------------------------------------------------------------- */

static haddr_t address(hid_t file, const char *path) {
  H5O_info_t info;
  assert_true(H5Oget_info_by_name2(file, path, &info, H5O_INFO_BASIC, H5P_DEFAULT) >= 0);
  return info.addr;
}

static void expect_sample(hid_t file, const char *path) {
  double values[SAMPLE_NNZ];
  sample_load(file, path, SAMPLE_NNZ, values);
  assert_memory_equal(values, sample_values, sizeof values);
}

/* Hard links from a group, in which a soft link leads to the values, to itself and to the groups around it.
 */
static void groups_in_themselves(void **state) {
  (void)state;
  hid_t file = make_input();
  H5Gclose(H5Gcreate2(file, "uns/outer", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Gclose(H5Gcreate2(file, "uns/outer/inner", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Lcreate_soft("/X", file, "uns/outer/inner/matrix", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file, "uns/outer/inner", file, "uns/outer/inner/self", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file, "uns/outer", file, "uns/outer/inner/up", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file, "uns/outer/inner", file, "uns/again", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file, "/", file, "uns/outer/inner/root", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  file = sample_copied(NULL, (csrn_io_output){0});
  expect_sample(file, "X/data");
  expect_sample(file, "uns/outer/inner/matrix/data");
  expect_sample(file, "uns/outer/inner/root/X/data");
  assert_true(address(file, "uns/outer/inner/matrix") != address(file, "X"));
  assert_int_equal(address(file, "uns/outer/inner/self"), address(file, "uns/outer/inner"));
  assert_int_equal(address(file, "uns/outer/inner/up"), address(file, "uns/outer"));
  assert_int_equal(address(file, "uns/again"), address(file, "uns/outer/inner"));
  assert_int_equal(address(file, "uns/outer/inner/root/uns"), address(file, "uns"));
  H5Fclose(file);
}

/* Soft links from within a group on the way to the values to that group. */
static void links_to_the_way(void **state) {
  (void)state;
  hid_t file = make_input();
  H5Gclose(H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  sample_sparse(file, "layers/spliced", NULL);
  H5Lcreate_soft("/layers", file, "layers/self", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  file = sample_copied(&(csrn_io_select){.layer = "spliced"}, (csrn_io_output){0});
  expect_sample(file, "layers/spliced/data");
  expect_sample(file, "layers/self/spliced/data");
  assert_int_equal(address(file, "layers/self/self"), address(file, "layers/self"));
  H5Fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(places_in_other_files),  cmocka_unit_test(dangling),
      cmocka_unit_test(matrix_in_another_file), cmocka_unit_test(virtual_datasets),
      cmocka_unit_test(groups_in_themselves),   cmocka_unit_test(links_to_the_way),
      cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("links in h5ad", tests, sample_setup, sample_teardown);
}
