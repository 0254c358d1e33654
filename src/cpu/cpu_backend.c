/*
 * The CPU backend's table of operations, its state, and the structural checks. The
 * operations themselves have files of their own.
 */
#include "cpu_internal.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

/* ---- State ---------------------------------------------------------------- */

static size_t state_bytes(int32_t threads) {
  return sizeof(csrn_cpu_state) + (size_t)threads * sizeof(csrn_cpu_turn);
}

static int32_t default_threads(void) {
#if defined(_OPENMP)
  const int32_t wanted = omp_get_max_threads(), limit = omp_get_thread_limit();
  const int32_t granted = wanted < limit ? wanted : limit;
  return granted < CSRN_MOST_THREADS ? granted : CSRN_MOST_THREADS;
#else
  return 1;
#endif
}

static csrn_status cpu_create(csrn_context *ctx, const csrn_context_options *options) {
  if (options->device != 0 && !ctx->any_memory) /* of an AUTO context it is the GPU's number */
    return csrn_fail(ctx, CSRN_INVALID_ARGUMENT, "options->device is %d; expected 0 for the CPU",
                     options->device);
  if (options->stream && !ctx->any_memory)
    return csrn_fail(ctx, CSRN_INVALID_ARGUMENT, "options->stream is %p; expected NULL for the CPU",
                     options->stream);
  const int32_t threads = options->threads ? options->threads : default_threads();
  csrn_cpu_state *state = csrn_scratch_allocate(ctx, state_bytes(threads));
  if (!state)
    return CSRN_OUT_OF_MEMORY;
  memset(state, 0, state_bytes(threads));
  state->threads = threads;
  state->by_work = options->threads == 0;
  ctx->state = state;
  return CSRN_OK;
}

static void cpu_destroy(csrn_context *ctx) {
  csrn_cpu_state *state = csrn_cpu_state_of(ctx);
  for (int i = 0; i < CSRN_N_SLOTS; i++)
    csrn_scratch_release(ctx, state->slots[i].memory, state->slots[i].bytes);
  csrn_scratch_release(ctx, state, state_bytes(state->threads));
}

static const char *cpu_isa(const csrn_context *ctx) {
  return ctx->kernels->isa;
}

static int32_t cpu_threads(const csrn_context *ctx) {
  return csrn_cpu_state_of(ctx)->threads;
}

void *csrn_cpu_scratch(csrn_context *ctx, csrn_slot slot, size_t bytes) {
  csrn_cpu_state *state = csrn_cpu_state_of(ctx);
  if (bytes == 0)
    bytes = 1;
  if (state->slots[slot].bytes >= bytes)
    return state->slots[slot].memory;
  void *memory = csrn_scratch_allocate(ctx, bytes);
  if (!memory)
    return NULL;
  csrn_scratch_release(ctx, state->slots[slot].memory, state->slots[slot].bytes);
  state->slots[slot].memory = memory;
  state->slots[slot].bytes = bytes;
  return memory;
}

void *csrn_cpu_thread_scratch(csrn_context *ctx) {
  return csrn_cpu_scratch(ctx, CSRN_SLOT_THREADS, csrn_cpu_thread_bytes(ctx));
}

csrn_wide *csrn_cpu_giant_scratch(const csrn_context *ctx) {
  return csrn_cpu_state_of(ctx)->slots[CSRN_SLOT_THREADS].memory;
}

/* Histograms and gathered values, or the block sums of a giant row: never both at once. */
size_t csrn_cpu_thread_bytes(const csrn_context *ctx) {
  size_t histograms = ((size_t)csrn_cpu_state_of(ctx)->threads + 1) * CSRN_HISTOGRAM_BYTES;
  size_t giant = CSRN_GIANT_BLOCKS * sizeof(csrn_wide);
  return histograms > giant ? histograms : giant;
}

size_t csrn_cpu_table_bytes(const csrn_context *ctx) {
  return (size_t)csrn_cpu_state_of(ctx)->threads * sizeof(csrn_tables);
}

