/*
 * What the parts of the shim share: the scheduler of fibers (simt_scheduler.cpp), the
 * collectives on it (simt_collectives.cpp), memory (simt_memory.cpp) and the rest of
 * the runtime (simt_runtime.cpp).
 */
#ifndef SIMT_INTERNAL_H
#define SIMT_INTERNAL_H

#include "cuda_pipeline.h"

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#endif
#endif
#if !defined(SIMT_ASAN)
#define SIMT_ASAN 0
#endif

namespace simt {

constexpr unsigned WARP = 32, MAX_THREADS = 1024, ALL_LANES = 0xffffffffU;
constexpr size_t SHARED_DEFAULT = 48 << 10, SHARED_RESERVED = 1 << 10;

/* ---- Threads of the block that runs ------------------------------------------ */

struct strand; /* a stack, and where it was left */

enum class thread_state : uint8_t { ready, waits_for_warp, waits_for_block, waits_for_grid, exited };

struct copy {
  void *to;
  const void *from;
  unsigned bytes, zero_fill;
  size_t batch;
};

struct thread {
  uint3 index;
  unsigned number; /* in the block */
  thread_state state;
  simt_collective waits_at;
  unsigned mask;
  strand *stack; /* NULL: not begun, or ended */
  size_t batches;
  std::vector<copy> copies; /* asynchronous ones, not yet carried out */
};

/* Lanes of one mask that wait for the rest of it. */
struct gathering {
  unsigned mask, arrived;
  simt_collective what;
  unsigned bytes;
};

struct warp {
  unsigned exited; /* lanes, with those that never were */
  unsigned n_gatherings;
  gathering gatherings[WARP];
  uint64_t value[WARP], result[WARP];
  unsigned source[WARP]; /* of shuffles: the lane */
};

struct block {
  unsigned n_threads, n_live, n_waiting; /* n_waiting: at the barrier of the block */
  unsigned n_true;                       /* of those, with a predicate that holds */
  simt_collective waits_at;
  int result; /* of the last barrier: how many predicates held, and how many threads there were */
  int n_result;
  bool depth_first; /* a released warp goes on before others begin */
  uint64_t random;  /* state; the same in every run */
  unsigned char *shared;
  size_t shared_bytes;
  thread threads[MAX_THREADS];
  warp warps[MAX_THREADS / WARP];
};

extern block now;
extern thread *current; /* NULL outside of kernels */

/* The next number from a state that is any number. */
uint64_t next_random(uint64_t *state);

/* Puts a thread first or last in the line of those that can run. */
void make_ready(thread *t, bool first);
/* All threads of the block that wait for it, in an order of the moment. */
void release_block();
/* Runs other threads until this one is ready. */
void wait_until_ready();
/* What a thread that ends means for those that wait. */
void leave_collectives(thread *t);
[[noreturn]] void report_deadlock();

/* A kernel with its arguments. */
struct grid {
  const void *name;
  dim3 blocks, threads;
  size_t shared_bytes;
  void (*body)(void *);
  std::shared_ptr<void> data;
};

/* Runs a kernel; `before`, if it is not NULL, is the kernel before it, which has not run yet: it runs when
 * the first block has come as far as it may without it. */
void run_grid(const grid &kernel, const grid *before);

/* ---- Runtime ------------------------------------------------------------------ */

/* Remembers the error for cudaGetLastError(), and returns it. */
cudaError_t fail(cudaError_t error);
/* Ends the program if a kernel calls the runtime. */
void refuse_kernels(const char *function);
int current_device();
/* run_grid(), during which kernels are refused what refuse_kernels() is for. */
void run_kernel(const grid &kernel, const grid *before);

/* ---- Streams ------------------------------------------------------------------- */

using simt_work = std::function<cudaError_t()>;

/* cudaSuccess if the stream is one. */
cudaError_t check_stream(cudaStream_t stream);
/* Whether memory can be allocated in the order of a stream: not with CSRN_SIMT_POOLS=0 in the environment. */
bool has_pools();
/* Work that runs in the order of the stream, or becomes part of the graph that is being captured; `waits`: it
 * is done when this returns, which a capture forbids. It must not fail once it is enqueued. */
cudaError_t enqueue(cudaStream_t stream, const simt_work &work, bool waits = false);
/* The same of a kernel; `overlaps`: it may begin while the kernel before it in the stream still runs. */
cudaError_t enqueue_kernel(cudaStream_t stream, const grid &kernel, bool overlaps);
/* What may not be called while any stream is being captured, or on one that is: an error, that ends the
 * capture. */
cudaError_t refuse_unsafe();
cudaError_t refuse_captured(cudaStream_t stream);
/* Runs all that is enqueued. */
void wait_for_device();
/* Runs the kernel that was put off to overlap with the next one, if there is one. */
void finish_kernels();

} // namespace simt

#endif
