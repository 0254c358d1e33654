/*
 * The frame of a test program: see fixture.h. The variant is proven before the first
 * test and with every context made, so that no test passes on another backend or
 * instruction set than the one in its CTest name.
 */
#include "sample.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKIPPED         77 /* what CTest takes for "skipped" */
#define DEFAULT_THREADS 3  /* odd, so that rows are never split evenly; also on smaller machines */

fixture test;

static fixture variant; /* what this run was asked for: test may stray from it for a while */

/* ---- The allocator -------------------------------------------------------- */

#define GUARD_BYTE 0x5A
#define GUARD      64

/* Lies before the guard in front of each block. */
typedef struct block_header {
  size_t bytes;
  void *raw;
  pthread_t thread;
} block_header;

static void complain(ledger *book, const char *what) {
  if (!book->complaint)
    book->complaint = what;
}

static void *ledger_allocate(void *user, size_t bytes, size_t alignment, void *stream) {
  ledger *book = user;
  if (bytes == 0)
    complain(book, "allocate() called for 0 bytes");
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    complain(book, "allocate() called with an alignment that is no power of two");
    return NULL;
  }
  if (stream)
    complain(book, "allocate() called with a stream for host memory");
  book->bytes += (int64_t)bytes;
  if (book->calls++ == book->fail_at)
    return NULL;
  size_t front = sizeof(block_header) + GUARD + alignment;
  unsigned char *raw = malloc(front + bytes + GUARD);
  if (!raw)
    return NULL;
  uintptr_t address = ((uintptr_t)raw + front) / alignment * alignment;
  unsigned char *data = raw + (address - (uintptr_t)raw);
  block_header header = {bytes, raw, pthread_self()};
  memset(data - GUARD, GUARD_BYTE, GUARD);
  memset(data + bytes, GUARD_BYTE, GUARD);
  memset(data, 0xFF, bytes); /* NaN as a real, -1 as an integer: nothing that is right by chance */
  memcpy(data - GUARD - sizeof header, &header, sizeof header);
  book->outstanding++;
  return data;
}

static void ledger_release(void *user, void *pointer, size_t bytes, void *stream) {
  ledger *book = user;
  unsigned char *data = pointer;
  block_header header;
  if (!pointer) {
    complain(book, "release() called with NULL");
    return;
  }
  memcpy(&header, data - GUARD - sizeof header, sizeof header);
  if (header.bytes != bytes)
    complain(book, "release() called with other bytes than allocate()");
  if (stream)
    complain(book, "release() called with a stream for host memory");
  if (!pthread_equal(header.thread, pthread_self()))
    complain(book, "release() called from another thread than allocate()");
  for (size_t i = 0; i < GUARD; i++)
    if (*(data - GUARD + i) != GUARD_BYTE || data[header.bytes + i] != GUARD_BYTE)
      complain(book, "the library wrote outside its scratch memory");
  book->outstanding--;
  free(header.raw);
}

csrn_allocator ledger_allocator(ledger *book) {
  *book = (ledger){.fail_at = -1};
  return (csrn_allocator){ledger_allocate, ledger_release, book};
}

/* ---- The run -------------------------------------------------------------- */

static bool is_set(const char *variable) {
  const char *value = getenv(variable);
  return value && strcmp(value, "1") == 0;
}

bool fixture_is_brief(void) {
  return is_set("CSRNORM_TEST_BRIEF");
}

/* ---- Contexts ------------------------------------------------------------- */

csrn_context_options fixture_options(int threads) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.backend = test.backend;
  options.threads = threads;
  options.isa = test.isa[0] ? test.isa : NULL;
  return options;
}

csrn_context *fixture_context(const csrn_context_options *options) {
  csrn_context *ctx = NULL;
  csrn_status status = csrn_context_create(options, &ctx);
  if (status)
    fail_msg("csrn_context_create: %s: %s", csrn_status_string(status), csrn_error_detail(NULL));
  assert_non_null(ctx);
  assert_int_equal(csrn_context_backend(ctx), test.backend);
  assert_string_equal(csrn_context_isa(ctx), test.isa);
  return ctx;
}

static void open_context(int threads) {
  csrn_context_options options = fixture_options(threads);
  test.watched = test.backend == CSRN_BACKEND_CPU; /* elsewhere scratch memory is the device's: see guest/ */
  if (test.watched)
    options.allocator = ledger_allocator(&test.book);
  test.ctx = fixture_context(&options);
}

static void close_context(void) {
  buffers_release();
  csrn_context_destroy(test.ctx);
  test.ctx = NULL;
  if (test.book.complaint)
    fail_msg("%s", test.book.complaint);
  assert_int_equal(test.book.outstanding, 0);
}