static csrn_status cpu_reserve(csrn_context *ctx, int64_t n_rows, int64_t n_cols) {
  size_t longest = (size_t)(n_rows > n_cols ? n_rows : n_cols);
  const size_t bytes[CSRN_N_SLOTS] = {
      [CSRN_SLOT_THREADS] = csrn_cpu_thread_bytes(ctx),
      [CSRN_SLOT_TOTALS] = longest * sizeof(double),
      [CSRN_SLOT_FACTORS] = longest * sizeof(double),
      [CSRN_SLOT_COLUMNS] = csrn_cpu_column_bytes(ctx, n_cols),
      [CSRN_SLOT_MASK] = longest,
      [CSRN_SLOT_BITS] = csrn_cpu_bits_bytes(n_cols),
      [CSRN_SLOT_TABLES] = csrn_cpu_table_bytes(ctx),
  };
  for (int i = 0; i < CSRN_N_SLOTS; i++)
    if (!csrn_cpu_scratch(ctx, (csrn_slot)i, bytes[i]))
      return CSRN_OUT_OF_MEMORY;
  return CSRN_OK;
}

static csrn_status cpu_set_stream(csrn_context *ctx, void *stream) {
  if (stream)
    return csrn_fail(ctx, CSRN_INVALID_ARGUMENT, "stream is %p; expected NULL for the CPU", stream);
  return CSRN_OK;
}

static csrn_status cpu_synchronize(csrn_context *ctx) {
  (void)ctx;
  return CSRN_OK;
}

static csrn_status cpu_buffer_allocate(csrn_context *ctx, size_t bytes, void **buffer) {
  *buffer = csrn_scratch_allocate(ctx, bytes);
  return *buffer ? CSRN_OK : CSRN_OUT_OF_MEMORY;
}

static csrn_status cpu_buffer_copy(csrn_context *ctx, void *to, const void *from, size_t bytes) {
  (void)ctx;
  memmove(to, from, bytes);
  return CSRN_OK;
}

/* One memory after the other: both copies use it. */
static csrn_status cpu_buffer_exchange(csrn_context *ctx, void *to_device, const void *from_host,
                                       size_t up_bytes, void *to_host, const void *from_device,
                                       size_t down_bytes) {
  (void)ctx;
  if (up_bytes)
    memcpy(to_device, from_host, up_bytes);
  if (down_bytes)
    memcpy(to_host, from_device, down_bytes);
  return CSRN_OK;
}

/* ---- Checks --------------------------------------------------------------- */

typedef struct row_check {
  const csrn_csr *A;
  bool bad; /* set by any thread, read after all */
} row_check;

/* `bad` for each index type: offsets are compared without their sign, so that negative
 * ones are found as too large ones. */
#define FALLS(type)                                                                                          \
  {                                                                                                          \
    const type *p = A->indptr;                                                                               \
    for (int64_t i = begin; i < end; i++)                                                                    \
      bad |= p[i + 1] < p[i];                                                                                \
  }                                                                                                          \
  break

static void check_row_range(void *arg, int thread, int n_threads) {
  row_check *check = arg;
  const csrn_csr *A = check->A;
  int64_t begin, end;
  csrn_cpu_range(A->n_rows, CSRN_BATCH_ROWS, thread, n_threads, &begin, &end);
  uint32_t bad = 0;
  switch (A->indptr_type) {
  case CSRN_U8:
    FALLS(uint8_t);
  case CSRN_U16:
    FALLS(uint16_t);
  case CSRN_U32:
    FALLS(uint32_t);
  case CSRN_I32:
    FALLS(int32_t);
  case CSRN_U64:
    FALLS(uint64_t);
  default:
    FALLS(int64_t);
  }
  if (bad)
    __atomic_store_n(&check->bad, true, __ATOMIC_RELAXED);
}

#undef FALLS

static csrn_status cpu_check_rows(csrn_context *ctx, const csrn_csr *A) {
  int64_t first = csrn_cpu_offset(A, 0), last = csrn_cpu_offset(A, A->n_rows);
  if (first < 0 || first > A->nnz)
    return csrn_fail(ctx, CSRN_INVALID_MATRIX, "A->indptr[0] is %s; expected 0 to nnz = %" PRId64,
                     csrn_number_of(A->indptr_type, first).text, A->nnz);
  if (last < 0 || last > A->nnz)
    return csrn_fail(ctx, CSRN_INVALID_MATRIX, "A->indptr[n_rows] is %s; expected at most nnz = %" PRId64,
                     csrn_number_of(A->indptr_type, last).text, A->nnz);
  row_check check = {A, false};
  csrn_cpu_parallel(ctx, csrn_cpu_threads_for(ctx, A->n_rows), check_row_range, &check);
  if (!check.bad)
    return CSRN_OK;
  int64_t row = 0;
  while (csrn_cpu_offset(A, row) <= csrn_cpu_offset(A, row + 1) && csrn_cpu_offset(A, row) >= 0)
    row++;
  return csrn_fail(ctx, CSRN_INVALID_MATRIX, "A->indptr decreases in row %" PRId64 ": from %s to %s", row,
                   csrn_number_of(A->indptr_type, csrn_cpu_offset(A, row)).text,
                   csrn_number_of(A->indptr_type, csrn_cpu_offset(A, row + 1)).text);
}

