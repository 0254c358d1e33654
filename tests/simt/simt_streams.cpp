/*
 * Streams, events, captures and graphs. What is enqueued runs at once, or, as simt_machine().streams
 * says, as late as the program's own waits allow, or at moments that vary: then a wait that is
 * missing between two streams, or between a stream and the host, shows as a wrong result. While a
 * stream is being captured its work is kept in a graph instead, and whatever the runtime refuses
 * then is refused here, and ends the capture.
 */
#include "simt_internal.h"

#include <chrono>
#include <deque>
#include <list>
#include <mutex>

using simt::simt_work;

static constexpr uint64_t ALIVE = 0x6576696c61; /* what lies in a stream or event until it is destroyed */

/* A kernel or other work, or the recording of an event, or a wait for one; `version` says which recording. */
struct simt_item {
  enum { KERNEL, WORK, RECORD, WAIT } kind;
  simt_work work;
  cudaEvent_t event;
  uint64_t version;
  simt::grid kernel;
  bool overlaps;       /* the kernel, with the one before it */
  cudaStream_t stream; /* that the kernel is launched on */
};

struct simt_stream {
  uint64_t alive;
  int device;
  bool blocking; /* the default stream and this one wait for each other */
  std::deque<simt_item> queue;
  cudaStreamCaptureStatus capture;
  cudaStreamCaptureMode mode;
  std::thread::id captured_by;
  cudaGraph_t graph; /* that is being captured */
};

struct simt_event {
  uint64_t alive, recorded, completed; /* versions */
  std::chrono::steady_clock::time_point time;
};

struct simt_graph {
  std::vector<simt_work> nodes;
};

struct simt_graph_exec {
  std::vector<simt_work> nodes;
};

