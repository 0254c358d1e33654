/*
 * Streams and graphs: every operation on a stream of the caller's, captured in a graph and
 * replayed with the same bits; nothing waited for and nothing allocated on the way; streams
 * changed while work is under way; contexts beside each other; the current device kept.
 */
#include "guest.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <thread>

static cudaStream_t make_stream() {
  cudaStream_t stream = nullptr;
  expect_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

/* The usual result of each operation on the context's own stream. */
static void usual_hashes(const sample *m, uint64_t hashes[N_OPERATIONS]) {
  fixture_restart(3);
  battery_hashes(m, battery_call, hashes);
}

/* ---- The stream of the caller ------------------------------------------------------- */

/* Results are there when the stream has come so far; nothing before that is waited for or allocated. */
static void on_a_stream_nothing_is_waited_for(void **) {
  const csrn_dtype types[] = {CSRN_F32, CSRN_I32};
  for (const csrn_dtype type : types) {
    const sample m = guest_matrix(type, 601);
    uint64_t expected[N_OPERATIONS];
    usual_hashes(&m, expected);
    for (int when = 0; when < 3; when++) {
      guest_streams(when, 601);
      const cudaStream_t stream = make_stream();
      const csrn_context_options options = guest_options(stream, nullptr);
      guest_restart(&options);
      battery b = battery_place(&m);
      expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
      for (int i = 0; i < N_OPERATIONS; i++) {
        const battery_operation *operation = &battery_operations[i];
        battery_clear(&b);
        const int64_t waits = guest_waits(), allocations = guest_allocations();
        const csrn_status status = operation->run(test.ctx, &b);
        if (!waits_by_itself(operation))
          assert_int_equal(guest_waits(), waits);
        assert_int_equal(guest_allocations(), allocations);
        assert_int_equal(status, CSRN_OK);
        expect_cuda(cudaStreamSynchronize(stream));
        if (battery_hash(&b, operation) != expected[i])
          fail_msg("%s gave other bits on a stream of the caller's", operation->name);
        expect_ok(status);
      }
      fixture_restart(3);
      expect_cuda(cudaStreamDestroy(stream));
      guest_reset();
    }
  }
}

/* Kernels begin before the last one is done; but not in the parts of a matrix that comes from host memory,
 * and not where the environment forbids it. */
static void kernels_one_by_one(void **) {
  const sample m = guest_matrix(CSRN_F32, 603);
  const csrn_csr A = guest_view(&m);
  const cudaStream_t stream = make_stream();
  const csrn_context_options options = guest_options(stream, nullptr);
  void *out = host_array(m.nnz, sizeof(float)), *same = host_array(m.nnz, sizeof(float));
  uint64_t expected[N_OPERATIONS], got[N_OPERATIONS];
  csrn_context *cpu = nullptr;
  expect_ok(csrn_context_create(nullptr, &cpu));
  expect_ok(csrn_normalize_total(cpu, &A, nullptr, same, CSRN_F32, nullptr, nullptr));
  csrn_context_destroy(cpu);
  usual_hashes(&m, expected);
  for (const char *overlap : {"1", "0", ""}) {
    setenv("CSRNORM_CUDA_OVERLAP", overlap, 1);
    guest_restart(&options);
    unsetenv("CSRNORM_CUDA_OVERLAP");
    const int64_t before = guest_early();
    battery_hashes(&m, battery_call, got);
    battery_expect(got, expected, overlap);
    const int64_t after = guest_early();
    if (guest_is_emulated)
      assert_int_equal(after > before, *overlap != '0');
    expect_ok(csrn_normalize_total(test.ctx, &A, nullptr, out, CSRN_F32, nullptr, nullptr));
    assert_int_equal(guest_early(), after);
    assert_memory_equal(out, same, static_cast<size_t>(m.nnz) * sizeof(float));
  }
  fixture_restart(3);
  expect_cuda(cudaStreamDestroy(stream));
}

/* The scratch memory is in use on the first stream when work on the second is enqueued. */
static void changing_the_stream_keeps_the_order(void **) {
  const sample m = guest_matrix(CSRN_F32, 602);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  for (uint64_t seed = 0; seed < 6; seed++) {
    guest_streams(seed == 0 ? 1 : 2, seed);
    const cudaStream_t streams[] = {make_stream(), make_stream()};
    ledger book;
    const csrn_context_options options = guest_options(streams[0], &book);
    guest_restart(&options);
    battery b = battery_place(&m), other = battery_place(&m);
    expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
    for (int i = 0; i + 1 < N_OPERATIONS; i++) {
      if (waits_by_itself(&battery_operations[i]) || waits_by_itself(&battery_operations[i + 1]))
        continue;
      battery_clear(&b);
      battery_clear(&other);
      assert_int_equal(battery_operations[i].run(test.ctx, &b), CSRN_OK);
      assert_int_equal(csrn_cuda_set_stream(test.ctx, streams[(i + 1) % 2]), CSRN_OK);
      assert_int_equal(battery_operations[i + 1].run(test.ctx, &other), CSRN_OK);
      expect_cuda(cudaStreamSynchronize(streams[(i + 1) % 2])); /* which waits for the other one too */
      if (battery_hash(&b, &battery_operations[i]) != expected[i] ||
          battery_hash(&other, &battery_operations[i + 1]) != expected[i + 1])
        fail_msg("%s and %s on two streams gave other bits", battery_operations[i].name,
                 battery_operations[i + 1].name);
    }
    expect_ok(csrn_context_synchronize(test.ctx));
    fixture_restart(3);
    for (const cudaStream_t stream : streams)
      expect_cuda(cudaStreamDestroy(stream));
    assert_int_equal(book.outstanding, 0);
    assert_null(book.complaint);
    guest_reset();
  }
}

/* Streams are given back in the order of the stream, without waiting for it. */
static void destroying_waits_for_nothing(void **) {
  const sample m = guest_matrix(CSRN_F32, 603);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  guest_streams(1, 0);
  const cudaStream_t stream = make_stream();
  battery b = battery_place(&m);
  battery_clear(&b);
  ledger book;
  const csrn_context_options options = guest_options(stream, &book);
  csrn_context *ctx = fixture_context(&options);
  enum { OPERATION = 16 }; /* one that takes much scratch memory */
  assert_int_equal(battery_operations[OPERATION].run(ctx, &b), CSRN_OK);
  assert_true(book.outstanding > 1);
  const int64_t waits = guest_waits();
  csrn_context_destroy(ctx);
  assert_int_equal(guest_waits(), waits);
  assert_int_equal(book.outstanding, 0);
  assert_null(book.complaint);
  expect_cuda(cudaStreamSynchronize(stream));
  assert_true(battery_hash(&b, &battery_operations[OPERATION]) == expected[OPERATION]);
  expect_cuda(cudaStreamDestroy(stream));
  guest_reset();
}

/* ---- Graphs ---------------------------------------------------------------------------- */

/* The graph of one operation; n: how many nodes it has. */
static cudaGraphExec_t capture(cudaStream_t stream, const battery_operation *operation, const battery *b,
                               size_t *n) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  expect_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  const csrn_status status = operation->run(test.ctx, b);
  const cudaError_t error = cudaStreamEndCapture(stream, &graph);
  if (status || error)
    fail_msg("%s could not be captured: %s; %s", operation->name, csrn_error_detail(test.ctx),
             cudaGetErrorString(error));
  expect_cuda(cudaGraphGetNodes(graph, nullptr, n));
  expect_cuda(cudaGraphInstantiate(&exec, graph, 0));
  expect_cuda(cudaGraphDestroy(graph));
  return exec;
}

