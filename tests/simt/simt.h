/*
 * What a kernel sees of the machine that runs it, and what tests may change about that
 * machine. The following ends the program with one sentence and abort():
 * a collective whose mask lacks the calling lane or names one that has exited; lanes of one
 * mask, or threads of a block, at different collectives; threads that wait for ever; a
 * misaligned asynchronous copy; __trap(); a false __builtin_assume(); the runtime called
 * from a kernel. Under the address sanitizer so does any access outside an allocation or outside
 * the dynamic shared memory of a block, and one of the host to device memory.
 *
 * Threads run until they wait. In which order they are taken up differs from launch to
 * launch, block to block and barrier to barrier, always in the same way from run to run,
 * so that a missing barrier shows as a wrong result. Shared memory starts as 0xFF bytes in each
 * block, and so does new device memory.
 *
 * Environment:
 *   CSRN_SIMT_ORDER            forward, backward or shuffle: one order throughout
 *   CSRN_SIMT_SEED             a number: other orders
 *   CSRN_SIMT_DEVICES          default 1
 *   CSRN_SIMT_MULTIPROCESSORS  default 132; with 2, loops over the grid go round
 *   CSRN_SIMT_SHARED_KIB       shared memory that a block may ask for: default 227
 *   CSRN_SIMT_MEMORY_MIB       memory of the device: default 8192
 *   CSRN_SIMT_FAIL_ALLOCATION  n: allocation n, counted from 0, fails
 *   CSRN_SIMT_FAIL_LAUNCH      n: the same of launches of kernels
 *   CSRN_SIMT_STREAMS          late: work on streams runs only when something waits for it; varied: at any
 *                              moment that the waits allow
 */
#ifndef SIMT_H
#define SIMT_H

#include "simt_types.h"

#include <stddef.h>
#include <stdint.h>

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

/* The dynamic shared memory of this block, aligned to 16 bytes and no more. */
void *simt_dynamic_shared(void);

/* Where a kernel waits for the one before it, if it was launched to overlap with that. The one before is
 * often put off until the whole of one block is here: a kernel that reads too early what the one before
 * writes, or writes too early what that reads, shows as a wrong result. */
void cudaGridDependencySynchronize(void);
/* The next kernel is never begun before this one is complete or waits, so there is nothing to do. */
static inline void cudaTriggerProgrammaticLaunchCompletion(void) {}

/* Says what is wrong, and where, and ends the program. */
[[noreturn]] void simt_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* While one lives, this thread acts as the device: algorithms for device memory that run on the
 * host (Thrust's) may touch it, in the floating-point mode of the device. */
class simt_device_scope {
public:
  simt_device_scope();
  ~simt_device_scope();
  simt_device_scope(const simt_device_scope &) = delete;
  simt_device_scope &operator=(const simt_device_scope &) = delete;

private:
  alignas(16) unsigned char host_mode_[32]; /* an fenv_t */
};

enum simt_order { SIMT_VARIED, SIMT_FORWARD, SIMT_BACKWARD, SIMT_SHUFFLE };

/* When work on a stream runs; that on the default stream always runs at once. */
enum simt_stream_time { SIMT_AT_ONCE, SIMT_LATE, SIMT_VARIED_STREAMS };

struct simt_settings {
  simt_order order;
  uint64_t seed;
  int devices, multiprocessors;
  size_t shared_optin, memory; /* bytes */
  simt_stream_time streams;
  /* How many more allocations, launches, creations of a stream succeed before one fails; below 0: none fails.
   */
  int64_t fail_allocation, fail_launch, fail_stream;
  int64_t allocations, waits; /* counted: of device and pinned memory; of the host for the device */
  int64_t sent;               /* bytes that were copied to the device from other memory */
  int64_t early;              /* launches of kernels that may begin while the one before still runs */
};

/* Read from the environment at first use; changes count for what comes after them. */
simt_settings &simt_machine();

#endif
