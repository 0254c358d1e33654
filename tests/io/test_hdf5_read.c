/*
 * Reading .h5ad: every element type, index type, encoding, layout and filter gives the
 * same matrix, and is described as what it is.
 */
#include "hdf5_samples.h"

#include <lzf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Reads the file made last as `name`, compares, and returns its description's filters. */
static void expect_file(const char *name, const csrn_io_select *select, csrn_dtype type,
                        csrn_io_layout layout, const char *filters) {
  csrn_io_matrix matrix;
  csrn_io_input *input = sample_open(sample_path(name), select);
  const csrn_io_description *d = csrn_io_describe(input);
  assert_int_equal(d->format, CSRN_IO_H5AD);
  assert_int_equal(d->layout, layout);
  assert_int_equal(d->data_type, type);
  assert_int_equal(d->n_cells, layout == CSRN_IO_CSC ? SAMPLE_COLUMNS : SAMPLE_ROWS);
  assert_int_equal(d->n_genes, layout == CSRN_IO_CSC ? SAMPLE_ROWS : SAMPLE_COLUMNS);
  assert_int_equal(d->nnz, layout == CSRN_IO_DENSE ? SAMPLE_ROWS * SAMPLE_COLUMNS : SAMPLE_NNZ);
  assert_int_equal(d->nnz_file, d->nnz);
  assert_string_equal(d->filters, filters);
  sample_read(input, &matrix);
  sample_expect(&matrix, type);
  assert_int_equal(matrix.cells, layout == CSRN_IO_CSC ? CSRN_PER_COLUMN : CSRN_PER_ROW);
  assert_int_equal(matrix.dense, layout == CSRN_IO_DENSE);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
}

static hid_t float16(hid_t order_of) {
  hid_t type = H5Tcopy(order_of);
  H5Tset_fields(type, 15, 10, 5, 0, 10);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 15);
  return type;
}

static void data_types(void **state) {
  (void)state;
  const struct {
    hid_t file;
    csrn_dtype memory;
  } types[] = {
      {H5T_IEEE_F32LE, CSRN_F32}, {H5T_IEEE_F64LE, CSRN_F64},          {H5T_STD_U8LE, CSRN_U8},
      {H5T_STD_U16LE, CSRN_U16},  {H5T_STD_U32LE, CSRN_U32},           {H5T_STD_U64LE, CSRN_I64},
      {H5T_STD_I8LE, CSRN_I32},   {H5T_STD_I16LE, CSRN_I32},           {H5T_STD_I32LE, CSRN_I32},
      {H5T_STD_I64LE, CSRN_I64},  {H5T_IEEE_F32BE, CSRN_F32},          {H5T_IEEE_F64BE, CSRN_F64},
      {H5T_STD_I32BE, CSRN_I32},  {H5T_STD_U16BE, CSRN_U16},           {H5T_STD_I64BE, CSRN_I64},
      {H5T_STD_U64BE, CSRN_I64},  {float16(H5T_IEEE_F32LE), CSRN_F32}, {float16(H5T_IEEE_F32BE), CSRN_F32},
  };
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    const sample_options options = {.data_type = types[i].file};
    sample_h5ad("type.h5ad", &options);
    expect_file("type.h5ad", NULL, types[i].memory, CSRN_IO_CSR, "none");
    hid_t file = sample_create("dense.h5ad");
    sample_array(file, "X", types[i].file, 0);
    sample_annotation(file);
    H5Fclose(file);
    expect_file("dense.h5ad", NULL, types[i].memory, CSRN_IO_DENSE, "none");
  }
  H5Tclose(types[16].file);
  H5Tclose(types[17].file);
}

