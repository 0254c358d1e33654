/*
 * What the files of `csrnorm bench` share. The command measures every operation of
 * the library on one matrix, beside the roofline of the same machine in the same
 * run, and believes no time before the result has been compared with an independent
 * computation. The parts, in the order in which they act:
 *
 *   bench_options.c     the command line -> bench_settings
 *   bench_matrix.c      the matrix, simulated or read -> bench_matrix (host memory)
 *   bench_expected.c    what the operations must give, computed the plain way
 *   bench_operations.c  the table of operations: one entry each
 *   bench_run.c         one context with its arrays: preparing and running an operation
 *   bench_host.c        the arrays in host memory beside a device, and the link to it
 *   bench_check.c       comparing a result with what was expected
 *   bench_measure.c     repetitions over all configurations, interleaved -> bench_result
 *   bench_sweep.c       from what size on a device is faster for a matrix in host memory
 *   bench_machine.c     the machine and the build
 *   bench_report.c      the schema of a result, and its four output formats
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "csrnorm/csrnorm.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { BENCH_OK = 0, BENCH_FAILED = 1, BENCH_USAGE = 2 }; /* exit codes */
enum { BENCH_LIST_MAX = 16 };                             /* elements of a list option */
enum { BENCH_DETAIL = 512 };                              /* bytes of a sentence */

/* ---- Settings ------------------------------------------------------------ */

struct bench_run;

typedef enum bench_format { BENCH_TABLE, BENCH_JSON, BENCH_CSV, BENCH_MARKDOWN } bench_format;

typedef struct bench_settings {
  const char *input; /* NULL: simulate */
  csrn_backend devices[BENCH_LIST_MAX];
  int device_numbers[BENCH_LIST_MAX];
  const char *isas[BENCH_LIST_MAX]; /* NULL: as the library chooses */
  int threads[BENCH_LIST_MAX];      /* 0: as OpenMP chooses */
  const char *ops[64];
  int n_devices, n_isas, n_threads, n_ops; /* n_ops 0: all */
  int64_t n_cells, n_genes, nnz;
  bool constant_rows; /* else log-normal row lengths */
  bool reals;         /* else counts */
  csrn_dtype data_type, indices_type, indptr_type;
  double max_fraction; /* 0: chosen by the row length, see bench_matrix_max_fraction() */
  int repetitions;
  double min_time; /* seconds of timed work per operation and configuration */
  uint64_t seed;
  bench_format format;
  bool quiet, help;
  bool only_on_device; /* of a device: nothing that begins or ends in host memory */
  /* Runs an operation run->repeats times and gives the seconds of one. NULL: by the clock of the host,
   * between two synchronizations; a program that knows more of its device (bench/gpu_bench.cu) has the
   * device's own clock. */
  csrn_status (*execute)(struct bench_run *run, double *seconds);
} bench_settings;

/* Fills `settings`; BENCH_OK, or BENCH_USAGE with the sentence in `error`. */
int bench_parse(int argc, char **argv, bench_settings *settings, char error[BENCH_DETAIL]);
void bench_print_help(FILE *stream);

/* ---- Matrix -------------------------------------------------------------- */

/* A matrix in host memory that owns its arrays. */
typedef struct bench_matrix {
  csrn_csr csr;
  char *source; /* a path, or a description of the simulation */
  int64_t row_min, row_median, row_max;
  double small_fraction;       /* of the values: counts below 32 */
  double max_fraction;         /* for gene exclusion */
  void (*release)(void *user); /* frees the arrays */
  void *user;
} bench_matrix;

bool bench_matrix_simulate(const bench_settings *settings, bench_matrix *matrix, char error[BENCH_DETAIL]);
bool bench_matrix_read(const bench_settings *settings, bench_matrix *matrix, char error[BENCH_DETAIL]);
/* Fills the statistics of a matrix whose csr is there; false: out of memory. */
bool bench_matrix_describe(bench_matrix *matrix);
void bench_matrix_free(bench_matrix *matrix);

/* Element i of a typed array. Every stored type converts exactly. */
int64_t bench_get_index(const void *array, csrn_dtype type, int64_t i);
long double bench_get_value(const void *array, csrn_dtype type, int64_t i);
void bench_put_value(void *array, csrn_dtype type, int64_t i, double value);

/* ---- Operations ---------------------------------------------------------- */

typedef struct bench_run bench_run;
typedef struct bench_expected bench_expected;

/* What the values of the matrix must be when an operation begins. */
typedef enum bench_input {
  BENCH_INPUT_READ_ONLY, /* the matrix's own, which nothing changes */
  BENCH_INPUT_VALUES,    /* a copy, restored before every run */
  BENCH_INPUT_REALS      /* divided by their row's factor, restored before every run */
} bench_input;

