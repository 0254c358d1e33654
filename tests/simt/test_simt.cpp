/*
 * What kernels compute on the shim, beside what they have to: collectives of warps and
 * blocks, shared memory, atomics, intrinsics, asynchronous copies, and orders that differ
 * within a run and agree between runs. `test_simt speed` measures a switch.
 */
#include "test_simt.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <numeric>

void simt_test_failed(const char *what, const char *file, int line) {
  fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
  exit(1);
}

cudaLaunchConfig_t simt_shape(unsigned blocks, unsigned threads, size_t shared) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  return config;
}

/* ---- Warps --------------------------------------------------------------------- */

template <typename T> __global__ void shuffle_all(T *out, int argument, int width) {
  const unsigned lane = threadIdx.x % 32;
  const T value = static_cast<T>(lane * 3 + 1);
  T *mine = out + threadIdx.x * 4;
  mine[0] = __shfl_sync(0xffffffffU, value, argument, width);
  mine[1] = __shfl_up_sync(0xffffffffU, value, static_cast<unsigned>(argument), width);
  mine[2] = __shfl_down_sync(0xffffffffU, value, static_cast<unsigned>(argument), width);
  mine[3] = __shfl_xor_sync(0xffffffffU, value, argument, width);
}

template <typename T> static void check_shuffles() {
  on_device<T> out(64 * 4);
  for (int width = 1; width <= 32; width *= 2)
    for (int argument = 0; argument < 32; argument++) {
      launch(simt_shape(1, 64), shuffle_all<T>, out.get(), argument, width);
      const std::vector<T> got = out.values();
      for (int t = 0; t < 64; t++) {
        const int lane = t % 32, first = lane / width * width;
        const int sources[] = {first + argument % width, lane - argument >= first ? lane - argument : lane,
                               lane + argument < first + width ? lane + argument : lane,
                               (lane ^ argument) < first + width ? lane ^ argument : lane};
        for (int k = 0; k < 4; k++)
          CHECK(got[static_cast<size_t>(t * 4 + k)] == static_cast<T>(sources[k] * 3 + 1));
      }
    }
}

static void shuffles() {
  check_shuffles<int>();
  check_shuffles<unsigned>();
  check_shuffles<long long>();
  check_shuffles<unsigned long long>();
  check_shuffles<float>();
  check_shuffles<double>();
}

/* Rows of a different length for each group of 8 lanes: masks that are not in step. */
__global__ void sum_by_groups(const int *values, int n_rows, int *sums) {
  const unsigned group = threadIdx.x / 8, mask = 0xffU << (threadIdx.x % 32 / 8 * 8);
  for (unsigned row = group; row < static_cast<unsigned>(n_rows); row += blockDim.x / 8) {
    const unsigned length = row * 5 % 37;
    int sum = 0;
    for (unsigned i = 0; i < length; i += 8) {
      int value = i + threadIdx.x % 8 < length ? values[i + threadIdx.x % 8] : 0;
      for (int half = 4; half > 0; half /= 2)
        value += __shfl_xor_sync(mask, value, half, 8);
      sum += value;
    }
    if (threadIdx.x % 8 == 0)
      sums[row] = sum;
  }
}

static void groups_of_lanes() {
  const int n_rows = 101;
  std::vector<int> values(64);
  std::iota(values.begin(), values.end(), 7);
  on_device<int> in(values), sums(n_rows);
  launch(simt_shape(1, 96), sum_by_groups, in.get(), n_rows, sums.get());
  const std::vector<int> got = sums.values();
  for (int row = 0; row < n_rows; row++)
    CHECK(got[static_cast<size_t>(row)] == std::accumulate(values.begin(), values.begin() + row * 5 % 37, 0));
}

__global__ void vote(unsigned *out) {
  const unsigned lane = threadIdx.x, odd = lane % 2, mask = odd ? 0xaaaaaaaaU : 0x55555555U;
  unsigned *mine = out + lane * 10;
  mine[0] = __ballot_sync(mask, lane % 3 == 0);
  mine[1] = static_cast<unsigned>(__any_sync(mask, lane == 4));
  mine[2] = static_cast<unsigned>(__all_sync(mask, odd == 1));
  mine[3] = __match_any_sync(mask, static_cast<int>(lane % 6));
  mine[4] = __reduce_add_sync(mask, lane);
  mine[5] = static_cast<unsigned>(__reduce_min_sync(mask, -static_cast<int>(lane)));
  mine[6] = __reduce_max_sync(mask, 0xfffffff0U + lane % 16);
  mine[7] = __reduce_or_sync(mask, 1U << lane);
  mine[8] = __reduce_and_sync(mask, ~(1U << lane));
  mine[9] = __activemask();
  __syncwarp();
}

