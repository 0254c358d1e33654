/*
 * Matrices in host memory through a CUDA context: the bits of the CPU for every operation,
 * whatever the chunks are and whenever work on streams runs; with a cap on device memory a
 * fraction of the matrix, rows longer than a chunk, pinned arrays, failures in the midst, errors.
 */
#include "guest.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

/* Chunks as small as they get: 4,096 values. */
enum { SMALLEST = 1 };

/* Work on the default stream would always run at once. */
static cudaStream_t stream_of_tests() {
  static cudaStream_t stream;
  if (!stream)
    expect_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

static csrn_context *context_with(const csrn_context_options *options) {
  csrn_context *ctx = nullptr;
  if (csrn_context_create(options, &ctx) != CSRN_OK)
    fail_msg("csrn_context_create: %s", csrn_error_detail(nullptr));
  assert_int_equal(csrn_context_backend(ctx), CSRN_BACKEND_CUDA);
  return ctx;
}

static csrn_context *make_context(int64_t device_memory, ledger *book = nullptr) {
  csrn_context_options options = guest_options(stream_of_tests(), book);
  options.device_memory = device_memory;
  options.threads = 2;
  return context_with(&options);
}

/* The CPU's results; test.ctx is a CPU context from here on, so that arrays lie in host memory. */
static void results_of_cpu(const sample *m, uint64_t expected[N_OPERATIONS]) {
  fixture_as(CSRN_BACKEND_CPU, "generic", 2);
  battery_hashes(m, battery_call, expected);
}

/* How an array of a battery differs from a copy of it that was taken before. */
static bool tell_differences(const char *name, const void *is, const void *was, int64_t n, size_t size) {
  const auto *now = static_cast<const unsigned char *>(is), *then = static_cast<const unsigned char *>(was);
  int64_t count = 0, first = -1, last = -1;
  for (int64_t i = 0; i < n; i++)
    if (std::memcmp(now + static_cast<size_t>(i) * size, then + static_cast<size_t>(i) * size, size) != 0) {
      first = count++ ? first : i;
      last = i;
    }
  if (!count)
    return false;
  print_error("%s: %lld of %lld elements differ, from %lld to %lld; the first is", name,
              static_cast<long long>(count), static_cast<long long>(n), static_cast<long long>(first),
              static_cast<long long>(last));
  for (const unsigned char *bytes : {then, now}) {
    print_error(bytes == then ? " 0x" : ", expected 0x");
    for (size_t k = size; k-- > 0;)
      print_error("%02x", bytes[static_cast<size_t>(first) * size + k]);
  }
  print_error("\n");
  return true;
}

/* What the device has left in a battery, beside what the CPU makes of it now. */
static void explain(const battery *b, const battery_operation *operation) {
  const size_t out_size = operation->out_type == CSRN_F32 ? sizeof(float) : sizeof(double);
  const size_t vector_size = operation->vector_type == CSRN_F32 ? sizeof(float) : sizeof(double);
  const size_t out_bytes = static_cast<size_t>(b->A.nnz) * sizeof(double), n = static_cast<size_t>(b->n);
  void *out = std::malloc(out_bytes), *vector = std::malloc(n * sizeof(double)), *mask = std::malloc(n);
  if (out && vector && mask) {
    std::memcpy(out, b->out, out_bytes);
    std::memcpy(vector, b->vector, n * sizeof(double));
    std::memcpy(mask, b->mask, n);
    battery_clear(b);
    if (operation->run(test.ctx, b) == CSRN_OK) {
      bool any = tell_differences("values", b->out, out, b->A.nnz, out_size);
      any = tell_differences("sums or factors", b->vector, vector, b->n, vector_size) || any;
      any = tell_differences("mask", b->mask, mask, b->n, 1) || any;
      if (!any)
        print_error("no array differs from what the CPU makes of it now\n");
    }
  }
  std::free(out);
  std::free(vector);
  std::free(mask);
}

/* test.ctx is a CPU context. */
static void expect_bits(csrn_context *ctx, const battery *b, int i, uint64_t expected) {
  const battery_operation *operation = &battery_operations[i];
  battery_clear(b);
  const csrn_status status = operation->run(ctx, b);
  if (status)
    fail_msg("%s: %d: %s", operation->name, static_cast<int>(status), csrn_error_detail(ctx));
  buffers_check();
  if (battery_hash(b, operation) != expected) {
    explain(b, operation);
    fail_msg("%s gave other bits through the device", operation->name);
  }
}

static void expect_all_bits(csrn_context *ctx, const sample *m, const uint64_t expected[N_OPERATIONS]) {
  const battery b = battery_place(m);
  for (int i = 0; i < N_OPERATIONS; i++)
    expect_bits(ctx, &b, i, expected[i]);
  buffers_release();
}

/* ---- Chunks ------------------------------------------------------------------------- */

static sample random_matrix(int64_t n_rows, int64_t mean, int64_t n_cols, csrn_dtype type, sample_values kind,
                            uint64_t seed) {
  const sample_shape shape = random_shape(n_rows, mean, n_cols, seed);
  return sample_make(&shape, type, kind, seed);
}

static void every_type_in_chunks(void **) {
  uint64_t expected[N_OPERATIONS];
  for (int t = 0; t < N_DATA_TYPES; t++) {
    const csrn_dtype type = data_types[t];
    const sample_values kinds[] = {SAMPLE_COUNTS, is_real(type) ? SAMPLE_WILD : SAMPLE_LOW};
    for (const sample_values kind : kinds) {
      const sample m = random_matrix(200, 80, 90, type, kind, 701 + static_cast<uint64_t>(t));
      results_of_cpu(&m, expected);
      csrn_context *ctx = make_context(SMALLEST);
      expect_all_bits(ctx, &m, expected);
      csrn_context_destroy(ctx);
      host_release();
    }
  }
}

/* Copies and kernels at whatever moments the waits allow: none is missing. */
static void whenever_the_work_runs(void **) {
  const sample m = random_matrix(250, 75, 60, CSRN_F32, SAMPLE_REALS, 711);
  uint64_t expected[N_OPERATIONS];
  results_of_cpu(&m, expected);
  for (uint64_t seed = 0; seed < 4; seed++)
    for (const int64_t cap : {int64_t(SMALLEST), int64_t(0)}) {
      guest_streams(seed == 0 ? 1 : 2, seed);
      csrn_context *ctx = make_context(cap);
      expect_all_bits(ctx, &m, expected);
      csrn_context_destroy(ctx);
      guest_reset();
    }
}

/* Four times the cap and more, on a device that has not much more than the cap: the slots are used again and
 * again, whenever the work runs. */
static void larger_than_the_device(void **) {
  enum { CAP = 256 << 10, LIST_AND_CONTROL = 64 << 10 /* scratch memory beside the values */ };
  const sample m = random_matrix(1500, 180, 200, CSRN_F32, SAMPLE_COUNTS, 721);
  assert_true(m.nnz * 4 >= 4 * CAP);
  uint64_t expected[N_OPERATIONS];
  results_of_cpu(&m, expected);
  const battery b = battery_place(&m);
  const int operations[] = {0, 3, 5, 8, 12, 13, 14, 15, 17, 19, 22};
  for (int when = 0; when < (guest_is_emulated ? 3 : 1); when++) {
    guest_streams(when, 721);
    ledger book;
    csrn_context *ctx = make_context(CAP, &book);
    for (const int i : operations)
      expect_bits(ctx, &b, i, expected[i]);
    if (book.bytes >= 2 * CAP + LIST_AND_CONTROL)
      fail_msg("%lld bytes of device memory were taken", static_cast<long long>(book.bytes));
    csrn_context_destroy(ctx);
    assert_int_equal(book.outstanding, 0);
    guest_reset();
  }
}

/* Rows of many chunks, rows that fill one exactly, and rows without values before, between and behind. */
static void rows_longer_than_a_chunk(void **) {
  static const int64_t lengths[] = {0, 10, 9000, 0, 0, 4096, 4097, 3, 8192, 0, 8191, 1, 0};
  const sample_shape shape = {lengths, COUNT(lengths), 700, 5, 7};
  static const struct {
    csrn_dtype type;
    sample_values kind;
  } matrices[] = {
      {CSRN_F32, SAMPLE_WILD}, {CSRN_F64, SAMPLE_REALS}, {CSRN_U8, SAMPLE_COUNTS}, {CSRN_I64, SAMPLE_FINITE}};
  uint64_t expected[N_OPERATIONS];
  for (const auto &matrix : matrices) {
    const sample m = sample_make(&shape, matrix.type, matrix.kind, 731);
    results_of_cpu(&m, expected);
    guest_streams(2, 731);
    csrn_context *ctx = make_context(SMALLEST);
    expect_all_bits(ctx, &m, expected);
    csrn_context_destroy(ctx);
    guest_reset();
    host_release();
  }
}

/* The same with room for the whole matrix: what only the CPU has looked at is on the device too when it is
 * divided, and every value has gone up once, and no index that only the CPU needs. */
static void long_rows_of_a_matrix_that_stays(void **) {
  static const int64_t lengths[] = {100000, 20000, 70000, 0, 20000}; /* a chunk has 65,536 values */
  enum { IN_SHORT_ROWS = 40000 };
  const sample_shape shape = {lengths, COUNT(lengths), 700, 0, 0};
  static const struct {
    csrn_target target;
    double sum;
    int32_t exclude;
  } cases[] = {{CSRN_TARGET_MEDIAN, 0, 0},
               {CSRN_TARGET_MEAN, 0, 0},
               {CSRN_TARGET_FIXED, 1e4, 0},
               {CSRN_TARGET_FIXED, 1e4, 1},
               {CSRN_TARGET_MEDIAN, 0, 1}};
  fixture_as(CSRN_BACKEND_CPU, "generic", 2);
  const sample m = sample_make(&shape, CSRN_F32, SAMPLE_POSITIVE, 732);
  const csrn_csr A = guest_view(&m);
  const size_t bytes = static_cast<size_t>(m.nnz) * sizeof(float);
  void *expected = host_array(m.nnz, sizeof(float)), *out = host_array(m.nnz, sizeof(float));
  csrn_context *ctx = make_context(0);
  for (const auto &c : cases) {
    csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
    options.target = c.target;
    options.target_sum = c.sum;
    options.exclude_highly_expressed = c.exclude;
    options.max_fraction = 0.002; /* some of the 700 columns */
    expect_ok(csrn_normalize_total(test.ctx, &A, &options, expected, CSRN_F32, nullptr, nullptr));
    std::memset(out, 0, bytes);
    const int64_t sent = guest_sent();
    assert_int_equal(csrn_normalize_total(ctx, &A, &options, out, CSRN_F32, nullptr, nullptr), CSRN_OK);
    if (guest_is_emulated) { /* values, indices (of 8 bytes) where the CPU has not marked, O(rows + columns)
                              */
      const int64_t least = m.nnz * 4 + (c.exclude ? IN_SHORT_ROWS * 8 : 0);
      assert_in_range(guest_sent() - sent, least, least + (16 << 10));
    }
    if (std::memcmp(out, expected, bytes) != 0)
      fail_msg("target %d, exclusion %d: other bits through the device", static_cast<int>(c.target),
               static_cast<int>(c.exclude));
  }
  csrn_context_destroy(ctx);
}

/* Where all rows are longer than a chunk, and nothing stays, the CPU alone looks at the columns. */
static void indices_that_only_the_cpu_needs(void **) {
  static const int64_t lengths[] = {9000, 20000};
  const sample_shape shape = {lengths, COUNT(lengths), 700, 0, 0};
  fixture_as(CSRN_BACKEND_CPU, "generic", 2);
  const sample m = sample_make(&shape, CSRN_F32, SAMPLE_POSITIVE, 733);
  const csrn_csr A = guest_view(&m);
  void *expected = host_array(m.nnz, sizeof(float)), *out = host_array(m.nnz, sizeof(float));
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.target = CSRN_TARGET_FIXED;
  options.target_sum = 1e4;
  options.exclude_highly_expressed = 1;
  options.max_fraction = 0.002;
  csrn_context *ctx = make_context(SMALLEST);
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, expected, CSRN_F32, nullptr, nullptr));
  const int64_t sent = guest_sent();
  assert_int_equal(csrn_normalize_total(ctx, &A, &options, out, CSRN_F32, nullptr, nullptr), CSRN_OK);
  if (guest_is_emulated)
    assert_in_range(guest_sent() - sent, m.nnz * 4, m.nnz * 4 + (16 << 10));
  assert_memory_equal(out, expected, static_cast<size_t>(m.nnz) * sizeof(float));
  csrn_context_destroy(ctx);
}

