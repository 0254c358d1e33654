/*
 * The streaming engine as a whole: a plan that fits the memory allowed, the first pass for the
 * totals, the target from them, and the second pass, which writes the values into a copy
 * of the file. A row may be split between two units there, since its total is known.
 */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  UNIT = 1 << 17,   /* values: read and written they fit the cache of a core */
  SPARE_WORKERS = 1 /* so that all threads compute while one waits for the disk */
};

typedef struct job {
  csrn_hdf5_input *input;
  csrn_context *ctx;
  const csrn_io_output *output;
  csrn_io_normalization *n;
  const csrn_io_progress *progress;
  csrn_io_error *error;
  csrn_stream_pool pool;
  csrn_stream_matrix matrix;
  csrn_stream_array result;
  csrn_stream_array old_indices, indices; /* for copying */
  csrn_stream_cut indices_cut;
  csrn_normalize_options options;
  bool by_column; /* the cells are the columns: CSC */
  int64_t n_cells;
  double *totals;
  int64_t n_excluded;
  void *factors;
} job;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- The plan ---------------------------------------------------------------- */

static int64_t quarter_of_memory(void) {
  const long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && bytes > 0 ? (int64_t)pages * bytes / 4 : (int64_t)1 << 30;
}

/* Whole chunks, of about as many values as asked for; chunk 0: there are none. */
static int64_t whole_chunks(int64_t wanted, int64_t chunk) {
  return chunk == 0 ? wanted : wanted <= chunk ? chunk : wanted / chunk * chunk;
}

/* The chunks of the result are those of the input, where it has any. */
static int64_t choose_unit(const csrn_hdf5_input *input, int64_t wanted) {
  const csrn_hdf5_array *data = &input->data;
  hsize_t chunk[2] = {data->chunk[0], data->chunk[1]};
  if (chunk[0] == 0)
    csrn_hdf5_default_chunk(data->rank, data->extent, chunk);
  return whole_chunks(wanted, (int64_t)chunk[0] * (input->dense ? input->n_cols : 1));
}

/* Rounded up; a file may claim sizes whose products no integer holds. */
static int64_t as_bytes(double bytes) {
  return bytes < 0x1p60 ? (int64_t)bytes + 1 : (int64_t)1 << 60;
}

static int64_t index_chunk(const csrn_hdf5_input *input) {
  return input->dense ? 0 : (int64_t)input->indices.chunk[0];
}

/* Of a worker: a unit as it is, as it lies in the files, and the result; its rows; its columns where they are
 * needed, or to be written anew: with the chunks that they share with their neighbours. */
static double worker_bytes(const csrn_hdf5_input *input, csrn_dtype out_type, int64_t unit, bool by_column,
                           bool with_columns, bool recodes) {
  const double value = (double)csrn_dtype_size(input->data.type), out = (double)csrn_dtype_size(out_type);
  const double rows = input->nnz > 0 ? (double)input->n_rows / (double)input->nnz * (double)unit : 0;
  const double index = input->dense ? 0 : (double)csrn_dtype_size(input->indices.type);
  const double n = (double)unit, chunk = (double)index_chunk(input), longer = chunk > n ? chunk : n;
  const double span = chunk > n ? 2 * chunk : n + chunk;
  const double read = with_columns ? span * 2 * index + n * (4 + 8) : 0;
  const double written = recodes ? longer * 2 * index : 0;
  const double sums = by_column ? (double)input->n_cols * sizeof(int64_t) : 0;
  return n * (value + out + 2 * (value > out ? value : out)) + (read > written ? read : written) + rows * 48 +
         sums + (1 << 20);
}

/* Of all: rows and spans, totals, and what the target is found with. */
static double shared_bytes(const csrn_hdf5_input *input, int64_t n_cells) {
  return (double)csrn_stream_rows_bytes(input->n_rows, input->nnz) + (double)n_cells * 32 + (8 << 20);
}

/* How many workers the memory is enough for, at most as many as are wanted; 0: not for one. */
static void choose_workers(csrn_io_plan *plan, double shared, double each, int wanted) {
  const double affordable = ((double)plan->memory_limit - shared) / each;
  plan->n_workers = affordable < 1 ? 0 : affordable < wanted ? (int)affordable : wanted;
  plan->memory = as_bytes(shared + each * (plan->n_workers > 0 ? plan->n_workers : 1));
}

