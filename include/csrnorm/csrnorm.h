/*
 * csrnorm: normalization of sparse count matrices where they lie.
 *
 * This header is the manual of the C API. A matrix is described by a csrn_csr
 * view of arrays that the caller owns; a csrn_context holds a backend (the CPU
 * through OpenMP, or one CUDA device), its threads and its scratch memory. Each
 * operation takes a context, a matrix and the caller's output arrays:
 *
 *     csrn_context *ctx;
 *     csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
 *     options.log1p = 1;
 *     if (csrn_context_create(NULL, &ctx) == CSRN_OK) {
 *         if (csrn_normalize_total(ctx, &A, &options, A.data, CSRN_F32, NULL, NULL))
 *             fprintf(stderr, "%s\n", csrn_error_detail(ctx));
 *         csrn_context_destroy(ctx);
 *     }
 *
 * Conventions that hold for every function, unless its comment says otherwise:
 *
 * - It returns CSRN_OK (0) or another csrn_status; csrn_error_detail() then has
 *   one sentence naming the argument, the value found and the value expected.
 *   After CSRN_INVALID_ARGUMENT, CSRN_INVALID_MATRIX (found on the host),
 *   CSRN_OUT_OF_MEMORY, CSRN_NOT_BUILT, CSRN_NO_DEVICE and CSRN_UNSUPPORTED no
 *   output has been written; after CSRN_OVERFLOW and CSRN_DEVICE_ERROR the
 *   contents of the outputs are unspecified, those of the inputs unchanged
 *   (unless worked in place).
 * - Arrays belong to the caller and are not kept after the call. Those of one call
 *   lie in one place: in host memory for a CPU context; for a CUDA context in device
 *   or managed memory of its device, or all of them in host memory, pageable or
 *   pinned. Beside arrays on a device, single numbers and reports (median, target,
 *   report) may also lie in pinned memory. An AUTO context works on a device or on
 *   the CPU, by where A->indptr (or `values`) lies.
 * - With host arrays it is synchronous. A CUDA context then streams the values (and
 *   the indices, where columns matter) through its device in chunks of rows, up and
 *   down at once; the matrix may be larger than the memory of the device. Pinned
 *   arrays travel as they are, others through pinned memory of the context. The call
 *   first waits for earlier work of the context, and returns what went wrong there.
 *   What it takes O(rows) or O(columns) to do, the CPU does.
 * - With device arrays it is enqueued on the
 *   context's stream and does not wait for it (csrn_csr_check() alone does): the
 *   arrays must stay until the stream has come so far, results are there then, and
 *   what only the device can find out (a bad indptr, an overflow) is said by
 *   csrn_context_synchronize() and in report->flags. With a bad indptr nothing is
 *   computed; an element in no column is left out. Neither costs the caller the
 *   CUDA context.
 * - Results are reproducible: the same bits for every number of threads,
 *   instruction set, backend, and division of the rows into calls.
 * - Empty rows, zero rows, zero columns and zero stored values are valid.
 *   Duplicate and unsorted indices within a row are valid. The structure of the
 *   matrix (indptr, indices, explicit zeros) is never changed.
 * - The cost of argument checks is O(1) or O(n_rows): pointers, sizes, types,
 *   and that indptr is monotone inside [0, nnz]. Indices are trusted; check a
 *   matrix of unknown origin once with csrn_csr_check().
 * - Scratch memory is O(n_rows + threads * n_cols), never O(nnz), and is kept in
 *   the context for the next call; see csrn_context_reserve().
 * - The caller's floating-point mode (rounding, flush-to-zero) does not matter.
 *
 * The library never prints, aborts, exits, raises signals or reads the
 * environment, except for OMP_* (the number of threads), CSRNORM_ISA and, to find
 * faults, CSRNORM_CUDA_OVERLAP (0: no kernel begins before the last one is done).
 * OpenMP's own runtime does what it does: GCC's ends the process where the system
 * gives it fewer threads than csrn_context_options.threads asks for.
 *
 * "Row" is a stored (compressed) row. A CSC matrix of cells x genes is the CSR of
 * its transpose: pass it as genes x cells and choose CSRN_PER_COLUMN.
 */
#ifndef CSRNORM_H
#define CSRNORM_H

#include <stddef.h>
#include <stdint.h>

#define CSRN_VERSION_MAJOR 0
#define CSRN_VERSION_MINOR 1
#define CSRN_VERSION_PATCH 0

