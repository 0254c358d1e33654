/*
 * Reading 10x .h5 files: the selection of features by type and genome, the names of cells
 * and genes, both versions, and damaged files. The matrix of hdf5_samples.h is one of 4
 * barcodes x 5 features here:
 *
 *     feature     0      1      2      3      4
 *     type        gene   gene   antibody gene antibody
 *     genome      mm10   hg19   ""     hg19   hg19
 */
#include "hdf5_samples.h"
#include "io_internal.h"

#include <string.h>

static const char *const barcodes[] = {"AAA-1", "CCC-1", "GGG-1", "TTT-1"};
static const char *const ids[] = {"ENS0", "ENS1", "CD4", "ENS3", "CD8"};
static const char *const names[] = {"Sox2", "Actb", "CD4", "Actb", "CD8_protein_of_longer_name"};
static const char *const types[] = {"Gene Expression", "Gene Expression", "Antibody Capture",
                                    "Gene Expression", "Antibody Capture"};
static const char *const genomes[] = {"mm10", "hg19", "", "hg19", "hg19"};

static void make_matrix(hid_t file, const char *name, hid_t data_type, hid_t index_type) {
  const hsize_t n = SAMPLE_NNZ, n_indptr = SAMPLE_ROWS + 1, two = 2;
  const int64_t shape[2] = {SAMPLE_COLUMNS, SAMPLE_ROWS};
  hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  hid_t storage = sample_storage(4, "sg");
  sample_dataset(group, "data", data_type, storage, 1, &n, H5T_NATIVE_DOUBLE, sample_values);
  sample_dataset(group, "indices", index_type, storage, 1, &n, H5T_NATIVE_INT64, sample_indices);
  sample_dataset(group, "indptr", index_type, storage, 1, &n_indptr, H5T_NATIVE_INT64, sample_indptr);
  sample_dataset(group, "shape", H5T_STD_I32LE, 0, 1, &two, H5T_NATIVE_INT64, shape);
  sample_fixed_strings(group, "barcodes", SAMPLE_ROWS, 5, barcodes);
  H5Pclose(storage);
  H5Gclose(group);
}

static hid_t make_v3(const char *name, hid_t data_type, hid_t index_type) {
  hid_t file = sample_create(name);
  make_matrix(file, "matrix", data_type, index_type);
  hid_t features = H5Gcreate2(file, "matrix/features", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_fixed_strings(features, "id", SAMPLE_COLUMNS, 8, ids);
  sample_strings(features, "name", SAMPLE_COLUMNS, names);
  sample_fixed_strings(features, "feature_type", SAMPLE_COLUMNS, 20, types);
  sample_fixed_strings(features, "genome", SAMPLE_COLUMNS, 8, genomes);
  H5Gclose(features);
  return file;
}

static void make_v2(const char *name, int n_genomes) {
  static const char *const groups[] = {"mm10", "hg19"};
  hid_t file = sample_create(name);
  for (int i = 0; i < n_genomes; i++) {
    make_matrix(file, groups[i], i ? H5T_STD_I64LE : H5T_STD_I32LE, H5T_STD_I64LE);
    hid_t group = H5Gopen2(file, groups[i], H5P_DEFAULT);
    sample_fixed_strings(group, "genes", SAMPLE_COLUMNS, 8, ids);
    sample_fixed_strings(group, "gene_names", SAMPLE_COLUMNS, 32, names);
    H5Gclose(group);
  }
  H5Fclose(file);
}

/* The texts of a column joined by "|". */
static const char *column(const csrn_io_table *table, int c, const char *name) {
  static char joined[512];
  assert_true(c < table->n_columns);
  assert_string_equal(table->names[c], name);
  joined[0] = '\0';
  for (int64_t i = 0; i < table->n_rows; i++)
    snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i ? "|" : "",
             table->columns[c][i]);
  return joined;
}