csrn_io_status csrn_io_normalize_plan(csrn_io_input *input, csrn_context *ctx, const csrn_io_output *output,
                                      csrn_io_normalization *n, csrn_io_error *error) {
  csrn_io_plan *plan = &n->plan;
  const csrn_hdf5_input *state = input->state;
  const bool by_column = input->description.layout == CSRN_IO_CSC;
  memset(plan, 0, sizeof *plan);
  plan->streams = input->description.format == CSRN_IO_H5AD &&
                  (input->description.layout == CSRN_IO_CSR || input->description.layout == CSRN_IO_CSC ||
                   (input->description.layout == CSRN_IO_DENSE && state->nnz > 0)) &&
                  (!output->path || csrn_io_output_format(output->path) == (int)CSRN_IO_H5AD) &&
                  csrn_context_backend(ctx) == CSRN_BACKEND_CPU && state->n_cols <= INT32_MAX;
  if (!plan->streams)
    return CSRN_IO_OK;
  csrn_hdf5_begin();
  plan->out_type = state->data.type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
  plan->passes = n->options->exclude_highly_expressed ? 4 : 2;
  const bool with_columns = by_column || n->options->exclude_highly_expressed;
  int64_t wanted = n->unit > 0 ? n->unit : UNIT;
  if (with_columns && n->unit <= 0 && index_chunk(state) > wanted)
    wanted = index_chunk(state); /* a chunk is decoded for every unit that has a part of it */
  plan->unit = choose_unit(state, wanted);
  plan->memory_limit = n->memory > 0 ? n->memory : quarter_of_memory();
  plan->read_bytes = (int64_t)H5Dget_storage_size(state->data.id);
  choose_workers(plan, shared_bytes(state, input->description.n_cells),
                 worker_bytes(state, plan->out_type, plan->unit, by_column, with_columns,
                              output->compression != CSRN_IO_COMPRESSION_KEEP),
                 csrn_context_threads(ctx) + SPARE_WORKERS);
  /* Chunks can be larger than the matrix: then it is better in memory as a whole. */
  const int64_t whole = csrn_io_matrix_bytes(&input->description, plan->out_type);
  const bool oversized = plan->n_workers < 1 || (state->dense && plan->unit / 16 > state->nnz);
  if (oversized && whole < plan->memory && whole <= plan->memory_limit) {
    plan->streams = 0;
    return CSRN_IO_OK;
  }
  if (n->memory > 0 && plan->n_workers < 1)
    return csrn_io_fail(error, CSRN_IO_FAILED,
                        "%s: needs %" PRId64 " bytes of memory, more than the %" PRId64 " of --memory",
                        input->path, plan->memory, n->memory);
  if (plan->n_workers < 1)
    plan->n_workers = 1;
  return CSRN_IO_OK;
}

/* ---- The target -------------------------------------------------------------- */

/* Target, factors and report follow from the totals alone: they are those of a matrix that has every total as
 * its row's only value. */
static csrn_io_status find_target(job *j) {
  const int64_t n = j->n_cells;
  const csrn_dtype type = j->n->plan.out_type;
  int64_t *each = malloc(((size_t)n + 1) * sizeof *each);
  void *scaled = malloc((size_t)n * csrn_dtype_size(type) + 1);
  j->factors = malloc((size_t)n * csrn_dtype_size(type) + 1);
  csrn_normalize_options options = *j->n->options;
  options.axis = CSRN_PER_ROW;
  options.exclude_highly_expressed = options.log1p = 0;
  options.log_base = 0;
  options.excluded = NULL;
  csrn_io_status status = CSRN_IO_OK;
  for (int64_t i = 0; each && i <= n; i++)
    each[i] = i;
  const csrn_csr A = {n, 1, n, each, NULL, j->totals, CSRN_I64, CSRN_NONE, CSRN_F64};
  if (!each || !scaled || !j->factors)
    status = csrn_io_fail(j->error, CSRN_IO_FAILED, "%s: out of memory for %" PRId64 " factors",
                          j->input->file.path, n);
  else if (csrn_normalize_total(j->ctx, &A, &options, scaled, type, j->factors, &j->n->report))
    status = csrn_io_fail(j->error, CSRN_IO_FAILED, "%s: %s", j->input->file.path, csrn_error_detail(j->ctx));
  j->n->report.n_excluded = j->n_excluded;
  free(scaled);
  free(each);
  return status;
}

/* ---- The second pass --------------------------------------------------------- */

