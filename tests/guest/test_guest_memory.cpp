/*
 * Device memory by the caller's hooks: asked for on the context's stream alone, nothing in
 * steady state, every failure clean; launches that fail; memory of every kind as arguments.
 */
#include "guest.h"

#include <cstdlib>
#include <cstring>

/* ---- Hooks ------------------------------------------------------------------------- */

static void creating_a_context(void **) {
  ledger device, host;
  int failures = 0;
  for (int64_t n = 0;; n++) {
    csrn_context_options options = guest_options(nullptr, &device);
    options.allocator = ledger_allocator(&host);
    device.fail_at = n;
    csrn_context *ctx = nullptr;
    const csrn_status status = csrn_context_create(&options, &ctx);
    if (status == CSRN_OK) {
      csrn_context_destroy(ctx);
      assert_int_equal(device.outstanding, 0);
      assert_int_equal(host.outstanding, 0);
      break;
    }
    failures++;
    assert_int_equal(status, CSRN_OUT_OF_MEMORY);
    assert_null(ctx);
    assert_int_equal(device.outstanding, 0);
    assert_int_equal(host.outstanding, 0);
    assert_true(std::strlen(csrn_error_detail(nullptr)) > 0);
  }
  assert_true(failures > 0);
  for (int64_t n = 0; n < 2; n++) { /* of the host: the context and its state */
    csrn_context_options options = guest_options(nullptr, &device);
    options.allocator = ledger_allocator(&host);
    host.fail_at = n;
    csrn_context *ctx = nullptr;
    assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OUT_OF_MEMORY);
    assert_int_equal(host.outstanding, 0);
    assert_int_equal(device.outstanding, 0);
  }
  assert_null(device.complaint);
  assert_null(host.complaint);
}

/* The runtime's own allocations fail one after the other: pinned memory too. */
static void creating_a_context_without_hooks(void **) {
  if (!guest_is_emulated)
    skip();
  const csrn_context_options options = guest_options(nullptr, nullptr);
  for (int64_t n = 0;; n++) {
    csrn_context *ctx = nullptr;
    guest_fail_allocation(n);
    const csrn_status status = csrn_context_create(&options, &ctx);
    guest_fail_allocation(-1);
    csrn_context_destroy(ctx);
    if (status == CSRN_OK) {
      assert_true(n >= 2);
      break;
    }
    assert_int_equal(status, CSRN_OUT_OF_MEMORY);
    assert_null(ctx);
  }
  guest_reset();
}

/* The ready-made hooks of csrnorm_cuda.h. */
static void a_pool_of_the_caller(void **) {
  const sample m = guest_matrix(CSRN_F32, 644);
  uint64_t expected[N_OPERATIONS], got[N_OPERATIONS];
  fixture_restart(3);
  battery_hashes(&m, battery_call, expected);
  cudaMemPool_t pool = nullptr;
  expect_cuda(cudaDeviceGetDefaultMemPool(&pool, 0));
  csrn_context_options options = guest_options(nullptr, nullptr);
  options.device_allocator = csrn_cuda_pool_allocator(pool);
  guest_restart(&options);
  battery_hashes(&m, battery_call, got);
  battery_expect(got, expected, "a pool of the caller's");
}

/* A device whose memory cannot be allocated in the order of a stream: the same bits, and none of it lost. */
static void a_device_without_pools(void **) {
  if (!guest_is_emulated)
    skip();
  const sample m = guest_matrix(CSRN_F32, 651);
  uint64_t expected[N_OPERATIONS], found[N_OPERATIONS];
  fixture_restart(3);
  battery_hashes(&m, battery_call, expected);
  buffers_release();
  csrn_context_destroy(test.ctx); /* its memory is of a device with pools */
  test.ctx = nullptr;
  setenv("CSRN_SIMT_POOLS", "0", 1);
  const csrn_context_options options = guest_options(nullptr, nullptr);
  guest_restart(&options);
  battery_hashes(&m, battery_call, found);
  buffers_release();
  csrn_context_destroy(test.ctx);
  test.ctx = nullptr;
  unsetenv("CSRN_SIMT_POOLS");
  fixture_restart(3);
  assert_memory_equal(found, expected, sizeof expected);
}

static void half_an_allocator(void **) {
  ledger book;
  for (int half = 0; half < 2; half++) {
    csrn_context_options options = guest_options(nullptr, &book);
    if (half)
      options.device_allocator.allocate = nullptr;
    else
      options.device_allocator.release = nullptr;
    csrn_context *ctx = nullptr;
    assert_int_equal(csrn_context_create(&options, &ctx), CSRN_INVALID_ARGUMENT);
    assert_non_null(std::strstr(csrn_error_detail(nullptr), "device_allocator"));
  }
}

