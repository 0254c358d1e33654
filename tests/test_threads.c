/*
 * The same bits for every number of threads, on matrices that split badly: skewed rows,
 * one giant row among empty ones, fewer rows than threads. In brief each matrix has one of
 * the numbers of threads beside a single one, in turn.
 */
#include "battery.h"

#include <dirent.h>
#include <stdlib.h>

static const int thread_counts[] = {1, 2, 3, 7};

static void expect_same_for_all_threads(const sample *m, const char *what) {
  static size_t turn;
  uint64_t first[N_OPERATIONS], other[N_OPERATIONS];
  const size_t last = COUNT(thread_counts) - 1, in_turn = 1 + turn++ % last;
  for (size_t i = 0; i <= last; i++) {
    /* A device takes its time to do the same again: twice shows that it does not depend on chance. */
    if (i && (test.watched ? fixture_is_brief() && i != in_turn : i > 1))
      continue;
    fixture_restart(thread_counts[i]);
    if (test.watched) /* the CPU runs as many as it was told */
      assert_int_equal(csrn_context_threads(test.ctx), thread_counts[i]);
    battery_hashes(m, battery_call, i ? other : first);
    if (i)
      battery_expect(other, first, what);
  }
}

/* Rows of 40 values in the mean: in brief enough for seven threads; a device has no such minimum. */
static int64_t n_rows(void) {
  return !fixture_is_brief() ? 3000 : test.watched ? 1600 : 400;
}

static void every_type(void **state) {
  (void)state;
  for (int type = 0; type < N_DATA_TYPES; type++) {
    sample_shape shape = random_shape(n_rows(), 40, 700, 171);
    sample m = sample_make(&shape, data_types[type], SAMPLE_COUNTS, 171);
    expect_same_for_all_threads(&m, csrn_dtype_name(data_types[type]));
  }
}

static void reals_of_every_kind(void **state) {
  (void)state;
  for (int type = CSRN_F32; type <= CSRN_F64; type++)
    for (int kind = SAMPLE_POSITIVE; kind <= SAMPLE_WILD; kind++) {
      sample_shape shape = random_shape(n_rows(), 40, 700, 172);
      sample m = sample_make(&shape, (csrn_dtype)type, (sample_values)kind, 172);
      expect_same_for_all_threads(&m, "reals");
    }
}

/* So many values that each thread has several shares of them, which the others take when it is late: seven
 * threads are more than there are processors, often. */
static void shares_that_others_take(void **state) {
  (void)state;
  const sample_values kinds[] = {SAMPLE_COUNTS, SAMPLE_WILD};
  for (size_t i = 0; i < COUNT(kinds); i++) {
    sample_shape shape = random_shape(fixture_is_brief() ? 5000 : 20000, 60, 700, 180);
    sample m = sample_make(&shape, CSRN_F32, kinds[i], 180);
    expect_same_for_all_threads(&m, "shares");
    host_release();
  }
}

/* Lengths that halve and halve: most of the work lies in a few rows. */
static void skewed_rows(void **state) {
  (void)state;
  int64_t lengths[2000];
  for (int64_t i = 0; i < 2000; i++)
    lengths[i] = i % 100 == 50 ? 30000 >> (i / 200) : i % 3;
  sample_shape shape = {lengths, 2000, 500, 0, 0};
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_POSITIVE, 173);
  expect_same_for_all_threads(&m, "skewed rows");
}

static void one_giant_row_among_empty_ones(void **state) {
  (void)state;
  int64_t *lengths = host_array(5000, sizeof *lengths);
  lengths[3333] = fixture_is_brief() ? 300001 : 2500001;
  sample_shape shape = {lengths, 5000, 1000, 0, 0};
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_REALS, 174);
  expect_same_for_all_threads(&m, "a giant row");
}

static void giant_row_first_and_last(void **state) {
  (void)state;
  for (int last = 0; last < 2; last++) {
    int64_t lengths[400];
    for (int64_t i = 0; i < 400; i++)
      lengths[i] = i == (last ? 399 : 0) ? 300000 : 20;
    sample_shape shape = {lengths, 400, 1000, 0, 0};
    sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 175);
    expect_same_for_all_threads(&m, "a giant row at an end");
  }
}

