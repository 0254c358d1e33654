/*
 * Measuring: every configuration (device, threads, instruction set) takes turns with
 * every other in each round, and so does every operation with its roofline, since the
 * memory bandwidth of a shared machine moves within minutes. The first run of each is
 * the warm-up and the one whose result is checked; the minimum of the others counts.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Runs of one operation in one configuration. */
typedef struct samples {
  int repeats; /* runs in each sample */
  double *seconds;
  int64_t n, capacity;
  double *rounds; /* [repetitions] the least of each round */
} samples;

typedef struct configuration {
  bench_run run;
  csrn_context *ctx; /* NULL: could not be created */
  const char *device;
  samples *samples;      /* [n_operations] */
  bench_result *results; /* [n_operations] */
  bool *selected;        /* [n_operations] */
} configuration;

typedef struct measurement {
  const bench_settings *settings;
  const bench_operation *operations;
  int n_operations;
  configuration *configurations;
  int n_configurations;
} measurement;

static const char *const RIGHT = "ok", *const WRONG = "wrong", *const ERROR = "error";

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Configurations ------------------------------------------------------ */

/* Half of the second-level caches of the threads: beyond the first, and surely held. */
static int64_t small_values(const bench_run *run, csrn_dtype data_type) {
  int64_t cache = bench_cache_bytes(2);
  return (cache > 0 ? cache : 512 << 10) / 2 * run->threads / (int64_t)(data_type == CSRN_F64 ? 8 : 4);
}

static bool has_operation(const measurement *m, const configuration *c, const bench_operation *op) {
  if (c->run.backend == CSRN_BACKEND_CPU)
    return op->cpu;
  return op->device && !op->cached && !(m->settings->only_on_device && op->place != BENCH_ON_BACKEND);
}

/* What the score of `op` is relative to; "" for nothing. */
static const char *reference_of(const measurement *m, const configuration *c, const bench_operation *op) {
  const bool device = c->run.backend != CSRN_BACKEND_CPU;
  if (device && op->place == BENCH_ON_BACKEND && !(op->reference && !op->reference[0]))
    return "roofline_copy"; /* for logarithms too: what fits in the cache is too little work for a device */
  if (m->settings->reals && op->reference_of_reals)
    return op->reference_of_reals;
  if (op->reference)
    return op->reference;
  return op->writes ? "roofline_scale" : "roofline_sum";
}

static int find_operation(const measurement *m, const char *name) {
  for (int o = 0; o < m->n_operations; o++)
    if (!strcmp(m->operations[o].name, name))
      return o;
  return -1;
}

/* Those asked for, the rooflines, and what the scores of those refer to. */
static void select_operations(const measurement *m, configuration *c) {
  for (int o = 0; o < m->n_operations; o++) {
    const bench_operation *op = &m->operations[o];
    bool asked = m->settings->n_ops == 0 || (op->roofline && op->place == BENCH_ON_BACKEND);
    for (int k = 0; k < m->settings->n_ops; k++)
      asked = asked || !strcmp(m->settings->ops[k], op->name);
    if (asked && has_operation(m, c, op)) {
      int reference = find_operation(m, reference_of(m, c, op));
      c->selected[o] = true;
      if (reference >= 0)
        c->selected[reference] = true;
    }
  }
}

static void name_results(const measurement *m, configuration *c, int device) {
  csrn_device_properties properties = {.size = sizeof properties};
  const char *isa = csrn_context_isa(c->ctx);
  if (c->run.backend != CSRN_BACKEND_CPU && !csrn_device_info(c->run.backend, device, &properties))
    isa = properties.isa;
  for (int o = 0; o < m->n_operations; o++) {
    const bench_operation *op = &m->operations[o];
    c->results[o] = (bench_result){.operation = op->name,
                                   .axis = op->axis,
                                   .device = c->device,
                                   .reference = reference_of(m, c, op),
                                   .check = RIGHT,
                                   .threads = csrn_context_threads(c->ctx),
                                   .values = bench_run_values(&c->run, op),
                                   .bytes_per_value = bench_run_floor(&c->run, op)};
    snprintf(c->results[o].isa, sizeof c->results[o].isa, "%.31s", isa);
  }
}

/* The configuration that could not be made is a row too: nothing falls back silently. */
static void fail_configuration(configuration *c, const char *isa, int threads, csrn_status status,
                               const char *detail) {
  c->selected[0] = true;
  c->results[0] = (bench_result){.operation = "context",
                                 .axis = "",
                                 .device = c->device,
                                 .reference = "",
                                 .check = ERROR,
                                 .threads = threads};
  snprintf(c->results[0].isa, sizeof c->results[0].isa, "%s", isa ? isa : "");
  snprintf(c->results[0].detail, BENCH_DETAIL, "%s: %s", csrn_status_string(status), detail);
}