/* The dense form of what a selection gives, against `expected` with n columns. */
static void expect_selected(const char *file, const csrn_io_select *select, int n,
                            const int *expected_columns) {
  csrn_io_input *input = sample_open(sample_path(file), select);
  const csrn_io_description *d = csrn_io_describe(input);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  const csrn_csr *csr = &matrix.csr;
  double found[SAMPLE_ROWS * SAMPLE_COLUMNS] = {0};
  assert_int_equal(matrix.cells, CSRN_PER_ROW);
  assert_int_equal(csr->n_rows, SAMPLE_ROWS);
  assert_int_equal(csr->n_cols, n);
  assert_int_equal(d->n_cells, SAMPLE_ROWS);
  assert_int_equal(d->n_genes, n);
  assert_int_equal(d->nnz, csr->nnz);
  assert_int_equal(d->nnz_file, SAMPLE_NNZ);
  assert_int_equal(input->genes.n_rows, n);
  for (int64_t i = 0; i < SAMPLE_ROWS; i++)
    for (int64_t k = (int64_t)sample_element(csr->indptr, csr->indptr_type, i);
         k < (int64_t)sample_element(csr->indptr, csr->indptr_type, i + 1); k++)
      found[i * n + (int64_t)sample_element(csr->indices, csr->indices_type, k)] +=
          sample_element(csr->data, csr->data_type, k);
  double sum = 0, total = 0;
  for (int i = 0; i < SAMPLE_ROWS; i++)
    for (int j = 0; j < n; j++) {
      assert_true(found[i * n + j] == sample_dense[i * SAMPLE_COLUMNS + expected_columns[j]]);
      sum += found[i * n + j];
    }
  for (int64_t k = 0; k < csr->nnz; k++)
    total += sample_element(csr->data, csr->data_type, k);
  assert_true(sum == total);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
}

static void selections(void **state) {
  (void)state;
  H5Fclose(make_v3("v3.h5", H5T_STD_I32LE, H5T_STD_I64LE));
  expect_selected("v3.h5", NULL, 3, (const int[]){0, 1, 3});
  expect_selected("v3.h5", &(csrn_io_select){.feature_types = "all"}, 5, (const int[]){0, 1, 2, 3, 4});
  expect_selected("v3.h5", &(csrn_io_select){.feature_types = "Antibody Capture"}, 2, (const int[]){2, 4});
  expect_selected("v3.h5", &(csrn_io_select){.genome = "hg19"}, 2, (const int[]){1, 3});
  expect_selected("v3.h5", &(csrn_io_select){.genome = "hg19", .feature_types = "all"}, 3,
                  (const int[]){1, 3, 4});
  expect_selected("v3.h5", &(csrn_io_select){.genome = "mm10", .feature_types = "Antibody Capture"}, 0, NULL);
}

static void types_of_values_and_indices(void **state) {
  (void)state;
  const hid_t data[] = {H5T_STD_U8LE,  H5T_STD_U16LE,  H5T_STD_I32LE,
                        H5T_STD_I64LE, H5T_IEEE_F32LE, H5T_IEEE_F64LE};
  const hid_t indices[] = {H5T_STD_U8LE,  H5T_STD_U16LE, H5T_STD_U32LE,
                           H5T_STD_U64LE, H5T_STD_I32LE, H5T_STD_I64LE};
  for (size_t i = 0; i < sizeof data / sizeof data[0]; i++)
    for (size_t j = 0; j < sizeof indices / sizeof indices[0]; j++) {
      H5Fclose(make_v3("types.h5", data[i], indices[j]));
      expect_selected("types.h5", NULL, 3, (const int[]){0, 1, 3});
    }
}

