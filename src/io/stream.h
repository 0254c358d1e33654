/*
 * The streaming engine: matrices of HDF5 files normalized piece by piece, in an amount of
 * memory that does not grow with the matrix.
 *
 * The values are cut into units of whole chunks. Workers take unit after unit: read its
 * chunks as they lie in the file, decode them, compute through the public API, code the
 * result and write it. libhdf5 is called under one lock, and only to find chunks and to make room for them;
 * their bytes are read and written without it. Writing happens in the order of the units, so that files are
 * laid out the same for every number of threads; a worker whose unit is not next leaves it to whoever writes
 * the one before, and goes on. A unit is held by one worker until it is coded, which keeps it in that core's
 * cache and bounds the memory by the number of workers.
 *
 * With a device, what is computed on the values of a unit is computed there, a unit of one or two workers at
 * a time, while the others read, decode, code and write.
 *
 * stream_pool.c has the workers, stream_turns.c the order of writing, stream_device.c a device,
 * stream_array.c the chunks, stream_rows.c, stream_load.c and stream_select.c the rows and units of a matrix,
 * stream_totals.c and stream_columns.c the totals, stream_exclude.c the genes left out, stream_job.c plan and
 * beginning, stream_write.c the pass that writes; stream_normalize.c and stream_axis.c are what is done with
 * all that.
 */
#ifndef CSRN_STREAM_H
#define CSRN_STREAM_H

#include "codec.h"
#include "hdf5_util.h"

#include <pthread.h>

/* ---- stream_pool.c: workers ---- */

typedef struct csrn_stream_pool csrn_stream_pool;

/* A context of a device, for one unit at a time. */
typedef struct csrn_stream_lane {
  csrn_context *ctx;
  pthread_mutex_t busy;
} csrn_stream_lane;

/* While a unit's values travel or are computed on, those of another can. */
enum { CSRN_STREAM_LANES = 2 };

typedef struct csrn_stream_block {
  void *bytes;
  size_t room;
  bool pinned;
} csrn_stream_block;

/* A unit that is coded, and waits for its turn to be written. */
typedef struct csrn_stream_parcel {
  const struct csrn_stream_array *array; /* NULL: there is none */
  int64_t first, n;
  csrn_stream_block coded, table;
} csrn_stream_parcel;

/* Of each worker: so that, while one has lost its processor to another program, the others go on. */
enum { CSRN_STREAM_PARCELS = 2 };

/* What a worker has to itself. */
typedef struct csrn_stream_worker {
  csrn_stream_pool *pool;
  csrn_context *ctx;      /* of the CPU, and one thread */
  csrn_stream_lane *lane; /* shared; NULL: there is no device */
  csrn_coder *coder;
  bool begun;      /* this thread has called csrn_hdf5_begin(), or its file is not HDF5 */
  int64_t unit;    /* being done; -1: none */
  int64_t awaited; /* the turn that it waits for; -1: none; of the pool's state, as the next */
  unsigned passed; /* of that: a bit for each source; both of the pool's state */
  pthread_cond_t turned;
  csrn_io_error error;
  csrn_stream_block buffers[11]; /* kept from unit to unit */
} csrn_stream_worker;

/* Does unit `unit`: 0 <= unit < n_units; fills worker->error if it fails. */
typedef csrn_io_status (*csrn_stream_work)(csrn_stream_worker *worker, void *arg, int64_t unit);

struct csrn_stream_pool {
  int n_workers, n_lanes, n_parcels;
  csrn_stream_worker *workers;
  csrn_stream_lane lanes[CSRN_STREAM_LANES];
  bool columns_on_cpu;   /* sums of columns that a device could not take: they were none of counts */
  pthread_mutex_t file;  /* held around libhdf5 */
  pthread_mutex_t state; /* of all below, and of what the workers of a run share */
  pthread_cond_t turned;
  csrn_stream_work work;
  void *arg;
  int64_t n_units, next;
  int64_t ended; /* units */
  int64_t turn;  /* the unit that is written next, where units take turns */
  csrn_stream_parcel
      *parcels;   /* [n_parcels] of the units `turn` and after, each at its number modulo n_parcels */
  bool writing;   /* a worker writes parcels */
  bool cancelled; /* no unit is begun any more */
  const csrn_io_progress *progress;
  const char *step;
  int64_t total; /* of progress */
  int64_t failed_unit;
  csrn_io_status status;
  csrn_io_error *error;
};

