/*
 * How a pass over a matrix in host memory runs: see cuda_host.h.
 *
 * A ring of slots, each with pinned memory, device memory of the same layout, and three events.
 * For a chunk the host copies values into the slot's pinned memory (from pinned memory of the
 * caller they travel directly), and enqueues
 *
 *   up:       copies to the device; record `up`
 *   context:  wait for `up`; kernels; record `done`
 *   down:     wait for `done`; copies to pinned memory; record `down`
 *
 * and waits for `down` before it takes the results out and uses the slot again: then nothing is
 * under way to or from the slot. So the two directions of the link work on different chunks
 * at the same time. Whatever fails, a pass returns only when its streams are idle, since
 * copies under way would reach into memory that the caller may give back.
 */
#include "cuda_host.h"
#include "numerics.h"

#include <cstring>
#include <initializer_list>

namespace {

enum { RING = 4, ALIGNMENT = 256 };

/* A chunk is as long as the link takes longer than the launches, some tens of microseconds, to carry it;
 * there are at least 16, so that the first way up and the last way down, alone on the link, are a small
 * share. */
constexpr int64_t CHUNK_BYTES = 32 << 20, CHUNK_VALUES_MIN = 1 << 16, CHUNKS_MIN = 16;

/* Where the arrays of a chunk begin in both memories of its slot. */
struct layout {
  size_t data, out, indices, indptr, row_in, row_out, bytes;
};

struct slot {
  char *pinned, *device;
  cudaEvent_t up, done, down;
  bool busy;
  csrn_host_chunk chunk; /* what it is busy with */
};

} // namespace

struct csrn_cuda_host {
  cudaStream_t up, down;
  cudaEvent_t begun; /* what the context's stream was given before the pass */
  slot slots[RING];
  size_t slot_bytes; /* of each of the two memories */
  /* Of the operation: */
  const csrn_csr *A;
  csrn_dtype out_type;
  int64_t first, n_values;        /* the offsets of its rows begin at `first` */
  int64_t most_values, most_rows; /* of a chunk */
  layout at;
  bool pinned_data, pinned_indices;
  char *resident; /* the whole data, then the whole indices, if there is room; else NULL */
  size_t resident_bytes, resident_indices;
  bool has_data, has_indices; /* all that is needed of them has been sent there */
};

namespace {

csrn_cuda_host *host_of(const csrn_context *ctx) {
  return csrn_cuda_state_of(ctx)->host;
}

csrn_status check(csrn_context *ctx, cudaError_t error) {
  return error == cudaSuccess ? CSRN_OK : csrn_cuda_fail(ctx, error, "sending a matrix through the device");
}

/* ---- Memory ------------------------------------------------------------------------ */

void release_slots(csrn_context *ctx, csrn_cuda_host *host) {
  for (auto &s : host->slots) {
    if (s.pinned)
      cudaFreeHost(s.pinned);
    csrn_cuda_release(ctx, s.device, host->slot_bytes);
    s.pinned = s.device = nullptr;
  }
  host->slot_bytes = 0;
}

csrn_status grow_slots(csrn_context *ctx, csrn_cuda_host *host, size_t bytes) {
  if (host->slot_bytes >= bytes)
    return CSRN_OK;
  release_slots(ctx, host);
  host->slot_bytes = bytes;
  csrn_status status = CSRN_OK;
  for (int k = 0; k < RING && !status; k++) {
    void *memory = nullptr;
    status = csrn_cuda_allocate(ctx, bytes, &memory);
    host->slots[k].device = static_cast<char *>(memory);
    if (!status)
      status = check(ctx, cudaMallocHost(reinterpret_cast<void **>(&host->slots[k].pinned), bytes));
  }
  if (status)
    release_slots(ctx, host);
  return status;
}

csrn_status create(csrn_context *ctx) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  if (state->host)
    return CSRN_OK;
  auto *host = static_cast<csrn_cuda_host *>(csrn_scratch_allocate(ctx, sizeof(csrn_cuda_host)));
  if (!host)
    return CSRN_OUT_OF_MEMORY;
  memset(static_cast<void *>(host), 0, sizeof *host);
  state->host = host;
  cudaError_t error = cudaStreamCreateWithFlags(&host->up, cudaStreamNonBlocking);
  if (error == cudaSuccess)
    error = cudaStreamCreateWithFlags(&host->down, cudaStreamNonBlocking);
  if (error == cudaSuccess)
    error = cudaEventCreateWithFlags(&host->begun, cudaEventDisableTiming);
  for (auto &s : host->slots)
    for (cudaEvent_t *event : {&s.up, &s.done, &s.down})
      if (error == cudaSuccess)
        error = cudaEventCreateWithFlags(event, cudaEventDisableTiming);
  if (error == cudaSuccess)
    return CSRN_OK;
  csrn_cuda_host_destroy(ctx);
  return check(ctx, error);
}