static void names_of_v3(void **state) {
  (void)state;
  H5Fclose(make_v3("v3.h5", H5T_STD_I32LE, H5T_STD_I64LE));
  csrn_io_input *input = sample_open(sample_path("v3.h5"), NULL);
  const csrn_io_description *d = csrn_io_describe(input);
  assert_int_equal(d->format, CSRN_IO_10X);
  assert_string_equal(d->format_name, "10x Genomics h5 (v3)");
  assert_string_equal(d->matrix_name, "matrix");
  assert_string_equal(d->filters, "shuffle+gzip-6");
  assert_int_equal(d->chunk, 4);
  assert_int_equal(d->data_type, CSRN_I32);
  assert_string_equal(d->feature_types[0], "Antibody Capture");
  assert_string_equal(d->feature_types[1], "Gene Expression");
  assert_null(d->feature_types[2]);
  assert_string_equal(d->genomes[1], "hg19");
  assert_string_equal(d->genomes[2], "mm10");
  assert_null(d->genomes[3]);
  assert_null(d->layers[0]);
  assert_string_equal(column(&input->cells, 0, "index"), "AAA-1|CCC-1|GGG-1|TTT-1");
  assert_int_equal(input->cells.n_columns, 1);
  assert_string_equal(column(&input->genes, 0, "index"), "Sox2|Actb|Actb");
  assert_string_equal(column(&input->genes, 1, "gene_ids"), "ENS0|ENS1|ENS3");
  assert_string_equal(column(&input->genes, 2, "feature_types"),
                      "Gene Expression|Gene Expression|Gene Expression");
  assert_string_equal(column(&input->genes, 3, "genome"), "mm10|hg19|hg19");
  csrn_io_close(input);
}

/* Texts under the name of a column that there is already are not taken for another. */
static void names_taken(void **state) {
  (void)state;
  hid_t file = make_v3("taken.h5", H5T_STD_I32LE, H5T_STD_I64LE);
  sample_strings(file, "matrix/features/gene_ids", SAMPLE_COLUMNS, names);
  sample_strings(file, "matrix/features/index", SAMPLE_COLUMNS, names);
  sample_strings(file, "matrix/features/pattern", SAMPLE_COLUMNS, ids);
  H5Fclose(file);
  csrn_io_input *input = sample_open(sample_path("taken.h5"), NULL);
  assert_int_equal(input->genes.n_columns, 5);
  assert_string_equal(column(&input->genes, 1, "gene_ids"), "ENS0|ENS1|ENS3");
  assert_string_equal(column(&input->genes, 4, "pattern"), "ENS0|ENS1|ENS3");
  csrn_io_close(input);
}

static void make_many(int n) {
  char name[64];
  hid_t file = make_v3("many.h5", H5T_STD_I32LE, H5T_STD_I64LE);
  for (int i = 0; i < n; i++) {
    snprintf(name, sizeof name, "matrix/features/text%03d", i);
    sample_fixed_strings(file, name, SAMPLE_COLUMNS, 8, i % 2 ? ids : names);
  }
  H5Fclose(file);
}

/* However much features are described by, all of it is carried, or nothing is read. */
static void many_names(void **state) {
  (void)state;
  make_many(40);
  csrn_io_input *input = sample_open(sample_path("many.h5"), NULL);
  assert_int_equal(input->genes.n_columns, 44);
  assert_string_equal(column(&input->genes, 43, "text039"), "ENS0|ENS1|ENS3");
  csrn_io_close(input);
  make_many(252);
  input = sample_open(sample_path("many.h5"), NULL);
  assert_int_equal(input->genes.n_columns, 256);
  csrn_io_close(input);
  make_many(253);
  sample_refused(sample_path("many.h5"), NULL, CSRN_IO_FAILED, "matrix/features has more than 256 texts",
                 NULL);
}

/* A chunk of indices is decoded whole, so a large one is looked at beforehand. */
static void memory_of_a_chunk(void **state) {
  (void)state;
  enum { CHUNK = 1 << 20 };
  const hsize_t n = SAMPLE_NNZ;
  hid_t file = make_v3("chunk.h5", H5T_STD_I32LE, H5T_STD_I64LE), storage = sample_storage(CHUNK, "g");
  H5Ldelete(file, "matrix/indices", H5P_DEFAULT);
  sample_dataset(file, "matrix/indices", H5T_STD_I64LE, storage, 1, &n, H5T_NATIVE_INT64, sample_indices);
  H5Pclose(storage);
  H5Fclose(file);
  const char *path = sample_path("chunk.h5");
  sample_refused(path, &(csrn_io_select){.memory = INT64_C(3) * CHUNK * 8}, CSRN_IO_FAILED,
                 "needs 25165872 bytes of memory to select features", "25165824", NULL);
  csrn_io_close(sample_open(path, &(csrn_io_select){.memory = INT64_C(4) * CHUNK * 8}));
  csrn_io_close(sample_open(path, &(csrn_io_select){.memory = 1, .feature_types = "all"}));
}

