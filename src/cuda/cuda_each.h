/*
 * Something done for each of n numbers: the small steps between the kernels that move the
 * matrix. (Thrust's for_each would do the same, but reports errors by exceptions, and users
 * of the library would have to link a C++ runtime for them.)
 */
#ifndef CSRN_CUDA_EACH_H
#define CSRN_CUDA_EACH_H

#include "cuda_device.h"

template <typename Each> __global__ void __launch_bounds__(CSRN_THREADS) each_kernel(int64_t n, Each each) {
  csrn_after_previous();
  const int64_t step = static_cast<int64_t>(gridDim.x) * CSRN_THREADS;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * CSRN_THREADS + threadIdx.x; i < n; i += step)
    each(i);
}

/* each(0), ..., each(n - 1) on the device, in any order. `status` is that of what came before: nothing is
 * done after a failure. */
template <typename Each>
csrn_status csrn_cuda_each(csrn_context *ctx, csrn_status status, int64_t n, const Each &each) {
  const int64_t most = csrn_cuda_state_of(ctx)->n_units * 8;
  return csrn_cuda_launch(ctx, status, {csrn_cuda_blocks(n, CSRN_THREADS, most), CSRN_THREADS, 0},
                          each_kernel<Each>, n, each);
}

#endif
