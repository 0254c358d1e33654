/*
 * What the CUDA backend reaches on this GPU, as a fraction of the GPU's own copy rate in the
 * same run, with cuSPARSE beside it. The matrices, the operations, the checks and the report
 * are those of `csrnorm bench` (cli/bench.h); what differs is the clock: CUDA events around
 * work that is enqueued without a gap. Needs neither HDF5 nor any file.
 *
 *   gpu_bench [--small]      one JSON object: {"host": {...}, "matrices": [...]}; progress on stderr
 *   gpu_bench CELLS VALUES   of one matrix with so many values a cell alone: {"matrices": [...]}
 *
 * --small: matrices that only show that the program works. Exit codes: 0 measured; 1 a result
 * was wrong or an operation failed; 77 no device.
 */
extern "C" {
#include "bench.h"
}
#include "gpu_bench.h"

#include <cstdlib>
#include <cstring>
#include <unistd.h>

namespace {

enum { SKIPPED = 77 };

/* ---- The clock of the device ----------------------------------------------------- */

cudaEvent_t begin_event, end_event;

csrn_status failed(cudaError_t error) {
  std::fprintf(stderr, "gpu_bench: %s\n", cudaGetErrorString(error));
  return CSRN_DEVICE_ERROR;
}

/* All of it goes to the default stream, which is the context's. */
csrn_status execute(bench_run *run, double *seconds) {
  csrn_status status = csrn_context_synchronize(run->ctx);
  cudaError_t error = cudaEventRecord(begin_event, nullptr);
  for (int k = 0; k < run->repeats && !status; k++)
    status = run->op->run(run);
  if (error == cudaSuccess)
    error = cudaEventRecord(end_event, nullptr);
  if (!status)
    status = csrn_context_synchronize(run->ctx);
  float milliseconds = 0;
  if (error == cudaSuccess)
    error = cudaEventElapsedTime(&milliseconds, begin_event, end_event);
  *seconds = 1e-3 * static_cast<double>(milliseconds) / run->repeats;
  return status ? status : error == cudaSuccess ? CSRN_OK : failed(error);
}

/* ---- Operations -------------------------------------------------------------------- */

/* csrn_buffer_copy() waits; this does not. */
csrn_status copy(bench_run *run) {
  const size_t bytes = static_cast<size_t>(run->whole.nnz) * csrn_dtype_size(run->whole.data_type);
  const cudaError_t error =
      cudaMemcpyAsync(run->work, run->whole.data, bytes, cudaMemcpyDeviceToDevice, nullptr);
  return error == cudaSuccess ? CSRN_OK : failed(error);
}

enum { MOST_OPERATIONS = 64 };
bench_operation operations[MOST_OPERATIONS];
int n_operations;

void collect_operations() {
  for (int o = 0; o < bench_n_operations; o++) {
    operations[n_operations] = bench_operations[o];
    if (!std::strcmp(operations[n_operations].name, "roofline_copy"))
      operations[n_operations].run = copy;
    n_operations++;
  }
  n_operations += gpu_bench_peers(operations + n_operations);
}

/* ---- Matrices ---------------------------------------------------------------------- */

struct matrix_size {
  const char *cells, *row_length;
};

const matrix_size large[] = {{"100000", "1000"}, {"2000000", "60"}, {"1000000", "1000"}};
const matrix_size small[] = {{"300", "100"}, {"2000", "10"}};

/* Empty, or why a matrix of so many values is not measured: its arrays, and scratch, beside each other. */
const char *missing_memory(double values) {
  size_t free_bytes = 0, all_bytes = 0;
  const double host =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (cudaMemGetInfo(&free_bytes, &all_bytes) != cudaSuccess || 16 * values > static_cast<double>(free_bytes))
    return "not enough memory on the device";
  return 24 * values > host ? "not enough host memory" : "";
}

bench_settings settings_of(const matrix_size &size, bool quick) {
  static char text[16][32];
  const char *const words[] = {
      "gpu_bench", "--cells",       size.cells,        "--row-length", size.row_length,
      "--genes",   "30000",         "--indptr-type",   "int32",        "--device",
      "cuda",      "--repetitions", quick ? "2" : "7", "--min-time",   quick ? "0" : "0.28"};
  const int n = sizeof words / sizeof *words;
  char *argv[n + 1] = {};
  for (int i = 0; i < n; i++) {
    std::snprintf(text[i], sizeof text[i], "%s", words[i]);
    argv[i] = text[i];
  }
  bench_settings settings;
  char error[BENCH_DETAIL];
  if (bench_parse(n, argv, &settings, error)) {
    std::fprintf(stderr, "gpu_bench: %s\n", error);
    std::exit(BENCH_USAGE);
  }
  settings.quiet = true;
  settings.execute = execute;
  settings.only_on_device = true; /* gpu_bench_host.cu has the rest */
  return settings;
}

/* ---- Measuring --------------------------------------------------------------------- */

void say(const char *what, const matrix_size &size) {
  std::fprintf(stderr, "gpu_bench: %s cells x %s values: %s\n", size.cells, size.row_length, what);
}

int report(const bench_settings &settings, const bench_matrix &matrix, const bench_expected &expected,
           char error[BENCH_DETAIL]) {
  bench_environment environment;
  bench_result *results = nullptr;
  int n = 0;
  bench_describe_machine(&environment);
  bench_describe_devices(&environment, &settings);
  bench_describe_matrix(&environment, &settings, &matrix, &expected);
  const int code =
      bench_measure(&settings, operations, n_operations, &matrix, &expected, &results, &n, error);
  gpu_bench_forget();
  if (results)
    bench_report(stdout, BENCH_JSON, &environment, results, n);
  for (int r = 0; r < n; r++)
    if (results[r].detail[0])
      std::fprintf(stderr, "gpu_bench: %s: %s\n", results[r].operation, results[r].detail);
  std::free(results);
  return code;
}

int measure(const matrix_size &size, bool quick) {
  const double values = std::atof(size.cells) * std::atof(size.row_length);
  const char *missing = missing_memory(values);
  char error[BENCH_DETAIL] = "";
  if (*missing) {
    say(missing, size);
    std::printf("{\"cells\": %s, \"row_length\": %s, \"missing\": \"%s\"}\n", size.cells, size.row_length,
                missing);
    return 0;
  }
  const bench_settings settings = settings_of(size, quick);
  bench_matrix matrix = {};
  bench_expected expected = {};
  int code = BENCH_FAILED;
  say("simulating", size);
  if (bench_matrix_simulate(&settings, &matrix, error)) {
    say("computing what is expected", size);
    if (bench_expected_create(&expected, &matrix, settings.seed)) {
      say("measuring", size);
      code = report(settings, matrix, expected, error);
    }
  }
  if (error[0])
    say(error, size);
  bench_expected_free(&expected);
  bench_matrix_free(&matrix);
  return code;
}

} // namespace