static bool allocate_configuration(configuration *c, int n_operations, int repetitions) {
  c->samples = calloc((size_t)n_operations, sizeof *c->samples);
  c->results = calloc((size_t)n_operations, sizeof *c->results);
  c->selected = calloc((size_t)n_operations, sizeof *c->selected);
  bool done = c->samples && c->results && c->selected;
  for (int o = 0; done && o < n_operations; o++) {
    c->samples[o].rounds = calloc((size_t)repetitions, sizeof(double));
    done = c->samples[o].rounds != NULL;
  }
  return done;
}

/* The first configuration of a device allocates the arrays, the others share them. */
static bool add_configuration(measurement *m, int d, int threads, const char *isa, bench_run **first,
                              const bench_matrix *matrix, const bench_expected *expected) {
  configuration *c = &m->configurations[m->n_configurations++];
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.backend = m->settings->devices[d];
  options.device = m->settings->device_numbers[d];
  options.threads = threads;
  options.isa = isa;
  c->device = options.backend == CSRN_BACKEND_CPU ? "cpu" : "cuda";
  if (!allocate_configuration(c, m->n_operations, m->settings->repetitions))
    return false;
  csrn_status status = csrn_context_create(&options, &c->ctx);
  if (!status)
    status = bench_run_create(&c->run, c->ctx, matrix, expected, *first);
  if (status) {
    fail_configuration(c, isa, threads, status, csrn_error_detail(c->ctx));
    bench_run_destroy(&c->run);
    csrn_context_destroy(c->ctx);
    c->ctx = NULL;
    return true;
  }
  bench_run_set_small(&c->run, small_values(&c->run, matrix->csr.data_type));
  *first = *first ? *first : &c->run;
  select_operations(m, c);
  name_results(m, c, options.device);
  return true;
}

static bool add_configurations(measurement *m, const bench_matrix *matrix, const bench_expected *expected) {
  const bench_settings *s = m->settings;
  m->configurations =
      calloc((size_t)s->n_devices * (size_t)s->n_threads * (size_t)s->n_isas, sizeof *m->configurations);
  if (!m->configurations)
    return false;
  for (int d = 0; d < s->n_devices; d++) {
    bool cpu = s->devices[d] == CSRN_BACKEND_CPU; /* threads and instruction sets are the CPU's */
    bench_run *first = NULL;
    for (int t = 0; t < (cpu ? s->n_threads : 1); t++)
      for (int i = 0; i < (cpu ? s->n_isas : 1); i++)
        if (!add_configuration(m, d, cpu ? s->threads[t] : 0, cpu ? s->isas[i] : NULL, &first, matrix,
                               expected))
          return false;
  }
  return true;
}

/* Backwards: the first ones own the arrays. */
static void free_configurations(measurement *m) {
  while (m->n_configurations > 0) {
    configuration *c = &m->configurations[--m->n_configurations];
    for (int o = 0; c->samples && o < m->n_operations; o++) {
      free(c->samples[o].seconds);
      free(c->samples[o].rounds);
    }
    if (c->ctx)
      bench_run_destroy(&c->run);
    csrn_context_destroy(c->ctx);
    free(c->samples);
    free(c->results);
    free(c->selected);
  }
  free(m->configurations);
}

/* ---- Rounds -------------------------------------------------------------- */

static bool add_sample(samples *s, double seconds) {
  if (s->n == s->capacity) {
    int64_t capacity = s->capacity ? 2 * s->capacity : 16;
    double *grown = realloc(s->seconds, (size_t)capacity * sizeof *grown);
    if (!grown)
      return false;
    s->seconds = grown;
    s->capacity = capacity;
  }
  s->seconds[s->n++] = seconds;
  return true;
}

/* A call with arrays in host memory has returned when it is done: the host's clock has its time. */
static csrn_status execute(const measurement *m, bench_run *run, double *seconds) {
  return m->settings->execute && run->op->place == BENCH_ON_BACKEND ? m->settings->execute(run, seconds)
                                                                    : bench_run_execute(run, seconds);
}

static void fail_result(bench_result *result, const configuration *c, csrn_status status) {
  result->check = ERROR;
  snprintf(result->detail, BENCH_DETAIL, "%s: %s", csrn_status_string(status), csrn_error_detail(c->ctx));
}

/* The warm-up: its result decides whether the operation is timed at all. Once more on a device, whose first
 * run also loads the kernels, to know how many runs make a sample. */
static void check_operation(const measurement *m, configuration *c, const bench_operation *op,
                            bench_result *result, samples *s, const bench_expected *expected) {
  double seconds = 0;
  c->run.repeats = 1;
  csrn_status status = bench_run_prepare(&c->run, op);
  if (!status)
    status = execute(m, &c->run, &seconds);
  if (!status && !op->check(&c->run, expected, result->detail))
    result->check = WRONG;
  else
    result->detail[0] = 0;
  if (!status && c->run.backend != CSRN_BACKEND_CPU)
    status = execute(m, &c->run, &seconds);
  if (status)
    fail_result(result, c, status);
  s->repeats = bench_run_repeats(&c->run, seconds);
}

/* At least one run; more while they are short, since short ones vary most. Restoring the input is
 * limited too. */
