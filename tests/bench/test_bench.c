/*
 * csrnorm bench must not believe a wrong result. Every operation of its table is run on
 * small matrices: the right result passes, and the same result moved by the smallest
 * step that the contract forbids is refused. Then a wrong operation goes through the
 * whole measurement, and must come out without a time.
 */
#include "bench.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SKIPPED 77

/* What the operations run on: "cpu", or "cuda" if that is the program's argument. */
static const char *device = "cpu";

static bench_settings settings_of(char *options) {
  bench_settings settings;
  char error[BENCH_DETAIL], *argv[32] = {(char *)"bench"};
  int argc = 1;
  for (char *word = strtok(options, " "); word; word = strtok(NULL, " "))
    argv[argc++] = word;
  if (bench_parse(argc, argv, &settings, error))
    fail_msg("%s", error);
  settings.quiet = true;
  return settings;
}

typedef struct fixture {
  char options[256]; /* the settings point into it */
  bench_settings settings;
  bench_matrix matrix;
  bench_expected expected;
  csrn_context *ctx;
  bench_run run;
} fixture;

static void set_up(fixture *f, const char *options) {
  char error[BENCH_DETAIL];
  snprintf(f->options, sizeof f->options, "%s", options);
  f->settings = settings_of(f->options);
  assert_true(bench_matrix_simulate(&f->settings, &f->matrix, error));
  assert_true(bench_expected_create(&f->expected, &f->matrix, 1));
  csrn_context_options choice = CSRN_CONTEXT_OPTIONS_INIT;
  choice.backend = strcmp(device, "cuda") ? CSRN_BACKEND_CPU : CSRN_BACKEND_CUDA;
  assert_int_equal(csrn_context_create(&choice, &f->ctx), CSRN_OK);
  assert_int_equal(bench_run_create(&f->run, f->ctx, &f->matrix, &f->expected, NULL), CSRN_OK);
  bench_run_set_small(&f->run, 2000);
}

static void tear_down(fixture *f) {
  bench_run_destroy(&f->run);
  csrn_context_destroy(f->ctx);
  bench_expected_free(&f->expected);
  bench_matrix_free(&f->matrix);
}

static void execute(fixture *f, const bench_operation *op) {
  double seconds;
  assert_int_equal(bench_run_prepare(&f->run, op), CSRN_OK);
  assert_int_equal(bench_run_execute(&f->run, &seconds), CSRN_OK);
}

/* ---- Perturbing ---------------------------------------------------------- */

/* One element of an array of the run, in host memory and back again. */
typedef union element {
  unsigned char bytes[8];
  double number;
} element;

static element get(bench_run *run, const void *array, csrn_dtype type, int64_t i) {
  element x = {{0}};
  const size_t size = csrn_dtype_size(type);
  assert_int_equal(bench_run_fetch(run, (const char *)array + (size_t)i * size, size, &x), CSRN_OK);
  return x;
}

static void put(bench_run *run, void *array, csrn_dtype type, int64_t i, element x) {
  const size_t size = csrn_dtype_size(type);
  assert_int_equal(csrn_buffer_copy(run->ctx, (char *)array + (size_t)i * size, &x, size), CSRN_OK);
}

static void step(bench_run *run, void *array, csrn_dtype type, int64_t i, int steps) {
  element e = get(run, array, type, i);
  for (int k = 0; k < steps; k++) {
    double x = (double)bench_get_value(&e, type, 0);
    bench_put_value(&e, type, 0,
                    type == CSRN_F32 ? (double)nextafterf((float)x, INFINITY) : nextafter(x, INFINITY));
  }
  put(run, array, type, i, e);
}

static void add(bench_run *run, double *array, int64_t i, double difference) {
  element e = get(run, array, CSRN_F64, i);
  e.number += difference;
  put(run, array, CSRN_F64, i, e);
}

static void flip(bench_run *run, void *array, int64_t i) {
  element e = get(run, array, CSRN_U8, i);
  e.bytes[0] ^= 1;
  put(run, array, CSRN_U8, i, e);
}

