/*
 * The streaming engine against the matrix in memory: whatever the chunks, filters, types, units,
 * threads and targets, the same bits, and everything else in the file the same; and what it
 * does where files are damaged, memory is short, or somebody interrupts.
 */
#include "io_internal.h"
#include "pieces_device.h"
#include "stream_samples.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Thousands of small files are made here, and none needs to outlive a crash of the machine. */
int fsync(int file) {
  (void)file;
  return 0;
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
  *n = (csrn_io_normalization){
      .options = options, .memory = c->memory, .unit = c->unit, .device = pieces_device};
  output.path = sample_path("pieces.h5ad");
  error->text[0] = '\0';
  csrn_io_status status = csrn_io_normalize(input, ctx, &output, n, progress, error);
  csrn_io_close(input);
  csrn_context_destroy(ctx);
  return status;
}

/* ---- Comparing ------------------------------------------------------------------ */

static void expect_same_reports(const csrn_normalize_report *a, const csrn_normalize_report *b) {
  assert_memory_equal(&a->target, &b->target, sizeof a->target);
  assert_int_equal(a->n_zero, b->n_zero);
  assert_int_equal(a->n_negative, b->n_negative);
  assert_int_equal(a->n_nonfinite, b->n_nonfinite);
  assert_int_equal(a->n_excluded, b->n_excluded);
}

static csrn_normalize_report last_report;

/* That the device has done what it can do. */
static void expect_device(const csrn_io_normalization *n) {
  assert_true(n->plan.streams);
  if (!pieces_device)
    assert_int_equal(n->plan.on_device, 0);
  else
    assert_int_equal(n->plan.on_device & ~CSRN_IO_TOTALS, CSRN_IO_VALUES);
}

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
  expect_device(&n);
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

/* The matrix of 6 values, of 20 where it is dense. */
static void make_small(const char *filters, int layout, hsize_t height, hsize_t width) {
  const hsize_t chunk[2] = {height, width};
  hid_t storage = filters ? sample_storage(height, filters) : H5Pcreate(H5P_DATASET_CREATE);
  hid_t file = sample_create("in.h5ad");
  sample_frame(file, "obs", layout == 1 ? SAMPLE_COLUMNS : SAMPLE_ROWS, "cell");
  if (layout == 2 && filters)
    H5Pset_chunk(storage, 2, chunk);
  if (layout == 2) {
    sample_array(file, "X", H5T_IEEE_F32LE, storage);
    hid_t X = H5Dopen2(file, "X", H5P_DEFAULT);
    sample_text(X, "encoding-type", "array");
    H5Dclose(X);
  } else {
    sample_sparse(file, "X", &(sample_options){.storage = storage, .csc = layout});
  }
  H5Fclose(file);
  H5Pclose(storage);
}

/* Every size of a chunk from one element to the whole, with every filter, in every layout, with and without
 * exclusion, for both kinds of target, by one thread and several. */