static void version_2(void **state) {
  (void)state;
  make_v2("one.h5", 1);
  expect_selected("one.h5", NULL, 5, (const int[]){0, 1, 2, 3, 4});
  expect_selected("one.h5", &(csrn_io_select){.feature_types = "all"}, 5, (const int[]){0, 1, 2, 3, 4});
  make_v2("two.h5", 2);
  expect_selected("two.h5", &(csrn_io_select){.genome = "hg19"}, 5, (const int[]){0, 1, 2, 3, 4});
  csrn_io_input *input = sample_open(sample_path("two.h5"), &(csrn_io_select){.genome = "hg19"});
  const csrn_io_description *d = csrn_io_describe(input);
  assert_string_equal(d->format_name, "10x Genomics h5 (v2)");
  assert_string_equal(d->matrix_name, "hg19");
  assert_int_equal(d->data_type, CSRN_I64);
  assert_string_equal(d->genomes[0], "hg19");
  assert_string_equal(d->genomes[1], "mm10");
  assert_string_equal(column(&input->genes, 0, "index"), "Sox2|Actb|CD4|Actb|CD8_protein_of_longer_name");
  assert_string_equal(column(&input->genes, 1, "gene_ids"), "ENS0|ENS1|CD4|ENS3|CD8");
  assert_int_equal(input->genes.n_columns, 2);
  csrn_io_close(input);
  const char *path = sample_path("two.h5");
  sample_refused(path, NULL, CSRN_IO_FAILED, "several genomes", "hg19, mm10", NULL);
  sample_refused(path, &(csrn_io_select){.genome = "rn6"}, CSRN_IO_FAILED, "no genome \"rn6\"", "hg19, mm10",
                 NULL);
  sample_refused(path, &(csrn_io_select){.genome = "hg19", .feature_types = "Antibody Capture"},
                 CSRN_IO_FAILED, "Antibody Capture", NULL);
}

static void wrong_choices(void **state) {
  (void)state;
  H5Fclose(make_v3("v3.h5", H5T_STD_I32LE, H5T_STD_I64LE));
  const char *path = sample_path("v3.h5");
  sample_refused(path, &(csrn_io_select){.genome = "rn6"}, CSRN_IO_FAILED, "genome \"rn6\"", "hg19, mm10",
                 NULL);
  sample_refused(path, &(csrn_io_select){.feature_types = "CRISPR"}, CSRN_IO_FAILED, "type \"CRISPR\"",
                 "Antibody Capture, Gene Expression", NULL);
  sample_refused(path, &(csrn_io_select){.layer = "spliced"}, CSRN_IO_FAILED, "no layers", NULL);
  sample_refused(path, &(csrn_io_select){.cells = CSRN_IO_CELLS_ROWS}, CSRN_IO_FAILED, "cells", NULL);
}

/* ---- Damaged files ---- */

