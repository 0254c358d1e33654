/*
 * The streaming engine: matrices of HDF5 files normalized piece by piece, in an amount of
 * memory that does not grow with the matrix.
 *
 * The values are cut into units of whole chunks. Workers take unit after unit: read its
 * chunks as they lie in the file, decode them, compute through the public API, code the
 * result and write it. libhdf5 is called under one lock, so that while one worker waits for the disk
 * the others compute; writing happens in the order of the units, so that files are laid out
 * the same for every number of threads. What a unit needs is held by one worker from beginning to
 * end, which keeps it in that core's cache and bounds the memory by the number of workers.
 *
 * stream_pool.c has the workers, stream_array.c the chunks, stream_rows.c and stream_load.c the
 * rows and units of a matrix, stream_totals.c the first pass (the totals of rows that may cross
 * units), stream_exclude.c the genes left out, stream_normalize.c the last pass and the whole.
 */
#ifndef CSRN_STREAM_H
#define CSRN_STREAM_H

#include "codec.h"
#include "hdf5_util.h"

#include <pthread.h>

/* ---- stream_pool.c: workers ---- */

typedef struct csrn_stream_pool csrn_stream_pool;

/* What a worker has to itself. */
typedef struct csrn_stream_worker {
  csrn_stream_pool *pool;
  csrn_context *ctx; /* of one thread */
  csrn_coder *coder;
  csrn_io_error error;
  struct {
    void *bytes;
    size_t room;
  } buffers[8]; /* kept from unit to unit */
} csrn_stream_worker;

/* Does unit `unit`: 0 <= unit < n_units; fills worker->error if it fails. */
typedef csrn_io_status (*csrn_stream_work)(csrn_stream_worker *worker, void *arg, int64_t unit);

struct csrn_stream_pool {
  int n_workers;
  csrn_stream_worker *workers;
  pthread_mutex_t file;  /* held around libhdf5 */
  pthread_mutex_t state; /* of all below, and of what the workers of a run share */
  pthread_cond_t turned;
  csrn_stream_work work;
  void *arg;
  int64_t n_units, next;
  int64_t turn; /* units that have ended */
  const csrn_io_progress *progress;
  const char *step;
  int64_t total; /* of progress */
  int64_t failed_unit;
  csrn_io_status status;
  csrn_io_error *error;
};

/* Workers with contexts of the instruction set of `ctx`. */
csrn_io_status csrn_stream_pool_create(csrn_stream_pool *pool, csrn_context *ctx, int n_workers,
                                       csrn_io_error *error);
void csrn_stream_pool_destroy(csrn_stream_pool *pool);

/* Does all units. Returns the failure of the unit of the lowest number that failed; later units may then not
 * have been begun. */
csrn_io_status csrn_stream_run(csrn_stream_pool *pool, int64_t n_units, csrn_stream_work work, void *arg,
                               const char *step, int64_t total, const csrn_io_progress *progress,
                               csrn_io_error *error);

/* Waits until all units before this one have ended, and takes the lock of the file; false, without the lock,
 * if one has failed. Once in every unit of a run, or in none. */
bool csrn_stream_take_turn(csrn_stream_worker *worker, int64_t unit);
void csrn_stream_lock(csrn_stream_worker *worker);
void csrn_stream_unlock(csrn_stream_worker *worker);

/* Buffer `which` of the worker with room for `bytes`; NULL with the error stored. */
void *csrn_stream_buffer(csrn_stream_worker *worker, int which, size_t bytes);

/* ---- stream_array.c: datasets in pieces ---- */

/* An open dataset, read or written in pieces. */
typedef struct csrn_stream_array {
  hid_t id;
  const char *file, *path; /* for messages */
  csrn_dtype type;         /* in memory */
  bool narrow;             /* uint64 in the file, read as int64 */
  int rank;                /* 1, or 2: a dense matrix, whose elements are counted row by row */
  int64_t extent;          /* elements */
  int64_t width;           /* of a row; 1 if there are no rows */
  int64_t tile;            /* width of a chunk */
  int64_t chunk;           /* elements of all chunks side by side that make whole rows; 0: not chunked */
  bool coded;              /* its chunks are coded by `codec`, in the byte order and type of memory */
  bool raw;                /* its chunks are only copied, whatever is in them */
  csrn_codec codec;
} csrn_stream_array;

csrn_io_status csrn_stream_array_init(csrn_stream_array *array, const csrn_hdf5_file *file, hid_t id,
                                      const char *path, csrn_dtype type, bool narrow);

/* Elements [first, first + n), where `first` begins a chunk (and n is whole rows). `values` has room for
 * whole chunks (csrn_stream_padded()). The first half of each is called with the lock of the file, the second
 * without (reading), or the other way round (writing). */
int64_t csrn_stream_padded(const csrn_stream_array *array, int64_t n);
csrn_io_status csrn_stream_fetch(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                 int64_t n, void *values);
csrn_io_status csrn_stream_decode(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                  int64_t n, void *values);
csrn_io_status csrn_stream_encode(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                  int64_t n, void *values);
csrn_io_status csrn_stream_store(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                 int64_t n, const void *values);

