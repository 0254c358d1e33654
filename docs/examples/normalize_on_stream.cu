/*
 * A worked example in CUDA: csrnorm as one step of a pipeline on a stream. A kernel of the
 * caller's makes the counts, csrnorm normalizes them where they are, another kernel goes on with
 * the result; all three are captured in a graph, which is replayed for new counts. Nothing waits
 * for the device until the end. Exit code 77: there is no device. docs/examples.md explains it.
 */
#include <csrnorm/csrnorm_cuda.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>

static void check(cudaError_t error) {
  if (error == cudaSuccess)
    return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::exit(1);
}

static void check(csrn_status status, const csrn_context *ctx) {
  if (status == CSRN_OK)
    return;
  std::fprintf(stderr, "%s: %s\n", csrn_status_string(status), csrn_error_detail(ctx));
  std::exit(status == CSRN_NO_DEVICE || status == CSRN_NOT_BUILT ? 77 : 1);
}

enum { CELLS = 1000, PER_CELL = 64, VALUES = CELLS * PER_CELL };

/* The caller's own step before: counts 1 to 7 times the number of the run. */
__global__ void make_counts(float *data, const int *run) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < VALUES)
    data[i] = static_cast<float>((i % 7 + 1) * *run);
}

/* And after: how many values came out above one. */
__global__ void count_large(const float *data, unsigned *count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < VALUES && data[i] > 1.0F)
    atomicAdd(count, 1U);
}

template <typename... P, typename... A>
static void launch(cudaStream_t stream, void (*kernel)(P...), A... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3((VALUES + 255) / 256);
  config.blockDim = dim3(256);
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...));
}

struct pipeline {
  cudaStream_t stream;
  csrn_context *ctx;
  csrn_csr A;
  float *data;
  int *run;
  unsigned *count;
};

/* All steps, enqueued on the stream; the calling thread waits for none of them. */
static void enqueue(const pipeline &p) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.log1p = 1;
  launch(p.stream, make_counts, p.data, static_cast<const int *>(p.run));
  check(csrn_normalize_total(p.ctx, &p.A, &options, p.data, CSRN_F32, nullptr, nullptr), p.ctx);
  check(cudaMemsetAsync(p.count, 0, sizeof *p.count, p.stream));
  launch(p.stream, count_large, static_cast<const float *>(p.data), p.count);
}

static cudaGraphExec_t capture(const pipeline &p) {
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  check(cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal));
  enqueue(p);
  check(cudaStreamEndCapture(p.stream, &graph));
  check(cudaGraphInstantiate(&exec, graph, 0));
  check(cudaGraphDestroy(graph));
  return exec;
}

int main() {
  int32_t *offsets = nullptr, count = 0;
  check(csrn_device_count(CSRN_BACKEND_CUDA, &count), nullptr);
  pipeline p = {};
  check(cudaStreamCreateWithFlags(&p.stream, cudaStreamNonBlocking));
  check(cudaMallocAsync(&p.data, VALUES * sizeof *p.data, p.stream));
  check(cudaMallocAsync(&offsets, (CELLS + 1) * sizeof *offsets, p.stream));
  check(cudaMallocAsync(&p.run, sizeof *p.run, p.stream));
  check(cudaMallocAsync(&p.count, sizeof *p.count, p.stream));
  int32_t indptr[CELLS + 1];
  for (int i = 0; i <= CELLS; i++)
    indptr[i] = i * PER_CELL;
  check(cudaMemcpyAsync(offsets, indptr, sizeof indptr, cudaMemcpyHostToDevice, p.stream));
  /* Rows alone matter here, so that there are no indices. */
  p.A = csrn_csr{CELLS, 30000, VALUES, offsets, nullptr, p.data, CSRN_I32, CSRN_NONE, CSRN_F32};

  const csrn_context_options options = csrn_cuda_options(0, p.stream);
  check(csrn_context_create(&options, &p.ctx), nullptr);
  check(csrn_context_reserve(p.ctx, p.A.n_rows, p.A.n_cols), p.ctx); /* now: nothing is allocated later */

  int run = 1;
  check(cudaMemcpyAsync(p.run, &run, sizeof run, cudaMemcpyHostToDevice, p.stream));
  enqueue(p); /* once as it is: kernels are loaded when they are first launched */
  const cudaGraphExec_t exec = capture(p);
  unsigned large[4] = {};
  for (run = 1; run <= 3; run++) {
    check(cudaMemcpyAsync(p.run, &run, sizeof run, cudaMemcpyHostToDevice, p.stream));
    check(cudaGraphLaunch(exec, p.stream));
    check(cudaMemcpyAsync(&large[run], p.count, sizeof *large, cudaMemcpyDeviceToHost, p.stream));
  }
  check(csrn_context_synchronize(p.ctx), p.ctx); /* waits, and says what went wrong on the device */
  for (run = 1; run <= 3; run++)
    std::printf("run %d: %u of %d values above 1\n", run, large[run], static_cast<int>(VALUES));

  check(cudaGraphExecDestroy(exec));
  csrn_context_destroy(p.ctx);
  for (void *memory : {static_cast<void *>(p.data), static_cast<void *>(offsets), static_cast<void *>(p.run),
                       static_cast<void *>(p.count)})
    check(cudaFreeAsync(memory, p.stream));
  check(cudaStreamSynchronize(p.stream));
  check(cudaStreamDestroy(p.stream));
  return 0;
}
