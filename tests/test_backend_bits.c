/*
 * This run's backend and instruction set against the plain C of the generic CPU kernels, on
 * random matrices of every type: rows for each way in which a device shares work (a few
 * threads, a warp, a block, all blocks), few and many columns, values of every kind. Like
 * test_isa_bits.c, but it keeps the results instead of hashes, to name the first element
 * that differs: what a device did wrong has to be understood from its first report. In
 * brief each type has one kind of values for each shape, another one for the next.
 */
#include "battery.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- Results -------------------------------------------------------------- */

enum { N_PARTS = 5 };

/* What an operation left in one of its outputs. */
typedef struct part {
  const char *name;
  csrn_dtype type;
  int64_t n;
  unsigned char *values;
} part;

typedef struct result {
  part parts[N_PARTS];
} result;

static part keep(const char *name, csrn_dtype type, const void *array, size_t bytes) {
  part p = {name, type, (int64_t)(bytes / csrn_dtype_size(type)), host_array((int64_t)bytes, 1)};
  fetch(p.values, array, bytes);
  return p;
}

static result result_of(const battery *b, const battery_operation *operation) {
  return (result){{keep("out", operation->out_type, b->out, (size_t)b->A.nnz * 8),
                   keep("vector", operation->vector_type, b->vector, (size_t)b->n * 8),
                   keep("mask", CSRN_U8, b->mask, (size_t)b->n),
                   keep("median", CSRN_F64, b->median, sizeof *b->median),
                   keep("report", CSRN_F64, b->report, sizeof *b->report)}};
}

static void run_all_as(const sample *m, layout how, result results[N_OPERATIONS]) {
  battery b = battery_place_as(m, how);
  for (int i = 0; i < N_OPERATIONS; i++) {
    battery_clear(&b);
    csrn_status status = battery_call(&battery_operations[i], &b);
    if (status)
      fail_msg("%s: %d: %s", battery_operations[i].name, (int)status, csrn_error_detail(test.ctx));
    expect_ok(status);
    results[i] = result_of(&b, &battery_operations[i]);
  }
  buffers_release();
}

static void run_all(const sample *m, result results[N_OPERATIONS]) {
  run_all_as(m, LAYOUT_DEFAULT, results);
}

static uint64_t bits_at(const part *p, int64_t i) {
  uint64_t bits = 0;
  size_t size = csrn_dtype_size(p->type);
  memcpy(&bits, p->values + (size_t)i * size, size);
  return bits;
}

static bool is_nan_at(const part *p, int64_t i) {
  return is_real(p->type) && isnan(load_f64(p->type, p->values, i));
}

/* How many elements differ; the first one is printed. All NaN are the same value. */
static int64_t count_differences(const part *got, const part *expected, const char *operation) {
  int64_t n = 0;
  if (memcmp(got->values, expected->values, (size_t)got->n * csrn_dtype_size(got->type)) == 0)
    return 0;
  for (int64_t i = 0; i < got->n; i++) {
    if (bits_at(got, i) == bits_at(expected, i) || (is_nan_at(got, i) && is_nan_at(expected, i)))
      continue;
    if (n++ == 0)
      print_error("%s: %s[%" PRId64 "] is 0x%" PRIx64 " (%.17g), expected 0x%" PRIx64 " (%.17g)\n", operation,
                  got->name, i, bits_at(got, i), load_f64(got->type, got->values, i), bits_at(expected, i),
                  load_f64(expected->type, expected->values, i));
  }
  return n;
}

static int64_t compare_all(const result *got, const result *expected) {
  int64_t wrong = 0;
  for (int i = 0; i < N_OPERATIONS; i++)
    for (int k = 0; k < N_PARTS; k++)
      wrong += count_differences(&got[i].parts[k], &expected[i].parts[k], battery_operations[i].name);
  return wrong;
}

/* ---- Comparing backends --------------------------------------------------- */

static const char *const kind_names[] = {"low", "counts", "positive", "reals", "finite", "wild"};