static bool time_operation(const measurement *m, configuration *c, int o, int round) {
  const bench_operation *op = &m->operations[o];
  samples *s = &c->samples[o];
  double *least = &s->rounds[round - 1];
  double budget = m->settings->min_time / m->settings->repetitions, spent = 0, begin = now(), seconds;
  c->run.repeats = s->repeats;
  do {
    csrn_status status = bench_run_prepare(&c->run, op);
    if (!status)
      status = execute(m, &c->run, &seconds);
    if (status) {
      fail_result(&c->results[o], c, status);
      return true;
    }
    if (!add_sample(s, seconds))
      return false;
    *least = spent == 0 || seconds < *least ? seconds : *least;
    spent += seconds * s->repeats;
  } while (spent < budget && now() - begin < 4 * budget);
  return true;
}

static bool run_round(const measurement *m, int round, const bench_expected *expected) {
  for (int k = 0; k < m->n_configurations; k++) {
    configuration *c = &m->configurations[k];
    for (int o = 0; c->ctx && o < m->n_operations; o++) {
      if (!c->selected[o] || c->results[o].check != RIGHT)
        continue;
      if (!m->settings->quiet)
        fprintf(stderr, "\r\033[K%s %s %lld threads: %s (%s %d of %d)", c->device, csrn_context_isa(c->ctx),
                (long long)c->results[o].threads, m->operations[o].name, round ? "round" : "check", round,
                m->settings->repetitions);
      if (round == 0)
        check_operation(m, c, &m->operations[o], &c->results[o], &c->samples[o], expected);
      else if (!time_operation(m, c, o, round))
        return false;
    }
  }
  return true;
}

/* ---- Results ------------------------------------------------------------- */

static int compare_seconds(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts values[n]; NaN for none. */
static double sort_and_take_median(double *values, int64_t n) {
  if (n == 0)
    return NAN;
  qsort(values, (size_t)n, sizeof *values, compare_seconds);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void summarize(bench_result *r, samples *s) {
  r->samples = r->check == RIGHT ? s->n : 0;
  r->median_ms = 1e3 * sort_and_take_median(s->seconds, r->samples);
  double least = r->samples ? s->seconds[0] : NAN;
  r->bytes = r->bytes_per_value * (double)r->values;
  r->min_ms = 1e3 * least;
  r->gb_per_s = r->bytes / least * 1e-9;
  r->billion_values_per_s = (double)r->values / least * 1e-9;
  r->fraction = r->paired = NAN;
}

/* The time in which the reference moves as many bytes, over the time: of the two minima, and as the median
 * of the rounds, which does not care if the memory became faster between two rounds. */
static void score(const measurement *m, const configuration *c, bench_result *r, const samples *s) {
  int reference = find_operation(m, r->reference);
  if (reference < 0 || r->check != RIGHT || c->results[reference].check != RIGHT)
    return;
  double bytes = r->bytes / c->results[reference].bytes;
  r->fraction = bytes * c->results[reference].min_ms / r->min_ms;
  double *ratios = malloc((size_t)m->settings->repetitions * sizeof *ratios);
  for (int k = 0; ratios && k < m->settings->repetitions; k++)
    ratios[k] = bytes * c->samples[reference].rounds[k] / s->rounds[k];
  if (ratios)
    r->paired = sort_and_take_median(ratios, m->settings->repetitions);
  free(ratios);
}

static int collect(const measurement *m, bench_result *results, int *n) {
  int code = BENCH_OK;
  *n = 0;
  for (int k = 0; k < m->n_configurations; k++) {
    configuration *c = &m->configurations[k];
    for (int o = 0; o < m->n_operations; o++)
      if (c->selected[o])
        summarize(&c->results[o], &c->samples[o]);
    for (int o = 0; o < m->n_operations; o++) {
      if (!c->selected[o])
        continue;
      score(m, c, &c->results[o], &c->samples[o]);
      results[(*n)++] = c->results[o];
      if (c->results[o].check != RIGHT)
        code = BENCH_FAILED;
    }
  }
  return code;
}

int bench_measure(const bench_settings *settings, const bench_operation *operations, int n_operations,
                  const bench_matrix *matrix, const bench_expected *expected, bench_result **results, int *n,
                  char error[BENCH_DETAIL]) {
  measurement m = {.settings = settings, .operations = operations, .n_operations = n_operations};
  int code = BENCH_FAILED;
  bool done = add_configurations(&m, matrix, expected);
  for (int round = 0; done && round <= settings->repetitions; round++)
    done = run_round(&m, round, expected);
  if (!settings->quiet)
    fprintf(stderr, "\r\033[K");
  *n = 0;
  *results = done ? calloc((size_t)m.n_configurations * (size_t)n_operations + 1, sizeof **results) : NULL;
  if (*results)
    code = collect(&m, *results, n);
  else
    snprintf(error, BENCH_DETAIL, "not enough memory to measure");
  free_configurations(&m);
  return code;
}
