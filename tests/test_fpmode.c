/*
 * The caller's floating-point mode: other rounding, flush-to-zero, exceptions that
 * trap. None changes a bit of any result, and each is as before after the call. In brief
 * values are counts or of any bits.
 */
#define _GNU_SOURCE /* feenableexcept() */
#include "battery.h"

#include <fenv.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#define FLUSH_BITS 0x8040u /* FTZ and DAZ of MXCSR */
static uint64_t read_mode(void) {
  return _mm_getcsr();
}
static void write_mode(uint64_t mode) {
  _mm_setcsr((unsigned)mode);
}
#elif defined(__aarch64__)
#define FLUSH_BITS (UINT64_C(1) << 24) /* FZ of FPCR */
static uint64_t read_mode(void) {
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
static void write_mode(uint64_t mode) {
  __asm__ volatile("msr fpcr, %0" : : "r"(mode));
}
#else
#define FLUSH_BITS 0u
static uint64_t read_mode(void) {
  return 0;
}
static void write_mode(uint64_t mode) {
  (void)mode;
}
#endif

#define STICKY 0x3Fu /* MXCSR's flags of what has happened: not a mode */

static int rounding;
static bool flush, trap;

static void enter(fenv_t *saved) {
  fegetenv(saved);
  fesetround(rounding);
  if (flush)
    write_mode(read_mode() | FLUSH_BITS);
  if (trap) {
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW | FE_INEXACT);
  }
}

static csrn_status invoke_in_mode(const battery_operation *operation, const battery *b) {
  fenv_t saved;
  enter(&saved);
  uint64_t before = read_mode();
  csrn_status status = operation->run(test.ctx, b);
  uint64_t after = read_mode();
  int round_after = fegetround(), traps_after = fegetexcept();
  fesetenv(&saved);
  assert_int_equal(after & ~(uint64_t)STICKY, before & ~(uint64_t)STICKY);
  assert_int_equal(round_after, rounding);
  assert_true((traps_after != 0) == trap);
  return status;
}

/* Contexts made in the mode, and operations called in it. */
static void expect_no_effect(int round, bool flush_to_zero, bool trapping, const char *what) {
  for (int kind = SAMPLE_LOW; kind <= SAMPLE_WILD; kind++)
    for (int type = CSRN_F32; type <= CSRN_F64; type++) {
      if (fixture_is_brief() && kind != SAMPLE_COUNTS && kind != SAMPLE_WILD)
        continue;
      sample_shape shape = boundary_shape(5000, 300);
      sample m = sample_make(&shape, (csrn_dtype)type, (sample_values)kind, 201);
      uint64_t expected[N_OPERATIONS], got[N_OPERATIONS];
      fixture_restart(3);
      battery_hashes(&m, battery_call, expected);
      rounding = round;
      flush = flush_to_zero;
      trap = trapping;
      fenv_t saved;
      enter(&saved);
      fixture_restart(3);
      fesetenv(&saved);
      battery_hashes(&m, invoke_in_mode, got);
      battery_expect(got, expected, what);
      host_release();
    }
}

static void rounding_upward(void **state) {
  (void)state;
  expect_no_effect(FE_UPWARD, false, false, "rounding upward");
}

static void rounding_downward(void **state) {
  (void)state;
  expect_no_effect(FE_DOWNWARD, false, false, "rounding downward");
}

static void rounding_toward_zero(void **state) {
  (void)state;
  expect_no_effect(FE_TOWARDZERO, false, false, "rounding toward zero");
}

static void flush_to_zero(void **state) {
  (void)state;
  if (!FLUSH_BITS)
    skip();
  expect_no_effect(FE_TONEAREST, true, false, "flush-to-zero");
}

static void flush_and_rounding(void **state) {
  (void)state;
  expect_no_effect(FE_UPWARD, true, false, "flush-to-zero and rounding upward");
}

/* A caller that traps on NaN and division by zero gets no signal from the library. */
static void trapping_exceptions(void **state) {
  (void)state;
  fenv_t saved;
  fegetenv(&saved);
  bool can_trap = feenableexcept(FE_INVALID) != -1 && fegetexcept() == FE_INVALID;
  fesetenv(&saved);
  if (!can_trap)
    skip();
  expect_no_effect(FE_TONEAREST, false, true, "trapping exceptions");
}

/* The mode does reach this program's own arithmetic: the tests above test something. */
static void modes_are_real(void **state) {
  (void)state;
  volatile double one = 1.0, tiny = 0x1p-60, small = 0x1p-1070, half = 0.5;
  fenv_t saved;
  rounding = FE_UPWARD;
  flush = FLUSH_BITS != 0;
  trap = false;
  enter(&saved);
  volatile double sum = one + tiny, product = small * half; /* stored before the mode goes */
  fesetenv(&saved);
  assert_true(sum > one);
  assert_true((product == 0.0) == (FLUSH_BITS != 0));
  assert_true(small * half > 0.0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(rounding_upward),    TEST(rounding_downward),   TEST(rounding_toward_zero), TEST(flush_to_zero),
      TEST(flush_and_rounding), TEST(trapping_exceptions), TEST(modes_are_real),
  };
  return fixture_run(argc, argv, "fpmode", tests, COUNT(tests));
}