typedef enum bench_divide {
  BENCH_DIVIDE_NOT,
  BENCH_DIVIDE_BY_ROW,    /* bench_row_factor() */
  BENCH_DIVIDE_BY_COLUMN, /* bench_column_factor() */
  BENCH_DIVIDE_BY_TOTAL   /* normalization */
} bench_divide;

/* Where the arrays of an operation lie. */
typedef enum bench_place {
  BENCH_ON_BACKEND,
  BENCH_PINNED, /* in host memory, beside a device */
  BENCH_PAGEABLE,
  BENCH_N_PLACES
} bench_place;

typedef struct bench_operation {
  const char *name;
  const char *axis; /* "row", "column", "" */
  /* Passes over whole arrays at the floor: reads of data, writes of the output,
   * reads of indices. A fused pass that reads and writes a value counts once in each. */
  int reads, writes, index_reads;
  bool per_row; /* the values are one float64 per row, not the stored ones */
  bool cached;  /* on leading rows that fit in the cache */
  bool roofline;
  bool waits;       /* on a device each call is complete on return: what waiting takes is subtracted */
  bool cpu, device; /* which backends have it */
  bench_place place;
  /* What its score is relative to; NULL: the roofline; "": nothing. With --values reals the second one,
   * if there is one. */
  const char *reference, *reference_of_reals;
  bench_input input;
  csrn_status (*run)(bench_run *run);
  bool (*check)(bench_run *run, const bench_expected *expected, char why[BENCH_DETAIL]);
  /* What becomes of a value, for bench_check_values() and run_normalize(). */
  bench_divide divide;
  csrn_target target;
  bool per_column, exclude, log1p;
} bench_operation;

extern const bench_operation bench_operations[];
extern const int bench_n_operations;

/* ---- Runs ---------------------------------------------------------------- */

/* Arrays in host memory beside a device. */
typedef struct bench_host {
  void *data;                /* [nnz] pinned: the values of the matrix */
  void *out[BENCH_N_PLACES]; /* [nnz] of out_type */
  void *factors;             /* [n_rows] of out_type */
} bench_host;

/* A context and arrays where it works. */
struct bench_run {
  csrn_context *ctx;
  csrn_backend backend;
  int threads;
  const bench_operation *op; /* being run */
  const csrn_csr *host;      /* the matrix in host memory */
  csrn_csr whole;            /* the matrix where the context works, with the values that are never written */
  int64_t small_rows;        /* leading rows of it that fit in the cache */
  int64_t begin, end;        /* its values are data[begin .. end), */
  int64_t small_end;         /* those of the leading rows data[begin .. small_end) */
  csrn_csr A;                /* what the operation is given */
  csrn_dtype out_type;       /* f64 for f64, else f32 */
  void *work;                /* [nnz] the values that operations read and overwrite */
  void *out;                 /* [nnz] of out_type, of the operation being run: */
  void *own_out;             /* where the context works; == work if the sizes are equal */
  void *own_factors;         /* the same for `factors` */
  bench_host host_arrays;
  int repeats; /* runs of an operation in one sample; 1 on the CPU */
  double wait; /* seconds that waiting for the device takes by itself; 0 on the CPU */
  double *row_sums, *column_sums;
  double *totals;                               /* [n_rows] input of the median */
  void *row_factors, *column_factors, *factors; /* of out_type; inputs, and an output */
  uint8_t *mask;
  double *median;
  double target_sum, max_fraction;
  void *owned[16];
  size_t owned_bytes[16];
  int n_owned;
};

/* Makes the arrays, or shares those of another run on the same device, which must live
 * longer. On the CPU the matrix's own arrays are used where they are only read. */
csrn_status bench_run_create(bench_run *run, csrn_context *ctx, const bench_matrix *matrix,
                             const bench_expected *expected, const bench_run *share);
/* How many values the leading rows for `cached` operations may hold. */
void bench_run_set_small(bench_run *run, int64_t values);
void bench_run_destroy(bench_run *run);
/* Puts the input of `op` in place (not timed), and runs it (timed; seconds of one run).
 *
 * A device works from one array to another, so that an operation can be enqueued again and again at the same
 * cost: a sample is run->repeats of them between two synchronizations. The device is never idle in it, and
 * the time in which the host launches does not count. */
csrn_status bench_run_prepare(bench_run *run, const bench_operation *op);
/* The same for an operation on arrays in host memory beside a device; what runs one that is the link; and
 * what gives the arrays back. */
csrn_status bench_host_prepare(bench_run *run);
csrn_status bench_run_link(bench_run *run);
void bench_host_destroy(bench_run *run);
/* How many of an operation that takes `seconds` make a sample. */
int bench_run_repeats(const bench_run *run, double seconds);
csrn_status bench_run_execute(bench_run *run, double *seconds);
/* Copies `bytes` bytes from an array of the run to host memory. */
csrn_status bench_run_fetch(bench_run *run, const void *from, size_t bytes, void *to);
/* Bytes that `op` must move, and how many values it handles. */
int64_t bench_run_values(const bench_run *run, const bench_operation *op);
double bench_run_floor(const bench_run *run, const bench_operation *op);
/* The factor that row i is scaled by: as of normalization to the median, of type `type`. */
double bench_row_factor(const bench_expected *expected, int64_t i, csrn_dtype type);
/* The factor that column j is scaled by: powers of two times odd numbers, exact in float32. */
double bench_column_factor(int64_t j);

