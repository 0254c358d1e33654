// What a C++ program does with the installed library: normalizes a small matrix whose
// result is known, and asks for a backend that this build or machine may not have. The
// argument is the version that it must find.
#include <csrnorm/csrnorm.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

int main(int argc, char **argv) {
  std::vector<std::int64_t> indptr{0, 2, 3};
  std::vector<std::int32_t> indices{0, 1, 1};
  std::vector<double> data{3, 1, 2};
  csrn_csr A{2, 2, 3, indptr.data(), indices.data(), data.data(), CSRN_I64, CSRN_I32, CSRN_F64};

  if (argc != 2 || std::string(csrn_version()) != argv[1]) {
    std::cerr << "the library is version " << csrn_version() << '\n';
    return 1;
  }
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  csrn_context *raw = nullptr;
  options.backend = CSRN_BACKEND_CUDA;
  const bool built = std::string(csrn_build_info()).find("no CUDA") == std::string::npos;
  const csrn_status status = csrn_context_create(&options, &raw);
  if (built ? status != CSRN_OK && status != CSRN_NO_DEVICE : status != CSRN_NOT_BUILT) {
    std::cerr << "a CUDA context answered " << csrn_status_string(status) << '\n';
    return 1;
  }
  csrn_context_destroy(raw);
  if (csrn_context_create(nullptr, &raw) != CSRN_OK) {
    std::cerr << csrn_error_detail(nullptr) << '\n';
    return 1;
  }
  std::unique_ptr<csrn_context, decltype(&csrn_context_destroy)> ctx(raw, csrn_context_destroy);
  csrn_normalize_options normalize = CSRN_NORMALIZE_OPTIONS_INIT;
  normalize.target = CSRN_TARGET_FIXED;
  normalize.target_sum = 8;
  if (csrn_normalize_total(ctx.get(), &A, &normalize, data.data(), CSRN_F64, nullptr, nullptr) != CSRN_OK) {
    std::cerr << csrn_error_detail(ctx.get()) << '\n';
    return 1;
  }
  if (data != std::vector<double>{6, 2, 8}) {
    std::cerr << "wrong result: " << data[0] << ' ' << data[1] << ' ' << data[2] << '\n';
    return 1;
  }
  std::cout << csrn_build_info() << '\n';
}
