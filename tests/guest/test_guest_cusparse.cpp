/*
 * Beside cuSPARSE, on a device: row and column sums of a matrix that cuSPARSE describes equal its
 * products with a vector of ones within the rounding of its float32 sums, for CSR and CSC.
 */
#include <cusparse.h>

#include "guest.h"

#include <cmath>
#include <initializer_list>

#define expect_cusparse(call) expect_status((call), #call, __FILE__, __LINE__)
static void expect_status(cusparseStatus_t status, const char *call, const char *file, int line) {
  if (status == CUSPARSE_STATUS_SUCCESS)
    return;
  print_error("%s\n  returned %s\n", call, cusparseGetErrorString(status));
  _fail(file, line);
}

enum { N_ROWS = 700, N_COLS = 500, MOST_TERMS = 1024 };

struct on_device {
  void *indptr, *indices, *data, *ones, *sums, *buffer;
};

static void *to_device(const void *from, size_t bytes) {
  void *memory = nullptr;
  expect_cuda(cudaMalloc(&memory, bytes));
  if (from)
    expect_cuda(cudaMemcpy(memory, from, bytes, cudaMemcpyHostToDevice));
  return memory;
}

/* The products of the matrix (or its transpose) with ones, by cuSPARSE. */
static void multiply(cusparseHandle_t handle, cusparseSpMatDescr_t matrix, cusparseOperation_t operation,
                     int64_t n_ones, int64_t n_sums, on_device *d, float *sums) {
  const float one = 1, zero = 0;
  size_t bytes = 0;
  cusparseDnVecDescr_t x = nullptr, y = nullptr;
  expect_cusparse(cusparseCreateDnVec(&x, n_ones, d->ones, CUDA_R_32F));
  expect_cusparse(cusparseCreateDnVec(&y, n_sums, d->sums, CUDA_R_32F));
  expect_cusparse(cusparseSpMV_bufferSize(handle, operation, &one, matrix, x, &zero, y, CUDA_R_32F,
                                          CUSPARSE_SPMV_ALG_DEFAULT, &bytes));
  d->buffer = to_device(nullptr, bytes + 1);
  expect_cusparse(cusparseSpMV(handle, operation, &one, matrix, x, &zero, y, CUDA_R_32F,
                               CUSPARSE_SPMV_ALG_DEFAULT, d->buffer));
  expect_cuda(cudaMemcpy(sums, d->sums, static_cast<size_t>(n_sums) * sizeof *sums, cudaMemcpyDeviceToHost));
  expect_cuda(cudaFree(d->buffer));
  expect_cusparse(cusparseDestroyDnVec(x));
  expect_cusparse(cusparseDestroyDnVec(y));
}

/* n float32 additions of positive values are off by n / 2^24 of the sum at most, in any order. */
static void expect_close(const double *exact, const float *got, int64_t n, int64_t most_terms) {
  for (int64_t i = 0; i < n; i++)
    if (!(std::fabs(static_cast<double>(got[i]) - exact[i]) <=
          static_cast<double>(most_terms) * 0x1p-24 * exact[i]))
      fail_msg("sum %lld is %.9g by cuSPARSE, %.9g by csrnorm", static_cast<long long>(i),
               static_cast<double>(got[i]), exact[i]);
}

static void sums_as_products(bool csc) {
  const sample_shape shape = random_shape(N_ROWS, 60, N_COLS, 801);
  const sample m = sample_make(&shape, CSRN_F32, SAMPLE_POSITIVE, 801);
  static float ones[N_ROWS], sums[N_ROWS];
  static int32_t indices[N_ROWS * 121], indptr[N_ROWS + 1];
  assert_true(m.nnz <= static_cast<int64_t>(COUNT(indices)));
  for (float &value : ones)
    value = 1;
  for (int64_t i = 0; i < m.nnz; i++)
    indices[i] = static_cast<int32_t>(m.indices[i]);
  for (int i = 0; i <= N_ROWS; i++)
    indptr[i] = static_cast<int32_t>(m.indptr[i]);
  on_device d = {};
  d.indptr = to_device(indptr, sizeof indptr);
  d.indices = to_device(indices, static_cast<size_t>(m.nnz) * sizeof *indices);
  d.data = to_device(m.data, static_cast<size_t>(m.nnz) * sizeof(float));
  d.ones = to_device(ones, sizeof ones);
  d.sums = to_device(nullptr, sizeof sums);
  cusparseHandle_t handle = nullptr;
  cusparseSpMatDescr_t matrix = nullptr;
  expect_cusparse(cusparseCreate(&handle));
  if (csc) /* of the transpose, whose columns are the rows */
    expect_cusparse(cusparseCreateCsc(&matrix, N_COLS, N_ROWS, m.nnz, d.indptr, d.indices, d.data,
                                      CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO,
                                      CUDA_R_32F));
  else
    expect_cusparse(cusparseCreateCsr(&matrix, N_ROWS, N_COLS, m.nnz, d.indptr, d.indices, d.data,
                                      CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO,
                                      CUDA_R_32F));
  csrn_csr A;
  assert_int_equal(csrn_csr_of_cusparse(matrix, &A), CSRN_OK);
  assert_true(A.n_rows == N_ROWS && A.n_cols == N_COLS && A.nnz == m.nnz);
  for (int axis = 0; axis < 2; axis++) {
    const int64_t n = axis ? N_COLS : N_ROWS, others = axis ? N_ROWS : N_COLS;
    static double exact[N_ROWS];
    void *exact_on_device = to_device(nullptr, sizeof exact);
    expect_ok(csrn_axis_sum(test.ctx, &A, static_cast<csrn_axis>(axis), exact_on_device, CSRN_F64));
    expect_cuda(
        cudaMemcpy(exact, exact_on_device, static_cast<size_t>(n) * sizeof *exact, cudaMemcpyDeviceToHost));
    expect_cuda(cudaFree(exact_on_device));
    multiply(handle, matrix,
             (axis == 1) != csc ? CUSPARSE_OPERATION_TRANSPOSE : CUSPARSE_OPERATION_NON_TRANSPOSE, others, n,
             &d, sums);
    expect_close(exact, sums, n, MOST_TERMS);
  }
  expect_cusparse(cusparseDestroySpMat(matrix));
  expect_cusparse(cusparseDestroy(handle));
  for (void *memory : {d.indptr, d.indices, d.data, d.ones, d.sums})
    expect_cuda(cudaFree(memory));
}

static void sums_of_a_csr_matrix(void **) {
  sums_as_products(false);
}

static void sums_of_a_csc_matrix(void **) {
  sums_as_products(true);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {TEST(sums_of_a_csr_matrix), TEST(sums_of_a_csc_matrix)};
  return fixture_run(argc, argv, "guest_cusparse", tests, COUNT(tests));
}
