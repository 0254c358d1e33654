/*
 * What the parts of the CPU backend share: the table of kernels that one instruction
 * set provides, the state of a context, and the two ways in which work is split over
 * threads (by rows of equal nnz, or by ranges of elements).
 */
#ifndef CSRN_CPU_INTERNAL_H
#define CSRN_CPU_INTERNAL_H

#include "internal.h"

#include <stddef.h>

enum { CSRN_N_DTYPES = CSRN_I64 + 1 };

/* Integer sums are exact in 128 bits and checked against 64 bits at the end. */
__extension__ typedef __int128 csrn_wide;

/* The types of an element-wise operation: those of its arithmetic and of its result. */
typedef enum csrn_arithmetic {
  CSRN_IN_F32_TO_F32,
  CSRN_IN_F64_TO_F64,
  CSRN_IN_F64_TO_F32,
  CSRN_N_ARITHMETICS
} csrn_arithmetic;

typedef enum csrn_step { CSRN_STEP_NONE, CSRN_STEP_MULTIPLY, CSRN_STEP_DIVIDE } csrn_step;

/* An element-wise operation: a multiplication or division by a factor, then log1p. */
typedef struct csrn_transform {
  csrn_arithmetic arithmetic;
  csrn_step step;
  bool log1p;      /* not for CSRN_IN_F64_TO_F32 */
  double log_base; /* the natural logarithm of the base; 0: natural */
  double target;   /* where divisors are totals by a target: that target */
} csrn_transform;

/* Tables of logarithms that one thread keeps from row to row: each has what small counts
 * become that are divided by one divisor. */
enum { CSRN_N_TABLES = 1024, CSRN_TABLE_BYTES = 256 /* of float64 half as many, of twice the size */ };
typedef struct csrn_tables {
  int64_t balance; /* values that were looked up, less what filling tables has cost; below 0 none is used */
  uint64_t divisors[CSRN_N_TABLES]; /* the bits of the divisor of each table; 0: there is none */
  _Alignas(64) unsigned char memory[CSRN_N_TABLES * CSRN_TABLE_BYTES];
} csrn_tables;

/* To fill a table takes as long as the formula for so many values; and so many may be lost before it shows
 * whether tables are found again. */
enum { CSRN_TABLE_COST = 128, CSRN_TABLES_CREDIT = 1 << 16 };

/* Where rows have so many values on average, no tables are kept. */
enum { CSRN_KEEPS_TABLES_BELOW = 256 };

/* The kernels of one instruction set, indexed by csrn_dtype; NULL for types that are
 * no data or index types. Element offsets are absolute: of `data`, `indices`, `out`
 * alike. `indptr` holds n + 1 offsets. "sums" are double for floating-point data and
 * csrn_wide for integers. Indices are one of u8, u16, i32, u32, i64. */
struct csrn_kernels {
  const char *isa;
  void (*row_sums[CSRN_N_DTYPES])(const void *data, const int64_t *indptr, int64_t n, void *sums);
  /* excluded: a bit per column, in words of 32. */
  void (*row_sums_excluding[CSRN_N_DTYPES][CSRN_N_DTYPES])(const void *data, const void *indices,
                                                           const uint32_t *excluded, const int64_t *indptr,
                                                           int64_t n, void *sums);
  /* factors: [n] of the arithmetic's type; NULL for CSRN_STEP_NONE. tables: of this thread, or NULL. */
  void (*transform_rows[CSRN_N_DTYPES])(const csrn_transform *how, csrn_tables *tables, const void *data,
                                        const int64_t *indptr, int64_t n, const void *factors, void *out);
  /* factors: [n_cols] of the arithmetic's type. */
  void (*transform_columns[CSRN_N_DTYPES][CSRN_N_DTYPES])(const csrn_transform *how, const void *data,
                                                          const void *indices, int64_t begin, int64_t end,
                                                          const void *factors, void *out);
  /* mask[column] = 1 where an entry exceeds the threshold of its row. */
  void (*mark_columns[CSRN_N_DTYPES][CSRN_N_DTYPES])(const void *data, const void *indices,
                                                     const int64_t *indptr, int64_t n,
                                                     const double *thresholds, uint8_t *mask);
  /* mask[row] = 1 where an entry exceeds the threshold of its column. */
  void (*mark_rows[CSRN_N_DTYPES][CSRN_N_DTYPES])(const void *data, const void *indices,
                                                  const int64_t *indptr, int64_t n, const double *thresholds,
                                                  uint8_t *mask);
  /* sums[column] += value, for integers of at most 32 bits, and for reals as long as
   * they are integers of at most 31 bits; returns the offset of the first that is
   * not, or `end`. */
  int64_t (*column_counts[CSRN_N_DTYPES][CSRN_N_DTYPES])(const void *data, const void *indices, int64_t begin,
                                                         int64_t end, int64_t *sums);
  /* limbs[2 * column], [2 * column + 1] += the value in fixed point (numerics.h), or
   * the high and low 32 bits of 64-bit integers. Values that are not finite are left out. */
  void (*column_limbs[CSRN_N_DTYPES][CSRN_N_DTYPES])(const void *data, const void *indices, int64_t begin,
                                                     int64_t end, const double unit[2], int64_t *limbs);
  /* The largest finite magnitude, and whether any value is not finite. */
  double (*largest[CSRN_N_DTYPES])(const void *data, int64_t begin, int64_t end, bool *nonfinite);
  /* The offset of the first index outside [0, n_cols), or `end`. */
  int64_t (*check_indices[CSRN_N_DTYPES])(const void *indices, int64_t begin, int64_t end, int64_t n_cols);
};

