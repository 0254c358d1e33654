/*
 * The pass of the streaming engine that writes: unit after unit of values, computed by whoever
 * calls, into a copy of an .h5ad or into a new one, and along with them the indices: their
 * chunks as they are where the result has the same, else coded anew. A row may be split
 * between two units here.
 */
#include "stream.h"
#include "type_lists.h"

#include <stdlib.h>
#include <string.h>

typedef struct writing {
  csrn_stream_job *job;
  csrn_stream_compute compute;
  void *user;
  const void *factors;
  csrn_stream_array result;
  csrn_stream_array old_indices, indices;
  enum { COPY, RECODE, MAKE } how; /* raw; decoded and coded; from the columns of the matrix */
  bool checked;                /* what is copied raw is decoded, too: all of a file that is new is valid */
  csrn_stream_cut indices_cut; /* no units: somebody else writes the indices */
  double seconds[2];
  const csrn_stream_preparation *preparation;
  bool preparing, apart;     /* preparation is under way; in a thread of its own */
  atomic_bool prepared;      /* it has ended */
  csrn_io_status its_status; /* then */
  csrn_io_error its_error, *error;
  pthread_t thread;
} writing;

/* ---- Units ---------------------------------------------------------------------- */

static csrn_io_status write_unit(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t turn,
                                 int64_t begin, int64_t n, void *values) {
  csrn_io_status status = array->raw ? CSRN_IO_OK : csrn_stream_encode(worker, array, begin, n, values);
  if (status)
    return status;
  if (array->coded || array->raw)
    return csrn_stream_deliver(worker, array, turn, begin, n);
  if (!csrn_stream_take_turn(worker, turn))
    return CSRN_IO_FAILED;
  status = csrn_stream_store(worker, array, begin, n, values);
  csrn_stream_end_turn(worker);
  return status;
}

static csrn_io_status value_unit(csrn_stream_worker *worker, const writing *w, int64_t unit, int64_t turn) {
  int64_t n;
  const int64_t begin = csrn_stream_unit(&w->job->matrix, unit, &n);
  void *result =
      csrn_stream_buffer(worker, CSRN_STREAM_RESULT,
                         (size_t)csrn_stream_padded(&w->result, n) * csrn_dtype_size(w->result.type));
  csrn_io_status status = result ? w->compute(worker, w->user, unit, n, result) : CSRN_IO_FAILED;
  return status ? status : write_unit(worker, &w->result, turn, begin, n, result);
}

/* For each type: n integers as elements of it, which have room for them. */
#define NARROW(DTYPE, TYPE, NAME)                                                                            \
  case DTYPE:                                                                                                \
    for (int64_t i = 0; i < n; i++)                                                                          \
      ((TYPE *)to)[i] = (TYPE)from[i];                                                                       \
    break;

void csrn_stream_narrow_columns(const int32_t *from, int64_t n, csrn_dtype type, void *to) {
  switch (type) {
    INDEX_TYPES(NARROW)
  default:
    break;
  }
}

void csrn_stream_narrow_rows(const int64_t *from, int64_t n, csrn_dtype type, void *to) {
  switch (type) {
    INDEX_TYPES(NARROW)
  default:
    break;
  }
}

/* Indices from the columns of the matrix, whose units are those of the values. */
static csrn_io_status make_indices(csrn_stream_worker *worker, const writing *w, int64_t unit, int64_t n,
                                   void **indices) {
  int32_t *columns = NULL;
  csrn_io_status status = csrn_stream_columns(worker, &w->job->matrix, unit, &columns);
  *indices =
      csrn_stream_buffer(worker, CSRN_STREAM_RESULT,
                         (size_t)csrn_stream_padded(&w->indices, n) * csrn_dtype_size(w->indices.type));
  if (status || !*indices)
    return CSRN_IO_FAILED;
  csrn_stream_narrow_columns(columns, n, w->indices.type, *indices);
  return CSRN_IO_OK;
}

