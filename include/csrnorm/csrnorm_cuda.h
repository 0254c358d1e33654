/*
 * csrnorm for programs that use CUDA themselves: the types of CUDA in place of the
 * untyped pointers of csrnorm.h, and matrices of cuSPARSE as csrnorm sees them. Every
 * function here is defined here, so the library itself needs neither these headers
 * nor cuSPARSE. Needs cuda_runtime_api.h; works in C and C++.
 *
 *     csrn_context_options options = csrn_cuda_options(device, stream);
 *     csrn_context *ctx;
 *     if (csrn_context_create(&options, &ctx) == CSRN_OK) {
 *         csrn_context_reserve(ctx, A.n_rows, A.n_cols);
 *         csrn_normalize_total(ctx, &A, NULL, A.data, CSRN_F32, NULL, NULL);
 *         ...                                  work of the caller on the same stream
 *         csrn_context_synchronize(ctx);       once, where results are wanted
 *         csrn_context_destroy(ctx);
 *     }
 *
 * For what is promised about streams, memory and graphs see csrn_context_set_stream()
 * and csrn_context_reserve(). Beyond that:
 *
 * - A stream of 0 is the legacy default stream, whatever --default-stream the program is
 *   compiled with; cudaStreamPerThread is the other one.
 * - The current device is the caller's again after every call. In a thread that has used
 *   no device yet that is device 0, and CUDA starts a device when it is set: a program
 *   that uses another one alone calls cudaSetDevice() first, as it would anyway.
 * - Beside a pool that has taken most of the device's memory (RMM, PyTorch), plug that
 *   in as the allocator, and say in options.device_memory how much of it matrices in host
 *   memory may take: what CUDA calls free is not what the pool has left.
 */
#ifndef CSRNORM_CUDA_H
#define CSRNORM_CUDA_H

#include "csrnorm.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Contexts and streams ------------------------------------------------ */

/* Options for a context of one device whose work goes to `stream`. */
static inline csrn_context_options csrn_cuda_options(int device, cudaStream_t stream) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.backend = CSRN_BACKEND_CUDA;
  options.device = device;
  options.stream = (void *)stream;
  return options;
}

/* csrn_context_set_stream() with the type of CUDA. */
static inline csrn_status csrn_cuda_set_stream(csrn_context *ctx, cudaStream_t stream) {
  return csrn_context_set_stream(ctx, (void *)stream);
}

/* ---- Device memory ------------------------------------------------------- */

/* Any allocator of a program is plugged in by two functions in
 * csrn_context_options.device_allocator, which get the stream as `void *`. With RMM,
 * whose resources are ordered by streams too (here of version 25; others differ in
 * the order of arguments):
 *
 *     void *take(void *user, size_t bytes, size_t alignment, void *stream) {
 *       try {
 *         return static_cast<rmm::mr::device_memory_resource *>(user)->allocate(
 *             bytes, rmm::cuda_stream_view(csrn_cuda_stream_of(stream)));
 *       } catch (...) {
 *         return nullptr;                      // no exception may pass the library
 *       }
 *     }
 *     void give_back(void *user, void *pointer, size_t bytes, void *stream) { ... }
 *
 *     options.device_allocator = {take, give_back, rmm::mr::get_current_device_resource()};
 */

/* The stream that an allocator was told. */
static inline cudaStream_t csrn_cuda_stream_of(void *stream) {
  return (cudaStream_t)stream;
}

static inline void *csrn_cuda_pool_allocate(void *user, size_t bytes, size_t alignment, void *stream) {
  void *memory = NULL;
  (void)alignment; /* CUDA aligns to 256 bytes, more than is asked for */
  if (cudaMallocFromPoolAsync(&memory, bytes, (cudaMemPool_t)user, csrn_cuda_stream_of(stream)) ==
      cudaSuccess)
    return memory;
  (void)cudaGetLastError();
  return NULL;
}

static inline void csrn_cuda_pool_release(void *user, void *pointer, size_t bytes, void *stream) {
  (void)user;
  (void)bytes;
  (void)cudaFreeAsync(pointer, csrn_cuda_stream_of(stream));
}