#if defined(_WIN32)
#define CSRN_API
#else
#define CSRN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status -------------------------------------------------------------- */

/* The values are pinned: they never change their meaning. */
typedef enum csrn_status {
  CSRN_OK = 0,
  CSRN_INVALID_ARGUMENT = 1, /* an argument is NULL, out of range or inconsistent */
  CSRN_INVALID_MATRIX = 2,   /* indptr or indices do not describe a CSR matrix */
  CSRN_OVERFLOW = 3,         /* an exact integer sum does not fit the result's type */
  CSRN_OUT_OF_MEMORY = 4,    /* the allocator returned NULL, on the host or a device */
  CSRN_NOT_BUILT = 5,        /* this build of the library has no such backend */
  CSRN_NO_DEVICE = 6,        /* the backend is there, but no device that it can use */
  CSRN_UNSUPPORTED = 7,      /* this machine cannot run the requested instruction set; or the call cannot be
                              * captured in a CUDA graph, and the context's stream is being captured */
  CSRN_DEVICE_ERROR = 8      /* the device reported a fault; see csrn_error_detail() */
} csrn_status;

/* A short text for a status code; never NULL, also for unknown codes. */
CSRN_API const char *csrn_status_string(csrn_status status);

/* ---- Types --------------------------------------------------------------- */

/* Element types; the values are pinned. CSRN_NONE is valid nowhere but in an
 * absent array. A bool array is CSRN_U8. */
typedef enum csrn_dtype {
  CSRN_NONE = 0,
  CSRN_F32 = 1,
  CSRN_F64 = 2,
  CSRN_U8 = 3,
  CSRN_U16 = 4,
  CSRN_U32 = 5,
  CSRN_U64 = 6,
  CSRN_I32 = 7,
  CSRN_I64 = 8
} csrn_dtype;

/* Bytes of one element; 0 for CSRN_NONE and unknown values. */
CSRN_API size_t csrn_dtype_size(csrn_dtype type);
/* "float32", "uint8", ... as numpy names them; "unknown" otherwise. */
CSRN_API const char *csrn_dtype_name(csrn_dtype type);

/* A view of a CSR matrix; owns nothing. Row i holds the values
 * data[indptr[i] .. indptr[i+1]) in the columns indices[same]. indptr[0] may be
 * above 0 and indptr[n_rows] below nnz, so a view of some rows is made by moving
 * indptr alone; values outside those rows are neither read nor written. */
typedef struct csrn_csr {
  int64_t n_rows;
  int64_t n_cols;
  int64_t nnz;             /* length of indices and data */
  const void *indptr;      /* [n_rows + 1] */
  const void *indices;     /* [nnz]; may be NULL where a comment says so */
  void *data;              /* [nnz]; written only if also passed as the output */
  csrn_dtype indptr_type;  /* i32, i64, u8, u16, u32 or u64 */
  csrn_dtype indices_type; /* i32, i64, u8, u16, u32 or u64; ignored if NULL */
  csrn_dtype data_type;    /* f32, f64, u8, u16, u32, i32 or i64 */
} csrn_csr;

/* Which sums, factors or totals an operation has one of. */
typedef enum csrn_axis {
  CSRN_PER_ROW = 0,   /* n_rows of them */
  CSRN_PER_COLUMN = 1 /* n_cols of them; needs indices */
} csrn_axis;

typedef enum csrn_scale_op { CSRN_MULTIPLY = 0, CSRN_DIVIDE = 1 } csrn_scale_op;

typedef enum csrn_zero_policy {
  CSRN_ZERO_IEEE = 0,  /* a factor of 0 multiplies or divides as IEEE 754 says */
  CSRN_ZERO_AS_ONE = 1 /* a factor of 0 (or -0) counts as 1 in a division */
} csrn_zero_policy;

typedef enum csrn_backend {
  CSRN_BACKEND_AUTO = 0, /* the backend of the pointers given; CPU for host memory */
  CSRN_BACKEND_CPU = 1,
  CSRN_BACKEND_CUDA = 2
} csrn_backend;

/* ---- Contexts ------------------------------------------------------------ */

typedef struct csrn_context csrn_context;

/* Where a context takes scratch memory from. Both functions are called only from
 * the thread that calls the library, never from its worker threads.
 *
 * For device memory both are stream-ordered, as cudaMallocAsync() and
 * cudaFreeAsync() are: what allocate() returns is used by work enqueued on `stream`
 * afterwards, and work on `stream` enqueued before release() may still be using what
 * is given back. The context's device is the current one. */