/* An older program's struct ends before the hooks of device memory. */
static void an_older_struct_is_accepted(void **) {
  csrn_context_options options = guest_options(nullptr, nullptr);
  options.size = offsetof(csrn_context_options, device_allocator);
  std::memset(&options.device_allocator, 0xEE, sizeof options.device_allocator);
  std::memset(static_cast<void *>(&options.stream), 0xEE, sizeof options.stream);
  csrn_context_destroy(fixture_context(&options));
}

/* Fails allocation n of an operation in a fresh context; false if it has not as many. */
static bool fails_at(int64_t n, const sample *m, const battery_operation *operation, uint64_t expected) {
  ledger book;
  const csrn_context_options options = guest_options(nullptr, &book);
  guest_restart(&options);
  battery b = battery_place(m);
  battery_clear(&b);
  buffers_remember();
  book.fail_at = book.calls + n;
  const csrn_status status = operation->run(test.ctx, &b);
  const bool failed = book.calls > book.fail_at;
  book.fail_at = -1;
  if (failed) {
    const char *const words[] = {"bytes of device memory", nullptr};
    fixture_expect_failure(CSRN_OUT_OF_MEMORY, status, words, operation->name, __FILE__, __LINE__);
    expect_ok(operation->run(test.ctx, &b));
    if (battery_hash(&b, operation) != expected)
      fail_msg("%s gave other bits after a failed allocation", operation->name);
  }
  fixture_restart(3);
  assert_int_equal(book.outstanding, 0);
  assert_null(book.complaint);
  return failed;
}

static void every_allocation_fails_once(void **) {
  const sample m = guest_matrix(CSRN_F32, 641);
  uint64_t expected[N_OPERATIONS];
  int failures = 0;
  fixture_restart(3);
  battery_hashes(&m, battery_call, expected);
  for (int i = 0; i < N_OPERATIONS; i++)
    for (int64_t n = 0; fails_at(n, &m, &battery_operations[i], expected[i]); n++)
      failures++;
  assert_true(failures >= 30); /* most take a list of rows and more */
}

static void reserving(void **) {
  ledger book;
  int failures = 0;
  for (int64_t n = 0;; n++) {
    const csrn_context_options options = guest_options(nullptr, &book);
    guest_restart(&options);
    book.fail_at = book.calls + n;
    const csrn_status status = csrn_context_reserve(test.ctx, 5000, 3000);
    book.fail_at = -1;
    if (status == CSRN_OK)
      break;
    failures++;
    assert_int_equal(status, CSRN_OUT_OF_MEMORY);
    expect_ok(csrn_context_reserve(test.ctx, 5000, 3000));
    fixture_restart(3);
    assert_int_equal(book.outstanding, 0);
  }
  assert_true(failures >= 5);
  fixture_restart(3);
  assert_int_equal(book.outstanding, 0);
}

/* After reserving, no operation on matrices up to that size asks for anything; rows that all blocks share
 * too. */
static void nothing_is_allocated_after_reserve(void **) {
  ledger book;
  static const int64_t lengths[] = {10, 64 * 4096 + 1, 0, 300};
  const sample_shape giants = {lengths, COUNT(lengths), 64 * 4096 + 1, 0, 0};
  for (int which = 0; which < N_DATA_TYPES + 1; which++) {
    const sample m = which < N_DATA_TYPES ? guest_matrix(data_types[which], 642)
                                          : sample_make(&giants, CSRN_U8, SAMPLE_COUNTS, 643);
    const csrn_context_options options = guest_options(nullptr, &book);
    guest_restart(&options);
    const battery b = battery_place(&m);
    expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
    const int64_t calls = book.calls, others = guest_allocations();
    for (int i = 0; i < N_OPERATIONS; i++) {
      expect_ok(battery_operations[i].run(test.ctx, &b));
      if (book.calls != calls || guest_allocations() != others)
        fail_msg("%s of %s allocated after csrn_context_reserve()", battery_operations[i].name,
                 csrn_dtype_name(m.type));
    }
    fixture_restart(3);
    assert_int_equal(book.outstanding, 0);
  }
}

/* ---- Launches ------------------------------------------------------------------------ */

/* Launch 0, 1, 2 ... of each operation fails: a code, a sentence, and a context that goes on. */
static void every_launch_fails_once(void **) {
  if (!guest_is_emulated)
    skip();
  const sample m = guest_matrix(CSRN_F32, 651);
  uint64_t expected[N_OPERATIONS];
  fixture_restart(3);
  battery_hashes(&m, battery_call, expected);
  battery b = battery_place(&m);
  for (int i = 0; i < N_OPERATIONS; i++) {
    const battery_operation *operation = &battery_operations[i];
    csrn_status status = CSRN_DEVICE_ERROR;
    int64_t n = 0;
    for (; status == CSRN_DEVICE_ERROR; n++) {
      guest_fail_launch(n);
      status = operation->run(test.ctx, &b);
      guest_fail_launch(-1);
      if (status == CSRN_DEVICE_ERROR)
        assert_non_null(std::strstr(csrn_error_detail(test.ctx), "cudaErrorLaunchOutOfResources"));
      csrn_context_synchronize(test.ctx);
    }
    assert_int_equal(status, CSRN_OK);
    assert_true(n >= 2);
    assert_int_equal(cudaPeekAtLastError(), cudaSuccess);
    battery_clear(&b);
    expect_ok(operation->run(test.ctx, &b));
    if (battery_hash(&b, operation) != expected[i])
      fail_msg("%s gave other bits after a failed launch", operation->name);
  }
  guest_reset();
}

