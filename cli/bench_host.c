/*
 * The matrix in host memory beside a device: what `csrnorm bench` measures of the link (each
 * way, both at once), and normalization from host to host through the device. The arrays are pinned
 * ones, which travel as they are, or such as malloc() gives, which the library copies
 * through pinned memory of its own. They are made when the first such operation is prepared.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static size_t data_bytes(const bench_run *run) {
  return (size_t)run->host->nnz * csrn_dtype_size(run->host->data_type);
}

/* Of results: large enough for values as they are, too. */
static size_t out_bytes(const bench_run *run) {
  size_t out = (size_t)run->host->nnz * csrn_dtype_size(run->out_type);
  return out > data_bytes(run) ? out : data_bytes(run);
}

static csrn_status make_arrays(bench_run *run) {
  bench_host *h = &run->host_arrays;
  int64_t n_rows = run->host->n_rows;
  if (h->data)
    return CSRN_OK;
  h->factors = calloc((size_t)n_rows + 1, csrn_dtype_size(run->out_type));
  h->out[BENCH_PAGEABLE] = calloc(out_bytes(run) + 1, 1);
  csrn_status status = h->factors && h->out[BENCH_PAGEABLE] ? CSRN_OK : CSRN_OUT_OF_MEMORY;
  if (!status)
    status = csrn_host_buffer_allocate(run->ctx, out_bytes(run) + 1, &h->out[BENCH_PINNED]);
  if (!status)
    status = csrn_host_buffer_allocate(run->ctx, data_bytes(run) + 1, &h->data);
  if (!status)
    memcpy(h->data, run->host->data, data_bytes(run));
  return status;
}

csrn_status bench_host_prepare(bench_run *run) {
  const bench_operation *op = run->op;
  csrn_status status = make_arrays(run);
  if (status)
    return status;
  run->A = *run->host;
  run->out = run->host_arrays.out[op->place];
  run->factors = run->host_arrays.factors;
  if (op->place == BENCH_PINNED)
    run->A.data = run->host_arrays.data;
  if (op->roofline) /* to be checked: what has arrived */
    run->A.data = op->writes ? run->out : run->work;
  return CSRN_OK;
}

void bench_host_destroy(bench_run *run) {
  bench_host *h = &run->host_arrays;
  csrn_host_buffer_release(run->ctx, h->data, data_bytes(run) + 1);
  csrn_host_buffer_release(run->ctx, h->out[BENCH_PINNED], out_bytes(run) + 1);
  free(h->out[BENCH_PAGEABLE]);
  free(h->factors);
  *h = (bench_host){0};
}

csrn_status bench_run_link(bench_run *run) {
  size_t bytes = data_bytes(run);
  return csrn_buffer_exchange(run->ctx, run->work, run->host_arrays.data, run->op->reads ? bytes : 0,
                              run->out, run->whole.data, run->op->writes ? bytes : 0);
}