size_t place(size_t *bytes, int64_t n, size_t size) {
  const size_t begin = *bytes;
  *bytes += (static_cast<size_t>(n) * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return begin;
}

/* Chunks of so many values, and of at most a row for every eight of them and some. */
void lay_out(csrn_cuda_host *host, int64_t values, bool indices) {
  const size_t size = csrn_dtype_size(host->A->data_type), out_size = csrn_dtype_size(host->out_type);
  layout &at = host->at;
  host->most_values = values;
  host->most_rows = values / 8 + 64;
  at.bytes = 0;
  at.data = place(&at.bytes, values, size);
  at.out = out_size == size ? at.data : place(&at.bytes, values, out_size);
  at.indices = place(&at.bytes, indices ? values : 0, csrn_dtype_size(host->A->indices_type));
  at.indptr = place(&at.bytes, host->most_rows + 1, sizeof(int32_t));
  at.row_in = place(&at.bytes, host->most_rows, sizeof(double));
  at.row_out = place(&at.bytes, host->most_rows, sizeof(double));
}

/* How many bytes of the device the values may take. */
csrn_status find_room(csrn_context *ctx, size_t *room) {
  size_t free_bytes = 0, all_bytes = 0;
  *room = static_cast<size_t>(ctx->device_memory);
  if (*room)
    return CSRN_OK;
  const cudaError_t error = cudaMemGetInfo(&free_bytes, &all_bytes);
  *room = free_bytes / 10 * 8;
  return check(ctx, error);
}

void choose_chunks(csrn_cuda_host *host, bool indices, size_t room) {
  /* By the widest array that travels: values of a byte may come back as float64. */
  size_t widest = csrn_dtype_size(host->A->data_type);
  for (const size_t size :
       {csrn_dtype_size(host->out_type), indices ? csrn_dtype_size(host->A->indices_type) : size_t(0)})
    widest = size > widest ? size : widest;
  const int64_t most = CHUNK_BYTES / static_cast<int64_t>(widest);
  int64_t values = host->n_values / CHUNKS_MIN;
  values = values < CHUNK_VALUES_MIN ? CHUNK_VALUES_MIN : values;
  values = values > most ? most : values;
  for (lay_out(host, values, indices); host->at.bytes * RING > room && values > CSRN_BLOCK;
       lay_out(host, values, indices))
    values = values / 2 > CSRN_BLOCK ? values / 2 : CSRN_BLOCK;
}

/* The sentence of a context as it was, whatever happens meanwhile. */
class kept_sentence {
public:
  explicit kept_sentence(csrn_context *ctx) : owner(ctx) {
    while (owner->owner)
      owner = owner->owner;
    memcpy(detail, owner->detail, sizeof detail);
  }
  ~kept_sentence() {
    memcpy(owner->detail, detail, sizeof detail);
  }
  kept_sentence(const kept_sentence &) = delete;
  kept_sentence &operator=(const kept_sentence &) = delete;

private:
  csrn_context *owner;
  char detail[sizeof csrn_context::detail];
};

/* Room for the whole matrix, if there is: that there is not is no error. */
void make_resident(csrn_context *ctx, csrn_cuda_host *host, bool indices, size_t room) {
  size_t bytes = 0;
  place(&bytes, host->n_values, csrn_dtype_size(host->A->data_type));
  host->resident_indices = bytes;
  if (indices)
    place(&bytes, host->n_values, csrn_dtype_size(host->A->indices_type));
  if (bytes + host->at.bytes * RING > room)
    return;
  void *memory;
  const kept_sentence sentence(ctx);
  if (csrn_cuda_allocate(ctx, bytes, &memory) == CSRN_OK)
    host->resident = static_cast<char *>(memory);
  host->resident_bytes = bytes;
}

/* Whether all of an array of the caller's is pinned. */
bool is_pinned(const void *array, size_t bytes) {
  if (!array || bytes == 0)
    return false;
  for (const char *end : {static_cast<const char *>(array), static_cast<const char *>(array) + bytes - 1}) {
    cudaPointerAttributes found;
    if (cudaPointerGetAttributes(&found, end) != cudaSuccess) {
      cudaGetLastError();
      return false;
    }
    if (found.type != cudaMemoryTypeHost)
      return false;
  }
  return true;
}

} // namespace

