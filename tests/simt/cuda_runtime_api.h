/*
 * The headers of CCCL include this one where they find it, and they would find the toolkit's.
 */
#include "cuda_runtime.h"
