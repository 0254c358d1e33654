/*
 * Stands in for the CUDA toolkit's header of this name, so that a plain C++ compiler takes
 * the sources of src/cuda and their kernels run on the host, without a GPU: the test
 * variant `cuda-host`. Every CUDA thread is a fiber; index arithmetic, tails, the order
 * of additions, barriers and every bit of a result are those of the device, while speed,
 * caches and true concurrency are not. simt.h says what is checked on the way.
 */
#ifndef SIMT_CUDA_RUNTIME_H
#define SIMT_CUDA_RUNTIME_H

#if !defined(CSRN_SIMT_HOST)
#error "tests/simt is on the include path, but CSRN_SIMT_HOST is not defined"
#endif

#include "simt_types.h"

#include "simt.h"
#include "simt_atomics.h"
#include "simt_intrinsics.h"
#include "simt_runtime.h"
#include "simt_warp.h"

#endif
