/*
 * What `--device auto` expects an operation to take, by rates with which it can be followed by hand:
 * each term alone, then which of two is the slower, and where the choice turns.
 */
#include "cost.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define N   ((int64_t)1 << 30) /* values of four bytes: 4 GiB */
#define GIB 0x1p30

/* Copying and pinning cost nothing, the link carries a GiB up in 1/8 s, down in 1/4 s, both in 1/10 s each.
 */
static const cli_rates fast = {8 * GIB, 4 * GIB, 10 * GIB, INFINITY, INFINITY, 2 * GIB, 0};
static const cli_job fixed = {N, 4, 4, 0, 1, 0, INT64_MAX};

static void expect(double found, double expected) {
  if (!(fabs(found - expected) <= 1e-12 * fabs(expected)))
    fail_msg("%.17g, expected %.17g", found, expected);
}

static void the_cpu(void **state) {
  (void)state;
  expect(cli_cost_of_cpu(&fast, &fixed), 2); /* 4 GiB at 2 GiB/s */
}

/* 4 GiB up (0.5 s alone), 4 GiB down (1 s alone), both at once 0.8 s: the way down is what counts. */
static void one_pass(void **state) {
  (void)state;
  cli_rates rates = fast;
  cli_job job = fixed;
  expect(cli_cost_of_device(&rates, &job), 1);
  rates.both = 5 * GIB; /* now the two together: 8 GiB at 5 GiB/s */
  expect(cli_cost_of_device(&rates, &job), 1.6);
  rates.up = 2 * GIB; /* now the way up */
  expect(cli_cost_of_device(&rates, &job), 2);
  job.out_bytes = 8; /* 8 GiB down, 4 GiB up: 12 GiB at 5 GiB/s */
  expect(cli_cost_of_device(&rates, &job), 2.4);
  job.out_bytes = 0; /* sums: nothing comes down */
  expect(cli_cost_of_device(&rates, &job), 2);
  job.index_bytes = 4; /* and the indices go up as well */
  job.index_passes = 1;
  expect(cli_cost_of_device(&rates, &job), 4);
}

/* The median: up, then down; or, where it does not stay on the device, up, then up and down at once. */
static void two_passes(void **state) {
  (void)state;
  cli_job job = fixed;
  job.passes = 2;
  expect(cli_cost_of_device(&fast, &job), 0.5 + 1);
  job.room = 4 * N - 1;
  expect(cli_cost_of_device(&fast, &job), 0.5 + 1);
  cli_rates rates = fast;
  rates.both = 5 * GIB;
  expect(cli_cost_of_device(&rates, &job), 0.5 + 1.6);
  job.room++;
  expect(cli_cost_of_device(&rates, &job), 0.5 + 1);
}

/* Exclusion with the median: three times the values and twice the indices, or each once. */
static void indices_travel_too(void **state) {
  (void)state;
  cli_job job = {N, 4, 4, 4, 3, 2, 8 * N};
  expect(cli_cost_of_device(&fast, &job), 1 + 1); /* 8 GiB up, 4 GiB down */
  job.room--;
  expect(cli_cost_of_device(&fast, &job),
         (8 + 8) / 8.0 + 1); /* 8 of values and 8 of indices, and the last pass */
}

/* 4 GiB up and 4 GiB down through the CPU, at 4 GiB/s. */
static void copying_is_slower(void **state) {
  (void)state;
  cli_rates rates = fast;
  rates.copy = 4 * GIB;
  expect(cli_cost_of_device(&rates, &fixed), 2);
  rates.copy = 16 * GIB; /* beside the link, not after it */
  expect(cli_cost_of_device(&rates, &fixed), 1);
}

/* Four chunks of 2^23 values of four bytes: 128 MiB; with indices and wider results 4 x 2^22 x 16 bytes. */
static void pinning_and_calling(void **state) {
  (void)state;
  cli_rates rates = fast;
  rates.pin = GIB;
  expect(cli_cost_of_device(&rates, &fixed), 1 + 0.125);
  cli_job job = {N, 4, 8, 4, 1, 1, INT64_MAX};
  expect(cli_cost_of_device(&rates, &job), 2 + 0.25);
  rates.pin = INFINITY;
  rates.call = 0.5;
  expect(cli_cost_of_device(&rates, &fixed), 1.5);
  rates.pin = GIB;
  job = (cli_job){1 << 10, 4, 4, 0, 1, 0, INT64_MAX}; /* a small matrix: chunks of 65,536 values */
  expect(cli_cost_of_device(&rates, &job), 0.5 + 4 * 65536 * 4 / GIB + 4096 / (4 * GIB));
}

/* The two costs cross where the CPU's rate is 4 GiB/s. */
static void the_choice_turns(void **state) {
  (void)state;
  cli_rates rates = fast;
  rates.cpu = 3.99 * GIB;
  assert_true(cli_cost_of_device(&rates, &fixed) < cli_cost_of_cpu(&rates, &fixed));
  rates.cpu = 4.01 * GIB;
  assert_true(cli_cost_of_device(&rates, &fixed) > cli_cost_of_cpu(&rates, &fixed));
}

static void rates_as_text(void **state) {
  (void)state;
  static const char *const wrong[] = {"",
                                      "1",
                                      "1,2,3,4,5,6",
                                      "1,2,3,4,5,6,7,8",
                                      "1,2,3,4,5,6,-1",
                                      "1,2,,4,5,6,7",
                                      "0,2,3,4,5,6,7",
                                      "1,2,3,4,5,x,7",
                                      "1,2,3,4,5,6,nan",
                                      "1;2;3;4;5;6;7",
                                      "inf,2,3,4,5,6,7"};
  cli_rates r = fast;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    if (cli_rates_parse(wrong[i], &r))
      fail_msg("\"%s\" was taken for rates", wrong[i]);
  assert_true(r.up == fast.up && r.call == fast.call);
  assert_true(cli_rates_parse("1e9,2,3,4,5,6.5,0", &r));
  assert_true(r.up == 1e9 && r.down == 2 && r.both == 3 && r.copy == 4 && r.pin == 5 && r.cpu == 6.5 &&
              r.call == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_cpu),           cmocka_unit_test(one_pass),
      cmocka_unit_test(two_passes),        cmocka_unit_test(indices_travel_too),
      cmocka_unit_test(copying_is_slower), cmocka_unit_test(pinning_and_calling),
      cmocka_unit_test(the_choice_turns),  cmocka_unit_test(rates_as_text),
  };
  return cmocka_run_group_tests_name("cost", tests, NULL, NULL);
}
