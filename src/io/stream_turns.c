/*
 * The order of writing in the streaming engine. Units end in any order, and are written in that of their
 * numbers. A worker does not wait for its turn, since a thread that sleeps may wake up late or on a processor
 * that another has: what it has coded it leaves as a parcel, in buffers that it exchanges for empty ones, and
 * whoever brings the unit whose turn it is writes that and all parcels that follow it. It waits only where it
 * is so far ahead that there is no place for another parcel, or for what libhdf5 itself codes and writes.
 */
#include "stream.h"

#include <stdlib.h>

static csrn_stream_parcel *parcel_of(const csrn_stream_pool *pool, int64_t unit) {
  return &pool->parcels[unit % pool->n_parcels];
}

static void exchange(csrn_stream_block *a, csrn_stream_block *b) {
  const csrn_stream_block kept = *a;
  *a = *b;
  *b = kept;
}

/* With the lock of the state; false if a unit has failed. */
static bool await(csrn_stream_worker *worker, int64_t turn) {
  csrn_stream_pool *pool = worker->pool;
  worker->awaited = turn;
  while (pool->turn < turn && !pool->status)
    pthread_cond_wait(&worker->turned, &pool->state);
  worker->awaited = -1;
  return !pool->status;
}

/* The next turn. */
static void advance(csrn_stream_pool *pool) {
  pool->turn++;
  for (int i = 0; i < pool->n_workers; i++)
    if (pool->workers[i].awaited >= 0 && pool->workers[i].awaited <= pool->turn)
      pthread_cond_signal(&pool->workers[i].turned);
}

static csrn_io_status write_parcel(csrn_stream_worker *worker, const csrn_stream_parcel *parcel) {
  csrn_stream_lock(worker);
  csrn_io_status status = csrn_stream_store(worker, parcel->array, parcel->first, parcel->n, NULL);
  csrn_stream_unlock(worker);
  return status ? status : csrn_stream_send(worker, parcel->array, parcel->n);
}

/* Writes all parcels whose turn has come, unless another worker does. With the lock of the state, which is
 * given back meanwhile. */
static void write_parcels(csrn_stream_worker *worker) {
  csrn_stream_pool *pool = worker->pool;
  csrn_stream_parcel *parcel;
  while (!pool->writing && !pool->status && (parcel = parcel_of(pool, pool->turn))->array) {
    const csrn_stream_parcel written = *parcel;
    exchange(&worker->buffers[CSRN_STREAM_CODED], &parcel->coded);
    exchange(&worker->buffers[CSRN_STREAM_TABLE], &parcel->table);
    parcel->array = NULL;
    pool->writing = true;
    pthread_mutex_unlock(&pool->state);
    const csrn_io_status status = write_parcel(worker, &written);
    pthread_mutex_lock(&pool->state);
    pool->writing = false;
    if (status)
      csrn_stream_note_failure(pool, pool->turn, status, &worker->error);
    else
      advance(pool);
  }
}

csrn_io_status csrn_stream_deliver(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t unit,
                                   int64_t first, int64_t n) {
  csrn_stream_pool *pool = worker->pool;
  pthread_mutex_lock(&pool->state);
  const bool goes_on = await(worker, unit - pool->n_parcels + 1);
  if (goes_on) {
    csrn_stream_parcel *parcel = parcel_of(pool, unit);
    parcel->array = array;
    parcel->first = first;
    parcel->n = n;
    exchange(&worker->buffers[CSRN_STREAM_CODED], &parcel->coded);
    exchange(&worker->buffers[CSRN_STREAM_TABLE], &parcel->table);
    write_parcels(worker);
  }
  pthread_mutex_unlock(&pool->state);
  return goes_on ? CSRN_IO_OK : CSRN_IO_FAILED;
}

bool csrn_stream_take_turn(csrn_stream_worker *worker, int64_t unit) {
  csrn_stream_pool *pool = worker->pool;
  pthread_mutex_lock(&pool->state);
  const bool mine = await(worker, unit);
  pthread_mutex_unlock(&pool->state);
  if (mine)
    csrn_stream_lock(worker);
  return mine;
}

void csrn_stream_end_turn(csrn_stream_worker *worker) {
  csrn_stream_pool *pool = worker->pool;
  csrn_stream_unlock(worker);
  pthread_mutex_lock(&pool->state);
  advance(pool);
  write_parcels(worker);
  pthread_mutex_unlock(&pool->state);
}