static void every_chunk(void **state) {
  (void)state;
  static const char *const filters[] = {NULL, "", "g", "sg", "l", "sl", "f", "sgf", "slf"};
  int turn = 0;
  for (size_t f = 0; f < sizeof filters / sizeof filters[0]; f++)
    for (int layout = 0; layout < 3; layout++)
      for (int k = 0; k < (layout < 2 ? SAMPLE_NNZ : SAMPLE_ROWS * SAMPLE_COLUMNS); k++) {
        if (!filters[f] && k)
          break;
        make_small(filters[f], layout, layout < 2 ? (hsize_t)k + 1 : (hsize_t)k / SAMPLE_COLUMNS + 1,
                   (hsize_t)k % SAMPLE_COLUMNS + 1);
        for (int how = layout < 2 ? 0 : k % 4; how < (layout < 2 ? 4 : k % 4 + 1); how++, turn++) {
          const stream_case c = {.unit = 1, .threads = turn / 4 % 3 + 1};
          csrn_normalize_options options =
              options_of(how & 1 ? CSRN_TARGET_MEDIAN : CSRN_TARGET_FIXED, turn / 12 % 2);
          options.exclude_highly_expressed = how >> 1;
          options.max_fraction = 0.4;
          expect_same(&c, options, (csrn_io_output){0});
          assert_int_equal(last_report.n_excluded > 0, how >> 1);
        }
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

/* Units end in any order, and are written in theirs: files are the same to the byte, whoever did what. */
static void layout(void **state) {
  (void)state;
  static const char *const filters[] = {"l", "", "g"};
  for (int f = 0; f < 3; f++) {
    stream_case c = {filters[f], 64, REALS, CSRN_F32, 64, 1, 0};
    csrn_normalize_options options = options_of(CSRN_TARGET_MEDIAN, 1);
    const csrn_io_output output = {.compression =
                                       f == 2 ? CSRN_IO_COMPRESSION_GZIP : CSRN_IO_COMPRESSION_KEEP,
                                   .level = 2 * f,
                                   .force = 1};
    csrn_io_normalization n;
    csrn_io_error error;
    size_t size[2];
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    remove(sample_path("pieces.h5ad"));
    assert_int_equal(write_pieces(&c, &options, output, &n, NULL, &error), CSRN_IO_OK);
    char *one = sample_read_bytes(sample_path("pieces.h5ad"), &size[0]);
    for (c.threads = 2; c.threads < 7; c.threads++) {
      assert_int_equal(write_pieces(&c, &options, output, &n, NULL, &error), CSRN_IO_OK);
      assert_true(n.plan.n_workers >= c.threads);
      char *many = sample_read_bytes(sample_path("pieces.h5ad"), &size[1]);
      assert_int_equal(size[0], size[1]);
      assert_memory_equal(one, many, size[0]);
      free(many);
    }
    free(one);
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
                           pieces_memory(i % 2 ? 0 : 26 << 20)};
    csrn_normalize_options options = options_of((csrn_target)(i % 3), i % 2);
    options.exclude_highly_expressed = 1;
    options.max_fraction = fractions[i % 4];
    make_file(&c, index_types[i % 5], H5T_STD_I32LE, 0);
    expect_same(&c, options, (csrn_io_output){0});
    assert_true(fractions[i % 4] == 1 || last_report.n_excluded > 0);
  }
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
                           pieces_memory(i % 2 ? 0 : 26 << 20)};
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
    const stream_case c = {i % 3 ? "g" : NULL,
                           700,
                           COUNTS,
                           kinds[i % 7],
                           i % 4 * 900 + 100,
                           i % 3 + 1,
                           pieces_memory(i % 2 ? 0 : 26 << 20)};
    csrn_normalize_options options = options_of((csrn_target)(i % 3), i % 2);
    options.exclude_highly_expressed = i / 7 % 2;
    options.max_fraction = 0.00165;
    make_matrix(&c, 1, index_types[i % 3], H5T_STD_I32LE, 0);
    expect_same(&c, options, (csrn_io_output){0});
    assert_true(i / 7 % 2 ? last_report.n_excluded > 0 && last_report.n_excluded < ROWS
                          : last_report.n_excluded == 0);
  }
}