/* ---- Memory of every kind --------------------------------------------------------------- */

enum memory_kind { DEVICE, MANAGED, PINNED, PAGEABLE, N_KINDS };

static void *memory_of(memory_kind kind, const void *from, size_t bytes) {
  void *memory = nullptr;
  if (kind == DEVICE)
    expect_cuda(cudaMalloc(&memory, bytes));
  else if (kind == MANAGED)
    expect_cuda(cudaMallocManaged(&memory, bytes));
  else if (kind == PINNED)
    expect_cuda(cudaMallocHost(&memory, bytes));
  else
    memory = host_array(static_cast<int64_t>(bytes), 1);
  expect_cuda(cudaMemcpy(memory, from, bytes, cudaMemcpyDefault));
  return memory;
}

static void free_memory(memory_kind kind, void *memory) {
  if (kind == PINNED)
    expect_cuda(cudaFreeHost(memory));
  else if (kind != PAGEABLE)
    expect_cuda(cudaFree(memory));
}

/* The totals of two rows, with arrays of the kinds given; `auto_context`: by one that takes any. */
static csrn_status sum_with(memory_kind indptr_kind, memory_kind data_kind, memory_kind sums_kind,
                            bool auto_context, double sums[2]) {
  const int32_t indptr[] = {0, 2, 3};
  const float data[] = {1, 2, 4};
  const double none[] = {-1, -1};
  csrn_context_options options = guest_options(nullptr, nullptr);
  options.backend = auto_context ? CSRN_BACKEND_AUTO : CSRN_BACKEND_CUDA;
  csrn_context *ctx = nullptr;
  assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
  void *its_indptr = memory_of(indptr_kind, indptr, sizeof indptr);
  void *its_data = memory_of(data_kind, data, sizeof data),
       *its_sums = memory_of(sums_kind, none, sizeof none);
  const csrn_csr A = {2, 5, 3, its_indptr, nullptr, its_data, CSRN_I32, CSRN_NONE, CSRN_F32};
  csrn_status status = csrn_axis_sum(ctx, &A, CSRN_PER_ROW, its_sums, CSRN_F64);
  status = status ? status : csrn_context_synchronize(ctx);
  if (status)
    assert_true(std::strlen(csrn_error_detail(ctx)) > 0);
  expect_cuda(cudaMemcpy(sums, its_sums, sizeof none, cudaMemcpyDefault));
  csrn_context_destroy(ctx);
  free_memory(indptr_kind, its_indptr);
  free_memory(data_kind, its_data);
  free_memory(sums_kind, its_sums);
  return status;
}

static bool is_on_device(memory_kind kind) {
  return kind == DEVICE || kind == MANAGED;
}

/* All on the device or all on the host: the sums, by contexts of CUDA and by AUTO ones. Mixed: an error, and
 * nothing written. */
static void arrays_of_every_kind(void **) {
  for (int auto_context = 0; auto_context < 2; auto_context++)
    for (int kinds = 0; kinds < N_KINDS * N_KINDS * N_KINDS; kinds++) {
      const auto a = static_cast<memory_kind>(kinds % N_KINDS),
                 b = static_cast<memory_kind>(kinds / N_KINDS % N_KINDS),
                 c = static_cast<memory_kind>(kinds / N_KINDS / N_KINDS);
      double sums[2];
      const csrn_status status = sum_with(a, b, c, auto_context, sums);
      const bool same = is_on_device(a) == is_on_device(b) && is_on_device(b) == is_on_device(c);
      if (status != (same ? CSRN_OK : CSRN_INVALID_ARGUMENT) || sums[0] != (same ? 3 : -1) ||
          sums[1] != (same ? 4 : -1))
        fail_msg("kinds %d %d %d, auto %d: status %d, sums %g %g", a, b, c, auto_context,
                 static_cast<int>(status), sums[0], sums[1]);
    }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(creating_a_context),
      TEST(creating_a_context_without_hooks),
      TEST(a_pool_of_the_caller),
      TEST(a_device_without_pools),
      TEST(half_an_allocator),
      TEST(an_older_struct_is_accepted),
      TEST(every_allocation_fails_once),
      TEST(reserving),
      TEST(nothing_is_allocated_after_reserve),
      TEST(every_launch_fails_once),
      TEST(arrays_of_every_kind),
  };
  return fixture_run(argc, argv, "guest_memory", tests, COUNT(tests));
}