/* Workers with contexts of the instruction set of `ctx`, and contexts of a device, like `device`, if that is
 * not NULL. */
csrn_io_status csrn_stream_pool_create(csrn_stream_pool *pool, csrn_context *ctx,
                                       const csrn_context_options *device, int n_workers,
                                       csrn_io_error *error);
void csrn_stream_pool_destroy(csrn_stream_pool *pool);

/* Does all units. Returns the failure of the unit of the lowest number that failed; later units may then not
 * have been begun. */
csrn_io_status csrn_stream_run(csrn_stream_pool *pool, int64_t n_units, csrn_stream_work work, void *arg,
                               const char *step, int64_t total, const csrn_io_progress *progress,
                               csrn_io_error *error);

/* For what can only be read from the beginning on, such as the sources 0 and 1: waits until all units before
 * this one have read theirs of it, or have ended; false if one has failed. And says that this one has.
 * Whoever reads out of turn gets the same, by beginning anew. */
bool csrn_stream_await(csrn_stream_worker *worker, int source);
void csrn_stream_passed(csrn_stream_worker *worker, int source);
void csrn_stream_lock(csrn_stream_worker *worker);
void csrn_stream_unlock(csrn_stream_worker *worker);

/* Stores a failure of a unit, unless one of a unit before is known; with the lock of the state. */
void csrn_stream_note_failure(csrn_stream_pool *pool, int64_t unit, csrn_io_status status,
                              const csrn_io_error *error);

/* Buffer `which` of the worker with room for `bytes`; NULL with the error stored. */
void *csrn_stream_buffer(csrn_stream_worker *worker, int which, size_t bytes);

/* ---- stream_device.c: a device ---- */

csrn_io_status csrn_stream_lanes_create(csrn_stream_pool *pool, const csrn_context_options *device,
                                        csrn_io_error *error);
void csrn_stream_lanes_destroy(csrn_stream_pool *pool);
/* Bytes of memory of the host that a device takes for matrices of so many columns. */
int64_t csrn_stream_device_bytes(int64_t n_cols);

/* The context that computes on the values of a unit, to be given back with what its call has returned. That
 * becomes an error which names `file`; nothing with the lock of the file, and no buffer, is asked for in
 * between.
 */
csrn_context *csrn_stream_take_context(csrn_stream_worker *worker);
csrn_io_status csrn_stream_give_back(csrn_stream_worker *worker, csrn_context *ctx, csrn_status status,
                                     const char *file);

/* Memory for buffer `which`: pinned if what is in it travels to the device, or comes from there. */
void *csrn_stream_memory(csrn_stream_worker *worker, int which, size_t bytes);
void csrn_stream_memory_free(csrn_stream_worker *worker, int which);

/* ---- stream_array.c: datasets in pieces ---- */

/* The buffers in which the chunks of a piece lie as in the file, and where each lies. */
enum { CSRN_STREAM_CODED = 0, CSRN_STREAM_TABLE = 1 };

/* Where a chunk lies, in the buffer and in the file; size 0: its values were read already. */
typedef struct csrn_stream_place {
  size_t offset, size;
  csrn_hdf5_span span;
  uint32_t mask;
} csrn_stream_place;

enum { CSRN_STREAM_SURVEYED = 1 << 15 }; /* chunks at most */

/* An open dataset, read or written in pieces. */
typedef struct csrn_stream_array {
  hid_t id;
  const char *file, *path; /* for messages */
  const csrn_hdf5_fault *fault;
  csrn_dtype type; /* in memory */
  bool narrow;     /* uint64 in the file, read as int64 */
  int rank;        /* 1, or 2: a dense matrix, whose elements are counted row by row */
  int64_t extent;  /* elements */
  int64_t width;   /* of a row; 1 if there are no rows */
  int64_t tile;    /* width of a chunk */
  int64_t chunk;   /* elements of all chunks side by side that make whole rows; 0: not chunked */
  bool coded;      /* its chunks are coded by `codec`, in the byte order and type of memory */
  bool raw;        /* its chunks are only copied, whatever is in them */
  csrn_codec codec;
  csrn_stream_place *places;      /* of all its chunks, found beforehand; NULL: they are not */
  struct csrn_npz_member *member; /* of an .npz, which has no dataset: read in order; else NULL */
} csrn_stream_array;