/* The matrix on both; every difference is told before the test fails. */
static int64_t compare_sample(const sample *m, csrn_dtype type, sample_values kind, uint64_t seed,
                              layout how) {
  const fixture asked = test;
  static result expected[N_OPERATIONS], got[N_OPERATIONS];
  fixture_as(CSRN_BACKEND_CPU, "generic", 1);
  run_all_as(m, how, expected);
  fixture_as(asked.backend, asked.isa, 3);
  run_all_as(m, how, got);
  const int64_t wrong = compare_all(got, expected);
  if (wrong)
    print_error("  in %s %s, %" PRId64 " rows x %" PRId64 " columns, %" PRId64 " values, seed %" PRIu64
                ", indices of %s: %" PRId64 " elements differ\n",
                csrn_dtype_name(type), kind_names[kind], m->n_rows, m->n_cols, m->nnz, seed,
                csrn_dtype_name(how.indices), wrong);
  return wrong;
}

static int64_t compare_as(const sample_shape *shape, csrn_dtype type, sample_values kind, uint64_t seed,
                          layout how) {
  const sample m = sample_make(shape, type, kind, seed);
  return compare_sample(&m, type, kind, seed, how);
}

static int64_t compare_on(const sample_shape *shape, csrn_dtype type, sample_values kind, uint64_t seed) {
  return compare_as(shape, type, kind, seed, LAYOUT_DEFAULT);
}

/* Kinds that make sense for a type: reals of every sort, or integers of every size. */
static const sample_values kinds_of_reals[] = {SAMPLE_COUNTS, SAMPLE_POSITIVE, SAMPLE_REALS, SAMPLE_FINITE,
                                               SAMPLE_WILD};
static const sample_values kinds_of_integers[] = {SAMPLE_LOW, SAMPLE_COUNTS, SAMPLE_FINITE};

/* Every type with values of every kind; on random shapes, or, if it is not NULL, on `fixed`. */
static void every_type_with(const sample_shape *fixed, int64_t n_rows, int64_t mean, int64_t n_cols,
                            uint64_t seed) {
  static size_t turn; /* of the shapes */
  int64_t wrong = 0;
  for (int t = 0; t < N_DATA_TYPES; t++) {
    const bool real = is_real(data_types[t]);
    const sample_values *kinds = real ? kinds_of_reals : kinds_of_integers;
    const size_t n_kinds = real ? COUNT(kinds_of_reals) : COUNT(kinds_of_integers);
    for (size_t k = 0; k < n_kinds; k++, seed++) {
      if (fixture_is_brief() && k != turn % n_kinds)
        continue;
      sample_shape shape = fixed ? *fixed : random_shape(n_rows, mean, n_cols, seed);
      wrong += compare_on(&shape, data_types[t], kinds[k], seed);
      host_release();
    }
  }
  turn++;
  if (wrong)
    fail_msg("%" PRId64 " elements differ from the generic kernels", wrong);
}

static void every_type_on(int64_t n_rows, int64_t mean, int64_t n_cols, uint64_t seed) {
  every_type_with(NULL, n_rows, mean, n_cols, seed);
}

static void very_short_rows(void **state) {
  (void)state;
  every_type_on(2000, 3, 200, 301);
}

static void short_rows(void **state) {
  (void)state;
  every_type_on(400, 60, 500, 331);
}

/* Rows on either side of what a piece of a sum, and what a tile in shared memory has room for, where rows are
 * short on average, and a little less so. */
static void long_rows_among_short_ones(void **state) {
  (void)state;
  static const int64_t n_rows[] = {400, 100}, at[] = {4095, 4096, 4097, 5000, 8191, 8192, 8193};
  for (size_t k = 0; k < COUNT(n_rows); k++) {
    int64_t lengths[400];
    for (int64_t i = 0; i < n_rows[k]; i++)
      lengths[i] = i % 13 == 5 && i / 13 < (int64_t)COUNT(at) ? at[i / 13] : i % 7;
    const sample_shape shape = {lengths, n_rows[k], 9000, 0, 0};
    every_type_with(&shape, 0, 0, 0, 541 + k);
  }
}

static void rows_of_a_warp(void **state) {
  (void)state;
  every_type_on(40, 1000, 3000, 361);
}

static void rows_of_a_block(void **state) {
  (void)state;
  every_type_on(5, 9000, 20000, 391);
}

static void one_column(void **state) {
  (void)state;
  every_type_on(300, 20, 1, 421);
}

/* More columns than any shared memory has counters for. */
static void many_columns(void **state) {
  (void)state;
  every_type_on(60, 500, 200000, 451);
}

