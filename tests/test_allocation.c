/*
 * Memory: every allocation of every operation made to fail in turn, what was taken
 * given back, nothing written on failure, nothing taken after csrn_context_reserve().
 */
#include "battery.h"

#include <string.h>

static sample make_matrix(csrn_dtype type) {
  sample_shape shape = random_shape(2000, 30, 500, 231);
  return sample_make(&shape, type, type == CSRN_F32 ? SAMPLE_POSITIVE : SAMPLE_COUNTS, 231);
}

static void needs_the_ledger(void) {
  if (!test.watched)
    skip();
}

static void creating_a_context(void **state) {
  (void)state;
  needs_the_ledger();
  ledger book;
  csrn_context_options options = fixture_options(3);
  options.allocator = ledger_allocator(&book);
  int failures = 0;
  for (int64_t n = 0;; n++) {
    csrn_context *ctx = (csrn_context *)&ctx;
    book.calls = 0;
    book.fail_at = n;
    csrn_status status = csrn_context_create(&options, &ctx);
    if (status == CSRN_OK) {
      assert_true(book.calls <= n);
      csrn_context_destroy(ctx);
      assert_int_equal(book.outstanding, 0);
      break;
    }
    failures++;
    assert_int_equal(status, CSRN_OUT_OF_MEMORY);
    assert_null(ctx);
    assert_int_equal(book.outstanding, 0);
    assert_true(strlen(csrn_error_detail(NULL)) > 0);
  }
  assert_true(failures > 0);
  assert_null(book.complaint);
}

/* Fails allocation 0, 1, 2 ... of the operation on fresh contexts, until none is left
 * to fail; then, and after each failure, the operation gives its usual result. */
static int expect_failures(const sample *m, const battery_operation *operation) {
  int failures = 0;
  uint64_t expected = 0;
  for (int64_t n = -1;; n++) {
    fixture_restart(3);
    battery b = battery_place(m);
    test.book.fail_at = n < 0 ? -1 : test.book.calls + n;
    buffers_remember();
    csrn_status status = operation->run(test.ctx, &b);
    test.book.fail_at = -1;
    if (n < 0) {
      buffers_release();
      fixture_restart(3);
      b = battery_place(m);
      expect_ok(operation->run(test.ctx, &b));
      expected = battery_hash(&b, operation);
      continue;
    }
    if (status == CSRN_OK)
      return failures;
    failures++;
    const char *const words[] = {NULL};
    fixture_expect_failure(CSRN_OUT_OF_MEMORY, status, words, operation->name, __FILE__, __LINE__);
    expect_ok(operation->run(test.ctx, &b));
    if (battery_hash(&b, operation) != expected)
      fail_msg("%s gave other bits after a failed allocation", operation->name);
  }
}

static void every_operation_on(csrn_dtype type) {
  sample m = make_matrix(type);
  int failures = 0;
  for (int i = 0; i < N_OPERATIONS; i++)
    failures += expect_failures(&m, &battery_operations[i]);
  assert_true(failures >= N_OPERATIONS / 2); /* most take scratch memory */
}

static void every_operation_on_reals(void **state) {
  (void)state;
  needs_the_ledger();
  every_operation_on(CSRN_F32);
}

static void every_operation_on_counts(void **state) {
  (void)state;
  needs_the_ledger();
  every_operation_on(CSRN_I32);
}

static void reserving(void **state) {
  (void)state;
  needs_the_ledger();
  int failures = 0;
  for (int64_t n = 0;; n++) {
    fixture_restart(3);
    test.book.fail_at = test.book.calls + n;
    csrn_status status = csrn_context_reserve(test.ctx, 5000, 3000);
    test.book.fail_at = -1;
    if (status == CSRN_OK)
      break;
    failures++;
    assert_int_equal(status, CSRN_OUT_OF_MEMORY);
    expect_ok(csrn_context_reserve(test.ctx, 5000, 3000));
  }
  assert_true(failures > 0);
}

static void a_buffer_that_fails(void **state) {
  (void)state;
  needs_the_ledger();
  void *buffer = &buffer;
  test.book.fail_at = test.book.calls;
  assert_int_equal(csrn_buffer_allocate(test.ctx, 100, &buffer), CSRN_OUT_OF_MEMORY);
  assert_null(buffer);
  test.book.fail_at = -1;
}