csrn_io_status csrn_stream_array_init(csrn_stream_array *array, const csrn_hdf5_file *file, hid_t id,
                                      const char *path, csrn_dtype type, bool narrow);

/* Elements [first, first + n), where `first` begins a chunk (and n is whole rows). `values` has room for
 * whole chunks (csrn_stream_padded()). Only what is done with libhdf5 is called with the lock of the file:
 * fetch, then decode without; encode without, store, and then send without. */
int64_t csrn_stream_padded(const csrn_stream_array *array, int64_t n);
csrn_io_status csrn_stream_fetch(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                 int64_t n, void *values);
csrn_io_status csrn_stream_decode(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                  int64_t n, void *values);
csrn_io_status csrn_stream_encode(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                  int64_t n, void *values);
csrn_io_status csrn_stream_store(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                 int64_t n, const void *values);
csrn_io_status csrn_stream_send(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t n);

/* Finds all chunks beforehand, if there are not too many and nothing is wrong with them: csrn_stream_fetch()
 * then needs no lock. With the lock. */
void csrn_stream_survey(csrn_stream_worker *worker, csrn_stream_array *array);

/* Instead of the first three where both arrays are `raw`: chunks as they are; fetch, and then receive without
 * the lock. */
csrn_io_status csrn_stream_fetch_raw(csrn_stream_worker *worker, const csrn_stream_array *array,
                                     int64_t first, int64_t n);
void csrn_stream_receive(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t n);

/* ---- stream_turns.c: writing in the order of the units ---- */

/* Waits until all units before this one have been written, and takes the lock of the file; false, without the
 * lock, if one has failed. Once in every unit of a run, or csrn_stream_deliver(), or in none of them. */
bool csrn_stream_take_turn(csrn_stream_worker *worker, int64_t unit);
void csrn_stream_end_turn(csrn_stream_worker *worker);
/* Has elements [first, first + n) of an array, which are encoded, or fetched where it is `raw`, written when
 * it is the unit's turn: now, or later by another worker. */
