/*
 * One context of `csrnorm bench` with its arrays. Everything lies where the context
 * works, through csrn_buffer_*, so that operations and checks are the same for every
 * backend. What is not part of an operation (restoring the values that the one before
 * has overwritten) happens in bench_run_prepare(), outside the timed region.
 */
#include "bench.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static csrn_status own(bench_run *run, size_t bytes, void *buffer) {
  void *allocated = NULL;
  size_t size = bytes ? bytes : 64;
  csrn_status status = csrn_buffer_allocate(run->ctx, size, &allocated);
  if (status)
    return status;
  run->owned[run->n_owned] = allocated;
  run->owned_bytes[run->n_owned++] = size;
  memcpy(buffer, &allocated, sizeof allocated);
  return CSRN_OK;
}

static csrn_status own_copy(bench_run *run, const void *from, size_t bytes, void *buffer) {
  void *to = NULL;
  csrn_status status = own(run, bytes, &to);
  if (!status && bytes > 0)
    status = csrn_buffer_copy(run->ctx, to, from, bytes);
  memcpy(buffer, &to, sizeof to);
  return status;
}

/* The matrix itself. A context that works in host memory shares the one array that there is: it is the
 * largest part of what this program needs. */
static csrn_status place_matrix(bench_run *run, const csrn_csr *A) {
  run->whole = *A;
  if (run->backend == CSRN_BACKEND_CPU)
    return CSRN_OK;
  csrn_status status =
      own_copy(run, A->indptr, (size_t)(A->n_rows + 1) * csrn_dtype_size(A->indptr_type), &run->whole.indptr);
  if (!status)
    status =
        own_copy(run, A->indices, (size_t)A->nnz * csrn_dtype_size(A->indices_type), &run->whole.indices);
  if (!status)
    status = own_copy(run, A->data, (size_t)A->nnz * csrn_dtype_size(A->data_type), &run->whole.data);
  return status;
}

double bench_column_factor(int64_t j) {
  return (double)(2 * (j % 61) + 1) / 16;
}

/* Factors of rows as normalization to the median has them; of columns, any. */
static void fill_factors(const bench_expected *e, csrn_dtype type, void *rows, void *columns) {
  const csrn_csr *A = &e->matrix->csr;
  for (int64_t i = 0; i < A->n_rows; i++)
    bench_put_value(rows, type, i, bench_row_factor(e, i, type));
  for (int64_t j = 0; j < A->n_cols; j++)
    bench_put_value(columns, type, j, bench_column_factor(j));
}

double bench_row_factor(const bench_expected *e, int64_t i, csrn_dtype type) {
  if (!(e->median > 0))
    return 0;
  return type == CSRN_F32 ? (double)((float)e->totals[i] / (float)e->median) : e->totals[i] / e->median;
}

static csrn_status place_vectors(bench_run *run, const bench_expected *e) {
  int64_t n_rows = run->whole.n_rows, n_cols = run->whole.n_cols, most = n_rows > n_cols ? n_rows : n_cols;
  size_t size = csrn_dtype_size(run->out_type);
  char *rows = malloc((size_t)(n_rows + 1) * size), *columns = malloc((size_t)(n_cols + 1) * size);
  csrn_status status = rows && columns ? CSRN_OK : CSRN_OUT_OF_MEMORY;
  if (!status)
    fill_factors(e, run->out_type, rows, columns);
  if (!status)
    status = own_copy(run, rows, (size_t)n_rows * size, &run->row_factors);
  if (!status)
    status = own_copy(run, columns, (size_t)n_cols * size, &run->column_factors);
  if (!status)
    status = own_copy(run, e->totals, (size_t)n_rows * sizeof(double), &run->totals);
  if (!status)
    status = own(run, (size_t)n_rows * sizeof(double), &run->row_sums);
  if (!status)
    status = own(run, (size_t)n_cols * sizeof(double), &run->column_sums);
  if (!status)
    status = own(run, (size_t)most * size, &run->own_factors);
  run->factors = run->own_factors;
  if (!status)
    status = own(run, (size_t)n_cols, &run->mask);
  if (!status)
    status = own(run, sizeof(double), &run->median);
  free(rows);
  free(columns);
  return status;
}

static csrn_status place_all(bench_run *run, const csrn_csr *A, const bench_expected *expected) {
  size_t data_size = csrn_dtype_size(A->data_type), out_size = csrn_dtype_size(run->out_type);
  csrn_status status = place_matrix(run, A);
  if (!status)
    status = own(run, (size_t)A->nnz * data_size, &run->work);
  run->own_out = run->work;
  if (!status && out_size != data_size)
    status = own(run, (size_t)A->nnz * out_size, &run->own_out);
  run->out = run->own_out;
  return status ? status : place_vectors(run, expected);
}

/* A copy of one number: what is left of a call if there is nothing to do but to wait for it. */
static csrn_status measure_wait(bench_run *run) {
  csrn_status status = CSRN_OK;
  run->wait = 0;
  for (int k = 0; k < 50 && !status && run->backend != CSRN_BACKEND_CPU; k++) {
    double begin = now();
    status = csrn_buffer_copy(run->ctx, run->row_sums, run->median, sizeof *run->median);
    double seconds = now() - begin;
    run->wait = k == 0 || seconds < run->wait ? seconds : run->wait;
  }
  return status;
}