typedef struct csrn_allocator {
  /* `bytes` (> 0) bytes aligned to `alignment` (a power of two), or NULL. `stream`
   * is the context's stream for device memory (cudaStreamLegacy, which is not NULL,
   * for the default one), NULL for host memory. */
  void *(*allocate)(void *user, size_t bytes, size_t alignment, void *stream);
  /* Gives back what allocate() returned, with the same `bytes`. The stream may be
   * another one than at allocate(), if the context has been given another since. */
  void (*release)(void *user, void *pointer, size_t bytes, void *stream);
  void *user;
} csrn_allocator;

typedef struct csrn_context_options {
  size_t size;          /* sizeof(csrn_context_options) */
  csrn_backend backend; /* default CSRN_BACKEND_AUTO */
  int32_t device;       /* device number for CUDA and AUTO; default 0 */
  /* CPU threads (of a CUDA context: for host arrays), at most 32,768. 0 (default): as OpenMP would choose
   * when the context is created, and one for fewer than 262,144 values, which one goes through sooner than
   * others wake up. */
  int32_t threads;
  int32_t reserved; /* 0 */
  /* Instruction set of the CPU kernels (of a CUDA context: for host arrays): "generic", "x86-64", "x86-64-v3"
   * or "x86-64-v4"; NULL (default): the environment variable CSRNORM_ISA if it is set and not empty, else the
   * best that this machine runs. */
  const char *isa;
  csrn_allocator allocator;        /* of host memory; all NULL (default): the C library's */
  csrn_allocator device_allocator; /* of device memory; all NULL (default): the stream-ordered one of CUDA,
                                    * and cudaMalloc() on devices that have none */
  void *stream;                    /* as given to csrn_context_set_stream(); default NULL */
  int64_t device_memory; /* bytes of device memory that the values of a matrix in host memory may take
                          * at a time (at least some 100 KB are taken); 0 (default): most of what is
                          * free (what a pool of the program holds is not), where it saves a second
                          * journey, else some chunks of 32 MB. As much memory of the host as the chunks
                          * take is pinned, until the context is destroyed */
} csrn_context_options;

#define CSRN_CONTEXT_OPTIONS_INIT                                                                            \
  {                                                                                                          \
    sizeof(csrn_context_options), CSRN_BACKEND_AUTO, 0, 0, 0, NULL, {NULL, NULL, NULL}, {NULL, NULL, NULL},  \
        NULL, 0                                                                                              \
  }

/* Creates a context; `options` may be NULL for the defaults. On failure *context
 * is NULL and csrn_error_detail(NULL) has the sentence. Fails with
 * CSRN_INVALID_ARGUMENT (unknown instruction set, negative threads, ...),
 * CSRN_UNSUPPORTED (an instruction set that this machine or build lacks; a stream that
 * is being captured), CSRN_NOT_BUILT (a CUDA context from a build without CUDA),
 * CSRN_NO_DEVICE, or CSRN_OUT_OF_MEMORY.
 *
 * A context is used by one thread at a time; contexts are independent of each
 * other. In a child made by fork() a CPU context, whether created before or after
 * the fork, works with one thread (OpenMP's workers do not survive a fork); the
 * results are the same. A GPU that the parent has used cannot be used in a child:
 * calls fail there. */
CSRN_API csrn_status csrn_context_create(const csrn_context_options *options, csrn_context **context);

/* Releases everything that the context owns; NULL is allowed. Device memory is given
 * back in the order of the context's stream, without waiting for it; giving back pinned
 * host memory may wait for the device (cudaFreeHost()). A CUDA graph that holds calls
 * of the context must not run any more. While the stream is being captured that order
 * cannot be had: device memory then stays taken until the process ends (unless it came
 * from options.device_allocator, which is asked), here and in csrn_buffer_release(). So
 * end the capture first, or set another stream. */
CSRN_API void csrn_context_destroy(csrn_context *ctx);

/* Work of later calls with device pointers goes to `stream` (a cudaStream_t of the
 * context's device; NULL: the default one), which must live until another is set or the
 * context is destroyed. Waits for nothing; what was enqueued before is done first, an
 * order that is the caller's to keep where one of the two streams is being captured.
 * Captures of others, in this thread or another, are left alone by everything that the
 * library does.
 * CSRN_INVALID_ARGUMENT for a non-NULL stream on a CPU context, CSRN_UNSUPPORTED for one
 * that is being captured on an AUTO context that has no part for a device yet. */
