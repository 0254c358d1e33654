/*
 * Something done for each of n numbers, by Thrust, on the context's stream: for the small
 * steps between the kernels that move the matrix. Thrust allocates nothing for it and does
 * not wait; its exceptions become a status.
 */
#ifndef CSRN_CUDA_EACH_H
#define CSRN_CUDA_EACH_H

#include "cuda_internal.h"

#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/system_error.h>
#if defined(CSRN_SIMT_HOST)
#include <thrust/system/cpp/execution_policy.h>
#else
#include <thrust/system/cuda/execution_policy.h>
#endif

/* each(0), ..., each(n - 1) on the device, in any order. `status` is that of what came before: nothing is
 * done after a failure. */
template <typename Each>
csrn_status csrn_cuda_each(csrn_context *ctx, csrn_status status, int64_t n, const Each &each) {
  if (status != CSRN_OK || n <= 0)
    return status;
  const thrust::counting_iterator<int64_t> first(0);
  try {
#if defined(CSRN_SIMT_HOST)
    const simt_device_scope scope;
    thrust::for_each_n(thrust::cpp::par, first, n, each);
#else
    thrust::for_each_n(thrust::cuda::par_nosync.on(csrn_cuda_state_of(ctx)->stream), first, n, each);
#endif
  } catch (const thrust::system_error &error) {
    return csrn_cuda_fail(ctx, static_cast<cudaError_t>(error.code().value()), "a step of Thrust");
  } catch (const std::exception &error) {
    return csrn_fail(ctx, CSRN_DEVICE_ERROR, "a step of Thrust failed: %s", error.what());
  }
  return CSRN_OK;
}

#endif