static void index_types(void **state) {
  (void)state;
  const hid_t types[] = {H5T_STD_U8LE,  H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_U64LE, H5T_STD_I8LE,
                         H5T_STD_I16LE, H5T_STD_I32LE, H5T_STD_I64LE, H5T_STD_I32BE, H5T_STD_I64BE};
  const csrn_dtype memory[] = {CSRN_U8,  CSRN_U16, CSRN_U32, CSRN_U64, CSRN_I32,
                               CSRN_I32, CSRN_I32, CSRN_I64, CSRN_I32, CSRN_I64};
  enum { N = sizeof types / sizeof types[0] };
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      const sample_options options = {.indices_type = types[i], .indptr_type = types[j]};
      sample_h5ad("index.h5ad", &options);
      csrn_io_input *input = sample_open(sample_path("index.h5ad"), NULL);
      assert_int_equal(csrn_io_describe(input)->indices_type, memory[i]);
      assert_int_equal(csrn_io_describe(input)->indptr_type, memory[j]);
      csrn_io_matrix matrix;
      sample_read(input, &matrix);
      assert_int_equal(matrix.csr.indices_type, memory[i]);
      assert_int_equal(matrix.csr.indptr_type, memory[j]);
      sample_expect(&matrix, CSRN_F32);
      csrn_io_matrix_free(&matrix);
      csrn_io_close(input);
    }
}

/* A file whose only values are those given, in one row. */
static void one_row(const char *name, hid_t file_type, hid_t memory_type, int n, const void *values) {
  const hsize_t extent[2] = {1, (hsize_t)n};
  hid_t file = sample_create(name);
  sample_dataset(file, "X", file_type, 0, 2, extent, memory_type, values);
  H5Fclose(file);
}

static void float16_values(void **state) {
  (void)state;
  /* 0, -0, 1, the largest, the smallest normal, two subnormals, infinities, NaN */
  const uint16_t bits[] = {0x0000, 0x8000, 0x3c00, 0x7bff, 0x0400, 0x0001, 0x83ff, 0x7c00, 0xfc00, 0x7e00};
  const float expected[] = {0, -0.0f, 1, 65504, 0x1p-14f, 0x1p-24f, -0x3ffp-24f, INFINITY, -INFINITY, NAN};
  hid_t type = float16(H5T_IEEE_F32LE);
  one_row("half.h5ad", type, type, 10, bits);
  H5Tclose(type);
  csrn_io_input *input = sample_open(sample_path("half.h5ad"), NULL);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  for (int i = 0; i < 9; i++) {
    float found = ((const float *)matrix.csr.data)[i];
    assert_memory_equal(&found, &expected[i], sizeof found);
  }
  assert_true(isnan(((const float *)matrix.csr.data)[9]));
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
}

static hid_t enumeration(const char *no, const char *yes, int8_t last) {
  hid_t type = H5Tenum_create(H5T_STD_I8LE);
  const int8_t zero = 0;
  H5Tenum_insert(type, no, &zero);
  H5Tenum_insert(type, yes, &last);
  return type;
}

static void bools(void **state) {
  (void)state;
  const int8_t values[4] = {1, 0, 1, 1};
  hid_t type = enumeration("FALSE", "TRUE", 1);
  one_row("bool.h5ad", type, type, 4, values);
  H5Tclose(type);
  csrn_io_input *input = sample_open(sample_path("bool.h5ad"), NULL);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  assert_int_equal(matrix.csr.data_type, CSRN_U8);
  assert_memory_equal(matrix.csr.data, values, 4);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  type = enumeration("small", "large", 7);
  one_row("enum.h5ad", type, type, 4, (const int8_t[]){0, 7, 7, 0});
  H5Tclose(type);
  sample_refused(sample_path("enum.h5ad"), NULL, CSRN_IO_FAILED, "X holds enumerated values", NULL);
}