CSRN_API csrn_status csrn_context_set_stream(csrn_context *ctx, void *stream);

/* Allocates now what calls on matrices of at most n_rows x n_cols need, so that
 * they allocate nothing: those of a CPU context, and those with device pointers of a
 * CUDA context (which takes its memory for chunks of host arrays when it first meets
 * some). Without it the memory grows on demand.
 *
 * After it every call with device pointers but csrn_csr_check() may be captured in a
 * CUDA graph: it allocates nothing, waits for nothing, and only launches kernels and
 * sets memory on the context's stream. (Run it once before: kernels are loaded when
 * they are first launched.) A replay is the same call on the same arrays, and uses
 * the scratch memory of the context: it must not run beside other work of the
 * context, and not after a call on a larger matrix, or csrn_context_destroy(). What
 * would need more memory while the stream is being captured is CSRN_UNSUPPORTED, with
 * nothing enqueued; so are calls that wait (csrn_context_synchronize(), ...).
 *
 * An AUTO context makes its part for a device when it first meets device memory or a
 * stream, and reserves for it only then: set the stream first. */
CSRN_API csrn_status csrn_context_reserve(csrn_context *ctx, int64_t n_rows, int64_t n_cols);

/* Waits for the work enqueued by this context and returns what went wrong on the
 * device since the last call: CSRN_INVALID_MATRIX, CSRN_INVALID_ARGUMENT (*target of
 * csrn_normalize_with()), CSRN_OVERFLOW or CSRN_DEVICE_ERROR, with its sentence.
 * Returns CSRN_OK at once on the CPU. */
CSRN_API csrn_status csrn_context_synchronize(csrn_context *ctx);

/* The backend, instruction set ("x86-64-v4"; "" for CUDA) and number of threads
 * that this context runs. ctx must not be NULL. */
CSRN_API csrn_backend csrn_context_backend(const csrn_context *ctx);
CSRN_API const char *csrn_context_isa(const csrn_context *ctx);
CSRN_API int32_t csrn_context_threads(const csrn_context *ctx);

/* One sentence on the last failed call of this context, "" if none has failed; it
 * stays valid until the next call with the context. With NULL: on the last failed
 * csrn_context_create() (or call with a NULL context) of the calling thread. */
CSRN_API const char *csrn_error_detail(const csrn_context *ctx);

/* Memory where the context's backend works (host memory for the CPU), through the
 * context's allocator, aligned to 64 bytes; so that programs need not branch on the
 * backend. It may be used from any stream at once; work of other streams than the
 * context's must be done when it is released. Copies go between any two places and
 * are complete on return. */
CSRN_API csrn_status csrn_buffer_allocate(csrn_context *ctx, size_t bytes, void **buffer);
CSRN_API void csrn_buffer_release(csrn_context *ctx, void *buffer, size_t bytes);
CSRN_API csrn_status csrn_buffer_copy(csrn_context *ctx, void *to, const void *from, size_t bytes);

/* Two copies at once: up_bytes from the host to buffers of the context, down_bytes from
 * these to the host, each in its own direction of the link to the device; complete on
 * return. Either may be of 0 bytes; no two of the four arrays overlap. As fast as the
 * link, where the arrays on the host are pinned. */
CSRN_API csrn_status csrn_buffer_exchange(csrn_context *ctx, void *to_device, const void *from_host,
                                          size_t up_bytes, void *to_host, const void *from_device,
                                          size_t down_bytes);

/* Host memory for the arrays that a CUDA context is given: pinned, so that they travel
 * as they are (another CUDA program's cudaMallocHost() does the same). It takes long to
 * get, and the system lacks it elsewhere: for arrays that are used again. With a CPU
 * context as csrn_buffer_allocate(). Released with the context that it came from. */
CSRN_API csrn_status csrn_host_buffer_allocate(csrn_context *ctx, size_t bytes, void **buffer);
CSRN_API void csrn_host_buffer_release(csrn_context *ctx, void *buffer, size_t bytes);

/* ---- Axis sums and scaling ----------------------------------------------- */

