/*
 * What the parts of the CUDA backend share on the host: the state of a context, its
 * scratch memory by purpose, and the one way to launch a kernel.
 *
 * An operation is a sequence of kernels on the context's stream. Whatever one kernel
 * tells the next (totals, the target, flags, lists of long rows) stays in device memory,
 * so that no call waits for the device. Errors that only a kernel can see are flags in
 * the control block; csrn_context_synchronize() turns them into a status.
 */
#ifndef CSRN_CUDA_INTERNAL_H
#define CSRN_CUDA_INTERNAL_H

extern "C" {
#include "internal.h"
}

#include <cfenv>
#include <cuda_runtime.h>

/* ---- Device memory of a context ------------------------------------------- */

/* A flag beyond those of a report (CSRN_FLAG_*), which has it as CSRN_FLAG_INVALID_MATRIX. */
#define CSRN_FLAG_INVALID_COLUMN 8 /* a column out of range: its element was left out, the rest done */

/* Bins of the first histogram of the selection: see cuda_select.h. */
enum { CSRN_SELECT_BINS = 4096 };

/* The rows of a matrix that are too long for a warp: see cuda_walk.h. */
typedef struct csrn_cuda_left {
  unsigned long long n_long; /* rows in the list of long rows */
  unsigned long long giants; /* giant rows and their pieces */
} csrn_cuda_left;

/* The numbers that kernels leave for each other: `now` within an operation, which begins with all of it zero
 * but what its first kernel has found out; `first` within that kernel, zero before and after; what follows
 * them until csrn_context_synchronize(). */
typedef struct csrn_cuda_now {
  unsigned flags;   /* CSRN_FLAG_* of this operation: its kernels do nothing where INVALID_* is set */
  unsigned refused; /* column sums: a value that is no count was met */
  csrn_cuda_left left;
  unsigned long long n_zero, n_negative, n_nonfinite, n_excluded; /* of the report */
  unsigned long long n_positive;                                  /* mean: how many values take part */
  unsigned long long n_candidates;                                /* selection: values gathered, */
  unsigned n_done;                                                /* and blocks that have done so */
  unsigned long long largest;                     /* column sums: bits of the largest magnitude */
  unsigned long long histogram[CSRN_SELECT_BINS]; /* 64 bits: all of more than 2^32 values may be alike */
} csrn_cuda_now;

typedef struct csrn_cuda_first {
  unsigned is_bad;            /* there is a row that is none, */
  unsigned n_done;            /* so many blocks have looked */
  unsigned long long bad_row; /* and it is the first such, as ~row */
  csrn_cuda_left left;
} csrn_cuda_first;

typedef struct csrn_cuda_control {
  csrn_cuda_now now;
  csrn_cuda_first first;
  double target; /* of the operation that runs */
  unsigned sticky_flags;
  int64_t bad_row, bad_begin,
      bad_end;                  /* the first row of an indptr that is none, of the last such operation */
  unsigned long long bad_index; /* the first element whose column is out of range; ~0 for none */
} csrn_cuda_control;

typedef enum csrn_cuda_slot {
  CSRN_CUDA_TOTALS,     /* [rows or columns] float64 */
  CSRN_CUDA_CANDIDATES, /* [rows or columns] 64-bit keys: gathered by the selection */
  CSRN_CUDA_FACTORS,    /* [columns] float64: divisors of cells in columns */
  CSRN_CUDA_LISTS,      /* [rows] long and giant rows */
  CSRN_CUDA_PIECES,     /* sums of pieces of giant rows */
  CSRN_CUDA_COLUMNS,    /* [columns] 128-bit sums and 32 bits of specials */
  CSRN_CUDA_MASK,       /* [rows or columns] bytes */
  CSRN_CUDA_BITS,       /* [rows or columns] bits of a mask, in words of 32 */
  CSRN_CUDA_N_SLOTS
} csrn_cuda_slot;

typedef struct csrn_cuda_host csrn_cuda_host;

