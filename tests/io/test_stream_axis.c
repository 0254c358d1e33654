/*
 * The streaming engine where it does not copy an .h5ad: 10x files to a new .h5ad, with all of their
 * features and with some; sums and scaling by rows and columns of every layout. All against
 * the matrix in memory, to the bit.
 */
#include "pieces_device.h"
#include "stream.h"
#include "stream_samples.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static csrn_context *context_of(const stream_case *c) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  csrn_context *ctx = NULL;
  options.threads = c->threads ? c->threads : 1;
  assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
  return ctx;
}

static csrn_dtype output_type(csrn_dtype type) {
  return type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
}

/* ---- 10x --------------------------------------------------------------------------- */

static void write_whole(csrn_io_input *input, csrn_normalize_options options, csrn_io_output output) {
  csrn_io_matrix matrix;
  csrn_io_error error;
  double factors[ROWS];
  sample_read(input, &matrix);
  const csrn_dtype type = output_type(matrix.csr.data_type);
  void *result = calloc((size_t)matrix.csr.nnz + 1, csrn_dtype_size(type));
  assert_non_null(result);
  assert_int_equal(csrn_normalize_total(sample_context, &matrix.csr, &options, result, type, factors, NULL),
                   CSRN_OK);
  free(matrix.csr.data);
  matrix.csr.data = result;
  matrix.csr.data_type = type;
  output.path = sample_path("whole.h5ad");
  output.factors = factors;
  output.factors_type = type;
  assert_int_equal(csrn_io_write(input, &matrix, &output, NULL, &error), CSRN_IO_OK);
  csrn_io_matrix_free(&matrix);
}

/* The texts of a dataset of an output; freed with csrn_hdf5_strings_free(). */
static char **names_of(const char *output, const char *path, int64_t *n) {
  hid_t file = H5Fopen(sample_path(output), H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t id = H5Dopen2(file, path, H5P_DEFAULT);
  char **names = csrn_hdf5_strings(id, n);
  assert_non_null(names);
  H5Dclose(id);
  H5Fclose(file);
  return names;
}

static void expect_same_names(int64_t n_genes) {
  static const char *const paths[] = {"obs/_index", "var/_index", "var/gene_ids"};
  for (size_t p = 0; p < sizeof paths / sizeof paths[0]; p++) {
    int64_t n, m;
    char **one = names_of("whole.h5ad", paths[p], &n), **other = names_of("pieces.h5ad", paths[p], &m);
    assert_int_equal(n, m);
    assert_int_equal(n, p ? n_genes : ROWS);
    for (int64_t i = 0; i < n; i++)
      assert_string_equal(one[i], other[i]);
    csrn_hdf5_strings_free(one, n);
    csrn_hdf5_strings_free(other, m);
  }
}

static void expect_same(const stream_case *c, const csrn_io_select *select, csrn_normalize_options options,
                        csrn_io_output output) {
  csrn_context *ctx = context_of(c);
  csrn_io_input *input = sample_open(sample_path("in.h5"), select);
  csrn_io_normalization n = {
      .options = &options, .memory = c->memory, .unit = c->unit, .device = pieces_device};
  csrn_io_error error;
  output.force = 1;
  output.key_added = "factor";
  output.log1p = options.log1p;
  write_whole(input, options, output);
  output.path = sample_path("pieces.h5ad");
  if (csrn_io_normalize(input, ctx, &output, &n, NULL, &error))
    fail_msg("%s", error.text);
  assert_true(n.plan.streams);
  expect_same_files("pieces.h5ad", "whole.h5ad");
  expect_same_names(csrn_io_describe(input)->n_genes);
  csrn_io_close(input);
  csrn_context_destroy(ctx);
}

static csrn_normalize_options options_of(int i) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.target = (csrn_target)(i % 3);
  options.target_sum = 1e4;
  options.log1p = i % 2;
  options.exclude_highly_expressed = i % 5 == 4;
  options.max_fraction = 0.0015;
  return options;
}