static bool has_operation(const bench_run *run, const bench_operation *op) {
  return run->backend == CSRN_BACKEND_CPU ? op->cpu : op->device && !op->cached;
}

/* Moves the last element of the result by the least that is wrong; false if there is no result but the
 * status. */
static bool perturb(fixture *f, const bench_operation *op) {
  bench_run *run = &f->run;
  const int64_t last = (op->cached ? run->small_end : run->end) - 1, column = run->A.n_cols - 1;
  if (op->check == bench_check_row_sums)
    step(run, run->row_sums, CSRN_F64, run->A.n_rows - 1, 1);
  else if (op->check == bench_check_column_sums)
    add(run, run->column_sums, column, 2 * f->expected.column_slack[column] + 0x1p-20);
  else if (op->check == bench_check_median)
    step(run, run->median, CSRN_F64, 0, 1);
  else if (op->check == bench_check_mask)
    flip(run, run->mask, column);
  else if (op->check == bench_check_values)
    step(run, run->out, run->out_type, last, op->log1p ? 3 : 1);
  else if (op->input != BENCH_INPUT_READ_ONLY || op->waits)
    flip(run, run->A.data, 0);
  else
    return false;
  return true;
}

static void check_every_operation(const char *options) {
  fixture f;
  char why[BENCH_DETAIL];
  int refused = 0, tried = 0;
  set_up(&f, options);
  if (strstr(options, "--max-fraction"))
    assert_in_range(f.expected.n_excluded, 1, f.matrix.csr.n_cols - 1);
  for (int o = 0; o < bench_n_operations; o++) {
    const bench_operation *op = &bench_operations[o];
    if (!has_operation(&f.run, op))
      continue;
    tried++;
    execute(&f, op);
    if (!op->check(&f.run, &f.expected, why))
      fail_msg("%s on %s: %s", op->name, options, why);
    if (perturb(&f, op)) {
      why[0] = 0;
      if (op->check(&f.run, &f.expected, why))
        fail_msg("%s on %s: a wrong result has passed", op->name, options);
      assert_true(why[0] != 0);
      refused++;
    }
  }
  const int only_devices = f.run.backend == CSRN_BACKEND_CPU ? 8 : 0; /* the link, and host to host */
  assert_true(tried >= bench_n_operations - 4 - only_devices);
  assert_true(refused >= tried - 2);
  tear_down(&f);
}

static void test_checks_float32_counts(void **state) {
  (void)state;
  check_every_operation("--cells 300 --genes 900 --nnz 30000 --max-fraction 0.2");
}

static void test_checks_float64_reals(void **state) {
  (void)state;
  check_every_operation("--cells 300 --genes 900 --nnz 30000 --type f64 --values reals --indptr-type i32");
}

static void test_checks_float32_reals(void **state) {
  (void)state;
  check_every_operation("--cells 200 --genes 5000 --nnz 900000 --values reals --index-type i64");
}

static void test_checks_integers(void **state) {
  (void)state;
  check_every_operation("--cells 300 --genes 900 --nnz 30000 --type u8");
  check_every_operation("--cells 300 --genes 900 --nnz 30000 --type i32");
  check_every_operation("--cells 300 --genes 900 --nnz 30000 --type i64");
}

/* A factor alone that is wrong, though every value fits it. */
static void test_factor_is_checked(void **state) {
  (void)state;
  fixture f;
  char why[BENCH_DETAIL];
  set_up(&f, "--cells 300 --genes 900 --nnz 30000");
  for (int o = 0; o < bench_n_operations; o++)
    if (bench_operations[o].divide == BENCH_DIVIDE_BY_TOTAL && has_operation(&f.run, &bench_operations[o])) {
      execute(&f, &bench_operations[o]);
      step(&f.run, f.run.factors, f.run.out_type, 0, 1);
      assert_false(bench_operations[o].check(&f.run, &f.expected, why));
      assert_non_null(strstr(why, "factor 0"));
    }
  tear_down(&f);
}

/* ---- The whole measurement ----------------------------------------------- */