namespace simt {

static std::recursive_mutex &lock() {
  static auto *one = new std::recursive_mutex;
  return *one;
}
using guard = std::lock_guard<std::recursive_mutex>;

static std::list<cudaStream_t> &streams() {
  static auto *all = new std::list<cudaStream_t>;
  return *all;
}

static bool is_built_in(cudaStream_t stream) {
  return !stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
}

cudaError_t check_stream(cudaStream_t stream) {
  return is_built_in(stream) || stream->alive == ALIVE ? cudaSuccess : fail(cudaErrorInvalidResourceHandle);
}

static cudaError_t check_event(cudaEvent_t event) {
  return event && event->alive == ALIVE ? cudaSuccess : fail(cudaErrorInvalidResourceHandle);
}

/* ---- What a capture forbids ------------------------------------------------------------- */

static cudaError_t end_capture(cudaStream_t stream, cudaError_t error) {
  stream->capture = cudaStreamCaptureStatusInvalidated;
  return fail(error);
}

static bool is_capturing(cudaStream_t stream) {
  return !is_built_in(stream) && stream->capture != cudaStreamCaptureStatusNone;
}

/* The capture that an operation on the default stream would have to wait for. */
static cudaStream_t blocking_capture(cudaStream_t stream) {
  if (stream && stream != cudaStreamLegacy)
    return nullptr;
  for (cudaStream_t other : streams())
    if (other->blocking && is_capturing(other))
      return other;
  return nullptr;
}

/* What this thread wants to be refused. */
static thread_local cudaStreamCaptureMode mode_of_thread = cudaStreamCaptureModeGlobal;

static bool refuses_unsafe(cudaStream_t stream) {
  if (!is_capturing(stream) || stream->mode == cudaStreamCaptureModeRelaxed ||
      mode_of_thread == cudaStreamCaptureModeRelaxed)
    return false;
  return stream->captured_by == std::this_thread::get_id() ||
         (stream->mode == cudaStreamCaptureModeGlobal && mode_of_thread == cudaStreamCaptureModeGlobal);
}

cudaError_t refuse_unsafe() {
  guard hold(lock());
  for (cudaStream_t stream : streams())
    if (refuses_unsafe(stream))
      return end_capture(stream, cudaErrorStreamCaptureUnsupported);
  return cudaSuccess;
}

/* Waits and the like on a stream that must not be captured. */
cudaError_t refuse_captured(cudaStream_t stream) {
  guard hold(lock());
  const cudaError_t error = check_stream(stream);
  if (error)
    return error;
  if (is_capturing(stream))
    return end_capture(stream, cudaErrorStreamCaptureUnsupported);
  if (cudaStream_t other = blocking_capture(stream))
    return end_capture(other, cudaErrorStreamCaptureImplicit);
  return cudaSuccess;
}

/* ---- Running what is enqueued -------------------------------------------------------------- */

static void run(const simt_work &work) {
  finish_kernels();
  const cudaError_t error = work();
  if (error != cudaSuccess)
    simt_fatal("work on a stream failed after it had been enqueued: %s", cudaGetErrorString(error));
}

/* A kernel that has not run yet, but whose turn it is. */
static struct {
  bool exists;
  cudaStream_t stream;
  grid kernel;
} put_off;

void finish_kernels() {
  guard hold(lock());
  if (!put_off.exists)
    return;
  put_off.exists = false;
  const grid kernel = put_off.kernel;
  run_kernel(kernel, nullptr);
}

/* Not beside itself: its shared variables are static ones here. */
static void run_or_put_off(const simt_item &item) {
  static uint64_t state = simt_machine().seed;
  if (put_off.exists && item.overlaps && put_off.stream == item.stream &&
      put_off.kernel.name != item.kernel.name) {
    const grid before = put_off.kernel;
    put_off.exists = false;
    run_kernel(item.kernel, &before);
    return;
  }
  finish_kernels();
  if (next_random(&state) % 2)
    put_off = {true, item.stream, item.kernel};
  else
    run_kernel(item.kernel, nullptr);
}

static void complete(cudaEvent_t event, uint64_t version) {
  finish_kernels();
  event->completed = version > event->completed ? version : event->completed;
  event->time = std::chrono::steady_clock::now();
}

static void advance_to(cudaEvent_t event, uint64_t version);

/* The first item of a stream, with what it waits for. */
static void advance(cudaStream_t stream) {
  const simt_item item = stream->queue.front();
  if (item.kind == simt_item::WAIT)
    advance_to(item.event, item.version);
  stream->queue.pop_front();
  if (item.kind == simt_item::KERNEL)
    run_or_put_off(item);
  else if (item.kind == simt_item::WORK)
    run(item.work);
  else if (item.kind == simt_item::RECORD)
    complete(item.event, item.version);
}

static void drain(cudaStream_t stream) {
  while (!is_built_in(stream) && !stream->queue.empty())
    advance(stream);
}

static bool has_recording(cudaStream_t stream, cudaEvent_t event, uint64_t version) {
  for (const simt_item &item : stream->queue)
    if (item.kind == simt_item::RECORD && item.event == event && item.version >= version)
      return true;
  return false;
}

static void advance_to(cudaEvent_t event, uint64_t version) {
  for (cudaStream_t stream : streams())
    while (event->completed < version && has_recording(stream, event, version))
      advance(stream);
}

static void drain_all(bool only_blocking) {
  for (cudaStream_t stream : streams())
    if (stream->blocking || !only_blocking)
      drain(stream);
}

void wait_for_device() {
  guard hold(lock());
  drain_all(false);
  finish_kernels();
}

/* Whether the first item of a stream could run now. */
static bool can_advance(cudaStream_t stream) {
  if (stream->queue.empty())
    return false;
  const simt_item &item = stream->queue.front();
  return item.kind != simt_item::WAIT || item.event->completed >= item.version;
}

/* Some streams go on for a while. */
static void pass_time() {
  static uint64_t state = simt_machine().seed;
  if (simt_machine().streams != SIMT_VARIED_STREAMS || streams().empty())
    return;
  for (uint64_t steps = next_random(&state) % 6; steps > 0; steps--) {
    auto stream = streams().begin();
    std::advance(stream, static_cast<long>(next_random(&state) % streams().size()));
    if (can_advance(*stream))
      advance(*stream);
  }
}

static void add(cudaStream_t stream, const simt_item &item) {
  if (is_built_in(stream)) {
    if (stream != cudaStreamPerThread)
      drain_all(true);
    simt_stream at_once = {};
    at_once.queue.push_back(item);
    advance(&at_once);
  } else {
    stream->queue.push_back(item);
    if (simt_machine().streams == SIMT_AT_ONCE)
      drain(stream);
  }
  pass_time();
}

/* To the graph that is being captured, or to the stream. */
static cudaError_t enqueue_item(cudaStream_t stream, const simt_item &item, const simt_work &node,
                                bool waits) {
  guard hold(lock());
  cudaError_t error = check_stream(stream);
  if (error)
    return error;
  if (is_capturing(stream)) {
    if (stream->capture == cudaStreamCaptureStatusInvalidated)
      return fail(cudaErrorStreamCaptureInvalidated);
    if (waits)
      return end_capture(stream, cudaErrorStreamCaptureUnsupported);
    stream->graph->nodes.push_back(node);
    return cudaSuccess;
  }
  if (cudaStream_t other = blocking_capture(stream))
    return end_capture(other, cudaErrorStreamCaptureImplicit);
  add(stream, item);
  if (waits)
    drain(stream);
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, const simt_work &work, bool waits) {
  return enqueue_item(stream, {simt_item::WORK, work, nullptr, 0, {}, false, nullptr}, work, waits);
}

cudaError_t enqueue_kernel(cudaStream_t stream, const grid &kernel, bool overlaps) {
  const simt_work node = [kernel] {
    run_kernel(kernel, nullptr);
    return cudaSuccess;
  };
  return enqueue_item(stream, {simt_item::KERNEL, {}, nullptr, 0, kernel, overlaps, stream}, node, false);
}

} // namespace simt