/* Rows of more than 64 pieces of 4,096 among others: a block's own, or, where there are as many columns (of
 * every other matrix here), shared by all blocks (cuda_walk.h). */
static void giant_rows(void **state) {
  (void)state;
  static const struct {
    csrn_dtype type;
    sample_values kind;
  } matrices[] = {{CSRN_F32, SAMPLE_COUNTS},
                  {CSRN_F32, SAMPLE_REALS},
                  {CSRN_F64, SAMPLE_REALS},
                  {CSRN_U8, SAMPLE_COUNTS},
                  {CSRN_I64, SAMPLE_FINITE}};
  enum { GIANT = 64 * 4096 };
  static const int64_t lengths[] = {10, GIANT, 0, GIANT + 1, 5000, GIANT + 24575, 1};
  int64_t wrong = 0;
  for (size_t i = 0; i < (fixture_is_brief() ? 2 : COUNT(matrices)); i++) {
    const sample_shape shape = {lengths, COUNT(lengths), i % 2 ? 3000 : GIANT + 1, 0, 0};
    wrong += compare_on(&shape, matrices[i].type, matrices[i].kind, 481 + i);
    host_release();
  }
  if (wrong)
    fail_msg("%" PRId64 " elements differ from the generic kernels", wrong);
}

/* Rows whose first values are small counts, as if all were, but one of `share` of the others is anything. */
static void rows_that_begin_as_counts(void **state) {
  (void)state;
  static const csrn_dtype types[] = {CSRN_F32, CSRN_F64, CSRN_U16};
  static const int64_t lengths[] = {130, 999, 0, 1024, 1025, 3000, 33, 4096, 2047, 5, 9000};
  static const int64_t shares[] = {1, 2, 30};
  int64_t wrong = 0;
  for (size_t t = 0; t < (fixture_is_brief() ? 1 : COUNT(types)); t++)
    for (size_t k = 0; k < COUNT(shares); k++) {
      const uint64_t seed = 741 + 10 * t + k;
      const sample_values kind = is_real(types[t]) ? SAMPLE_WILD : SAMPLE_FINITE;
      const sample_shape shape = {lengths, COUNT(lengths), 10000, (int64_t)k, 0};
      const sample m = sample_make(&shape, types[t], SAMPLE_LOW, seed);
      const sample other = sample_make(&shape, types[t], kind, seed);
      const size_t size = csrn_dtype_size(types[t]);
      uint64_t random = seed;
      for (int64_t r = 0; r < m.n_rows; r++)
        for (int64_t i = m.indptr[r] + 32; i < m.indptr[r + 1]; i++)
          if (random_below(&random, shares[k]) == 0)
            memcpy((char *)m.data + (size_t)i * size, (const char *)other.data + (size_t)i * size, size);
      wrong += compare_sample(&m, types[t], kind, seed, LAYOUT_DEFAULT);
      host_release();
    }
  if (wrong)
    fail_msg("%" PRId64 " elements differ from the generic kernels", wrong);
}

/* Rows of small counts with so many other values, up to their last: about as many as a warp has threads,
 * since it gives each an entry of its own in a table of logarithms. Where Inf and NaN are among
 * them, a row has no other results: few rows do. */
static void rows_with_some_that_no_table_has(void **state) {
  (void)state;
  enum { N_COUNTS = 7, N_LENGTHS = 5 };
  static const int64_t counts[N_COUNTS] = {0, 1, 31, 32, 33, 64, 65},
                       longest[N_LENGTHS] = {130, 1000, 1025, 4096, 6000};
  static const double others[] = {64.0, 65.5,   0.5,   -0.0,   1e6,    0x1p-70,         -1.0,
                                  63.5, 1000.0, 1e-45, -1e-50, 0x1p24, 2.9999999999999, INFINITY,
                                  NAN};
  int64_t lengths[N_COUNTS * N_LENGTHS], wrong = 0;
  for (int r = 0; r < N_COUNTS * N_LENGTHS; r++)
    lengths[r] = longest[r / N_COUNTS];
  for (size_t t = 0; t < (fixture_is_brief() ? 1 : N_DATA_TYPES); t++) {
    const csrn_dtype type = data_types[t];
    const sample_shape shape = {lengths, COUNT(lengths), 10000, 1, 0};
    const sample m = sample_make(&shape, type, SAMPLE_LOW, 781 + t);
    for (int64_t r = 0; r < m.n_rows; r++) {
      const int64_t n = counts[r % N_COUNTS], step = (lengths[r] - 40) / (n + 1);
      for (int64_t k = 0; k < n; k++) {
        const int64_t i = m.indptr[r + 1] - 1 - k * step;
        if (is_real(type))
          store_f64(type, m.data, i, others[(r + k) % (int64_t)(COUNT(others) - (k > 2 ? 2 : 0))]);
        else
          store_int(type, m.data, i, 64 + k);
      }
    }
    wrong += compare_sample(&m, type, SAMPLE_LOW, 781 + t, LAYOUT_DEFAULT);
    host_release();
  }
  if (wrong)
    fail_msg("%" PRId64 " elements differ from the generic kernels", wrong);
}

