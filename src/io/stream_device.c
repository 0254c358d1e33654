/*
 * A device in the streaming engine. It is given a unit at a time, by the public API and as matrices in host
 * memory, which the library sends there in chunks. A worker holds a context of the device no longer than a
 * call takes, so that the others read, decode, code and write meanwhile, and there are few contexts. What
 * travels lies in pinned memory of the workers, from which it goes as it is.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

/* Memory of the device that the chunks of a context may take, and with it as much pinned memory of the host:
 * four chunks of 65,536 values and more, the least that the library cuts a matrix into, with their columns.
 */
enum { LANE_BYTES = 4 << 20 };

/* ---- Contexts -------------------------------------------------------------------- */

csrn_io_status csrn_stream_lanes_create(csrn_stream_pool *pool, const csrn_context_options *device,
                                        csrn_io_error *error) {
  const int n = pool->n_workers < CSRN_STREAM_LANES ? pool->n_workers : CSRN_STREAM_LANES;
  for (int i = 0; device && i < n; i++) {
    csrn_stream_lane *lane = &pool->lanes[i];
    csrn_context_options options = *device;
    options.threads = 1; /* the CPU's threads are the workers */
    options.device_memory = LANE_BYTES;
    if (csrn_context_create(&options, &lane->ctx))
      return csrn_io_fail(error, CSRN_IO_FAILED, "%s", csrn_error_detail(NULL));
    pthread_mutex_init(&lane->busy, NULL);
    pool->n_lanes++;
  }
  for (int i = 0; pool->n_lanes > 0 && i < pool->n_workers; i++)
    pool->workers[i].lane = &pool->lanes[i % pool->n_lanes];
  return CSRN_IO_OK;
}

void csrn_stream_lanes_destroy(csrn_stream_pool *pool) {
  for (int i = 0; i < pool->n_lanes; i++) {
    csrn_context_destroy(pool->lanes[i].ctx);
    pthread_mutex_destroy(&pool->lanes[i].busy);
  }
  pool->n_lanes = 0;
}

/* Pinned memory of the chunks; of each call, three marks for each column, and some for rows. */
int64_t csrn_stream_device_bytes(int64_t n_cols) {
  const int64_t rows = 1 << 20;
  return CSRN_STREAM_LANES * (LANE_BYTES + 3 * n_cols + rows);
}

/* ---- Calls ----------------------------------------------------------------------- */

csrn_context *csrn_stream_take_context(csrn_stream_worker *worker) {
  if (!worker->lane)
    return worker->ctx;
  pthread_mutex_lock(&worker->lane->busy);
  return worker->lane->ctx;
}

csrn_io_status csrn_stream_give_back(csrn_stream_worker *worker, csrn_context *ctx, csrn_status status,
                                     const char *file) {
  const csrn_io_status result = status == CSRN_OK ? CSRN_IO_OK
                                                  : csrn_io_fail(&worker->error, CSRN_IO_FAILED, "%s: %s",
                                                                 file, csrn_error_detail(ctx));
  if (ctx != worker->ctx)
    pthread_mutex_unlock(&worker->lane->busy);
  return result;
}

/* ---- Memory ---------------------------------------------------------------------- */

void *csrn_stream_memory(csrn_stream_worker *worker, int which, size_t bytes) {
  const bool travels = which == CSRN_STREAM_VALUES || which == CSRN_STREAM_COLUMNS ||
                       which == CSRN_STREAM_RESULT || which == CSRN_STREAM_SUMS;
  worker->buffers[which].pinned = worker->lane && travels;
  if (!worker->buffers[which].pinned)
    return malloc(bytes);
  void *memory = NULL;
  csrn_context *ctx = csrn_stream_take_context(worker);
  if (csrn_host_buffer_allocate(ctx, bytes, &memory))
    memory = NULL; /* the caller says so */
  csrn_stream_give_back(worker, ctx, CSRN_OK, "");
  return memory;
}

void csrn_stream_memory_free(csrn_stream_worker *worker, int which) {
  if (!worker->buffers[which].bytes || !worker->buffers[which].pinned) {
    free(worker->buffers[which].bytes);
  } else {
    csrn_context *ctx = csrn_stream_take_context(worker);
    csrn_host_buffer_release(ctx, worker->buffers[which].bytes, worker->buffers[which].room);
    csrn_stream_give_back(worker, ctx, CSRN_OK, "");
  }
  worker->buffers[which].bytes = NULL;
  worker->buffers[which].room = 0;
}