/* What needs nothing of the columns takes no memory for them. */
static void more_columns_than_memory(void **) {
  fixture_as(CSRN_BACKEND_CPU, "generic", 2);
  const sample m = random_matrix(300, 80, 40, CSRN_F32, SAMPLE_COUNTS, 734);
  csrn_csr A = guest_view(&m);
  A.n_cols = INT64_C(1) << 42;
  const size_t bytes = static_cast<size_t>(m.nnz) * sizeof(float);
  void *expected = host_array(m.nnz, sizeof(float)), *out = host_array(m.nnz, sizeof(float));
  csrn_context *ctx = make_context(0);
  for (const csrn_target target : {CSRN_TARGET_MEDIAN, CSRN_TARGET_MEAN, CSRN_TARGET_FIXED}) {
    csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
    options.target = target;
    options.target_sum = 1e4;
    expect_ok(csrn_normalize_total(test.ctx, &A, &options, expected, CSRN_F32, nullptr, nullptr));
    assert_int_equal(csrn_normalize_total(ctx, &A, &options, out, CSRN_F32, nullptr, nullptr), CSRN_OK);
    assert_memory_equal(out, expected, bytes);
  }
  csrn_context_destroy(ctx);
}

/* More rows than values: chunks end by their number of rows. */
static void hardly_any_values(void **) {
  const sample m = random_matrix(5000, 1, 30, CSRN_F32, SAMPLE_COUNTS, 741);
  uint64_t expected[N_OPERATIONS];
  results_of_cpu(&m, expected);
  csrn_context *ctx = make_context(SMALLEST);
  expect_all_bits(ctx, &m, expected);
  csrn_context_destroy(ctx);
}