/* Sums of the rows or columns of A: sums[n_rows or n_cols] of sums_type f64, i64 or
 * u64.
 *
 * Rows of floating-point data: float64 accumulation in the canonical order (32
 * lanes, see docs/numerics.md). Columns of floating-point data: independent of the
 * order of the entries; exact where all values of the matrix are integers below 2^31
 * in magnitude, else fixed point relative to the largest magnitude in the matrix: no
 * entry is off by more than 2^-63 times that (see docs/numerics.md). NaN and Inf give what float64 addition
 * gives. A row or column without entries gives +0. Integer data: exact, and rounded once to f64; a sum
 * outside int64 (uint64 for unsigned data) is CSRN_OVERFLOW for every sums_type, as is a negative sum for u64
 * and one above INT64_MAX for i64. Floating-point data with an integer sums_type:
 * CSRN_INVALID_ARGUMENT.
 * A->indices may be NULL for CSRN_PER_ROW. `sums` must not overlap A's arrays. */
CSRN_API csrn_status csrn_axis_sum(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, void *sums,
                                   csrn_dtype sums_type);

/* The same without the entries of the other axis for which excluded[] is not 0:
 * excluded[n_cols] for CSRN_PER_ROW, [n_rows] for CSRN_PER_COLUMN. An excluded
 * element adds +0 in its place. NULL excludes nothing. A->indices is needed with a
 * mask. */
CSRN_API csrn_status csrn_axis_sum_excluding(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                             const uint8_t *excluded, void *sums, csrn_dtype sums_type);

/* out = A.data multiplied or divided by the factor of its row or column:
 * factors[n_rows or n_cols] of factors_type f32 or f64. The value and the factor
 * are converted to float64 if factors_type or out_type is f64, else to float32;
 * one IEEE operation; the result is rounded to out_type (f32 or f64).
 * `out` is [nnz]; it may be A->data itself if out_type and data_type have the same
 * size, any other overlap is an error. A->indices may be NULL for CSRN_PER_ROW. */
CSRN_API csrn_status csrn_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                                     const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros,
                                     void *out, csrn_dtype out_type);

/* ---- Selection ----------------------------------------------------------- */

/* The median of those of values[n] that are positive and finite, the middle two
 * averaged for an even count; NaN if there is none. values is not changed. */
CSRN_API csrn_status csrn_median_positive(csrn_context *ctx, const double *values, int64_t n, double *median);

/* mask[] (n_cols for CSRN_PER_ROW, n_rows for CSRN_PER_COLUMN) = 1 where any entry x
 * exceeds max_fraction * (total of its row or column, over all entries), compared
 * strictly and in float64; else 0. max_fraction outside [0, 1]:
 * CSRN_INVALID_ARGUMENT. Needs A->indices. */
CSRN_API csrn_status csrn_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                           double max_fraction, uint8_t *mask);

/* ---- Normalization ------------------------------------------------------- */

typedef enum csrn_target {
  CSRN_TARGET_MEDIAN = 0, /* the median of the positive finite totals, after exclusion */
  CSRN_TARGET_MEAN = 1,   /* their mean */
  CSRN_TARGET_FIXED = 2   /* target_sum */
} csrn_target;

typedef struct csrn_normalize_options {
  size_t size;                      /* sizeof(csrn_normalize_options) */
  csrn_axis axis;                   /* what is a cell: a row (default) or a column */
  csrn_target target;               /* default CSRN_TARGET_MEDIAN */
  double target_sum;                /* for CSRN_TARGET_FIXED: positive and finite */
  int32_t exclude_highly_expressed; /* 0 (default) or 1: see csrn_highly_expressed() */
  int32_t log1p;                    /* 0 (default) or 1: log(1 + x) of the normalized values */
  double max_fraction;              /* in [0, 1]; default 0.05 */
  double log_base;                  /* 0 (default): natural; else positive, finite, not 1 */
  uint8_t *excluded;                /* the mask of the excluded genes, as of csrn_highly_expressed();
                                     * written if not NULL (all 0 without exclusion) */
} csrn_normalize_options;

#define CSRN_NORMALIZE_OPTIONS_INIT                                                                          \
  { sizeof(csrn_normalize_options), CSRN_PER_ROW, CSRN_TARGET_MEDIAN, 0.0, 0, 0, 0.05, 0.0, NULL }

/* What normalization met; fixed width, so that a device can write it. */
typedef struct csrn_normalize_report {
  double target;       /* the target used; NaN if there was no positive total */
  int64_t n_zero;      /* cells with a total of 0, which stay as they are */
  int64_t n_negative;  /* cells with a negative total, divided by a negative factor */
  int64_t n_nonfinite; /* cells whose total is NaN or infinite */
  int64_t n_excluded;  /* genes excluded from the totals */
  int64_t flags;       /* 0; a device sets CSRN_FLAG_* instead of returning a status */
} csrn_normalize_report;

