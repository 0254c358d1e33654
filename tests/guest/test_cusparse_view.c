/*
 * The view of a matrix of cuSPARSE: with cuSPARSE's own header and stand-ins for the functions of
 * it that are called, so that every format and type can be tried without a device and a library.
 */
#include <cusparse.h>

#include "csrnorm/csrnorm_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* What the stand-ins answer. */
static struct {
  cusparseStatus_t format_status, get_status;
  cusparseFormat_t format;
  cusparseIndexType_t offsets_type, indices_type;
  cusparseIndexBase_t base;
  cudaDataType type;
} answer;
static char offsets[1], indices[1], values[1];

cusparseStatus_t cusparseSpMatGetFormat(cusparseConstSpMatDescr_t matrix, cusparseFormat_t *format) {
  (void)matrix;
  *format = answer.format;
  return answer.format_status;
}

cusparseStatus_t cusparseCsrGet(cusparseSpMatDescr_t matrix, int64_t *rows, int64_t *cols, int64_t *nnz,
                                void **its_offsets, void **its_indices, void **its_values,
                                cusparseIndexType_t *offsets_type, cusparseIndexType_t *indices_type,
                                cusparseIndexBase_t *base, cudaDataType *type) {
  (void)matrix;
  *rows = 3;
  *cols = 5;
  *nnz = 7;
  *its_offsets = offsets;
  *its_indices = indices;
  *its_values = values;
  *offsets_type = answer.offsets_type;
  *indices_type = answer.indices_type;
  *base = answer.base;
  *type = answer.type;
  return answer.get_status;
}

cusparseStatus_t cusparseCscGet(cusparseSpMatDescr_t matrix, int64_t *rows, int64_t *cols, int64_t *nnz,
                                void **its_offsets, void **its_indices, void **its_values,
                                cusparseIndexType_t *offsets_type, cusparseIndexType_t *indices_type,
                                cusparseIndexBase_t *base, cudaDataType *type) {
  return cusparseCsrGet(matrix, rows, cols, nnz, its_offsets, its_indices, its_values, offsets_type,
                        indices_type, base, type);
}

static int setup(void **state) {
  (void)state;
  memset(&answer, 0, sizeof answer);
  answer.format = CUSPARSE_FORMAT_CSR;
  answer.offsets_type = answer.indices_type = CUSPARSE_INDEX_32I;
  answer.type = CUDA_R_32F;
  return 0;
}

static void a_csr_matrix(void **state) {
  (void)state;
  csrn_csr A;
  assert_int_equal(csrn_csr_of_cusparse(NULL, &A), CSRN_OK);
  assert_true(A.n_rows == 3 && A.n_cols == 5 && A.nnz == 7);
  assert_true(A.indptr == offsets && A.indices == indices && A.data == values);
  assert_true(A.indptr_type == CSRN_I32 && A.indices_type == CSRN_I32 && A.data_type == CSRN_F32);
}

static void a_csc_matrix_is_the_csr_of_its_transpose(void **state) {
  (void)state;
  csrn_csr A;
  answer.format = CUSPARSE_FORMAT_CSC;
  answer.offsets_type = CUSPARSE_INDEX_64I;
  answer.type = CUDA_R_64F;
  assert_int_equal(csrn_csr_of_cusparse(NULL, &A), CSRN_OK);
  assert_true(A.n_rows == 5 && A.n_cols == 3 && A.nnz == 7);
  assert_true(A.indptr_type == CSRN_I64 && A.indices_type == CSRN_I32 && A.data_type == CSRN_F64);
}

static void every_type(void **state) {
  (void)state;
  static const struct {
    cudaDataType type;
    csrn_dtype expected;
  } types[] = {{CUDA_R_32F, CSRN_F32},   {CUDA_R_64F, CSRN_F64},  {CUDA_R_8U, CSRN_U8},
               {CUDA_R_16U, CSRN_U16},   {CUDA_R_32U, CSRN_U32},  {CUDA_R_32I, CSRN_I32},
               {CUDA_R_64I, CSRN_I64},   {CUDA_R_16F, CSRN_NONE}, {CUDA_C_32F, CSRN_NONE},
               {CUDA_R_16BF, CSRN_NONE}, {CUDA_R_64U, CSRN_NONE}, {CUDA_R_8I, CSRN_NONE}};
  csrn_csr A;
  for (size_t i = 0; i < COUNT(types); i++) {
    answer.type = types[i].type;
    assert_int_equal(csrn_csr_of_cusparse(NULL, &A),
                     types[i].expected == CSRN_NONE ? CSRN_UNSUPPORTED : CSRN_OK);
    assert_int_equal(A.data_type, types[i].expected);
  }
}

static void what_csrnorm_does_not_take(void **state) {
  (void)state;
  csrn_csr A;
  answer.base = CUSPARSE_INDEX_BASE_ONE;
  assert_int_equal(csrn_csr_of_cusparse(NULL, &A), CSRN_UNSUPPORTED);
  setup(NULL);
  answer.format = CUSPARSE_FORMAT_COO;
  assert_int_equal(csrn_csr_of_cusparse(NULL, &A), CSRN_UNSUPPORTED);
  setup(NULL);
  answer.format_status = CUSPARSE_STATUS_INVALID_VALUE;
  assert_int_equal(csrn_csr_of_cusparse(NULL, &A), CSRN_INVALID_ARGUMENT);
  setup(NULL);
  answer.get_status = CUSPARSE_STATUS_NOT_SUPPORTED;
  assert_int_equal(csrn_csr_of_cusparse(NULL, &A), CSRN_INVALID_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_csr_matrix, setup),
      cmocka_unit_test_setup(a_csc_matrix_is_the_csr_of_its_transpose, setup),
      cmocka_unit_test_setup(every_type, setup),
      cmocka_unit_test_setup(what_csrnorm_does_not_take, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}