/* More than any machine has, from the C library's own allocator. */
static void a_buffer_beyond_memory(void **state) {
  (void)state;
  csrn_context_options options = fixture_options(1);
  csrn_context *ctx = fixture_context(&options);
  const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 63, SIZE_MAX / 2};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    void *buffer = &buffer;
    assert_int_equal(csrn_buffer_allocate(ctx, sizes[i], &buffer), CSRN_OUT_OF_MEMORY);
    assert_null(buffer);
    assert_true(strlen(csrn_error_detail(ctx)) > 0);
  }
  csrn_context_destroy(ctx);
}

/* After reserving, no operation on matrices up to that size allocates anything. */
static void nothing_is_allocated_after_reserve(void **state) {
  (void)state;
  needs_the_ledger();
  for (int type = 0; type < N_DATA_TYPES; type++) {
    sample m = make_matrix(data_types[type]);
    fixture_restart(3);
    battery b = battery_place(&m);
    expect_ok(csrn_context_reserve(test.ctx, m.n_rows, m.n_cols));
    int64_t calls = test.book.calls;
    for (int i = 0; i < N_OPERATIONS; i++) {
      expect_ok(battery_operations[i].run(test.ctx, &b));
      if (test.book.calls != calls)
        fail_msg("%s of %s allocated after csrn_context_reserve()", battery_operations[i].name,
                 csrn_dtype_name(data_types[type]));
    }
  }
}

/* Scratch memory is kept: the second call of the same size takes none. */
static void a_second_call_allocates_nothing(void **state) {
  (void)state;
  needs_the_ledger();
  sample m = make_matrix(CSRN_F32);
  battery b = battery_place(&m);
  for (int i = 0; i < N_OPERATIONS; i++) {
    expect_ok(battery_operations[i].run(test.ctx, &b));
    int64_t calls = test.book.calls;
    expect_ok(battery_operations[i].run(test.ctx, &b));
    if (test.book.calls != calls)
      fail_msg("%s allocated again", battery_operations[i].name);
  }
}

/* Reserving less than there is, nothing, or twice, is no harm. */
static void reserving_is_idempotent(void **state) {
  (void)state;
  expect_ok(csrn_context_reserve(test.ctx, 0, 0));
  expect_ok(csrn_context_reserve(test.ctx, 1000, 2000));
  int64_t calls = test.book.calls;
  expect_ok(csrn_context_reserve(test.ctx, 1000, 2000));
  expect_ok(csrn_context_reserve(test.ctx, 10, 5));
  expect_ok(csrn_context_reserve(test.ctx, 0, 0));
  assert_int_equal(test.book.calls, calls);
}

/* O(rows + threads * columns): a matrix of many values takes no more than one of few; one of long rows less,
 * for which no tables of logarithms are kept. */
static void scratch_does_not_grow_with_values(void **state) {
  (void)state;
  needs_the_ledger();
  const int64_t means[] = {2, 100, 2000};
  int64_t taken[3];
  for (int k = 0; k < 3; k++) {
    sample_shape shape = random_shape(500, means[k], 50, 232);
    sample m = sample_make(&shape, CSRN_F32, SAMPLE_POSITIVE, 232);
    fixture_restart(3);
    battery b = battery_place(&m);
    int64_t before = test.book.bytes;
    for (int i = 0; i < N_OPERATIONS; i++)
      expect_ok(battery_operations[i].run(test.ctx, &b));
    taken[k] = test.book.bytes - before;
  }
  assert_int_equal(taken[0], taken[1]);
  assert_true(taken[2] <= taken[1]);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(creating_a_context),
      TEST(every_operation_on_reals),
      TEST(every_operation_on_counts),
      TEST(reserving),
      TEST(a_buffer_that_fails),
      TEST(a_buffer_beyond_memory),
      TEST(nothing_is_allocated_after_reserve),
      TEST(a_second_call_allocates_nothing),
      TEST(reserving_is_idempotent),
      TEST(scratch_does_not_grow_with_values),
  };
  return fixture_run(argc, argv, "allocation", tests, COUNT(tests));
}