static void nothing_at_all(void **) {
  static const int64_t lengths[] = {0, 0, 0};
  uint64_t expected[N_OPERATIONS];
  for (int64_t n_rows = 0; n_rows < 4; n_rows += 3) {
    const sample_shape shape = {lengths, n_rows, 4, 0, 0};
    const sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 742);
    results_of_cpu(&m, expected);
    csrn_context *ctx = make_context(0);
    expect_all_bits(ctx, &m, expected);
    csrn_context_destroy(ctx);
  }
}

/* ---- Memory of the caller -------------------------------------------------------------- */

static void *pinned_copy(const void *from, size_t bytes) {
  void *memory = nullptr;
  expect_cuda(cudaMallocHost(&memory, bytes));
  std::memcpy(memory, from, bytes);
  return memory;
}

/* Pinned arrays travel as they are. */
static void pinned_arrays(void **) {
  const sample m = random_matrix(300, 100, 60, CSRN_F32, SAMPLE_COUNTS, 751);
  uint64_t expected[N_OPERATIONS];
  results_of_cpu(&m, expected);
  for (uint64_t seed = 0; seed < 3; seed++) {
    guest_streams(seed == 0 ? 1 : 2, seed);
    csrn_context *ctx = make_context(SMALLEST);
    battery b = battery_place(&m);
    void *data = pinned_copy(b.A.data, static_cast<size_t>(m.nnz) * sizeof(float));
    void *indices = pinned_copy(b.A.indices, static_cast<size_t>(m.nnz) * sizeof(int32_t));
    void *out = pinned_copy(b.out, static_cast<size_t>(m.nnz) * 8), *their_out = b.out;
    b.A.data = data;
    b.A.indices = indices;
    b.out = out;
    for (int i = 0; i < N_OPERATIONS; i++) {
      const battery_operation *operation = &battery_operations[i];
      battery_clear(&b);
      assert_int_equal(operation->run(ctx, &b), CSRN_OK);
      std::memcpy(their_out, out, static_cast<size_t>(m.nnz) * 8);
      battery checked = b;
      checked.out = their_out;
      if (battery_hash(&checked, operation) != expected[i])
        fail_msg("%s gave other bits with pinned arrays", operation->name);
    }
    csrn_context_destroy(ctx);
    for (void *memory : {data, indices, out})
      expect_cuda(cudaFreeHost(memory));
    buffers_release();
    guest_reset();
  }
}

