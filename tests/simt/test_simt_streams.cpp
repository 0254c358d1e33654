/*
 * The shim's streams: late and varied work shows a missing wait and nothing else, captures refuse
 * what the runtime refuses, graphs replay what was captured.
 */
#include "test_simt.h"

#include "simt.h"

#include <cstring>

static __global__ void add_one(int *value) {
  if (threadIdx.x == 0)
    *value += 1;
}

static void add_on(cudaStream_t stream, int *value) {
  cudaLaunchConfig_t config = simt_shape(1, 32);
  config.stream = stream;
  launch(config, add_one, value);
}

static cudaStream_t new_stream(unsigned flags = cudaStreamNonBlocking) {
  cudaStream_t stream;
  CHECK_OK(cudaStreamCreateWithFlags(&stream, flags));
  return stream;
}

/* Pinned memory whose contents go up, are added to, and come down again on three streams. */
static int round_trip(bool waits, uint64_t seed) {
  simt_machine().streams = seed == 0 ? SIMT_LATE : SIMT_VARIED_STREAMS;
  int *device, *pinned;
  CHECK_OK(cudaMalloc(&device, sizeof *device));
  CHECK_OK(cudaMallocHost(&pinned, sizeof *pinned));
  CHECK_OK(cudaMemset(device, 0, sizeof *device));
  *pinned = 40;
  const cudaStream_t streams[3] = {new_stream(), new_stream(), new_stream()};
  cudaEvent_t events[2];
  for (cudaEvent_t &event : events)
    CHECK_OK(cudaEventCreate(&event));
  CHECK_OK(cudaMemcpyAsync(device, pinned, sizeof *device, cudaMemcpyHostToDevice, streams[0]));
  CHECK_OK(cudaEventRecord(events[0], streams[0]));
  if (waits)
    CHECK_OK(cudaStreamWaitEvent(streams[1], events[0]));
  add_on(streams[1], device);
  CHECK_OK(cudaEventRecord(events[1], streams[1]));
  if (waits)
    CHECK_OK(cudaStreamWaitEvent(streams[2], events[1]));
  CHECK_OK(cudaMemcpyAsync(pinned, device, sizeof *device, cudaMemcpyDeviceToHost, streams[2]));
  CHECK_OK(cudaStreamSynchronize(streams[2]));
  const int result = *pinned;
  for (cudaStream_t stream : streams)
    CHECK_OK(cudaStreamDestroy(stream));
  for (cudaEvent_t event : events)
    CHECK_OK(cudaEventDestroy(event));
  CHECK_OK(cudaFree(device));
  CHECK_OK(cudaFreeHost(pinned));
  return result;
}

static void missing_waits_show() {
  int right = 0;
  for (uint64_t seed = 0; seed < 20; seed++) {
    CHECK(round_trip(true, seed) == 41);
    right += round_trip(false, seed) == 41;
  }
  CHECK(right < 20);
}

/* seen[0]: what a block finds there before it waits for the kernel before it, seen[1]: behind that. The
 * threads of the other warps are at a barrier meanwhile. */
static __global__ void look(const int *value, int *seen) {
  if (blockIdx.x == 0 && threadIdx.x == 0)
    seen[0] = *value;
  if (threadIdx.x < warpSize)
    cudaGridDependencySynchronize();
  __syncthreads();
  if (blockIdx.x == 0 && threadIdx.x == 0)
    seen[1] = *value;
}

/* How often it is seen that a kernel has looked too early. */
static int early_looks(bool overlaps, cudaStream_t stream, cudaStream_t other) {
  int n = 0;
  for (int k = 0; k < 40; k++) {
    on_device<int> value(std::vector<int>{0}), seen(std::vector<int>{9, 9});
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = simt_shape(3, 96);
    config.attrs = &early;
    config.numAttrs = overlaps ? 1 : 0;
    config.stream = other;
    launch(config, add_one, value.get());
    config.stream = stream;
    launch(config, look, static_cast<const int *>(value.get()), seen.get());
    CHECK_OK(cudaStreamSynchronize(stream));
    CHECK(seen.values()[1] == 3); /* one of each block */
    n += seen.values()[0] == 0;
  }
  return n;
}

static void early_reads_show() {
  const cudaStream_t stream = new_stream(), other = new_stream();
  const int shown = early_looks(true, stream, stream);
  CHECK(shown > 0 && shown < 40);
  CHECK(early_looks(true, nullptr, nullptr) > 0);
  CHECK(early_looks(false, stream, stream) == 0);
  CHECK(early_looks(true, stream, other) == 0);
  CHECK_OK(cudaStreamDestroy(stream));
  CHECK_OK(cudaStreamDestroy(other));
}