static void fewer_rows_than_threads(void **state) {
  (void)state;
  for (int64_t n = 0; n < 4; n++) {
    const int64_t lengths[] = {60000, 100000, 8193};
    sample_shape shape = {lengths, n, 90000, 0, 0};
    sample m = sample_make(&shape, CSRN_F32, SAMPLE_POSITIVE, 176);
    expect_same_for_all_threads(&m, "few rows");
  }
}

static void many_columns_and_few_values(void **state) {
  (void)state;
  sample_shape shape = random_shape(300, 5, fixture_is_brief() ? 50000 : 150000, 177);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_POSITIVE, 177);
  expect_same_for_all_threads(&m, "many columns");
}

/* Column sums whose parts overflow in one thread or another, though the whole does not. */
static void exact_sums_of_parts_out_of_range(void **state) {
  (void)state;
  const int64_t n = 200000;
  int64_t *lengths = host_array(n, sizeof *lengths);
  for (int64_t i = 0; i < n; i++)
    lengths[i] = 1;
  sample_shape shape = {lengths, n, 1, 0, 0};
  sample m = sample_make(&shape, CSRN_I64, SAMPLE_LOW, 178);
  for (int64_t i = 0; i < n; i++) {
    ((int64_t *)m.data)[i] = i < n / 2 ? INT64_MAX / 4 : -(INT64_MAX / 4);
    m.indices[i] = 0;
  }
  ((int64_t *)m.data)[n - 1] += 5;
  for (size_t i = 0; i < COUNT(thread_counts); i++) {
    fixture_restart(thread_counts[i]);
    csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
    int64_t *sums = place_output(1, sizeof *sums), got;
    expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_COLUMN, sums, CSRN_I64));
    fetch(&got, sums, sizeof got);
    assert_int_equal(got, 5);
  }
}

enum { MOST_THREADS = 64 };

/* The numbers of this process's threads; none where the system does not say. */
static int list_threads(long numbers[MOST_THREADS]) {
  int n = 0;
  DIR *folder = opendir("/proc/self/task");
  const struct dirent *entry;
  while (folder && n < MOST_THREADS && (entry = readdir(folder)))
    if (entry->d_name[0] != '.')
      numbers[n++] = strtol(entry->d_name, NULL, 10);
  if (folder)
    closedir(folder);
  return n;
}

static void expect_no_new_threads(const long *before, int n_before) {
  long after[MOST_THREADS];
  const int n = list_threads(after);
  for (int i = 0; i < n; i++) {
    int k = 0;
    while (k < n_before && before[k] != after[i])
      k++;
    assert_true(k < n_before);
  }
}

/* Work of which there is enough for some of the threads only (checking the rows, taking the median) does not
 * end the others, which would have to be made anew. */
static void threads_stay(void **state) {
  (void)state;
  enum { ROWS = 9000, THREADS = 5 };
  if (!test.watched)
    skip();
  fixture_restart(THREADS);
  sample_shape shape = random_shape(ROWS, 5, 100, 179);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 179);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  double *sums = place_output(ROWS, sizeof *sums), *median = place_output(1, sizeof *median);
  long before[MOST_THREADS];
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64));
  const int n_before = list_threads(before);
  expect_ok(csrn_median_positive(test.ctx, sums, ROWS, median));
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64));
  expect_no_new_threads(before, n_before);
}

/* The defaults: some number of threads, at least one. */
static void threads_by_default(void **state) {
  (void)state;
  fixture_restart(0);
  assert_true(csrn_context_threads(test.ctx) >= 1);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(every_type),
      TEST(reals_of_every_kind),
      TEST(shares_that_others_take),
      TEST(skewed_rows),
      TEST(one_giant_row_among_empty_ones),
      TEST(giant_row_first_and_last),
      TEST(fewer_rows_than_threads),
      TEST(many_columns_and_few_values),
      TEST(exact_sums_of_parts_out_of_range),
      TEST(threads_stay),
      TEST(threads_by_default),
  };
  return fixture_run(argc, argv, "threads", tests, COUNT(tests));
}