/* All features: chunks of the indices are copied where they lie as those of the values, else made anew. */
static void whole_10x(void **state) {
  (void)state;
  static const char *const filters[] = {"sg", "g", "", NULL, "sgf", "l"};
  static const csrn_dtype kinds[] = {CSRN_I32, CSRN_F32, CSRN_I64, CSRN_U16, CSRN_F64};
  const hid_t index_types[] = {H5T_STD_I64LE, H5T_STD_I32LE, H5T_STD_U16LE, H5T_STD_U64LE};
  const csrn_io_select all = {.feature_types = "all"};
  for (int i = 0; i < 20; i++) {
    const stream_case c = {filters[i % 6],        900 + i,   COUNTS, kinds[i % 5],
                           (int64_t)i % 4 * 1100, i % 3 + 1, 0};
    make_10x(&c, i % 2, index_types[i % 4], i / 6 % 2 ? APART : USUAL);
    expect_same(&c, i % 2 ? &all : NULL, options_of(i),
                (csrn_io_output){.compression = (csrn_io_compression)(i % 3), .level = i % 4});
  }
}

/* A unit of the result may need many of the file, and the other way round. */
static void selected_10x(void **state) {
  (void)state;
  static const char *const filters[] = {"sg", NULL, "l", "sgf"};
  static const csrn_dtype kinds[] = {CSRN_I32, CSRN_F32, CSRN_F64, CSRN_U8, CSRN_I64, CSRN_U16};
  const hid_t index_types[] = {H5T_STD_I64LE, H5T_STD_U32LE, H5T_STD_I32BE};
  static const csrn_io_select selections[] = {{0}, {.feature_types = "Antibody Capture"}};
  for (int i = 0; i < 24; i++) {
    const csrn_dtype type = kinds[i % 6];
    const stream_case c = {filters[i % 4],
                           i == 7 ? 100 : 900,
                           type == CSRN_F32 || type == CSRN_F64 ? i % 3 : COUNTS,
                           type,
                           (int64_t)i % 5 * 700,
                           i % 3 + 1,
                           pieces_memory(i % 2 ? 0 : 40 << 20)};
    make_10x(&c, 1, index_types[i / 3 % 3], (sample_kind)(i % 3));
    expect_same(&c, &selections[i / 2 % 2], options_of(i),
                (csrn_io_output){.compression = (csrn_io_compression)(i % 3), .level = 1});
  }
}