static csrn_io_status index_unit(csrn_stream_worker *worker, const writing *w, int64_t unit, int64_t turn) {
  const csrn_stream_array *from = &w->old_indices, *to = &w->indices;
  const int64_t extent = w->how == MAKE ? w->job->matrix.rows.nnz : from->extent;
  const int64_t begin = unit * w->indices_cut.unit, left = extent - begin;
  const int64_t n = left < w->indices_cut.unit ? left : w->indices_cut.unit;
  void *values = NULL;
  csrn_io_status status = CSRN_IO_OK;
  if (w->how == COPY) {
    csrn_stream_lock(worker);
    status = csrn_stream_fetch_raw(worker, from, begin, n);
    csrn_stream_unlock(worker);
    if (!status && w->checked)
      status = csrn_stream_check_raw(worker, &w->job->matrix, begin, n);
    else if (!status)
      csrn_stream_receive(worker, from, n);
  } else if (w->how == RECODE) {
    status =
        csrn_stream_elements(worker, from, begin, n, csrn_stream_padded(to, n), CSRN_STREAM_VALUES, &values);
  } else {
    status = make_indices(worker, w, unit, n, &values);
  }
  return status ? status : write_unit(worker, to, turn, begin, n, values);
}

/* Units of values and of indices alternate, in proportion to their numbers, so that copying, which leaves
 * the processor idle, goes along with computing. */
static csrn_io_status do_unit(csrn_stream_worker *worker, void *arg, int64_t turn) {
  const writing *w = arg;
  const __int128 n_copies = w->indices_cut.n_units, n_units = w->job->matrix.cut.n_units + n_copies;
  const int64_t copies = (int64_t)(turn * n_copies / n_units); /* before this unit, and with it: */
  const int64_t with_this = (int64_t)((turn + 1) * n_copies / n_units);
  return with_this > copies ? index_unit(worker, w, copies, turn)
                            : value_unit(worker, w, turn - copies, turn);
}

/* ---- Datasets -------------------------------------------------------------------- */

/* Opens a dataset of the result ("": the matrix itself) without a cache of chunks, as it was made. */
static csrn_io_status open_result(const writing *w, const csrn_hdf5_file *file, const char *name,
                                  csrn_dtype type, csrn_stream_array *array) {
  const csrn_stream_job *job = w->job;
  const bool is_new = job->input->description.format != CSRN_IO_H5AD;
  const char *matrix = is_new ? "X" : job->state->matrix;
  char *path = csrn_hdf5_format("%s%s%s", matrix, name[0] ? "/" : "", name);
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS), id = -1;
  if (path && access >= 0 && H5Pset_chunk_cache(access, 0, 0, 0) >= 0)
    id = H5Dopen2(file->id, path, access);
  const char *shown = name[0] ? name : matrix;
  csrn_io_status status = id < 0 ? csrn_hdf5_failed(file, "open", shown)
                                 : csrn_stream_array_init(array, file, id, shown, type, false);
  array->codec.level = job->output->compression == CSRN_IO_COMPRESSION_GZIP ? job->output->level : 0;
  array->id = id;
  csrn_hdf5_close(access);
  free(path);
  return status;
}

/* Whether chunks of one array are chunks of the other. */
static bool same_chunks(const csrn_stream_array *a, const csrn_stream_array *b) {
  return a->coded && b->coded && a->type == b->type && a->chunk == b->chunk && a->extent == b->extent &&
         csrn_codec_equal(&a->codec, &b->codec);
}

/* How the indices get into the result. In a new file they have the storage of its values. */
static int choose_indices(const writing *w) {
  const csrn_stream_job *job = w->job;
  if (job->input->description.format != CSRN_IO_H5AD)
    return !job->matrix.selection.before && same_chunks(&w->old_indices, &w->indices) ? COPY : MAKE;
  const bool raw = csrn_hdf5_indices_in(job->state, job->output) == CSRN_HDF5_INDICES_RAW;
  return raw && w->old_indices.chunk > 0 ? COPY : RECODE;
}

