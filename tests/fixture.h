/*
 * What every test program stands on: which backend and instruction set it was asked
 * to run, a context of exactly that, an allocator that watches the library's scratch
 * memory, and expectations that check all guarded buffers after every call. Tests
 * never ask which backend runs: matrices and results go through the buffers of
 * buffers.h, which lie where the context works.
 */
#ifndef CSRN_TEST_FIXTURE_H
#define CSRN_TEST_FIXTURE_H

#include "csrnorm/csrnorm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Scratch memory that the library took: what is still out, and what went wrong. */
typedef struct ledger {
  int64_t outstanding;   /* blocks not yet given back */
  int64_t calls;         /* of allocate() */
  int64_t bytes;         /* asked for in all of them */
  int64_t fail_at;       /* the call, counted from 0, that gets NULL; below 0: none */
  const char *complaint; /* the first breach of the allocator's contract, or NULL */
} ledger;

/* An allocator that writes into `book`, fills new memory with NaN bytes, and has
 * sentinels around each block. */
csrn_allocator ledger_allocator(ledger *book);

typedef struct fixture {
  csrn_backend backend;
  const char *isa; /* "" where the backend has none */
  csrn_context *ctx;
  ledger book;  /* of ctx */
  bool watched; /* whether ctx takes its memory through book */
} fixture;

/* The variant of this run; ctx is alive within each test. */
extern fixture test;

/* Whether this run repeats what the optimized build has tested whole, under a sanitizer or with another
 * compiler (CSRNORM_TEST_BRIEF=1 in the environment): then a product of choices may be thinned out, each
 * choice still taken. */
bool fixture_is_brief(void);

/* Options for a context of this run's backend and instruction set. */
csrn_context_options fixture_options(int threads);
/* A context from `options`, proven to be what was asked for. */
csrn_context *fixture_context(const csrn_context_options *options);
/* Replaces test.ctx by one of `threads` threads; releases all buffers. */
void fixture_restart(int threads);
/* The same on another backend and instruction set, to compare with. */
void fixture_as(csrn_backend backend, const char *isa, int threads);

/* TEST(name) is one entry of the table that main() gives to fixture_run(). */
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Runs the tests of a program for the variant in argv: BACKEND [ISA [PATTERN]]. */
int fixture_run(int argc, char **argv, const char *topic, const struct CMUnitTest *tests, size_t n);

/* The status of a call, or what a device reports later of one that returned CSRN_OK. */
csrn_status fixture_finish(csrn_status status);

/* The call returns CSRN_OK; every sentinel and every input is as before. */
#define expect_ok(call) fixture_expect_ok((call), #call, __FILE__, __LINE__)
void fixture_expect_ok(csrn_status status, const char *call, const char *file, int line);

/* The call fails with `code`, its sentence contains each of the words (a
 * comma-separated list of strings), and no buffer at all has changed. */
#define expect_failure(code, call, ...)                                                                      \
  do {                                                                                                       \
    buffers_remember();                                                                                      \
    const csrn_status status_ = (call);                                                                      \
    fixture_expect_failure((code), status_, (const char *const[]){__VA_ARGS__, NULL}, #call, __FILE__,       \
                           __LINE__);                                                                        \
  } while (0)
void fixture_expect_failure(csrn_status expected, csrn_status status, const char *const *words,
                            const char *call, const char *file, int line);

#include "buffers.h"

#endif
