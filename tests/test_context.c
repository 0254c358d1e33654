/*
 * Life of a context: options and their sizes, instruction sets by name and through the
 * environment, error sentences, buffers, and contexts in several threads at once.
 */
#include "expect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void expect_refused(const csrn_context_options *options, csrn_status expected, const char *word) {
  csrn_context *ctx = (csrn_context *)&ctx;
  csrn_status status = csrn_context_create(options, &ctx);
  if (status != expected || !strstr(csrn_error_detail(NULL), word))
    fail_msg("got %d \"%s\", expected %d and \"%s\"", (int)status, csrn_error_detail(NULL), (int)expected,
             word);
  assert_null(ctx);
}

/* ---- Creation ------------------------------------------------------------- */

static void defaults(void **state) {
  (void)state;
  csrn_context *ctx = NULL;
  assert_int_equal(csrn_context_create(NULL, &ctx), CSRN_OK);
  assert_non_null(ctx);
  assert_true(csrn_context_threads(ctx) >= 1);
  assert_string_equal(csrn_error_detail(ctx), "");
  csrn_context_destroy(ctx);
}

static void init_macro_is_the_default(void **state) {
  (void)state;
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  assert_int_equal(options.size, sizeof options);
  assert_int_equal(options.backend, CSRN_BACKEND_AUTO);
  assert_int_equal(options.device, 0);
  assert_int_equal(options.threads, 0);
  assert_null(options.isa);
  assert_null(options.allocator.allocate);
  assert_null(options.allocator.release);
  assert_null(options.device_allocator.allocate);
  assert_null(options.device_allocator.release);
  assert_null(options.stream);
  csrn_normalize_options normalize = CSRN_NORMALIZE_OPTIONS_INIT;
  assert_int_equal(normalize.size, sizeof normalize);
  assert_int_equal(normalize.axis, CSRN_PER_ROW);
  assert_int_equal(normalize.target, CSRN_TARGET_MEDIAN);
  assert_int_equal(normalize.exclude_highly_expressed, 0);
  assert_int_equal(normalize.log1p, 0);
  assert_true(normalize.max_fraction == 0.05);
  assert_true(normalize.log_base == 0.0);
  assert_null(normalize.excluded);
}

static void null_arguments(void **state) {
  (void)state;
  assert_int_equal(csrn_context_create(NULL, NULL), CSRN_INVALID_ARGUMENT);
  assert_non_null(strstr(csrn_error_detail(NULL), "context"));
  csrn_context_destroy(NULL);
}

static void option_sizes(void **state) {
  (void)state;
  const size_t bad[] = {0, 1, sizeof(size_t) - 1, sizeof(csrn_context_options) + 1, SIZE_MAX};
  for (size_t i = 0; i < COUNT(bad); i++) {
    csrn_context_options options = fixture_options(1);
    options.size = bad[i];
    expect_refused(&options, CSRN_INVALID_ARGUMENT, "size");
  }
}

/* An older program's struct ends before the allocator: it gets the default one. */
static void an_older_struct_is_accepted(void **state) {
  (void)state;
  csrn_context_options options = fixture_options(2);
  options.size = offsetof(csrn_context_options, allocator);
  memset(&options.allocator, 0xEE, sizeof options.allocator);
  csrn_context *ctx = fixture_context(&options);
  csrn_context_destroy(ctx);
}

static void members_out_of_range(void **state) {
  (void)state;
  csrn_context_options options = fixture_options(-1);
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "threads");
  options = fixture_options(32769);
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "threads");
  options = fixture_options(1);
  options.device = -1;
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "device");
  options = fixture_options(1);
  options.reserved = 1;
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "reserved");
  options = fixture_options(1);
  options.backend = (csrn_backend)3;
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "backend");
  options.backend = (csrn_backend)-1;
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "backend");
}

static void half_an_allocator(void **state) {
  (void)state;
  ledger book;
  csrn_context_options options = fixture_options(1);
  options.allocator = ledger_allocator(&book);
  options.allocator.release = NULL;
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "allocator");
  options.allocator = ledger_allocator(&book);
  options.allocator.allocate = NULL;
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "allocator");
}

