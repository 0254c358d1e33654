/*
 * cuSPARSE beside csrnorm: a product with a vector of ones gives the sums of the rows, that
 * of the transpose the sums of the columns. The product reads more than sums need (the
 * indices and the vector), which is the point: the bytes of the floor are those of the sums,
 * so that equal times give equal fractions. Its float32 sums are compared loosely.
 *
 * What cuSPARSE prepares for a matrix (descriptors, buffers, its analysis) is made in the
 * first, untimed run.
 */
extern "C" {
#include "bench.h"
}
#include "gpu_bench.h"

#include <cmath>
#include <cusparse.h>
#include <vector>

namespace {

struct product {
  const void *data; /* of the matrix that this belongs to; NULL: nothing is prepared */
  cusparseSpMatDescr_t matrix;
  cusparseDnVecDescr_t ones, sums;
  float *vectors[2]; /* device: the ones, the sums */
  void *buffer;
};

cusparseHandle_t handle;
product by_row, by_column;

void forget(product *p) {
  if (p->matrix)
    cusparseDestroySpMat(p->matrix);
  if (p->ones)
    cusparseDestroyDnVec(p->ones);
  if (p->sums)
    cusparseDestroyDnVec(p->sums);
  for (float *vector : p->vectors)
    cudaFree(vector);
  cudaFree(p->buffer);
  *p = product{};
}

csrn_status status_of(cusparseStatus_t status) {
  if (status == CUSPARSE_STATUS_SUCCESS)
    return CSRN_OK;
  std::fprintf(stderr, "gpu_bench: cuSPARSE: %s\n", cusparseGetErrorString(status));
  return status == CUSPARSE_STATUS_ALLOC_FAILED ? CSRN_OUT_OF_MEMORY : CSRN_DEVICE_ERROR;
}

cusparseIndexType_t index_type(csrn_dtype type) {
  return type == CSRN_I32 ? CUSPARSE_INDEX_32I : CUSPARSE_INDEX_64I;
}

bool make_vectors(product *p, int64_t n_ones, int64_t n_sums) {
  const std::vector<float> ones(static_cast<size_t>(n_ones), 1.0F);
  const size_t bytes[2] = {ones.size() * sizeof(float), static_cast<size_t>(n_sums) * sizeof(float)};
  for (int i = 0; i < 2; i++)
    if (cudaMalloc(&p->vectors[i], bytes[i]) != cudaSuccess)
      return false;
  return cudaMemcpy(p->vectors[0], ones.data(), bytes[0], cudaMemcpyHostToDevice) == cudaSuccess;
}

const float one = 1, zero = 0;

cusparseStatus_t prepare(const bench_run *run, cusparseOperation_t operation, product *p) {
  const csrn_csr *A = &run->A;
  const bool transposed = operation == CUSPARSE_OPERATION_TRANSPOSE;
  const int64_t n_ones = transposed ? A->n_rows : A->n_cols, n_sums = transposed ? A->n_cols : A->n_rows;
  size_t bytes = 0;
  if (!make_vectors(p, n_ones, n_sums))
    return CUSPARSE_STATUS_ALLOC_FAILED;
  cusparseStatus_t status = handle ? CUSPARSE_STATUS_SUCCESS : cusparseCreate(&handle);
  if (status == CUSPARSE_STATUS_SUCCESS)
    status = cusparseCreateCsr(&p->matrix, A->n_rows, A->n_cols, A->nnz, const_cast<void *>(A->indptr),
                               const_cast<void *>(A->indices), A->data, index_type(A->indptr_type),
                               index_type(A->indices_type), CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F);
  if (status == CUSPARSE_STATUS_SUCCESS)
    status = cusparseCreateDnVec(&p->ones, n_ones, p->vectors[0], CUDA_R_32F);
  if (status == CUSPARSE_STATUS_SUCCESS)
    status = cusparseCreateDnVec(&p->sums, n_sums, p->vectors[1], CUDA_R_32F);
  if (status == CUSPARSE_STATUS_SUCCESS)
    status = cusparseSpMV_bufferSize(handle, operation, &one, p->matrix, p->ones, &zero, p->sums, CUDA_R_32F,
                                     CUSPARSE_SPMV_ALG_DEFAULT, &bytes);
  if (status == CUSPARSE_STATUS_SUCCESS && cudaMalloc(&p->buffer, bytes ? bytes : 1) != cudaSuccess)
    status = CUSPARSE_STATUS_ALLOC_FAILED;
  if (status == CUSPARSE_STATUS_SUCCESS)
    status = cusparseSpMV_preprocess(handle, operation, &one, p->matrix, p->ones, &zero, p->sums, CUDA_R_32F,
                                     CUSPARSE_SPMV_ALG_DEFAULT, p->buffer);
  return status;
}

csrn_status multiply(const bench_run *run, cusparseOperation_t operation, product *p) {
  cusparseStatus_t status = CUSPARSE_STATUS_SUCCESS;
  if (p->data != run->A.data) {
    forget(p);
    status = prepare(run, operation, p);
    p->data = run->A.data;
  }
  if (status == CUSPARSE_STATUS_SUCCESS)
    status = cusparseSpMV(handle, operation, &one, p->matrix, p->ones, &zero, p->sums, CUDA_R_32F,
                          CUSPARSE_SPMV_ALG_DEFAULT, p->buffer);
  if (status != CUSPARSE_STATUS_SUCCESS)
    forget(p);
  return status_of(status);
}

csrn_status sum_rows(bench_run *run) {
  return multiply(run, CUSPARSE_OPERATION_NON_TRANSPOSE, &by_row);
}

csrn_status sum_columns(bench_run *run) {
  return multiply(run, CUSPARSE_OPERATION_TRANSPOSE, &by_column);
}

/* Float32 sums in any order: off by a part in a thousand at most. */
bool check(bench_run *run, const product &p, const double *expected, int64_t n, char why[BENCH_DETAIL]) {
  std::vector<float> got(static_cast<size_t>(n));
  if (bench_run_fetch(run, p.vectors[1], got.size() * sizeof(float), got.data())) {
    std::snprintf(why, BENCH_DETAIL, "cannot copy the result");
    return false;
  }
  for (size_t i = 0; i < got.size(); i++)
    if (!(std::fabs(static_cast<double>(got[i]) - expected[i]) <= 1e-3 * std::fabs(expected[i]))) {
      std::snprintf(why, BENCH_DETAIL, "sum %zu is %.9g, expected about %.9g", i, static_cast<double>(got[i]),
                    expected[i]);
      return false;
    }
  return true;
}

bool check_rows(bench_run *run, const bench_expected *e, char why[BENCH_DETAIL]) {
  return check(run, by_row, e->totals, run->A.n_rows, why);
}

bool check_columns(bench_run *run, const bench_expected *e, char why[BENCH_DETAIL]) {
  return check(run, by_column, e->column_sums, run->A.n_cols, why);
}

} // namespace

int gpu_bench_peers(bench_operation *operations) {
  bench_operation rows = {}, columns = {};
  rows.name = "cusparse_row_sums";
  rows.axis = "row";
  rows.reads = 1;
  rows.device = true;
  rows.run = sum_rows;
  rows.check = check_rows;
  columns = rows;
  columns.name = "cusparse_column_sums";
  columns.axis = "column";
  columns.index_reads = 1;
  columns.run = sum_columns;
  columns.check = check_columns;
  operations[0] = rows;
  operations[1] = columns;
  return 2;
}

void gpu_bench_forget() {
  forget(&by_row);
  forget(&by_column);
}