/* In place, with values around the rows that must stay; pageable and pinned. */
static void in_place(void **) {
  static const int64_t lengths[] = {100, 9000, 0, 3000, 5000, 7, 4000};
  const sample_shape shape = {lengths, COUNT(lengths), 50, 40, 60};
  fixture_as(CSRN_BACKEND_CPU, "generic", 2);
  const sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 752);
  const size_t bytes = static_cast<size_t>(m.nnz) * sizeof(float);
  for (int axis = 0; axis < 2; axis++)
    for (int pinned = 0; pinned < 2; pinned++) {
      csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
      options.axis = static_cast<csrn_axis>(axis);
      options.exclude_highly_expressed = 1;
      options.log1p = 1;
      csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE), B = A;
      expect_ok(csrn_normalize_total(test.ctx, &A, &options, A.data, CSRN_F32, nullptr, nullptr));
      B.data =
          pinned ? pinned_copy(m.data, bytes) : std::memcpy(host_array(m.nnz, sizeof(float)), m.data, bytes);
      guest_streams(2, 752);
      csrn_context *ctx = make_context(SMALLEST);
      assert_int_equal(csrn_normalize_total(ctx, &B, &options, B.data, CSRN_F32, nullptr, nullptr), CSRN_OK);
      csrn_context_destroy(ctx);
      guest_reset();
      assert_memory_equal(A.data, B.data, bytes);
      if (pinned)
        expect_cuda(cudaFreeHost(B.data));
      buffers_release();
    }
}