void fixture_restart(int threads) {
  close_context();
  open_context(threads);
}

void fixture_as(csrn_backend backend, const char *isa, int threads) {
  close_context();
  test.backend = backend;
  test.isa = isa;
  open_context(threads);
}

int fixture_setup(void **state) {
  (void)state;
  buffers_place(PLACE_ALIGNED);
  test = variant;
  open_context(DEFAULT_THREADS);
  return 0;
}

int fixture_teardown(void **state) {
  (void)state;
  close_context();
  host_release();
  return 0;
}

/* ---- Expectations --------------------------------------------------------- */

void fixture_expect_ok(csrn_status status, const char *call, const char *file, int line) {
  const char *stage = "";
  if (status == CSRN_OK && test.ctx) {
    status = csrn_context_synchronize(test.ctx);
    stage = " (found on synchronizing)";
  }
  if (status != CSRN_OK) {
    print_error("%s\n  returned %d%s: %s: %s\n", call, (int)status, stage, csrn_status_string(status),
                csrn_error_detail(test.ctx));
    _fail(file, line);
  }
  buffers_check();
}

csrn_status fixture_finish(csrn_status status) {
  return status == CSRN_OK && test.ctx ? csrn_context_synchronize(test.ctx) : status;
}

void fixture_expect_failure(csrn_status expected, csrn_status status, const char *const *words,
                            const char *call, const char *file, int line) {
  status = fixture_finish(status);
  const char *detail = csrn_error_detail(test.ctx);
  bool right = status == expected && detail[0] != '\0';
  for (const char *const *word = words; *word; word++) {
    if (!strstr(detail, *word)) {
      print_error("the sentence lacks \"%s\"\n", *word);
      right = false;
    }
  }
  if (!right) {
    print_error("%s\n  returned %d, expected %d (%s): \"%s\"\n", call, (int)status, (int)expected,
                csrn_status_string(expected), detail);
    _fail(file, line);
  }
  buffers_check_unchanged();
}

/* ---- The program ---------------------------------------------------------- */

static bool parse_variant(int argc, char **argv) {
  static const struct {
    const char *name;
    csrn_backend backend;
  } names[] = {{"cpu", CSRN_BACKEND_CPU}, {"cuda", CSRN_BACKEND_CUDA}};
  for (size_t i = 0; argc > 1 && i < COUNT(names); i++) {
    if (strcmp(argv[1], names[i].name) != 0)
      continue;
    test.backend = names[i].backend;
    test.isa = argc > 2 ? argv[2] : "";
    return test.backend != CSRN_BACKEND_CPU || test.isa[0];
  }
  return false;
}

/* Whether a machine that is there for its GPU may not skip the tests that need one. */
static bool is_required(csrn_backend backend) {
  return backend == CSRN_BACKEND_CUDA && is_set("CSRNORM_REQUIRE_CUDA");
}

/* 0 if this machine runs the variant, SKIPPED if it cannot, 1 if anything else is wrong. */
static int prove_variant(const char *topic) {
  csrn_context_options options = fixture_options(0);
  csrn_context *ctx;
  csrn_status status = csrn_context_create(&options, &ctx);
  const bool missing = status == CSRN_UNSUPPORTED || status == CSRN_NOT_BUILT || status == CSRN_NO_DEVICE;
  if (missing && !is_required(test.backend)) {
    printf("skipped: %s\n", csrn_error_detail(NULL));
    return SKIPPED;
  }
  if (status) {
    printf("no context: %s\n", csrn_error_detail(NULL));
    return 1;
  }
  bool right = csrn_context_backend(ctx) == test.backend && strcmp(csrn_context_isa(ctx), test.isa) == 0;
  printf("%s: backend %d, instruction set %s, asked for %d, %s%s; %s\n", topic,
         (int)csrn_context_backend(ctx), csrn_context_isa(ctx), (int)test.backend, test.isa,
         fixture_is_brief() ? ", in brief" : "", csrn_build_info());
  fflush(stdout);
  csrn_context_destroy(ctx);
  return right ? 0 : 1;
}

int fixture_run(int argc, char **argv, const char *topic, const struct CMUnitTest *tests, size_t n) {
  if (!parse_variant(argc, argv)) {
    fprintf(stderr, "usage: %s cpu ISA [PATTERN]  or  %s cuda \"\" [PATTERN]\n", argv[0], argv[0]);
    return 2;
  }
  variant = test;
  int wrong = prove_variant(topic);
  if (wrong)
    return wrong;
  if (argc > 3)
    cmocka_set_test_filter(argv[3]);
  return _cmocka_run_group_tests(topic, tests, n, NULL, NULL) == 0 ? 0 : 1;
}