typedef struct index_check {
  const csrn_csr *A;
  const csrn_kernels *kernels;
  csrn_dtype type;
  int64_t first_bad; /* the smallest offset found by any thread */
} index_check;

static void check_index_piece(void *arg, int thread, int64_t begin, int64_t end) {
  (void)thread;
  index_check *check = arg;
  int64_t bad = check->kernels->check_indices[check->type](check->A->indices, begin, end, check->A->n_cols);
  int64_t seen = __atomic_load_n(&check->first_bad, __ATOMIC_RELAXED);
  while (
      bad < end && bad < seen &&
      !__atomic_compare_exchange_n(&check->first_bad, &seen, bad, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    ;
}

/* The row that holds the element at `offset`. */
static int64_t row_of(const csrn_csr *A, int64_t offset) {
  int64_t low = 0, high = A->n_rows - 1;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (csrn_cpu_offset(A, middle + 1) <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static csrn_status cpu_check_indices(csrn_context *ctx, const csrn_csr *A) {
  int64_t begin = csrn_cpu_offset(A, 0), end = csrn_cpu_offset(A, A->n_rows);
  csrn_dtype type = A->indices_type == CSRN_U64 ? CSRN_I64 : A->indices_type;
  index_check check = {A, ctx->kernels, type, end};
  csrn_piece_work work = {ctx, check_index_piece, &check};
  csrn_cpu_pieces(&work, begin, end);
  if (check.first_bad == end)
    return CSRN_OK;
  csrn_csr column = *A; /* to read an index as an offset is read */
  column.indptr = A->indices;
  column.indptr_type = A->indices_type;
  return csrn_fail(ctx, CSRN_INVALID_MATRIX,
                   "A->indices[%" PRId64 "], in row %" PRId64 ", is %s; expected 0 to n_cols - 1 = %" PRId64,
                   check.first_bad, row_of(A, check.first_bad),
                   csrn_number_of(A->indices_type, csrn_cpu_offset(&column, check.first_bad)).text,
                   A->n_cols - 1);
}

/* ---- The table ------------------------------------------------------------ */

static csrn_status cpu_axis_sum(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const uint8_t *excluded,
                                void *sums, csrn_dtype sums_type) {
  return axis == CSRN_PER_ROW ? csrn_cpu_row_sums(ctx, A, excluded, sums, sums_type)
                              : csrn_cpu_column_sums(ctx, A, excluded, sums, sums_type);
}

const csrn_backend_ops csrn_cpu_ops = {
    .backend = CSRN_BACKEND_CPU,
    .create = cpu_create,
    .destroy = cpu_destroy,
    .isa = cpu_isa,
    .threads = cpu_threads,
    .set_stream = cpu_set_stream,
    .reserve = cpu_reserve,
    .synchronize = cpu_synchronize,
    .buffer_allocate = cpu_buffer_allocate,
    .buffer_release = csrn_scratch_release,
    .buffer_copy = cpu_buffer_copy,
    .host_buffer_allocate = cpu_buffer_allocate,
    .host_buffer_release = csrn_scratch_release,
    .buffer_exchange = cpu_buffer_exchange,
    .check_rows = cpu_check_rows,
    .check_indices = cpu_check_indices,
    .axis_sum = cpu_axis_sum,
    .axis_scale = csrn_cpu_axis_scale,
    .median_positive = csrn_cpu_median,
    .highly_expressed = csrn_cpu_highly_expressed,
    .normalize = csrn_cpu_normalize,
    .log1p = csrn_cpu_log1p,
    .device_count = csrn_cpu_device_count,
    .device_info = csrn_cpu_device_info,
};
