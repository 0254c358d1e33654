/*
 * Matrices in host memory: through the GPU, from pinned and from pageable arrays, beside the CPU
 * with all threads, in turns and with the same result to the bit; and what the link carries in the
 * same run, each way alone and both at once. Sizes grow, so that one can read off where the
 * GPU begins to win. Times are of the host's clock: a call has returned when it is done.
 */
extern "C" {
#include "bench.h"
}
#include "gpu_bench.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/* ---- The link --------------------------------------------------------------------------- */

struct link_test {
  char *host[2], *device[2];
  cudaStream_t streams[2];
};

/* Seconds for `bytes` up and down, where wanted; below 0: failed. */
double transfer(const link_test &t, size_t bytes, bool up, bool down) {
  const double begin = now();
  cudaError_t error = cudaSuccess;
  if (up)
    error = cudaMemcpyAsync(t.device[0], t.host[0], bytes, cudaMemcpyHostToDevice, t.streams[0]);
  if (down && error == cudaSuccess)
    error = cudaMemcpyAsync(t.host[1], t.device[1], bytes, cudaMemcpyDeviceToHost, t.streams[1]);
  for (const cudaStream_t stream : t.streams)
    if (error == cudaSuccess)
      error = cudaStreamSynchronize(stream);
  return error == cudaSuccess ? now() - begin : -1;
}

/* The rates in GB/s: up, down, both at once (of the two together). False if the device refuses. */
bool measure_link(size_t bytes, double rates[3]) {
  link_test t = {};
  bool right = true;
  for (int k = 0; k < 2; k++)
    right = right && cudaMallocHost(&t.host[k], bytes) == cudaSuccess &&
            cudaMalloc(&t.device[k], bytes) == cudaSuccess &&
            cudaStreamCreateWithFlags(&t.streams[k], cudaStreamNonBlocking) == cudaSuccess;
  for (int way = 0; way < 3; way++) {
    double least = 0;
    for (int k = 0; k < 5 && right; k++) {
      const double seconds = transfer(t, bytes, way != 1, way != 0);
      right = seconds >= 0;
      least = k == 0 || seconds < least ? seconds : least;
    }
    rates[way] = least > 0 ? 1e-9 * static_cast<double>(bytes) * (way == 2 ? 2 : 1) / least : 0;
  }
  for (int k = 0; k < 2; k++) {
    cudaFreeHost(t.host[k]);
    cudaFree(t.device[k]);
    if (t.streams[k])
      cudaStreamDestroy(t.streams[k]);
  }
  return right;
}

/* ---- One matrix -------------------------------------------------------------------------- */

struct arrays {
  const char *name;
  csrn_context *ctx;
  float *data, *out;
  double least; /* seconds */
  bool right;
};

struct job {
  int64_t n_rows, n_values;
  int32_t *indptr;
  arrays ways[3]; /* CPU, pageable, pinned */
};

void fill(job *j) {
  const int64_t length = j->n_values / j->n_rows;
  uint64_t state = 1;
  for (int64_t r = 0; r <= j->n_rows; r++)
    j->indptr[r] = static_cast<int32_t>(r * length);
  for (int64_t i = 0; i < j->n_values; i++) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    j->ways[0].data[i] = static_cast<float>(1 + (state >> 60) % 9);
  }
  std::memcpy(j->ways[2].data, j->ways[0].data, static_cast<size_t>(j->n_values) * sizeof(float));
}

/* Pageable arrays are the CPU's own for the input; outputs are apart. */
bool allocate(job *j) {
  const size_t bytes = static_cast<size_t>(j->n_values) * sizeof(float);
  arrays *w = j->ways;
  j->indptr = static_cast<int32_t *>(std::malloc(static_cast<size_t>(j->n_rows + 1) * sizeof(int32_t)));
  w[0].data = w[1].data = static_cast<float *>(std::malloc(bytes));
  w[0].out = static_cast<float *>(std::malloc(bytes));
  w[1].out = static_cast<float *>(std::malloc(bytes));
  return j->indptr && w[0].data && w[0].out && w[1].out && cudaMallocHost(&w[2].data, bytes) == cudaSuccess &&
         cudaMallocHost(&w[2].out, bytes) == cudaSuccess;
}

void release(job *j) {
  std::free(j->indptr);
  std::free(j->ways[0].data);
  std::free(j->ways[0].out);
  std::free(j->ways[1].out);
  cudaFreeHost(j->ways[2].data);
  cudaFreeHost(j->ways[2].out);
}