/* The default stream waits for those that block, and they for it. */
static void the_default_stream_waits() {
  simt_machine().streams = SIMT_LATE;
  const cudaStream_t blocking = new_stream(cudaStreamDefault), other = new_stream();
  on_device<int> a(std::vector<int>{0}), b(std::vector<int>{0});
  add_on(blocking, a.get());
  add_on(other, b.get());
  add_on(nullptr, a.get());
  CHECK(cudaStreamQuery(blocking) == cudaSuccess);
  CHECK(cudaStreamQuery(other) == cudaErrorNotReady);
  CHECK(cudaStreamQuery(other) == cudaSuccess);
  CHECK(a.values()[0] == 2 && b.values()[0] == 1);
  CHECK_OK(cudaStreamDestroy(blocking));
  CHECK_OK(cudaStreamDestroy(other));
}

static void pageable_copies_are_done() {
  simt_machine().streams = SIMT_LATE;
  const cudaStream_t stream = new_stream();
  on_device<int> a(std::vector<int>{5});
  add_on(stream, a.get());
  int value = 0;
  CHECK_OK(cudaMemcpyAsync(&value, a.get(), sizeof value, cudaMemcpyDeviceToHost, stream));
  CHECK(value == 6);
  CHECK_OK(cudaStreamDestroy(stream));
}

static void captures_and_replays() {
  const cudaStream_t stream = new_stream();
  on_device<int> a(std::vector<int>{0});
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  cudaStreamCaptureStatus status;
  size_t n;
  CHECK_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK_OK(cudaStreamIsCapturing(stream, &status));
  CHECK(status == cudaStreamCaptureStatusActive);
  add_on(stream, a.get());
  add_on(stream, a.get());
  CHECK_OK(cudaStreamEndCapture(stream, &graph));
  CHECK(a.values()[0] == 0);
  CHECK_OK(cudaGraphGetNodes(graph, nullptr, &n));
  CHECK(n == 2);
  CHECK_OK(cudaGraphInstantiate(&exec, graph, 0));
  CHECK_OK(cudaGraphDestroy(graph));
  for (int i = 0; i < 3; i++)
    CHECK_OK(cudaGraphLaunch(exec, stream));
  CHECK_OK(cudaStreamSynchronize(stream));
  CHECK(a.values()[0] == 6);
  CHECK_OK(cudaGraphExecDestroy(exec));
  CHECK_OK(cudaStreamDestroy(stream));
}

/* Each of these ends a capture, as the runtime has it. */
static void captures_refuse() {
  on_device<int> a(std::vector<int>{0});
  int value;
  for (int i = 0; i < 8; i++) {
    const cudaStream_t stream = new_stream(i == 7 ? cudaStreamDefault : cudaStreamNonBlocking);
    cudaGraph_t graph;
    void *memory;
    CHECK_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    const cudaError_t error = i == 0   ? cudaStreamSynchronize(stream)
                              : i == 1 ? cudaMalloc(&memory, 10)
                              : i == 2 ? cudaMallocAsync(&memory, 10, stream)
                              : i == 3 ? cudaFree(nullptr)
                              : i == 4 ? cudaMemcpyAsync(&value, a.get(), 4, cudaMemcpyDefault, stream)
                              : i == 5 ? cudaDeviceSynchronize()
                              : i == 6 ? cudaMallocHost(&memory, 10)
                                       : cudaMemsetAsync(a.get(), 0, 4, nullptr);
    CHECK(error == (i == 7 ? cudaErrorStreamCaptureImplicit : cudaErrorStreamCaptureUnsupported));
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated && !graph);
    CHECK_OK(cudaStreamDestroy(stream));
  }
}

/* A thread that says so may do meanwhile what would end the capture. */
static void captures_that_are_spared() {
  const cudaStream_t stream = new_stream(cudaStreamNonBlocking);
  cudaGraph_t graph;
  void *memory;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  CHECK_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK_OK(cudaThreadExchangeStreamCaptureMode(&mode));
  CHECK(mode == cudaStreamCaptureModeGlobal);
  CHECK_OK(cudaMalloc(&memory, 10));
  CHECK_OK(cudaFree(memory));
  CHECK_OK(cudaThreadExchangeStreamCaptureMode(&mode));
  CHECK_OK(cudaStreamEndCapture(stream, &graph));
  CHECK_OK(cudaGraphDestroy(graph));
  CHECK_OK(cudaStreamDestroy(stream));
}

const simt_case simt_stream_cases[] = {{"missing_waits_show", missing_waits_show},
                                       {"early_reads_show", early_reads_show},
                                       {"the_default_stream_waits", the_default_stream_waits},
                                       {"pageable_copies_are_done", pageable_copies_are_done},
                                       {"captures_and_replays", captures_and_replays},
                                       {"captures_refuse", captures_refuse},
                                       {"captures_that_are_spared", captures_that_are_spared},
                                       {nullptr, nullptr}};