static void drop(hid_t file, const char *path) {
  assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
}
static void put_shape(hid_t file, hsize_t n, const int64_t *shape) {
  drop(file, "matrix/shape");
  sample_dataset(file, "matrix/shape", H5T_STD_I64LE, 0, 1, &n, H5T_NATIVE_INT64, shape);
}
static void no_barcodes(hid_t file) {
  drop(file, "matrix/barcodes");
}
static void short_barcodes(hid_t file) {
  drop(file, "matrix/barcodes");
  sample_fixed_strings(file, "matrix/barcodes", 3, 5, barcodes);
}
static void number_barcodes(hid_t file) {
  const hsize_t n = SAMPLE_ROWS;
  drop(file, "matrix/barcodes");
  sample_dataset(file, "matrix/barcodes", H5T_STD_I32LE, 0, 1, &n, 0, NULL);
}
static void no_names(hid_t file) {
  drop(file, "matrix/features/name");
}
static void short_types(hid_t file) {
  drop(file, "matrix/features/feature_type");
  sample_fixed_strings(file, "matrix/features/feature_type", 2, 20, types);
}
static void no_genes(hid_t file) {
  const char *const antibodies[SAMPLE_COLUMNS] = {types[2], types[2], types[2], types[2], types[2]};
  drop(file, "matrix/features/feature_type");
  sample_fixed_strings(file, "matrix/features/feature_type", SAMPLE_COLUMNS, 20, antibodies);
}
static void no_shape(hid_t file) {
  drop(file, "matrix/shape");
}
static void long_shape(hid_t file) {
  put_shape(file, 3, (const int64_t[]){5, 4, 1});
}
static void negative_shape(hid_t file) {
  put_shape(file, 2, (const int64_t[]){-5, 4});
}
static void exchanged_shape(hid_t file) {
  put_shape(file, 2, (const int64_t[]){4, 5});
}
static void huge_shape(hid_t file) {
  put_shape(file, 2, (const int64_t[]){INT64_MAX / 16, 4});
}
static void no_data(hid_t file) {
  drop(file, "matrix/data");
}
static void put_indices(hid_t file, int64_t wrong) {
  const hsize_t n = SAMPLE_NNZ;
  int64_t indices[SAMPLE_NNZ];
  memcpy(indices, sample_indices, sizeof indices);
  indices[3] = wrong;
  drop(file, "matrix/indices");
  sample_dataset(file, "matrix/indices", H5T_STD_I64LE, 0, 1, &n, H5T_NATIVE_INT64, indices);
}
static void big_index(hid_t file) {
  put_indices(file, INT64_MAX);
}
static void negative_index(hid_t file) {
  put_indices(file, -7);
}
static void decreasing_indptr(hid_t file) {
  const hsize_t n = SAMPLE_ROWS + 1;
  drop(file, "matrix/indptr");
  sample_dataset(file, "matrix/indptr", H5T_STD_I64LE, 0, 1, &n, H5T_NATIVE_INT64,
                 (const int64_t[]){0, 6, 2, 5, 6});
}
static void short_data(hid_t file) {
  const hsize_t n = 2;
  drop(file, "matrix/data");
  sample_dataset(file, "matrix/data", H5T_STD_I32LE, 0, 1, &n, H5T_NATIVE_INT64, sample_indices);
}

static const struct {
  void (*damage)(hid_t file);
  const char *words[3];
} damages[] = {
    {no_barcodes, {"matrix/barcodes is missing"}},
    {short_barcodes, {"matrix/barcodes has 3 texts", "expected 4"}},
    {number_barcodes, {"cannot read the texts of matrix/barcodes"}},
    {no_names, {"matrix/features/name is missing"}},
    {short_types, {"matrix/features/feature_type has 2 texts", "expected 5"}},
    {no_genes, {"type \"Gene Expression\"", "there are: Antibody Capture"}},
    {no_shape, {"matrix/shape is missing"}},
    {long_shape, {"matrix/shape", "two integers"}},
    {negative_shape, {"matrix/shape is -5 x 4"}},
    {exchanged_shape, {"matrix/indptr has 5 elements", "expected 6"}},
    {huge_shape, {"matrix/features/name has 5 texts", "expected 576460752303423487"}},
    {no_data, {"matrix/data is missing"}},
    {big_index, {"matrix is not a valid", "9223372036854775807"}},
    {negative_index, {"matrix is not a valid", "-7"}},
    {decreasing_indptr, {"matrix is not a valid", "indptr"}},
    {short_data, {"matrix/data has 2 values", "expected 6"}},
};

static void damaged(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
    hid_t file = make_v3("damaged.h5", H5T_STD_I32LE, H5T_STD_I64LE);
    damages[i].damage(file);
    H5Fclose(file);
    sample_refused(sample_path("damaged.h5"), NULL, CSRN_IO_FAILED, damages[i].words[0], damages[i].words[1],
                   damages[i].words[2], NULL);
  }
}