static void put_index(int64_t bad) {
  const hsize_t place = 4100, one = 1;
  hid_t file = H5Fopen(sample_path("in.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t id = H5Dopen2(file, "matrix/indices", H5P_DEFAULT), space = H5Dget_space(id);
  hid_t memory = H5Screate_simple(1, &one, NULL);
  assert_true(H5Sselect_elements(space, H5S_SELECT_SET, 1, &place) >= 0 &&
              H5Dwrite(id, H5T_NATIVE_INT64, memory, space, H5P_DEFAULT, &bad) >= 0);
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(id);
  H5Fclose(file);
}

/* An index that is none of a feature is found whether some features are selected or all, and whether the
 * chunks of the indices are copied or made anew. */
static void bad_feature(void **state) {
  (void)state;
  static const char *const expected[] = {"element 4100, in row 5, is 9000; expected 0 to n_cols - 1 = 8999",
                                         "element 4100, in row 5, is -1; expected 0 to n_cols - 1 = 8999"};
  const stream_case c = {"g", 1000, COUNTS, CSRN_I32, 1000, 2, 0};
  csrn_normalize_options options = options_of(0);
  csrn_io_normalization n = {.options = &options, .device = pieces_device};
  csrn_io_error error;
  for (int i = 0; i < 8; i++) {
    const csrn_io_select all = {.feature_types = "all"};
    csrn_io_output output = {.path = sample_path("none.h5ad")};
    make_10x(&c, 1, H5T_STD_I64LE, i & 4 ? APART : USUAL);
    put_index(i & 1 ? -1 : COLUMNS);
    csrn_io_input *input = sample_open(sample_path("in.h5"), i & 2 ? &all : NULL);
    assert_int_equal(csrn_io_normalize(input, sample_context, &output, &n, NULL, &error), CSRN_IO_FAILED);
    assert_non_null(strstr(error.text, expected[i & 1]));
    assert_null(fopen(output.path, "r"));
    csrn_io_close(input);
  }
}

/* A 10x file's names are in memory, and in the plan of it. */
static void names_in_plan(void **state) {
  (void)state;
  const stream_case c = {"g", 1000, COUNTS, CSRN_I32, 1000, 2, 0};
  const csrn_io_select all = {.feature_types = "all"};
  csrn_normalize_options options = options_of(0);
  csrn_io_normalization n = {.options = &options, .device = pieces_device};
  csrn_io_output output = {.path = sample_path("none.h5ad")};
  csrn_io_error error;
  make_10x(&c, 1, H5T_STD_I64LE, USUAL);
  csrn_io_input *input = sample_open(sample_path("in.h5"), &all);
  assert_int_equal(csrn_io_normalize_plan(input, sample_context, &output, &n, &error), CSRN_IO_OK);
  const int64_t before = n.plan.memory;
  char **name = &input->genes.columns[0][5];
  free(*name);
  *name = malloc(1000001);
  assert_non_null(*name);
  memset(*name, 'x', 1000000);
  (*name)[1000000] = '\0';
  assert_int_equal(csrn_io_normalize_plan(input, sample_context, &output, &n, &error), CSRN_IO_OK);
  assert_true(n.plan.memory > before + 900000 && n.plan.memory < before + 1100000);
  const int64_t expected = (int64_t)ROWS + (int64_t)COLUMNS * input->genes.n_columns;
  assert_true(before > 12000000 + expected * 32);
  csrn_io_close(input);
}

/* Bytes that normalization of "in.h5ad" to an .h5ad needs with one worker, with indices in chunks of so many.
 */
static int64_t plan_with(int64_t chunk) {
  csrn_normalize_options options = options_of(0);
  csrn_io_normalization n = {.options = &options};
  csrn_io_output output = {.path = sample_path("none.h5ad")};
  csrn_io_error error;
  const hsize_t nnz = (hsize_t)total_length();
  hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t storage = sample_storage((hsize_t)chunk, "g");
  H5Ldelete(file, "X/indices", H5P_DEFAULT);
  sample_dataset(file, "X/indices", H5T_STD_I32LE, storage, 1, &nnz, 0, NULL);
  H5Pclose(storage);
  H5Fclose(file);
  csrn_context *ctx = context_of(&(stream_case){.threads = 1});
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  assert_int_equal(csrn_io_normalize_plan(input, ctx, &output, &n, &error), CSRN_IO_OK);
  csrn_io_close(input);
  csrn_context_destroy(ctx);
  return n.plan.memory;
}

/* A worker holds a chunk of the indices whole to copy it, and an entry for each chunk of a unit; libhdf5
 * holds an index of the chunks of both files. */
static void chunks_in_plan(void **state) {
  (void)state;
  const int64_t unit = 1 << 17, nnz = total_length(), key = 300;
  const int64_t entry = 64 + (int64_t)sizeof(csrn_stream_place);
  stream_case c = {"g", 1 << 17, COUNTS, CSRN_F32, 0, 1, 0};
  make_matrix(&c, 0, H5T_STD_I32LE, H5T_STD_I32LE, 0);
  const int64_t usual = plan_with(1000);
  assert_true(plan_with(1 << 23) >= usual + 5 * ((INT64_C(1) << 23) - 2 * unit));
  assert_true(plan_with(8) >= usual + unit / 9 * entry + nnz / 8 * 2 * key);
  c.chunk = 16;
  make_matrix(&c, 0, H5T_STD_I32LE, H5T_STD_I32LE, 0);
  assert_true(plan_with(1000) >= usual + unit / 17 * entry + nnz / 16 * 2 * key);
}

/* Bytes that the plan grows by with another dataset in one chunk of n bytes, beside X; of texts n / 8, all
 * empty or none written. */
static int64_t plan_beside(int64_t before, int64_t n, bool packs_well, bool text) {
  unsigned seed = 1;
  char *bytes = calloc((size_t)n, 1);
  assert_non_null(bytes);
  for (int64_t i = 0; i < n && !packs_well; i++)
    bytes[i] = (char)((seed = seed * 1103515245u + 12345u) >> 24);
  hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT), texts = H5Tcopy(H5T_C_S1);
  H5Tset_size(texts, H5T_VARIABLE);
  const size_t element = text ? H5Tget_size(texts) : 1;
  const hsize_t elements = (hsize_t)n / element;
  hid_t storage = sample_storage(elements, "g"),
        group = H5Gcreate2(file, "wide", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_dataset(group, "big", text ? texts : H5T_STD_I8LE, storage, 1, &elements, text ? 0 : H5T_NATIVE_INT8,
                 text ? NULL : bytes);
  if (text && !packs_well) {
    const char **empty = calloc(elements, sizeof *empty);
    assert_non_null(empty);
    for (hsize_t i = 0; i < elements; i++)
      empty[i] = "";
    hid_t dataset = H5Dopen2(group, "big", H5P_DEFAULT);
    assert_true(H5Dwrite(dataset, texts, H5S_ALL, H5S_ALL, H5P_DEFAULT, empty) >= 0);
    H5Dclose(dataset);
    free(empty);
  }
  H5Gclose(group);
  H5Pclose(storage);
  H5Tclose(texts);
  H5Fclose(file);
  free(bytes);
  const int64_t after = plan_with(1000);
  file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(file, "wide", H5P_DEFAULT);
  H5Fclose(file);
  return after - before;
}

/* What lies beside the matrix is copied a chunk at a time: as it lies in the file, or unpacked where it has
 * texts of variable length. */
static void copied_chunk_in_plan(void **state) {
  (void)state;
  const int64_t n = 3 << 20;
  const stream_case c = {"g", 1 << 17, COUNTS, CSRN_F32, 0, 1, 0};
  make_matrix(&c, 0, H5T_STD_I32LE, H5T_STD_I32LE, 0);
  const int64_t before = plan_with(1000);
  const int64_t random = plan_beside(before, n, false, false), zeros = plan_beside(before, n, true, false);
  assert_true(random > n - n / 8 && random <= n);
  assert_true(zeros < n / 16);
  assert_true(plan_beside(before, n, false, true) >= 6 * n); /* a text is 16 bytes there, a pointer here */
  assert_true(plan_beside(before, n, true, true) < n / 16);
}

static int count_copying(void *user, const char *step, int64_t done, int64_t total) {
  (void)done;
  (void)total;
  *(int *)user += !strcmp(step, "copying");
  return 0;
}

/* When the totals have failed nothing else is copied. */
static void useless_copy(void **state) {
  (void)state;
  enum { GROUPS = 400 };
  const stream_case c = {"g", 1000, COUNTS, CSRN_F32, 1000, 2, 0};
  const hsize_t first = 0;
  csrn_normalize_options options = options_of(0);
  csrn_io_normalization n = {.options = &options};
  csrn_io_output output = {.path = sample_path("none.h5ad")};
  csrn_io_error error;
  int copied = 0;
  make_matrix(&c, 0, H5T_STD_I32LE, H5T_STD_I32LE, 0);
  hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t data = H5Dopen2(file, "X/data", H5P_DEFAULT);
  assert_true(H5Dwrite_chunk(data, H5P_DEFAULT, 0, &first, 4, "junk") >= 0);
  H5Dclose(data);
  for (int i = 0; i < GROUPS; i++) {
    char name[20];
    snprintf(name, sizeof name, "group%d", i);
    sample_frame(file, name, 3, "row");
  }
  H5Fclose(file);
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  const csrn_io_progress progress = {count_copying, &copied};
  assert_int_equal(csrn_io_normalize(input, sample_context, &output, &n, &progress, &error), CSRN_IO_FAILED);
  assert_non_null(strstr(error.text, "the chunk that begins at 0 is damaged"));
  assert_int_equal(copied, 0);
  csrn_io_close(input);
}

/* Whatever room there is, sums that take one pass keep nothing for another. */
static void sums_keep_nothing(void **state) {
  (void)state;
  double found[COLUMNS];
  csrn_io_error error;
  for (int i = 0; i < 4; i++) {
    const stream_case c = {"g", 1000, COUNTS, i & 1 ? CSRN_I32 : CSRN_F32, 1000, 2, 0};
    make_matrix(&c, 0, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
    csrn_io_summing s = {.axis = i & 2 ? CSRN_PER_COLUMN : CSRN_PER_ROW,
                         .sums_type = CSRN_F64,
                         .sums = found,
                         .device = pieces_device};
    assert_int_equal(csrn_io_sums(input, sample_context, &s, NULL, &error), CSRN_IO_OK);
    assert_int_equal(s.plan.streams, 1);
    if (i == 2) /* reals by columns may turn out to be no counts */
      assert_true(s.kept_bytes > 0);
    else
      assert_int_equal(s.kept_bytes, 0);
    csrn_io_close(input);
  }
}

/* ---- Sums and scaling ---------------------------------------------------------------- */

static const char *make_layout(const stream_case *c, int layout) {
  if (layout == 2)
    make_dense(c, 5, 700);
  else if (layout == 3)
    make_10x(c, 1, H5T_STD_I64LE, APART);
  else
    make_matrix(c, layout, H5T_STD_I32LE, H5T_STD_I64LE, 0);
  return sample_path(layout == 3 ? "in.h5" : "in.h5ad");
}

/* Reals; in the file's order of axes, which is the other one for CSC. */
static csrn_axis stored(const csrn_io_matrix *matrix, csrn_axis axis) {
  return (matrix->cells == CSRN_PER_ROW) == (axis == CSRN_PER_ROW) ? CSRN_PER_ROW : CSRN_PER_COLUMN;
}

static void expect_same_sums(const stream_case *c, int layout, csrn_axis axis, csrn_dtype sums_type) {
  csrn_context *ctx = context_of(c);
  csrn_io_input *input = sample_open(make_layout(c, layout), NULL);
  const csrn_io_description *d = csrn_io_describe(input);
  const size_t n = (size_t)(axis == CSRN_PER_ROW ? d->n_cells : d->n_genes);
  double *whole = calloc(n, sizeof *whole), *pieces = calloc(n, sizeof *pieces);
  csrn_io_matrix matrix;
  csrn_io_error error;
  csrn_io_summing summing = {.axis = axis,
                             .sums_type = sums_type,
                             .sums = pieces,
                             .memory = c->memory,
                             .unit = c->unit,
                             .device = pieces_device};
  assert_true(whole && pieces);
  sample_read(input, &matrix);
  assert_int_equal(csrn_io_matrix_indices(&matrix, &error), CSRN_IO_OK);
  assert_int_equal(csrn_axis_sum(sample_context, &matrix.csr, stored(&matrix, axis), whole, sums_type),
                   CSRN_OK);
  if (csrn_io_sums(input, ctx, &summing, NULL, &error))
    fail_msg("%s", error.text);
  assert_true(summing.plan.streams);
  /* Sums of columns are the device's where values are counts. */
  const bool real = d->data_type == CSRN_F32 || d->data_type == CSRN_F64;
  const bool columns = stored(&matrix, axis) == CSRN_PER_COLUMN;
  if (!pieces_device || !columns || !real || c->values == COUNTS)
    assert_int_equal(summing.plan.on_device, pieces_device ? CSRN_IO_TOTALS : 0);
  else
    assert_int_equal(summing.plan.on_device, 0);
  assert_memory_equal(whole, pieces, n * sizeof *whole);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  csrn_context_destroy(ctx);
  free(whole);
  free(pieces);
}

static void sums(void **state) {
  (void)state;
  static const csrn_dtype kinds[] = {CSRN_F32, CSRN_F64, CSRN_I32, CSRN_U8, CSRN_I64, CSRN_U32, CSRN_U16};
  for (int i = 0; i < 28; i++) {
    const csrn_dtype type = kinds[i % 7];
    const bool real = type == CSRN_F32 || type == CSRN_F64;
    const stream_case c = {
        i % 3 ? "g" : NULL, 700, real ? (i % 2 ? i / 7 % 4 : WIDE) : COUNTS, type, i % 4 * 900 + 100 * i % 3,
        i % 3 + 1,          0};
    const csrn_dtype integer = type == CSRN_I32 || type == CSRN_I64 ? CSRN_I64 : CSRN_U64;
    expect_same_sums(&c, i / 7 % 4, (csrn_axis)(i % 2), real || i % 5 == 0 ? CSRN_F64 : integer);
  }
}

static csrn_io_status sum_rows(const double *values, int64_t *sums, int *streams) {
  csrn_io_error error;
  sample_h5ad("integers.h5ad", &(sample_options){.data_type = H5T_STD_I64LE});
  hid_t file = H5Fopen(sample_path("integers.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t id = H5Dopen2(file, "X/data", H5P_DEFAULT);
  assert_true(H5Dwrite(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(id);
  H5Fclose(file);
  csrn_io_input *input = sample_open(sample_path("integers.h5ad"), NULL);
  csrn_io_summing summing = {
      .axis = CSRN_PER_ROW, .sums_type = CSRN_I64, .sums = sums, .device = pieces_device};
  csrn_io_status status = csrn_io_sums(input, sample_context, &summing, NULL, &error);
  *streams = summing.plan.streams;
  csrn_io_close(input);
  return status;
}

/* Sums may be negative; one that no 64 bits hold is for the matrix in memory to refuse. */
static void extreme_sums(void **state) {
  (void)state;
  static const double negative[SAMPLE_NNZ] = {-3, -4, 5, 6, -20, 1};
  static const double huge[SAMPLE_NNZ] = {4.5e18, 4.5e18, 4.5e18, 4.5e18, 4.5e18, 1};
  static const int64_t expected[SAMPLE_ROWS] = {-7, 0, -9, 1};
  int64_t found[SAMPLE_ROWS];
  int streams;
  assert_int_equal(sum_rows(negative, found, &streams), CSRN_IO_OK);
  assert_int_equal(streams, 1);
  assert_memory_equal(found, expected, sizeof expected);
  assert_int_equal(sum_rows(huge, found, &streams), CSRN_IO_OK);
  assert_int_equal(streams, 0);
  /* The same of a row of two blocks, each of which has a sum. */
  int64_t sums[ROWS];
  csrn_io_error error;
  const stream_case c = {"g", 1000, LARGE, CSRN_I64, 0, 1, 0};
  make_matrix(&c, 0, H5T_STD_I32LE, H5T_STD_I32LE, 0);
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  csrn_io_summing summing = {
      .axis = CSRN_PER_ROW, .sums_type = CSRN_I64, .sums = sums, .device = pieces_device};
  assert_int_equal(csrn_io_sums(input, sample_context, &summing, NULL, &error), CSRN_IO_OK);
  assert_int_equal(summing.plan.streams, 0);
  csrn_io_close(input);
}

static void scale_whole(csrn_io_input *input, const csrn_io_scaling *s, csrn_io_output output) {
  csrn_io_matrix matrix;
  csrn_io_error error;
  sample_read(input, &matrix);
  assert_int_equal(csrn_io_matrix_indices(&matrix, &error), CSRN_IO_OK);
  const csrn_dtype type = output_type(matrix.csr.data_type);
  void *result = calloc((size_t)matrix.csr.nnz + 1, csrn_dtype_size(type));
  assert_non_null(result);
  assert_int_equal(csrn_axis_scale(sample_context, &matrix.csr, stored(&matrix, s->axis), s->op, s->factors,
                                   CSRN_F64, s->zeros, result, type),
                   CSRN_OK);
  free(matrix.csr.data);
  matrix.csr.data = result;
  matrix.csr.data_type = type;
  output.path = sample_path("whole.h5ad");
  assert_int_equal(csrn_io_write(input, &matrix, &output, NULL, &error), CSRN_IO_OK);
  csrn_io_matrix_free(&matrix);
}

static void scaling(void **state) {
  (void)state;
  static const csrn_dtype kinds[] = {CSRN_F32, CSRN_F64, CSRN_I32, CSRN_U8, CSRN_I64};
  static double factors[COLUMNS];
  for (int i = 0; i < COLUMNS; i++)
    factors[i] = i % 5 ? (double)i / 3 : 0;
  for (int i = 0; i < 24; i++) {
    const csrn_dtype type = kinds[i % 5];
    const bool real = type == CSRN_F32 || type == CSRN_F64;
    const stream_case c = {i % 3 ? "g" : NULL, 700, real ? i / 5 % 3 : COUNTS, type, (int64_t)i % 4 * 900,
                           i % 3 + 1,          0};
    csrn_io_output output = {.force = 1, .compression = (csrn_io_compression)(i % 3)};
    csrn_io_scaling s = {.axis = (csrn_axis)(i % 2),
                         .op = (csrn_scale_op)(i / 2 % 2),
                         .zeros = (csrn_zero_policy)(i / 3 % 2),
                         .factors = factors,
                         .unit = c.unit,
                         .device = pieces_device};
    csrn_context *ctx = context_of(&c);
    csrn_io_error error;
    csrn_io_input *input = sample_open(make_layout(&c, i / 5 % 4), NULL);
    scale_whole(input, &s, output);
    output.path = sample_path("pieces.h5ad");
    if (csrn_io_scale(input, ctx, &output, &s, NULL, &error))
      fail_msg("%s", error.text);
    assert_true(s.plan.streams);
    assert_int_equal(s.plan.on_device, pieces_device ? CSRN_IO_VALUES : 0);
    expect_same_files("pieces.h5ad", "whole.h5ad");
    csrn_io_close(input);
    csrn_context_destroy(ctx);
  }
}

/* ---- Memory of the machine ------------------------------------------------------------ */

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(sample_path(path), "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

/* What a container allows, in files like those of the system. */
static void limits(void **state) {
  (void)state;
  static const char *const folders[] = {"root",
                                        "root/proc",
                                        "root/proc/self",
                                        "root/sys",
                                        "root/sys/fs",
                                        "root/sys/fs/cgroup",
                                        "root/sys/fs/cgroup/a",
                                        "root/sys/fs/cgroup/a/b",
                                        "root/sys/fs/cgroup/memory",
                                        "root/sys/fs/cgroup/memory/a"};
  static char root[200];
  for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
    assert_int_equal(mkdir(sample_path(folders[i]), 0700), 0);
  snprintf(root, sizeof root, "%s", sample_path("root"));
  const int64_t machine = csrn_io_machine_memory(root);
  assert_true(machine > 1 << 20);
  struct rlimit before, lower;
  assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
  lower = before;
  lower.rlim_cur = (rlim_t)machine - 4096;
  assert_int_equal(setrlimit(RLIMIT_DATA, &lower), 0);
  const int64_t limited = csrn_io_machine_memory(root);
  assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
  assert_int_equal(limited, machine - 4096);
  write_file("root/proc/self/cgroup", "0::/a/b\n");
  assert_int_equal(csrn_io_machine_memory(root), machine);
  write_file("root/sys/fs/cgroup/a/b/memory.max", "max\n");
  assert_int_equal(csrn_io_machine_memory(root), machine);
  write_file("root/sys/fs/cgroup/a/memory.max", "1048576\n");
  assert_int_equal(csrn_io_machine_memory(root), 1048576);
  write_file("root/sys/fs/cgroup/a/b/memory.max", "65536\n");
  assert_int_equal(csrn_io_machine_memory(root), 65536);
  write_file("root/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "32768\n");
  write_file("root/proc/self/cgroup", "3:cpu,cpuacct:/a\n2:memory:/a\n");
  assert_int_equal(csrn_io_machine_memory(root), 32768);
  static const char *const files[] = {"root/proc/self/cgroup", "root/sys/fs/cgroup/a/memory.max",
                                      "root/sys/fs/cgroup/a/b/memory.max",
                                      "root/sys/fs/cgroup/memory/a/memory.limit_in_bytes"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    assert_int_equal(unlink(sample_path(files[i])), 0);
  for (size_t i = sizeof folders / sizeof folders[0]; i-- > 0;)
    assert_int_equal(rmdir(sample_path(folders[i])), 0);
}

int main(int argc, char **argv) {
  if (!pieces_arguments(argc, argv))
    return 77;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_10x),           cmocka_unit_test(selected_10x),
      cmocka_unit_test(bad_feature),         cmocka_unit_test(names_in_plan),
      cmocka_unit_test(sums_keep_nothing),   cmocka_unit_test(sums),
      cmocka_unit_test(extreme_sums),        cmocka_unit_test(scaling),
      cmocka_unit_test(sample_nothing_open), cmocka_unit_test(limits),
      cmocka_unit_test(chunks_in_plan),      cmocka_unit_test(copied_chunk_in_plan),
      cmocka_unit_test(useless_copy),
  };
  return cmocka_run_group_tests_name("sums, scaling and 10x files in pieces", tests, sample_setup,
                                     sample_teardown);
}