static void votes() {
  on_device<unsigned> out(320);
  launch(simt_shape(1, 32), vote, out.get());
  const std::vector<unsigned> got = out.values();
  for (unsigned lane = 0; lane < 32; lane++) {
    const unsigned odd = lane % 2, mask = odd ? 0xaaaaaaaaU : 0x55555555U, *mine = &got[lane * 10];
    unsigned thirds = 0, same = 0;
    for (unsigned k = odd; k < 32; k += 2) {
      thirds |= (k % 3 == 0 ? 1U : 0U) << k;
      same |= (k % 6 == lane % 6 ? 1U : 0U) << k;
    }
    const unsigned expected[] = {
        thirds,          odd ^ 1, odd,   same,      odd ? 256U : 240U, odd ? -31U : -30U,
        odd ? -1U : -2U, mask,    ~mask, 1U << lane};
    for (int k = 0; k < 10; k++)
      CHECK(mine[k] == expected[k]);
  }
}

/* ---- Blocks -------------------------------------------------------------------- */

/* Threads beyond a power of two take part in the barriers only. */
__global__ void sum_blocks(const int *values, int n, long long *sums) {
  long long *partial = static_cast<long long *>(simt_dynamic_shared());
  long long mine = 0;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < static_cast<unsigned>(n);
       i += gridDim.x * blockDim.x)
    mine += values[i];
  partial[threadIdx.x] = mine;
  __syncthreads();
  unsigned width = 1;
  while (width * 2 < blockDim.x)
    width *= 2;
  for (; width > 0; width /= 2) {
    if (threadIdx.x < width && threadIdx.x + width < blockDim.x)
      partial[threadIdx.x] += partial[threadIdx.x + width];
    __syncthreads();
  }
  if (threadIdx.x == 0)
    sums[blockIdx.x] = partial[0];
}

static void shared_memory() {
  const int n = 10007;
  std::vector<int> values(n);
  std::iota(values.begin(), values.end(), -300);
  on_device<int> in(values);
  for (unsigned threads : {1U, 7U, 32U, 33U, 96U, 256U, 1000U, 1024U}) {
    on_device<long long> sums(5);
    launch(simt_shape(5, threads, threads * sizeof(long long)), sum_blocks, in.get(), n, sums.get());
    const std::vector<long long> got = sums.values();
    CHECK(std::accumulate(got.begin(), got.end(), 0LL) == std::accumulate(values.begin(), values.end(), 0LL));
  }
}

__global__ void find_garbage(int *wrong) {
  unsigned char *bytes = static_cast<unsigned char *>(simt_dynamic_shared());
  if (reinterpret_cast<uintptr_t>(bytes) % 16 != 0)
    atomicAdd(wrong, 1);
  if (bytes[threadIdx.x] != 0xFF)
    atomicAdd(wrong, 1);
  bytes[threadIdx.x] = 1;
}

static void shared_memory_is_garbage() {
  on_device<int> wrong(std::vector<int>{0});
  launch(simt_shape(9, 100, 100), find_garbage, wrong.get());
  CHECK(wrong.values()[0] == 0);
}

/* The last threads leave before the barriers, which the others are complete without. */
__global__ void barrier_votes_of(int *out) {
  if (threadIdx.x >= 70)
    return;
  int *mine = out + threadIdx.x * 4;
  mine[0] = __syncthreads_count(threadIdx.x % 7 == 0);
  mine[1] = __syncthreads_or(threadIdx.x == 69);
  mine[2] = __syncthreads_and(threadIdx.x < 69);
  mine[3] = __syncthreads_and(threadIdx.x < 70);
}

static void barrier_votes() {
  on_device<int> out(70 * 4);
  launch(simt_shape(1, 100), barrier_votes_of, out.get());
  const std::vector<int> got = out.values();
  for (size_t t = 0; t < 70; t++)
    CHECK(got[t * 4] == 10 && got[t * 4 + 1] == 1 && got[t * 4 + 2] == 0 && got[t * 4 + 3] == 1);
}

/* ---- One thread ------------------------------------------------------------------ */

struct counters {
  int sum, difference;
  unsigned least, most, bits, flipped, kept, ring;
  unsigned long long wide, least_wide;
  float real;
  double wide_real;
  unsigned ticket_seen; /* bits of the tickets that were drawn */
  int swapped;
};

__global__ void count_all(counters *c) {
  const unsigned t = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&c->sum, 2);
  atomicSub(&c->difference, 1);
  atomicMin(&c->least, 100 + t);
  atomicMax(&c->most, t);
  atomicOr(&c->bits, 1U << t % 32);
  atomicXor(&c->flipped, t);
  atomicAnd(&c->kept, ~(1U << t % 8));
  atomicOr(&c->ticket_seen, 1U << atomicInc(&c->ring, 9));
  atomicAdd(&c->wide, 1ULL << 33);
  atomicMin(&c->least_wide, static_cast<unsigned long long>(t) + 5);
  atomicAdd(&c->real, 0.5F);
  atomicAdd(&c->wide_real, 0.25);
  for (int old = c->swapped, seen; (seen = atomicCAS(&c->swapped, old, old + 3)) != old; old = seen) {
  }
}