static void cuda_where_it_is_not_built(void **state) {
  (void)state;
  if (!strstr(csrn_build_info(), "no CUDA"))
    skip();
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.backend = CSRN_BACKEND_CUDA;
  expect_refused(&options, CSRN_NOT_BUILT, "cuda");
  csrn_device_properties properties = {.size = sizeof properties};
  assert_int_equal(csrn_device_info(CSRN_BACKEND_CUDA, 0, &properties), CSRN_NOT_BUILT);
}

/* ---- Instruction sets ----------------------------------------------------- */

static const char *const isa_names[] = {"generic", "x86-64", "x86-64-v3", "x86-64-v4"};

/* Whether `name` is one of the words of the list that csrn_device_info() gives. */
static bool is_runnable(const char *name) {
  csrn_device_properties properties = {.size = sizeof properties};
  assert_int_equal(csrn_device_info(CSRN_BACKEND_CPU, 0, &properties), CSRN_OK);
  for (char *word = strtok(properties.isa, ", "); word; word = strtok(NULL, ", "))
    if (strcmp(word, name) == 0)
      return true;
  return false;
}

static csrn_context_options cpu_options(const char *isa) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.backend = CSRN_BACKEND_CPU;
  options.threads = 1;
  options.isa = isa;
  return options;
}

static void every_known_name(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(isa_names); i++) {
    csrn_context_options options = cpu_options(isa_names[i]);
    if (!is_runnable(isa_names[i])) {
      expect_refused(&options, CSRN_UNSUPPORTED, isa_names[i]);
      continue;
    }
    csrn_context *ctx;
    assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
    assert_string_equal(csrn_context_isa(ctx), isa_names[i]);
    csrn_context_destroy(ctx);
  }
}

static void unknown_names(void **state) {
  (void)state;
  const char *const unknown[] = {"x86-64-v2", "avx2", "GENERIC", "generic ", "x86", "x86-64-v44", " "};
  for (size_t i = 0; i < COUNT(unknown); i++) {
    csrn_context_options options = cpu_options(unknown[i]);
    expect_refused(&options, CSRN_INVALID_ARGUMENT, unknown[i]);
    options = fixture_options(1); /* also where the CPU only helps */
    options.isa = unknown[i];
    expect_refused(&options, CSRN_INVALID_ARGUMENT, unknown[i]);
  }
}

static void expect_isa(const char *expected) {
  csrn_context_options options = cpu_options(NULL);
  csrn_context *ctx;
  assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
  assert_string_equal(csrn_context_isa(ctx), expected);
  csrn_context_destroy(ctx);
}

static void the_environment_chooses(void **state) {
  (void)state;
  csrn_device_properties properties = {.size = sizeof properties};
  assert_int_equal(csrn_device_info(CSRN_BACKEND_CPU, 0, &properties), CSRN_OK);
  const char *best = strtok(properties.isa, ", "); /* best first */
  unsetenv("CSRNORM_ISA");
  expect_isa(best);
  setenv("CSRNORM_ISA", "", 1);
  expect_isa(best);
  for (size_t i = 0; i < COUNT(isa_names); i++) {
    setenv("CSRNORM_ISA", isa_names[i], 1);
    csrn_context_options options = cpu_options(NULL);
    if (is_runnable(isa_names[i]))
      expect_isa(isa_names[i]);
    else
      expect_refused(&options, CSRN_UNSUPPORTED, isa_names[i]);
  }
  unsetenv("CSRNORM_ISA");
}

static void the_environment_is_checked(void **state) {
  (void)state;
  setenv("CSRNORM_ISA", "pentium", 1);
  csrn_context_options options = cpu_options(NULL);
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "pentium");
  expect_refused(NULL, CSRN_INVALID_ARGUMENT, "CSRNORM_ISA");
  unsetenv("CSRNORM_ISA");
}

/* The option comes before the environment, also where that has nonsense. */
static void the_option_overrides_the_environment(void **state) {
  (void)state;
  setenv("CSRNORM_ISA", "pentium", 1);
  csrn_context_options options = cpu_options("generic");
  csrn_context *ctx;
  assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
  assert_string_equal(csrn_context_isa(ctx), "generic");
  csrn_context_destroy(ctx);
  unsetenv("CSRNORM_ISA");
}

/* ---- What a context tells, and its sentences ------------------------------ */

