/*
 * Threads of CUDA as fibers of one thread of the host. A block's threads run in turn, each
 * until it has to wait; one that ends hands its stack to the next one that begins, so
 * that a thread which never waits costs a function call. Blocks run one after the other.
 *
 * Switching is Boost.Context's jump_fcontext(); the address sanitizer is told of it.
 */
#include "simt_internal.h"

#include <boost/context/detail/fcontext.hpp>

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

#if SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace simt {

block now;
thread *current;

struct strand {
  fcontext_t context;
  const void *bottom; /* for the address sanitizer */
  size_t bytes;
  void *fake_stack;
};

static strand host;                                              /* the stack of the caller of a kernel */
static std::vector<strand *> &idle = *new std::vector<strand *>; /* for good: stacks are never given back */
static const grid *running;
static const grid *kernel_before; /* that has to run before this one goes on; or NULL */

/* ---- The line of threads that can run ------------------------------------------- */

static uint16_t line[MAX_THREADS]; /* circular */
static unsigned line_begin, line_length;
static uint16_t shuffled[MAX_THREADS]; /* a permutation of the threads of a block */

void make_ready(thread *t, bool first) {
  t->state = thread_state::ready;
  if (first)
    line_begin = (line_begin - 1) % MAX_THREADS;
  line[(first ? line_begin : line_begin + line_length) % MAX_THREADS] = static_cast<uint16_t>(t->number);
  line_length++;
}

static thread *next_ready() {
  if (line_length == 0)
    return nullptr;
  thread *t = &now.threads[line[line_begin]];
  line_begin = (line_begin + 1) % MAX_THREADS;
  line_length--;
  return t;
}

uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15U;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

static void shuffle_threads(uint64_t seed) {
  for (unsigned i = 0; i < now.n_threads; i++)
    shuffled[i] = static_cast<uint16_t>(i);
  for (unsigned i = now.n_threads; i > 1; i--) {
    unsigned j = static_cast<unsigned>(next_random(&seed) % i);
    uint16_t other = shuffled[j];
    shuffled[j] = shuffled[i - 1];
    shuffled[i - 1] = other;
  }
}

/* Lines up the threads that are in `state`: forwards, backwards, or shuffled in either direction. */
static void line_up(thread_state state) {
  const simt_order order = simt_machine().order;
  const unsigned n = now.n_threads;
  const unsigned random = static_cast<unsigned>(next_random(&now.random));
  const bool is_shuffled = order == SIMT_VARIED ? (random & 1) : order == SIMT_SHUFFLE;
  const bool backwards =
      order == SIMT_VARIED || order == SIMT_SHUFFLE ? (random & 2) : order == SIMT_BACKWARD;
  for (unsigned i = 0; i < n; i++) {
    unsigned k = backwards ? n - 1 - i : i;
    thread *t = &now.threads[is_shuffled ? shuffled[k] : k];
    if (t->state == state)
      make_ready(t, false);
  }
}

void release_block() {
  now.result = static_cast<int>(now.n_true);
  now.n_result = static_cast<int>(now.n_waiting);
  now.n_waiting = now.n_true = 0;
  line_up(thread_state::waits_for_block);
}

/* ---- Switching -------------------------------------------------------------------- */

/* What whoever is switched to does first. */
static void arrive(transfer_t from_where, [[maybe_unused]] strand *self) {
  strand *from = static_cast<strand *>(from_where.data);
  from->context = from_where.fctx;
#if SIMT_ASAN
  const void *bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &bytes);
  if (from == &host) { /* known only now */
    host.bottom = bottom;
    host.bytes = bytes;
  }
#endif
}

static void switch_to(strand *to, strand *from) {
#if SIMT_ASAN
  __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->bytes);
#endif
  arrive(jump_fcontext(to->context, from), from);
}

static void make_current(thread *t) {
  current = t;
  threadIdx = t->index;
}

static void end_thread(thread *t) {
  t->state = thread_state::exited;
  t->stack = nullptr;
  t->copies.clear();
  now.n_live--;
  leave_collectives(t);
}

/* Whether the block, of which no thread is ready, goes on when the kernel before has run. */
static bool waits_for_kernel_before() {
  for (unsigned i = 0; i < now.n_threads; i++)
    if (now.threads[i].state == thread_state::waits_for_grid)
      return true;
  return false;
}

