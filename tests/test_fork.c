/*
 * Children made by fork(): a context made before or after it works there with one
 * thread and gives the same bits, and the parent goes on as before.
 */
#include "sample.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 500, LENGTH = 300, VALUES = ROWS * LENGTH, COLUMNS = 400 };

static int64_t indptr[ROWS + 1];
static int32_t indices[VALUES];
static float data[VALUES];

typedef struct result {
  float out[VALUES];
  double columns[COLUMNS];
} result;
static result expected, got;

static void make_matrix(void) {
  uint64_t seed = 241;
  for (int64_t i = 0; i <= ROWS; i++)
    indptr[i] = i * LENGTH;
  for (int64_t j = 0; j < VALUES; j++) {
    sample_value(CSRN_F32, data, j, SAMPLE_POSITIVE, &seed);
    indices[j] = (int32_t)random_below(&seed, COLUMNS);
  }
}

/* Median target, logarithms and column sums, through buffers; without cmocka, so that a
 * child may call it. True if all calls succeeded. */
static bool compute(csrn_context *ctx, result *r) {
  enum { N_PARTS = 4 };
  struct {
    const void *host;
    size_t bytes;
    void *buffer;
  } parts[N_PARTS] = {{indptr, sizeof indptr, NULL},
                      {indices, sizeof indices, NULL},
                      {data, sizeof data, NULL},
                      {r->columns, sizeof r->columns, NULL}};
  bool right = true;
  for (int i = 0; i < N_PARTS; i++)
    right = right && !csrn_buffer_allocate(ctx, parts[i].bytes, &parts[i].buffer) &&
            !csrn_buffer_copy(ctx, parts[i].buffer, parts[i].host, parts[i].bytes);
  csrn_csr A = {ROWS,     COLUMNS,  VALUES,  parts[0].buffer, parts[1].buffer, parts[2].buffer,
                CSRN_I64, CSRN_I32, CSRN_F32};
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.log1p = 1;
  right = right && !csrn_axis_sum(ctx, &A, CSRN_PER_COLUMN, parts[3].buffer, CSRN_F64) &&
          !csrn_normalize_total(ctx, &A, &options, A.data, CSRN_F32, NULL, NULL) &&
          !csrn_buffer_copy(ctx, r->out, A.data, sizeof r->out) &&
          !csrn_buffer_copy(ctx, r->columns, parts[3].buffer, sizeof r->columns);
  for (int i = 0; i < N_PARTS; i++)
    csrn_buffer_release(ctx, parts[i].buffer, parts[i].bytes);
  return right;
}

static bool compute_anew(void) {
  csrn_context_options options = fixture_options(3);
  csrn_context *ctx;
  if (csrn_context_create(&options, &ctx) != CSRN_OK)
    return false;
  bool right = compute(ctx, &got);
  csrn_context_destroy(ctx);
  return right;
}

/* The exit code of a child that computes with ctx or (NULL) a context of its own. */
enum { RIGHT = 0, FAILED = 2, WRONG = 3 };

/* A GPU cannot be used in a child of a process that has used one: calls there fail, and do no harm. */
static int expected_code(void) {
  const bool gpu =
      fixture_options(3).backend == CSRN_BACKEND_CUDA && !strstr(csrn_build_info(), "on the host");
  return gpu ? FAILED : RIGHT;
}

/* Runs `compute` in a child. */
static void expect_in_child(csrn_context *ctx) {
  memset(&got, 0, sizeof got);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    alarm(120); /* a child that waits for threads that it does not have */
    bool right = ctx ? compute(ctx, &got) : compute_anew();
    _exit(!right ? FAILED : memcmp(&got, &expected, sizeof got) != 0 ? WRONG : RIGHT);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFEXITED(status))
    fail_msg("the child ended by signal %d", WTERMSIG(status));
  assert_int_equal(WEXITSTATUS(status), expected_code());
}

/* Before this process has called the library. */
static void fork_before_any_work(void **state) {
  (void)state;
  make_matrix();
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    alarm(120);
    _exit(compute_anew() ? RIGHT : FAILED);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), expected_code());
}

/* The program has worker threads of its own, and has not called the library yet either. */
static void fork_after_other_use_of_openmp(void **state) {
  int threads = 0;
#if defined(_OPENMP)
#pragma omp parallel num_threads(3) reduction(+ : threads)
#endif
  threads++;
  assert_int_equal(threads, 3);
  fork_before_any_work(state);
}

static void context_made_before_the_fork(void **state) {
  (void)state;
  make_matrix();
  assert_true(compute(test.ctx, &expected)); /* the workers are there now */
  expect_in_child(test.ctx);
  expect_in_child(test.ctx);
}

static void context_made_in_the_child(void **state) {
  (void)state;
  make_matrix();
  assert_true(compute(test.ctx, &expected));
  expect_in_child(NULL);
}

static void context_never_used_before_the_fork(void **state) {
  (void)state;
  make_matrix();
  assert_true(compute(test.ctx, &expected));
  fixture_restart(3);
  expect_in_child(test.ctx);
}

static void the_parent_goes_on(void **state) {
  (void)state;
  make_matrix();
  assert_true(compute(test.ctx, &expected));
  expect_in_child(test.ctx);
  assert_true(compute(test.ctx, &got));
  assert_memory_equal(&got, &expected, sizeof got);
  if (test.watched)
    assert_int_equal(csrn_context_threads(test.ctx), 3);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(fork_before_any_work),
      TEST(fork_after_other_use_of_openmp),
      TEST(context_made_before_the_fork),
      TEST(context_made_in_the_child),
      TEST(context_never_used_before_the_fork),
      TEST(the_parent_goes_on),
  };
  return fixture_run(argc, argv, "fork", tests, COUNT(tests));
}
