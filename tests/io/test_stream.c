/*
 * The streaming engine against the matrix in memory: whatever the chunks, filters, types, units,
 * threads and targets, the same bits, and everything else in the file the same; and what it
 * does where files are damaged, memory is short, or somebody interrupts.
 */
#include "hdf5_samples.h"
#include "io_internal.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Rows of every kind: empty, single, and around the 4,096 elements that are summed at once. */
enum { ROWS = 12, COLUMNS = 9000, CELLS = 16 /* of a CSC matrix, whose genes are the rows */ };
static const int lengths[ROWS] = {0, 3, 4096, 0, 0, 4097, 1, 8192, 700, 0, 257, 0};

typedef struct stream_case {
  const char *filters; /* of sample_storage(); NULL: not chunked */
  int chunk;
  /* ODD: NaN, infinities, -0, negative numbers; ALMOST: a value in each 1,000 that is nearly a count. */
  enum { COUNTS, REALS, ODD, ALMOST } values;
  csrn_dtype type;
  int64_t unit;
  int threads;
  int64_t memory;
} stream_case;

static double value_of(const stream_case *c, int64_t i) {
  const double count = (double)((uint64_t)i * 2654435761U % 1000 % 97 + 1);
  static const double odd[] = {NAN, INFINITY, -0.0, -3.5, -INFINITY, 70000, 300, 0};
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

static int64_t total_length(void) {
  int64_t n = 0;
  for (int i = 0; i < ROWS; i++)
    n += lengths[i];
  return n;
}

/* An .h5ad whose values, indices and indptr are of the case's kinds. */
static void make_matrix(const stream_case *c, int csc, hid_t indices_type, hid_t indptr_type, int spare) {
  const hsize_t n = (hsize_t)total_length() + (hsize_t)spare, rows = ROWS + 1;
  const int64_t shape[2] = {csc ? CELLS : ROWS, csc ? ROWS : COLUMNS};
  double *values = calloc(n, sizeof *values);
  int64_t *indices = calloc(n, sizeof *indices), indptr[ROWS + 1] = {0};
  assert_true(values && indices);
  for (int i = 0; i < ROWS; i++)
    indptr[i + 1] = indptr[i] + lengths[i];
  for (int i = 0; i < ROWS; i++)
    for (int64_t k = indptr[i]; k < indptr[i + 1]; k++) {
      values[k] = value_of(c, k);
      indices[k] = csc ? k * 7 % (CELLS - 1) : k - indptr[i];
    }
  hid_t storage = c->filters ? sample_storage((hsize_t)c->chunk, c->filters) : H5Pcreate(H5P_DATASET_CREATE);
  hid_t file = sample_create("in.h5ad"), group = H5Gcreate2(file, "X", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_dataset(group, "data", stored_type(c->type), storage, 1, &n, H5T_NATIVE_DOUBLE, values);
  sample_dataset(group, "indices", indices_type, storage, 1, &n, H5T_NATIVE_INT64, indices);
  sample_dataset(group, "indptr", indptr_type, 0, 1, &rows, H5T_NATIVE_INT64, indptr);
  sample_text(group, "encoding-type", csc ? "csc_matrix" : "csr_matrix");
  sample_text(group, "encoding-version", "0.1.0");
  sample_integers(group, "shape", 2, shape);
  sample_text(file, "encoding-type", "anndata");
  sample_text(file, "encoding-version", "0.1.0");
  sample_frame(file, "obs", csc ? CELLS : ROWS, "cell");
  H5Gclose(group);
  H5Fclose(file);
  H5Pclose(storage);
  free(indices);
  free(values);
}

static void make_file(const stream_case *c, hid_t indices_type, hid_t indptr_type, int spare) {
  make_matrix(c, 0, indices_type, indptr_type, spare);
}

/* ---- Both ways ----------------------------------------------------------------- */

/* The matrix in memory, as one piece. */
static csrn_normalize_report write_whole(csrn_normalize_options options, csrn_io_output output) {
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  csrn_normalize_report report;
  csrn_io_matrix matrix;
  csrn_io_error error;
  sample_read(input, &matrix);
  assert_int_equal(csrn_io_matrix_indices(&matrix, &error), CSRN_IO_OK);
  options.axis = matrix.cells;
  const csrn_dtype type = matrix.csr.data_type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
  void *result = calloc((size_t)matrix.csr.nnz + 1, csrn_dtype_size(type));
  double factors[CELLS];
  assert_non_null(result);
  assert_int_equal(
      csrn_normalize_total(sample_context, &matrix.csr, &options, result, type, factors, &report), CSRN_OK);
  free(matrix.csr.data);
  matrix.csr.data = result;
  matrix.csr.data_type = type;
  output.path = sample_path("whole.h5ad");
  output.factors = factors;
  output.factors_type = type;
  if (csrn_io_write(input, &matrix, &output, NULL, &error))
    fail_msg("%s", error.text);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  return report;
}

static csrn_io_status write_pieces(const stream_case *c, csrn_normalize_options *options,
                                   csrn_io_output output, csrn_io_normalization *n,
                                   const csrn_io_progress *progress, csrn_io_error *error) {
  csrn_context_options context_options = CSRN_CONTEXT_OPTIONS_INIT;
  csrn_context *ctx = NULL;
  context_options.threads = c->threads ? c->threads : 1;
  assert_int_equal(csrn_context_create(&context_options, &ctx), CSRN_OK);
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  *n = (csrn_io_normalization){.options = options, .memory = c->memory, .unit = c->unit};
  output.path = sample_path("pieces.h5ad");
  error->text[0] = '\0';
  csrn_io_status status = csrn_io_normalize(input, ctx, &output, n, progress, error);
  csrn_io_close(input);
  csrn_context_destroy(ctx);
  return status;
}

/* ---- Comparing ------------------------------------------------------------------ */

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

static void expect_same_dataset(hid_t one, hid_t other, const char *path) {
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

static void expect_same_files(const char *one, const char *other) {
  hid_t a = H5Fopen(sample_path(one), H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t b = H5Fopen(sample_path(other), H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(a >= 0 && b >= 0);
  static const char *const sparse[] = {"X/data", "X/indices", "X/indptr", "obs/factor", NULL};
  static const char *const dense[] = {"X", "obs/factor", NULL};
  for (const char *const *path = sample_has(a, "X/data") ? sparse : dense; *path; path++) {
    expect_same_dataset(a, b, *path);
    expect_same_storage(a, b, *path);
  }
  static char encoding[40];
  snprintf(encoding, sizeof encoding, "%s", sample_texts(a, "X", "encoding-type"));
  assert_string_equal(sample_texts(b, "X", "encoding-type"), encoding);
  assert_string_equal(sample_texts(a, "obs", "column-order"), "factor");
  assert_true(sample_has(a, "uns/log1p") == sample_has(b, "uns/log1p"));
  H5Fclose(a);
  H5Fclose(b);
}

static void expect_same_reports(const csrn_normalize_report *a, const csrn_normalize_report *b) {
  assert_memory_equal(&a->target, &b->target, sizeof a->target);
  assert_int_equal(a->n_zero, b->n_zero);
  assert_int_equal(a->n_negative, b->n_negative);
  assert_int_equal(a->n_nonfinite, b->n_nonfinite);
  assert_int_equal(a->n_excluded, b->n_excluded);
}

static csrn_normalize_report last_report;

/* That a file in pieces is the file in one, for the file that stands there. */
static int64_t expect_same(const stream_case *c, csrn_normalize_options options, csrn_io_output output) {
  csrn_io_normalization n;
  csrn_io_error error;
  output.key_added = "factor";
  output.force = 1;
  output.log1p = options.log1p;
  const csrn_normalize_report report = write_whole(options, output);
  if (write_pieces(c, &options, output, &n, NULL, &error))
    fail_msg("%s", error.text);
  expect_same_reports(&report, &n.report);
  last_report = report;
  expect_same_files("pieces.h5ad", "whole.h5ad");
  return n.kept_bytes;
}

static csrn_normalize_options options_of(csrn_target target, int log1p) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.target = target;
  options.target_sum = 1e4;
  options.log1p = log1p;
  return options;
}

/* ---- The same bits ---------------------------------------------------------------- */

static void chunks_and_filters(void **state) {
  (void)state;
  static const char *const filters[] = {NULL, "", "g", "sg", "l", "sl", "sgf", "z", "gp"};
  static const int chunks[] = {1, 7, 1000, 4096, 17346, 30000};
  int turn = 0;
  for (size_t f = 0; f < sizeof filters / sizeof filters[0]; f++)
    for (size_t k = 0; k < sizeof chunks / sizeof chunks[0]; k++, turn++) {
      if ((chunks[k] < 8 && f != 3 && f != k + 1) || (!filters[f] && k))
        continue; /* szip wants blocks of 8 in a chunk, and thousands of chunks take libhdf5 a while */
      const stream_case c = {
          filters[f], chunks[k], turn % 3, turn % 2 ? CSRN_F32 : CSRN_F64, (int64_t)turn % 5 * 1000,
          turn % 4,   0};
      make_file(&c, H5T_STD_I32LE, H5T_STD_I64LE, 0);
      expect_same(&c, options_of((csrn_target)(turn % 3), turn / 2 % 2), (csrn_io_output){0});
    }
}

static void types(void **state) {
  (void)state;
  static const csrn_dtype types[] = {CSRN_U8, CSRN_U16, CSRN_U32, CSRN_I32, CSRN_I64, CSRN_U64, CSRN_F32};
  const hid_t index_types[] = {H5T_STD_I64LE, H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_I32BE};
  for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
    const stream_case c = {t % 2 ? "g" : "sg", 500, COUNTS, types[t], 1500, 3, 0};
    make_file(&c, index_types[t % 4], index_types[(t + 1) % 4], 0);
    expect_same(&c, options_of(CSRN_TARGET_MEDIAN, (int)(t % 2)), (csrn_io_output){0});
  }
}

/* Units of one value and of everything, one thread and many. */
static void units_and_threads(void **state) {
  (void)state;
  static const int64_t units[] = {1, 300, 4096, 100000};
  for (int i = 0; i < 16; i++) {
    const stream_case c = {"g", i % 4 == 0 ? 64 : 300, i / 4 % 3, CSRN_F32, units[i % 4], i / 4 + 1, 0};
    if (i % 4 == 0 || i % 4 == 2)
      make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    expect_same(&c, options_of(CSRN_TARGET_MEDIAN, 1), (csrn_io_output){0});
  }
}

static void exclusion(void **state) {
  (void)state;
  static const double fractions[] = {0.05, 0.0015, 1, 0};
  static const csrn_dtype kinds[] = {CSRN_F32, CSRN_F64, CSRN_I32, CSRN_U8, CSRN_U16, CSRN_I64, CSRN_U32};
  const hid_t index_types[] = {H5T_STD_I32LE, H5T_STD_I64LE, H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_U64LE};
  for (int i = 0; i < 28; i++) {
    const csrn_dtype type = kinds[i % 7];
    const stream_case c = {i % 3   ? "g"
                           : i % 2 ? NULL
                                   : "z",
                           800,
                           type == CSRN_F32 ? i / 7 % 3 : type == CSRN_F64,
                           type,
                           i % 5 * 900 + 100,
                           i % 3 + 1,
                           i % 2 ? 0 : 20 << 20};
    csrn_normalize_options options = options_of((csrn_target)(i % 3), i % 2);
    options.exclude_highly_expressed = 1;
    options.max_fraction = fractions[i % 4];
    make_file(&c, index_types[i % 5], H5T_STD_I32LE, 0);
    expect_same(&c, options, (csrn_io_output){0});
    assert_true(fractions[i % 4] == 1 || last_report.n_excluded > 0);
  }
}

/* A dense matrix of 12 rows, with zeros, in tiles. */
static void make_dense(const stream_case *c, hsize_t height, hsize_t width) {
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

static void dense(void **state) {
  (void)state;
  static const hsize_t tiles[][2] = {{5, 77}, {1, 5000}, {12, 5000}, {12, 3000}, {1, 64}, {7, 5000}};
  static const char *const filters[] = {"g", "sg", "l", "", "sgf", NULL};
  static const csrn_dtype kinds[] = {CSRN_F32, CSRN_F64, CSRN_I32, CSRN_F32, CSRN_U8};
  for (int i = 0; i < 30; i++) {
    const csrn_dtype type = kinds[i % 5];
    const stream_case c = {filters[i % 6],
                           0,
                           type == CSRN_F32 || type == CSRN_F64 ? i % 3 : COUNTS,
                           type,
                           (int64_t)i % 4 * 9000,
                           i % 3 + 1,
                           i % 2 ? 0 : 20 << 20};
    csrn_normalize_options options = options_of((csrn_target)(i % 3), i / 2 % 2);
    options.exclude_highly_expressed = i % 4 == 3;
    options.max_fraction = 0.0015;
    make_dense(&c, tiles[i / 6 * 7 % 6][0], tiles[i / 6 * 7 % 6][1]);
    expect_same(
        &c, options,
        (csrn_io_output){.compression = i % 7 == 5 ? CSRN_IO_COMPRESSION_GZIP : CSRN_IO_COMPRESSION_KEEP});
  }
}

static void columns(void **state) {
  (void)state;
  static const csrn_dtype kinds[] = {CSRN_F32, CSRN_F64, CSRN_I32, CSRN_U8, CSRN_U16, CSRN_I64, CSRN_U32};
  const hid_t index_types[] = {H5T_STD_I32LE, H5T_STD_I64LE, H5T_STD_U8LE};
  for (int i = 0; i < 28; i++) {
    const stream_case c = {i % 3 ? "g" : NULL,  700, COUNTS, kinds[i % 7], i % 4 * 900 + 100, i % 3 + 1,
                           i % 2 ? 0 : 20 << 20};
    csrn_normalize_options options = options_of((csrn_target)(i % 3), i % 2);
    options.exclude_highly_expressed = i / 7 % 2;
    options.max_fraction = 0.00165;
    make_matrix(&c, 1, index_types[i % 3], H5T_STD_I32LE, 0);
    expect_same(&c, options, (csrn_io_output){0});
    assert_true(i / 7 % 2 ? last_report.n_excluded > 0 && last_report.n_excluded < ROWS
                          : last_report.n_excluded == 0);
  }
}

/* Totals of columns of other reals depend on the whole matrix: nothing is done, and said so. */
static void columns_of_reals(void **state) {
  (void)state;
  csrn_normalize_options options = options_of(CSRN_TARGET_MEDIAN, 0);
  csrn_io_normalization n;
  csrn_io_error error;
  for (int values = REALS; values <= ODD; values++) {
    const stream_case c = {"g", 700, values, CSRN_F32, 1000, 3, 0};
    make_matrix(&c, 1, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    remove(sample_path("pieces.h5ad"));
    assert_int_equal(write_pieces(&c, &options, (csrn_io_output){0}, &n, NULL, &error), CSRN_IO_OK);
    assert_int_equal(n.plan.streams, 0);
    assert_null(fopen(sample_path("pieces.h5ad"), "r"));
  }
}

/* One value that is no count in a unit of counts: the unit is kept as it is. */
static void values_close_to_counts(void **state) {
  (void)state;
  for (int type = CSRN_F32; type <= CSRN_F64; type++) {
    const stream_case c = {"g", 1000, ALMOST, (csrn_dtype)type, 1000, 3, 0};
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    expect_same(&c, options_of(CSRN_TARGET_MEDIAN, 0), (csrn_io_output){0});
  }
}

/* What is kept between the passes never changes a result: all of it, some, nothing. */
static void little_memory(void **state) {
  (void)state;
  const int64_t all = total_length();
  csrn_normalize_options options = options_of(CSRN_TARGET_MEDIAN, 0);
  csrn_io_normalization n;
  csrn_io_error error;
  for (int values = COUNTS; values <= REALS; values++) {
    stream_case c = {"sg", 1000, values, CSRN_F32, 2000, 2, 64 << 20};
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    assert_int_equal(expect_same(&c, options, (csrn_io_output){0}), values == COUNTS ? all : 4 * all);
    c.memory = 1;
    assert_int_equal(write_pieces(&c, &options, (csrn_io_output){.force = 1}, &n, NULL, &error),
                     CSRN_IO_FAILED);
    assert_non_null(strstr(error.text, "more than the 1 of --memory"));
    c.memory = n.plan.memory; /* what it takes with one worker */
    assert_int_equal(expect_same(&c, options, (csrn_io_output){0}), 0);
    c.memory += 9000; /* and with one unit of reals, or four of counts */
    assert_int_equal(expect_same(&c, options, (csrn_io_output){0}), 8000);
  }
}

/* ---- The file --------------------------------------------------------------------- */

static void compression(void **state) {
  (void)state;
  static const struct {
    const char *filters;
    csrn_io_compression compression;
    int level;
  } cases[] = {{"g", CSRN_IO_COMPRESSION_NONE, 0},  {"", CSRN_IO_COMPRESSION_GZIP, 0},
               {NULL, CSRN_IO_COMPRESSION_GZIP, 9}, {"sl", CSRN_IO_COMPRESSION_GZIP, 1},
               {"sg", CSRN_IO_COMPRESSION_GZIP, 6}, {"sgf", CSRN_IO_COMPRESSION_NONE, 0}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const stream_case c = {cases[i].filters, 999, (int)i % 3, CSRN_F32, 2000, 2, 0};
    make_file(&c, H5T_STD_I64LE, H5T_STD_I32LE, 0);
    expect_same(&c, options_of(CSRN_TARGET_FIXED, 1),
                (csrn_io_output){.compression = cases[i].compression, .level = cases[i].level});
  }
}

/* The chunks of the indices are the input's, byte by byte. */
static void raw_indices(void **state) {
  (void)state;
  static const char *const filters[] = {"g", "sgf", "z"};
  static unsigned char chunks[2][20000];
  for (size_t f = 0; f < sizeof filters / sizeof filters[0]; f++) {
    const stream_case c = {filters[f], 1000, COUNTS, CSRN_F32, 2000, 2, 0};
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    expect_same(&c, options_of(CSRN_TARGET_MEDIAN, 0), (csrn_io_output){0});
    for (hsize_t first = 0; first < (hsize_t)total_length(); first += 1000) {
      hsize_t sizes[2] = {0, 0};
      for (int i = 0; i < 2; i++) {
        uint32_t mask;
        hid_t file = H5Fopen(sample_path(i ? "pieces.h5ad" : "in.h5ad"), H5F_ACC_RDONLY, H5P_DEFAULT);
        hid_t id = H5Dopen2(file, "X/indices", H5P_DEFAULT);
        assert_true(H5Dget_chunk_storage_size(id, &first, &sizes[i]) >= 0 && sizes[i] < sizeof chunks[i]);
        assert_true(H5Dread_chunk(id, H5P_DEFAULT, &first, &mask, chunks[i]) >= 0);
        H5Dclose(id);
        H5Fclose(file);
      }
      assert_int_equal(sizes[0], sizes[1]);
      assert_memory_equal(chunks[0], chunks[1], sizes[0]);
    }
  }
}

/* Values and indices behind the last row are not the matrix's. */
static void spare_values(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    const stream_case c = {i == 1 ? NULL : "g", 1000, COUNTS, CSRN_F32, 3000, 2, 0};
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, i == 2 ? 1 : 1234);
    expect_same(&c, options_of(CSRN_TARGET_MEDIAN, 0),
                (csrn_io_output){.compression = i ? CSRN_IO_COMPRESSION_GZIP : CSRN_IO_COMPRESSION_KEEP});
  }
}

static void no_values(void **state) {
  (void)state;
  const hsize_t none = 0, rows = ROWS + 1;
  const int64_t shape[2] = {ROWS, COLUMNS}, indptr[ROWS + 1] = {0};
  hid_t file = sample_create("in.h5ad"), group = H5Gcreate2(file, "X", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  hid_t storage = sample_storage(100, "g");
  sample_dataset(group, "data", H5T_IEEE_F32LE, storage, 1, &none, H5T_NATIVE_DOUBLE, NULL);
  sample_dataset(group, "indices", H5T_STD_I32LE, storage, 1, &none, H5T_NATIVE_INT64, NULL);
  sample_dataset(group, "indptr", H5T_STD_I32LE, 0, 1, &rows, H5T_NATIVE_INT64, indptr);
  sample_text(group, "encoding-type", "csr_matrix");
  sample_integers(group, "shape", 2, shape);
  sample_frame(file, "obs", ROWS, "cell");
  H5Pclose(storage);
  H5Gclose(group);
  H5Fclose(file);
  const stream_case c = {.threads = 2};
  expect_same(&c, options_of(CSRN_TARGET_MEDIAN, 1), (csrn_io_output){0});
}

/* Chunk `i` of X/data replaced by `bytes` of which filters were skipped as `mask` says. */
static void replace_chunk(hsize_t first, uint32_t mask, const void *bytes, size_t n) {
  hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t data = H5Dopen2(file, "X/data", H5P_DEFAULT);
  assert_true(H5Dwrite_chunk(data, H5P_DEFAULT, mask, &first, n, bytes) >= 0);
  H5Dclose(data);
  H5Fclose(file);
}

/* Filters that were skipped for some chunks, and chunks that were never written. */
static void skipped_filters(void **state) {
  (void)state;
  float values[1000];
  for (int i = 0; i < 1000; i++)
    values[i] = (float)i;
  static const char *const filters[] = {"g", "sg", "l", "sl", ""};
  for (size_t f = 0; f < sizeof filters / sizeof filters[0]; f++) {
    const stream_case c = {filters[f], 1000, COUNTS, CSRN_F32, 2000, 3, 0};
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    replace_chunk(3000, filters[f][0] == 's' ? 3 : 1, values, sizeof values);
    hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t data = H5Dopen2(file, "X/data", H5P_DEFAULT);
    const hsize_t shorter = 5000, whole = (hsize_t)total_length();
    assert_true(H5Dset_extent(data, &shorter) >= 0 && H5Dset_extent(data, &whole) >= 0);
    H5Dclose(data);
    H5Fclose(file);
    expect_same(&c, options_of(CSRN_TARGET_MEDIAN, 0), (csrn_io_output){0});
  }
}

/* ---- Failures ----------------------------------------------------------------------- */

static void expect_failure(const stream_case *c, const csrn_io_progress *progress, const char *word) {
  csrn_normalize_options options = options_of(CSRN_TARGET_MEDIAN, 0);
  csrn_io_normalization n;
  csrn_io_error error;
  remove(sample_path("pieces.h5ad"));
  assert_int_equal(write_pieces(c, &options, (csrn_io_output){0}, &n, progress, &error), CSRN_IO_FAILED);
  if (!strstr(error.text, word))
    fail_msg("\"%s\" lacks \"%s\"", error.text, word);
  assert_null(fopen(sample_path("pieces.h5ad"), "r"));
}

static void damaged_chunks(void **state) {
  (void)state;
  static const char *const filters[] = {"g", "sg", "l", ""};
  const unsigned char junk[] = "these bytes are no compressed values";
  for (size_t f = 0; f < sizeof filters / sizeof filters[0]; f++) {
    const stream_case c = {filters[f], 1000, COUNTS, CSRN_F32, 1000, 3, 0};
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    replace_chunk(12000, 0, junk, sizeof junk);
    replace_chunk(15000, 0, junk, sizeof junk);
    if (filters[f][0])
      expect_failure(&c, NULL, "cannot read X/data: the chunk that begins at 1"); /* whichever is met first */
  }
}

static void bad_rows(void **state) {
  (void)state;
  const stream_case c = {"g", 1000, COUNTS, CSRN_F32, 0, 2, 0};
  make_file(&c, H5T_STD_I32LE, H5T_STD_I64LE, 0);
  hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t id = H5Dopen2(file, "X/indptr", H5P_DEFAULT);
  int64_t indptr[ROWS + 1];
  assert_true(H5Dread(id, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, indptr) >= 0);
  indptr[3] = 1 << 20;
  assert_true(H5Dwrite(id, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, indptr) >= 0);
  H5Dclose(id);
  H5Fclose(file);
  expect_failure(&c, NULL, "indptr decreases in row 3: from 1048576 to 4099");
}

/* An index is looked at where columns matter. */
static void bad_column(void **state) {
  (void)state;
  const stream_case c = {"g", 1000, COUNTS, CSRN_F32, 1000, 2, 0};
  csrn_normalize_options options = options_of(CSRN_TARGET_MEDIAN, 0);
  csrn_io_normalization n;
  csrn_io_error error;
  make_file(&c, H5T_STD_I32LE, H5T_STD_I64LE, 0);
  hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t id = H5Dopen2(file, "X/indices", H5P_DEFAULT);
  int32_t *indices = calloc((size_t)total_length(), sizeof *indices);
  assert_non_null(indices);
  assert_true(H5Dread(id, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, indices) >= 0);
  indices[4100] = COLUMNS;
  assert_true(H5Dwrite(id, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, indices) >= 0);
  free(indices);
  H5Dclose(id);
  H5Fclose(file);
  options.exclude_highly_expressed = 1;
  options.max_fraction = 0.0015;
  remove(sample_path("pieces.h5ad"));
  assert_int_equal(write_pieces(&c, &options, (csrn_io_output){0}, &n, NULL, &error), CSRN_IO_FAILED);
  assert_non_null(strstr(error.text, "element 4100, in row 5, is 9000; expected 0 to n_cols - 1 = 8999"));
  assert_null(fopen(sample_path("pieces.h5ad"), "r"));
}

static int stop_at(void *user, const char *step, int64_t done, int64_t total) {
  (void)step;
  (void)done;
  (void)total;
  return --*(int *)user == 0;
}

static void interruption(void **state) {
  (void)state;
  const stream_case c = {"g", 1000, COUNTS, CSRN_F32, 1000, 3, 0};
  make_file(&c, H5T_STD_I32LE, H5T_STD_I64LE, 0);
  for (int calls = 1; calls < 40; calls += 6) {
    int left = calls;
    const csrn_io_progress progress = {stop_at, &left};
    expect_failure(&c, &progress, "interrupted");
  }
}

/* A file that may not grow, as on a full disk, once the small parts are there: where those cannot be written
 * H5Ocopy() of libhdf5 1.10.8 crashes. */
static void full_disk(void **state) {
  (void)state;
  struct rlimit old, now;
  const stream_case c = {"", 1000, REALS, CSRN_F32, 1000, 3, 0};
  make_file(&c, H5T_STD_I32LE, H5T_STD_I64LE, 0);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, SIG_IGN);
  for (rlim_t limit = 40000; limit <= 140000; limit += 10000) { /* of 150,000 */
    now = old;
    now.rlim_cur = limit;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    expect_failure(&c, NULL, "File too large");
    setrlimit(RLIMIT_FSIZE, &old);
  }
  signal(SIGXFSZ, SIG_DFL);
  expect_same(&c, options_of(CSRN_TARGET_MEDIAN, 0), (csrn_io_output){0});
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chunks_and_filters),
      cmocka_unit_test(types),
      cmocka_unit_test(units_and_threads),
      cmocka_unit_test(values_close_to_counts),
      cmocka_unit_test(little_memory),
      cmocka_unit_test(compression),
      cmocka_unit_test(spare_values),
      cmocka_unit_test(no_values),
      cmocka_unit_test(skipped_filters),
      cmocka_unit_test(damaged_chunks),
      cmocka_unit_test(bad_rows),
      cmocka_unit_test(exclusion),
      cmocka_unit_test(dense),
      cmocka_unit_test(columns),
      cmocka_unit_test(columns_of_reals),
      cmocka_unit_test(raw_indices),
      cmocka_unit_test(bad_column),
      cmocka_unit_test(interruption),
      cmocka_unit_test(sample_nothing_open),
      cmocka_unit_test(full_disk),
  };
  return cmocka_run_group_tests_name("streaming", tests, sample_setup, sample_teardown);
}