/* Normalizes the n values of a unit: the rows that have a part in it, with their totals. */
static csrn_io_status normalize(csrn_stream_worker *worker, const job *j, int64_t unit, int64_t n,
                                void *result) {
  int64_t first, n_rows;
  void *values = NULL;
  csrn_dtype type = CSRN_NONE;
  csrn_io_status status = csrn_stream_load(worker, &j->matrix, unit, &values, &type);
  const int64_t *starts = status ? NULL : csrn_stream_starts(worker, &j->matrix, unit, &first, &n_rows);
  if (!starts)
    return CSRN_IO_FAILED;
  const csrn_csr A = {n_rows, j->matrix.rows.n_cols, n, starts, NULL, values, CSRN_I64, CSRN_NONE, type};
  if (csrn_normalize_with(worker->ctx, &A, j->totals + first, &j->n->report.target, &j->options, result,
                          j->n->plan.out_type, NULL, NULL) == CSRN_OK)
    return CSRN_IO_OK;
  return csrn_io_fail(&worker->error, CSRN_IO_FAILED, "%s: %s", j->input->file.path,
                      csrn_error_detail(worker->ctx));
}

/* The same where the cells are columns: each value by the factor of its own. */
static csrn_io_status normalize_columns(csrn_stream_worker *worker, const job *j, int64_t unit, int64_t n,
                                        void *result) {
  const csrn_dtype out_type = j->n->plan.out_type;
  const int64_t starts[2] = {0, n};
  int32_t *columns = NULL;
  void *values = NULL;
  csrn_dtype type = CSRN_NONE;
  csrn_io_status status = csrn_stream_columns(worker, &j->matrix, unit, &columns);
  if (!status)
    status = csrn_stream_load(worker, &j->matrix, unit, &values, &type);
  if (status)
    return status;
  csrn_csr A = {1, j->matrix.rows.n_cols, n, starts, columns, values, CSRN_I64, CSRN_I32, type};
  csrn_status done = csrn_axis_scale(worker->ctx, &A, CSRN_PER_COLUMN, CSRN_DIVIDE, j->factors, out_type,
                                     CSRN_ZERO_AS_ONE, result, out_type);
  A.data = result;
  A.data_type = out_type;
  if (done == CSRN_OK && j->options.log1p)
    done = csrn_log1p(worker->ctx, &A, j->options.log_base, result, out_type);
  if (done == CSRN_OK)
    return CSRN_IO_OK;
  return csrn_io_fail(&worker->error, CSRN_IO_FAILED, "%s: %s", j->input->file.path,
                      csrn_error_detail(worker->ctx));
}

static csrn_io_status write_unit(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t turn,
                                 int64_t begin, int64_t n, void *values) {
  csrn_io_status status = array->raw ? CSRN_IO_OK : csrn_stream_encode(worker, array, begin, n, values);
  if (status)
    return status;
  if (!csrn_stream_take_turn(worker, turn))
    return CSRN_IO_FAILED;
  status = csrn_stream_store(worker, array, begin, n, values);
  csrn_stream_unlock(worker);
  return status;
}

static csrn_io_status normalize_unit(csrn_stream_worker *worker, const job *j, int64_t unit, int64_t turn) {
  int64_t n;
  const int64_t begin = csrn_stream_unit(&j->matrix, unit, &n);
  void *result =
      csrn_stream_buffer(worker, CSRN_STREAM_RESULT,
                         (size_t)csrn_stream_padded(&j->result, n) * csrn_dtype_size(j->result.type));
  csrn_io_status status = CSRN_IO_FAILED;
  if (result)
    status =
        j->by_column ? normalize_columns(worker, j, unit, n, result) : normalize(worker, j, unit, n, result);
  return status ? status : write_unit(worker, &j->result, turn, begin, n, result);
}

/* ---- Indices ------------------------------------------------------------------- */

/* A unit of indices: its chunks as they are, or coded anew. */
static csrn_io_status copy_unit(csrn_stream_worker *worker, const job *j, int64_t unit, int64_t turn) {
  const csrn_stream_array *from = &j->old_indices, *to = &j->indices;
  const int64_t begin = unit * j->indices_cut.unit, left = from->extent - begin;
  const int64_t n = left < j->indices_cut.unit ? left : j->indices_cut.unit;
  const int64_t coded = csrn_stream_padded(from, n), recoded = csrn_stream_padded(to, n);
  void *values = NULL;
  if (!from->raw) {
    values = csrn_stream_buffer(worker, CSRN_STREAM_VALUES,
                                (size_t)(coded > recoded ? coded : recoded) * csrn_dtype_size(from->type));
    if (!values)
      return CSRN_IO_FAILED;
  }
  csrn_stream_lock(worker);
  csrn_io_status status = from->raw ? csrn_stream_fetch_raw(worker, from, begin, n)
                                    : csrn_stream_fetch(worker, from, begin, n, values);
  csrn_stream_unlock(worker);
  if (!status && !from->raw)
    status = csrn_stream_decode(worker, from, begin, n, values);
  return status ? status : write_unit(worker, to, turn, begin, n, values);
}