/* A replay writes what the call would, on the values that are there then. */
static void every_operation_captured_and_replayed(void **) {
  const csrn_dtype types[] = {CSRN_F32, CSRN_I32};
  for (const csrn_dtype type : types) {
    const sample m = guest_matrix(type, 611), changed = guest_matrix(type, 612);
    sample later = m;
    later.data = host_array(m.nnz, csrn_dtype_size(type));
    for (int64_t i = 0; i < m.nnz; i++)
      store_f64(type, later.data, i, load_f64(type, changed.data, i % changed.nnz));
    uint64_t expected[N_OPERATIONS], expected_later[N_OPERATIONS];
    usual_hashes(&m, expected);
    usual_hashes(&later, expected_later);
    const cudaStream_t stream = make_stream();
    ledger book;
    const csrn_context_options options = guest_options(stream, &book);
    guest_restart(&options);
    battery b = battery_place(&m);
    expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
    for (int i = 0; i < N_OPERATIONS; i++) {
      const battery_operation *operation = &battery_operations[i];
      if (waits_by_itself(operation))
        continue;
      size_t n = 0;
      expect_ok(operation->run(test.ctx, &b)); /* kernels are loaded at their first launch */
      const int64_t calls = book.calls;
      battery_clear(&b);
      const cudaGraphExec_t exec = capture(stream, operation, &b, &n);
      assert_true(n >= 2);
      assert_int_equal(book.calls, calls);
      for (int replay = 0; replay < 3; replay++) {
        const bool is_later = replay == 2;
        battery_clear(&b);
        store(b.A.data, is_later ? later.data : m.data, static_cast<size_t>(m.nnz) * csrn_dtype_size(type));
        expect_cuda(cudaGraphLaunch(exec, stream));
        expect_ok(csrn_context_synchronize(test.ctx));
        if (battery_hash(&b, operation) != (is_later ? expected_later : expected)[i])
          fail_msg("%s gave other bits when it was replayed", operation->name);
      }
      store(b.A.data, m.data, static_cast<size_t>(m.nnz) * csrn_dtype_size(type));
      expect_cuda(cudaGraphExecDestroy(exec));
    }
    fixture_restart(3);
    assert_int_equal(book.outstanding, 0);
    assert_null(book.complaint);
    expect_cuda(cudaStreamDestroy(stream));
  }
}