static void atomics() {
  counters start = {};
  start.least = ~0U;
  start.kept = 0xffff;
  start.least_wide = ~0ULL;
  on_device<counters> c(std::vector<counters>{start});
  launch(simt_shape(4, 50), count_all, c.get());
  const counters got = c.values()[0];
  CHECK(got.sum == 400 && got.difference == -200 && got.least == 100 && got.most == 199 && got.bits == ~0U);
  CHECK(got.flipped == 0 && got.kept == 0xff00 && got.ring == 0 && got.ticket_seen == 0x3ff);
  CHECK(got.wide == 200ULL << 33 && got.least_wide == 5 && got.real == 100 && got.wide_real == 50);
  CHECK(got.swapped == 600);
}

static void intrinsics() {
  CHECK(__popc(0xf0f0U) == 8 && __popcll(~0ULL) == 64 && __ffs(8) == 4 && __ffs(0) == 0 &&
        __ffsll(1LL << 40) == 41);
  CHECK(__clz(1) == 31 && __clz(0) == 32 && __clzll(1) == 63 && __clzll(0) == 64 && __clz(-1) == 0);
  CHECK(__brev(1) == 0x80000000U && __brev(0x12345678U) == 0x1e6a2c48U && __umulhi(1U << 31, 6) == 3);
  CHECK(__float_as_uint(1.0F) == 0x3f800000U && __longlong_as_double(0x3ff0000000000000LL) == 1.0);
  CHECK(__hiloint2double(__double2hiint(-3.7), __double2loint(-3.7)) == -3.7);
  const volatile float a = 1 + 0x1p-12F, b = -(1 + 0x1p-11F);
  CHECK(__fmaf_rn(a, a, b) == 0x1p-24F && a * a + b == 0 && __fadd_rn(__fmul_rn(a, a), b) == 0);
  const volatile double c = 1 + 0x1p-27, d = -(1 + 0x1p-26);
  CHECK(__fma_rn(c, c, d) == 0x1p-54 && __dadd_rn(__dmul_rn(c, c), d) == 0);
  CHECK(__ull2double_rn(~0ULL) == 0x1p64 && __ll2float_rn((1LL << 24) + 1) == 0x1p24F);
  CHECK(min(-1, 3) == -1 && max(3U, 5U) == 5 && max(1.0F, NAN) == 1.0F && min(2.0, 1.0) == 1.0);
}

/* ---- Asynchronous copies --------------------------------------------------------- */

/* Two stages ahead: the copy that is waited for is the oldest. Without the wait, garbage is added up. */
__global__ void sum_staged(const int *values, int n, int *sum, bool waits) {
  int *stages = static_cast<int *>(simt_dynamic_shared());
  auto stage = [=](int i) {
    if (i < n)
      __pipeline_memcpy_async(stages + i % 2 * 32 + threadIdx.x, values + i * 32 + threadIdx.x, 4);
    __pipeline_commit();
  };
  stage(0);
  int mine = 0;
  for (int i = 0; i < n; i++) {
    stage(i + 1);
    if (waits)
      __pipeline_wait_prior(1);
    mine += stages[i % 2 * 32 + threadIdx.x];
  }
  atomicAdd(sum, mine);
}

static void asynchronous_copies() {
  std::vector<int> values(32 * 9);
  std::iota(values.begin(), values.end(), 1);
  on_device<int> in(values);
  for (bool waits : {true, false}) {
    on_device<int> sum(std::vector<int>{0});
    launch(simt_shape(1, 32, 256), sum_staged, static_cast<const int *>(in.get()), 9, sum.get(), waits);
    CHECK((sum.values()[0] == std::accumulate(values.begin(), values.end(), 0)) == waits);
  }
}

/* ---- Order ------------------------------------------------------------------------- */

__global__ void write_order(unsigned *order, unsigned *next) {
  order[atomicAdd(next, 1U)] = blockIdx.x * blockDim.x + threadIdx.x;
  __syncthreads();
  order[atomicAdd(next, 1U)] = blockIdx.x * blockDim.x + threadIdx.x;
}

static std::vector<unsigned> order_of_launch(unsigned blocks, unsigned threads) {
  on_device<unsigned> order(size_t{2} * blocks * threads), next(std::vector<unsigned>{0});
  launch(simt_shape(blocks, threads), write_order, order.get(), next.get());
  return order.values();
}

