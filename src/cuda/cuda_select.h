/*
 * The target on the device: the median of the positive finite totals by radix selection,
 * or their mean. Positive doubles are ordered like their bits, so histograms narrow the
 * bits down. The first one is filled while the totals are taken (note_total()); the values
 * in the bins that hold the two middle ranks, some per cent of all, are gathered, and one
 * block finishes among them. How many values there are is never known to the host.
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

/* A total becomes known: counted for the selection. */
__device__ __forceinline__ void note_total(csrn_cuda_control *control, double total) {
  const unsigned long long key = select_key(total);
  if (key)
    atomicAdd(&control->now.histogram[select_bin(key)], 1ULL);
}

/* Writes the median of values[n], whose histogram is filled, to *median and to the context's target; NaN if
 * none takes part. values and median are device memory. Needs CSRN_CUDA_CANDIDATES. */
csrn_status csrn_cuda_select_median(csrn_context *ctx, csrn_status status, const double *values, int64_t n,
                                    double *median);
/* The mean of the positive finite values by the canonical sum, to the context's target. Needs
 * CSRN_CUDA_PIECES. */
csrn_status csrn_cuda_mean(csrn_context *ctx, csrn_status status, const double *values, int64_t n);
/* Fills the histogram. */
csrn_status csrn_cuda_count_values(csrn_context *ctx, csrn_status status, const double *values, int64_t n);

#endif
