/*
 * Asynchronous copies to shared memory. A copy is carried out only when its own thread
 * waits for it, so that whoever reads too early finds the garbage that was there; copies
 * that are never waited for are never made. A thread's batches complete in order.
 */
#ifndef SIMT_CUDA_PIPELINE_H
#define SIMT_CUDA_PIPELINE_H

#include "cuda_runtime.h"

/* 4, 8 or 16 bytes, both ends aligned to that; the last `zero_fill` of them become zeros. */
void __pipeline_memcpy_async(void *to, const void *from, size_t bytes, size_t zero_fill = 0);
void __pipeline_commit();
/* Waits for all batches but the last `prior`. */
void __pipeline_wait_prior(size_t prior);

#endif