/* A length for a row: all of a matrix alike, or a few among many. */
static int64_t draw_length(int64_t way, uint64_t *seed) {
  static const int64_t most[] = {20, 300, 2000};
  const bool is_long = random_below(seed, 10) == 0;
  if (way < (int64_t)COUNT(most))
    return random_below(seed, most[way] + 1);
  return is_long ? 3000 + random_below(seed, 4000) : random_below(seed, way == 3 ? 100 : 2);
}

/* Shapes, types of values and of indices, and where the arrays begin, all drawn by lot. */
static void drawn_by_lot(void **state) {
  (void)state;
  enum { MOST_ROWS = 60 };
  static const csrn_dtype offsets[] = {CSRN_I32, CSRN_I64, CSRN_U32, CSRN_U64};
  int64_t wrong = 0;
  for (uint64_t seed = 601; seed < (fixture_is_brief() ? 621 : 721); seed++) {
    uint64_t random = seed;
    int64_t lengths[MOST_ROWS];
    const csrn_dtype type = data_types[random_below(&random, N_DATA_TYPES)];
    const layout how = {offsets[random_below(&random, COUNT(offsets))],
                        index_types[random_below(&random, N_INDEX_TYPES)], false};
    const int64_t way = random_below(&random, 5), n_rows = random_below(&random, MOST_ROWS + 1);
    const int64_t most_columns = how.indices == CSRN_U8 ? 255 : random_below(&random, 4) ? 3000 : 30000;
    for (int64_t i = 0; i < n_rows; i++)
      lengths[i] = draw_length(way, &random);
    const sample_shape shape = {lengths, n_rows, 1 + random_below(&random, most_columns),
                                random_below(&random, 9), random_below(&random, 9)};
    const sample_values kind = is_real(type)
                                   ? kinds_of_reals[random_below(&random, COUNT(kinds_of_reals))]
                                   : kinds_of_integers[random_below(&random, COUNT(kinds_of_integers))];
    buffers_place(random_below(&random, 2) ? PLACE_SHIFTED : PLACE_ALIGNED);
    wrong += compare_as(&shape, type, kind, seed, how);
    host_release();
  }
  if (wrong)
    fail_msg("%" PRId64 " elements differ from the generic kernels", wrong);
}

/* The comparison can fail: one bit of one element is found. */
static void a_single_bit_is_found(void **state) {
  (void)state;
  static result one[N_OPERATIONS], other[N_OPERATIONS];
  sample_shape shape = random_shape(20, 30, 40, 511);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 511);
  run_all(&m, one);
  run_all(&m, other);
  assert_int_equal(compare_all(one, other), 0);
  for (int k = 0; k < N_PARTS; k++) {
    part *p = &other[0].parts[k];
    p->values[(size_t)(p->n - 1) * csrn_dtype_size(p->type)] ^= 1;
    assert_int_equal(compare_all(one, other), 1);
    p->values[(size_t)(p->n - 1) * csrn_dtype_size(p->type)] ^= 1;
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(very_short_rows),
      TEST(long_rows_among_short_ones),
      TEST(short_rows),
      TEST(rows_of_a_warp),
      TEST(rows_of_a_block),
      TEST(one_column),
      TEST(many_columns),
      TEST(giant_rows),
      TEST(drawn_by_lot),
      TEST(rows_that_begin_as_counts),
      TEST(rows_with_some_that_no_table_has),
      TEST(a_single_bit_is_found),
  };
  return fixture_run(argc, argv, "backend_bits", tests, COUNT(tests));
}