/* ---- Failures ------------------------------------------------------------------------------ */

/* Allocation n fails: an error before anything was written, or a matrix that travels twice. */
static void every_allocation_fails_once(void **) {
  const sample m = random_matrix(120, 60, 40, CSRN_F32, SAMPLE_REALS, 761);
  uint64_t expected[N_OPERATIONS];
  results_of_cpu(&m, expected);
  battery b = battery_place(&m);
  int errors = 0, others = 0;
  for (int i = 0; i < N_OPERATIONS; i++)
    for (int64_t n = 0;; n++) {
      ledger book;
      csrn_context *ctx = make_context(0, &book);
      battery_clear(&b);
      buffers_remember();
      book.fail_at = book.calls + n;
      const csrn_status status = battery_operations[i].run(ctx, &b);
      const bool failed = book.calls > book.fail_at;
      book.fail_at = -1;
      if (status) {
        assert_int_equal(status, CSRN_OUT_OF_MEMORY);
        assert_true(std::strlen(csrn_error_detail(ctx)) > 0);
        buffers_check_unchanged();
        errors++;
      } else {
        buffers_release();
        others += failed;
        assert_string_equal(csrn_error_detail(ctx), "");
        b = battery_place(&m);
      }
      expect_bits(ctx, &b, i, expected[i]);
      csrn_context_destroy(ctx);
      assert_int_equal(book.outstanding, 0);
      if (!failed)
        break;
    }
  assert_true(errors > 4 * (N_OPERATIONS - 3) && others >= 5);
}