static void uint64_beyond_int64(void **state) {
  (void)state;
  uint64_t values[2] = {1, INT64_MAX};
  one_row("u64.h5ad", H5T_STD_U64LE, H5T_NATIVE_UINT64, 2, values);
  csrn_io_input *input = sample_open(sample_path("u64.h5ad"), NULL);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  assert_int_equal(matrix.csr.data_type, CSRN_I64);
  assert_true(((const int64_t *)matrix.csr.data)[1] == INT64_MAX);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  values[1]++;
  one_row("u64.h5ad", H5T_STD_U64LE, H5T_NATIVE_UINT64, 2, values);
  sample_refused(sample_path("u64.h5ad"), NULL, CSRN_IO_FAILED, "X holds 9223372036854775808",
                 "9223372036854775807", NULL);
}

static void encodings(void **state) {
  (void)state;
  for (int csc = 0; csc < 2; csc++)
    for (int old = 0; old < 2; old++)
      for (int fixed = 0; fixed < 2; fixed++) {
        const sample_options options = {.csc = csc, .old = old, .fixed_texts = fixed};
        sample_h5ad("encoding.h5ad", &options);
        expect_file("encoding.h5ad", NULL, CSRN_F32, csc ? CSRN_IO_CSC : CSRN_IO_CSR, "none");
      }
}