/* The life of a stack: one thread after the other. */
static void run_threads(transfer_t from_where) {
  strand *self = current->stack;
  arrive(from_where, self);
  for (;;) {
    running->body(running->data.get());
    end_thread(current);
    thread *next = next_ready();
    if (!next && now.n_live > 0 && !waits_for_kernel_before())
      report_deadlock();
    if (next && !next->stack) {
      next->stack = self;
      make_current(next);
      continue;
    }
    idle.push_back(self);
    if (next)
      make_current(next);
    else
      current = nullptr;
    switch_to(next ? next->stack : &host, self);
  }
}

/* Tops of stacks lie at different offsets in their pages, since a cache would otherwise have few places for
 * all of them. Below each is a page that may not be touched. */
static strand *new_strand() {
  static size_t n_made;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t bytes = (SIMT_ASAN ? 64 : 16) * page;
  void *memory = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0)
    simt_fatal("no memory for the stack of a thread");
  char *top = static_cast<char *>(memory) + page + bytes - n_made++ % 16 * 256;
  strand *s = new strand();
  s->bottom = static_cast<char *>(memory) + page;
  s->bytes = static_cast<size_t>(top - static_cast<const char *>(s->bottom));
  s->context = make_fcontext(top, s->bytes, run_threads);
  return s;
}

static strand *take_strand() {
  if (idle.empty())
    return new_strand();
  strand *s = idle.back();
  idle.pop_back();
  return s;
}

static void go_on_with(thread *t, strand *from) {
  if (!t->stack)
    t->stack = take_strand();
  make_current(t);
  switch_to(t->stack, from);
}

void wait_until_ready() {
  thread *self = current, *next = next_ready();
  if (next && next != self) {
    go_on_with(next, self->stack);
  } else if (!next) {
    if (!waits_for_kernel_before())
      report_deadlock();
    current = nullptr;
    switch_to(&host, self->stack);
  }
}

/* ---- Blocks and grids --------------------------------------------------------------- */

static void run_blocks_of(const grid &kernel, uint64_t *random);

/* Runs the kernel before, and leaves everything as if it had not: this block goes on. */
static void run_kernel_before(uint64_t *random) {
  const grid *self = running, *before = kernel_before;
  const std::unique_ptr<block> here(new block(now));
  const std::vector<uint16_t> permutation(shuffled, shuffled + MAX_THREADS);
  const uint3 block_index = blockIdx;
  kernel_before = nullptr;
  run_blocks_of(*before, random);
  now = *here;
  std::copy(permutation.begin(), permutation.end(), shuffled);
  blockIdx = block_index;
  running = self;
  gridDim = self->blocks;
  blockDim = self->threads;
}

static void run_block(uint64_t seed) {
  now.random = seed;
  now.depth_first = next_random(&now.random) & 1;
  now.n_live = now.n_threads;
  now.n_waiting = now.n_true = 0;
  memset(now.shared, 0xFF, now.shared_bytes);
  for (unsigned w = 0; w * WARP < now.n_threads; w++) {
    unsigned here = now.n_threads - w * WARP;
    now.warps[w].exited = here < WARP ? ALL_LANES << here : 0;
    now.warps[w].n_gatherings = 0;
  }
  line_begin = line_length = 0;
  for (unsigned i = 0; i < now.n_threads; i++) {
    now.threads[i].state = thread_state::ready;
    now.threads[i].stack = nullptr;
    now.threads[i].batches = 0;
  }
  line_up(thread_state::ready);
  go_on_with(next_ready(), &host);
  if (!kernel_before)
    return;
  run_kernel_before(&seed);
  if (now.n_live > 0) {
    line_begin = line_length = 0;
    line_up(thread_state::waits_for_grid);
    go_on_with(next_ready(), &host);
  }
}