/* The same for memory of the host, with a row that the CPU sums in the midst of a pass. */
static void every_allocation_of_the_host_fails_once(void **) {
  static const int64_t lengths[] = {4000, 4000, 4000, 4000,
                                    4000, 4000, 5000, 7}; /* more chunks than slots, then it */
  const sample_shape shape = {lengths, COUNT(lengths), 50, 0, 0};
  const sample m = sample_make(&shape, CSRN_F32, SAMPLE_POSITIVE, 763);
  uint64_t expected[N_OPERATIONS];
  results_of_cpu(&m, expected);
  int errors = 0;
  for (int i = 0; i < N_OPERATIONS; i++)
    for (int64_t n = 0;; n++) {
      ledger book;
      csrn_context_options options = guest_options(stream_of_tests(), nullptr);
      options.device_memory = SMALLEST;
      options.allocator = ledger_allocator(&book);
      csrn_context *ctx = context_with(&options);
      battery b = battery_place(&m);
      battery_clear(&b);
      buffers_remember();
      book.fail_at = book.calls + n;
      const csrn_status status = battery_operations[i].run(ctx, &b);
      book.fail_at = -1;
      if (status) {
        assert_int_equal(status, CSRN_OUT_OF_MEMORY);
        buffers_check_unchanged();
        expect_bits(ctx, &b, i, expected[i]);
        errors++;
      }
      csrn_context_destroy(ctx);
      assert_int_equal(book.outstanding, 0);
      assert_null(book.complaint);
      buffers_release();
      if (!status)
        break;
    }
  assert_true(errors > 3 * N_OPERATIONS);
}

/* A launch fails in the midst of a pass, with copies under way: all comes to rest before the call returns. */
static void launches_that_fail(void **) {
  if (!guest_is_emulated)
    skip();
  const sample m = random_matrix(300, 80, 40, CSRN_F32, SAMPLE_REALS, 771);
  uint64_t expected[N_OPERATIONS];
  results_of_cpu(&m, expected);
  const battery b = battery_place(&m);
  const size_t bytes = static_cast<size_t>(m.nnz) * sizeof(float);
  for (int i = 0; i < N_OPERATIONS; i++) {
    csrn_status status = CSRN_DEVICE_ERROR;
    for (int64_t n = 0; status == CSRN_DEVICE_ERROR; n += 5) {
      guest_streams(n % 2 ? 1 : 2, static_cast<uint64_t>(n));
      csrn_context *ctx = make_context(n % 3 ? SMALLEST : 0);
      battery its = b;
      its.A.data = pinned_copy(b.A.data, bytes);
      guest_fail_launch(n);
      status = battery_operations[i].run(ctx, &its);
      guest_fail_launch(-1);
      expect_cuda(cudaFreeHost(its.A.data)); /* what still reads it ends the program */
      assert_true(status == CSRN_OK || status == CSRN_DEVICE_ERROR);
      if (n % 3 == 0)
        expect_bits(ctx, &b, i, expected[i]);
      csrn_context_destroy(ctx);
    }
    assert_int_equal(status, CSRN_OK);
  }
  guest_reset();
}

static void streams_that_cannot_be_made(void **) {
  if (!guest_is_emulated)
    skip();
  const sample m = random_matrix(20, 10, 10, CSRN_F32, SAMPLE_COUNTS, 781);
  uint64_t expected[N_OPERATIONS];
  results_of_cpu(&m, expected);
  for (int64_t n = 0; n < 2; n++) {
    csrn_context *ctx = make_context(0);
    const battery b = battery_place(&m);
    guest_fail_stream(n);
    assert_int_equal(battery_operations[13].run(ctx, &b), CSRN_OUT_OF_MEMORY);
    guest_fail_stream(-1);
    expect_bits(ctx, &b, 13, expected[13]);
    csrn_context_destroy(ctx);
    buffers_release();
  }
  guest_reset();
}

/* ---- Errors ----------------------------------------------------------------------------------- */

static void expect_error(csrn_context *ctx, csrn_status status, csrn_status expected, const char *word) {
  if (status != expected || !std::strstr(csrn_error_detail(ctx), word))
    fail_msg("%d: %s; expected %d with \"%s\"", static_cast<int>(status), csrn_error_detail(ctx),
             static_cast<int>(expected), word);
}

