/*
 * Thrust from the toolkit's headers, on the host, beside the header that stands in for the
 * toolkit's cuda_runtime.h: in a simt_device_scope it works on device memory.
 */
#include "test_simt.h"

#include <thrust/execution_policy.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/sort.h>
#include <thrust/system/cpp/execution_policy.h>

void thrust_works() {
  const std::vector<int> values = {5, 3, 9, 1, 7};
  on_device<int> in(values), exclusive(5), inclusive(5);
  {
    simt_device_scope scope;
    thrust::exclusive_scan(thrust::cpp::par, in.get(), in.get() + 5, exclusive.get());
    thrust::inclusive_scan(thrust::cpp::par, in.get(), in.get() + 5, inclusive.get(), thrust::maximum<int>());
    CHECK(thrust::reduce(thrust::cpp::par, in.get(), in.get() + 5) == 25);
    thrust::sort(thrust::cpp::par, in.get(), in.get() + 5);
  }
  CHECK((exclusive.values() == std::vector<int>{0, 5, 8, 17, 18}));
  CHECK((inclusive.values() == std::vector<int>{5, 5, 9, 9, 9}));
  CHECK((in.values() == std::vector<int>{1, 3, 5, 7, 9}));
}
