/*
 * What every use of the streaming engine begins with: whether a file can be worked on in pieces,
 * in pieces of what size and by how many workers, so that the memory allowed is enough;
 * and the matrix, open and with its rows known.
 */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  UNIT = 1 << 17, /* values: read and written they fit the cache of a core */
  MOST = 1 << 22  /* values in a unit that is chosen larger, or can be of any size */
};

double csrn_stream_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int64_t csrn_stream_whole_chunks(int64_t wanted, int64_t chunk) {
  return chunk == 0 ? wanted : wanted <= chunk ? chunk : wanted / chunk * chunk;
}

/* ---- The plan ---------------------------------------------------------------- */

/* The chunks of the result are those of the input, where it has any. */
static int64_t choose_unit(const csrn_hdf5_input *input, int64_t wanted) {
  const csrn_hdf5_array *data = &input->data;
  if (input->npz) /* no chunks; and zlib counts a piece in 32 bits */
    return wanted < MOST ? wanted : MOST;
  hsize_t chunk[2] = {data->chunk[0], data->chunk[1]};
  if (chunk[0] == 0)
    csrn_hdf5_default_chunk(data->rank, data->extent, chunk);
  return csrn_stream_whole_chunks(wanted, (int64_t)chunk[0] * (input->dense ? input->n_cols : 1));
}

/* Rounded up; a file may claim sizes whose products no integer holds. */
static int64_t as_bytes(double bytes) {
  return bytes < 0x1p60 ? (int64_t)bytes + 1 : (int64_t)1 << 60;
}

static int64_t index_chunk(const csrn_hdf5_input *input) {
  return input->dense ? 0 : (int64_t)input->indices.chunk[0];
}

/* Whether indices are looked at, in a pass or since those of the result are not copied as they are. */
static bool reads_columns(const csrn_io_input *input, const csrn_stream_request *request) {
  return request->with_columns || csrn_stream_state(input)->column_of != NULL;
}

static bool writes_indices(const csrn_io_input *input, const csrn_stream_request *request) {
  return request->output && (input->description.format != CSRN_IO_H5AD ||
                             request->output->compression != CSRN_IO_COMPRESSION_KEEP);
}

/* Chunks that so many elements lie in. */
static double chunks_in(double elements, double chunk) {
  return chunk > 0 ? elements / chunk + 1 : 0;
}

static double value_chunk(const csrn_hdf5_input *input) {
  return input->npz ? 0 : (double)input->data.chunk[0] * (input->dense ? (double)input->data.chunk[1] : 1);
}

/* Of a unit as it lies in the files, values or indices: a buffer that is read into may be a quarter larger
 * than it must be, and every chunk has an entry in a table and some bytes more than its values
 * (csrn_codec_bound()). Chunks of indices are held whole, also where they are only copied. */
static double coded_bytes(const csrn_io_input *opened, csrn_dtype out_type, int64_t unit,
                          const csrn_stream_request *request) {
  enum { CHUNK = 64 + sizeof(csrn_stream_place) };
  const csrn_hdf5_input *input = csrn_stream_state(opened);
  const double n = (double)unit, out = (double)csrn_dtype_size(out_type), grown = 1.25;
  const double value = (double)csrn_dtype_size(input->data.type);
  if (input->npz) /* no chunks */
    return n * (value > out ? value : out);
  const double chunk = (double)index_chunk(input), longer = chunk > n ? chunk : n;
  const double bound = out + out / 256, values = n * (value * grown > bound ? value * grown : bound);
  const double indices =
      request->output && !input->dense ? longer * (double)csrn_dtype_size(input->indices.type) * grown : 0;
  const double of_values = chunks_in(n, value_chunk(input));
  const double of_indices = indices > 0 || reads_columns(opened, request) ? chunks_in(longer, chunk) : 0;
  return (values > indices ? values : indices) + (of_values > of_indices ? of_values : of_indices) * CHUNK;
}

/* Of a worker: a unit as it is, while a chunk is coded, as it lies in the files, and the result; its rows;
 * its columns where they are needed, or to be written anew: with the chunks that they share with their
 * neighbours. Where columns are selected, the file's values and columns beside those of the matrix. */
static double worker_bytes(const csrn_io_input *opened, csrn_dtype out_type, int64_t unit,
                           const csrn_stream_request *request) {
  const csrn_hdf5_input *input = csrn_stream_state(opened);
  const double value = (double)csrn_dtype_size(input->data.type), out = (double)csrn_dtype_size(out_type);
  const double share = input->nnz > unit ? (double)unit / (double)input->nnz : 1;
  const double rows = (double)input->n_rows * share;
  const double index = input->dense ? 0 : (double)csrn_dtype_size(input->indices.type);
  const double n = (double)unit, chunk = (double)index_chunk(input), longer = chunk > n ? chunk : n;
  const double span = chunk > n ? 2 * chunk : n + chunk;
  const bool written_new = request->output && opened->description.format != CSRN_IO_H5AD;
  const double read = reads_columns(opened, request) || written_new ? span * 2 * index + n * (4 + 8) : 0;
  const double written = writes_indices(opened, request) ? longer * 2 * index : 0;
  const double both = written_new ? read + written : read > written ? read : written;
  const double selected = input->column_of ? n * (value + 4) : 0;
  const double column = request->device ? (double)input->n_cols * 8 : 0;
  const double sums =
      request->by_column ? (double)csrn_stream_column_bytes(input->data.type, input->n_cols) + column : 0;
  return n * (value + out + (value > out ? value : out)) + coded_bytes(opened, out_type, unit, request) +
         both + selected + rows * 48 + sums + (1 << 20);
}