static void layers(void **state) {
  (void)state;
  const sample_options doubles = {.data_type = H5T_IEEE_F64LE}, bytes = {.data_type = H5T_STD_U8LE};
  hid_t file = sample_create("layers.h5ad");
  sample_sparse(file, "X", NULL);
  sample_annotation(file);
  hid_t group = H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_sparse(group, "spliced", &doubles);
  sample_array(group, "dense", H5T_STD_I32LE, 0);
  H5Gclose(group);
  group = H5Gcreate2(file, "raw", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_sparse(group, "X", &bytes);
  H5Gclose(group);
  H5Fclose(file);
  expect_file("layers.h5ad", NULL, CSRN_F32, CSRN_IO_CSR, "none");
  expect_file("layers.h5ad", &(csrn_io_select){.layer = "spliced"}, CSRN_F64, CSRN_IO_CSR, "none");
  expect_file("layers.h5ad", &(csrn_io_select){.layer = "dense"}, CSRN_I32, CSRN_IO_DENSE, "none");
  expect_file("layers.h5ad", &(csrn_io_select){.layer = "raw"}, CSRN_U8, CSRN_IO_CSR, "none");
  expect_file("layers.h5ad", &(csrn_io_select){.cells = CSRN_IO_CELLS_ROWS}, CSRN_F32, CSRN_IO_CSR, "none");
  csrn_io_input *input = sample_open(sample_path("layers.h5ad"), &(csrn_io_select){.layer = "spliced"});
  const csrn_io_description *d = csrn_io_describe(input);
  assert_string_equal(d->matrix_name, "layers/spliced");
  assert_string_equal(d->layers[0], "dense");
  assert_string_equal(d->layers[1], "spliced");
  assert_string_equal(d->layers[2], "raw");
  assert_null(d->layers[3]);
  assert_null(d->genomes[0]);
  assert_null(d->feature_types[0]);
  csrn_io_close(input);
  sample_refused(sample_path("layers.h5ad"), &(csrn_io_select){.layer = "unspliced"}, CSRN_IO_FAILED,
                 "no layer \"unspliced\"", "dense, spliced, raw", NULL);
  sample_refused(sample_path("layers.h5ad"), &(csrn_io_select){.layer = "spliced/data"}, CSRN_IO_FAILED,
                 "no layer \"spliced/data\"", NULL);
  sample_refused(sample_path("layers.h5ad"), &(csrn_io_select){.layer = "raw/X"}, CSRN_IO_FAILED,
                 "no layer \"raw/X\"", NULL);
}

static void a_layer_named_raw(void **state) {
  (void)state;
  const sample_options doubles = {.data_type = H5T_IEEE_F64LE}, bytes = {.data_type = H5T_STD_U8LE};
  for (int old = 0; old < 2; old++) {
    hid_t file = sample_create("raw.h5ad");
    sample_sparse(file, "X", NULL);
    H5Gclose(H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    sample_sparse(file, "layers/raw", &doubles);
    if (!old)
      H5Gclose(H5Gcreate2(file, "raw", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    sample_sparse(file, old ? "raw.X" : "raw/X", &bytes);
    H5Fclose(file);
    expect_file("raw.h5ad", &(csrn_io_select){.layer = "raw"}, CSRN_F64, CSRN_IO_CSR, "none");
    expect_file("raw.h5ad", &(csrn_io_select){.layer = "raw/X"}, CSRN_U8, CSRN_IO_CSR, "none");
    sample_refused(sample_path("raw.h5ad"), &(csrn_io_select){.layer = "x"}, CSRN_IO_FAILED,
                   "layers: raw, raw/X", NULL);
  }
}

static void old_raw(void **state) {
  (void)state;
  const sample_options old = {.old = 1, .data_type = H5T_STD_I32LE};
  hid_t file = sample_create("old.h5ad");
  sample_array(file, "X", H5T_IEEE_F32LE, 0);
  sample_sparse(file, "raw.X", &old);
  H5Fclose(file);
  expect_file("old.h5ad", NULL, CSRN_F32, CSRN_IO_DENSE, "none");
  expect_file("old.h5ad", &(csrn_io_select){.layer = "raw"}, CSRN_I32, CSRN_IO_CSR, "none");
}

static void options_of_other_formats(void **state) {
  (void)state;
  sample_h5ad("options.h5ad", NULL);
  const char *path = sample_path("options.h5ad");
  sample_refused(path, &(csrn_io_select){.genome = "hg19"}, CSRN_IO_FAILED, "genome", NULL);
  sample_refused(path, &(csrn_io_select){.feature_types = "all"}, CSRN_IO_FAILED, "feature types", NULL);
  sample_refused(path, &(csrn_io_select){.cells = CSRN_IO_CELLS_COLUMNS}, CSRN_IO_FAILED, "cells in rows",
                 NULL);
}

static void filters(void **state) {
  (void)state;
  const struct {
    const char *letters, *text;
  } pipelines[] = {{"", "none"},        {"g", "gzip-6"},       {"sg", "shuffle+gzip-6"},
                   {"l", "lzf"},        {"sl", "shuffle+lzf"}, {"slf", "shuffle+lzf+fletcher32"},
                   {"f", "fletcher32"}, {"z", "szip"},         {"fsg", "fletcher32+shuffle+gzip-6"}};
  for (size_t i = 0; i < sizeof pipelines / sizeof pipelines[0]; i++)
    for (hsize_t chunk = 1; chunk <= 8; chunk++) {
      if (chunk < 8 && pipelines[i].letters[0] == 'z')
        continue; /* szip wants as many values as a block of it */
      hid_t storage = sample_storage(chunk, pipelines[i].letters);
      const sample_options options = {.storage = storage, .data_type = H5T_IEEE_F64LE};
      sample_h5ad("filter.h5ad", &options);
      expect_file("filter.h5ad", NULL, CSRN_F64, CSRN_IO_CSR, pipelines[i].text);
      H5Pclose(storage);
    }
}

/* More values than one slab and many chunks, which compress well or not at all. */
static void long_arrays(void **state) {
  (void)state;
  enum { N = 3000017 };
  int32_t *values = malloc(N * sizeof *values);
  assert_non_null(values);
  for (int pass = 0; pass < 4; pass++) {
    uint32_t random = 1;
    for (int i = 0; i < N; i++) {
      random = random * 1664525 + 1013904223;
      values[i] = (int32_t)(i / 500000 % 2 ? random : random >> 30);
    }
    hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t extent[2] = {1, N}, chunk[2] = {1, 50000};
    H5Pset_chunk(storage, 2, chunk);
    if (pass & 1)
      H5Pset_shuffle(storage);
    H5Pset_filter(storage, pass & 2 ? 32000 : H5Z_FILTER_DEFLATE, H5Z_FLAG_OPTIONAL, pass & 2 ? 0 : 1,
                  (const unsigned[]){1});
    hid_t file = sample_create("long.h5ad");
    sample_dataset(file, "X", H5T_STD_I32LE, storage, 2, extent, H5T_NATIVE_INT32, values);
    H5Fclose(file);
    H5Pclose(storage);
    csrn_io_input *input = sample_open(sample_path("long.h5ad"), NULL);
    csrn_io_matrix matrix;
    sample_read(input, &matrix);
    assert_memory_equal(matrix.csr.data, values, N * sizeof *values);
    csrn_io_matrix_free(&matrix);
    csrn_io_close(input);
  }
  free(values);
}

/* A chunk whose filter mask says that lzf was skipped, beside one that was compressed by hand. */
static void filter_masks(void **state) {
  (void)state;
  enum { CHUNK = 512, N = 2 * CHUNK };
  int32_t values[N];
  for (int i = 0; i < N; i++)
    values[i] = i / 100;
  char packed[sizeof values];
  unsigned bytes = lzf_compress(values + CHUNK, CHUNK * sizeof *values, packed, sizeof packed);
  assert_true(bytes > 0 && bytes < CHUNK * sizeof *values);
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t extent[2] = {1, N}, chunk[2] = {1, CHUNK}, first[2] = {0, 0}, second[2] = {0, CHUNK};
  H5Pset_chunk(storage, 2, chunk);
  H5Pset_filter(storage, 32000, H5Z_FLAG_OPTIONAL, 0, NULL);
  hid_t file = sample_create("mask.h5ad");
  sample_dataset(file, "X", H5T_STD_I32LE, storage, 2, extent, 0, NULL);
  hid_t dataset = H5Dopen2(file, "X", H5P_DEFAULT);
  assert_true(H5Dwrite_chunk(dataset, H5P_DEFAULT, 1, first, CHUNK * sizeof *values, values) >= 0);
  assert_true(H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, second, bytes, packed) >= 0);
  H5Dclose(dataset);
  H5Fclose(file);
  csrn_io_input *input = sample_open(sample_path("mask.h5ad"), NULL);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  assert_memory_equal(matrix.csr.data, values, sizeof values);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  /* The same with rubbish in the place of what was compressed. */
  file = H5Fopen(sample_path("mask.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  dataset = H5Dopen2(file, "X", H5P_DEFAULT);
  memset(packed, 0xff, bytes);
  assert_true(H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, second, bytes, packed) >= 0);
  H5Dclose(dataset);
  H5Fclose(file);
  H5Pclose(storage);
  sample_refused(sample_path("mask.h5ad"), NULL, CSRN_IO_FAILED, "cannot read X", NULL);
}

static void storage_layouts(void **state) {
  (void)state;
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  const sample_options options = {.storage = storage};
  for (H5D_layout_t layout = H5D_COMPACT; layout <= H5D_CONTIGUOUS; layout++) {
    H5Pset_layout(storage, layout);
    sample_h5ad("layout.h5ad", &options);
    csrn_io_input *input = sample_open(sample_path("layout.h5ad"), NULL);
    assert_int_equal(csrn_io_describe(input)->chunk, 0);
    csrn_io_close(input);
    expect_file("layout.h5ad", NULL, CSRN_F32, CSRN_IO_CSR, "none");
  }
  H5Pclose(storage);
}

/* No cells, no genes, no values; with and without chunks. */
static void empty_matrices(void **state) {
  (void)state;
  const hsize_t none = 0;
  for (int chunked = 0; chunked < 2; chunked++)
    for (hsize_t rows = 0; rows < 3; rows += 2) {
      const int64_t shape[2] = {(int64_t)rows, 0}, indptr[3] = {0, 0, 0};
      const hsize_t n_indptr = rows + 1;
      hid_t storage = chunked ? sample_storage(4, "g") : H5P_DEFAULT;
      hid_t file = sample_create("empty.h5ad");
      hid_t group = H5Gcreate2(file, "X", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
      sample_text(group, "encoding-type", "csr_matrix");
      sample_integers(group, "shape", 2, shape);
      sample_dataset(group, "data", H5T_IEEE_F32LE, storage, 1, &none, 0, NULL);
      sample_dataset(group, "indices", H5T_STD_I32LE, storage, 1, &none, 0, NULL);
      sample_dataset(group, "indptr", H5T_STD_I32LE, 0, 1, &n_indptr, H5T_NATIVE_INT64, indptr);
      H5Gclose(group);
      H5Fclose(file);
      if (chunked)
        H5Pclose(storage);
      csrn_io_input *input = sample_open(sample_path("empty.h5ad"), NULL);
      csrn_io_matrix matrix;
      sample_read(input, &matrix);
      assert_int_equal(matrix.csr.n_rows, rows);
      assert_int_equal(matrix.csr.n_cols, 0);
      assert_int_equal(matrix.csr.nnz, 0);
      csrn_io_matrix_free(&matrix);
      csrn_io_close(input);
    }
  const hsize_t extent[2] = {0, 3};
  hid_t file = sample_create("empty.h5ad");
  sample_dataset(file, "X", H5T_IEEE_F32LE, 0, 2, extent, 0, NULL);
  H5Fclose(file);
  csrn_io_input *input = sample_open(sample_path("empty.h5ad"), NULL);
  csrn_io_matrix matrix;
  sample_read(input, &matrix);
  assert_int_equal(matrix.csr.n_cols, 3);
  assert_int_equal(matrix.csr.nnz, 0);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
}

struct progress {
  int calls, stop_at;
  int64_t last_done, last_total;
};

static int report(void *user, const char *step, int64_t done, int64_t total) {
  struct progress *progress = user;
  assert_non_null(step);
  assert_true(done >= 0 && (total == 0 || done <= total));
  progress->last_done = done;
  progress->last_total = total;
  return ++progress->calls == progress->stop_at;
}

static void progress_and_interruption(void **state) {
  (void)state;
  sample_h5ad("progress.h5ad", NULL);
  csrn_io_input *input = sample_open(sample_path("progress.h5ad"), NULL);
  struct progress seen = {0, 0, -1, -1};
  const csrn_io_progress progress = {report, &seen};
  csrn_io_matrix matrix;
  csrn_io_error error;
  assert_int_equal(csrn_io_read(input, sample_context, &matrix, &progress, &error), CSRN_IO_OK);
  assert_true(seen.calls >= 3);
  assert_int_equal(seen.last_done, seen.last_total);
  csrn_io_matrix_free(&matrix);
  for (int stop = 1; stop <= 3; stop += 2) {
    seen.calls = 0;
    seen.stop_at = stop;
    assert_int_equal(csrn_io_read(input, sample_context, &matrix, &progress, &error), CSRN_IO_FAILED);
    assert_non_null(strstr(error.text, "interrupted"));
    assert_null(matrix.csr.data);
  }
  csrn_io_close(input);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(data_types),
      cmocka_unit_test(index_types),
      cmocka_unit_test(float16_values),
      cmocka_unit_test(bools),
      cmocka_unit_test(uint64_beyond_int64),
      cmocka_unit_test(encodings),
      cmocka_unit_test(layers),
      cmocka_unit_test(a_layer_named_raw),
      cmocka_unit_test(old_raw),
      cmocka_unit_test(options_of_other_formats),
      cmocka_unit_test(filters),
      cmocka_unit_test(long_arrays),
      cmocka_unit_test(filter_masks),
      cmocka_unit_test(storage_layouts),
      cmocka_unit_test(empty_matrices),
      cmocka_unit_test(progress_and_interruption),
      cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("reading h5ad", tests, sample_setup, sample_teardown);
}