using namespace simt;

/* ---- Streams ----------------------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  refuse_kernels("cudaStreamCreateWithFlags");
  guard hold(lock());
  *stream = nullptr;
  if (simt_machine().devices == 0)
    return fail(cudaErrorNoDevice);
  if (simt_machine().fail_stream >= 0 && simt_machine().fail_stream-- == 0)
    return fail(cudaErrorMemoryAllocation);
  *stream = new simt_stream{};
  (*stream)->alive = ALIVE;
  (*stream)->device = current_device();
  (*stream)->blocking = !(flags & cudaStreamNonBlocking);
  streams().push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  refuse_kernels("cudaStreamDestroy");
  guard hold(lock());
  if (is_built_in(stream) || check_stream(stream))
    return fail(cudaErrorInvalidResourceHandle);
  drain(stream);
  finish_kernels();
  delete stream->graph;
  streams().remove(stream);
  stream->alive = 0;
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  refuse_kernels("cudaStreamSynchronize");
  guard hold(lock());
  const cudaError_t error = refuse_captured(stream);
  if (error)
    return error;
  simt_machine().waits++;
  if (is_built_in(stream))
    drain_all(true);
  else
    drain(stream);
  finish_kernels();
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  refuse_kernels("cudaStreamQuery");
  guard hold(lock());
  const cudaError_t error = refuse_captured(stream);
  if (error || is_built_in(stream) || stream->queue.empty()) {
    finish_kernels();
    return error;
  }
  advance(stream); /* or who asks again and again would ask for ever */
  return cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  refuse_kernels("cudaStreamWaitEvent");
  guard hold(lock());
  cudaError_t error = refuse_captured(stream);
  error = error ? error : check_event(event);
  if (!error)
    add(stream, {simt_item::WAIT, {}, event, event->recorded, {}, false, nullptr});
  return error;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
  guard hold(lock());
  *status = cudaStreamCaptureStatusNone;
  const cudaError_t error = check_stream(stream);
  if (error)
    return error;
  if (blocking_capture(stream))
    return fail(cudaErrorStreamCaptureImplicit);
  if (is_capturing(stream))
    *status = stream->capture;
  return cudaSuccess;
}