typedef struct csrn_cuda_state {
  int device;
  cudaStream_t stream;
  cudaEvent_t moved;          /* recorded on the stream before another one is set, */
  bool is_moving;             /* which has not waited for it yet, since it was being captured */
  bool has_pools;             /* memory of the device can be allocated in the order of a stream */
  bool overlaps;              /* kernels wait for the one before by themselves: csrn_after_previous() */
  bool in_parts;              /* a matrix comes from host memory, whose copies take longer than launches */
  int n_units;                /* multiprocessors */
  size_t shared_per_block;    /* bytes that a block may have at most */
  size_t shared_per_unit;     /* bytes that the blocks on one multiprocessor share */
  csrn_cuda_control *control; /* device */
  csrn_cuda_control *mirror;  /* pinned: what synchronize reads */
  csrn_cuda_host *host;       /* for matrices in host memory: see cuda_host.h; NULL until the first */
  struct {
    void *memory;
    size_t bytes;
  } slots[CSRN_CUDA_N_SLOTS];
} csrn_cuda_state;

static inline csrn_cuda_state *csrn_cuda_state_of(const csrn_context *ctx) {
  return static_cast<csrn_cuda_state *>(ctx->state);
}

/* The runtime and the driver calculate too: they must not raise signals in a caller that traps on what is no
 * number, nor round as the caller does. */
class csrn_float_guard {
public:
  csrn_float_guard() {
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
  }
  ~csrn_float_guard() {
    fesetenv(&before);
  }
  csrn_float_guard(const csrn_float_guard &) = delete;
  csrn_float_guard &operator=(const csrn_float_guard &) = delete;

private:
  fenv_t before;
};

/* The device of a context is the current one while the library works, the caller's again afterwards. (Where
 * the caller's thread has used no device yet, that is device 0, and setting it again starts it: the runtime
 * has no way to tell.)
 *
 * And a capture of somebody else's, in another thread or on another stream, neither refuses what the library
 * does meanwhile (taking memory, waiting for its own stream) nor is ended by it: nothing of that concerns
 * other streams. What would concern a capture of the context's own stream the library refuses itself, see
 * csrn_cuda_refuse_capture(). */
class csrn_device_guard {
public:
  explicit csrn_device_guard(int device) {
    relaxed = cudaThreadExchangeStreamCaptureMode(&mode) == cudaSuccess;
    error = cudaGetDevice(&before);
    if (error == cudaSuccess && before != device) {
      error = cudaSetDevice(device);
      changed = error == cudaSuccess;
    }
  }
  explicit csrn_device_guard(const csrn_context *ctx) : csrn_device_guard(csrn_cuda_state_of(ctx)->device) {}
  ~csrn_device_guard() {
    if (changed)
      cudaSetDevice(before);
    if (relaxed)
      cudaThreadExchangeStreamCaptureMode(&mode);
  }
  csrn_device_guard(const csrn_device_guard &) = delete;
  csrn_device_guard &operator=(const csrn_device_guard &) = delete;

  cudaError_t error; /* what came of it */

private:
  const csrn_float_guard floats;
  int before = 0;
  bool changed = false, relaxed = false;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed; /* the caller's while the guard is there */
};

/* ---- Memory ------------------------------------------------------------------ */

/* Device memory in the order of the context's stream; refused while that is being captured. */
csrn_status csrn_cuda_allocate(csrn_context *ctx, size_t bytes, void **memory);
void csrn_cuda_release(csrn_context *ctx, void *memory, size_t bytes);

static inline unsigned csrn_cuda_bit(csrn_cuda_slot slot) {
  return 1U << slot;
}

/* Makes the slots of a set of bits large enough for a matrix of such a size, once for the whole operation and
 * before it enqueues anything: afterwards nothing fails for lack of memory. */
csrn_status csrn_cuda_need(csrn_context *ctx, unsigned slots, int64_t n_rows, int64_t n_cols, int64_t nnz);
/* The same for A; with the lists that walks need comes what giant rows need. */
csrn_status csrn_cuda_need_for(csrn_context *ctx, unsigned slots, const csrn_csr *A);
/* The memory of a slot that the operation has asked for. */
void *csrn_cuda_slot_of(const csrn_context *ctx, csrn_cuda_slot slot);