/* Totals of columns of other reals depend on the whole matrix, so there are passes more. */
static void columns_of_reals(void **state) {
  (void)state;
  for (int i = 0; i < 18; i++) {
    const stream_case c = {i % 2 ? "g" : NULL,
                           700,
                           1 + i % 3,
                           i / 3 % 2 ? CSRN_F32 : CSRN_F64,
                           i % 4 * 900 + 100,
                           i % 3 + 1,
                           pieces_memory(i % 2 ? 0 : 26 << 20)};
    csrn_normalize_options options = options_of((csrn_target)(i % 3), i % 2);
    options.exclude_highly_expressed = i / 8 == 1;
    options.max_fraction = 0.00165;
    make_matrix(&c, 1, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    expect_same(&c, options, (csrn_io_output){0});
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

/* The chunk of X/data at `first` replaced by `bytes` of which filters were skipped as `mask` says. */
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
  static const char *const filters[] = {"g", "sg", "l"};
  const unsigned char junk[] = "these bytes are no compressed values";
  for (size_t f = 0; f < sizeof filters / sizeof filters[0]; f++) {
    const stream_case c = {filters[f], 1000, COUNTS, CSRN_F32, 1000, 3, 0};
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    replace_chunk(12000, 0, junk, sizeof junk);
    replace_chunk(15000, 0, junk, sizeof junk);
    expect_failure(&c, NULL, "cannot read X/data: the chunk that begins at 1"); /* whichever is met first */
  }
}

/* Without filters libhdf5 says how long a chunk should be, and reads as much as there is. */
static void chunks_of_other_sizes(void **state) {
  (void)state;
  static const char *const paths[] = {"X/data", "X/indices"};
  static unsigned char bytes[1 << 16];
  static const size_t sizes[] = {100, 4004, sizeof bytes};
  for (size_t i = 0; i < 6; i++) {
    const stream_case c = {"", 1000, COUNTS, CSRN_F32, 2000, 2, 0};
    const hsize_t last = (hsize_t)total_length() / 1000 * 1000, whole = (hsize_t)total_length();
    char words[100];
    snprintf(words, sizeof words, "cannot read %s: a chunk has %zu bytes instead of 4000", paths[i / 3],
             sizes[i % 3]);
    make_file(&c, H5T_STD_I32LE, H5T_STD_I32LE, 0);
    hid_t file = H5Fopen(sample_path("in.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t id = H5Dopen2(file, paths[i / 3], H5P_DEFAULT);
    assert_true(H5Dset_extent(id, &last) >= 0 && H5Dset_extent(id, &whole) >= 0);
    assert_true(H5Dwrite_chunk(id, H5P_DEFAULT, 0, &last, sizes[i % 3], bytes) >= 0);
    H5Dclose(id);
    H5Fclose(file);
    expect_failure(&c, NULL, words);
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

/* A file that may not grow, as on a full disk. */
static void full_disk(void **state) {
  (void)state;
  struct rlimit old, now;
  const stream_case c = {"", 1000, REALS, CSRN_F32, 1000, 3, 0};
  make_file(&c, H5T_STD_I32LE, H5T_STD_I64LE, 0);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, SIG_IGN);
  for (rlim_t limit = 0; limit <= 140000; limit += 10000) { /* of 150,000 */
    now = old;
    now.rlim_cur = limit;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    expect_failure(&c, NULL, "File too large");
    setrlimit(RLIMIT_FSIZE, &old);
  }
  signal(SIGXFSZ, SIG_DFL);
  expect_same(&c, options_of(CSRN_TARGET_MEDIAN, 0), (csrn_io_output){0});
}

int main(int argc, char **argv) {
  if (!pieces_arguments(argc, argv))
    return 77;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chunks_and_filters),
      cmocka_unit_test(every_chunk),
      cmocka_unit_test(types),
      cmocka_unit_test(units_and_threads),
      cmocka_unit_test(layout),
      cmocka_unit_test(values_close_to_counts),
      cmocka_unit_test(little_memory),
      cmocka_unit_test(compression),
      cmocka_unit_test(spare_values),
      cmocka_unit_test(no_values),
      cmocka_unit_test(skipped_filters),
      cmocka_unit_test(damaged_chunks),
      cmocka_unit_test(chunks_of_other_sizes),
      cmocka_unit_test(bad_rows),
      cmocka_unit_test(exclusion),
      cmocka_unit_test(dense),
      cmocka_unit_test(columns),
      cmocka_unit_test(columns_of_reals),
      cmocka_unit_test(raw_indices),
      cmocka_unit_test(bad_column),
      cmocka_unit_test(interruption),
      cmocka_unit_test(full_disk),
      cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("streaming", tests, sample_setup, sample_teardown);
}