/* A graph of several calls, and a stream that is set while it is being captured already. */
static void a_stream_set_while_it_is_captured(void **) {
  const sample m = guest_matrix(CSRN_F32, 613);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  const cudaStream_t stream = make_stream();
  battery b = battery_place(&m), other = battery_place(&m);
  enum { FIRST = 13, SECOND = 3 };
  expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
  expect_ok(battery_operations[FIRST].run(test.ctx, &b));
  expect_ok(battery_operations[SECOND].run(test.ctx, &other));
  battery_clear(&b);
  battery_clear(&other);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  expect_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  const csrn_status set = csrn_cuda_set_stream(test.ctx, stream);
  const csrn_status first = battery_operations[FIRST].run(test.ctx, &b);
  const csrn_status second = battery_operations[SECOND].run(test.ctx, &other);
  const csrn_status back = csrn_cuda_set_stream(test.ctx, nullptr);
  expect_cuda(cudaStreamEndCapture(stream, &graph));
  assert_true(set == CSRN_OK && first == CSRN_OK && second == CSRN_OK && back == CSRN_OK);
  expect_cuda(cudaGraphInstantiate(&exec, graph, 0));
  expect_cuda(cudaGraphLaunch(exec, stream));
  expect_cuda(cudaStreamSynchronize(stream));
  assert_true(battery_hash(&b, &battery_operations[FIRST]) == expected[FIRST]);
  assert_true(battery_hash(&other, &battery_operations[SECOND]) == expected[SECOND]);
  expect_cuda(cudaGraphExecDestroy(exec));
  expect_cuda(cudaGraphDestroy(graph));
  expect_cuda(cudaStreamDestroy(stream));
}

static void expect_refused_while_captured(csrn_status status, const char *what) {
  if (status != CSRN_UNSUPPORTED || !std::strstr(csrn_error_detail(test.ctx), "captured"))
    fail_msg("%s: %d: %s", what, static_cast<int>(status), csrn_error_detail(test.ctx));
}

/* What would wait or allocate is refused, and the capture goes on: nothing of it was enqueued. */
static void refused_in_a_capture(void **) {
  const sample m = guest_matrix(CSRN_F32, 614);
  const cudaStream_t stream = make_stream();
  ledger book;
  const csrn_context_options options = guest_options(stream, &book);
  guest_restart(&options);
  const battery b = battery_place(&m);
  battery_clear(&b);
  expect_cuda(cudaStreamSynchronize(stream));
  const int64_t calls = book.calls;
  cudaGraph_t graph = nullptr;
  size_t n = 99;
  void *buffer = nullptr;
  double number = 0;
  expect_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  for (int i = 0; i < N_OPERATIONS; i++) {
    const csrn_status status = battery_operations[i].run(test.ctx, &b);
    if (status != CSRN_OK) /* those that need no scratch memory may run */
      expect_refused_while_captured(status, battery_operations[i].name);
    if (i == 0)
      assert_int_equal(status, CSRN_UNSUPPORTED);
  }
  expect_refused_while_captured(csrn_context_synchronize(test.ctx), "synchronize");
  expect_refused_while_captured(csrn_context_reserve(test.ctx, 10, 10), "reserve");
  expect_refused_while_captured(csrn_buffer_allocate(test.ctx, 100, &buffer), "allocate");
  expect_refused_while_captured(csrn_buffer_copy(test.ctx, &number, b.target, sizeof number), "copy");
  expect_refused_while_captured(csrn_csr_check(test.ctx, &b.A), "check");
  expect_cuda(cudaStreamEndCapture(stream, &graph));
  expect_cuda(cudaGraphGetNodes(graph, nullptr, &n));
  expect_cuda(cudaGraphDestroy(graph));
  assert_int_equal(book.calls, calls);
  assert_null(buffer);
  expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
  expect_ok(battery_operations[0].run(test.ctx, &b));
  fixture_restart(3);
  expect_cuda(cudaStreamDestroy(stream));
}