/* Units of values and of indices alternate, in proportion to their numbers, so that copying, which leaves
 * the processor idle, goes along with computing. */
static csrn_io_status do_unit(csrn_stream_worker *worker, void *arg, int64_t turn) {
  const job *j = arg;
  const __int128 n_copies = j->indices_cut.n_units, n_units = j->matrix.cut.n_units + n_copies;
  const int64_t copies = (int64_t)(turn * n_copies / n_units); /* before this unit, and with it: */
  const int64_t with_this = (int64_t)((turn + 1) * n_copies / n_units);
  return with_this > copies ? copy_unit(worker, j, copies, turn)
                            : normalize_unit(worker, j, turn - copies, turn);
}

/* ---- The whole --------------------------------------------------------------- */

/* Opens a dataset of the result ("": the matrix itself) without a cache of chunks, as it was made. */
static csrn_io_status open_result(const job *j, const csrn_hdf5_file *file, const char *name, csrn_dtype type,
                                  csrn_stream_array *array) {
  char *path = csrn_hdf5_format("%s%s%s", j->input->matrix, name[0] ? "/" : "", name);
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS), id = -1;
  if (path && access >= 0 && H5Pset_chunk_cache(access, 0, 0, 0) >= 0)
    id = H5Dopen2(file->id, path, access);
  const char *shown = name[0] ? name : j->input->matrix;
  csrn_io_status status = id < 0 ? csrn_hdf5_failed(file, "open", shown)
                                 : csrn_stream_array_init(array, file, id, shown, type, false);
  array->codec.level = j->output->compression == CSRN_IO_COMPRESSION_GZIP ? j->output->level : 0;
  array->id = id;
  csrn_hdf5_close(access);
  free(path);
  return status;
}

static csrn_io_status open_indices(job *j, const csrn_hdf5_file *file) {
  const csrn_hdf5_array *old = &j->input->indices;
  const csrn_hdf5_indices how =
      j->input->dense ? CSRN_HDF5_INDICES_COPIED : csrn_hdf5_indices_in(j->input, j->output);
  if (how == CSRN_HDF5_INDICES_COPIED)
    return CSRN_IO_OK;
  csrn_io_status status =
      csrn_stream_array_init(&j->old_indices, &j->input->file, old->id, old->path, old->type, false);
  if (!status)
    status = open_result(j, file, "indices", old->type, &j->indices);
  const int64_t extent = j->old_indices.extent;
  const int64_t chunk = j->old_indices.chunk ? j->old_indices.chunk : j->indices.chunk;
  j->old_indices.raw = j->indices.raw = how == CSRN_HDF5_INDICES_RAW && chunk > 0;
  j->indices_cut.unit = whole_chunks(j->matrix.cut.unit, chunk);
  j->indices_cut.n_units = (extent + j->indices_cut.unit - 1) / j->indices_cut.unit;
  return status;
}

/* Called when all else has been copied. */
static csrn_io_status fill(void *user, const csrn_hdf5_file *file, csrn_io_output *output) {
  job *j = user;
  const double begin = now();
  j->result.id = j->indices.id = -1;
  output->factors = j->factors;
  output->factors_type = j->n->plan.out_type;
  csrn_io_status status = open_indices(j, file);
  if (!status)
    status = open_result(j, file, j->input->dense ? "" : "data", j->n->plan.out_type, &j->result);
  if (!status)
    status =
        csrn_stream_run(&j->pool, j->matrix.cut.n_units + j->indices_cut.n_units, do_unit, j, "writing",
                        j->matrix.rows.nnz * (int64_t)csrn_dtype_size(j->result.type), j->progress, j->error);
  csrn_hdf5_close(j->result.id);
  csrn_hdf5_close(j->indices.id);
  j->n->seconds[2] = now() - begin;
  return status;
}

static csrn_io_status make(void *arg, const char *path, csrn_io_error *error) {
  job *j = arg;
  const csrn_hdf5_input *input = j->input;
  const double begin = now();
  const csrn_io_matrix empty = {.csr = {.n_rows = input->n_rows,
                                        .n_cols = input->n_cols,
                                        .nnz = input->nnz,
                                        .data_type = j->n->plan.out_type,
                                        .indices_type = input->dense ? CSRN_NONE : input->indices.type},
                                .cells = j->by_column ? CSRN_PER_COLUMN : CSRN_PER_ROW,
                                .dense = input->dense};
  csrn_io_status status =
      csrn_hdf5_write_copy(j->input, &empty, j->output, path, fill, j, j->progress, error);
  j->n->seconds[1] = now() - begin - j->n->seconds[2];
  return status;
}