csrn_status csrn_host_open(csrn_context *ctx, const csrn_csr *A, csrn_dtype out_type, int passes, int indices,
                           unsigned slots) {
  csrn_status status = create(ctx);
  if (status)
    return status;
  csrn_cuda_host *host = host_of(ctx);
  csrn_cuda_state_of(ctx)->in_parts = true;
  host->A = A;
  host->out_type = out_type;
  host->first = csrn_cpu_offset(A, 0);
  host->n_values = csrn_cpu_offset(A, A->n_rows) - host->first;
  host->resident = nullptr;
  host->has_data = host->has_indices = false;
  host->pinned_data = is_pinned(A->data, static_cast<size_t>(A->nnz) * csrn_dtype_size(A->data_type));
  host->pinned_indices =
      indices > 0 && is_pinned(A->indices, static_cast<size_t>(A->nnz) * csrn_dtype_size(A->indices_type));
  size_t room;
  status = find_room(ctx, &room);
  if (status)
    return status;
  choose_chunks(host, indices > 0, room);
  status = ctx->on_host->ops->reserve(ctx->on_host, 1, 1); /* what the CPU needs for any row */
  if (status)
    return status;
  status = grow_slots(ctx, host, host->at.bytes);
  /* What kernels are asked to do at a time: not more than the matrix, so that memory which is reserved for
   * its size, and which a graph may use, does not grow. */
  csrn_csr largest = *A;
  largest.n_rows = A->n_rows < host->most_rows ? A->n_rows : host->most_rows;
  largest.nnz = host->n_values < host->most_values ? host->n_values : host->most_values;
  status = status ? status : csrn_cuda_need_for(ctx, slots | csrn_cuda_bit(CSRN_CUDA_LISTS), &largest);
  if (!status && passes > 1)
    make_resident(ctx, host, indices > 1, room);
  return status;
}

csrn_status csrn_host_close(csrn_context *ctx, csrn_status status) {
  csrn_cuda_host *host = host_of(ctx);
  csrn_cuda_state_of(ctx)->in_parts = false;
  if (host && host->resident) {
    csrn_cuda_release(ctx, host->resident, host->resident_bytes);
    host->resident = nullptr;
  }
  if (!status)
    return csrn_cuda_synchronize(ctx);
  /* What a failed call has raised is not told again by the next; its sentence stays. */
  const kept_sentence sentence(ctx);
  csrn_cuda_synchronize(ctx);
  return status;
}

void csrn_cuda_host_destroy(csrn_context *ctx) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  csrn_cuda_host *host = state->host;
  if (!host)
    return;
  release_slots(ctx, host);
  for (auto &s : host->slots)
    for (cudaEvent_t event : {s.up, s.done, s.down})
      if (event)
        cudaEventDestroy(event);
  if (host->begun)
    cudaEventDestroy(host->begun);
  for (cudaStream_t stream : {host->up, host->down})
    if (stream)
      cudaStreamDestroy(stream);
  csrn_scratch_release(ctx, host, sizeof *host);
  state->host = nullptr;
}

csrn_status csrn_host_copy(csrn_context *ctx, void *to, const void *from, size_t bytes) {
  const cudaStream_t stream = csrn_cuda_state_of(ctx)->stream;
  cudaError_t error = bytes ? cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream) : cudaSuccess;
  if (error == cudaSuccess)
    error = cudaStreamSynchronize(stream);
  return check(ctx, error);
}

/* ---- One chunk ---------------------------------------------------------------------- */

