/*
 * From how many values on a device is faster than the CPU for a matrix in host memory:
 * leading rows of the matrix, more and more of them, are normalized by both in turns, with
 * the same results to the bit.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAYS = 3, SIZES = 8, LEAST_VALUES = 1 << 12 };

static const char *const way_names[WAYS] = {"cpu", "pinned", "pageable"};

typedef struct sweep {
  const bench_settings *settings;
  const csrn_csr *host;
  csrn_dtype out_type;
  csrn_context *cpu, *device;
  void *data;       /* pinned */
  void *outs[WAYS]; /* the second one pinned */
  size_t data_bytes, out_bytes;
  int n;               /* sizes */
  int64_t rows[SIZES]; /* leading rows of each, and their values */
  double values[SIZES];
} sweep;

double bench_crossing(const double *values, const double *cpu, const double *device, int n) {
  int first = n; /* from which on the device was never slower */
  while (first > 0 && device[first - 1] <= cpu[first - 1])
    first--;
  if (first == n || first == 0)
    return first ? NAN : values[0];
  /* Where the ratio of the times is 1, if its logarithm is linear in that of the size. */
  double before = log(device[first - 1] / cpu[first - 1]), after = log(device[first] / cpu[first]);
  double share = before / (before - after);
  return exp(log(values[first - 1]) + share * (log(values[first]) - log(values[first - 1])));
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Leading rows with about a quarter, a sixteenth, ... of the values, ascending. */
static void choose_sizes(sweep *s) {
  const csrn_csr *A = s->host;
  int64_t begin = bench_get_index(A->indptr, A->indptr_type, 0), row = 0;
  double all = (double)(bench_get_index(A->indptr, A->indptr_type, A->n_rows) - begin);
  s->n = 0;
  for (int k = SIZES - 1; k >= 0; k--) {
    double wanted = ldexp(all, -2 * k);
    while (row < A->n_rows && (double)(bench_get_index(A->indptr, A->indptr_type, row) - begin) < wanted)
      row++;
    double values = (double)(bench_get_index(A->indptr, A->indptr_type, row) - begin);
    if (values >= LEAST_VALUES && (s->n == 0 || row > s->rows[s->n - 1])) {
      s->rows[s->n] = row;
      s->values[s->n++] = values;
    }
  }
}

static csrn_status create(sweep *s, int device) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.threads = s->settings->threads[0];
  options.backend = CSRN_BACKEND_CPU;
  options.isa = s->settings->isas[0];
  csrn_status status = csrn_context_create(&options, &s->cpu);
  options.backend = CSRN_BACKEND_CUDA;
  options.device = device;
  options.isa = NULL;
  if (!status)
    status = csrn_context_create(&options, &s->device);
  if (!status)
    status = csrn_host_buffer_allocate(s->device, s->data_bytes, &s->data);
  if (!status)
    status = csrn_host_buffer_allocate(s->device, s->out_bytes, &s->outs[1]);
  s->outs[0] = malloc(s->out_bytes);
  s->outs[2] = malloc(s->out_bytes);
  if (!status && (!s->outs[0] || !s->outs[2]))
    status = CSRN_OUT_OF_MEMORY;
  if (!status)
    memcpy(s->data, s->host->data, s->data_bytes - 1);
  return status;
}

static void destroy(sweep *s) {
  csrn_host_buffer_release(s->device, s->data, s->data_bytes);
  csrn_host_buffer_release(s->device, s->outs[1], s->out_bytes);
  free(s->outs[0]);
  free(s->outs[2]);
  csrn_context_destroy(s->device);
  csrn_context_destroy(s->cpu);
}

static csrn_status run(const sweep *s, int way, csrn_target target, int64_t rows, double *seconds) {
  csrn_context *ctx = way ? s->device : s->cpu;
  csrn_csr A = *s->host;
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  A.n_rows = rows;
  A.data = way == 1 ? s->data : A.data;
  options.target = target;
  options.target_sum = 1e4;
  options.log1p = 1;
  double begin = now();
  csrn_status status = csrn_normalize_total(ctx, &A, &options, s->outs[way], s->out_type, NULL, NULL);
  *seconds = now() - begin;
  return status;
}