static void threads_as_asked(void **state) {
  (void)state;
  for (int threads = 1; threads <= 5; threads++) {
    csrn_context_options options = cpu_options(NULL);
    options.threads = threads;
    csrn_context *ctx;
    assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
    assert_int_equal(csrn_context_threads(ctx), threads);
    assert_int_equal(csrn_context_backend(ctx), CSRN_BACKEND_CPU);
    csrn_context_destroy(ctx);
  }
}

static void sentences_belong_to_their_context(void **state) {
  (void)state;
  csrn_context_options options = fixture_options(1);
  csrn_context *first = fixture_context(&options), *second = fixture_context(&options);
  assert_int_equal(csrn_median_positive(first, NULL, -5, NULL), CSRN_INVALID_ARGUMENT);
  assert_non_null(strstr(csrn_error_detail(first), "-5"));
  assert_string_equal(csrn_error_detail(second), "");
  options.threads = -77;
  csrn_context *none;
  assert_int_equal(csrn_context_create(&options, &none), CSRN_INVALID_ARGUMENT);
  assert_non_null(strstr(csrn_error_detail(NULL), "-77"));
  assert_non_null(strstr(csrn_error_detail(first), "-5"));
  csrn_context_destroy(first);
  csrn_context_destroy(second);
}

static void streams_are_not_for_the_cpu(void **state) {
  (void)state;
  expect_ok(csrn_context_set_stream(test.ctx, NULL));
  if (csrn_context_backend(test.ctx) != CSRN_BACKEND_CPU)
    skip();
  int something;
  csrn_context_options options = fixture_options(1);
  options.stream = &something;
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "stream");
  expect_failure(CSRN_INVALID_ARGUMENT, csrn_context_set_stream(test.ctx, &something), "stream");
}

/* ---- Buffers -------------------------------------------------------------- */

static void buffers_copy_and_align(void **state) {
  (void)state;
  for (size_t bytes = 1; bytes < 5000; bytes = bytes * 3 + 1) {
    unsigned char *in = host_array((int64_t)bytes, 1), *out = host_array((int64_t)bytes, 1);
    for (size_t i = 0; i < bytes; i++)
      in[i] = (unsigned char)(i * 7 + 1);
    void *a = NULL, *b = NULL;
    expect_ok(csrn_buffer_allocate(test.ctx, bytes, &a));
    expect_ok(csrn_buffer_allocate(test.ctx, bytes, &b));
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal((uintptr_t)b % 64, 0);
    expect_ok(csrn_buffer_copy(test.ctx, a, in, bytes));
    expect_ok(csrn_buffer_copy(test.ctx, b, a, bytes));
    expect_ok(csrn_buffer_copy(test.ctx, out, b, bytes));
    assert_memory_equal(in, out, bytes);
    csrn_buffer_release(test.ctx, a, bytes);
    csrn_buffer_release(test.ctx, b, bytes);
  }
}

/* Up and down at once, either alone, and neither. */
static void buffers_are_exchanged(void **state) {
  (void)state;
  enum { BYTES = 70001, BOTH = 2 * BYTES, DOWN = 300 };
  unsigned char *there = NULL, *from = NULL, *to = NULL;
  expect_ok(csrn_buffer_allocate(test.ctx, BOTH, (void **)&there));
  expect_ok(csrn_host_buffer_allocate(test.ctx, BYTES, (void **)&from));
  expect_ok(csrn_host_buffer_allocate(test.ctx, BYTES, (void **)&to));
  for (int i = 0; i < BYTES; i++) {
    from[i] = (unsigned char)(i * 7 + 1);
    to[i] = 0;
  }
  expect_ok(csrn_buffer_exchange(test.ctx, there, from, BYTES, NULL, NULL, 0));
  expect_ok(csrn_buffer_exchange(test.ctx, there + BYTES, from, BYTES, to, there, DOWN));
  for (int i = 0; i < BYTES; i++)
    assert_int_equal(to[i], i < DOWN ? from[i] : 0);
  expect_ok(csrn_buffer_exchange(test.ctx, NULL, NULL, 0, to, there + BYTES, BYTES));
  assert_memory_equal(from, to, BYTES);
  expect_ok(csrn_buffer_exchange(test.ctx, NULL, NULL, 0, NULL, NULL, 0));
  csrn_host_buffer_release(test.ctx, from, BYTES);
  csrn_host_buffer_release(test.ctx, to, BYTES);
  csrn_buffer_release(test.ctx, there, BOTH);
}