csrn_status bench_run_create(bench_run *run, csrn_context *ctx, const bench_matrix *matrix,
                             const bench_expected *expected, const bench_run *share) {
  const csrn_csr *A = &matrix->csr;
  *run = share ? *share : (bench_run){0};
  run->ctx = ctx;
  run->backend = csrn_context_backend(ctx);
  run->threads = csrn_context_threads(ctx);
  run->n_owned = 0;
  run->repeats = 1;
  if (share)
    return CSRN_OK;
  run->begin = bench_get_index(A->indptr, A->indptr_type, 0);
  run->end = bench_get_index(A->indptr, A->indptr_type, A->n_rows);
  run->out_type = A->data_type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
  run->target_sum = 1e4;
  run->max_fraction = matrix->max_fraction;
  run->host = &matrix->csr;
  csrn_status status = place_all(run, A, expected);
  return status ? status : measure_wait(run);
}

void bench_run_set_small(bench_run *run, int64_t values) {
  const csrn_csr *A = run->host;
  run->small_rows = 0;
  run->small_end = run->begin;
  while (run->small_rows < A->n_rows) {
    int64_t end = bench_get_index(A->indptr, A->indptr_type, run->small_rows + 1);
    if (run->small_rows > 0 && end - run->begin > values)
      break;
    run->small_rows++;
    run->small_end = end;
  }
}

void bench_run_destroy(bench_run *run) {
  if (run->host && run->backend != CSRN_BACKEND_CPU)
    bench_host_destroy(run);
  while (run->n_owned > 0) {
    run->n_owned--;
    csrn_buffer_release(run->ctx, run->owned[run->n_owned], run->owned_bytes[run->n_owned]);
  }
}

/* By the threads that will work on it, each its own part: so they also touch the pages first. */
static csrn_status restore_values(bench_run *run, size_t bytes) {
#pragma omp parallel num_threads(run->threads)
  {
    size_t t = (size_t)omp_get_thread_num(), parts = (size_t)omp_get_num_threads();
    size_t begin = bytes / parts * t, end = t + 1 == parts ? bytes : bytes / parts * (t + 1);
    memcpy((char *)run->work + begin, (const char *)run->whole.data + begin, end - begin);
  }
  return CSRN_OK;
}

/* Values that are no counts: what normalization without rounding to a table would leave. Worked in place, on
 * a device again and again: a logarithm of reals costs the same whatever they are. */
static csrn_status restore_reals(bench_run *run) {
  csrn_csr from = run->A;
  from.data = run->whole.data;
  from.data_type = run->whole.data_type;
  csrn_status status = csrn_axis_scale(run->ctx, &from, CSRN_PER_ROW, CSRN_DIVIDE, run->row_factors,
                                       run->out_type, CSRN_ZERO_AS_ONE, run->out, run->out_type);
  return status ? status : csrn_context_synchronize(run->ctx);
}

/* Values that `op` handles are those of rows [0, this). */
static int64_t rows_of(const bench_run *run, const bench_operation *op) {
  return op->cached ? run->small_rows : run->whole.n_rows;
}

csrn_status bench_run_prepare(bench_run *run, const bench_operation *op) {
  run->op = op;
  if (op->place != BENCH_ON_BACKEND)
    return bench_host_prepare(run);
  run->out = run->own_out;
  run->factors = run->own_factors;
  run->A = run->whole;
  run->A.n_rows = rows_of(run, op);
  const bool device = run->backend != CSRN_BACKEND_CPU;
  if (device && op->roofline)
    run->A.data = run->work; /* to be checked: the copy */
  if (op->input == BENCH_INPUT_READ_ONLY || (device && op->input == BENCH_INPUT_VALUES))
    return CSRN_OK;
  run->A.data = run->work;
  if (op->input == BENCH_INPUT_REALS) {
    run->A.data = run->out;
    run->A.data_type = run->out_type;
    return restore_reals(run);
  }
  int64_t values = op->cached ? run->small_end : run->whole.nnz;
  return restore_values(run, (size_t)values * csrn_dtype_size(run->whole.data_type));
}

int bench_run_repeats(const bench_run *run, double seconds) {
  const double sample = 5e-3; /* hundreds of times what a synchronization takes */
  if (run->backend == CSRN_BACKEND_CPU || !(seconds > 0) || seconds >= sample)
    return 1;
  return seconds < sample / 100 ? 100 : (int)(sample / seconds) + 1;
}

csrn_status bench_run_execute(bench_run *run, double *seconds) {
  csrn_status status = csrn_context_synchronize(run->ctx);
  double begin = now();
  for (int k = 0; k < run->repeats && !status; k++)
    status = run->op->run(run);
  if (!status)
    status = csrn_context_synchronize(run->ctx);
  *seconds = (now() - begin) / run->repeats;
  if (run->op->waits && run->wait < *seconds / 2)
    *seconds -= run->wait;
  return status;
}

csrn_status bench_run_fetch(bench_run *run, const void *from, size_t bytes, void *to) {
  return bytes ? csrn_buffer_copy(run->ctx, to, from, bytes) : CSRN_OK;
}

int64_t bench_run_values(const bench_run *run, const bench_operation *op) {
  if (op->per_row)
    return run->whole.n_rows;
  if (op->roofline)
    return run->whole.nnz;
  return op->cached ? run->small_end - run->begin : run->end - run->begin;
}

double bench_run_floor(const bench_run *run, const bench_operation *op) {
  size_t out = csrn_dtype_size(run->out_type);
  size_t data = op->input == BENCH_INPUT_REALS ? out : csrn_dtype_size(run->whole.data_type);
  if (op->per_row)
    data = sizeof(double);
  if (op->roofline)
    out = data;
  return (double)((size_t)op->reads * data + (size_t)op->writes * out +
                  (size_t)op->index_reads * csrn_dtype_size(run->whole.indices_type));
}