cudaError_t cudaStreamGetDevice(cudaStream_t stream, int *device) {
  const cudaError_t error = check_stream(stream);
  if (!error)
    *device = is_built_in(stream) ? current_device() : stream->device;
  return error;
}

cudaError_t cudaDeviceSynchronize() {
  refuse_kernels("cudaDeviceSynchronize");
  const cudaError_t error = refuse_unsafe();
  if (error)
    return error;
  simt_machine().waits++;
  wait_for_device();
  return cudaSuccess;
}

/* ---- Events --------------------------------------------------------------------------------------- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
  refuse_kernels("cudaEventCreateWithFlags");
  *event = nullptr;
  if (simt_machine().devices == 0)
    return fail(cudaErrorNoDevice);
  *event = new simt_event{ALIVE, 0, 0, {}};
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  guard hold(lock());
  if (check_event(event))
    return cudaErrorInvalidResourceHandle;
  /* Whoever still has it in its queue goes on as far as that. */
  for (cudaStream_t stream : streams())
    for (size_t i = 0; i < stream->queue.size();)
      if (stream->queue[i].event == event)
        advance(stream), i = 0;
      else if (i + 1 < stream->queue.size())
        i++;
      else
        break;
  event->alive = 0;
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  refuse_kernels("cudaEventRecord");
  guard hold(lock());
  cudaError_t error = check_event(event);
  error = error ? error : refuse_captured(stream);
  if (!error)
    add(stream, {simt_item::RECORD, {}, event, ++event->recorded, {}, false, nullptr});
  return error;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  guard hold(lock());
  cudaError_t error = check_event(event);
  error = error ? error : refuse_unsafe();
  if (error || event->completed >= event->recorded)
    return error;
  advance_to(event, event->completed + 1);
  return cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  guard hold(lock());
  cudaError_t error = check_event(event);
  error = error ? error : refuse_unsafe();
  if (error)
    return error;
  simt_machine().waits++;
  advance_to(event, event->recorded);
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
  guard hold(lock());
  if (check_event(start) || check_event(end) || !start->recorded || !end->recorded)
    return fail(cudaErrorInvalidResourceHandle);
  if (start->completed < start->recorded || end->completed < end->recorded)
    return fail(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

/* ---- Captures and graphs --------------------------------------------------------------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  guard hold(lock());
  const cudaError_t error = check_stream(stream);
  if (error)
    return error;
  if (is_built_in(stream))
    return fail(cudaErrorStreamCaptureUnsupported);
  if (is_capturing(stream))
    return fail(cudaErrorIllegalState);
  stream->capture = cudaStreamCaptureStatusActive;
  stream->mode = mode;
  stream->captured_by = std::this_thread::get_id();
  stream->graph = new simt_graph;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  guard hold(lock());
  *graph = nullptr;
  const cudaError_t error = check_stream(stream);
  if (error || !is_capturing(stream))
    return error ? error : fail(cudaErrorIllegalState);
  const bool valid = stream->capture == cudaStreamCaptureStatusActive;
  if (valid)
    *graph = stream->graph;
  else
    delete stream->graph;
  stream->graph = nullptr;
  stream->capture = cudaStreamCaptureStatusNone;
  return valid ? cudaSuccess : fail(cudaErrorStreamCaptureInvalidated);
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
  std::swap(*mode, mode_of_thread);
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *n) {
  *n = graph->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
  *exec = new simt_graph_exec{graph->nodes};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const std::vector<simt_work> nodes = exec->nodes;
  return enqueue(stream, [nodes] {
    for (const simt_work &node : nodes)
      run(node);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
