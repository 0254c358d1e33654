/*
 * The frame of the shim's own tests: each case is a function that returns whether all was
 * right. The program takes the name of a case, so that CTest runs each by itself.
 */
#ifndef TEST_SIMT_H
#define TEST_SIMT_H

#include "cuda_pipeline.h"

#include <vector>

struct simt_case {
  const char *name;
  void (*run)();
};

extern const simt_case simt_fault_cases[], simt_runtime_cases[],
    simt_stream_cases[]; /* up to one without a name */
void thrust_works();

/* Ends the program with exit code 1, and says where. */
#define CHECK(condition) ((condition) ? (void)0 : simt_test_failed(#condition, __FILE__, __LINE__))
#define CHECK_OK(call)   CHECK((call) == cudaSuccess)
[[noreturn]] void simt_test_failed(const char *what, const char *file, int line);

cudaLaunchConfig_t simt_shape(unsigned blocks, unsigned threads, size_t shared = 0);

template <typename... P, typename... A>
void launch(const cudaLaunchConfig_t &config, void (*kernel)(P...), A... arguments) {
  CHECK_OK(cudaLaunchKernelEx(&config, kernel, arguments...));
}

/* n elements in device memory, released at the end; to and from the host by copies. */
template <typename T> class on_device {
public:
  explicit on_device(size_t n) : n_(n) {
    CHECK_OK(cudaMalloc(&data_, n * sizeof(T)));
  }
  explicit on_device(const std::vector<T> &values) : on_device(values.size()) {
    CHECK_OK(cudaMemcpy(data_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  on_device(const on_device &) = delete;
  on_device &operator=(const on_device &) = delete;
  ~on_device() {
    cudaFree(data_);
  }
  T *get() const {
    return data_;
  }
  std::vector<T> values() const {
    std::vector<T> v(n_);
    CHECK_OK(cudaMemcpy(v.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }

private:
  T *data_ = nullptr;
  size_t n_;
};

#endif