static csrn_status wrong_row_scale(bench_run *run) {
  csrn_status status = csrn_axis_scale(run->ctx, &run->A, CSRN_PER_ROW, CSRN_DIVIDE, run->row_factors,
                                       run->out_type, CSRN_ZERO_AS_ONE, run->out, run->out_type);
  step(run, run->out, run->out_type, run->end - 1, 1);
  return status;
}

static csrn_status failing(bench_run *run) {
  return csrn_axis_sum(run->ctx, &run->A, CSRN_PER_ROW, NULL, CSRN_F64);
}

static const bench_result *find(const bench_result *results, int n, const char *operation) {
  for (int r = 0; r < n; r++)
    if (!strcmp(results[r].operation, operation))
      return &results[r];
  fail_msg("no row %s", operation);
  return NULL;
}

static void test_wrong_result_has_no_time(void **state) {
  (void)state;
  fixture f;
  bench_result *results;
  int n;
  char error[BENCH_DETAIL] = "";
  bench_operation *operations = malloc((size_t)bench_n_operations * sizeof *operations);
  set_up(&f, "--cells 300 --genes 900 --nnz 30000 --repetitions 2 --min-time 0");
  f.settings.devices[0] = f.run.backend;
  memcpy(operations, bench_operations, (size_t)bench_n_operations * sizeof *operations);
  for (int o = 0; o < bench_n_operations; o++) {
    if (!strcmp(operations[o].name, "row_scale"))
      operations[o].run = wrong_row_scale;
    if (!strcmp(operations[o].name, "row_sums"))
      operations[o].run = failing;
  }
  int code =
      bench_measure(&f.settings, operations, bench_n_operations, &f.matrix, &f.expected, &results, &n, error);
  assert_int_equal(code, BENCH_FAILED);
  assert_string_equal(error, "");
  const bench_result *wrong = find(results, n, "row_scale"), *failed = find(results, n, "row_sums");
  assert_string_equal(wrong->check, "wrong");
  assert_string_equal(failed->check, "error");
  for (const bench_result *r = results; r < results + n; r++) {
    bool good = r != wrong && r != failed;
    assert_int_equal(!strcmp(r->check, "ok"), good);
    assert_int_equal(!isnan(r->min_ms), good);
    assert_int_equal(!isnan(r->gb_per_s), good);
    assert_int_equal(r->samples, good ? 2 : 0);
    assert_int_equal(r->detail[0] != 0, !good);
  }
  free(results);
  free(operations);
  tear_down(&f);
}

static void test_every_configuration_is_measured(void **state) {
  (void)state;
  fixture f;
  bench_result *results;
  int n, rows = 0;
  char error[BENCH_DETAIL] = "";
  set_up(&f, "--cells 300 --genes 900 --nnz 30000 --repetitions 1 --min-time 0 --threads 1,2,3 --isa generic "
             "--ops normalize_median,log1p_reals --device cpu");
  int code = bench_measure(&f.settings, bench_operations, bench_n_operations, &f.matrix, &f.expected,
                           &results, &n, error);
  for (int r = 0; r < n; r++)
    if (results[r].detail[0])
      fail_msg("%s: %s", results[r].operation, results[r].detail);
  assert_int_equal(code, BENCH_OK);
  assert_int_equal(n, 3 * 5); /* with two rooflines and what log1p_reals refers to */
  for (int r = 0; r < n; r++) {
    assert_string_equal(results[r].isa, "generic");
    rows += results[r].threads == 3;
  }
  assert_int_equal(rows, 5);
  free(results);
  tear_down(&f);
}

/* ---- The matrix ---------------------------------------------------------- */

static void test_matrix_is_what_was_asked_for(void **state) {
  (void)state;
  const char *const options[] = {"--cells 1000 --genes 2000 --nnz 123457", "--cells 10 --genes 10 --nnz 100",
                                 "--cells 50 --genes 70000 --row-length 900 --distribution constant",
                                 "--cells 1000 --genes 40 --nnz 38000", "--cells 7 --genes 3 --nnz 0"};
  for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
    fixture f;
    set_up(&f, options[k]);
    const csrn_csr *A = &f.matrix.csr;
    const int32_t *indices = A->indices;
    const int64_t *indptr = A->indptr;
    assert_int_equal(csrn_csr_check(f.ctx, &f.run.whole), CSRN_OK);
    assert_int_equal(indptr[A->n_rows], f.settings.nnz);
    for (int64_t i = 0; i < A->n_rows; i++) {
      for (int64_t j = indptr[i] + 1; j < indptr[i + 1]; j++)
        assert_true(indices[j - 1] < indices[j]);
      if (f.settings.constant_rows)
        assert_int_equal(indptr[i + 1] - indptr[i], 900);
    }
    tear_down(&f);
  }
}