/* ---- What is there, but cannot be opened ---- */

/* In the place of a dataset: a group, and links to nothing, to themselves, and to no file. */
static void put_group(hid_t file, const char *path) {
  H5Gclose(H5Gcreate2(file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void put_soft_link(hid_t file, const char *path) {
  assert_true(H5Lcreate_soft("/nowhere", file, path, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}
static void put_relative_link(hid_t file, const char *path) {
  assert_true(H5Lcreate_soft("nowhere/at/all", file, path, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}
static void put_loop(hid_t file, const char *path) {
  assert_true(H5Lcreate_soft(strrchr(path, '/') + 1, file, path, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}
static void put_external_link(hid_t file, const char *path) {
  assert_true(H5Lcreate_external("nowhere.h5", "/", file, path, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

/* Features are not taken for all of one type, genome and so on because that cannot be read. */
static void unreadable_features(void **state) {
  (void)state;
  static const char *const paths[] = {"matrix/features/feature_type", "matrix/features/genome",
                                      "matrix/features/id", "matrix/features/pattern", "matrix/shape"};
  static const struct {
    void (*put)(hid_t file, const char *path);
    const char *words;
  } links[] = {{put_group, "is a group, expected a dataset"},
               {put_soft_link, "is a link to another file, or to nothing"},
               {put_relative_link, "is a link to another file, or to nothing"},
               {put_loop, "too many"},
               {put_external_link, "is a link to another file, or to nothing"}};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    hid_t file = make_v3("unreadable.h5", H5T_STD_I32LE, H5T_STD_I64LE);
    sample_strings(file, "matrix/features/pattern", SAMPLE_COLUMNS, ids);
    H5Fclose(file);
    sample_spoil("unreadable.h5", paths[i]);
    sample_refused(sample_path("unreadable.h5"), NULL, CSRN_IO_FAILED, "cannot read", paths[i],
                   "bad object header version number", NULL);
    for (size_t j = i < 3 ? 0 : 1; j < sizeof links / sizeof links[0]; j++) {
      file = make_v3("unreadable.h5", H5T_STD_I32LE, H5T_STD_I64LE);
      if (i != 3)
        drop(file, paths[i]);
      links[j].put(file, paths[i]);
      H5Fclose(file);
      sample_refused(sample_path("unreadable.h5"), NULL, CSRN_IO_FAILED, paths[i], links[j].words, NULL);
    }
  }
  H5Fclose(make_v3("unreadable.h5", H5T_STD_I32LE, H5T_STD_I64LE));
  sample_spoil("unreadable.h5", "matrix");
  sample_refused(sample_path("unreadable.h5"), NULL, CSRN_IO_FAILED, "cannot read matrix: ", NULL);
}

/* A genome is not the only one because another cannot be read. */
static void unreadable_genome(void **state) {
  (void)state;
  static const char *const paths[] = {"mm10", "mm10/barcodes", "mm10/indptr"};
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    make_v2("unreadable.h5", 2);
    sample_spoil("unreadable.h5", paths[i]);
    sample_refused(sample_path("unreadable.h5"), NULL, CSRN_IO_FAILED,
                   i ? "several genomes" : "cannot read mm10: ", NULL);
    expect_selected("unreadable.h5", &(csrn_io_select){.genome = "hg19"}, 5, (const int[]){0, 1, 2, 3, 4});
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(selections),        cmocka_unit_test(types_of_values_and_indices),
      cmocka_unit_test(names_of_v3),       cmocka_unit_test(version_2),
      cmocka_unit_test(names_taken),       cmocka_unit_test(wrong_choices),
      cmocka_unit_test(many_names),        cmocka_unit_test(memory_of_a_chunk),
      cmocka_unit_test(damaged),           cmocka_unit_test(unreadable_features),
      cmocka_unit_test(unreadable_genome), cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("reading 10x", tests, sample_setup, sample_teardown);
}