static csrn_io_status open_indices(writing *w, const csrn_hdf5_file *file) {
  const csrn_hdf5_input *input = w->job->state;
  const csrn_hdf5_array *old = &input->indices;
  if (input->dense || (w->job->input->description.format == CSRN_IO_H5AD &&
                       csrn_hdf5_indices_in(input, w->job->output) == CSRN_HDF5_INDICES_COPIED))
    return CSRN_IO_OK;
  csrn_io_status status =
      csrn_stream_array_init(&w->old_indices, &input->file, old->id, old->path, old->type, false);
  if (!status)
    status = open_result(w, file, "indices", old->type, &w->indices);
  if (status)
    return status;
  w->how = choose_indices(w);
  w->checked = w->job->input->description.format != CSRN_IO_H5AD;
  w->old_indices.raw = w->indices.raw = w->how == COPY;
  const int64_t chunk = w->old_indices.chunk ? w->old_indices.chunk : w->indices.chunk;
  const csrn_stream_cut *cut = &w->job->matrix.cut;
  w->indices_cut =
      w->how == MAKE ? *cut
                     : csrn_stream_cut_of(w->old_indices.extent, csrn_stream_whole_chunks(cut->unit, chunk));
  return CSRN_IO_OK;
}

/* ---- Meanwhile ------------------------------------------------------------------- */

static void *prepare(void *arg) {
  writing *w = arg;
  w->its_status = w->preparation->prepare(w->user);
  atomic_store(&w->prepared, true);
  return NULL;
}

/* Until end_preparing() the lock of the file is the caller's, so that he can copy; the places of the values
 * are known to the workers. */
static void begin_preparing(writing *w) {
  csrn_stream_job *job = w->job;
  csrn_stream_worker *worker = &job->pool.workers[0];
  if (!w->preparation)
    return;
  w->error = job->error;
  job->error = &w->its_error;
  w->preparing = true;
  csrn_stream_lock(worker);
  csrn_stream_survey(worker, &job->matrix.data);
  w->apart = pthread_create(&w->thread, NULL, prepare, w) == 0;
  if (w->apart)
    return;
  csrn_stream_unlock(worker);
  prepare(w);
}

/* What fails in both is told as the preparation has it. */
static csrn_io_status end_preparing(writing *w, csrn_io_status copied) {
  csrn_stream_pool *pool = &w->job->pool;
  if (!w->preparing)
    return copied;
  w->preparing = false;
  pthread_mutex_lock(&pool->state);
  pool->cancelled = copied != CSRN_IO_OK;
  pthread_mutex_unlock(&pool->state);
  if (w->apart) {
    pthread_mutex_unlock(&pool->file);
    pthread_join(w->thread, NULL);
  }
  w->job->error = w->error;
  if (w->its_error.text[0])
    *w->error = w->its_error;
  return w->its_status ? w->its_status : copied;
}

/* Progress of copying: nothing is to be seen of it while there is progress of the preparation. */
static int report_copying(void *user, const char *step, int64_t done, int64_t total) {
  writing *w = user;
  csrn_stream_pool *pool = &w->job->pool;
  if (!w->preparing)
    return !csrn_io_proceed(w->job->progress, step, done, total);
  if (atomic_load(&w->prepared)) /* if it has failed, a copy is of no use */
    return w->its_status || !csrn_io_proceed(w->job->progress, step, done, total);
  pthread_mutex_lock(&pool->state);
  const int stops = pool->status != CSRN_IO_OK;
  pthread_mutex_unlock(&pool->state);
  return stops;
}

/* ---- The file -------------------------------------------------------------------- */