/* Instead of the first three where both arrays are `raw`: chunks as they are. */
csrn_io_status csrn_stream_fetch_raw(csrn_stream_worker *worker, const csrn_stream_array *array,
                                     int64_t first, int64_t n);

/* ---- stream_rows.c: rows in pieces ---- */

/* The rows of a matrix, as spans: a row, or 4,096 elements of a longer one (the blocks that row sums are made
 * of), so that what lies across the border of two units is small. */
typedef struct csrn_stream_rows {
  int64_t n_rows, n_cols, nnz;
  bool dense;      /* every element is stored */
  int64_t *indptr; /* [n_rows + 1] */
  int64_t n_spans;
  int64_t *spans; /* [n_spans + 1]; indptr itself where no row is longer */
} csrn_stream_rows;

/* Reads and checks indptr. */
csrn_io_status csrn_stream_rows_read(csrn_stream_rows *rows, const csrn_hdf5_input *input);
void csrn_stream_rows_free(csrn_stream_rows *rows);
/* Bytes for a matrix of that many rows and values. */
int64_t csrn_stream_rows_bytes(int64_t n_rows, int64_t nnz);

/* The first i in [0, n] with starts[i] >= position (starts[n] is the end of the last). */
int64_t csrn_stream_find(const int64_t *starts, int64_t n, int64_t position);

/* How values are cut into units: of `unit` values, but for the last. */
typedef struct csrn_stream_cut {
  int64_t unit, n_units;
} csrn_stream_cut;

/* Values kept in memory between passes: as they are, or as counts of 8 or 16 bits. */
typedef struct csrn_stream_kept {
  void *values; /* NULL: not kept */
  csrn_dtype type;
} csrn_stream_kept;

/* A matrix in a file, as the passes see it. */
typedef struct csrn_stream_matrix {
  csrn_stream_rows rows;
  csrn_stream_array data, indices;
  csrn_stream_cut cut;
  csrn_stream_kept *kept; /* [n_units] */
  int64_t room;           /* bytes left for keeping; of the pool's state */
} csrn_stream_matrix;

/* ---- stream_pack.c ---- */

/* Keeps the n values of a unit, as counts of 8 or 16 bits where they are, if there is room. */
void csrn_stream_keep(csrn_stream_pool *pool, csrn_stream_matrix *matrix, int64_t unit, const void *values,
                      int64_t n);
/* The values that were kept, in the type `type` that they had. */
void csrn_stream_unpack(const csrn_stream_kept *kept, int64_t n, csrn_dtype type, void *values);

/* ---- stream_load.c: units of a matrix ---- */

/* The buffers of a worker, for those who share them. */
enum { CSRN_STREAM_VALUES = 2, CSRN_STREAM_STARTS = 3, CSRN_STREAM_RESULT = 4 };

void csrn_stream_matrix_free(csrn_stream_matrix *matrix);
/* Where unit `unit` begins, and how many values it has. */
int64_t csrn_stream_unit(const csrn_stream_matrix *matrix, int64_t unit, int64_t *n);
/* Reads the values of a unit, in their type, into a buffer of the worker. */
csrn_io_status csrn_stream_read(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                void **values);
/* The same from memory where they were kept, and then perhaps in another type. */
csrn_io_status csrn_stream_load(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                void **values, csrn_dtype *type);
/* Reads the columns of a unit, and checks that there are such. */
csrn_io_status csrn_stream_columns(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                   int32_t **columns);
/* Where the rows of a unit begin in it: the rows from *first on, of which there are *n_rows; the parts of a
 * row that lie in other units are left out. NULL with the error stored. */
int64_t *csrn_stream_starts(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                            int64_t *first, int64_t *n_rows);

/* ---- stream_totals.c, stream_exclude.c: totals ---- */

/* Totals of all rows, to the bit as csrn_axis_sum_excluding() has them. Without a mask this is the first
 * pass, which keeps the values. `exact` becomes false where integers do not fit in parts: in memory they may.
 */
csrn_io_status csrn_stream_totals(csrn_stream_pool *pool, csrn_stream_matrix *matrix, const uint8_t *excluded,
                                  double *totals, bool *exact, const csrn_io_progress *progress,
                                  csrn_io_error *error);
/* The mask of csrn_highly_expressed(), for cells in rows. */
csrn_io_status csrn_stream_highly_expressed(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                            const double *totals, double max_fraction, uint8_t *mask,
                                            const csrn_io_progress *progress, csrn_io_error *error);

/* ---- stream_columns.c: the same of a matrix whose cells are columns ---- */

/* *exact is false, and the totals are not set, where the values are no integers. */
csrn_io_status csrn_stream_column_totals(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                         const uint8_t *excluded, double *totals, bool *exact,
                                         const csrn_io_progress *progress, csrn_io_error *error);
csrn_io_status csrn_stream_highly_expressed_rows(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                                 const double *totals, double max_fraction, uint8_t *mask,
                                                 const csrn_io_progress *progress, csrn_io_error *error);

#endif