int main(int argc, char **argv) {
  const bool quick = argc > 1 && !std::strcmp(argv[1], "--small"), alone = argc == 3 && !quick;
  int32_t count = 0;
  if (argc > 1 && !alone && !(quick && argc == 2)) {
    std::fprintf(stderr, "usage: gpu_bench [--small | CELLS VALUES]\n");
    return BENCH_USAGE;
  }
  if (csrn_device_count(CSRN_BACKEND_CUDA, &count)) {
    std::fprintf(stderr, "gpu_bench: skipped: %s\n", csrn_error_detail(nullptr));
    return SKIPPED;
  }
  cudaError_t error = cudaEventCreate(&begin_event);
  if (error == cudaSuccess)
    error = cudaEventCreate(&end_event);
  if (error != cudaSuccess) {
    failed(error);
    return BENCH_FAILED;
  }
  collect_operations();
  int code = BENCH_OK;
  const matrix_size given = {alone ? argv[1] : "", alone ? argv[2] : ""};
  const matrix_size *sizes = alone ? &given : quick ? small : large;
  const size_t n = alone ? 1 : quick ? sizeof small / sizeof *small : sizeof large / sizeof *large;
  std::printf("{");
  if (!alone) {
    std::printf("\"host\": ");
    if (gpu_bench_host(quick))
      code = BENCH_FAILED;
    std::printf(",\n");
  }
  std::printf("\"matrices\": [\n");
  for (size_t i = 0; i < n; i++) {
    std::printf(i ? ", " : "");
    if (measure(sizes[i], quick))
      code = BENCH_FAILED;
    std::fflush(stdout);
  }
  std::printf("]}\n");
  return code;
}
