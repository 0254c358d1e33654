/*
 * Damaged .h5ad files: each is refused with a sentence that names the file, the object,
 * what was found and what was expected; nothing is printed, and nothing crashes.
 */
#include "hdf5_samples.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- Ways to damage ---- */

static void drop(hid_t file, const char *path) {
  assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
}

static void put(hid_t file, const char *path, hid_t type, int n, const int64_t *values) {
  const hsize_t extent = (hsize_t)n;
  drop(file, path);
  sample_dataset(file, path, type, 0, 1, &extent, H5T_NATIVE_INT64, values);
}

static void put_shape(hid_t file, int n, const int64_t *shape) {
  hid_t group = H5Gopen2(file, "X", H5P_DEFAULT);
  H5Adelete(group, "shape");
  sample_integers(group, "shape", n, shape);
  H5Gclose(group);
}

static void put_encoding(hid_t file, const char *type) {
  hid_t group = H5Gopen2(file, "X", H5P_DEFAULT);
  H5Adelete(group, "encoding-type");
  if (type)
    sample_text(group, "encoding-type", type);
  H5Gclose(group);
}

static void no_x(hid_t file) {
  drop(file, "X");
}
static void no_x_but_layers(hid_t file) {
  drop(file, "X");
  hid_t group = H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_sparse(group, "spliced", NULL);
  sample_sparse(group, "unspliced", NULL);
  H5Gclose(group);
}
static void no_anndata(hid_t file) {
  drop(file, "X");
  drop(file, "obs");
  drop(file, "var");
}
static void no_data(hid_t file) {
  drop(file, "X/data");
}
static void no_indices(hid_t file) {
  drop(file, "X/indices");
}
static void no_indptr(hid_t file) {
  drop(file, "X/indptr");
}
static void dangling_data(hid_t file) {
  drop(file, "X/data");
  H5Lcreate_soft("/nowhere", file, "X/data", H5P_DEFAULT, H5P_DEFAULT);
}
static void data_is_group(hid_t file) {
  drop(file, "X/data");
  H5Gclose(H5Gcreate2(file, "X/data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void data_is_strings(hid_t file) {
  const char *const texts[SAMPLE_NNZ] = {"a", "b", "c", "d", "e", "f"};
  drop(file, "X/data");
  sample_strings(file, "X/data", SAMPLE_NNZ, texts);
}
static void data_is_compound(hid_t file) {
  const hsize_t n = SAMPLE_NNZ;
  hid_t type = H5Tcreate(H5T_COMPOUND, 16);
  H5Tinsert(type, "r", 0, H5T_NATIVE_DOUBLE);
  H5Tinsert(type, "i", 8, H5T_NATIVE_DOUBLE);
  drop(file, "X/data");
  sample_dataset(file, "X/data", type, 0, 1, &n, 0, NULL);
  H5Tclose(type);
}
static void data_is_matrix(hid_t file) {
  const hsize_t extent[2] = {2, 3};
  drop(file, "X/data");
  sample_dataset(file, "X/data", H5T_IEEE_F32LE, 0, 2, extent, 0, NULL);
}
static void data_is_scalar(hid_t file) {
  drop(file, "X/data");
  hid_t space = H5Screate(H5S_SCALAR);
  H5Dclose(H5Dcreate2(file, "X/data", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(space);
}
static void short_data(hid_t file) {
  put(file, "X/data", H5T_IEEE_F32LE, 4, (const int64_t[]){1, 2, 3, 4});
}
static void short_indices(hid_t file) {
  put(file, "X/indices", H5T_STD_I32LE, 5, sample_indices);
}
static void short_indptr(hid_t file) {
  put(file, "X/indptr", H5T_STD_I32LE, 4, sample_indptr);
}
static void empty_indptr(hid_t file) {
  put(file, "X/indptr", H5T_STD_I32LE, 0, sample_indptr);
}
static void float_indices(hid_t file) {
  put(file, "X/indices", H5T_IEEE_F32LE, SAMPLE_NNZ, sample_indices);
}
static void float_indptr(hid_t file) {
  put(file, "X/indptr", H5T_IEEE_F64LE, SAMPLE_ROWS + 1, sample_indptr);
}
static void late_indptr(hid_t file) {
  put(file, "X/indptr", H5T_STD_I32LE, 5, (const int64_t[]){1, 2, 2, 5, 6});
}
static void decreasing_indptr(hid_t file) {
  put(file, "X/indptr", H5T_STD_I32LE, 5, (const int64_t[]){0, 4, 3, 5, 6});
}
static void wild_indptr(hid_t file) {
  put(file, "X/indptr", H5T_STD_I64LE, 5, (const int64_t[]){0, 2, INT64_MAX, 5, 6});
}
static void negative_indptr(hid_t file) {
  put(file, "X/indptr", H5T_STD_I32LE, 5, (const int64_t[]){0, -2, 2, 5, 6});
}
static void negative_end(hid_t file) {
  put(file, "X/indptr", H5T_STD_I32LE, 5, (const int64_t[]){0, 2, 2, 5, -6});
}
static void huge_end(hid_t file) {
  put(file, "X/indptr", H5T_STD_I64LE, 5, (const int64_t[]){0, 2, 2, 5, INT64_MAX});
}
static void big_index(hid_t file) {
  put(file, "X/indices", H5T_STD_I32LE, SAMPLE_NNZ, (const int64_t[]){0, 3, 4, 5, 2, 2});
}
static void negative_index(hid_t file) {
  put(file, "X/indices", H5T_STD_I32LE, SAMPLE_NNZ, (const int64_t[]){0, 3, 4, 1, 2, -1});
}
static void no_encoding(hid_t file) {
  put_encoding(file, NULL);
}
static void other_encoding(hid_t file) {
  put_encoding(file, "awkward-array");
}
static void no_shape(hid_t file) {
  hid_t group = H5Gopen2(file, "X", H5P_DEFAULT);
  H5Adelete(group, "shape");
  H5Gclose(group);
}
static void three_shape(hid_t file) {
  put_shape(file, 3, (const int64_t[]){4, 5, 1});
}
static void negative_shape(hid_t file) {
  put_shape(file, 2, (const int64_t[]){4, -5});
}
static void other_shape(hid_t file) {
  put_shape(file, 2, (const int64_t[]){3, 5});
}
static void huge_shape(hid_t file) {
  put_shape(file, 2, (const int64_t[]){INT64_MAX - 1, 5});
}
static void narrow_shape(hid_t file) {
  put_shape(file, 2, (const int64_t[]){4, 4});
}
static void short_obs(hid_t file) {
  drop(file, "obs");
  sample_frame(file, "obs", 3, "cell");
}
static void long_var(hid_t file) {
  drop(file, "var");
  sample_frame(file, "var", 9, "gene");
}
static void x_is_list(hid_t file) {
  const hsize_t n = 20;
  drop(file, "X");
  sample_dataset(file, "X", H5T_IEEE_F32LE, 0, 1, &n, 0, NULL);
}
static void x_is_type(hid_t file) {
  drop(file, "X");
  hid_t type = H5Tcopy(H5T_NATIVE_INT);
  H5Tcommit2(file, "X", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Tclose(type);
}
static void big_dense(hid_t file, hsize_t rows, hsize_t columns) {
  const hsize_t extent[2] = {rows, columns}, chunk[2] = {16, 16};
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(storage, 2, chunk);
  drop(file, "X");
  drop(file, "obs");
  drop(file, "var");
  sample_dataset(file, "X", H5T_IEEE_F32LE, storage, 2, extent, 0, NULL);
  H5Pclose(storage);
}
static void x_beyond_memory(hid_t file) {
  big_dense(file, (hsize_t)1 << 25, (hsize_t)1 << 25);
}
static void x_beyond_numbers(hid_t file) {
  big_dense(file, (hsize_t)1 << 31, (hsize_t)1 << 31);
}
static void data_beyond_memory(hid_t file) {
  const hsize_t n = (hsize_t)1 << 50, chunk = 1024;
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(storage, 1, &chunk);
  drop(file, "X/data");
  drop(file, "X/indices");
  sample_dataset(file, "X/data", H5T_IEEE_F32LE, storage, 1, &n, 0, NULL);
  sample_dataset(file, "X/indices", H5T_STD_I64LE, storage, 1, &n, 0, NULL);
  put(file, "X/indptr", H5T_STD_I64LE, 5, (const int64_t[]){0, 2, 2, 5, (int64_t)1 << 50});
  H5Pclose(storage);
}

/* A filter that nobody has: libhdf5 lets an optional one pass at writing. */
static void filtered_by(hid_t file, int id) {
  hid_t storage = sample_storage(SAMPLE_NNZ, "");
  const hsize_t n = SAMPLE_NNZ;
  H5Pset_filter(storage, id, H5Z_FLAG_OPTIONAL, 0, NULL);
  drop(file, "X/data");
  sample_dataset(file, "X/data", H5T_IEEE_F32LE, storage, 1, &n, H5T_NATIVE_DOUBLE, sample_values);
  H5Pclose(storage);
}
static void bitshuffled(hid_t file) {
  filtered_by(file, 32008);
}
static void strangely_filtered(hid_t file) {
  filtered_by(file, 499);
}

static const struct {
  void (*damage)(hid_t file);
  const char *words[4];
} damages[] = {
    {no_x, {"X is missing", "layers: none"}},
    {no_x_but_layers, {"X is missing", "layers: spliced, unspliced"}},
    {no_anndata, {"neither AnnData", "10x"}},
    {no_data, {"X/data is missing"}},
    {no_indices, {"X/indices is missing"}},
    {no_indptr, {"X/indptr is missing"}},
    {dangling_data, {"X/data is a link to another file, or to nothing"}},
    {data_is_group, {"X/data is a group", "expected a dataset"}},
    {data_is_strings, {"X/data holds strings", "expected numbers"}},
    {data_is_compound, {"X/data holds compound values", "expected numbers"}},
    {data_is_matrix, {"X/data has 2 dimensions", "expected 1"}},
    {data_is_scalar, {"X/data has 0 dimensions", "expected 1"}},
    {short_data, {"X/data has 4 values", "expected 6", "X/indptr"}},
    {short_indices, {"X/indices has 5 values", "expected 6", "X/indptr"}},
    {short_indptr, {"X/indptr has 4 elements", "expected 5", "shape"}},
    {empty_indptr, {"X/indptr has 0 elements", "expected 5", "shape"}},
    {float_indices, {"X/indices holds floating-point values", "expected integers"}},
    {float_indptr, {"X/indptr holds floating-point values", "expected integers"}},
    {late_indptr, {"X/indptr starts with 1", "expected 0"}},
    {decreasing_indptr, {"X is not a valid", "indptr", "3"}},
    {wild_indptr, {"X is not a valid", "indptr"}},
    {negative_indptr, {"X is not a valid", "indptr", "-2"}},
    {negative_end, {"X/indptr ends with -6"}},
    {huge_end, {"X/indices has 6 values", "expected 9223372036854775807"}},
    {big_index, {"X is not a valid", "indices", "5"}},
    {negative_index, {"X is not a valid", "indices", "-1"}},
    {no_encoding, {"X: a group with neither encoding-type nor h5sparse_format"}},
    {other_encoding, {"X: encoding-type is \"awkward-array\"", "expected csr_matrix or csc_matrix"}},
    {no_shape, {"X: the attribute shape is missing"}},
    {three_shape, {"X: the attribute shape", "two integers"}},
    {negative_shape, {"X: shape is 4 x -5"}},
    {other_shape, {"X/indptr has 5 elements", "expected 4"}},
    {huge_shape, {"X/indptr has 5 elements", "expected 9223372036854775807"}},
    {narrow_shape, {"X has 4 genes", "expected 5", "var"}},
    {short_obs, {"X has 4 cells", "expected 3", "obs"}},
    {long_var, {"X has 5 genes", "expected 9", "var"}},
    {x_is_list, {"X has 1 dimension,", "expected 2"}},
    {x_is_type, {"X is a named type", "expected a dataset"}},
    {x_beyond_memory, {"out of memory", "X needs 4503599627370496 bytes"}},
    {x_beyond_numbers, {"X claims 2147483648 x 2147483648 elements"}},
    {data_beyond_memory, {"out of memory", "X/indices needs 9007199254740992 bytes"}},
    {bitshuffled, {"X/data is compressed with bitshuffle (HDF5 filter 32008)", "plugin"}},
    {strangely_filtered, {"X/data is compressed with filter (HDF5 filter 499)", "plugin"}},
};

static void structures(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
    const char *const *w = damages[i].words;
    sample_h5ad("damaged.h5ad", NULL);
    hid_t file = H5Fopen(sample_path("damaged.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    damages[i].damage(file);
    H5Fclose(file);
    sample_refused(sample_path("damaged.h5ad"), NULL, CSRN_IO_FAILED, w[0], w[1], w[2], w[3], NULL);
  }
}

/* ---- Damaged bytes ---- */

/* What is there is not said to be missing. */
static void unreadable_objects(void **state) {
  (void)state;
  static const struct {
    const char *path, *layer, *words;
  } cases[] = {{"X", NULL, "cannot read X: "},
               {"X/data", NULL, "cannot read X/data: "},
               {"X/indices", NULL, "cannot read X/indices: "},
               {"X/indptr", NULL, "cannot read X/indptr: "},
               {"layers", "spliced", "cannot read layers: "},
               {"layers/spliced", "spliced", "cannot read layers/spliced: "},
               {"raw", "raw", "cannot read raw/X: "},
               {"raw/X", "raw", "cannot read raw/X: "}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    sample_h5ad("spoiled.h5ad", NULL);
    hid_t file = H5Fopen(sample_path("spoiled.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Gclose(H5Gcreate2(file, "raw", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    sample_sparse(file, "layers/spliced", NULL);
    sample_sparse(file, "raw/X", NULL);
    H5Fclose(file);
    sample_spoil("spoiled.h5ad", cases[i].path);
    sample_refused(sample_path("spoiled.h5ad"), &(csrn_io_select){.layer = cases[i].layer}, CSRN_IO_FAILED,
                   cases[i].words, "bad object header version number", NULL);
  }
}

static void write_bytes(const char *path, const void *bytes, size_t n) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  fclose(file);
}

static void truncated(void **state) {
  (void)state;
  size_t n;
  sample_h5ad("whole.h5ad", NULL);
  char *bytes = sample_read_bytes(sample_path("whole.h5ad"), &n);
  for (size_t keep = 8; keep < n; keep += 97) {
    write_bytes(sample_path("part.h5ad"), bytes, keep);
    sample_refused(sample_path("part.h5ad"), NULL, CSRN_IO_FAILED, "cannot open it as an HDF5 file", NULL);
  }
  write_bytes(sample_path("part.h5ad"), bytes, n - 1);
  sample_refused(sample_path("part.h5ad"), NULL, CSRN_IO_FAILED, "truncated file", NULL);
  write_bytes(sample_path("part.h5ad"), bytes, 0);
  sample_refused(sample_path("part.h5ad"), NULL, CSRN_IO_FAILED, "empty", NULL);
  free(bytes);
}

static void random_bytes(void **state) {
  (void)state;
  unsigned char bytes[4096];
  uint32_t random = 7;
  for (size_t i = 0; i < sizeof bytes; i++) {
    random = random * 1664525 + 1013904223;
    bytes[i] = (unsigned char)(random >> 24);
  }
  write_bytes(sample_path("random.h5ad"), bytes, sizeof bytes);
  sample_refused(sample_path("random.h5ad"), NULL, CSRN_IO_FAILED, "not a count matrix", NULL);
  memcpy(bytes, "\x89HDF\r\n\x1a\n", 8);
  write_bytes(sample_path("random.h5ad"), bytes, sizeof bytes);
  sample_refused(sample_path("random.h5ad"), NULL, CSRN_IO_FAILED, "cannot open it as an HDF5 file", NULL);
}

/* A compressed chunk that does not inflate. */
static void damaged_chunk(void **state) {
  (void)state;
  enum { N = 5000 };
  int32_t values[N];
  for (int i = 0; i < N; i++)
    values[i] = i % 7;
  const hsize_t extent[2] = {1, N}, chunk[2] = {1, N}, offset[2] = {0, 0};
  for (int checked = 0; checked < 2; checked++) {
    hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(storage, 2, chunk);
    H5Pset_deflate(storage, 4);
    if (checked)
      H5Pset_fletcher32(storage);
    hid_t file = sample_create("chunk.h5ad");
    sample_dataset(file, "X", H5T_STD_I32LE, storage, 2, extent, H5T_NATIVE_INT32, values);
    hid_t dataset = H5Dopen2(file, "X", H5P_DEFAULT);
    hsize_t bytes = 0;
    unsigned char packed[N];
    uint32_t mask;
    H5Dget_chunk_storage_size(dataset, offset, &bytes);
    assert_true(bytes > 0 && bytes < sizeof packed);
    assert_true(H5Dread_chunk(dataset, H5P_DEFAULT, offset, &mask, packed) >= 0);
    packed[bytes / 2] ^= 0x55;
    packed[bytes / 2 + 1] ^= 0x55;
    assert_true(H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, offset, (size_t)bytes, packed) >= 0);
    H5Dclose(dataset);
    H5Fclose(file);
    H5Pclose(storage);
    sample_refused(sample_path("chunk.h5ad"), NULL, CSRN_IO_FAILED, "cannot read X", NULL);
  }
}

/* Chunks of fewer bytes than they must have behind their filters, which libhdf5 1.10 reads beyond, or of
 * others than 24 without filters; and one whose deflate stream is sound but short. */
static void short_chunk(void **state) {
  (void)state;
  static const unsigned char sound[32] = {0x78, 0x9c, 0x63, 0x64, 0x62, 0x66, 0x61,
                                          0x05, 0x00, 0x00, 0x28, 0x00, 0x10};
  static const struct {
    const char *filters, *path;
    uint32_t mask;
    size_t n;
  } cases[] = {{"g", "X/data", 1, 1},       {"g", "X/indices", 1, 7}, {"sg", "X/indptr", 3, 1},
               {"sgf", "X/data", 7, 3},     {"g", "X/indptr", 0, 13}, {"g", "X/data", 0, 13},
               {"sgf", "X/indices", 4, 13}, {"", "X/data", 0, 23},    {"", "X/indptr", 0, 25},
               {"", "X/indices", 0, 32}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const hsize_t first = 0, n = SAMPLE_ROWS + 1, chunk = 6;
    hid_t storage = sample_storage(chunk, cases[i].filters);
    sample_h5ad("short.h5ad", &(sample_options){.storage = storage});
    hid_t file = H5Fopen(sample_path("short.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
    drop(file, "X/indptr");
    sample_dataset(file, "X/indptr", H5T_STD_I32LE, storage, 1, &n, H5T_NATIVE_INT64, sample_indptr);
    hid_t dataset = H5Dopen2(file, cases[i].path, H5P_DEFAULT);
    const hsize_t length = strcmp(cases[i].path, "X/indptr") ? SAMPLE_NNZ : n;
    assert_true(H5Dset_extent(dataset, &first) >= 0 && H5Dset_extent(dataset, &length) >= 0);
    assert_true(H5Dwrite_chunk(dataset, H5P_DEFAULT, cases[i].mask, &first, cases[i].n, sound) >= 0);
    H5Dclose(dataset);
    H5Fclose(file);
    H5Pclose(storage);
    sample_refused(sample_path("short.h5ad"), NULL, CSRN_IO_FAILED, "cannot read", cases[i].path,
                   "the chunk that begins at 0 is damaged", NULL);
  }
}

static void not_there(void **state) {
  (void)state;
  sample_refused(sample_path("nowhere.h5ad"), NULL, CSRN_IO_FAILED, "No such file", NULL);
}

/* What somebody else has locked for writing, as h5py does, is not read half written. */
static void locked(void **state) {
  (void)state;
  sample_h5ad("locked.h5ad", NULL);
  const int other = open(sample_path("locked.h5ad"), O_RDONLY);
  assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
  sample_refused(sample_path("locked.h5ad"), NULL, CSRN_IO_FAILED, "cannot be read: Device or resource busy",
                 NULL);
  assert_int_equal(flock(other, LOCK_SH | LOCK_NB), 0);
  csrn_io_close(sample_open(sample_path("locked.h5ad"), NULL));
  close(other);
}

/* libhdf5 prints its errors unless told otherwise; so would a careless reader. */
static int standard_error, captured;

static int capture(void **state) {
  if (sample_setup(state))
    return -1;
  captured = open(sample_path("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
  standard_error = dup(2);
  return captured < 0 || standard_error < 0 ? -1 : 0;
}

static void silence(void **state) {
  (void)state;
  sample_h5ad("silent.h5ad", NULL);
  hid_t file = H5Fopen(sample_path("silent.h5ad"), H5F_ACC_RDWR, H5P_DEFAULT);
  bitshuffled(file);
  H5Fclose(file);
  write_bytes(sample_path("silent.h5"), "\x89HDF\r\n\x1a\nabc", 11);
  H5Eset_auto2(H5E_DEFAULT, (H5E_auto2_t)(void (*)(void))H5Eprint2, stderr); /* as libhdf5 starts */
  dup2(captured, 2);
  csrn_io_input *input = NULL;
  csrn_io_error error;
  csrn_io_status first = csrn_io_open(sample_path("silent.h5ad"), NULL, &input, &error);
  csrn_io_status second = csrn_io_open(sample_path("silent.h5"), NULL, &input, &error);
  fflush(stderr);
  dup2(standard_error, 2);
  assert_int_equal(first, CSRN_IO_FAILED);
  assert_int_equal(second, CSRN_IO_FAILED);
  assert_int_equal(lseek(captured, 0, SEEK_END), 0);
}

static int release(void **state) {
  close(captured);
  close(standard_error);
  return sample_teardown(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(structures),
      cmocka_unit_test(truncated),
      cmocka_unit_test(random_bytes),
      cmocka_unit_test(damaged_chunk),
      cmocka_unit_test(not_there),
      cmocka_unit_test(silence),
      cmocka_unit_test(locked),
      cmocka_unit_test(short_chunk),
      cmocka_unit_test(unreadable_objects),
      cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("damaged h5ad", tests, capture, release);
}