static void errors_of_the_matrix(void **) {
  const int64_t indptr[] = {0, 2, 4, 6}, falling[] = {0, 4, 2, 6};
  int32_t indices[] = {0, 1, 2, 3, 1, 2};
  const float data[] = {1, 2, 3, 4, 5, 6};
  const int64_t big[] = {INT64_MAX, 1, 1, 1, 1, 1};
  float out[6];
  double sums[4];
  csrn_context *ctx = make_context(0);
  csrn_csr A = {3, 4, 6, falling, indices, const_cast<float *>(data), CSRN_I64, CSRN_I32, CSRN_F32};
  expect_error(ctx, csrn_axis_sum(ctx, &A, CSRN_PER_ROW, sums, CSRN_F64), CSRN_INVALID_MATRIX, "row 1");
  A.indptr = indptr;
  indices[3] = 4;
  expect_error(ctx, csrn_axis_sum(ctx, &A, CSRN_PER_COLUMN, sums, CSRN_F64), CSRN_INVALID_MATRIX,
               "A->indices[3]");
  expect_error(ctx, csrn_csr_check(ctx, &A), CSRN_INVALID_MATRIX, "row 1");
  indices[3] = 3;
  A.data = const_cast<int64_t *>(big);
  A.data_type = CSRN_I64;
  expect_error(ctx, csrn_axis_sum(ctx, &A, CSRN_PER_ROW, sums, CSRN_F64), CSRN_OVERFLOW, "sum");
  A.data = const_cast<float *>(data);
  A.data_type = CSRN_F32;
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  const double target = -1, totals[3] = {1, 1, 1};
  expect_error(ctx, csrn_normalize_with(ctx, &A, totals, &target, &options, out, CSRN_F32, nullptr, nullptr),
               CSRN_INVALID_ARGUMENT, "target");
  assert_int_equal(csrn_axis_sum(ctx, &A, CSRN_PER_ROW, sums, CSRN_F64), CSRN_OK);
  assert_true(sums[0] == 3 && sums[1] == 7 && sums[2] == 11);
  csrn_context_destroy(ctx);
}

/* What earlier work on the device has done wrong is told first; a capture refuses the call. */
static void beside_work_on_the_device(void **) {
  const int64_t wrong[] = {0, 5, 2};
  const int64_t right[] = {0, 1, 2};
  const float data[] = {3, 4};
  double sums[2] = {0, 0};
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  csrn_context *ctx = make_context(0);
  void *indptr = nullptr, *values = nullptr, *results = nullptr;
  assert_int_equal(csrn_buffer_allocate(ctx, sizeof wrong, &indptr), CSRN_OK);
  assert_int_equal(csrn_buffer_allocate(ctx, sizeof data, &values), CSRN_OK);
  assert_int_equal(csrn_buffer_allocate(ctx, sizeof sums, &results), CSRN_OK);
  assert_int_equal(csrn_buffer_copy(ctx, indptr, wrong, sizeof wrong), CSRN_OK);
  assert_int_equal(csrn_buffer_copy(ctx, values, data, sizeof data), CSRN_OK);
  csrn_csr A = {2, 1, 2, indptr, nullptr, values, CSRN_I64, CSRN_NONE, CSRN_F32};
  assert_int_equal(csrn_axis_sum(ctx, &A, CSRN_PER_ROW, results, CSRN_F64), CSRN_OK);
  csrn_csr B = {2, 1, 2, right, nullptr, const_cast<float *>(data), CSRN_I64, CSRN_NONE, CSRN_F32};
  expect_error(ctx, csrn_axis_sum(ctx, &B, CSRN_PER_ROW, sums, CSRN_F64), CSRN_INVALID_MATRIX, "indptr");
  assert_true(sums[0] == 0 && sums[1] == 0);
  /* Also by calls that the CPU alone can do. */
  const double totals[] = {1, 2};
  double median = 7;
  csrn_csr empty = B;
  empty.n_rows = 0;
  assert_int_equal(csrn_axis_sum(ctx, &A, CSRN_PER_ROW, results, CSRN_F64), CSRN_OK);
  expect_error(ctx, csrn_median_positive(ctx, totals, 2, &median), CSRN_INVALID_MATRIX, "indptr");
  assert_true(median == 7);
  assert_int_equal(csrn_axis_sum(ctx, &A, CSRN_PER_ROW, results, CSRN_F64), CSRN_OK);
  expect_error(ctx, csrn_axis_sum(ctx, &empty, CSRN_PER_ROW, sums, CSRN_F64), CSRN_INVALID_MATRIX, "indptr");
  assert_int_equal(csrn_median_positive(ctx, totals, 2, &median), CSRN_OK);
  assert_true(median == 1.5);
  assert_int_equal(csrn_axis_sum(ctx, &B, CSRN_PER_ROW, sums, CSRN_F64), CSRN_OK);
  assert_true(sums[0] == 3 && sums[1] == 4);
  expect_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  assert_int_equal(csrn_cuda_set_stream(ctx, stream), CSRN_OK);
  expect_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  expect_error(ctx, csrn_axis_sum(ctx, &B, CSRN_PER_ROW, sums, CSRN_F64), CSRN_UNSUPPORTED, "captured");
  expect_cuda(cudaStreamEndCapture(stream, &graph));
  expect_cuda(cudaGraphDestroy(graph));
  csrn_buffer_release(ctx, indptr, sizeof wrong);
  csrn_buffer_release(ctx, values, sizeof data);
  csrn_buffer_release(ctx, results, sizeof sums);
  csrn_context_destroy(ctx);
  expect_cuda(cudaStreamDestroy(stream));
}

