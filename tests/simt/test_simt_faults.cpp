/*
 * Planted errors, each of which the shim has to show: as a wrong result in one of a few
 * launches, as a sentence with abort(), or as a report of the address sanitizer. Those
 * that end the program do it in a child, whose last words are compared.
 */
#include "test_simt.h"

#include <csignal>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `fault` in a child; it has to end by itself, not well, and to have said `words`. */
static void expect_end(void (*fault)(), const char *words) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  fflush(nullptr);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(60);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    fault();
    _exit(0);
  }
  close(ends[1]);
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
    said.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  fprintf(stderr, "%s", said.c_str());
  CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
  CHECK(!WIFSIGNALED(status) || WTERMSIG(status) == SIGABRT);
  CHECK(said.find(words) != std::string::npos);
}

/* ---- Wrong results ------------------------------------------------------------------ */

__global__ void add_one(int *values, unsigned n, bool checks_tail) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (!checks_tail || i < n)
    values[i]++;
}

static void wrong_tail() {
  for (bool checks_tail : {true, false}) {
    on_device<int> values(std::vector<int>(128, 0));
    launch(simt_shape(4, 32), add_one, values.get(), 100U, checks_tail);
    CHECK((values.values()[100] == 0) == checks_tail);
  }
}

/* Writes to shared memory, [barrier], reads what another thread wrote, [barrier], and again. */
__global__ void pass_around(unsigned *out, bool barrier_before_read, bool barrier_before_write) {
  unsigned *shared = static_cast<unsigned *>(simt_dynamic_shared());
  unsigned value = threadIdx.x;
  for (int round = 0; round < 3; round++) {
    shared[threadIdx.x] = value;
    if (barrier_before_read)
      __syncthreads();
    value = shared[(threadIdx.x + 33) % blockDim.x];
    if (barrier_before_write)
      __syncthreads();
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

static int wrong_launches(bool barrier_before_read, bool barrier_before_write, unsigned blocks) {
  int wrong = 0;
  for (int launches = 0; launches < 4; launches++) {
    on_device<unsigned> out(size_t{128} * blocks);
    launch(simt_shape(blocks, 128, 128 * sizeof(unsigned)), pass_around, out.get(), barrier_before_read,
           barrier_before_write);
    const std::vector<unsigned> got = out.values();
    unsigned differ = 0;
    for (unsigned i = 0; i < got.size(); i++)
      differ += got[i] != (i + 99) % 128;
    wrong += differ > 0;
  }
  return wrong;
}

static void missing_barrier_before_read() {
  CHECK(wrong_launches(true, true, 1) == 0 && wrong_launches(true, true, 4) == 0);
  CHECK(wrong_launches(false, true, 1) > 0);
  CHECK(wrong_launches(false, true, 4) == 4);
}

static void missing_barrier_before_write() {
  CHECK(wrong_launches(true, false, 1) > 0);
  CHECK(wrong_launches(true, false, 4) == 4);
}

/* ---- Ends --------------------------------------------------------------------------- */

__global__ void shuffle_with(unsigned mask, unsigned n_lanes, int *out) {
  if (threadIdx.x >= n_lanes)
    return;
  out[threadIdx.x] = __shfl_down_sync(mask, 1, 1);
}

static void launch_shuffle(unsigned threads, unsigned mask, unsigned n_lanes) {
  on_device<int> out(threads);
  launch(simt_shape(1, threads), shuffle_with, mask, n_lanes, out.get());
}

static void exited_lane() {
  launch_shuffle(32, 0xffffU, 16);
  expect_end([] { launch_shuffle(32, 0xffffffffU, 31); }, "exited");
  simt_machine().order = SIMT_BACKWARD;
  expect_end([] { launch_shuffle(32, 0xffffffffU, 31); },
             "lane 31 has exited or never was, but mask 0xffffffff of __shfl_down_sync names it");
  simt_machine().order = SIMT_FORWARD;
  expect_end([] { launch_shuffle(32, 0xffffffffU, 31); },
             "lane 31 has exited, but mask 0xffffffff of __shfl_down_sync names it");
}

static void lane_that_never_was() {
  expect_end([] { launch_shuffle(40, 0xffffffffU, 40); }, "has exited or never was");
}

static void mask_without_its_lane() {
  expect_end([] { launch_shuffle(32, 0xffffU, 32); }, "mask 0x0000ffff, which lacks it");
}

__global__ void part_ways(int how) {
  if (how == 0 && threadIdx.x % 2)
    __ballot_sync(0xffffffffU, 1);
  else if (how == 0)
    __any_sync(0xffffffffU, 1);
  else if (how == 1 && threadIdx.x < 32)
    __syncthreads();
  else if (how == 1)
    __syncthreads_or(1);
  else if (how == 2 && threadIdx.x == 5)
    __shfl_sync(0xffffffffU, 1.0, 0);
  else if (how == 2)
    __shfl_sync(0xffffffffU, 1.0F, 0);
  else if (how == 3 && threadIdx.x < 40)
    __syncthreads();
  else if (how == 3)
    __syncwarp(threadIdx.x < 64 ? 0xffffff02U : 0xffffffffU);
}

static void different_collectives() {
  expect_end([] { launch(simt_shape(1, 64), part_ways, 0); }, "wait at __");
  expect_end([] { launch(simt_shape(1, 64), part_ways, 2); },
             "of its mask 0xffffffff wait at __shfl_sync of");
}

static void different_barriers() {
  expect_end([] { launch(simt_shape(1, 64), part_ways, 1); },
             "while others of the block wait at __syncthreads");
}

/* Threads 40 to 63 wait for lane 1 of their warp, which waits for them at the barrier. */
static void deadlock() {
  expect_end([] { launch(simt_shape(1, 96), part_ways, 3); },
             "deadlock: no thread of the block can go on; of its 96 threads, 0-39 wait at __syncthreads; "
             "40-63 wait at __syncwarp");
}

/* Uses up the stack. */
__device__ __noinline__ int call_itself(int *values, int depth) {
  volatile char room[200];
  room[depth % 200] = static_cast<char>(depth);
  return values[depth % 8] == -1 ? call_itself(values, depth + 1) + room[depth % 200] : 0;
}

__global__ void do_wrong(int what, int *values) {
  int *shared = static_cast<int *>(simt_dynamic_shared());
  int *target = nullptr;
  switch (what) {
  case 0:
    __trap();
  case 1:
    __builtin_assume(values == nullptr);
    break;
  case 2:
    cudaMalloc(&target, 4);
    break;
  case 3:
    __pipeline_memcpy_async(shared, values + 1, 8);
    break;
  case 4:
    __pipeline_memcpy_async(values, values + 4, 4);
    break;
  case 5:
    *const_cast<int *volatile *>(&target)[0] = 1;
    break;
  case 6:
    values[0] = call_itself(values, 0);
    break;
  default:
    __shfl_sync(1U << threadIdx.x, 1, 0, 12);
  }
}

static void do_on_device(int what) {
  on_device<int> values(8);
  launch(simt_shape(1, 1, 16), do_wrong, what, values.get());
}

static void wrong_calls() {
  expect_end([] { do_on_device(0); }, "__trap()");
  expect_end([] { do_on_device(1); }, "values == nullptr");
  expect_end([] { do_on_device(2); }, "cudaMalloc was called from a kernel");
  expect_end([] { do_on_device(3); }, "not aligned");
  expect_end([] { do_on_device(4); }, "outside the dynamic shared memory");
  expect_end([] { do_on_device(7); }, "power of two");
  expect_end([] { __syncthreads(); }, "__syncthreads was called outside of a kernel");
}

/* Under sanitizers, they have the first word. */
static void wrong_address() {
  expect_end([] { do_on_device(5); }, "signal");
}

static void stack_overflow() {
  expect_end([] { do_on_device(6); }, "signal 11 (Segmentation fault) in a kernel [thread (0, 0, 0)");
}

/* ---- Reports of the address sanitizer ------------------------------------------------- */

__global__ void copy_value(int *to, const int *from, int i) {
  if (threadIdx.x == 0)
    *to = from[i];
}

__global__ void copy_shared(int *to, int i) {
  int *shared = static_cast<int *>(simt_dynamic_shared());
  shared[threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x == 3)
    *to = shared[i];
}

static void read_at(int i) {
  on_device<int> values(std::vector<int>(10, 1)), to(1);
  launch(simt_shape(1, 32), copy_value, to.get(), static_cast<const int *>(values.get()), i);
}

static void read_shared_at(int i) {
  on_device<int> to(1);
  launch(simt_shape(1, 10, 10 * sizeof(int)), copy_shared, to.get(), i);
}

static void device_read_past_the_end() {
  read_at(9);
  expect_end([] { read_at(10); }, "heap-buffer-overflow");
  expect_end([] { read_at(-1); }, "heap-buffer-overflow");
}

static void shared_read_past_the_end() {
  read_shared_at(9);
  expect_end([] { read_shared_at(10); }, "AddressSanitizer");
  expect_end([] { read_shared_at(-1); }, "use-after-poison");
}

static void device_read_after_free() {
  expect_end(
      [] {
        const int *lost;
        {
          on_device<int> values(10);
          lost = values.get();
        }
        on_device<int> to(1);
        launch(simt_shape(1, 32), copy_value, to.get(), lost, 0);
      },
      "heap-use-after-free");
}

static void host_read_of_device_memory() {
  expect_end(
      [] {
        on_device<int> values(10);
        printf("%d\n", values.get()[3]);
      },
      "use-after-poison");
  on_device<int> values(10);
  simt_device_scope scope;
  CHECK(values.get()[3] == -1);
}

static void lost_memory() {
  expect_end(
      [] {
        int *lost;
        CHECK_OK(cudaMalloc(&lost, 40));
        lost = nullptr;
        exit(0);
      },
      "detected memory leaks");
}

const simt_case simt_fault_cases[] = {{"wrong_tail", wrong_tail},
                                      {"missing_barrier_before_read", missing_barrier_before_read},
                                      {"missing_barrier_before_write", missing_barrier_before_write},
                                      {"exited_lane", exited_lane},
                                      {"lane_that_never_was", lane_that_never_was},
                                      {"mask_without_its_lane", mask_without_its_lane},
                                      {"different_collectives", different_collectives},
                                      {"different_barriers", different_barriers},
                                      {"deadlock", deadlock},
                                      {"wrong_calls", wrong_calls},
                                      {"wrong_address", wrong_address},
                                      {"stack_overflow", stack_overflow},
                                      {"device_read_past_the_end", device_read_past_the_end},
                                      {"shared_read_past_the_end", shared_read_past_the_end},
                                      {"device_read_after_free", device_read_after_free},
                                      {"host_read_of_device_memory", host_read_of_device_memory},
                                      {"lost_memory", lost_memory},
                                      {nullptr, nullptr}};
