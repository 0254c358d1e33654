/*
 * log1p of the numeric contract. For now through the C library in float64; to be
 * replaced by an algorithm of plain multiplies and adds that vectorizes and does not
 * depend on a library's version.
 */
#ifndef CSRN_LOG1P_H
#define CSRN_LOG1P_H

#include <math.h>

#if defined(__CUDACC__)
#define CSRN_HD __host__ __device__
#else
#define CSRN_HD
#endif

static CSRN_HD inline float csrn_log1p_f32(float x) {
  return (float)log1p((double)x);
}

static CSRN_HD inline double csrn_log1p_f64(double x) {
  return log1p(x);
}

#endif