static void test_counts_are_realistic(void **state) {
  (void)state;
  fixture f;
  int64_t ones = 0;
  set_up(&f, "--cells 2000 --genes 3000 --nnz 600000");
  for (int64_t k = 0; k < f.settings.nnz; k++)
    ones += ((float *)f.matrix.csr.data)[k] == 1;
  assert_true(fabs((double)ones / 600000 - 0.682) < 0.01);
  assert_true(f.matrix.small_fraction > 0.985 && f.matrix.small_fraction < 0.995);
  assert_true(f.matrix.row_min < 150 && f.matrix.row_max > 700);
  tear_down(&f);
}

static void test_matrix_depends_on_the_seed_alone(void **state) {
  (void)state;
  fixture one, other;
  const char *options = "--cells 500 --genes 3000 --nnz 60000 --seed 5";
  omp_set_num_threads(1);
  set_up(&one, options);
  omp_set_num_threads(3);
  set_up(&other, options);
  assert_memory_equal(one.matrix.csr.data, other.matrix.csr.data, 60000 * sizeof(float));
  assert_memory_equal(one.matrix.csr.indices, other.matrix.csr.indices, 60000 * sizeof(int32_t));
  assert_memory_equal(one.matrix.csr.indptr, other.matrix.csr.indptr, 501 * sizeof(int64_t));
  tear_down(&other);
  set_up(&other, "--cells 500 --genes 3000 --nnz 60000 --seed 6");
  assert_memory_not_equal(one.matrix.csr.indices, other.matrix.csr.indices, 60000 * sizeof(int32_t));
  tear_down(&one);
  tear_down(&other);
}

/* A sample is many runs on a device, and none more than it takes on the CPU; each is one run's time. */
static void test_samples_of_many_runs(void **state) {
  (void)state;
  fixture f;
  double seconds;
  set_up(&f, "--cells 300 --genes 900 --nnz 30000");
  const bool cpu = f.run.backend == CSRN_BACKEND_CPU;
  assert_int_equal(bench_run_repeats(&f.run, 1e-6), cpu ? 1 : 100);
  assert_int_equal(bench_run_repeats(&f.run, 1e-3), cpu ? 1 : 6);
  assert_int_equal(bench_run_repeats(&f.run, 1), 1);
  assert_int_equal(bench_run_repeats(&f.run, 0), 1);
  assert_true(cpu ? f.run.wait == 0 : f.run.wait > 0);
  for (int o = 0; o < bench_n_operations; o++) {
    const bench_operation *op = &bench_operations[o];
    char why[BENCH_DETAIL];
    if (!has_operation(&f.run, op) || op->input == BENCH_INPUT_REALS || cpu)
      continue; /* those work in place */
    f.run.repeats = 3;
    assert_int_equal(bench_run_prepare(&f.run, op), CSRN_OK);
    assert_int_equal(bench_run_execute(&f.run, &seconds), CSRN_OK);
    if (!op->check(&f.run, &f.expected, why))
      fail_msg("%s, three times: %s", op->name, why);
  }
  tear_down(&f);
}

static void expect_crossing(const double *cpu, const double *other, int n, double expected) {
  const double values[] = {100, 400, 1600, 6400};
  const double found = bench_crossing(values, cpu, other, n);
  if (isnan(expected) ? !isnan(found) : !(fabs(found / expected - 1) < 1e-12))
    fail_msg("%.17g, expected %.17g", found, expected);
}