static void prepare_threads(uint64_t seed) {
  now.n_threads = blockDim.x * blockDim.y * blockDim.z;
  for (unsigned i = 0; i < now.n_threads; i++) {
    now.threads[i].number = i;
    now.threads[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
  }
  shuffle_threads(seed);
}

static uint64_t gcd(uint64_t a, uint64_t b) {
  return b ? gcd(b, a % b) : a;
}

/* Block step * i + first, modulo the number of blocks: forwards, backwards, or in long leaps. */
static void run_blocks(uint64_t n, uint64_t *random) {
  const simt_order order = simt_machine().order;
  uint64_t choice = order == SIMT_VARIED ? next_random(random) % 3 : order - SIMT_FORWARD;
  uint64_t first = choice == 0 ? 0 : n - 1, step = choice == 0 ? 1 : n - 1;
  if (choice == 2) {
    first = next_random(random) % n;
    step = 1 + next_random(random) % n;
    while (gcd(step, n) != 1)
      step++;
  }
  uint64_t b = first;
  for (uint64_t i = 0; i < n; i++) {
    blockIdx = {static_cast<unsigned>(b % gridDim.x), static_cast<unsigned>(b / gridDim.x % gridDim.y),
                static_cast<unsigned>(b / gridDim.x / gridDim.y)};
    run_block(next_random(random));
    b = (b + step) % n;
  }
}

/* While one lives, a signal of a wrong access ends the program and says which thread it was; a test frame
 * that jumps out of its handler would leave fibers behind. On a stack of its own, since that of a thread may
 * be what ran out. */
class signal_scope {
public:
  signal_scope() {
    static char stack[64 << 10];
    stack_t own = {};
    own.ss_sp = stack;
    own.ss_size = sizeof stack;
    sigaltstack(&own, &stack_before_);
    struct sigaction action = {};
    action.sa_handler = [](int signal) {
#if SIMT_ASAN
      __sanitizer_print_stack_trace();
#endif
      simt_fatal("signal %d (%s) in a kernel", signal, strsignal(signal));
    };
    action.sa_flags = SA_ONSTACK;
    for (int i = 0; i < N; i++)
      sigaction(signals_[i], &action, &before_[i]);
  }
  ~signal_scope() {
    for (int i = 0; i < N; i++)
      sigaction(signals_[i], &before_[i], nullptr);
    sigaltstack(&stack_before_, nullptr);
  }
  signal_scope(const signal_scope &) = delete;
  signal_scope &operator=(const signal_scope &) = delete;

private:
  enum { N = 4 };
  static constexpr int signals_[N] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  struct sigaction before_[N];
  stack_t stack_before_;
};

static void run_blocks_of(const grid &kernel, uint64_t *random) {
  running = &kernel;
  gridDim = kernel.blocks;
  blockDim = kernel.threads;
  prepare_threads(next_random(random));
  /* A block of its own for each launch, and at the end of it, so that nothing beyond it passes unnoticed. */
  constexpr size_t front = 16;
  const size_t padded = (kernel.shared_bytes + front + 31) / 32 * 32;
  now.shared_bytes = kernel.shared_bytes;
  unsigned char *memory = static_cast<unsigned char *>(aligned_alloc(2 * front, padded));
  if (!memory)
    simt_fatal("no memory for shared memory");
  now.shared = memory + front;
#if SIMT_ASAN
  ASAN_POISON_MEMORY_REGION(memory, padded);
  ASAN_UNPOISON_MEMORY_REGION(now.shared, now.shared_bytes);
#endif
  run_blocks(uint64_t{gridDim.x} * gridDim.y * gridDim.z, random);
#if SIMT_ASAN
  ASAN_UNPOISON_MEMORY_REGION(memory, padded);
#endif
  now.shared = nullptr;
  free(memory);
}

void run_grid(const grid &kernel, const grid *before) {
  static uint64_t launches;
  simt_device_scope scope;
  signal_scope signals;
  uint64_t random = simt_machine().seed + launches++;
  kernel_before = before;
  run_blocks_of(kernel, &random);
}

} // namespace simt

void *simt_dynamic_shared(void) {
  return simt::now.shared;
}

void cudaGridDependencySynchronize(void) {
  if (!simt::kernel_before)
    return;
  simt::current->state = simt::thread_state::waits_for_grid;
  simt::wait_until_ready();
}

void __nanosleep(unsigned) {
  simt::make_ready(simt::current, false);
  simt::wait_until_ready();
}

void simt_fatal(const char *format, ...) {
  fflush(stdout);
  fprintf(stderr, "cuda-host: ");
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  if (simt::current)
    fprintf(stderr, " [thread (%u, %u, %u) of block (%u, %u, %u)]", threadIdx.x, threadIdx.y, threadIdx.z,
            blockIdx.x, blockIdx.y, blockIdx.z);
  fprintf(stderr, "\n");
  fflush(stderr);
  abort();
}
