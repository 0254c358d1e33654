/* See guest.h. */
#include "guest.h"

#include <cstring>

#if defined(CSRN_SIMT_HOST)
const bool guest_is_emulated = true;

/* Few multiprocessors: grids are small, and many calls are cheap. */
static simt_settings make_small() {
  simt_machine().multiprocessors = 2;
  return simt_machine();
}
static simt_settings saved = make_small();
int64_t guest_allocations(void) {
  return simt_machine().allocations;
}
int64_t guest_waits(void) {
  return simt_machine().waits;
}
int64_t guest_sent(void) {
  return simt_machine().sent;
}
int64_t guest_early(void) {
  return simt_machine().early;
}
void guest_fail_launch(int64_t n) {
  simt_machine().fail_launch = n;
}
void guest_fail_allocation(int64_t n) {
  simt_machine().fail_allocation = n;
}
void guest_fail_stream(int64_t n) {
  simt_machine().fail_stream = n;
}
void guest_devices(int n) {
  simt_machine().devices = n;
}
void guest_streams(int when, uint64_t seed) {
  simt_machine().streams = static_cast<simt_stream_time>(when);
  simt_machine().seed = seed;
}
void guest_reset(void) {
  simt_machine() = saved;
}
#else
const bool guest_is_emulated = false;
int64_t guest_allocations(void) {
  return 0;
}
int64_t guest_waits(void) {
  return 0;
}
int64_t guest_sent(void) {
  return 0;
}
int64_t guest_early(void) {
  return 0;
}
void guest_fail_launch(int64_t) {}
void guest_fail_allocation(int64_t) {}
void guest_fail_stream(int64_t) {}
void guest_devices(int) {}
void guest_streams(int, uint64_t) {}
void guest_reset(void) {}
#endif

bool waits_by_itself(const battery_operation *operation) {
  return std::strcmp(operation->name, "check") == 0;
}

void guest_expect_cuda(cudaError_t error, const char *call, const char *file, int line) {
  if (error == cudaSuccess)
    return;
  print_error("%s\n  returned %s\n", call, cudaGetErrorString(error));
  _fail(file, line);
}

static void *take(void *user, size_t bytes, size_t alignment, void *stream) {
  auto *book = static_cast<ledger *>(user);
  void *memory = nullptr;
  if (bytes == 0 || alignment == 0 || alignment > 256 || (alignment & (alignment - 1)) != 0)
    book->complaint = "allocate() called for 0 bytes, or with an alignment that CUDA does not give";
  if (!stream)
    book->complaint = "allocate() called without a stream for device memory";
  book->bytes += static_cast<int64_t>(bytes);
  if (book->calls++ == book->fail_at)
    return nullptr;
  if (cudaMallocAsync(&memory, bytes, csrn_cuda_stream_of(stream)) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  book->outstanding++;
  return memory;
}

static void give_back(void *user, void *pointer, size_t bytes, void *stream) {
  auto *book = static_cast<ledger *>(user);
  if (!pointer || bytes == 0 || !stream)
    book->complaint = "release() called without memory or stream";
  if (cudaFreeAsync(pointer, csrn_cuda_stream_of(stream)) != cudaSuccess)
    book->complaint = "release() called with what allocate() has not returned";
  book->outstanding--;
}

csrn_allocator guest_allocator(ledger *book) {
  *book = ledger{0, 0, 0, -1, nullptr};
  return csrn_allocator{take, give_back, book};
}

csrn_context_options guest_options(cudaStream_t stream, ledger *book) {
  csrn_context_options options = csrn_cuda_options(0, stream);
  if (book)
    options.device_allocator = guest_allocator(book);
  return options;
}

void guest_restart(const csrn_context_options *options) {
  buffers_release();
  csrn_context_destroy(test.ctx);
  test.ctx = nullptr;
  test.ctx = fixture_context(options);
}

sample guest_matrix(csrn_dtype type, uint64_t seed) {
  const sample_shape shape = random_shape(150, 40, 120, seed);
  return sample_make(&shape, type, type == CSRN_F32 || type == CSRN_F64 ? SAMPLE_POSITIVE : SAMPLE_COUNTS,
                     seed);
}

csrn_csr guest_view(const sample *m) {
  return csrn_csr{m->n_rows, m->n_cols, m->nnz, m->indptr, m->indices, m->data, CSRN_I64, CSRN_I64, m->type};
}