bool run(const job &j, arrays *way, csrn_target target) {
  const csrn_csr A = {j.n_rows,  30000,    j.n_values, j.indptr, nullptr,
                      way->data, CSRN_I32, CSRN_NONE,  CSRN_F32};
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.target = target;
  options.target_sum = 1e4;
  options.log1p = 1;
  const double begin = now();
  const csrn_status status =
      csrn_normalize_total(way->ctx, &A, &options, way->out, CSRN_F32, nullptr, nullptr);
  const double seconds = now() - begin;
  way->least = way->least == 0 || seconds < way->least ? seconds : way->least;
  if (status)
    std::fprintf(stderr, "gpu_bench: %s: %s\n", way->name, csrn_error_detail(way->ctx));
  return status == CSRN_OK;
}

/* In turns; the results are compared after the first. */
void measure(job *j, csrn_target target, int repetitions) {
  for (arrays &way : j->ways) {
    way.least = 0;
    way.right = run(*j, &way, target) &&
                std::memcmp(way.out, j->ways[0].out, static_cast<size_t>(j->n_values) * sizeof(float)) == 0;
    way.least = 0; /* memory and kernels come with the first */
  }
  for (int k = 0; k < repetitions; k++)
    for (arrays &way : j->ways)
      way.right = way.right && run(*j, &way, target);
}

/* A row of the table for each way. The floor: up and down once, the values of the median target up once more,
 * or, where they stay on the device, up alone and then down alone. */
void print(const job &j, csrn_target target, double both_rate, bool *first) {
  const double bytes = 8e-9 * static_cast<double>(j.n_values);
  for (const arrays &way : j.ways) {
    std::printf("%s\n  {\"operation\": \"%s\", \"arrays\": \"%s\", \"values\": %lld, \"min_ms\": %.6g, "
                "\"gb_per_s\": %.6g, "
                "\"fraction_of_link\": %.4g, \"check\": \"%s\"}",
                *first ? "" : ",",
                target == CSRN_TARGET_FIXED ? "normalize_fixed_log1p" : "normalize_median_log1p", way.name,
                static_cast<long long>(j.n_values), 1e3 * way.least, bytes / way.least,
                &way == j.ways ? 0.0 : bytes / way.least / both_rate, way.right ? "ok" : "wrong");
    *first = false;
  }
}

} // namespace

int gpu_bench_host(bool quick) {
  static const int64_t sizes[] = {1000000, 10000000, 100000000, 400000000};
  double rates[3] = {0, 0, 0};
  csrn_context *contexts[2] = {nullptr, nullptr};
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.backend = CSRN_BACKEND_CPU;
  bool right = csrn_context_create(&options, &contexts[0]) == CSRN_OK;
  options.backend = CSRN_BACKEND_CUDA;
  right = right && csrn_context_create(&options, &contexts[1]) == CSRN_OK;
  right = right && measure_link(quick ? 1 << 16 : 256 << 20, rates);
  std::printf("{\"link_up_gb_per_s\": %.6g, \"link_down_gb_per_s\": %.6g, \"link_both_gb_per_s\": %.6g, "
              "\"results\": [",
              rates[0], rates[1], rates[2]);
  bool first = true;
  for (int s = 0; s < (quick ? 1 : 4) && right; s++) {
    job j = {};
    j.n_values = quick ? 100000 : sizes[s];
    j.n_rows = j.n_values / 1000;
    static const char *const names[] = {"cpu", "pageable", "pinned"};
    for (int w = 0; w < 3; w++) {
      j.ways[w].name = names[w];
      j.ways[w].ctx = contexts[w > 0];
    }
    if (allocate(&j)) {
      fill(&j);
      for (const csrn_target target : {CSRN_TARGET_FIXED, CSRN_TARGET_MEDIAN}) {
        measure(&j, target, quick ? 1 : 5);
        print(j, target, rates[2], &first);
        for (const arrays &way : j.ways)
          right = right && way.right;
      }
    } else {
      std::fprintf(stderr, "gpu_bench: no memory for %lld values in host memory\n",
                   static_cast<long long>(j.n_values));
    }
    release(&j);
  }
  std::printf("\n]}");
  for (csrn_context *ctx : contexts)
    csrn_context_destroy(ctx);
  return right ? BENCH_OK : BENCH_FAILED;
}
