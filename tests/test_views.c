/*
 * Views: indptr that begins above 0 or ends below nnz. Entries outside the rows hold
 * garbage (NaN, indices out of range) that must neither be read nor written. In brief
 * each view has half of the types, the next one the other half.
 */
#include "expect.h"

#include <string.h>

static sample view_of(csrn_dtype type, sample_values kind, int64_t lead, int64_t tail) {
  sample_shape shape = boundary_shape(600, 120);
  shape.lead = lead;
  shape.tail = tail;
  return sample_make(&shape, type, kind, 191);
}

typedef void operation(const sample *m, layout how, csrn_dtype out_type);

static void for_every_view(operation *run) {
  static const struct {
    int64_t lead, tail;
  } views[] = {{1, 0}, {0, 1}, {7, 9}, {33, 64}, {100, 0}, {0, 100}};
  for (size_t v = 0; v < COUNT(views); v++)
    for (int type = 0; type < N_DATA_TYPES; type++)
      for (int out = CSRN_F32; out <= CSRN_F64; out++) {
        if (fixture_is_brief() && (v + (size_t)type) % 2)
          continue;
        buffers_place((placement)((v + (size_t)type + (size_t)out) % N_PLACEMENTS));
        sample m = view_of(data_types[type], SAMPLE_COUNTS, views[v].lead, views[v].tail);
        run(&m, LAYOUT(I32, I64), (csrn_dtype)out);
        if (can_be_in_place(data_types[type], (csrn_dtype)out))
          run(&m, LAYOUT_IN_PLACE, (csrn_dtype)out);
        host_release();
      }
}

static void sum(const sample *m, layout how, csrn_dtype out_type) {
  (void)out_type;
  expect_axis_sum(m, how, CSRN_PER_ROW, NULL, CSRN_F64);
  expect_axis_sum(m, how, CSRN_PER_COLUMN, NULL, CSRN_F64);
}

static void sums_of_views(void **state) {
  (void)state;
  for_every_view(sum);
}

static void scale(const sample *m, layout how, csrn_dtype out_type) {
  float factors[200];
  for (int i = 0; i < 200; i++)
    factors[i] = 0.7f + (float)i;
  expect_axis_scale(m, how, CSRN_PER_ROW, CSRN_DIVIDE, factors, CSRN_F32, CSRN_ZERO_IEEE, out_type);
  expect_axis_scale(m, how, CSRN_PER_COLUMN, CSRN_MULTIPLY, factors, CSRN_F32, CSRN_ZERO_IEEE, out_type);
}

static void scaling_of_views(void **state) {
  (void)state;
  for_every_view(scale);
}

static void normalize(const sample *m, layout how, csrn_dtype out_type) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  for (int bits = 0; bits < 8; bits++) {
    options.axis = (csrn_axis)(bits & 1);
    options.exclude_highly_expressed = bits >> 1 & 1;
    options.log1p = bits >> 2;
    expect_normalize(m, how, &options, out_type);
  }
}

static void normalization_of_views(void **state) {
  (void)state;
  for_every_view(normalize);
}

static void logarithm(const sample *m, layout how, csrn_dtype out_type) {
  expect_log1p(m, how, 0.0, out_type);
  expect_log1p(m, how, 2.0, out_type);
}

static void log1p_of_views(void **state) {
  (void)state;
  for_every_view(logarithm);
}

static void mark(const sample *m, layout how, csrn_dtype out_type) {
  (void)out_type;
  expect_highly_expressed(m, how, CSRN_PER_ROW, 0.05);
  expect_highly_expressed(m, how, CSRN_PER_COLUMN, 0.05);
}

static void exclusion_in_views(void **state) {
  (void)state;
  for_every_view(mark);
}

/* A view of every single row gives what the row gives in the whole. */
static void single_rows(void **state) {
  (void)state;
  sample m = view_of(CSRN_F32, SAMPLE_REALS, 3, 5);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  double *whole = place_output(m.n_rows, 8), *alone = place_output(m.n_rows, 8);
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, whole, CSRN_F64));
  for (int64_t row = 0; row < m.n_rows; row++) {
    csrn_csr view = A;
    view.n_rows = 1;
    view.indptr = (const int64_t *)A.indptr + row;
    expect_ok(csrn_axis_sum(test.ctx, &view, CSRN_PER_ROW, alone + row, CSRN_F64));
  }
  double *a = host_array(m.n_rows, 8), *b = host_array(m.n_rows, 8);
  fetch(a, whole, (size_t)m.n_rows * 8);
  fetch(b, alone, (size_t)m.n_rows * 8);
  expect_values(CSRN_F64, b, a, m.n_rows, "sums of single rows");
}

/* No row at all, though there are entries. */
static void a_view_of_nothing(void **state) {
  (void)state;
  sample_shape shape = {NULL, 0, 10, 6, 5};
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 192);
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_COLUMN, NULL, CSRN_F64);
  expect_normalize(&m, LAYOUT_IN_PLACE, &options, CSRN_F32);
  expect_log1p(&m, LAYOUT_DEFAULT, 0.0, CSRN_F64);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(sums_of_views),      TEST(scaling_of_views), TEST(normalization_of_views), TEST(log1p_of_views),
      TEST(exclusion_in_views), TEST(single_rows),      TEST(a_view_of_nothing),
  };
  return fixture_run(argc, argv, "views", tests, COUNT(tests));
}