static void a_buffer_of_nothing(void **state) {
  (void)state;
  void *buffer = &buffer;
  expect_ok(csrn_buffer_allocate(test.ctx, 0, &buffer));
  csrn_buffer_release(test.ctx, buffer, 0);
  buffer = &buffer;
  expect_ok(csrn_host_buffer_allocate(test.ctx, 0, &buffer));
  assert_null(buffer);
  csrn_host_buffer_release(test.ctx, buffer, 0);
}

/* ---- Several contexts at once --------------------------------------------- */

enum { ROUNDS = 40, VALUES = 60000, ROWS = 300 };
enum { DATA_BYTES = VALUES * sizeof(float), INDPTR_BYTES = (ROWS + 1) * sizeof(int64_t) };

typedef struct worker {
  csrn_context_options options;
  const int64_t *indptr;
  const float *data, *expected;
  bool right;
} worker;

/* A new buffer with these bytes, or, if `from` is NULL, with any. */
static bool place_copy(csrn_context *ctx, size_t bytes, const void *from, void **buffer) {
  return !csrn_buffer_allocate(ctx, bytes, buffer) && (!from || !csrn_buffer_copy(ctx, *buffer, from, bytes));
}

/* Normalizes the same matrix again and again with a context of its own; no cmocka
 * here, which belongs to the main thread. */
static void *work(void *argument) {
  worker *w = argument;
  csrn_context *ctx;
  if (csrn_context_create(&w->options, &ctx) != CSRN_OK)
    return NULL;
  void *indptr = NULL, *data = NULL;
  float *got = malloc(DATA_BYTES);
  bool right =
      got && place_copy(ctx, INDPTR_BYTES, w->indptr, &indptr) && place_copy(ctx, DATA_BYTES, NULL, &data);
  csrn_csr A = {.n_rows = ROWS, .n_cols = 5, .nnz = VALUES, .indptr_type = CSRN_I64, .data_type = CSRN_F32};
  A.indptr = indptr;
  A.data = data;
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.log1p = 1;
  for (int i = 0; i < ROUNDS && right; i++) {
    right = !csrn_buffer_copy(ctx, data, w->data, DATA_BYTES) &&
            !csrn_normalize_total(ctx, &A, &options, data, CSRN_F32, NULL, NULL) &&
            !csrn_buffer_copy(ctx, got, data, DATA_BYTES) && memcmp(got, w->expected, DATA_BYTES) == 0;
  }
  csrn_buffer_release(ctx, indptr, INDPTR_BYTES);
  csrn_buffer_release(ctx, data, DATA_BYTES);
  csrn_context_destroy(ctx);
  free(got);
  w->right = right;
  return NULL;
}

static void contexts_in_two_threads_at_once(void **state) {
  (void)state;
  int64_t lengths[ROWS];
  for (int64_t i = 0; i < ROWS; i++)
    lengths[i] = VALUES / ROWS;
  sample_shape shape = {lengths, ROWS, 5, 0, 0};
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 221);
  csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.log1p = 1;
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, A.data, CSRN_F32, NULL, NULL));
  float *expected = host_array(VALUES, sizeof *expected);
  fetch(expected, A.data, VALUES * sizeof *expected);
  worker workers[2];
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    workers[i] = (worker){fixture_options(2), m.indptr, m.data, expected, false};
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  assert_true(workers[0].right);
  assert_true(workers[1].right);
}

enum {
  SUM_ROWS = 8,
  SUM_LENGTH = 200,
  SUM_VALUES = SUM_ROWS * SUM_LENGTH,
  SUM_COLUMNS = 1000,
  SUM_ROUNDS = 500
};

typedef struct sum_worker {
  csrn_context_options options;
  csrn_dtype indices_type;
  bool right;
} sum_worker;