static bool same_results(const sweep *s, int way, double values) {
  const csrn_csr *A = s->host;
  size_t size = csrn_dtype_size(s->out_type);
  size_t begin = (size_t)bench_get_index(A->indptr, A->indptr_type, 0) * size;
  return memcmp((char *)s->outs[way] + begin, (char *)s->outs[0] + begin, (size_t)values * size) == 0;
}

/* The least times of one size; false with the sentence in `text`. */
static bool measure_size(const sweep *s, csrn_target target, int k, double times[WAYS], char *text,
                         size_t room) {
  for (int round = 0; round <= s->settings->repetitions; round++)
    for (int way = 0; way < WAYS; way++) {
      double seconds;
      csrn_status status = run(s, way, target, s->rows[k], &seconds);
      if (status || !same_results(s, way, s->values[k])) {
        snprintf(text, room, "%s: %s", way_names[way],
                 status ? csrn_error_detail(way ? s->device : s->cpu) : "other bits than the CPU's");
        return false;
      }
      if (round > 0) /* memory and kernels come with the first */
        times[way] = round == 1 || seconds < times[way] ? seconds : times[way];
    }
  return true;
}

/* One sentence for each target and kind of memory. */
static bool sweep_target(const sweep *s, csrn_target target, const char *name, char *text, size_t room) {
  double times[WAYS][SIZES];
  for (int k = 0; k < s->n; k++) {
    double its[WAYS] = {0};
    if (!measure_size(s, target, k, its, text, room))
      return false;
    for (int way = 0; way < WAYS; way++)
      times[way][k] = its[way];
  }
  size_t used = (size_t)snprintf(text, room, "%s:", name);
  for (int way = 1; way < WAYS; way++) {
    double from = bench_crossing(s->values, times[0], times[way], s->n);
    used +=
        (size_t)snprintf(text + used, room - used, "%s %s %s %.2g values", way > 1 ? "," : "", way_names[way],
                         isnan(from) ? "not up to" : "from", isnan(from) ? s->values[s->n - 1] : from);
  }
  return true;
}

static bool has_devices(const bench_settings *settings, int *cuda) {
  bool cpu = false;
  *cuda = -1;
  for (int d = 0; d < settings->n_devices; d++)
    if (settings->devices[d] == CSRN_BACKEND_CPU)
      cpu = true;
    else if (*cuda < 0)
      *cuda = settings->device_numbers[d];
  return cpu && *cuda >= 0;
}

bool bench_sweep(const bench_settings *settings, const bench_matrix *matrix, char *text, size_t room) {
  sweep s = {.settings = settings, .host = &matrix->csr};
  int cuda;
  text[0] = 0;
  if (settings->n_ops > 0 || !has_devices(settings, &cuda))
    return true;
  s.out_type = matrix->csr.data_type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
  s.data_bytes = (size_t)matrix->csr.nnz * csrn_dtype_size(matrix->csr.data_type) + 1;
  s.out_bytes = (size_t)matrix->csr.nnz * csrn_dtype_size(s.out_type) + 1;
  choose_sizes(&s);
  if (s.n == 0)
    return true;
  char second[256] = "";
  bool right = create(&s, cuda) == CSRN_OK;
  if (!right)
    snprintf(text, room, "%s", csrn_error_detail(s.device));
  right = right && sweep_target(&s, CSRN_TARGET_FIXED, "normalize_fixed_log1p", text, room) &&
          sweep_target(&s, CSRN_TARGET_MEDIAN, "normalize_median_log1p", second, sizeof second);
  size_t used = strlen(text);
  if (second[0])
    snprintf(text + used, room - used, "; %s", second);
  destroy(&s);
  return right;
}