extern const csrn_kernels csrn_kernels_generic;
#if defined(__x86_64__)
extern const csrn_kernels csrn_kernels_x86_64, csrn_kernels_x86_64_v3, csrn_kernels_x86_64_v4;
#endif

/* How many bytes before they read them kernels ask for values: what suits this processor. */
extern int64_t csrn_cpu_ahead;

csrn_status csrn_cpu_device_count(int32_t *count);
csrn_status csrn_cpu_device_info(int32_t device, csrn_device_properties *properties);

/* ---- State ---------------------------------------------------------------- */

/* Scratch memory by purpose: grown on demand, kept for the next call. */
typedef enum csrn_slot {
  CSRN_SLOT_THREADS, /* per thread: histograms, counters, block sums */
  CSRN_SLOT_TOTALS,  /* [rows or columns] float64 */
  CSRN_SLOT_FACTORS, /* [columns] float64: divisors of cells in columns */
  CSRN_SLOT_COLUMNS, /* [threads][columns] two 64-bit integers, [columns] one of 128 bits */
  CSRN_SLOT_MASK,    /* [rows or columns] bytes */
  CSRN_SLOT_BITS,    /* [columns] bits, in words of 32 */
  CSRN_SLOT_TABLES,  /* [threads] csrn_tables */
  CSRN_N_SLOTS
} csrn_slot;

/* Which of a thread's shares of rows is the next to be done, by it or by another: a cache line each. */
typedef struct csrn_cpu_turn {
  _Alignas(64) int64_t next;
} csrn_cpu_turn;

typedef struct csrn_cpu_state {
  int32_t threads;
  int32_t team; /* threads of the largest parallel region so far */
  bool by_work; /* their number was left to the library, which then uses fewer where there is little to do */
  struct {
    void *memory;
    size_t bytes;
  } slots[CSRN_N_SLOTS];
  csrn_cpu_turn turns[]; /* [threads] */
} csrn_cpu_state;

static inline csrn_cpu_state *csrn_cpu_state_of(const csrn_context *ctx) {
  return ctx->state;
}

/* At least `bytes` of a slot; its old contents are lost. NULL with the error stored. */
void *csrn_cpu_scratch(csrn_context *ctx, csrn_slot slot, size_t bytes);

/* ---- Threads -------------------------------------------------------------- */

/* Runs function(arg, thread, n_threads) on up to n_threads threads, no more than the context has, in the
 * default floating-point mode; in the calling thread alone if n_threads is 1. */
void csrn_cpu_parallel(const csrn_context *ctx, int n_threads,
                       void (*function)(void *arg, int thread, int n_threads), void *arg);

/* How many threads are worth using for `values` elements: at most those of the
 * context, one in a forked child, and one for few elements unless threads were asked for. */
int csrn_cpu_threads_for(const csrn_context *ctx, int64_t values);

/* Range [*begin, *end) of thread `thread` in [0, n), cut at multiples of `grain`. */
void csrn_cpu_range(int64_t n, int64_t grain, int thread, int n_threads, int64_t *begin, int64_t *end);

/* Rows that one call of a batch function gets at most; and those that kernels work on
 * together where rows are short, of which a batch has whole groups if it can. */
enum { CSRN_BATCH_ROWS = 512, CSRN_ROW_GROUP = 16 };

/* Work on rows. `batch` gets n <= CSRN_BATCH_ROWS consecutive rows with their offsets;
 * different threads work on different rows, split by nnz. A row too long for one
 * thread goes to `giant` instead, which is called from the calling thread, after or
 * before the batches, and shares it out itself. */
