/*
 * Workers of the streaming engine. The calling thread is one of them; the others are
 * threads for the time of a run. A unit stays with its worker until it is coded, and
 * what bounds the memory is that a worker begins the next unit only then.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

/* ---- Life -------------------------------------------------------------------- */

static bool create_worker(csrn_stream_pool *pool, csrn_stream_worker *worker, csrn_context *ctx) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.backend = CSRN_BACKEND_CPU;
  options.threads = 1;
  options.isa = csrn_context_isa(ctx);
  worker->pool = pool;
  worker->unit = worker->awaited = -1;
  pthread_cond_init(&worker->turned, NULL);
  worker->coder = csrn_coder_create();
  return worker->coder && csrn_context_create(&options, &worker->ctx) == CSRN_OK;
}

csrn_io_status csrn_stream_pool_create(csrn_stream_pool *pool, csrn_context *ctx,
                                       const csrn_context_options *device, int n_workers,
                                       csrn_io_error *error) {
  memset(pool, 0, sizeof *pool);
  pthread_mutex_init(&pool->file, NULL);
  pthread_mutex_init(&pool->state, NULL);
  pthread_cond_init(&pool->turned, NULL);
  pool->workers = calloc((size_t)n_workers, sizeof *pool->workers);
  pool->n_workers = pool->workers ? n_workers : 0;
  pool->n_parcels = n_workers > 1 ? CSRN_STREAM_PARCELS * n_workers : 1;
  pool->parcels = calloc((size_t)pool->n_parcels, sizeof *pool->parcels);
  bool done = pool->workers && pool->parcels;
  for (int i = 0; done && i < n_workers; i++)
    done = create_worker(pool, &pool->workers[i], ctx);
  return done ? csrn_stream_lanes_create(pool, device, error)
              : csrn_io_fail(error, CSRN_IO_FAILED, "out of memory for %d workers", n_workers);
}

void csrn_stream_pool_destroy(csrn_stream_pool *pool) {
  for (int i = 0; i < pool->n_workers; i++) {
    csrn_stream_worker *worker = &pool->workers[i];
    csrn_context_destroy(worker->ctx);
    csrn_coder_destroy(worker->coder);
    if (worker->pool)
      pthread_cond_destroy(&worker->turned);
    for (size_t b = 0; b < sizeof worker->buffers / sizeof worker->buffers[0]; b++)
      csrn_stream_memory_free(worker, (int)b);
  }
  for (int i = 0; pool->parcels && i < pool->n_parcels; i++) {
    free(pool->parcels[i].coded.bytes);
    free(pool->parcels[i].table.bytes);
  }
  free(pool->parcels);
  free(pool->workers);
  csrn_stream_lanes_destroy(pool);
  pthread_cond_destroy(&pool->turned);
  pthread_mutex_destroy(&pool->state);
  pthread_mutex_destroy(&pool->file);
  memset(pool, 0, sizeof *pool);
}

void *csrn_stream_buffer(csrn_stream_worker *worker, int which, size_t bytes) {
  if (worker->buffers[which].room < bytes || !worker->buffers[which].bytes) {
    csrn_stream_memory_free(worker, which);
    worker->buffers[which].bytes = csrn_stream_memory(worker, which, bytes ? bytes : 1);
    worker->buffers[which].room = worker->buffers[which].bytes ? bytes : 0;
    if (!worker->buffers[which].bytes)
      csrn_io_fail(&worker->error, CSRN_IO_FAILED, "out of memory for a piece of %zu bytes", bytes);
  }
  return worker->buffers[which].bytes;
}

/* ---- Locks ------------------------------------------------------------------- */

void csrn_stream_lock(csrn_stream_worker *worker) {
  pthread_mutex_lock(&worker->pool->file);
  if (!worker->begun)
    csrn_hdf5_begin();
  worker->begun = true;
}

void csrn_stream_unlock(csrn_stream_worker *worker) {
  pthread_mutex_unlock(&worker->pool->file);
}

/* Whether a unit before this one may still read from the source. */
static bool is_behind(const csrn_stream_worker *worker, int source) {
  const csrn_stream_pool *pool = worker->pool;
  for (int i = 0; i < pool->n_workers; i++) {
    const csrn_stream_worker *other = &pool->workers[i];
    if (other->unit >= 0 && other->unit < worker->unit && !(other->passed >> source & 1))
      return true;
  }
  return false;
}