csrn_status csrn_cuda_reserve(csrn_context *ctx, int64_t n_rows, int64_t n_cols);
csrn_status csrn_cuda_buffer_allocate(csrn_context *ctx, size_t bytes, void **buffer);
csrn_status csrn_cuda_buffer_copy(csrn_context *ctx, void *to, const void *from, size_t bytes);
csrn_status csrn_cuda_host_allocate(csrn_context *ctx, size_t bytes, void **buffer);
csrn_status csrn_cuda_check_place(csrn_context *ctx, const char *name, const void *array, bool single,
                                  csrn_place *place);

bool csrn_cuda_is_captured(cudaStream_t stream);
/* CSRN_UNSUPPORTED with a sentence about `what` while the context's stream is being captured. */
csrn_status csrn_cuda_refuse_capture(csrn_context *ctx, const char *what);

/* Stores what a runtime call or launch returned, as a status with its sentence. */
csrn_status csrn_cuda_fail(csrn_context *ctx, cudaError_t error, const char *what);

/* ---- Launching ------------------------------------------------------------ */

struct csrn_launch {
  int64_t blocks; /* 0: nothing is launched */
  unsigned threads;
  size_t shared; /* bytes of dynamic shared memory */
};

/* Launches kernel(arguments...) on the context's stream. `status` is that of what came before: nothing is
 * launched after a failure, so that a sequence of launches needs one look at the end. Where kernels can wait
 * by themselves, one is launched while the one before it ends ("programmatic dependent launch"). Not in a
 * graph, whose edges the caller may want to look at; nor in parts, where there would be nothing to gain, and
 * kernels follow events and copies: how those go with it is described nowhere. */
template <typename... Parameters, typename... Arguments>
csrn_status csrn_cuda_launch(csrn_context *ctx, csrn_status status, const csrn_launch &shape,
                             void (*kernel)(Parameters...), const Arguments &...arguments) {
  if (status != CSRN_OK || shape.blocks == 0)
    return status;
  if (shape.blocks > INT32_MAX) /* the most that a grid may have; 2^32 more would look like few */
    return csrn_fail(ctx, CSRN_UNSUPPORTED, "the matrix has more rows than a device can be given at a time");
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks));
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared;
  config.stream = state->stream;
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &early;
  config.numAttrs = state->overlaps && !state->in_parts && !csrn_cuda_is_captured(state->stream) ? 1 : 0;
  cudaError_t error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  return error == cudaSuccess ? CSRN_OK : csrn_cuda_fail(ctx, error, "a kernel launch");
}

/* Asks for as much shared memory on a multiprocessor as there is, for a kernel on the current device: the
 * driver might leave more of it to the cache, and fewer blocks would run. Also for a kernel that needs none,
 * if blocks of the next one are to begin beside it: a multiprocessor divides its memory anew only while it is
 * idle.
 */
static inline cudaError_t csrn_cuda_prefer_shared(const void *kernel) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                              cudaSharedmemCarveoutMaxShared);
}

/* The same, and lets the kernel have so many bytes of dynamic shared memory. */
csrn_status csrn_cuda_allow_shared(csrn_context *ctx, csrn_status status, const void *kernel, size_t bytes);

/* Blocks of `per_block` for n items, at most `limit` (0: none): kernels loop over what is left. */
static inline int64_t csrn_cuda_blocks(int64_t n, int64_t per_block, int64_t limit) {
  int64_t blocks = n / per_block + (n % per_block != 0);
  return limit > 0 && blocks > limit ? limit : blocks;
}

/* ---- Operations ----------------------------------------------------------- */

/* The bytes of slots whose size is not obvious. nnz bounds the number of giant rows, of which there may be
 * none. */