typedef struct csrn_row_work {
  csrn_context *ctx;
  const csrn_csr *A;
  int64_t max_batch_nnz; /* a batch of several rows has at most so many values; 0: no limit */
  void (*batch)(void *arg, int thread, int64_t row, int64_t n, const int64_t *indptr);
  void (*giant)(void *arg, int64_t row, int64_t begin, int64_t end);
  void *arg;
} csrn_row_work;

void csrn_cpu_rows(const csrn_row_work *work);

/* Work on the elements [begin, end) of the matrix in pieces of a multiple of CSRN_BLOCK. */
typedef struct csrn_piece_work {
  csrn_context *ctx;
  void (*piece)(void *arg, int thread, int64_t begin, int64_t end);
  void *arg;
} csrn_piece_work;

void csrn_cpu_pieces(const csrn_piece_work *work, int64_t begin, int64_t end);

/* ---- Shared by the operations --------------------------------------------- */

/* The index type whose kernel serves A: u64 is read as i64, u32 as i32 where it fits. */
csrn_dtype csrn_cpu_index_type(const csrn_csr *A);
bool csrn_cpu_is_real(csrn_dtype type);

/* Stores an exact sum as 64 bits of sums_type (f64: rounded); false if it does not fit. */
bool csrn_cpu_store_sum(csrn_wide sum, csrn_dtype data_type, csrn_dtype sums_type, void *sums, int64_t i);
csrn_status csrn_cpu_overflow(csrn_context *ctx, const char *what, csrn_dtype sums_type);

/* CSRN_SLOT_THREADS holds a histogram of 2^15 counters per thread and one array of as many
 * gathered values; or, for a giant row, the sums of so many blocks at a time. */
enum { CSRN_HISTOGRAM_BYTES = 32768 * 8, CSRN_GIANT_BLOCKS = 32768 };
void *csrn_cpu_thread_scratch(csrn_context *ctx);
size_t csrn_cpu_thread_bytes(const csrn_context *ctx);
size_t csrn_cpu_table_bytes(const csrn_context *ctx);
/* The same memory once allocated. */
csrn_wide *csrn_cpu_giant_scratch(const csrn_context *ctx);

/* Where row sums come from. */
typedef struct csrn_row_source {
  csrn_context *ctx;
  const csrn_csr *A;
  const uint32_t *excluded; /* bits of csrn_cpu_mask_bits(), or NULL */
} csrn_row_source;

/* A mask of n_cols bytes as bits, in CSRN_SLOT_BITS; NULL with the error stored. */
size_t csrn_cpu_bits_bytes(int64_t n_cols);
const uint32_t *csrn_cpu_mask_bits(csrn_context *ctx, const uint8_t *mask, int64_t n_cols);

/* Sums of n <= CSRN_BATCH_ROWS rows, or of one giant row by all threads, to sums[0 ..
 * n) of sums_type; false for an overflow. */
bool csrn_cpu_sum_batch(const csrn_row_source *source, const int64_t *indptr, int64_t n, void *sums,
                        csrn_dtype sums_type);
bool csrn_cpu_sum_giant(const csrn_row_source *source, int64_t begin, int64_t end, void *sum,
                        csrn_dtype sums_type);

/* An element-wise operation on a range of elements, by all threads. */
typedef struct csrn_element_work {
  csrn_context *ctx;
  const csrn_csr *A;
  csrn_axis axis;
  csrn_transform how;
  const void *factors; /* one for CSRN_PER_ROW, [n_cols] for CSRN_PER_COLUMN */
  void *out;
} csrn_element_work;

void csrn_cpu_transform(const csrn_element_work *work, int64_t begin, int64_t end);
csrn_transform csrn_cpu_log_transform(csrn_step step, csrn_dtype out_type, bool log1p, double base);

csrn_status csrn_cpu_row_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded, void *sums,
                              csrn_dtype sums_type);
csrn_status csrn_cpu_column_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded_rows,
                                 void *sums, csrn_dtype sums_type);
/* Bytes of CSRN_SLOT_COLUMNS for matrices of n_cols columns. */
size_t csrn_cpu_column_bytes(const csrn_context *ctx, int64_t n_cols);
csrn_status csrn_cpu_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                                const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros,
                                void *out, csrn_dtype out_type);
csrn_status csrn_cpu_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out, csrn_dtype out_type);

csrn_status csrn_cpu_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                      double max_fraction, uint8_t *mask);
csrn_status csrn_cpu_normalize(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_plan *plan);

#endif