#define CSRN_FLAG_INVALID_MATRIX 1 /* indptr is none: nothing was computed; or columns were left out */
#define CSRN_FLAG_OVERFLOW       2 /* an exact integer total left 64 bits */
#define CSRN_FLAG_INVALID_TARGET 4 /* *target of csrn_normalize_with() is none: nothing was computed */

/* Scales every cell to the same total: with T = out_type (f32 or f64),
 *     total  = sum of the cell's entries (csrn_axis_sum), without excluded genes
 *     factor = (T)total / (T)target       rounded once
 *     out    = (T)x / factor              rounded once; a factor of 0 divides as 1
 *     out    = log1p(out) [/ log(base)]   if asked for: csrn_log1p()
 * which is scanpy's pp.normalize_total, of counts to the bit. Excluded genes are scaled too.
 * Without any positive total (target median or mean) values are only converted,
 * the factors are 0 and report->target is NaN; that is not an error.
 *
 * `out` as in csrn_axis_scale() (in place: A->data). `factors` (NULL: not wanted):
 * [n_rows or n_cols] of out_type, factor as above, so 0 for an empty cell. `report`
 * may be NULL. A->indices may be NULL for CSRN_PER_ROW without exclusion. */
CSRN_API csrn_status csrn_normalize_total(csrn_context *ctx, const csrn_csr *A,
                                          const csrn_normalize_options *options, void *out,
                                          csrn_dtype out_type, void *factors, csrn_normalize_report *report);

/* The second half alone, for matrices that come in parts: the totals (n_rows or
 * n_cols of them) and the target (one value, in the same memory space) are given,
 * and the target, exclusion and excluded members of options are not used, though
 * they must be values that these members may have.
 * A target that is not positive and finite is CSRN_INVALID_ARGUMENT; NaN alone
 * means "no positive total" and leaves the values as they are. report->target is
 * the given one; n_excluded is 0. */
CSRN_API csrn_status csrn_normalize_with(csrn_context *ctx, const csrn_csr *A, const double *totals,
                                         const double *target, const csrn_normalize_options *options,
                                         void *out, csrn_dtype out_type, void *factors,
                                         csrn_normalize_report *report);

/* out = log(1 + x) of every entry, divided by log(base) in float64 and rounded once
 * if base is not 0 (base: positive, finite, not 1). At most 1 ulp from the true
 * value for base 0, the same bits everywhere. x = -1 gives -Inf, x < -1 and NaN
 * give NaN. x is first converted to out_type (f32 or f64); `out` as in
 * csrn_axis_scale(). A->indices may be NULL. */
CSRN_API csrn_status csrn_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out,
                                csrn_dtype out_type);

/* ---- Checking ------------------------------------------------------------ */

/* The full structural check in O(nnz): everything other calls check, and that every
 * index is in [0, n_cols). CSRN_INVALID_MATRIX with the row and the index found.
 * A->data may be NULL here. For host arrays the CPU looks, also in a CUDA context. */
CSRN_API csrn_status csrn_csr_check(csrn_context *ctx, const csrn_csr *A);

/* ---- Versions and devices ------------------------------------------------ */

/* "0.1.0": the version of the library that is running. */
CSRN_API const char *csrn_version(void);

/* One line: version, compiler, OpenMP, instruction sets, CUDA version and
 * architectures ("no CUDA" if built without). */
CSRN_API const char *csrn_build_info(void);

/* The number of devices of a backend: 1 for the CPU. CSRN_NOT_BUILT and
 * CSRN_NO_DEVICE (then *count is 0) are different answers. */
CSRN_API csrn_status csrn_device_count(csrn_backend backend, int32_t *count);

typedef struct csrn_device_properties {
  size_t size; /* sizeof(csrn_device_properties), set by the caller */
  csrn_backend backend;
  int32_t device;
  char name[128];       /* model of the processor or GPU */
  char isa[128];        /* CPU: runnable instruction sets, best first; GPU: "sm_90" */
  int64_t memory_bytes; /* physical memory */
  int32_t n_units;      /* logical processors or multiprocessors */
  int32_t reserved;
} csrn_device_properties;

CSRN_API csrn_status csrn_device_info(csrn_backend backend, int32_t device,
                                      csrn_device_properties *properties);

#ifdef __cplusplus
}
#endif
#endif