/* Sums rows of ones without the first column, again and again, with a context of its own; no cmocka here. */
static void *sum_excluding(void *argument) {
  sum_worker *w = argument;
  int32_t indptr[SUM_ROWS + 1], narrow[SUM_VALUES];
  int64_t wide[SUM_VALUES];
  float data[SUM_VALUES];
  double sums[SUM_ROWS];
  const uint8_t mask[SUM_COLUMNS] = {1};
  csrn_context *ctx;
  for (int i = 0; i <= SUM_ROWS; i++)
    indptr[i] = i * SUM_LENGTH;
  for (int i = 0; i < SUM_VALUES; i++) {
    wide[i] = narrow[i] = i % SUM_LENGTH * 5;
    data[i] = 1;
  }
  if (csrn_context_create(&w->options, &ctx) != CSRN_OK)
    return NULL;
  const bool is_wide = w->indices_type == CSRN_I64;
  void *buffers[5] = {NULL};
  const size_t bytes[5] = {sizeof indptr, is_wide ? sizeof wide : sizeof narrow, sizeof data, sizeof mask,
                           sizeof sums};
  const void *from[5] = {indptr, is_wide ? (const void *)wide : narrow, data, mask, NULL};
  w->right = true;
  for (int k = 0; k < 5; k++)
    w->right = w->right && place_copy(ctx, bytes[k], from[k], &buffers[k]);
  const csrn_csr A = {SUM_ROWS,   SUM_COLUMNS, SUM_VALUES,      buffers[0], buffers[1],
                      buffers[2], CSRN_I32,    w->indices_type, CSRN_F32};
  for (int i = 0; i < SUM_ROUNDS && w->right; i++) {
    w->right = !csrn_axis_sum_excluding(ctx, &A, CSRN_PER_ROW, buffers[3], buffers[4], CSRN_F64) &&
               !csrn_buffer_copy(ctx, sums, buffers[4], sizeof sums);
    for (int r = 0; r < SUM_ROWS; r++)
      w->right = w->right && sums[r] == SUM_LENGTH - 1;
  }
  for (int k = 0; k < 5; k++)
    csrn_buffer_release(ctx, buffers[k], bytes[k]);
  csrn_context_destroy(ctx);
  return NULL;
}

/* What one context asks of a kernel for its indices does not spoil the launch of another. */
static void index_types_in_two_threads_at_once(void **state) {
  (void)state;
  sum_worker workers[2] = {{fixture_options(1), CSRN_I32, false}, {fixture_options(1), CSRN_I64, false}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, sum_excluding, &workers[i]), 0);
  for (int i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  assert_true(workers[0].right);
  assert_true(workers[1].right);
}

/* The sentence without a context is the calling thread's own. */
static void *fail_elsewhere(void *argument) {
  (void)argument;
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.threads = -99;
  csrn_context *ctx;
  csrn_context_create(&options, &ctx);
  return strstr(csrn_error_detail(NULL), "-99") ? &fail_elsewhere : NULL;
}

static void sentences_without_a_context_are_per_thread(void **state) {
  (void)state;
  csrn_context_options options = fixture_options(-11);
  expect_refused(&options, CSRN_INVALID_ARGUMENT, "-11");
  pthread_t thread;
  void *result = NULL;
  assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
  pthread_join(thread, &result);
  assert_non_null(result);
  assert_non_null(strstr(csrn_error_detail(NULL), "-11"));
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(defaults),
      TEST(init_macro_is_the_default),
      TEST(null_arguments),
      TEST(option_sizes),
      TEST(an_older_struct_is_accepted),
      TEST(members_out_of_range),
      TEST(half_an_allocator),
      TEST(cuda_where_it_is_not_built),
      TEST(every_known_name),
      TEST(unknown_names),
      TEST(the_environment_chooses),
      TEST(the_environment_is_checked),
      TEST(the_option_overrides_the_environment),
      TEST(threads_as_asked),
      TEST(sentences_belong_to_their_context),
      TEST(streams_are_not_for_the_cpu),
      TEST(buffers_copy_and_align),
      TEST(buffers_are_exchanged),
      TEST(a_buffer_of_nothing),
      TEST(contexts_in_two_threads_at_once),
      TEST(index_types_in_two_threads_at_once),
      TEST(sentences_without_a_context_are_per_thread),
  };
  return fixture_run(argc, argv, "context", tests, COUNT(tests));
}
