/*
 * Nothing lost, nothing half: each read and each write of a file from any format to any other fails once, and
 * the disk is full at every tenth of the result. Whatever the system refuses, there is one sentence with the
 * system's reason, and the folder is as it was before, byte for byte; or, where nothing depends on what was
 * refused, the result is whole. In new places, over another file, and over the input itself.
 */
#include "faults.h"
#include "hdf5_samples.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum place { NEW, OVER_ANOTHER, OVER_ITSELF } place;

typedef struct scenario {
  const char *input, *output;
  place place;
  enum { NORMALIZE, SCALE } how;
} scenario;

/* ---- What is in the folder ------------------------------------------------------ */

static void write_all(const char *path, const char *bytes, size_t n) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

static uint64_t hash(uint64_t seed, const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++)
    seed = (seed ^ (unsigned char)bytes[i]) * UINT64_C(1099511628211);
  return seed;
}

/* The folder without a slash at its end, as the system has it. */
static const char *folder_path(void) {
  static char path[256];
  snprintf(path, sizeof path, "%s", sample_path(""));
  path[strlen(path) - 1] = '\0';
  return path;
}

/* Of names and contents, in no order. */
static uint64_t hash_folder(void) {
  uint64_t sum = 0;
  DIR *files = opendir(folder_path());
  assert_non_null(files);
  for (struct dirent *entry; (entry = readdir(files));) {
    size_t n;
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
      continue;
    char *bytes = sample_read_bytes(sample_path(entry->d_name), &n);
    sum += hash(hash(1, entry->d_name, strlen(entry->d_name)), bytes, n);
    free(bytes);
  }
  closedir(files);
  return sum;
}

/* ---- Work ------------------------------------------------------------------------- */

static csrn_context *one_thread;

/* Values that the program would compute; here it is the files that matter. */
static csrn_io_status write_whole(csrn_io_input *input, csrn_io_output output, csrn_io_error *error) {
  csrn_io_matrix matrix;
  csrn_io_status status = csrn_io_read(input, one_thread, &matrix, NULL, error);
  if (status)
    return status;
  const csrn_csr *csr = &matrix.csr;
  const csrn_dtype type = csr->data_type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
  const size_t n_cells = (size_t)(matrix.cells == CSRN_PER_ROW ? csr->n_rows : csr->n_cols);
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.axis = matrix.cells;
  void *result = calloc((size_t)csr->nnz + 1, csrn_dtype_size(type));
  void *factors = calloc(n_cells + 1, csrn_dtype_size(type));
  assert_true(result && factors);
  assert_int_equal(csrn_normalize_total(one_thread, csr, &options, result, type, factors, NULL), CSRN_OK);
  free(matrix.csr.data);
  matrix.csr.data = result;
  matrix.csr.data_type = type;
  output.factors = factors;
  output.factors_type = type;
  status = csrn_io_write(input, &matrix, &output, NULL, error);
  csrn_io_matrix_free(&matrix);
  free(factors);
  return status;
}

static csrn_io_status scale(csrn_io_input *input, csrn_io_output output, csrn_io_error *error) {
  csrn_io_scaling s = {.axis = CSRN_PER_COLUMN, .op = CSRN_MULTIPLY, .unit = 2};
  double *factors = NULL;
  int64_t n = 0;
  csrn_io_status status = csrn_io_read_vector(sample_path("by.npy"), &factors, &n, error);
  s.factors = factors;
  if (!status)
    status = csrn_io_scale(input, one_thread, &output, &s, NULL, error);
  assert_true(status || s.plan.streams);
  free(factors);
  return status;
}

static csrn_io_status normalize(csrn_io_input *input, csrn_io_output output, csrn_io_error *error) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  csrn_io_normalization n = {.options = &options, .unit = 2};
  csrn_io_status status = csrn_io_normalize(input, one_thread, &output, &n, NULL, error);
  return status || n.plan.streams ? status : write_whole(input, output, error);
}

static csrn_io_status work(const scenario *s, csrn_io_error *error) {
  const int is_h5ad = strstr(s->output, ".h5ad") != NULL;
  const csrn_io_output output = {.path = sample_path(s->output),
                                 .force = s->place != NEW,
                                 .compression = strstr(s->output, ".gz") ? CSRN_IO_COMPRESSION_KEEP
                                                                         : CSRN_IO_COMPRESSION_NONE,
                                 .key_added = is_h5ad && s->how == NORMALIZE ? "factor" : NULL,
                                 .log1p = is_h5ad};
  const csrn_io_select select = {.feature_types = "Antibody Capture"};
  csrn_io_input *input = NULL;
  error->text[0] = '\0';
  csrn_io_status status =
      csrn_io_open(sample_path(s->input), strcmp(s->input, "in.h5") ? NULL : &select, &input, error);
  if (!status)
    status = (s->how == SCALE ? scale : normalize)(input, output, error);
  csrn_io_close(input);
  return status;
}