/* A call on a smaller matrix in host memory takes memory for its chunks, and leaves alone what the graph
 * uses. */
static void host_arrays_between_replays(void **) {
  const sample m = guest_matrix(CSRN_F32, 615);
  const sample_shape shape = random_shape(60, 30, 50, 616);
  const sample small = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 616);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  const cudaStream_t stream = make_stream();
  ledger book;
  const csrn_context_options options = guest_options(stream, &book);
  guest_restart(&options);
  const battery b = battery_place(&m);
  expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
  enum { OPERATION = 13 };
  size_t n = 0;
  expect_ok(battery_operations[OPERATION].run(test.ctx, &b));
  const cudaGraphExec_t exec = capture(stream, &battery_operations[OPERATION], &b, &n);
  const csrn_csr A = guest_view(&small);
  void *sums = host_array(small.n_rows, sizeof(double));
  for (int call = 0; call < 2; call++) {
    const int64_t calls = book.calls, outstanding = book.outstanding;
    assert_int_equal(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64), CSRN_OK);
    assert_int_equal(book.outstanding - outstanding, book.calls - calls); /* nothing was replaced */
    assert_true(call == 0 ? book.calls > calls : book.calls == calls);
    battery_clear(&b);
    expect_cuda(cudaGraphLaunch(exec, stream));
    expect_ok(csrn_context_synchronize(test.ctx));
    assert_true(battery_hash(&b, &battery_operations[OPERATION]) == expected[OPERATION]);
  }
  expect_cuda(cudaGraphExecDestroy(exec));
  fixture_restart(3);
  assert_int_equal(book.outstanding, 0);
  expect_cuda(cudaStreamDestroy(stream));
}

static csrn_context *automatic_context(cudaStream_t stream) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.stream = stream;
  csrn_context *ctx = nullptr;
  assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
  return ctx;
}

/* A context, and the part of an AUTO context for a device, need memory of their own. */
static void no_context_is_made_in_a_capture(void **) {
  const sample m = guest_matrix(CSRN_F32, 617);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  const cudaStream_t stream = make_stream();
  const csrn_context_options options = guest_options(stream, nullptr);
  csrn_context *automatic[] = {automatic_context(stream), automatic_context(nullptr)}, *ctx = nullptr;
  const battery b = battery_place(&m);
  battery_clear(&b);
  enum { OPERATION = 13 };
  const battery_operation *operation = &battery_operations[OPERATION];
  cudaGraph_t graph = nullptr;
  size_t n = 99;
  expect_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  const csrn_status status[] = {csrn_context_create(&options, &ctx), operation->run(automatic[0], &b),
                                csrn_cuda_set_stream(automatic[1], stream)};
  expect_cuda(cudaStreamEndCapture(stream, &graph));
  expect_cuda(cudaGraphGetNodes(graph, nullptr, &n));
  expect_cuda(cudaGraphDestroy(graph));
  assert_int_equal(n, 0);
  assert_null(ctx);
  const csrn_context *told[] = {nullptr, automatic[0], automatic[1]};
  for (int i = 0; i < 3; i++)
    if (status[i] != CSRN_UNSUPPORTED || !std::strstr(csrn_error_detail(told[i]), "captured"))
      fail_msg("%d: %d: %s", i, static_cast<int>(status[i]), csrn_error_detail(told[i]));
  for (csrn_context *its : automatic) {
    battery_clear(&b);
    assert_int_equal(csrn_cuda_set_stream(its, stream), CSRN_OK);
    assert_int_equal(operation->run(its, &b), CSRN_OK);
    expect_cuda(cudaStreamSynchronize(stream));
    assert_true(battery_hash(&b, operation) == expected[OPERATION]);
    csrn_context_destroy(its);
  }
  expect_cuda(cudaStreamDestroy(stream));
}

