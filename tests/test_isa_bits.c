/*
 * The same bits everywhere: this run's backend and instruction set against the plain C
 * of the generic CPU kernels, and both against hashes recorded once, which tie other
 * compilers and machines to the same bits.
 */
#include "battery.h"

static const struct {
  csrn_dtype type;
  sample_values kind;
  int64_t longest;
} matrices[] = {
    {CSRN_F32, SAMPLE_COUNTS, 50000}, {CSRN_F32, SAMPLE_REALS, 9000},  {CSRN_F32, SAMPLE_WILD, 1100},
    {CSRN_F64, SAMPLE_COUNTS, 9000},  {CSRN_F64, SAMPLE_REALS, 9000},  {CSRN_F64, SAMPLE_WILD, 1100},
    {CSRN_U8, SAMPLE_COUNTS, 9000},   {CSRN_U16, SAMPLE_COUNTS, 9000}, {CSRN_U32, SAMPLE_FINITE, 9000},
    {CSRN_I32, SAMPLE_FINITE, 9000},  {CSRN_I64, SAMPLE_FINITE, 9000}, {CSRN_F32, SAMPLE_LOW, 9000},
};
enum { N_MATRICES = COUNT(matrices) };

static sample make_matrix(int i) {
  sample_shape shape = boundary_shape(matrices[i].longest, 1000);
  return sample_make(&shape, matrices[i].type, matrices[i].kind, 211 + (uint64_t)i);
}

static void hashes_of(int i, uint64_t hashes[N_OPERATIONS]) {
  sample m = make_matrix(i);
  battery_hashes(&m, battery_call, hashes);
  host_release();
}

static void equal_to_the_generic_kernels(void **state) {
  (void)state;
  uint64_t expected[N_MATRICES][N_OPERATIONS], got[N_OPERATIONS];
  const csrn_backend backend = test.backend;
  const char *isa = test.isa;
  fixture_as(CSRN_BACKEND_CPU, "generic", 1);
  for (int i = 0; i < N_MATRICES; i++)
    hashes_of(i, expected[i]);
  fixture_as(backend, isa, 3);
  for (int i = 0; i < N_MATRICES; i++) {
    hashes_of(i, got);
    battery_expect(got, expected[i], csrn_dtype_name(matrices[i].type));
  }
}

/* Of all matrices together, per operation. They change with the numeric contract only:
 * then a failing run prints the new ones. */
static const uint64_t recorded[N_OPERATIONS] = {
    UINT64_C(0xB5DA341DCEE423B5), /* row sums */
    UINT64_C(0x9BAA82A2FA35D6C1), /* row sums, exact */
    UINT64_C(0x9CA3A148A03E880D), /* row sums, excluding */
    UINT64_C(0x4A0271364D6856C4), /* column sums */
    UINT64_C(0xD7A3E1503911438B), /* column sums, exact */
    UINT64_C(0x9A65C34B669C56CD), /* column sums, excluding */
    UINT64_C(0x02232DD3E8A8E461), /* divide rows */
    UINT64_C(0xDF651560EDBE52FE), /* divide rows, float64 */
    UINT64_C(0x4906294BA8997135), /* multiply columns */
    UINT64_C(0x3FBCD1694A52BF15), /* divide columns, float64 */
    UINT64_C(0x232E81A94CDB0762), /* median */
    UINT64_C(0x4DA8B71BDC32D9A9), /* highly expressed */
    UINT64_C(0x36B767EB171F366F), /* highly expressed, columns */
    UINT64_C(0xDE5C2D086BC6C2C2), /* normalize, median */
    UINT64_C(0x45A7C276999A22A3), /* normalize, fixed, log1p */
    UINT64_C(0x004080177E738A8B), /* normalize, excluding, log2 */
    UINT64_C(0xF8BF522771377D31), /* normalize, mean, float64 */
    UINT64_C(0x8311C474DAC118B1), /* normalize columns */
    UINT64_C(0xA43458AF1221CE77), /* normalize_with */
    UINT64_C(0x357C33B8C64A18A5), /* log1p */
    UINT64_C(0x1219C8491F1C54C9), /* log10(1 + x), float64 */
    UINT64_C(0x01C1A52976575055), /* check */
    UINT64_C(0xD563DCB41B8D95D2), /* normalize, fixed, excluding, log1p */
};

static void equal_to_the_recorded_hashes(void **state) {
  (void)state;
  uint64_t all[N_OPERATIONS] = {0}, hashes[N_OPERATIONS];
  for (int i = 0; i < N_MATRICES; i++) {
    hashes_of(i, hashes);
    for (int k = 0; k < N_OPERATIONS; k++)
      all[k] = all[k] * 31 + hashes[k];
  }
  battery_expect(all, recorded, "all matrices");
}

/* One bit of one output changes the hash: the comparison above can fail. */
static void a_single_bit_changes_the_hash(void **state) {
  (void)state;
  sample_shape shape = boundary_shape(100, 50);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 212);
  battery b = battery_place(&m);
  expect_ok(battery_call(&battery_operations[0], &b));
  uint64_t before = battery_hash(&b, &battery_operations[0]);
  unsigned char byte;
  unsigned char *const arrays[] = {b.out, b.vector, b.mask, (unsigned char *)b.report};
  for (size_t i = 0; i < COUNT(arrays); i++) {
    fetch(&byte, arrays[i], 1);
    byte ^= 1;
    store(arrays[i], &byte, 1);
    assert_true(battery_hash(&b, &battery_operations[0]) != before);
    byte ^= 1;
    store(arrays[i], &byte, 1);
  }
  assert_true(battery_hash(&b, &battery_operations[0]) == before);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(equal_to_the_generic_kernels),
      TEST(equal_to_the_recorded_hashes),
      TEST(a_single_bit_changes_the_hash),
  };
  return fixture_run(argc, argv, "isa_bits", tests, COUNT(tests));
}
