/*
 * log1p of every float32 there is: the bits that test_log1p_exhaustive.c found to be right.
 */
#include "expect.h"
#include "numerics/log1p_reference.h"

#include <string.h>

#define CHUNK (INT64_C(1) << 17) /* stays in the second-level cache */

/* The sum over bits[k] = log1p(float of first + k). */
static uint64_t checksum(uint32_t first, const uint32_t *bits) {
  uint64_t sum = 0;
  for (uint32_t k = 0; k < CHUNK; k++)
    sum += weighted_result(first + k, bits[k]);
  return sum;
}

static void every_float32(void **state) {
  (void)state;
  uint32_t *bits = host_array(CHUNK, sizeof *bits);
  const int64_t indptr[2] = {0, CHUNK};
  csrn_csr A = {.n_rows = 1, .n_cols = 1, .nnz = CHUNK, .indptr_type = CSRN_I64, .data_type = CSRN_F32};
  A.indptr = place_input(indptr, 2, sizeof *indptr);
  A.data = place_output(CHUNK, sizeof *bits);
  uint64_t sum = 0;
  for (int64_t first = 0; first < INT64_C(1) << 32; first += CHUNK) {
    for (uint32_t k = 0; k < CHUNK; k++)
      bits[k] = (uint32_t)first + k;
    store(A.data, bits, (size_t)CHUNK * sizeof *bits);
    expect_ok(csrn_log1p(test.ctx, &A, 0.0, A.data, CSRN_F32));
    fetch(bits, A.data, (size_t)CHUNK * sizeof *bits);
    sum += checksum((uint32_t)first, bits);
  }
  assert_true(sum == LOG1P_CHECKSUM);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {TEST(every_float32)};
  return fixture_run(argc, argv, "log1p_every_float", tests, COUNT(tests));
}
