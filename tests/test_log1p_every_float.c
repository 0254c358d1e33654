/*
 * log1p of every float32 there is, against float64: at most 1 ulp above -1, and the
 * special values at and below it.
 */
#include "expect.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define CHUNK (INT64_C(1) << 22)

static float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The rounded float64 value is nearly always the answer: only others are measured. */
static double error_of(float x, float got) {
  double truth = log1p((double)x);
  return (double)got == (double)(float)truth ? 0.5 : oracle_log1p_error_f32(x, got);
}

/* The largest error over got[k] = log1p(float of first + k). */
static double worst_error(uint32_t first, const float *got, uint32_t *where) {
  double worst = 0.0;
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < CHUNK; k++) {
    double error = error_of(float_of(first + (uint32_t)k), got[k]);
    if (!(error > 1.0))
      continue;
#pragma omp critical
    if (!(error <= worst)) {
      worst = error;
      *where = first + (uint32_t)k;
    }
  }
  return worst;
}

static void every_float32(void **state) {
  (void)state;
  float *x = host_array(CHUNK, sizeof *x), *got = host_array(CHUNK, sizeof *got);
  const int64_t indptr[2] = {0, CHUNK};
  csrn_csr A = {.n_rows = 1, .n_cols = 1, .nnz = CHUNK, .indptr_type = CSRN_I64, .data_type = CSRN_F32};
  A.indptr = place_input(indptr, 2, sizeof *indptr);
  A.data = place_output(CHUNK, sizeof *x);
  for (int64_t first = 0; first < INT64_C(1) << 32; first += CHUNK) {
    for (int64_t k = 0; k < CHUNK; k++)
      x[k] = float_of((uint32_t)(first + k));
    store(A.data, x, (size_t)CHUNK * sizeof *x);
    expect_ok(csrn_log1p(test.ctx, &A, 0.0, A.data, CSRN_F32));
    fetch(got, A.data, (size_t)CHUNK * sizeof *got);
    uint32_t where = 0;
    double worst = worst_error((uint32_t)first, got, &where);
    if (worst > 1.0)
      fail_msg("log1p(%a) (bits 0x%08" PRIx32 ") is %a: %g ulp off", (double)float_of(where), where,
               (double)got[where - (uint32_t)first], worst);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {TEST(every_float32)};
  return fixture_run(argc, argv, "log1p_every_float", tests, COUNT(tests));
}