/* Ratios of powers of two: where the ratio is 1 is a share of the way, in logarithms. */
static void test_crossing(void **state) {
  (void)state;
  const double cpu[] = {1, 4, 16, 64};
  const double always[] = {1, 3, 16, 2}, never[] = {2, 3, 4, 65};
  const double halfway[] = {4, 8, 8, 32};  /* ratios 4, 2, 1/2, 1/2 */
  const double quarter[] = {4, 32, 2, 16}; /* ratios 4, 8, 1/8, 1/4: once it had won, it went on */
  const double again[] = {0.5, 2, 64, 1};  /* ratios 1/2, 1/2, 4, 1/64: won, lost, and won */
  const double exact[] = {2, 4, 8, 8};     /* equal at 400 */
  expect_crossing(cpu, always, 4, 100);
  expect_crossing(cpu, never, 4, NAN);
  expect_crossing(cpu, halfway, 4, 800);
  expect_crossing(cpu, quarter, 4, 800);
  expect_crossing(cpu, again, 4, 1600 * pow(4, 0.25));
  expect_crossing(cpu, exact, 4, 400);
  expect_crossing(cpu, always, 1, 100);
  expect_crossing(cpu, never, 1, NAN);
}

/* Both targets and both kinds of arrays; nothing without both kinds of devices, or for chosen operations. */
static void test_sweep(void **state) {
  (void)state;
  const bool cpu = !strcmp(device, "cpu");
  fixture f;
  char text[512];
  for (int way = 0; way < 3; way++) {
    static const char *const options[] = {"--device cpu,cuda", "--device cuda",
                                          "--device cpu,cuda --ops row_sums"};
    char all[200];
    snprintf(all, sizeof all, "--cells 300 --genes 900 --nnz 30000 --repetitions 2 %s", options[way]);
    set_up(&f, all);
    const bool right = bench_sweep(&f.settings, &f.matrix, text, sizeof text);
    if (way > 0) {
      assert_true(right && !text[0]);
    } else if (cpu) { /* no device, or no CUDA at all */
      assert_true(right || strstr(text, "cuda") || strstr(text, "CUDA"));
    } else {
      assert_true(right);
      const char *second = strstr(text, "; normalize_median_log1p: pinned ");
      assert_int_equal(strncmp(text, "normalize_fixed_log1p: pinned ", 30), 0);
      assert_non_null(strstr(text, ", pageable "));
      assert_true(second && strstr(second, ", pageable "));
    }
    tear_down(&f);
  }
}

/* 0 if there is such a device; a machine that is there for its GPU may not skip. */
static int prove_device(void) {
  const char *required = getenv("CSRNORM_REQUIRE_CUDA");
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  csrn_context *ctx = NULL;
  options.backend = strcmp(device, "cuda") ? CSRN_BACKEND_CPU : CSRN_BACKEND_CUDA;
  csrn_status status = csrn_context_create(&options, &ctx);
  csrn_context_destroy(ctx);
  const bool missing = status == CSRN_NOT_BUILT || status == CSRN_NO_DEVICE;
  const bool skips = missing && !(required && !strcmp(required, "1"));
  if (status)
    printf("%s: %s\n", skips ? "skipped" : "no context", csrn_error_detail(NULL));
  return skips ? SKIPPED : status != CSRN_OK;
}

int main(int argc, char **argv) {
  if (argc > 1)
    device = argv[1];
  const int missing = prove_device();
  if (missing)
    return missing;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_checks_float32_counts),
      cmocka_unit_test(test_checks_float64_reals),
      cmocka_unit_test(test_checks_float32_reals),
      cmocka_unit_test(test_checks_integers),
      cmocka_unit_test(test_factor_is_checked),
      cmocka_unit_test(test_wrong_result_has_no_time),
      cmocka_unit_test(test_every_configuration_is_measured),
      cmocka_unit_test(test_samples_of_many_runs),
      cmocka_unit_test(test_crossing),
      cmocka_unit_test(test_sweep),
      cmocka_unit_test(test_matrix_is_what_was_asked_for),
      cmocka_unit_test(test_counts_are_realistic),
      cmocka_unit_test(test_matrix_depends_on_the_seed_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