csrn_io_status csrn_stream_deliver(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t unit,
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
/* The same rows with other elements: takes over indptr, of which the last element is the new nnz. */
csrn_io_status csrn_stream_rows_replace(csrn_stream_rows *rows, const csrn_hdf5_input *input, int64_t *indptr,
                                        int64_t n_cols);
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

/* Where some of the columns are the matrix: what the file has. */
typedef struct csrn_stream_selection {
  const int64_t *column_of; /* as in csrn_hdf5_input */
  int64_t n_cols, nnz;      /* in the file */
  csrn_stream_cut cut;      /* of the file's values */
  int64_t *before;          /* [n_units + 1] selected values before each of these units; NULL: all are */
} csrn_stream_selection;

/* A matrix in a file, as the passes see it. */
typedef struct csrn_stream_matrix {
  csrn_stream_rows rows;
  csrn_stream_array data, indices;
  csrn_stream_selection selection;
  csrn_stream_cut cut;
  csrn_stream_kept *kept; /* [n_units] */
  int64_t room;           /* bytes left for keeping; of the pool's state */
} csrn_stream_matrix;

/* ---- npz_pieces.c: matrices of .npz files ---- */

/* What the engine takes an input for. */
csrn_hdf5_input *csrn_stream_state(const csrn_io_input *input);
/* Whether the cells are the columns of the matrix as it is stored. */
bool csrn_stream_cells_are_columns(const csrn_io_input *input);
/* Of the values as they lie in the file. */
int64_t csrn_npz_stored_bytes(const csrn_hdf5_input *input);
csrn_io_status csrn_npz_rows(const csrn_hdf5_input *input, void **indptr);
/* The arrays of the values and of the indices. */
void csrn_npz_arrays(const csrn_hdf5_input *input, csrn_stream_array *data, csrn_stream_array *indices);
/* csrn_stream_elements() for them. */
csrn_io_status csrn_npz_elements(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t begin,
                                 int64_t n, void *elements);

/* ---- stream_pack.c ---- */

/* Keeps the n values of a unit, as counts of 8 or 16 bits where they are, if there is room. */
void csrn_stream_keep(csrn_stream_pool *pool, csrn_stream_matrix *matrix, int64_t unit, const void *values,
                      int64_t n);
/* The values that were kept, in the type `type` that they had. */
void csrn_stream_unpack(const csrn_stream_kept *kept, int64_t n, csrn_dtype type, void *values);

/* ---- stream_load.c: units of a matrix ---- */

/* The buffers of a worker, for those who share them. */
enum {
  CSRN_STREAM_VALUES = 2,
  CSRN_STREAM_STARTS = 3,
  CSRN_STREAM_RESULT = 4,
  CSRN_STREAM_COLUMNS = 6,
  CSRN_STREAM_SOURCE = 8,
  CSRN_STREAM_SOURCE_COLUMNS = 9,
  CSRN_STREAM_SUMS = 10
};

void csrn_stream_matrix_free(csrn_stream_matrix *matrix);
csrn_stream_cut csrn_stream_cut_of(int64_t nnz, int64_t unit);
/* Where unit `unit` begins, and how many values it has. */
int64_t csrn_stream_unit(const csrn_stream_matrix *matrix, int64_t unit, int64_t *n);
/* Elements [begin, begin + n) of an array, where `begin` begins a chunk, into a buffer of the worker that has
 * room for `room` of them and for whole chunks. */
csrn_io_status csrn_stream_elements(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t begin,
                                    int64_t n, int64_t room, int buffer, void **elements);
/* The columns of values [begin, begin + n) of the file, all of which are columns of a matrix of n_cols. */
csrn_io_status csrn_stream_stored_columns(csrn_stream_worker *worker, const csrn_stream_matrix *matrix,
                                          int64_t begin, int64_t n, int64_t n_cols, int buffer,
                                          int32_t **columns);
/* Reads the values of a unit, in their type, into a buffer of the worker. */
csrn_io_status csrn_stream_read(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                void **values);
/* The same from memory where they were kept, and then perhaps in another type. */
csrn_io_status csrn_stream_load(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                void **values, csrn_dtype *type);
/* Reads the columns of a unit, and checks that there are such. */
csrn_io_status csrn_stream_columns(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                   int32_t **columns);
/* Checks the indices [begin, begin + n) that csrn_stream_fetch_raw() has fetched, where they are `coded`. */
csrn_io_status csrn_stream_check_raw(csrn_stream_worker *worker, const csrn_stream_matrix *matrix,
                                     int64_t begin, int64_t n);
/* Where the rows of a unit begin in it: the rows from *first on, of which there are *n_rows; the parts of a
 * row that lie in other units are left out. NULL with the error stored. */
int64_t *csrn_stream_starts(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                            int64_t *first, int64_t *n_rows);

/* ---- stream_select.c: some of the columns ---- */

/* Makes the matrix that of the selected columns. One pass over the indices. */
csrn_io_status csrn_stream_select(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                  const csrn_hdf5_input *input, int64_t n_selected,
                                  const csrn_io_progress *progress, csrn_io_error *error);
/* Values (in their type) and columns of a unit; either may be NULL. */
csrn_io_status csrn_stream_read_selected(csrn_stream_worker *worker, const csrn_stream_matrix *matrix,
                                         int64_t unit, void **values, int32_t **columns);

/* ---- stream_totals.c, stream_exclude.c: totals ---- */

/* Sums of all rows, to the bit as csrn_axis_sum_excluding() has them, of sums_type (f64, or for integers also
 * i64 or u64). Without a mask this is the first pass, which keeps the values. `exact` becomes false where
 * integers do not fit in parts: in memory they may. */
csrn_io_status csrn_stream_totals(csrn_stream_pool *pool, csrn_stream_matrix *matrix, const uint8_t *excluded,
                                  void *totals, csrn_dtype sums_type, bool *exact,
                                  const csrn_io_progress *progress, csrn_io_error *error);
/* Stores a sum of integers of data_type; false if it does not fit that type's 64 bits or sums_type. */
bool csrn_stream_store_sum(__int128 sum, csrn_dtype data_type, csrn_dtype sums_type, void *sums, int64_t i);
/* The mask of csrn_highly_expressed(), for cells in rows. */
csrn_io_status csrn_stream_highly_expressed(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                            const double *totals, double max_fraction, uint8_t *mask,
                                            const csrn_io_progress *progress, csrn_io_error *error);

/* ---- stream_columns.c, stream_reals.c: the same of a matrix whose cells are columns ---- */

/* Bytes that a worker sums the columns in. */
int64_t csrn_stream_column_bytes(csrn_dtype data_type, int64_t n_cols);
csrn_io_status csrn_stream_column_totals(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                         const uint8_t *excluded, void *totals, csrn_dtype sums_type,
                                         bool *exact, const csrn_io_progress *progress, csrn_io_error *error);
csrn_io_status csrn_stream_highly_expressed_rows(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                                 const double *totals, double max_fraction, uint8_t *mask,
                                                 const csrn_io_progress *progress, csrn_io_error *error);
/* Sums of columns of reals that are no counts. */
csrn_io_status csrn_stream_column_reals(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                        const uint8_t *excluded, double *totals,
                                        const csrn_io_progress *progress, csrn_io_error *error);

/* ---- stream_job.c: plan and beginning ---- */

/* What shall be done, as far as a plan depends on it. */
typedef struct csrn_stream_request {
  int64_t memory, unit;         /* as in csrn_io_normalization */
  const csrn_io_output *output; /* NULL: no file */
  const csrn_context_options *device;
  int parts; /* of csrn_io_part */
  int passes;
  bool by_column;    /* columns are summed */
  bool with_columns; /* columns are looked at */
} csrn_stream_request;

csrn_io_status csrn_stream_plan(csrn_io_input *input, csrn_context *ctx, const csrn_stream_request *request,
                                csrn_io_plan *plan, csrn_io_error *error);

typedef struct csrn_stream_job {
  csrn_io_input *input;
  csrn_hdf5_input *state; /* of input */
  csrn_context *ctx;
  const csrn_io_output *output;
  const csrn_context_options *device; /* as in csrn_io_normalization */
  const csrn_io_plan *plan;
  const csrn_io_progress *progress;
  csrn_io_error *error;
  bool looks_at_columns; /* the pass that writes does, at all of them */
  csrn_stream_pool pool;
  csrn_stream_matrix matrix;
} csrn_stream_job;

/* Workers and matrix of a job whose first members are set; always to be followed by csrn_stream_end(). */
csrn_io_status csrn_stream_begin(csrn_stream_job *job);
/* What becomes of `status`: a failure, too, if the system refused to read the input. */
csrn_io_status csrn_stream_end(csrn_stream_job *job, csrn_io_status status);
/* "FILE: out of memory for ..." */
csrn_io_status csrn_stream_no_memory(const csrn_stream_job *job, const char *object);
double csrn_stream_now(void); /* seconds */
/* Whole chunks, of about as many values as asked for; chunk 0: there are none. */
int64_t csrn_stream_whole_chunks(int64_t wanted, int64_t chunk);

/* ---- stream_write.c: the pass that writes ---- */

/* The values of a unit, n of them, of the type that is written. */
typedef csrn_io_status (*csrn_stream_compute)(csrn_stream_worker *worker, const void *user, int64_t unit,
                                              int64_t n, void *result);

/* What is to be known before values are computed. */
typedef struct csrn_stream_preparation {
  /* Passes over the values; in a thread of its own, while all else is copied. */
  csrn_io_status (*prepare)(void *user);
  /* What is left of it then; *factors as of csrn_io_output. */
  csrn_io_status (*finish)(void *user, const void **factors);
} csrn_stream_preparation;

/* Writes the output: a copy of the input, or a new file of its matrix, with the computed values. NULL:
 * nothing is to be prepared. seconds[0]: preparing and copying all else, seconds[1]: computing and writing.
 */
csrn_io_status csrn_stream_write(csrn_stream_job *job, csrn_stream_compute compute, void *user,
                                 const csrn_stream_preparation *preparation, double seconds[2]);
/* The same from .npz to .npz. */
csrn_io_status csrn_npz_write_pieces(csrn_stream_job *job, csrn_stream_compute compute, const void *user,
                                     double seconds[2]);
/* Integers as elements of a type that has room for them. */
void csrn_stream_narrow_columns(const int32_t *from, int64_t n, csrn_dtype type, void *to);
void csrn_stream_narrow_rows(const int64_t *from, int64_t n, csrn_dtype type, void *to);

#endif