/* An AUTO context that has not met a device yet leaves the stream of its options: work on that would become
 * part of a graph. */
static void the_default_stream_instead_of_the_first(void **) {
  const sample m = guest_matrix(CSRN_F32, 618);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  const cudaStream_t stream = make_stream();
  const battery b = battery_place(&m);
  battery_clear(&b);
  enum { OPERATION = 13 };
  csrn_context *ctx = automatic_context(stream);
  assert_int_equal(csrn_cuda_set_stream(ctx, nullptr), CSRN_OK);
  cudaGraph_t graph = nullptr;
  size_t n = 99;
  expect_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  const csrn_status status = battery_operations[OPERATION].run(ctx, &b);
  expect_cuda(cudaStreamEndCapture(stream, &graph));
  expect_cuda(cudaGraphGetNodes(graph, nullptr, &n));
  expect_cuda(cudaGraphDestroy(graph));
  if (status)
    fail_msg("%d: %s", static_cast<int>(status), csrn_error_detail(ctx));
  assert_int_equal(n, 0);
  assert_int_equal(csrn_context_synchronize(ctx), CSRN_OK);
  assert_true(battery_hash(&b, &battery_operations[OPERATION]) == expected[OPERATION]);
  csrn_context_destroy(ctx);
  expect_cuda(cudaStreamDestroy(stream));
}

/* A context comes from one stream to a third through one that is being captured, which can neither be waited
 * for nor wait: the third waits for the first. */
static void a_capture_between_two_streams(void **) {
  const sample m = guest_matrix(CSRN_F32, 619);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  enum { FIRST = 13, SECOND = 3 };
  for (int is_over = 0; is_over < 2; is_over++) {
    guest_streams(1, 619);
    const cudaStream_t streams[] = {make_stream(), make_stream(), make_stream()};
    const csrn_context_options options = guest_options(streams[0], nullptr);
    guest_restart(&options);
    const battery b = battery_place(&m), other = battery_place(&m);
    expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
    battery_clear(&b);
    battery_clear(&other);
    cudaGraph_t graph = nullptr;
    size_t n = 99;
    const csrn_status first = battery_operations[FIRST].run(test.ctx, &b);
    expect_cuda(cudaStreamBeginCapture(streams[1], cudaStreamCaptureModeGlobal));
    const csrn_status into = csrn_cuda_set_stream(test.ctx, streams[1]);
    if (is_over)
      expect_cuda(cudaStreamEndCapture(streams[1], &graph));
    const csrn_status on = csrn_cuda_set_stream(test.ctx, streams[2]);
    const csrn_status second = battery_operations[SECOND].run(test.ctx, &other);
    if (!is_over)
      expect_cuda(cudaStreamEndCapture(streams[1], &graph));
    assert_true(first == CSRN_OK && into == CSRN_OK && on == CSRN_OK && second == CSRN_OK);
    expect_cuda(cudaGraphGetNodes(graph, nullptr, &n));
    assert_int_equal(n, 0);
    expect_cuda(cudaGraphDestroy(graph));
    expect_cuda(cudaStreamSynchronize(streams[2])); /* which waits for the first one too */
    assert_true(battery_hash(&b, &battery_operations[FIRST]) == expected[FIRST]);
    assert_true(battery_hash(&other, &battery_operations[SECOND]) == expected[SECOND]);
    fixture_restart(3);
    for (const cudaStream_t stream : streams)
      expect_cuda(cudaStreamDestroy(stream));
    guest_reset();
  }
}

/* A life of a context: created, used on arrays of both places, destroyed. */
static void live(const csrn_context_options *options, const csrn_csr *A, double *sums, csrn_status *status) {
  csrn_context *ctx = nullptr;
  void *buffer = nullptr, *pinned = nullptr;
  *status = csrn_context_create(options, &ctx);
  *status = *status ? *status : csrn_axis_sum(ctx, A, CSRN_PER_ROW, sums, CSRN_F64);
  *status = *status ? *status : csrn_buffer_allocate(ctx, 1000, &buffer);
  *status = *status ? *status : csrn_host_buffer_allocate(ctx, 1000, &pinned);
  *status = *status ? *status : csrn_buffer_exchange(ctx, buffer, sums, 8, nullptr, nullptr, 0);
  *status = *status ? *status : csrn_context_reserve(ctx, 5000, 5000);
  *status = *status ? *status : csrn_context_synchronize(ctx);
  csrn_host_buffer_release(ctx, pinned, 1000);
  csrn_buffer_release(ctx, buffer, 1000);
  csrn_context_destroy(ctx);
}