bool csrn_cuda_has_giants(int64_t nnz);
size_t csrn_cuda_list_bytes(int64_t n_rows, int64_t nnz);
size_t csrn_cuda_piece_bytes(void);
size_t csrn_cuda_column_bytes(int64_t n_cols);

/* Zeroes control->now, checks indptr (A may be NULL) and *target (may be NULL), and lists the long rows if
 * the operation `walks`, for which CSRN_CUDA_LISTS has been asked for. Where something is wrong, the flag is
 * set and the kernels of this operation do nothing. */
csrn_status csrn_cuda_begin(csrn_context *ctx, const csrn_csr *A, const double *target, csrn_dtype out_type,
                            bool walks);
/* For one more part of a matrix that comes in parts: its rows are looked at, while flags and what column sums
 * have found out stay. */
csrn_status csrn_cuda_continue(csrn_context *ctx, const csrn_csr *A, bool walks);
/* Waits, and returns what went wrong on the device since the last call. */
csrn_status csrn_cuda_synchronize(csrn_context *ctx);

/* The steps that operations are made of, after csrn_cuda_begin().
 *
 * excluded: the columns to leave out, as csrn_cuda_pack_mask() has packed them; or NULL. */
csrn_status csrn_cuda_row_sums(csrn_context *ctx, const csrn_csr *A, const uint32_t *excluded, void *sums,
                               csrn_dtype sums_type, bool backwards);
/* *bits: whether each of the n bytes of a mask is not 0, in CSRN_CUDA_BITS: what a warp looks up there lies
 * in few lines of the cache. counts: how many are is added to control->now.n_excluded. */
csrn_status csrn_cuda_pack_mask(csrn_context *ctx, csrn_status status, const uint8_t *mask, int64_t n,
                                bool counts, const uint32_t **bits);
csrn_status csrn_cuda_column_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded_rows,
                                  void *sums, csrn_dtype sums_type);
/* The steps of column sums, for a matrix that comes in parts: counts are added over all parts; if
 * control->now.refused is set then, they are no counts, and the largest value is looked for and then all is
 * added in fixed point, over all parts each. `narrow` is csrn_cuda_columns_narrow() of the whole. */
enum csrn_columns_step { CSRN_COLUMNS_COUNTS, CSRN_COLUMNS_LARGEST, CSRN_COLUMNS_FIXED_POINT };
bool csrn_cuda_columns_narrow(const csrn_csr *A);
csrn_status csrn_cuda_columns_begin(csrn_context *ctx, int64_t n_cols);
csrn_status csrn_cuda_columns_add(csrn_context *ctx, const csrn_csr *A, csrn_columns_step step,
                                  const uint8_t *excluded_rows, bool narrow);
csrn_status csrn_cuda_columns_store(csrn_context *ctx, const csrn_csr *A, bool narrow, void *sums,
                                    csrn_dtype sums_type);
/* Raises a flag where an index is no column. */
csrn_status csrn_cuda_check_columns(csrn_context *ctx, const csrn_csr *A);
/* mask[n_cols] = 1 where an entry exceeds max_fraction of the total of its row; the totals go to
 * totals[n_rows] if that is not NULL. The mask has been zeroed. */
csrn_status csrn_cuda_mark_columns(csrn_context *ctx, const csrn_csr *A, double max_fraction, uint8_t *mask,
                                   double *totals);
/* mask[n_rows] = 1 where an entry exceeds max_fraction of totals[its column]. The mask has been zeroed. */
csrn_status csrn_cuda_mark_rows(csrn_context *ctx, const csrn_csr *A, double max_fraction, uint8_t *mask,
                                const double *totals);

/* Whole operations, slots of the table. */
csrn_status csrn_cuda_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                                 const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros,
                                 void *out, csrn_dtype out_type);
csrn_status csrn_cuda_median_positive(csrn_context *ctx, const double *values, int64_t n, double *median);
csrn_status csrn_cuda_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                       double max_fraction, uint8_t *mask);
csrn_status csrn_cuda_normalize(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_plan *plan);
csrn_status csrn_cuda_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out,
                            csrn_dtype out_type);

#endif
