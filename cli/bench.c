/*
 * `csrnorm bench`: how fast each operation of the library is on this machine, as a
 * fraction of what its memory gives. bench.h says how the parts fit together.
 */
#include "bench.h"

#include <stdlib.h>
#include <unistd.h>

static void say(const bench_settings *settings, const char *what) {
  if (!settings->quiet)
    fprintf(stderr, "\r\033[K%s", what);
}

/* The matrix and what must come out of it; false with the sentence. */
static bool make_input(const bench_settings *settings, bench_matrix *matrix, bench_expected *expected,
                       char error[BENCH_DETAIL]) {
  say(settings, settings->input ? "reading" : "simulating");
  bool done = settings->input ? bench_matrix_read(settings, matrix, error)
                              : bench_matrix_simulate(settings, matrix, error);
  if (!done)
    return false;
  say(settings, "computing what is expected");
  if (bench_expected_create(expected, matrix, settings->seed))
    return true;
  snprintf(error, BENCH_DETAIL, "not enough memory to compute what is expected");
  return false;
}

/* In the cache the roofline is another one than memory's: fractions are small and mean little. */
static void warn_of_cache(const bench_environment *e, const bench_matrix *matrix) {
  double bytes = (double)e->nnz * (double)csrn_dtype_size(matrix->csr.data_type);
  if (e->cache_bytes > 0 && bytes < 4 * (double)e->cache_bytes)
    fprintf(stderr, "csrnorm bench: the values (%.3g MB) are not well beyond the cache (%.3g MB)\n",
            bytes * 1e-6, (double)e->cache_bytes * 1e-6);
}

static int run_bench(const bench_settings *settings, char error[BENCH_DETAIL]) {
  bench_matrix matrix = {0};
  bench_expected expected = {0};
  bench_environment environment;
  bench_result *results = NULL;
  int n = 0, code = BENCH_FAILED;
  bench_describe_machine(&environment);
  bench_describe_devices(&environment, settings);
  if (make_input(settings, &matrix, &expected, error)) {
    bench_describe_matrix(&environment, settings, &matrix, &expected);
    say(settings, "");
    warn_of_cache(&environment, &matrix);
    code = bench_measure(settings, bench_operations, bench_n_operations, &matrix, &expected, &results, &n,
                         error);
    if (results && code == BENCH_OK &&
        !bench_sweep(settings, &matrix, environment.device_wins, sizeof environment.device_wins)) {
      snprintf(error, BENCH_DETAIL, "the sweep over sizes: %.480s", environment.device_wins);
      code = BENCH_FAILED;
    }
    if (results)
      bench_report(stdout, settings->format, &environment, results, n);
  }
  say(settings, "");
  for (int r = 0; results && r < n; r++)
    if (results[r].detail[0])
      fprintf(stderr, "csrnorm bench: %s: %s\n", results[r].operation, results[r].detail);
  free(results);
  bench_expected_free(&expected);
  bench_matrix_free(&matrix);
  return code;
}

int cli_bench(int argc, char **argv) {
  bench_settings settings;
  char error[BENCH_DETAIL] = "";
  int code = bench_parse(argc, argv, &settings, error);
  if (!code && settings.help) {
    bench_print_help(stdout);
    return BENCH_OK;
  }
  settings.quiet = settings.quiet || !isatty(STDERR_FILENO);
  if (!code)
    code = run_bench(&settings, error);
  if (error[0])
    fprintf(stderr, "csrnorm bench: %s\n", error);
  return code;
}