namespace {

/* Where the next chunk begins: in a row that was cut, if value is inside it. */
struct cursor {
  int64_t row, value;
};

/* The next rows, or the next part of a row that is longer than a chunk: chunk->row, begin, is_part, A.n_rows
 * and A.nnz. */
void next_chunk(const csrn_cuda_host *host, cursor *at, csrn_host_chunk *chunk) {
  const csrn_csr *A = host->A;
  const int64_t begin = csrn_cpu_offset(A, at->row);
  int64_t end = csrn_cpu_offset(A, at->row + 1), n_rows = 1;
  chunk->A = *A;
  chunk->row = at->row;
  chunk->is_part = end - begin > host->most_values;
  chunk->begin = chunk->is_part && at->value > begin ? at->value : begin;
  if (chunk->is_part) {
    const int64_t left = end - chunk->begin;
    chunk->A.nnz = left < host->most_values ? left : host->most_values;
    at->value = chunk->begin + chunk->A.nnz;
    at->row += at->value == end;
  } else {
    for (; at->row + n_rows < A->n_rows && n_rows < host->most_rows; n_rows++) {
      const int64_t next = csrn_cpu_offset(A, at->row + n_rows + 1);
      if (next - begin > host->most_values)
        break;
      end = next;
    }
    chunk->A.nnz = end - begin;
    at->row += n_rows;
    at->value = end;
  }
  chunk->A.n_rows = n_rows;
}

/* One array on its way up: through the slot's pinned memory, or from where it is. */
csrn_status send(csrn_context *ctx, const csrn_cuda_host *host, char *device, char *pinned, const void *from,
                 size_t bytes, bool is_direct) {
  if (bytes == 0)
    return CSRN_OK;
  if (!is_direct)
    csrn_cpu_copy(ctx->on_host, pinned, from, bytes);
  return check(ctx,
               cudaMemcpyAsync(device, is_direct ? from : pinned, bytes, cudaMemcpyHostToDevice, host->up));
}

/* The offsets of the chunk's rows, counted from its first value. */
void write_offsets(const csrn_cuda_host *host, const csrn_host_chunk *chunk, int32_t *offsets) {
  offsets[0] = 0;
  if (chunk->is_part)
    offsets[1] = static_cast<int32_t>(chunk->A.nnz);
  else
    for (int64_t i = 1; i <= chunk->A.n_rows; i++)
      offsets[i] = static_cast<int32_t>(csrn_cpu_offset(host->A, chunk->row + i) - chunk->begin);
}

const char *element(const void *array, int64_t i, size_t size) {
  return static_cast<const char *>(array) + static_cast<size_t>(i) * size;
}

char *element(void *array, int64_t i, size_t size) {
  return static_cast<char *>(array) + static_cast<size_t>(i) * size;
}

/* Values or indices: into the slot, or to their place in the whole matrix on the device, once. */
csrn_status send_values(csrn_context *ctx, csrn_cuda_host *host, slot *s, bool indices, bool wanted,
                        void **placed) {
  const csrn_csr *A = host->A;
  const size_t size = csrn_dtype_size(indices ? A->indices_type : A->data_type);
  const size_t in_slot = indices ? host->at.indices : host->at.data;
  const bool kept =
      indices ? host->resident && host->resident_bytes > host->resident_indices : host->resident != nullptr;
  const bool is_there = kept && (indices ? host->has_indices : host->has_data);
  char *device = s->device + in_slot;
  if (kept)
    device =
        element(host->resident + (indices ? host->resident_indices : 0), s->chunk.begin - host->first, size);
  *placed = device;
  if (!wanted || is_there)
    return CSRN_OK;
  return send(ctx, host, device, s->pinned + in_slot,
              element(indices ? A->indices : A->data, s->chunk.begin, size),
              static_cast<size_t>(s->chunk.A.nnz) * size, indices ? host->pinned_indices : host->pinned_data);
}

csrn_status send_chunk(csrn_context *ctx, csrn_cuda_host *host, const csrn_host_pass *pass, slot *s) {
  csrn_host_chunk *chunk = &s->chunk;
  void *indices = nullptr;
  csrn_status status = send_values(ctx, host, s, false, pass->data, &chunk->A.data);
  if (pass->indices && !status && !(chunk->is_part && pass->long_row))
    status = send_values(ctx, host, s, true, true, &indices);
  chunk->A.indices = indices;
  chunk->A.indptr = s->device + host->at.indptr;
  chunk->A.indptr_type = CSRN_I32;
  chunk->out = pass->out && host->at.out == host->at.data ? chunk->A.data : s->device + host->at.out;
  chunk->row_in = pass->row_in ? s->device + host->at.row_in : nullptr;
  chunk->row_out = pass->row_out ? s->device + host->at.row_out : nullptr;
  write_offsets(host, chunk, reinterpret_cast<int32_t *>(s->pinned + host->at.indptr));
  const size_t n_rows = static_cast<size_t>(chunk->A.n_rows);
  if (!status)
    status = send(ctx, host, s->device + host->at.indptr, nullptr, s->pinned + host->at.indptr,
                  (n_rows + 1) * sizeof(int32_t), true);
  if (!status && pass->row_in)
    status = send(ctx, host, s->device + host->at.row_in, s->pinned + host->at.row_in,
                  element(pass->row_in, chunk->row, pass->row_in_size), n_rows * pass->row_in_size, false);
  return status;
}

bool has_row_results(const csrn_host_pass *pass, const csrn_host_chunk *chunk) {
  return pass->row_out && (pass->ors || !chunk->is_part);
}

/* Where the values of a chunk come down: to the caller's pinned memory, or to the slot's. */
struct landing {
  char *at;
  size_t bytes;
  bool is_direct;
};

landing land(const csrn_cuda_host *host, const csrn_host_pass *pass, const slot *s, bool pinned_out) {
  const size_t size = csrn_dtype_size(host->out_type);
  return {pinned_out ? element(pass->out, s->chunk.begin, size) : s->pinned + host->at.out,
          static_cast<size_t>(s->chunk.A.nnz) * size, pinned_out};
}

csrn_status fetch_chunk(csrn_context *ctx, csrn_cuda_host *host, const csrn_host_pass *pass, slot *s,
                        bool pinned_out) {
  cudaError_t error = cudaStreamWaitEvent(host->down, s->done, 0);
  if (error == cudaSuccess && pass->out && s->chunk.A.nnz > 0) {
    const landing to = land(host, pass, s, pinned_out);
    error = cudaMemcpyAsync(to.at, s->chunk.out, to.bytes, cudaMemcpyDeviceToHost, host->down);
  }
  if (error == cudaSuccess && has_row_results(pass, &s->chunk))
    error = cudaMemcpyAsync(s->pinned + host->at.row_out, s->chunk.row_out,
                            static_cast<size_t>(s->chunk.A.n_rows) * pass->row_out_size,
                            cudaMemcpyDeviceToHost, host->down);
  if (error == cudaSuccess)
    error = cudaEventRecord(s->down, host->down);
  return check(ctx, error);
}

/* Only on its way up, to stay on the device: a part of a row that the CPU has looked at. */
csrn_status start_to_keep(csrn_context *ctx, csrn_cuda_host *host, const csrn_host_pass *pass, slot *s) {
  void *placed;
  s->busy = true;
  const csrn_status status = send_values(ctx, host, s, false, pass->data, &placed);
  return status ? status : check(ctx, cudaEventRecord(s->down, host->up));
}

/* Enqueues all of a chunk. */
csrn_status start(csrn_context *ctx, csrn_cuda_host *host, const csrn_host_pass *pass, slot *s,
                  bool pinned_out) {
  const cudaStream_t stream = csrn_cuda_state_of(ctx)->stream;
  s->busy = true;
  csrn_status status = send_chunk(ctx, host, pass, s);
  status = status ? status : check(ctx, cudaEventRecord(s->up, host->up));
  status = status ? status : check(ctx, cudaStreamWaitEvent(stream, s->up, 0));
  if (!status && pass->row_out && pass->ors)
    status = check(ctx, cudaMemsetAsync(s->chunk.row_out, 0, static_cast<size_t>(s->chunk.A.n_rows), stream));
  status = status ? status : pass->work(ctx, &s->chunk, pass->arg);
  status = status ? status : check(ctx, cudaEventRecord(s->done, stream));
  return status ? status : fetch_chunk(ctx, host, pass, s, pinned_out);
}

/* Waits for a chunk and takes its results out. */
csrn_status finish(csrn_context *ctx, csrn_cuda_host *host, const csrn_host_pass *pass, slot *s,
                   bool pinned_out) {
  if (!s->busy)
    return CSRN_OK;
  const csrn_status status = check(ctx, cudaEventSynchronize(s->down));
  s->busy = false;
  if (status)
    return status;
  if (pass->out && !pinned_out) {
    const landing from = land(host, pass, s, false);
    csrn_cpu_copy(ctx->on_host, element(pass->out, s->chunk.begin, csrn_dtype_size(host->out_type)), from.at,
                  from.bytes);
  }
  if (!has_row_results(pass, &s->chunk))
    return CSRN_OK;
  const char *results = s->pinned + host->at.row_out;
  char *to = element(pass->row_out, s->chunk.row, pass->row_out_size);
  const size_t n_rows = static_cast<size_t>(s->chunk.A.n_rows);
  if (!pass->ors)
    memcpy(to, results, n_rows * pass->row_out_size);
  else
    for (size_t i = 0; i < n_rows; i++)
      to[i] = static_cast<char>(to[i] | results[i]);
  return CSRN_OK;
}

/* ---- A pass -------------------------------------------------------------------------- */

/* Memory that was allocated in the order of the context's stream is there for the others, too. */
csrn_status begin_pass(csrn_context *ctx, csrn_cuda_host *host) {
  cudaError_t error = cudaEventRecord(host->begun, csrn_cuda_state_of(ctx)->stream);
  for (cudaStream_t stream : {host->up, host->down})
    if (error == cudaSuccess)
      error = cudaStreamWaitEvent(stream, host->begun, 0);
  return check(ctx, error);
}

/* After a failure: nothing is under way any more. */
void come_to_rest(const csrn_context *ctx, csrn_cuda_host *host) {
  for (cudaStream_t stream : {host->up, csrn_cuda_state_of(ctx)->stream, host->down})
    if (cudaStreamSynchronize(stream) != cudaSuccess)
      cudaGetLastError();
  for (auto &s : host->slots)
    s.busy = false;
}

/* Whether the chunk is to be sent; a row that is longer than a chunk is first told of. */
csrn_status meet(csrn_context *ctx, const csrn_cuda_host *host, const csrn_host_pass *pass,
                 const csrn_host_chunk *chunk, bool *is_sent) {
  *is_sent = !chunk->is_part || pass->sends_parts;
  if (!chunk->is_part || !pass->long_row || chunk->begin != csrn_cpu_offset(host->A, chunk->row))
    return CSRN_OK;
  return pass->long_row(ctx, chunk->row, pass->arg);
}

} // namespace

