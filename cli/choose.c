/* See choose.h. */
#include "choose.h"

#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { TRIAL_VALUES = CLI_TRIAL_VALUES, TRIAL_RUNS = 3 };
/* Bytes that the link is timed with: 32 MiB, as the chunks that the library sends. */
enum { LINK_BYTES = 32 << 20 };
/* A device is not even asked for less: how long CUDA takes to start is known only afterwards, and this is
 * taken for the least. */
#define START_SECONDS 0.25

typedef struct measurement {
  cli_session *session;
  const csrn_csr *A;
  cli_job *job;
  cli_rates rates;
  csrn_context *device;
  bool given; /* the rates are, in the environment */
} measurement;

static int say(cli_session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int say(cli_session *session, const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(session->choice.reason, sizeof session->choice.reason, format, values);
  va_end(values);
  return CLI_OK;
}

/* ---- The CPU ---------------------------------------------------------------- */

/* As many leading rows as have so many values. */
static csrn_csr leading_rows(const csrn_csr *A, int64_t values) {
  csrn_csr rows = *A;
  int64_t low = 1, high = A->n_rows;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (cli_index_at(A->indptr, A->indptr_type, middle) < values)
      low = middle + 1;
    else
      high = middle;
  }
  rows.n_rows = low;
  rows.nnz = cli_index_at(A->indptr, A->indptr_type, low);
  return rows;
}

/* The rate of the operation on the CPU; the first run finds memory and its pages. */
static bool time_cpu(measurement *m, cli_trial *trial, const void *arg) {
  const csrn_csr rows = leading_rows(m->A, TRIAL_VALUES);
  void *out = malloc((size_t)rows.nnz * 8 + (size_t)(rows.n_rows + rows.n_cols) * 8 + 8);
  double least = INFINITY;
  bool done = out != NULL;
  for (int k = 0; k < TRIAL_RUNS && done; k++) {
    double begin = cli_now();
    done = trial(m->session->ctx, &rows, out, arg) == CSRN_OK;
    least = fmin(least, cli_now() - begin);
  }
  free(out);
  m->rates.cpu = (double)rows.nnz * (double)m->job->value_bytes / least;
  return done;
}

/* ---- The device --------------------------------------------------------------- */

static void copy_by_threads(char *to, const char *from, size_t bytes, int threads) {
#pragma omp parallel num_threads(threads)
  {
    size_t t = (size_t)omp_get_thread_num(), parts = (size_t)omp_get_num_threads();
    size_t begin = bytes / parts * t, end = t + 1 == parts ? bytes : bytes / parts * (t + 1);
    memcpy(to + begin, from + begin, end - begin);
  }
}

/* Two arrays in each place. */
typedef struct link_arrays {
  char *pinned[2], *device[2], *pageable;
} link_arrays;

static csrn_status take_arrays(measurement *m, link_arrays *a) {
  csrn_status status = CSRN_OK;
  double begin = cli_now();
  for (int k = 0; k < 2 && !status; k++)
    status = csrn_host_buffer_allocate(m->device, LINK_BYTES, (void **)&a->pinned[k]);
  m->rates.pin = 2 * LINK_BYTES / (cli_now() - begin);
  for (int k = 0; k < 2 && !status; k++)
    status = csrn_buffer_allocate(m->device, LINK_BYTES, (void **)&a->device[k]);
  a->pageable = malloc(LINK_BYTES);
  if (!a->pageable && !status)
    status = CSRN_OUT_OF_MEMORY;
  if (!status) {
    memset(a->pageable, 1, LINK_BYTES);
    memset(a->pinned[0], 1, LINK_BYTES);
  }
  return status;
}

static void give_back(measurement *m, link_arrays *a) {
  for (int k = 0; k < 2; k++) {
    csrn_host_buffer_release(m->device, a->pinned[k], LINK_BYTES);
    csrn_buffer_release(m->device, a->device[k], LINK_BYTES);
  }
  free(a->pageable);
}

/* The rates of the link: up, down, both, in this order. */
static csrn_status time_link(measurement *m, link_arrays *a) {
  double *const rates[] = {&m->rates.up, &m->rates.down, &m->rates.both};
  const double bytes[] = {LINK_BYTES, LINK_BYTES, 2.0 * LINK_BYTES};
  csrn_status status = CSRN_OK;
  for (int way = 0; way < 3; way++) {
    double least = INFINITY;
    for (int k = 0; k < TRIAL_RUNS && !status; k++) {
      double begin = cli_now();
      status = csrn_buffer_exchange(m->device, a->device[0], a->pinned[0], way == 1 ? 0 : LINK_BYTES,
                                    a->pinned[1], a->device[1], way == 0 ? 0 : LINK_BYTES);
      least = fmin(least, cli_now() - begin);
    }
    *rates[way] = bytes[way] / least;
  }
  return status;
}