static void orders() {
  const simt_order orders[] = {SIMT_FORWARD, SIMT_BACKWARD, SIMT_SHUFFLE};
  for (simt_order order : orders) {
    simt_machine().order = order;
    const std::vector<unsigned> got = order_of_launch(3, 64);
    for (unsigned i = 0, wrong = 0; i < got.size(); i++) {
      const unsigned forward = i / 128 * 64 + i % 64;
      wrong += got[i] != (order == SIMT_BACKWARD ? 191 - forward : forward);
      if (i + 1 == got.size())
        CHECK((wrong == 0) == (order != SIMT_SHUFFLE));
    }
  }
  /* Each pair of threads comes in both orders sooner or later, and blocks too. */
  simt_machine().order = SIMT_VARIED;
  bool thread_before[64][64] = {}, block_before[8][8] = {};
  for (int launches = 0; launches < 8; launches++) {
    const std::vector<unsigned> got = order_of_launch(8, 64);
    for (size_t i = 0; i < got.size(); i++)
      for (size_t j = i + 1; j < got.size(); j++) {
        block_before[got[i] / 64][got[j] / 64] = true;
        if (i / 64 == j / 64)
          thread_before[got[i] % 64][got[j] % 64] = true;
      }
  }
  for (unsigned i = 0; i < 64; i++)
    for (unsigned j = 0; j < 64; j++)
      CHECK(i == j || (thread_before[i][j] && (i >= 8 || j >= 8 || block_before[i][j])));
}

__global__ void write_index(uint3 *where) {
  const unsigned t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  where[b * blockDim.x * blockDim.y * blockDim.z + t] = threadIdx;
  __syncthreads();
  where[b * blockDim.x * blockDim.y * blockDim.z + t].x += 100 * blockIdx.z;
}

static void dimensions() {
  on_device<uint3> where(2 * 3 * 4 * 5 * 3 * 2);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(2, 3, 4);
  config.blockDim = dim3(5, 3, 2);
  launch(config, write_index, where.get());
  const std::vector<uint3> got = where.values();
  for (unsigned i = 0; i < got.size(); i++)
    CHECK(got[i].x == i % 5 + 100 * (i / 180) && got[i].y == i / 5 % 3 && got[i].z == i / 15 % 2);
}

/* ---- Speed ------------------------------------------------------------------------- */

__global__ void shuffle_often(int n, int *out) {
  unsigned value = threadIdx.x;
  for (int i = 0; i < n; i++)
    value += __shfl_xor_sync(0xffffffffU, value, 1 << i % 5);
  out[threadIdx.x] = static_cast<int>(value);
}

__global__ void wait_often(int n) {
  for (int i = 0; i < n; i++)
    __syncthreads();
}

__global__ void do_little(int *out) {
  out[threadIdx.x] = 1;
}

static void speed() {
  on_device<int> out(1024);
  auto measure = [](const char *what, double n, auto run) {
    const clock_t start = clock(); /* of this process, however busy the machine is */
    run();
    printf("%-28s %6.1f ns\n", what, 1e9 / CLOCKS_PER_SEC * static_cast<double>(clock() - start) / n);
  };
  for (int warm = 0; warm < 2; warm++)
    for (unsigned threads : {32U, 256U}) {
      printf("%u threads\n", threads);
      measure("a shuffle, per thread", 1e3 * 100 * threads,
              [&] { launch(simt_shape(100, threads), shuffle_often, 1000, out.get()); });
      measure("a barrier, per thread", 1e3 * 100 * threads,
              [&] { launch(simt_shape(100, threads), wait_often, 1000); });
      measure("a thread that never waits", 1e4 * threads,
              [&] { launch(simt_shape(10000, threads), do_little, out.get()); });
    }
}

static const simt_case cases[] = {{"shuffles", shuffles},
                                  {"groups_of_lanes", groups_of_lanes},
                                  {"votes", votes},
                                  {"shared_memory", shared_memory},
                                  {"shared_memory_is_garbage", shared_memory_is_garbage},
                                  {"barrier_votes", barrier_votes},
                                  {"atomics", atomics},
                                  {"intrinsics", intrinsics},
                                  {"asynchronous_copies", asynchronous_copies},
                                  {"orders", orders},
                                  {"dimensions", dimensions},
                                  {"thrust", thrust_works},
                                  {"speed", speed},
                                  {nullptr, nullptr}};

int main(int argc, char **argv) {
  if (argc == 2)
    for (const simt_case *list : {cases, simt_runtime_cases, simt_stream_cases, simt_fault_cases})
      for (; list->name; list++)
        if (strcmp(list->name, argv[1]) == 0) {
          list->run();
          return 0;
        }
  fprintf(stderr, "usage: %s CASE\n", argv[0]);
  return 2;
}