/* Of what a worker has coded and not yet written, in buffers that it exchanges for its own. */
static double parcel_bytes(const csrn_io_input *opened, csrn_dtype out_type, int64_t unit,
                           const csrn_stream_request *request) {
  if (!request->output || csrn_stream_state(opened)->npz)
    return 0;
  return CSRN_STREAM_PARCELS * coded_bytes(opened, out_type, unit, request);
}

/* Where the chunks lie: as far as that is found beforehand, and as libhdf5 has it of each file, whose index
 * of chunks it keeps with keys that have room for 33 dimensions. Measured: up to 430 bytes a chunk, and less
 * than 47 MB of two million chunks, where its cache is full. */
static double index_bytes(const csrn_io_input *opened, const csrn_stream_request *request) {
  enum { KEY = 430, KEPT = 110000 };
  const csrn_hdf5_input *input = csrn_stream_state(opened);
  const double nnz = (double)input->nnz, values = chunks_in(nnz, value_chunk(input));
  const bool has_indices =
      !input->npz && !input->dense && (request->output || reads_columns(opened, request));
  const double indices = has_indices ? chunks_in(nnz, (double)index_chunk(input)) : 0;
  const double survey = values < CSRN_STREAM_SURVEYED ? values : CSRN_STREAM_SURVEYED;
  const double kept = values + indices < KEPT ? values + indices : KEPT;
  return survey * (double)sizeof(csrn_stream_place) + kept * KEY * (request->output ? 2 : 1);
}

/* Of all: names (those of an .h5ad stay in the file), rows and spans, totals, and what the target is found
 * with; where the chunks lie; rows and units of a selection; what is written or copied by libhdf5. */
static double shared_bytes(const csrn_io_input *opened, int64_t unit, const csrn_stream_request *request) {
  const csrn_hdf5_input *input = csrn_stream_state(opened);
  const double selection =
      input->column_of ? (double)input->n_rows * 8 + (double)input->nnz / (double)unit * 8 : 0;
  return index_bytes(opened, request) + (double)csrn_stream_rows_bytes(input->n_rows, input->nnz) +
         ((double)opened->description.n_cells + (double)opened->description.n_genes) * 32 + selection +
         csrn_io_table_bytes(&opened->cells) + csrn_io_table_bytes(&opened->genes) +
         csrn_io_writer_bytes(opened, request->output) + CSRN_IO_PROGRAM;
}

/* One more than threads where workers wait for each other, or for a device, instead of the disk alone. */
static int wanted_workers(const csrn_hdf5_input *input, csrn_context *ctx,
                          const csrn_stream_request *request) {
  const bool waits = request->device || input->npz || input->data.chunk[0] == 0;
  return csrn_context_threads(ctx) + waits;
}

/* How many workers the memory is enough for, at most as many as are wanted; 0: not for one. Of several, each
 * has `parcels` beside. */
static void choose_workers(csrn_io_plan *plan, double shared, double each, double parcels, int wanted) {
  const double left = (double)plan->memory_limit - shared, affordable = left / (each + parcels);
  plan->n_workers = left < each ? 0 : affordable < 2 ? 1 : affordable < wanted ? (int)affordable : wanted;
  plan->memory = as_bytes(plan->n_workers > 1 ? shared + (each + parcels) * plan->n_workers : shared + each);
}

static bool can_stream(const csrn_io_input *input, csrn_context *ctx, const csrn_stream_request *request) {
  const csrn_io_description *d = &input->description;
  if (d->format == CSRN_IO_MTX)
    return false;
  const csrn_hdf5_input *state = csrn_stream_state(input);
  const csrn_io_format result = state->npz ? CSRN_IO_NPZ : CSRN_IO_H5AD;
  const char *path = request->output ? request->output->path : NULL;
  return (d->layout == CSRN_IO_CSR || d->layout == CSRN_IO_CSC ||
          (d->layout == CSRN_IO_DENSE && state->nnz > 0)) &&
         (!path || csrn_io_output_format(path) == (int)result) &&
         csrn_context_backend(ctx) == CSRN_BACKEND_CPU && state->n_cols <= INT32_MAX;
}

/* Of the same, not in pieces. */
static int64_t whole_bytes(const csrn_io_input *input, csrn_context *ctx, const csrn_stream_request *request,
                           csrn_dtype out_type) {
  const csrn_io_whole whole = {.output = request->output,
                               .out_type = request->output ? out_type : CSRN_NONE,
                               .sums_cells = request->by_column,
                               .sums_genes = request->by_column,
                               .threads = csrn_context_threads(ctx)};
  return csrn_io_matrix_bytes(input, &whole);
}