/* Called when all else has been written. */
static csrn_io_status fill(void *user, const csrn_hdf5_file *file, csrn_io_output *output) {
  writing *w = user;
  const csrn_stream_job *job = w->job;
  const csrn_dtype type = job->plan->out_type;
  csrn_io_status status = end_preparing(w, CSRN_IO_OK);
  if (!status && w->preparation)
    status = w->preparation->finish(w->user, &w->factors);
  const double begin = csrn_stream_now();
  w->result.id = w->indices.id = -1;
  output->factors = w->factors;
  output->factors_type = type;
  if (!status)
    status = open_indices(w, file);
  if (!status)
    status = open_result(w, file, job->state->dense ? "" : "data", type, &w->result);
  if (!status)
    status = csrn_stream_run(&w->job->pool, job->matrix.cut.n_units + w->indices_cut.n_units, do_unit, w,
                             "writing", job->matrix.rows.nnz * (int64_t)csrn_dtype_size(type), job->progress,
                             job->error);
  csrn_hdf5_close(w->result.id);
  csrn_hdf5_close(w->indices.id);
  w->seconds[1] = csrn_stream_now() - begin;
  return status;
}

/* The rows of a new file, in the type that the input has them in. */
static csrn_io_status write_new(writing *w, csrn_io_matrix *matrix, const char *path,
                                const csrn_io_progress *progress, csrn_io_error *error) {
  const csrn_stream_job *job = w->job;
  const csrn_stream_rows *rows = &job->matrix.rows;
  const csrn_dtype type = job->state->indptr.type;
  void *indptr = malloc(((size_t)rows->n_rows + 1) * csrn_dtype_size(type));
  if (!indptr)
    return csrn_stream_no_memory(job, "the rows");
  csrn_stream_narrow_rows(rows->indptr, rows->n_rows + 1, type, indptr);
  matrix->csr.indptr = indptr;
  matrix->csr.indptr_type = type;
  csrn_io_status status =
      csrn_hdf5_write_new(job->input, matrix, job->output, path, fill, w, progress, error);
  free(indptr);
  return status;
}

static csrn_io_status make(void *arg, const char *path, csrn_io_error *error) {
  writing *w = arg;
  const csrn_stream_job *job = w->job;
  const csrn_stream_rows *rows = &job->matrix.rows;
  const csrn_io_description *d = &job->input->description;
  const double begin = csrn_stream_now();
  csrn_io_matrix empty = {.csr = {.n_rows = rows->n_rows,
                                  .n_cols = rows->n_cols,
                                  .nnz = rows->nnz,
                                  .data_type = job->plan->out_type,
                                  .indices_type = job->state->dense ? CSRN_NONE : job->state->indices.type},
                          .cells = d->layout == CSRN_IO_CSC ? CSRN_PER_COLUMN : CSRN_PER_ROW,
                          .dense = job->state->dense};
  const csrn_io_progress progress = {report_copying, w};
  begin_preparing(w);
  csrn_io_status status = d->format == CSRN_IO_H5AD ? csrn_hdf5_write_copy(job->state, &empty, job->output,
                                                                           path, fill, w, &progress, error)
                                                    : write_new(w, &empty, path, &progress, error);
  status = end_preparing(w, status);
  w->seconds[0] = csrn_stream_now() - begin - w->seconds[1];
  return status;
}

/* An .npz has nothing else to be copied. */
static csrn_io_status write_npz(writing *w) {
  const double begin = csrn_stream_now();
  csrn_io_status status = CSRN_IO_OK;
  if (w->preparation)
    status = w->preparation->prepare(w->user);
  if (!status && w->preparation)
    status = w->preparation->finish(w->user, &w->factors);
  const double prepared = csrn_stream_now() - begin;
  if (!status)
    status = csrn_npz_write_pieces(w->job, w->compute, w->user, w->seconds);
  w->seconds[0] += prepared;
  return status;
}

csrn_io_status csrn_stream_write(csrn_stream_job *job, csrn_stream_compute compute, void *user,
                                 const csrn_stream_preparation *preparation, double seconds[2]) {
  writing w = {.job = job, .compute = compute, .user = user, .preparation = preparation};
  csrn_io_status status =
      job->state->npz ? write_npz(&w) : csrn_io_replace(job->output, make, &w, job->error);
  memcpy(seconds, w.seconds, sizeof w.seconds);
  return status;
}
