/*
 * The runtime of the shim: what launches and copies refuse, what is known of a pointer,
 * allocations that fail on demand, the floating-point mode, several threads.
 */
#include "test_simt.h"

#include <cfenv>
#include <cstdlib>
#include <thread>

__global__ void do_nothing() {}

static cudaError_t launch_of(dim3 grid, dim3 block, size_t shared) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  return cudaLaunchKernelEx(&config, do_nothing);
}

static void launch_errors() {
  const size_t most = simt_machine().shared_optin;
  CHECK_OK(launch_of(1, 1024, 48 << 10));
  CHECK(launch_of(1, 1025, 0) == cudaErrorInvalidConfiguration);
  CHECK(launch_of(1, dim3(32, 33), 0) == cudaErrorInvalidConfiguration);
  CHECK(launch_of(1, dim3(1, 1, 65), 0) == cudaErrorInvalidConfiguration);
  CHECK(launch_of(0, 32, 0) == cudaErrorInvalidConfiguration);
  CHECK(launch_of(1, 0, 0) == cudaErrorInvalidConfiguration);
  CHECK(launch_of(dim3(1, 65536), 1, 0) == cudaErrorInvalidConfiguration);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidConfiguration &&
        cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(launch_of(1, 32, (48 << 10) + 1) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(do_nothing, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(most) + 1) == cudaErrorInvalidValue);
  CHECK_OK(
      cudaFuncSetAttribute(do_nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(most)));
  CHECK_OK(launch_of(1, 32, most));
  CHECK(launch_of(1, 32, most + 1) == cudaErrorInvalidValue);
  int blocks;
  CHECK_OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, do_nothing, 256, 0));
  CHECK(blocks == 8);
  CHECK_OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, do_nothing, 256, most));
  CHECK(blocks == 1);
}

static cudaMemoryType type_of(const void *pointer) {
  cudaPointerAttributes attributes;
  CHECK_OK(cudaPointerGetAttributes(&attributes, pointer));
  return attributes.type;
}

