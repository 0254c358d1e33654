/*
 * The target on the device: the median of the positive finite totals by radix selection,
 * or their mean. Positive doubles are ordered like their bits, so histograms narrow the
 * bits down. The first one is of all values, added up in shared memory by blocks; the values
 * in the bins that hold the two middle ranks, some per cent of all, are gathered, and the last
 * block to gather finishes among them. How many values there are is never known to the host.
 * (The first histogram could be filled while totals are taken, by one atomic addition for each
 * row. But totals are much alike, and the additions to the same few sectors of memory took
 * longer than reading the totals again, from the cache where they are.)
 */
#ifndef CSRN_CUDA_SELECT_H
#define CSRN_CUDA_SELECT_H

#include "cuda_device.h"

/* The first histogram has 64 bins for each power of two from 2^-16 to 2^48, where totals lie; smaller and
 * larger values go to the bins at the ends, so that bins are ordered as values are. */
enum { SELECT_SHIFT = 46, SELECT_FIRST = (1023 - 16) << 6 };

/* The bits of a value that takes part, 0 of another: positive and finite means bits in (0, bits of infinity).
 */
__device__ __forceinline__ unsigned long long select_key(double value) {
  const unsigned long long bits = static_cast<unsigned long long>(__double_as_longlong(value));
  return bits - 1 < 0x7ff0000000000000ULL - 1 ? bits : 0;
}

__device__ __forceinline__ int select_bin(unsigned long long key) {
  const int bin = static_cast<int>(key >> SELECT_SHIFT) - SELECT_FIRST;
  return bin < 0 ? 0 : bin < CSRN_SELECT_BINS ? bin : CSRN_SELECT_BINS - 1;
}

/* For the current device, once: its kernels leave room for what follows them. */
cudaError_t csrn_cuda_prepare_select(void);
/* Writes the median of values[n] to *median (may be NULL) and to the context's target; NaN if none takes
 * part. values and median are device memory. Needs CSRN_CUDA_CANDIDATES, and that no other selection ran
 * since csrn_cuda_begin(). */
csrn_status csrn_cuda_select_median(csrn_context *ctx, csrn_status status, const double *values, int64_t n,
                                    double *median);
/* The mean of the positive finite values by the canonical sum, to the context's target. Needs
 * CSRN_CUDA_PIECES. */
csrn_status csrn_cuda_mean(csrn_context *ctx, csrn_status status, const double *values, int64_t n);

#endif
