/*
 * Count matrices in files, for the command line. The core library computes on
 * arrays; everything that knows HDF5, zip, gzip and text lies behind this header,
 * in a library of its own (csrnorm_io), so that linking csrnorm never means linking
 * HDF5.
 *
 * An input is opened (which reads its metadata only), described, read into one
 * in-memory matrix, and written again with other values; whatever the input holds
 * beside those values is carried over. Every function that can fail returns 0 or
 * one of csrn_io_status and fills `error` with one sentence that names the file,
 * what was found and what was expected. Nothing here prints or exits.
 */
#ifndef CSRN_IO_H
#define CSRN_IO_H

#include "csrnorm/csrnorm.h"

typedef enum csrn_io_status {
  CSRN_IO_OK = 0,
  CSRN_IO_FAILED = 1, /* the file, or the system, does not allow it: exit code 1 */
  CSRN_IO_USAGE = 2   /* the request makes no sense for any file: exit code 2 */
} csrn_io_status;

typedef struct csrn_io_error {
  char text[1024];
} csrn_io_error;

typedef enum csrn_io_format {
  CSRN_IO_H5AD,
  CSRN_IO_10X, /* 10x Genomics .h5, v2 and v3 */
  CSRN_IO_MTX, /* MatrixMarket, plain or gzip */
  CSRN_IO_NPZ  /* scipy.sparse.save_npz */
} csrn_io_format;

/* How the values lie in the file. */
typedef enum csrn_io_layout { CSRN_IO_CSR, CSRN_IO_CSC, CSRN_IO_DENSE, CSRN_IO_COORDINATE } csrn_io_layout;

typedef enum csrn_io_cells {
  CSRN_IO_CELLS_DEFAULT, /* h5ad, npz: rows; mtx: columns, as 10x writes it; 10x: as its layout says */
  CSRN_IO_CELLS_ROWS,
  CSRN_IO_CELLS_COLUMNS
} csrn_io_cells;

/* Which matrix of a file is meant. All NULL / 0 for the defaults. */
typedef struct csrn_io_select {
  const char *layer;         /* h5ad: layers/<layer>; "raw": raw/X; NULL: X */
  const char *genome;        /* 10x: the genome group (v2) or the genome of the features (v3) */
  const char *feature_types; /* 10x v3: NULL: "Gene Expression"; "all": every feature */
  csrn_io_cells cells;       /* an h5ad always has its cells in rows */
  int64_t memory; /* bytes to do with: while opening, where features are selected, and by the threads
                   * that read and write text; 0: not said */
} csrn_io_select;

typedef struct csrn_io_input csrn_io_input; /* an open input file */

/* What an input holds, from its metadata. Strings live as long as the input. */
typedef struct csrn_io_description {
  csrn_io_format format;
  csrn_io_layout layout;
  const char *format_name;  /* "AnnData h5ad", "10x Genomics h5 (v3)", "MatrixMarket (gzip)", "scipy npz" */
  const char *matrix_name;  /* "X", "layers/spliced", "matrix", "GRCh38", ... */
  int64_t n_cells, n_genes; /* as selected */
  int64_t nnz;              /* stored values as selected; n_cells * n_genes for dense */
  int64_t nnz_file;         /* stored values before a selection of features */
  csrn_dtype data_type;     /* in the file */
  csrn_dtype widest_type;   /* that the values may turn out to need; CSRN_NONE: data_type */
  csrn_dtype indices_type, indptr_type; /* CSRN_NONE for dense and coordinate */
  int64_t chunk;                        /* elements of a chunk of the values; 0: contiguous or not HDF5 */
  const char *filters;                  /* "gzip-4", "shuffle+gzip-4", "lzf", "none", ... */
  const char *const *layers;            /* NULL-terminated lists of what could be selected; */
  const char *const *genomes;           /* empty where the format has no such thing */
  const char *const *feature_types;
} csrn_io_description;

/* A matrix in memory. It owns its arrays, which come from malloc(). */
typedef struct csrn_io_matrix {
  csrn_csr csr;    /* as stored: rows are genes where cells == CSRN_PER_COLUMN */
  csrn_axis cells; /* which axis of csr the cells are on */
  int dense;       /* every element is stored, row by row; csr.indices is NULL until
                    * csrn_io_matrix_indices() makes them */
} csrn_io_matrix;

/* Progress of a long step: `done` of `total` (bytes or values; total 0: unknown).
 * Returns 0 to go on; anything else cancels, and the step fails with "interrupted". */
typedef struct csrn_io_progress {
  int (*report)(void *user, const char *step, int64_t done, int64_t total);
  void *user;
} csrn_io_progress;

/* Opens and describes. The format is found from the content, not from the name. */
csrn_io_status csrn_io_open(const char *path, const csrn_io_select *select, csrn_io_input **input,
                            csrn_io_error *error);