static csrn_io_status open_matrix(job *j) {
  const csrn_hdf5_input *input = j->input;
  const csrn_io_plan *plan = &j->n->plan;
  csrn_stream_matrix *m = &j->matrix;
  const csrn_hdf5_array *data = &input->data, *indices = &input->indices;
  csrn_io_status status = csrn_stream_rows_read(&m->rows, input);
  if (!status)
    status = csrn_stream_array_init(&m->data, &input->file, data->id, data->path, data->type, data->narrow);
  if (!status && !input->dense)
    status =
        csrn_stream_array_init(&m->indices, &input->file, indices->id, indices->path, indices->type, false);
  if (status)
    return status;
  m->cut = (csrn_stream_cut){plan->unit, (m->rows.nnz + plan->unit - 1) / plan->unit};
  m->room = plan->memory_limit > plan->memory ? plan->memory_limit - plan->memory : 0;
  m->kept = calloc((size_t)m->cut.n_units + 1, sizeof *m->kept);
  j->totals = malloc((size_t)j->n_cells * sizeof *j->totals + 1);
  return m->kept && j->totals
             ? CSRN_IO_OK
             : csrn_hdf5_no_memory(&input->file, "the totals", (uint64_t)j->n_cells * sizeof *j->totals);
}

/* Totals of the cells; without exact ones the plan is dropped. */
static csrn_io_status take_totals(job *j, const uint8_t *excluded) {
  bool exact = true;
  csrn_io_status status = j->by_column ? csrn_stream_column_totals(&j->pool, &j->matrix, excluded, j->totals,
                                                                   &exact, j->progress, j->error)
                                       : csrn_stream_totals(&j->pool, &j->matrix, excluded, j->totals, &exact,
                                                            j->progress, j->error);
  if (!status && !exact)
    j->n->plan.streams = 0;
  return status;
}

/* The totals again, without the genes that are highly expressed in any cell. */
static csrn_io_status exclude(job *j) {
  const int64_t n_genes = j->by_column ? j->matrix.rows.n_rows : j->matrix.rows.n_cols;
  uint8_t *mask = calloc((size_t)n_genes + 1, 1);
  if (!mask)
    return csrn_hdf5_no_memory(&j->input->file, "the genes", (uint64_t)n_genes);
  csrn_io_status status = (j->by_column ? csrn_stream_highly_expressed_rows : csrn_stream_highly_expressed)(
      &j->pool, &j->matrix, j->totals, j->options.max_fraction, mask, j->progress, j->error);
  for (int64_t i = 0; i < n_genes; i++)
    j->n_excluded += mask[i];
  if (!status && j->n_excluded > 0)
    status = take_totals(j, mask);
  if (j->options.excluded)
    memcpy(j->options.excluded, mask, (size_t)n_genes);
  free(mask);
  return status;
}

static csrn_io_status find_totals(job *j) {
  csrn_io_status status = open_matrix(j);
  const int64_t room = j->matrix.room;
  if (!status)
    status = take_totals(j, NULL);
  j->n->kept_bytes = room - j->matrix.room;
  if (!status && j->n->plan.streams && j->options.exclude_highly_expressed)
    status = exclude(j);
  return status || !j->n->plan.streams ? status : find_target(j);
}

csrn_io_status csrn_io_normalize(csrn_io_input *input, csrn_context *ctx, const csrn_io_output *output,
                                 csrn_io_normalization *n, const csrn_io_progress *progress,
                                 csrn_io_error *error) {
  job j = {.input = input->state, .ctx = ctx, .output = output, .n = n, .progress = progress, .error = error};
  const double begin = now();
  csrn_io_status status = csrn_io_output_check(input, output, error);
  if (!status)
    status = csrn_io_normalize_plan(input, ctx, output, n, error);
  if (status)
    return status;
  csrn_hdf5_begin();
  j.input->file.error = error;
  j.options = *n->options;
  j.by_column = input->description.layout == CSRN_IO_CSC;
  j.n_cells = input->description.n_cells;
  status = csrn_stream_pool_create(&j.pool, ctx, n->plan.n_workers, error);
  if (!status)
    status = find_totals(&j);
  n->seconds[0] = now() - begin;
  if (!status && n->plan.streams)
    status = csrn_io_replace(output, make, &j, error);
  n->seconds[3] = now() - begin - n->seconds[0] - n->seconds[1] - n->seconds[2];
  csrn_stream_matrix_free(&j.matrix);
  csrn_stream_pool_destroy(&j.pool);
  free(j.totals);
  free(j.factors);
  return status;
}