/* ---- The folder before, and the result -------------------------------------------- */

static const char *of_folder(const scenario *s, char **bytes, size_t *n) {
  const char *name = s->place == OVER_ITSELF ? s->input : s->output;
  *bytes = s->place == NEW ? NULL : sample_read_bytes(sample_path(name), n);
  return name;
}

typedef struct trial {
  const scenario *scenario;
  const char *name; /* of the output */
  char *before;     /* what was under it; NULL: nothing */
  size_t n_before;
  uint64_t folder; /* before */
  uint64_t result; /* the folder with the result */
  size_t n_result; /* bytes of it */
} trial;

static void put_back(const trial *t) {
  if (t->before)
    write_all(sample_path(t->name), t->before, t->n_before);
  else
    unlink(sample_path(t->name));
}

static trial begin(const scenario *s) {
  trial t = {.scenario = s};
  csrn_io_error error;
  struct stat status;
  if (s->place == OVER_ANOTHER)
    write_all(sample_path(s->output), "what was there", 14);
  t.name = of_folder(s, &t.before, &t.n_before);
  t.folder = hash_folder();
  if (work(s, &error))
    fail_msg("%s to %s: %s", s->input, s->output, error.text);
  t.result = hash_folder();
  assert_int_equal(stat(sample_path(t.name), &status), 0);
  t.n_result = (size_t)status.st_size;
  put_back(&t);
  assert_true(hash_folder() == t.folder && t.folder != t.result);
  return t;
}

static void end(trial *t) {
  unlink(sample_path(t->scenario->place == OVER_ITSELF ? "none" : t->name));
  free(t->before);
}

/* One run with a plan in force. Returns whether anything was refused; *harmless: and was not missed. */
static bool try_once(const trial *t, const char *reason, const char *what, long where, bool *harmless) {
  const scenario *s = t->scenario;
  csrn_io_error error;
  csrn_io_status status = work(s, &error);
  const bool happened = faults_end();
  const uint64_t folder = hash_folder();
  *harmless = happened && !status;
  if (!happened && status)
    fail_msg("%s to %s: %s", s->input, s->output, error.text);
  if (folder != (status ? t->folder : t->result))
    fail_msg("%s to %s, %s %ld: the folder is not what it should be after \"%s\"", s->input, s->output, what,
             where, error.text);
  if (status &&
      (!strstr(error.text, folder_path()) || !strstr(error.text, reason) || strchr(error.text, '\n')))
    fail_msg("%s to %s, %s %ld: \"%s\" does not say \"%s\"", s->input, s->output, what, where, error.text,
             reason);
  put_back(t);
  return happened;
}

/* ---- Faults ------------------------------------------------------------------------ */

/* harmless_ones: those that no result is missed for; -1: any. */
static void fail_each(const trial *t, fault_kind kind, int number, const char *what, int at_least,
                      int harmless_ones) {
  int n = 0, n_harmless = 0;
  for (bool happened = true; happened; n++) {
    bool harmless;
    faults_fail(folder_path(), kind, n, number);
    happened = try_once(t, strerror(number), what, n, &harmless);
    n_harmless += harmless;
  }
  if (n - 1 < at_least || (harmless_ones >= 0 && n_harmless != harmless_ones))
    fail_msg("%s to %s: %d %ss, %d of which were not missed", t->scenario->input, t->scenario->output, n - 1,
             what, n_harmless);
}

/* A disk with a bad place, wherever it is in the input. Of a file of any size there is one that matters. */
static void spoil_each_place(const trial *t) {
  enum { PLACES = 32 };
  struct stat status;
  const char *path = sample_path(t->scenario->input);
  int n_missed = 0;
  assert_int_equal(stat(path, &status), 0);
  for (int i = 0; i < PLACES; i++) {
    const long from = (long)status.st_size * i / PLACES, to = (long)status.st_size * (i + 1) / PLACES;
    bool harmless;
    faults_spoil(sample_path(t->scenario->input), from, to - from);
    n_missed += try_once(t, strerror(EIO), "a bad place at", from, &harmless);
    assert_false(harmless);
  }
  assert_true(n_missed > PLACES / 2);
}

static void fill_each_tenth(const trial *t) {
  for (int tenth = 0; tenth < 10; tenth++) {
    const long room = (long)t->n_result * tenth / 10;
    bool harmless;
    faults_fill(folder_path(), room);
    assert_true(try_once(t, strerror(ENOSPC), "a disk of", room, &harmless));
    assert_false(harmless);
  }
}

/* A read of HDF5 or by libzip that fails once is tried again. That a folder may not have the new name after a
 * crash of the machine is no reason to refuse the result. */