void csrn_io_close(csrn_io_input *input);
const csrn_io_description *csrn_io_describe(const csrn_io_input *input);

/* What is done with a matrix that is read as a whole. */
typedef struct csrn_io_whole {
  const struct csrn_io_output *output; /* NULL, or without a path: it is not written */
  csrn_dtype out_type;                 /* of the values of the result; CSRN_NONE: there are none */
  int sums_cells, sums_genes;
  int64_t trial_values; /* of which a result is made beforehand, to measure; 0: none is */
  int threads; /* that compute; for reading and writing, no more are used than the memory is enough for */
} csrn_io_whole;

/* Bytes of memory that this takes at most, with the program itself. */
int64_t csrn_io_matrix_bytes(const csrn_io_input *input, const csrn_io_whole *whole);

/* Reads the selected matrix and checks its structure (csrn_csr_check with `ctx`).
 * Coordinates become CSR with the cells in rows when the file's entries are in cell
 * order or can be grouped in O(nnz); indices are sorted in neither case. `progress`
 * may be NULL.
 *
 * The types of a MatrixMarket file: "integer" is i32 if every value fits, else i64;
 * "pattern" is ones of u8; "real" is what a comment of csrn_io_write() says, else f32 if
 * every value is exactly a float32 (counts written as reals, say), else f64. */
csrn_io_status csrn_io_read(csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                            const csrn_io_progress *progress, csrn_io_error *error);
void csrn_io_matrix_free(csrn_io_matrix *matrix);

/* Makes the column indices of a dense matrix; does nothing for others. */
csrn_io_status csrn_io_matrix_indices(csrn_io_matrix *matrix, csrn_io_error *error);

typedef enum csrn_io_compression {
  CSRN_IO_COMPRESSION_KEEP, /* as the input has it; where it has no say, none for h5ad and deflate for npz.
                             * The name of a MatrixMarket file says it, whatever is asked for */
  CSRN_IO_COMPRESSION_NONE,
  CSRN_IO_COMPRESSION_GZIP
} csrn_io_compression;

typedef struct csrn_io_output {
  const char *path; /* .h5ad, .mtx, .mtx.gz or .npz says the format */
  int force;        /* replace an existing file */
  csrn_io_compression compression;
  int level;             /* gzip 1-9; 0: the default */
  const char *layer;     /* h5ad: as selected in the input */
  const char *key_added; /* h5ad: factors go to obs/<key_added>; NULL: nowhere */
  const void *factors;   /* [n_cells] of factors_type, for key_added */
  csrn_dtype factors_type;
  int log1p;       /* h5ad: write uns/log1p/base */
  double log_base; /* 0: null (natural) */
  int threads;     /* that write a MatrixMarket file; 0: one */
} csrn_io_output;

/* Says whether csrn_io_write() could begin: extension known, directory writable, no
 * file in the way without `force`, key_added and layer possible for this pair of
 * formats. Called before any work, so that a wrong name costs nothing. `input` may be
 * NULL (simulate). */
csrn_io_status csrn_io_output_check(const csrn_io_input *input, const csrn_io_output *output,
                                    csrn_io_error *error);

/* Writes `matrix` (data_type f32, f64 or an integer type), carrying over whatever else
 * `input` holds and the output format can; `input` may be NULL. The file is written
 * under a temporary name beside output->path, synced and renamed: under output->path
 * there is the whole result or what was there before. The temporary file is removed on
 * failure, and by csrn_io_abandon(). */
csrn_io_status csrn_io_write(csrn_io_input *input, const csrn_io_matrix *matrix, const csrn_io_output *output,
                             const csrn_io_progress *progress, csrn_io_error *error);

/* ---- Normalization of a file in pieces ---- */

/* What is computed, beside what it takes to read, decode, code and write. */
typedef enum csrn_io_part {
  CSRN_IO_TOTALS = 1,
  CSRN_IO_MARKS = 2, /* of highly expressed genes */
  CSRN_IO_VALUES = 4
} csrn_io_part;

/* How csrn_io_normalize() would go. */
typedef struct csrn_io_plan {
  int streams;          /* it can be done in pieces; else nothing below is set */
  csrn_dtype out_type;  /* of the values: f64 for f64, else f32 */
  int passes;           /* over the values of the file, if they are counts and none were kept in memory */
  int n_workers;        /* threads, of which one may wait */
  int64_t unit;         /* values that a worker has at once */
  int64_t memory;       /* bytes needed at least */
  int64_t memory_limit; /* bytes allowed: what is not needed keeps values for the second pass */
  int64_t read_bytes;   /* the values as they lie in the file, once */
  int parts;            /* of csrn_io_part: all that is computed */
  int on_device;        /* those that a device computes; sums of columns turn out to be the CPU's where values
                         * are no counts: totals then are not among them afterwards */
} csrn_io_plan;