static void time_copy(measurement *m, link_arrays *a) {
  double least = INFINITY;
  for (int k = 0; k < TRIAL_RUNS; k++) {
    double begin = cli_now();
    copy_by_threads(a->pinned[0], a->pageable, LINK_BYTES, csrn_context_threads(m->session->ctx));
    least = fmin(least, cli_now() - begin);
  }
  m->rates.copy = LINK_BYTES / least;
}

/* One value that goes through the device. */
static csrn_status time_call(measurement *m) {
  const int64_t indptr[] = {0, 1};
  float value = 1;
  const csrn_csr A = {1, 1, 1, indptr, NULL, &value, CSRN_I64, CSRN_NONE, CSRN_F32};
  double sum, least = INFINITY;
  csrn_status status = CSRN_OK;
  for (int k = 0; k < TRIAL_RUNS && !status; k++) {
    double begin = cli_now();
    status = csrn_axis_sum(m->device, &A, CSRN_PER_ROW, &sum, CSRN_F64);
    least = fmin(least, cli_now() - begin);
  }
  m->rates.call = least;
  return status;
}

static csrn_status time_device(measurement *m) {
  link_arrays arrays = {0};
  csrn_status status = take_arrays(m, &arrays);
  status = status ? status : time_link(m, &arrays);
  status = status ? status : time_call(m);
  if (!status)
    time_copy(m, &arrays);
  give_back(m, &arrays);
  return status;
}

/* ---- The choice ------------------------------------------------------------------ */

static csrn_status start_device(measurement *m) {
  csrn_device_properties properties = {.size = sizeof properties};
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.backend = CSRN_BACKEND_CUDA;
  options.threads = csrn_context_threads(m->session->ctx);
  csrn_status status = csrn_device_info(CSRN_BACKEND_CUDA, 0, &properties);
  m->job->room = properties.memory_bytes / 4 * 3;
  return status ? status : csrn_context_create(&options, &m->device);
}

/* Both costs, and with them the choice. */
static int compare(measurement *m) {
  cli_session *s = m->session;
  s->choice.cpu_seconds = cli_cost_of_cpu(&m->rates, m->job);
  s->choice.device_seconds = cli_cost_of_device(&m->rates, m->job);
  const bool wins = s->choice.device_seconds < s->choice.cpu_seconds;
  say(s, "expected %.3g s on the CPU, %.3g s through cuda:0", s->choice.cpu_seconds,
      s->choice.device_seconds);
  if (!wins)
    return CLI_OK;
  s->ctx = m->device;
  s->device = 0;
  m->device = NULL;
  if (s->shows_progress)
    fprintf(stderr, "csrnorm %s: computing on cuda:0: %s\n", s->arguments->command->name, s->choice.reason);
  return CLI_OK;
}

static int choose(measurement *m, cli_trial *trial, const void *arg) {
  cli_session *s = m->session;
  const char *rates = getenv("CSRNORM_RATES");
  m->given = rates && *rates;
  if (m->given && !cli_rates_parse(rates, &m->rates))
    return cli_usage(s->arguments,
                     "CSRNORM_RATES is \"%s\"; expected seven numbers: up,down,both,copy,pin,cpu,call",
                     rates);
  if (!m->given && m->job->values < TRIAL_VALUES)
    return say(s, "fewer than %d values", TRIAL_VALUES);
  if (!m->given && !time_cpu(m, trial, arg))
    return say(s, "the CPU could not be timed"); /* it will say why itself */
  s->choice.cpu_seconds = cli_cost_of_cpu(&m->rates, m->job);
  if (!m->given && s->choice.cpu_seconds < START_SECONDS)
    return say(s, "expected %.3g s on the CPU, less than it takes to start a device", s->choice.cpu_seconds);
  csrn_status status = start_device(m);
  if (!status && !m->given)
    status = time_device(m);
  if (status)
    return say(s, "%s", csrn_error_detail(m->device));
  return compare(m);
}

int cli_session_choose(cli_session *session, const csrn_csr *A, cli_job *job, cli_trial *trial,
                       const void *arg) {
  measurement m = {.session = session, .A = A, .job = job};
  if (!session->is_auto || session->choice.reason[0])
    return CLI_OK;
  job->values = A->nnz;
  const int code = choose(&m, trial, arg);
  csrn_context_destroy(m.device);
  return code;
}

void cli_session_chose_pieces(cli_session *session) {
  if (session->is_auto)
    snprintf(session->choice.reason, sizeof session->choice.reason,
             "in pieces, as they are read and written");
}