static void memory() {
  char host[100] = "text", *device, *pinned, *managed;
  size_t free_before, free_then, total;
  CHECK_OK(cudaMemGetInfo(&free_before, &total));
  CHECK_OK(cudaMalloc(&device, 100));
  CHECK_OK(cudaMallocHost(&pinned, 100));
  CHECK_OK(cudaMallocManaged(&managed, 100));
  CHECK_OK(cudaMemGetInfo(&free_then, &total));
  CHECK(free_before == total && free_then == total - 200);
  CHECK(type_of(device) == cudaMemoryTypeDevice && type_of(device + 99) == cudaMemoryTypeDevice);
  CHECK(type_of(device + 100) == cudaMemoryTypeUnregistered && type_of(host) == cudaMemoryTypeUnregistered);
  CHECK(type_of(pinned + 5) == cudaMemoryTypeHost && type_of(managed) == cudaMemoryTypeManaged);
  CHECK(reinterpret_cast<uintptr_t>(device) % 256 == 0 && pinned[7] == -1);
  CHECK_OK(cudaMemcpy(device + 50, host, 5, cudaMemcpyDefault));
  CHECK_OK(cudaMemcpy(device, device + 50, 5, cudaMemcpyDeviceToDevice));
  CHECK_OK(cudaMemsetAsync(device, 'T', 1));
  CHECK_OK(cudaMemcpyAsync(pinned, device, 5, cudaMemcpyDeviceToHost));
  CHECK(strcmp(pinned, "Text") == 0);
  CHECK(cudaMemcpy(device + 96, host, 5, cudaMemcpyDefault) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(host, pinned, 5, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(device, host, 5, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemset(device, 0, 101) == cudaErrorInvalidValue &&
        cudaMemset(host, 0, 1) == cudaErrorInvalidValue);
  CHECK(cudaFree(host) == cudaErrorInvalidValue && cudaFree(device + 1) == cudaErrorInvalidValue);
  CHECK(cudaFree(pinned) == cudaErrorInvalidValue && cudaFreeHost(device) == cudaErrorInvalidValue);
  CHECK_OK(cudaFree(device));
  CHECK_OK(cudaFree(managed));
  CHECK_OK(cudaFreeHost(pinned));
  CHECK_OK(cudaFree(nullptr));
}

static void failing_allocations() {
  void *memory = &memory;
  CHECK(cudaMalloc(&memory, simt_machine().memory + 1) == cudaErrorMemoryAllocation && !memory);
  simt_machine().fail_allocation = 2;
  for (int i = 0; i < 4; i++) {
    CHECK(cudaMalloc(&memory, 10) == (i == 2 ? cudaErrorMemoryAllocation : cudaSuccess));
    CHECK((memory == nullptr) == (i == 2));
    CHECK_OK(cudaFree(memory));
  }
}

static void streams_and_events() {
  cudaStream_t stream;
  cudaEvent_t begin, end;
  float milliseconds = -1;
  CHECK_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK_OK(cudaEventCreate(&begin));
  CHECK_OK(cudaEventCreateWithFlags(&end, cudaEventDisableTiming));
  CHECK_OK(cudaEventRecord(begin, stream));
  CHECK(cudaEventElapsedTime(&milliseconds, begin, end) == cudaErrorInvalidResourceHandle);
  CHECK_OK(cudaEventRecord(end, stream));
  CHECK_OK(cudaStreamWaitEvent(stream, end));
  CHECK_OK(cudaEventElapsedTime(&milliseconds, begin, end));
  CHECK(milliseconds >= 0);
  CHECK_OK(cudaStreamSynchronize(stream));
  CHECK_OK(cudaStreamSynchronize(nullptr));
  CHECK_OK(cudaEventDestroy(begin));
  CHECK_OK(cudaEventDestroy(end));
  CHECK_OK(cudaStreamDestroy(stream));
  CHECK(cudaStreamDestroy(nullptr) == cudaErrorInvalidResourceHandle);
}

static void devices() {
  cudaDeviceProp properties;
  int n, value;
  CHECK_OK(cudaGetDeviceCount(&n));
  CHECK(n == 1 && cudaSetDevice(1) == cudaErrorInvalidDevice);
  CHECK_OK(cudaGetDeviceProperties(&properties, 0));
  CHECK(strcmp(properties.name, "cuda-host") == 0 && properties.major == 9 &&
        properties.multiProcessorCount == 132);
  CHECK_OK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  CHECK(value == 227 << 10);
  simt_machine().devices = 0;
  CHECK(cudaGetDeviceCount(&n) == cudaErrorNoDevice && n == 0);
  CHECK(strcmp(cudaGetErrorName(cudaErrorNoDevice), "cudaErrorNoDevice") == 0);
  CHECK(strcmp(cudaGetErrorString(cudaErrorNoDevice), "no CUDA-capable device is detected") == 0);
}

__global__ void divide(const float *in, float *out) {
  out[threadIdx.x] = in[0] / in[1];
  __syncthreads();
  out[threadIdx.x] *= in[2];
}

/* The device rounds to nearest and keeps subnormals, whatever the host does. */
static void floating_point_mode() {
  const std::vector<float> values = {1, 3, 0x1p-130F};
  on_device<float> in(values), out(64);
  launch(simt_shape(1, 64), divide, static_cast<const float *>(in.get()), out.get());
  const std::vector<float> expected = out.values();
  CHECK(fesetround(FE_UPWARD) == 0);
  feclearexcept(FE_ALL_EXCEPT);
  launch(simt_shape(1, 64), divide, static_cast<const float *>(in.get()), out.get());
  CHECK(fegetround() == FE_UPWARD && fetestexcept(FE_ALL_EXCEPT) == 0);
  fesetround(FE_TONEAREST);
  CHECK(out.values() == expected && expected[0] == 1.0F / 3.0F * 0x1p-130F);
}

__global__ void count_up(int *counter) {
  for (int i = 0; i < 5; i++) {
    int old = *counter;
    __syncthreads();
    if (threadIdx.x == 0)
      *counter = old + 1;
    __syncthreads();
  }
}

static void several_threads() {
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; t++)
    threads.emplace_back([] {
      on_device<int> counter(std::vector<int>{0});
      for (int i = 1; i <= 20; i++) {
        launch(simt_shape(2, 64), count_up, counter.get());
        CHECK(counter.values()[0] == 10 * i);
      }
    });
  for (std::thread &t : threads)
    t.join();
}

const simt_case simt_runtime_cases[] = {{"launch_errors", launch_errors},
                                        {"memory", memory},
                                        {"failing_allocations", failing_allocations},
                                        {"streams_and_events", streams_and_events},
                                        {"devices", devices},
                                        {"floating_point_mode", floating_point_mode},
                                        {"several_threads", several_threads},
                                        {nullptr, nullptr}};