csrn_status csrn_host_run(csrn_context *ctx, const csrn_host_pass *pass) {
  csrn_cuda_host *host = host_of(ctx);
  const bool pinned_out =
      pass->out && is_pinned(pass->out, static_cast<size_t>(host->A->nnz) * csrn_dtype_size(host->out_type));
  csrn_status status = begin_pass(ctx, host);
  bool all_kept = true; /* else a later pass sends all again, with the parts that are missing there */
  int next = 0;
  for (cursor at = {0, 0}; at.row < host->A->n_rows && !status;) {
    slot *s = &host->slots[next];
    status = finish(ctx, host, pass, s, pinned_out);
    if (status)
      break;
    bool is_sent;
    next_chunk(host, &at, &s->chunk);
    status = meet(ctx, host, pass, &s->chunk, &is_sent);
    all_kept = all_kept && (is_sent || host->resident);
    if (status || !(is_sent || host->resident))
      continue;
    status = is_sent ? start(ctx, host, pass, s, pinned_out) : start_to_keep(ctx, host, pass, s);
    next = (next + 1) % RING;
  }
  for (int k = 0; k < RING && !status; k++)
    status = finish(ctx, host, pass, &host->slots[(next + k) % RING], pinned_out);
  if (status)
    come_to_rest(ctx, host);
  else if (all_kept) {
    host->has_data |= pass->data;
    host->has_indices |= pass->indices;
  }
  return status;
}

csrn_status csrn_host_exchange(csrn_context *ctx, void *to_device, const void *from_host, size_t up_bytes,
                               void *to_host, const void *from_device, size_t down_bytes) {
  csrn_status status = csrn_cuda_refuse_capture(ctx, "copies would have to be waited for");
  status = status ? status : create(ctx);
  if (status)
    return status;
  csrn_cuda_host *host = host_of(ctx);
  status = begin_pass(ctx, host);
  if (!status && up_bytes)
    status = check(ctx, cudaMemcpyAsync(to_device, from_host, up_bytes, cudaMemcpyDefault, host->up));
  if (!status && down_bytes)
    status = check(ctx, cudaMemcpyAsync(to_host, from_device, down_bytes, cudaMemcpyDefault, host->down));
  for (const cudaStream_t stream : {host->up, host->down})
    status = status ? status : check(ctx, cudaStreamSynchronize(stream));
  if (status)
    come_to_rest(ctx, host);
  return status;
}