/* Device memory from a pool of the caller's, which must outlive the context. */
static inline csrn_allocator csrn_cuda_pool_allocator(cudaMemPool_t pool) {
  csrn_allocator allocator = {csrn_cuda_pool_allocate, csrn_cuda_pool_release, (void *)pool};
  return allocator;
}

/* ---- Matrices of cuSPARSE ------------------------------------------------ */

/* Where <cusparse.h> was included before this header. */
#if defined(CUSPARSE_VER_MAJOR)

/* CSRN_NONE for types that csrnorm has no data of. */
static inline csrn_dtype csrn_cuda_dtype(cudaDataType type) {
  switch (type) {
  case CUDA_R_32F:
    return CSRN_F32;
  case CUDA_R_64F:
    return CSRN_F64;
  case CUDA_R_8U:
    return CSRN_U8;
  case CUDA_R_16U:
    return CSRN_U16;
  case CUDA_R_32U:
    return CSRN_U32;
  case CUDA_R_32I:
    return CSRN_I32;
  case CUDA_R_64I:
    return CSRN_I64;
  default:
    return CSRN_NONE;
  }
}

static inline csrn_dtype csrn_cuda_index_type(cusparseIndexType_t type) {
  return type == CUSPARSE_INDEX_32I   ? CSRN_I32
         : type == CUSPARSE_INDEX_64I ? CSRN_I64
         : type == CUSPARSE_INDEX_16U ? CSRN_U16
                                      : CSRN_NONE;
}

/* *A becomes a view of the arrays of a matrix of cuSPARSE, which are not copied. A CSC
 * matrix is the CSR of its transpose: rows and columns are exchanged in the view, and
 * so is what CSRN_PER_ROW and CSRN_PER_COLUMN mean. CSRN_INVALID_ARGUMENT where
 * cuSPARSE does not take the descriptor; CSRN_UNSUPPORTED for formats other than CSR and
 * CSC, for indices that count from 1, and for types that csrnorm does not have. The
 * program that calls this links cuSPARSE. */
static inline csrn_status csrn_csr_of_cusparse(cusparseSpMatDescr_t matrix, csrn_csr *A) {
  cusparseFormat_t format;
  cusparseIndexType_t offsets_type, indices_type;
  cusparseIndexBase_t base;
  cudaDataType type;
  int64_t n_rows, n_cols, nnz;
  void *offsets, *indices, *values;
  const csrn_csr none = {0, 0, 0, NULL, NULL, NULL, CSRN_NONE, CSRN_NONE, CSRN_NONE};
  cusparseStatus_t status = cusparseSpMatGetFormat(matrix, &format);
  *A = none;
  if (status != CUSPARSE_STATUS_SUCCESS)
    return CSRN_INVALID_ARGUMENT;
  if (format == CUSPARSE_FORMAT_CSR)
    status = cusparseCsrGet(matrix, &n_rows, &n_cols, &nnz, &offsets, &indices, &values, &offsets_type,
                            &indices_type, &base, &type);
  else if (format == CUSPARSE_FORMAT_CSC)
    status = cusparseCscGet(matrix, &n_cols, &n_rows, &nnz, &offsets, &indices, &values, &offsets_type,
                            &indices_type, &base, &type);
  else
    return CSRN_UNSUPPORTED;
  if (status != CUSPARSE_STATUS_SUCCESS)
    return CSRN_INVALID_ARGUMENT;
  A->n_rows = n_rows;
  A->n_cols = n_cols;
  A->nnz = nnz;
  A->indptr = offsets;
  A->indices = indices;
  A->data = values;
  A->indptr_type = csrn_cuda_index_type(offsets_type);
  A->indices_type = csrn_cuda_index_type(indices_type);
  A->data_type = csrn_cuda_dtype(type);
  return base != CUSPARSE_INDEX_BASE_ZERO || A->indptr_type == CSRN_NONE || A->indices_type == CSRN_NONE ||
                 A->data_type == CSRN_NONE
             ? CSRN_UNSUPPORTED
             : CSRN_OK;
}

#endif

#ifdef __cplusplus
}
#endif
#endif