static void try_all(const scenario *s) {
  const int is_text = strstr(s->input, ".mtx") != NULL;
  trial t = begin(s);
  fail_each(&t, FAULT_READ, EIO, "read", 2, is_text ? 0 : -1);
  spoil_each_place(&t);
  fail_each(&t, FAULT_WRITE, EIO, "write", 1, 0);
  fail_each(&t, FAULT_SYNC, EIO, "sync", 2, 1);
  fail_each(&t, FAULT_RENAME, EXDEV, "rename", 1, 0);
  fill_each_tenth(&t);
  end(&t);
}

/* File systems that cannot rename to a name that has to be free, or have no second names either. */
static void try_lesser_systems(const scenario *s) {
  trial t = begin(s);
  for (int kind = FAULT_NOREPLACE; kind <= FAULT_LINK; kind++) {
    bool harmless;
    faults_fail(folder_path(), (fault_kind)kind, 0, EINVAL);
    assert_int_equal(try_once(&t, "", "rename of kind", kind, &harmless), s->place == NEW);
    assert_int_equal(harmless, s->place == NEW);
  }
  end(&t);
}

/* ---- Files ------------------------------------------------------------------------- */

/* What an .h5ad has beside its matrix: a layer, a dense array, categories, texts in chunks, a link to X. */
static void add_more(const char *name) {
  const char *const texts[] = {"one", "", "a longer text, of more than a few bytes", "four"};
  const hsize_t n = 4, chunk = 3;
  hid_t file = H5Fopen(sample_path(name), H5F_ACC_RDWR, H5P_DEFAULT);
  hid_t group = H5Gcreate2(file, "layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_sparse(group, "spliced", NULL);
  sample_array(group, "dense", H5T_STD_I32LE, 0);
  H5Lcreate_soft("/X", group, "linked", H5P_DEFAULT, H5P_DEFAULT);
  H5Gclose(group);
  group = H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_text(group, "note", "of the test");
  sample_strings(group, "texts", 4, texts);
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &n, NULL), storage = sample_storage(chunk, "g");
  H5Tset_size(type, H5T_VARIABLE);
  hid_t packed = H5Dcreate2(group, "packed", type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  assert_true(H5Dwrite(packed, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) >= 0);
  H5Dclose(packed);
  H5Pclose(storage);
  H5Sclose(space);
  H5Tclose(type);
  H5Gclose(group);
  H5Fclose(file);
}

/* The same matrix in a text or an .npz. */
static void convert(const char *name) {
  csrn_io_input *input = sample_open(sample_path("in.h5ad"), NULL);
  const csrn_io_output output = {.path = sample_path(name), .force = 1};
  csrn_io_matrix matrix;
  csrn_io_error error;
  sample_read(input, &matrix);
  if (csrn_io_write(input, &matrix, &output, NULL, &error))
    fail_msg("%s", error.text);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
}

static void make_names(const char *name, int n) {
  FILE *file = fopen(sample_path(name), "w");
  assert_non_null(file);
  for (int i = 0; i < n; i++)
    fprintf(file, "id%d\tname%d\n", i, i);
  assert_int_equal(fclose(file), 0);
}

/* ---- Formats ----------------------------------------------------------------------- */

/* in.h5ad, in chunks of two values. */
static void make_h5ad(int layout) {
  const hsize_t tile[2] = {2, 3};
  hid_t storage = sample_storage(2, "sg"), file = sample_create("in.h5ad");
  sample_frame(file, "obs", layout == 1 ? SAMPLE_COLUMNS : SAMPLE_ROWS, "cell");
  if (layout == 2)
    H5Pset_chunk(storage, 2, tile);
  if (layout == 2)
    sample_array(file, "X", H5T_IEEE_F64LE, storage);
  else
    sample_sparse(file, "X", &(sample_options){.storage = storage, .csc = layout});
  H5Fclose(file);
  H5Pclose(storage);
  add_more("in.h5ad");
}

static void h5ad_csr(void **state) {
  (void)state;
  make_h5ad(0);
  try_all(&(scenario){"in.h5ad", "out.h5ad", NEW, NORMALIZE});
  try_all(&(scenario){"in.h5ad", "in.h5ad", OVER_ITSELF, NORMALIZE});
}

static void h5ad_csc(void **state) {
  (void)state;
  make_h5ad(1);
  try_all(&(scenario){"in.h5ad", "out.h5ad", OVER_ANOTHER, NORMALIZE});
  try_all(&(scenario){"in.h5ad", "out.npz", OVER_ANOTHER, NORMALIZE});
}

static void h5ad_dense(void **state) {
  (void)state;
  const double factors[SAMPLE_COLUMNS] = {0.5, 2, 3, 4, 5};
  csrn_io_error error;
  assert_int_equal(csrn_io_write_vector(sample_path("by.npy"), 1, factors, CSRN_F64, SAMPLE_COLUMNS, &error),
                   CSRN_IO_OK);
  make_h5ad(2);
  try_all(&(scenario){"in.h5ad", "in.h5ad", OVER_ITSELF, SCALE});
  try_all(&(scenario){"in.h5ad", "out.mtx.gz", NEW, NORMALIZE});
}

/* A 10x file of version 3, whose features 2 and 4 are the ones selected. */
static void make_small_10x(void) {
  static const char *const barcodes[] = {"AAA-1", "CCC-1", "GGG-1", "TTT-1"};
  static const char *const names[] = {"Sox2", "Actb", "CD4", "Actb", "CD8_protein_of_longer_name"};
  static const char *const types[] = {"Gene Expression", "Gene Expression", "Antibody Capture",
                                      "Gene Expression", "Antibody Capture"};
  const hsize_t n = SAMPLE_NNZ, rows = SAMPLE_ROWS + 1, two = 2;
  const int64_t shape[2] = {SAMPLE_COLUMNS, SAMPLE_ROWS};
  hid_t storage = sample_storage(2, "sg"), file = sample_create("in.h5");
  hid_t group = H5Gcreate2(file, "matrix", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_dataset(group, "data", H5T_STD_I32LE, storage, 1, &n, H5T_NATIVE_DOUBLE, sample_values);
  sample_dataset(group, "indices", H5T_STD_I64LE, storage, 1, &n, H5T_NATIVE_INT64, sample_indices);
  sample_dataset(group, "indptr", H5T_STD_I64LE, storage, 1, &rows, H5T_NATIVE_INT64, sample_indptr);
  sample_dataset(group, "shape", H5T_STD_I32LE, 0, 1, &two, H5T_NATIVE_INT64, shape);
  sample_fixed_strings(group, "barcodes", SAMPLE_ROWS, 5, barcodes);
  hid_t features = H5Gcreate2(group, "features", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  sample_fixed_strings(features, "id", SAMPLE_COLUMNS, 8, names);
  sample_strings(features, "name", SAMPLE_COLUMNS, names);
  sample_fixed_strings(features, "feature_type", SAMPLE_COLUMNS, 20, types);
  sample_strings(features, "pattern", SAMPLE_COLUMNS, names);
  H5Gclose(features);
  H5Gclose(group);
  H5Fclose(file);
  H5Pclose(storage);
}

static void tenx(void **state) {
  (void)state;
  make_small_10x();
  try_all(&(scenario){"in.h5", "out.h5ad", OVER_ANOTHER, NORMALIZE});
  try_all(&(scenario){"in.h5", "out.mtx", NEW, NORMALIZE});
}

static void texts(void **state) {
  (void)state;
  sample_h5ad("in.h5ad", NULL);
  convert("in.mtx");
  convert("in.mtx.gz");
  make_names("in_barcodes.tsv", SAMPLE_ROWS);
  make_names("in_genes.tsv", SAMPLE_COLUMNS);
  try_all(&(scenario){"in.mtx", "out.h5ad", OVER_ANOTHER, NORMALIZE});
  try_all(&(scenario){"in.mtx", "out.mtx", NEW, NORMALIZE});
  try_all(&(scenario){"in.mtx.gz", "in.mtx.gz", OVER_ITSELF, NORMALIZE});
}

static void archives(void **state) {
  (void)state;
  sample_h5ad("in.h5ad", NULL);
  convert("in.npz");
  try_all(&(scenario){"in.npz", "out.mtx.gz", NEW, NORMALIZE});
  try_all(&(scenario){"in.npz", "in.npz", OVER_ITSELF, NORMALIZE});
}

static void lesser_systems(void **state) {
  (void)state;
  make_h5ad(0);
  try_lesser_systems(&(scenario){"in.h5ad", "out.h5ad", NEW, NORMALIZE});
  try_lesser_systems(&(scenario){"in.h5ad", "in.h5ad", OVER_ITSELF, NORMALIZE});
}

static int setup(void **state) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.threads = 1;
  return sample_setup(state) || csrn_context_create(&options, &one_thread) != CSRN_OK;
}

static int teardown(void **state) {
  csrn_context_destroy(one_thread);
  return sample_teardown(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(h5ad_csr),       cmocka_unit_test(h5ad_csc),
      cmocka_unit_test(h5ad_dense),     cmocka_unit_test(tenx),
      cmocka_unit_test(texts),          cmocka_unit_test(archives),
      cmocka_unit_test(lesser_systems), cmocka_unit_test(sample_nothing_open),
  };
  return cmocka_run_group_tests_name("faults", tests, setup, teardown);
}