/* Whatever a context on another stream does, in this thread or another, the capture goes on; and this thread
 * has the mode of before. */
static void captures_of_others_go_on(void **) {
  const sample m = guest_matrix(CSRN_F32, 620);
  const csrn_csr A = guest_view(&m);
  auto *sums = static_cast<double *>(host_array(m.n_rows, sizeof(double)));
  const cudaStream_t captured = make_stream(), stream = make_stream();
  const csrn_context_options options = guest_options(stream, nullptr);
  for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
    cudaGraph_t graph = nullptr;
    csrn_status status = CSRN_DEVICE_ERROR;
    expect_cuda(cudaStreamBeginCapture(captured, cudaStreamCaptureModeGlobal));
    if (elsewhere)
      std::thread(live, &options, &A, sums, &status).join();
    else
      live(&options, &A, sums, &status);
    const cudaError_t error = cudaStreamEndCapture(captured, &graph);
    if (status || error)
      fail_msg("%d: %s, the capture: %s", static_cast<int>(status), csrn_error_detail(nullptr),
               cudaGetErrorString(error));
    expect_cuda(cudaGraphDestroy(graph));
  }
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  expect_cuda(cudaThreadExchangeStreamCaptureMode(&mode));
  assert_int_equal(mode, cudaStreamCaptureModeGlobal);
  for (const cudaStream_t its : {captured, stream})
    expect_cuda(cudaStreamDestroy(its));
}

/* A buffer given back in a capture of its stream stays taken, and the capture goes on. */
static void giving_back_in_a_capture(void **) {
  const cudaStream_t stream = make_stream();
  const csrn_context_options options = guest_options(stream, nullptr);
  csrn_context *ctx = fixture_context(&options);
  void *buffer = nullptr;
  cudaGraph_t graph = nullptr;
  size_t n = 99;
  assert_int_equal(csrn_buffer_allocate(ctx, 1000, &buffer), CSRN_OK);
  expect_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  csrn_buffer_release(ctx, buffer, 1000);
  expect_cuda(cudaStreamEndCapture(stream, &graph));
  expect_cuda(cudaGraphGetNodes(graph, nullptr, &n));
  assert_int_equal(n, 0);
  expect_cuda(cudaGraphDestroy(graph));
  expect_cuda(cudaFree(buffer)); /* is still there */
  csrn_context_destroy(ctx);
  expect_cuda(cudaStreamDestroy(stream));
}

/* ---- Contexts beside each other ------------------------------------------------------------ */

/* A flagged matrix, an argument that is wrong and a failed allocation are the matter of one context. */
static void an_error_leaves_the_other_context_alive(void **) {
  const sample m = guest_matrix(CSRN_F32, 621);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  guest_streams(2, 621);
  const cudaStream_t streams[] = {make_stream(), make_stream()};
  ledger book;
  const csrn_context_options options = guest_options(streams[0], nullptr),
                             failing = guest_options(streams[1], &book);
  guest_restart(&options);
  battery b = battery_place(&m);
  battery wrong = battery_place(&m);
  int64_t *indptr = static_cast<int64_t *>(host_array(m.n_rows + 1, sizeof *indptr));
  std::memcpy(indptr, m.indptr, static_cast<size_t>(m.n_rows + 1) * sizeof *indptr);
  indptr[m.n_rows / 2] = m.nnz + 5;
  wrong.A.indptr = place_input(indptr, m.n_rows + 1, sizeof *indptr);
  csrn_context *bad = fixture_context(&failing);
  for (int i = 0; i < N_OPERATIONS; i++) {
    const battery_operation *operation = &battery_operations[i];
    const bool uses_rows = std::strcmp(operation->name, "median") != 0;
    battery_clear(&b);
    book.fail_at = i == 0 ? book.calls : -1;
    const csrn_status failed = operation->run(bad, &wrong);
    const csrn_status right = operation->run(test.ctx, &b);
    assert_int_equal(csrn_axis_sum(bad, nullptr, CSRN_PER_ROW, nullptr, CSRN_F64), CSRN_INVALID_ARGUMENT);
    const csrn_status later = csrn_context_synchronize(bad);
    if (i == 0)
      assert_int_equal(failed, CSRN_OUT_OF_MEMORY);
    else if (uses_rows && failed != CSRN_INVALID_MATRIX)
      assert_int_equal(later, CSRN_INVALID_MATRIX);
    assert_int_equal(right, CSRN_OK);
    expect_ok(csrn_context_synchronize(test.ctx));
    if (battery_hash(&b, operation) != expected[i])
      fail_msg("%s gave other bits beside a context with errors", operation->name);
  }
  battery_clear(&b);
  assert_int_equal(battery_operations[13].run(bad, &b), CSRN_OK);
  assert_int_equal(csrn_context_synchronize(bad), CSRN_OK);
  assert_true(battery_hash(&b, &battery_operations[13]) == expected[13]);
  csrn_context_destroy(bad);
  fixture_restart(3);
  assert_int_equal(book.outstanding, 0);
  for (const cudaStream_t stream : streams)
    expect_cuda(cudaStreamDestroy(stream));
  guest_reset();
}