bool csrn_stream_await(csrn_stream_worker *worker, int source) {
  csrn_stream_pool *pool = worker->pool;
  pthread_mutex_lock(&pool->state);
  while (!pool->status && is_behind(worker, source))
    pthread_cond_wait(&pool->turned, &pool->state);
  const bool goes_on = !pool->status;
  pthread_mutex_unlock(&pool->state);
  return goes_on;
}

void csrn_stream_passed(csrn_stream_worker *worker, int source) {
  pthread_mutex_lock(&worker->pool->state);
  worker->passed |= 1U << source;
  pthread_cond_broadcast(&worker->pool->turned);
  pthread_mutex_unlock(&worker->pool->state);
}

/* ---- A run ------------------------------------------------------------------- */

/* The next unit, or -1. */
static int64_t begin_unit(csrn_stream_worker *worker) {
  csrn_stream_pool *pool = worker->pool;
  pthread_mutex_lock(&pool->state);
  const int64_t unit = pool->status || pool->cancelled || pool->next == pool->n_units ? -1 : pool->next++;
  worker->unit = unit;
  worker->passed = 0;
  pthread_mutex_unlock(&pool->state);
  return unit;
}

void csrn_stream_note_failure(csrn_stream_pool *pool, int64_t unit, csrn_io_status status,
                              const csrn_io_error *error) {
  if (pool->status && pool->failed_unit < unit)
    return;
  pool->status = status;
  pool->failed_unit = unit;
  if (error->text[0])
    *pool->error = *error;
  for (int i = 0; i < pool->n_workers; i++)
    if (pool->workers[i].awaited >= 0)
      pthread_cond_signal(&pool->workers[i].turned);
}

static void end_unit(csrn_stream_worker *worker, int64_t unit, csrn_io_status status) {
  csrn_stream_pool *pool = worker->pool;
  static const csrn_io_error interrupted = {"interrupted"};
  pthread_mutex_lock(&pool->state);
  worker->unit = -1;
  if (status)
    csrn_stream_note_failure(pool, unit, status, &worker->error);
  else
    pool->ended++;
  if (!status && !pool->status &&
      !csrn_io_proceed(pool->progress, pool->step,
                       (int64_t)((double)pool->ended / (double)pool->n_units * (double)pool->total),
                       pool->total))
    csrn_stream_note_failure(pool, unit, CSRN_IO_FAILED, &interrupted);
  pthread_cond_broadcast(&pool->turned);
  pthread_mutex_unlock(&pool->state);
}

static void *work(void *arg) {
  csrn_stream_worker *worker = arg;
  csrn_stream_pool *pool = worker->pool;
  worker->begun = false;
  for (int64_t unit; (unit = begin_unit(worker)) >= 0;) {
    worker->error.text[0] = '\0';
    end_unit(worker, unit, pool->work(worker, pool->arg, unit));
  }
  return NULL;
}

csrn_io_status csrn_stream_run(csrn_stream_pool *pool, int64_t n_units, csrn_stream_work todo, void *arg,
                               const char *step, int64_t total, const csrn_io_progress *progress,
                               csrn_io_error *error) {
  pthread_mutex_lock(&pool->state); /* somebody may ask whether a unit has failed */
  pool->work = todo;
  pool->arg = arg;
  pool->n_units = n_units;
  pool->next = pool->ended = pool->turn = 0;
  for (int i = 0; i < pool->n_parcels; i++) /* left where a unit failed */
    pool->parcels[i].array = NULL;
  pool->step = step;
  pool->total = total;
  pool->progress = progress;
  pool->status = CSRN_IO_OK;
  pool->error = error;
  pthread_mutex_unlock(&pool->state);
  pthread_t *threads = calloc((size_t)pool->n_workers, sizeof *threads);
  int n = 0; /* of threads; fewer do as well */
  for (; threads && n + 1 < pool->n_workers && n + 1 < n_units; n++)
    if (pthread_create(&threads[n], NULL, work, &pool->workers[n + 1]) != 0)
      break;
  work(&pool->workers[0]);
  for (int i = 0; i < n; i++)
    pthread_join(threads[i], NULL);
  free(threads);
  return pool->status ? pool->status : pool->ended < n_units ? CSRN_IO_FAILED : CSRN_IO_OK;
}