typedef struct csrn_io_normalization {
  const csrn_normalize_options *options; /* of csrn_normalize_total() */
  int64_t memory;                        /* bytes to do with; 0: a quarter of the machine's */
  int64_t unit;                          /* values to have at once; 0: as measured best */
  const csrn_context_options *device;    /* contexts like this, of a CUDA device, compute on the pieces;
                                          * NULL: `ctx` does */
  /* Results */
  csrn_io_plan plan;
  csrn_normalize_report report;
  int64_t kept_bytes; /* of values kept in memory between the passes */
  double seconds[4];  /* totals; copying all else, which goes on meanwhile, after them; normalizing and
                       * writing; until it is safe on the disk */
} csrn_io_normalization;

/* Fills n->plan. CSRN_IO_FAILED if `memory` is not enough. Without output->path for an output of the input's
 * format. */
csrn_io_status csrn_io_normalize_plan(csrn_io_input *input, csrn_context *ctx, const csrn_io_output *output,
                                      csrn_io_normalization *n, csrn_io_error *error);

/* csrn_io_read(), csrn_normalize_total() and csrn_io_write() in one, to the bit, in memory that does not grow
 * with the values. Only where the plan says that it streams; `ctx` is a CPU context, whose threads and
 * instruction set are used. Indices are copied without a look at them, unless the columns matter.
 * output->factors is not used. */
csrn_io_status csrn_io_normalize(csrn_io_input *input, csrn_context *ctx, const csrn_io_output *output,
                                 csrn_io_normalization *n, const csrn_io_progress *progress,
                                 csrn_io_error *error);

/* ---- Sums and scaling of a file in pieces ---- */

typedef struct csrn_io_summing {
  csrn_axis axis;                     /* of cells x genes: CSRN_PER_ROW is one sum per cell */
  csrn_dtype sums_type;               /* as of csrn_axis_sum() */
  void *sums;                         /* [n_cells or n_genes] of sums_type */
  int64_t memory, unit;               /* as in csrn_io_normalization; */
  const csrn_context_options *device; /* so is this */
  csrn_io_plan plan;                  /* result; where it says that nothing streams, the sums were not set */
  int64_t kept_bytes;                 /* result: values that were kept in memory for another pass */
} csrn_io_summing;

/* csrn_io_read() and csrn_axis_sum() in one. */
csrn_io_status csrn_io_sums(csrn_io_input *input, csrn_context *ctx, csrn_io_summing *summing,
                            const csrn_io_progress *progress, csrn_io_error *error);

typedef struct csrn_io_scaling {
  csrn_axis axis; /* of cells x genes */
  csrn_scale_op op;
  csrn_zero_policy zeros;
  const double *factors;              /* [n_cells or n_genes] */
  int64_t memory, unit;               /* as in csrn_io_normalization; */
  const csrn_context_options *device; /* so is this */
  csrn_io_plan plan;                  /* result; where it says that nothing streams, nothing was done */
} csrn_io_scaling;

/* csrn_io_read(), csrn_axis_scale() and csrn_io_write() in one. */
csrn_io_status csrn_io_scale(csrn_io_input *input, csrn_context *ctx, const csrn_io_output *output,
                             csrn_io_scaling *scaling, const csrn_io_progress *progress,
                             csrn_io_error *error);

/* Removes the temporary file of a csrn_io_write() in progress, if any;
 * async-signal-safe, for handlers of SIGINT and SIGTERM. */
void csrn_io_abandon(void);

/* Whether a text is UTF-8; and how many of its first bytes are. */
int csrn_io_is_utf8(const char *text);
size_t csrn_io_utf8_length(const char *text);

/* Puts ? in place of each byte that is no UTF-8, or of a control character, which could drive a terminal. */
void csrn_io_make_printable(char *text);

/* "HDF5 1.10.8, libzip 1.7.3, ...": the libraries linked and running. */
const char *csrn_io_libraries(void);

/* ---- Small text files of numbers, for `csrnorm sums -o` and `csrnorm scale --by` -- */

/* One number a line, in C's decimal or hexadecimal notation; also .npy of numbers of any
 * type. *values comes from malloc(). */
csrn_io_status csrn_io_read_vector(const char *path, double **values, int64_t *n, csrn_io_error *error);

/* Says whether csrn_io_write_vector() could begin, as csrn_io_output_check() does. */
csrn_io_status csrn_io_vector_check(const char *path, int force, csrn_io_error *error);

/* n values of f64, i64 or u64: a .npy if the name says so, else one number a line that
 * reads back to the same bits. Appears whole or not at all, as csrn_io_write()'s. */
csrn_io_status csrn_io_write_vector(const char *path, int force, const void *values, csrn_dtype type,
                                    int64_t n, csrn_io_error *error);

#endif