/* A target in pinned memory that the device has yet to find, and an indptr that is yet to come. */
static void after_work_on_the_device(void **) {
  const double totals[] = {5, 10, 20};
  const int32_t right[] = {0, 1, 2, 3};
  double values[] = {5, 10, 20};
  cudaStream_t stream = nullptr;
  csrn_context *ctx = make_context(0);
  void *on_device = nullptr, *target = nullptr, *indptr = nullptr;
  expect_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  assert_int_equal(csrn_cuda_set_stream(ctx, stream), CSRN_OK);
  assert_int_equal(csrn_buffer_allocate(ctx, sizeof totals, &on_device), CSRN_OK);
  assert_int_equal(csrn_host_buffer_allocate(ctx, sizeof(double), &target), CSRN_OK);
  assert_int_equal(csrn_host_buffer_allocate(ctx, sizeof right, &indptr), CSRN_OK);
  *static_cast<double *>(target) = -1;
  memset(indptr, 0xff, sizeof right);
  assert_int_equal(csrn_buffer_copy(ctx, on_device, totals, sizeof totals), CSRN_OK);
  csrn_csr A = {3, 1, 3, indptr, nullptr, values, CSRN_I32, CSRN_NONE, CSRN_F64};
  assert_int_equal(
      csrn_median_positive(ctx, static_cast<double *>(on_device), 3, static_cast<double *>(target)), CSRN_OK);
  expect_cuda(cudaMemcpyAsync(indptr, right, sizeof right, cudaMemcpyDefault, stream));
  assert_int_equal(csrn_normalize_with(ctx, &A, totals, static_cast<double *>(target), nullptr, values,
                                       CSRN_F64, nullptr, nullptr),
                   CSRN_OK);
  assert_true(values[0] == 10 && values[1] == 10 && values[2] == 10);
  csrn_buffer_release(ctx, on_device, sizeof totals);
  csrn_host_buffer_release(ctx, target, sizeof(double));
  csrn_host_buffer_release(ctx, indptr, sizeof right);
  csrn_context_destroy(ctx);
  expect_cuda(cudaStreamDestroy(stream));
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(every_type_in_chunks),
      TEST(whenever_the_work_runs),
      TEST(larger_than_the_device),
      TEST(rows_longer_than_a_chunk),
      TEST(long_rows_of_a_matrix_that_stays),
      TEST(indices_that_only_the_cpu_needs),
      TEST(more_columns_than_memory),
      TEST(hardly_any_values),
      TEST(nothing_at_all),
      TEST(pinned_arrays),
      TEST(in_place),
      TEST(every_allocation_fails_once),
      TEST(every_allocation_of_the_host_fails_once),
      TEST(launches_that_fail),
      TEST(streams_that_cannot_be_made),
      TEST(errors_of_the_matrix),
      TEST(beside_work_on_the_device),
      TEST(after_work_on_the_device),
  };
  return fixture_run(argc, argv, "guest_host", tests, COUNT(tests));
}