/* ---- Expected results ---------------------------------------------------- */

struct bench_expected {
  const bench_matrix *matrix;
  double *totals, *totals_excluding; /* [n_rows], in the canonical order */
  double median, median_excluding;
  double *column_sums, *column_slack; /* [n_cols]; slack: how far off a sum may be */
  double column_median;               /* of column_sums */
  uint8_t *mask;                      /* [n_cols] highly expressed */
  int64_t n_excluded;
  int64_t *sample; /* rows whose values are compared, ascending */
  int64_t n_sample;
};

bool bench_expected_create(bench_expected *expected, const bench_matrix *matrix, uint64_t seed);
void bench_expected_free(bench_expected *expected);
/* The median of the positive finite ones of values[n], by sorting; NaN if none. */
double bench_plain_median(const double *values, int64_t n);

/* ---- Checks: false with the sentence in `why` if the result is wrong -------- */

bool bench_check_row_sums(bench_run *run, const bench_expected *expected, char why[BENCH_DETAIL]);
bool bench_check_column_sums(bench_run *run, const bench_expected *expected, char why[BENCH_DETAIL]);
bool bench_check_median(bench_run *run, const bench_expected *expected, char why[BENCH_DETAIL]);
bool bench_check_mask(bench_run *run, const bench_expected *expected, char why[BENCH_DETAIL]);
bool bench_check_values(bench_run *run, const bench_expected *expected, char why[BENCH_DETAIL]);
bool bench_check_unchanged(bench_run *run, const bench_expected *expected, char why[BENCH_DETAIL]);

/* ---- Results ------------------------------------------------------------- */

/* One operation in one configuration. Times are NaN if the result was wrong.
 * fraction = (bytes of the operation / bytes of the reference) * least time of the reference / least time:
 * how close it comes to the reference, as far as bytes go. paired is the same for each round, and the
 * median of that. The reference is roofline_scale for what writes values and roofline_sum for what only
 * reads them, unless the table of operations says otherwise. */
typedef struct bench_result {
  const char *operation, *axis, *device, *reference, *check;
  char isa[32];
  int64_t threads, values, samples;
  double bytes_per_value, bytes, min_ms, median_ms, gb_per_s, billion_values_per_s, fraction, paired;
  char detail[BENCH_DETAIL];
} bench_result;

/* Where and on what was measured. */
typedef struct bench_environment {
  char build[512], compiler[128], cpu[160], devices[512], date[32];
  char device_wins[512]; /* of bench_sweep() */
  int64_t processors, cache_bytes, memory_bytes;
  double load_average; /* of the minute before: what other programs take from the measurement */
  const char *matrix, *data_type, *indices_type, *indptr_type;
  int64_t n_rows, n_cols, nnz, row_min, row_median, row_max;
  double small_fraction, max_fraction;
  int64_t n_excluded, repetitions, seed;
  double min_time;
} bench_environment;

/* Measures everything asked for. *results comes from malloc(); also when some rows
 * have failed. Returns BENCH_FAILED if any row has, or memory ran out (*n may be 0). */
int bench_measure(const bench_settings *settings, const bench_operation *operations, int n_operations,
                  const bench_matrix *matrix, const bench_expected *expected, bench_result **results, int *n,
                  char error[BENCH_DETAIL]);

/* With the CPU and a device, and all operations: from how many values on the device is faster for arrays in
 * host memory, as a sentence for the target 10,000 and one for the median, each with pinned and with pageable
 * arrays; "" if there is nothing to compare. False with the sentence of an error. */
bool bench_sweep(const bench_settings *settings, const bench_matrix *matrix, char *text, size_t room);
/* Its size, from times at ascending sizes: where the device begins not to be slower at any size, between two
 * sizes as if the ratio of times went with a power of the size; values[0] if it never was slower, NaN if it
 * is at the last. */
double bench_crossing(const double *values, const double *cpu, const double *device, int n);

/* Size of the cache of a level (2: of one core), 0 if the system does not say. */
int64_t bench_cache_bytes(int level);
/* The machine first, since its load is to be that of others; it clears what follows. */
void bench_describe_machine(bench_environment *environment);
/* The CUDA devices among those asked for. */
void bench_describe_devices(bench_environment *environment, const bench_settings *settings);
void bench_describe_matrix(bench_environment *environment, const bench_settings *settings,
                           const bench_matrix *matrix, const bench_expected *expected);
void bench_report(FILE *stream, bench_format format, const bench_environment *environment,
                  const bench_result *results, int n);

int cli_bench(int argc, char **argv);

#endif