csrn_io_status csrn_stream_plan(csrn_io_input *input, csrn_context *ctx, const csrn_stream_request *request,
                                csrn_io_plan *plan, csrn_io_error *error) {
  memset(plan, 0, sizeof *plan);
  plan->streams = can_stream(input, ctx, request);
  if (!plan->streams)
    return CSRN_IO_OK;
  const csrn_hdf5_input *state = csrn_stream_state(input);
  csrn_hdf5_begin();
  plan->out_type = state->data.type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
  plan->passes = request->passes + (state->column_of != NULL);
  int64_t wanted = request->unit > 0 ? request->unit : UNIT;
  if (reads_columns(input, request) && request->unit <= 0 && index_chunk(state) > wanted)
    wanted = index_chunk(state); /* a chunk is decoded for every unit that has a part of it */
  if (request->device && request->with_columns && request->unit <= 0 && state->n_cols > wanted)
    wanted = state->n_cols < MOST ? state->n_cols : MOST; /* factors or sums of all travel with every unit */
  plan->unit = choose_unit(state, wanted);
  plan->memory_limit = request->memory > 0 ? request->memory : csrn_io_machine_memory("/") / 4;
  plan->read_bytes = state->npz ? csrn_npz_stored_bytes(state) : (int64_t)H5Dget_storage_size(state->data.id);
  plan->parts = request->parts;
  plan->on_device = request->device ? request->parts & ~CSRN_IO_MARKS : 0;
  const int64_t device = request->device ? csrn_stream_device_bytes(state->n_cols) : 0;
  choose_workers(plan, shared_bytes(input, plan->unit, request) + (double)device,
                 worker_bytes(input, plan->out_type, plan->unit, request),
                 parcel_bytes(input, plan->out_type, plan->unit, request),
                 wanted_workers(state, ctx, request));
  /* Chunks can be larger than the matrix: then it is better in memory as a whole. */
  const bool oversized = plan->n_workers < 1 || (state->dense && plan->unit / 16 > state->nnz);
  const int64_t whole = oversized ? whole_bytes(input, ctx, request, plan->out_type) : INT64_MAX;
  if (whole < plan->memory && whole <= plan->memory_limit) {
    plan->streams = 0;
    return CSRN_IO_OK;
  }
  if (request->memory > 0 && plan->n_workers < 1)
    return csrn_io_fail(error, CSRN_IO_FAILED,
                        "%s: needs %" PRId64 " bytes of memory, more than the %" PRId64 " of --memory",
                        input->path, plan->memory, request->memory);
  if (plan->n_workers < 1)
    plan->n_workers = 1;
  return CSRN_IO_OK;
}

/* ---- Beginning and end --------------------------------------------------------- */

csrn_io_status csrn_stream_no_memory(const csrn_stream_job *job, const char *object) {
  return csrn_io_fail(job->error, CSRN_IO_FAILED, "%s: out of memory for %s", job->input->path, object);
}

static csrn_io_status open_matrix(csrn_stream_job *job) {
  const csrn_hdf5_input *input = job->state;
  csrn_stream_matrix *m = &job->matrix;
  const csrn_hdf5_array *data = &input->data, *indices = &input->indices;
  csrn_io_status status = csrn_stream_rows_read(&m->rows, input);
  if (input->npz)
    csrn_npz_arrays(input, &m->data, &m->indices);
  else if (!status)
    status = csrn_stream_array_init(&m->data, &input->file, data->id, data->path, data->type, data->narrow);
  if (!status && !input->dense && !input->npz)
    status =
        csrn_stream_array_init(&m->indices, &input->file, indices->id, indices->path, indices->type, false);
  if (status)
    return status;
  m->cut = csrn_stream_cut_of(m->rows.nnz, job->plan->unit);
  if (input->column_of)
    status =
        csrn_stream_select(&job->pool, m, input, job->input->description.n_genes, job->progress, job->error);
  if (status)
    return status;
  m->room = job->plan->memory_limit > job->plan->memory ? job->plan->memory_limit - job->plan->memory : 0;
  m->kept = calloc((size_t)m->cut.n_units + 1, sizeof *m->kept);
  return m->kept ? CSRN_IO_OK : csrn_stream_no_memory(job, "the list of units");
}

csrn_io_status csrn_stream_begin(csrn_stream_job *job) {
  csrn_hdf5_begin();
  job->state = csrn_stream_state(job->input);
  job->state->file.error = job->error;
  csrn_io_status status =
      csrn_stream_pool_create(&job->pool, job->ctx, job->device, job->plan->n_workers, job->error);
  for (int i = 0; i < job->pool.n_workers; i++) /* libhdf5 crashes in a thread that it has no memory for */
    job->pool.workers[i].begun = job->state->npz != NULL;
  return status ? status : open_matrix(job);
}

csrn_io_status csrn_stream_end(csrn_stream_job *job, csrn_io_status status) {
  csrn_stream_matrix_free(&job->matrix);
  csrn_stream_pool_destroy(&job->pool);
  return csrn_hdf5_settle(&job->state->file, status);
}