/* ---- The device of the caller ---------------------------------------------------------------- */

static void expect_device(int expected, const char *after) {
  int device = -1;
  expect_cuda(cudaGetDevice(&device));
  if (device != expected)
    fail_msg("the current device is %d after %s", device, after);
}

/* Whatever a context of another device does, or fails to do. */
static void the_current_device_is_kept(void **) {
  int count = 0;
  guest_devices(2);
  expect_cuda(cudaGetDeviceCount(&count));
  if (count < 2)
    skip();
  const sample m = guest_matrix(CSRN_F32, 631);
  uint64_t expected[N_OPERATIONS];
  usual_hashes(&m, expected);
  ledger book;
  csrn_context_options options = guest_options(nullptr, &book);
  options.device = 1;
  guest_restart(&options);
  expect_device(0, "csrn_context_create()");
  battery b = battery_place(&m);
  expect_device(0, "csrn_buffer_allocate()");
  for (int i = 0; i < N_OPERATIONS; i++) {
    const battery_operation *operation = &battery_operations[i];
    battery_clear(&b);
    book.fail_at = book.calls;
    csrn_status status = operation->run(test.ctx, &b);
    book.fail_at = -1;
    expect_device(0, operation->name);
    assert_true(status == CSRN_OK || status == CSRN_OUT_OF_MEMORY);
    guest_fail_launch(0);
    status = operation->run(test.ctx, &b);
    expect_device(0, operation->name);
    assert_int_equal(status, guest_is_emulated ? CSRN_DEVICE_ERROR : CSRN_OK);
    battery_clear(&b);
    expect_ok(operation->run(test.ctx, &b));
    expect_device(0, operation->name);
    if (battery_hash(&b, operation) != expected[i])
      fail_msg("%s gave other bits on another device", operation->name);
  }
  expect_ok(csrn_context_reserve(test.ctx, 1000, 1000));
  expect_device(0, "csrn_context_reserve()");
  expect_ok(csrn_cuda_set_stream(test.ctx, cudaStreamPerThread));
  expect_device(0, "csrn_context_set_stream()");
  buffers_release();
  expect_device(0, "csrn_buffer_release()");
  csrn_context_destroy(test.ctx);
  test.ctx = nullptr;
  expect_device(0, "csrn_context_destroy()");
  options.device = 2;
  assert_int_equal(csrn_context_create(&options, &test.ctx), CSRN_NO_DEVICE);
  expect_device(0, "a creation that failed");
  assert_int_equal(book.outstanding, 0);
  guest_reset();
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(on_a_stream_nothing_is_waited_for),
      TEST(kernels_one_by_one),
      TEST(changing_the_stream_keeps_the_order),
      TEST(destroying_waits_for_nothing),
      TEST(every_operation_captured_and_replayed),
      TEST(a_stream_set_while_it_is_captured),
      TEST(refused_in_a_capture),
      TEST(host_arrays_between_replays),
      TEST(no_context_is_made_in_a_capture),
      TEST(the_default_stream_instead_of_the_first),
      TEST(a_capture_between_two_streams),
      TEST(captures_of_others_go_on),
      TEST(giving_back_in_a_capture),
      TEST(an_error_leaves_the_other_context_alive),
      TEST(the_current_device_is_kept),
  };
  return fixture_run(argc, argv, "guest_streams", tests, COUNT(tests));
}
