/*
 * What the file formats share: a reader per format behind csrn_io_open(), a writer per
 * format behind csrn_io_write(), and the names of cells and genes that travel from one
 * format to another. io.c holds the dispatch, io_output.c everything about temporary files.
 */
#ifndef CSRN_IO_INTERNAL_H
#define CSRN_IO_INTERNAL_H

#include "io.h"

#include <stdbool.h>
#include <stdio.h>

typedef struct csrn_io_reader {
  /* Whether the first bytes of a file (zeros beyond its end) can be this format; -1 with errno set if what
   * must be looked at cannot be read. */
  int (*recognizes)(const char *path, const unsigned char magic[8]);
  csrn_io_status (*open)(csrn_io_input *input, const csrn_io_select *select, csrn_io_error *error);
  csrn_io_status (*read)(csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                         const csrn_io_progress *progress, csrn_io_error *error);
  void (*close)(csrn_io_input *input); /* also after a failed open */
} csrn_io_reader;

extern const csrn_io_reader csrn_io_h5ad_reader, csrn_io_10x_reader, csrn_io_mtx_reader, csrn_io_npz_reader;

enum {
  CSRN_IO_COLUMNS = 256,       /* at most, in a table */
  CSRN_NAMES_COLUMNS = 3,      /* at most, in a text file */
  CSRN_NAMES_AT_ONCE = 1 << 14 /* rows of it in memory at once, at most */
};

/* A table of strings: column 0 is the index (barcodes, gene symbols). Empty (n_columns
 * 0) where the input has no names; a writer then makes "0", "1", .... */
typedef struct csrn_io_table {
  int64_t n_rows;
  int n_columns;
  /* Of the columns: "index", "gene_ids", "feature_types", "genome", ... */
  const char *names[CSRN_IO_COLUMNS];
  char **columns[CSRN_IO_COLUMNS]; /* [n_columns][n_rows], owned; NULL where they stay in a text file */
  char *path;                      /* of that file, owned: a row a line, with fields between tabs; or NULL */
  int order[CSRN_NAMES_COLUMNS];   /* the column that field c of a line is */
} csrn_io_table;

struct csrn_io_input {
  const csrn_io_reader *reader;
  char *path;
  csrn_io_description description;
  int64_t memory;             /* of csrn_io_select */
  csrn_io_table cells, genes; /* known from open on; not of h5ad, which is copied group by group */
  void *state;
};

/* Comment lines by which csrn_io_write_mtx() notes of which type its reals are: shortest decimals are of that
 * type's precision, and read back as the same bits only when rounded to it. */
#define CSRN_IO_MTX_FLOAT32 "%csrnorm float32"
#define CSRN_IO_MTX_FLOAT64 "%csrnorm float64"

/* Whether an input is a MatrixMarket file of cells x genes (usual is genes x cells). */
bool csrn_io_mtx_cells_in_rows(const csrn_io_input *input);

/* Each writes a complete file under `path` (a temporary name), without syncing it. */
csrn_io_status csrn_io_write_h5ad(csrn_io_input *input, const csrn_io_matrix *matrix,
                                  const csrn_io_output *output, const char *path,
                                  const csrn_io_progress *progress, csrn_io_error *error);
csrn_io_status csrn_io_write_mtx(csrn_io_input *input, const csrn_io_matrix *matrix,
                                 const csrn_io_output *output, const char *path,
                                 const csrn_io_progress *progress, csrn_io_error *error);
csrn_io_status csrn_io_write_npz(csrn_io_input *input, const csrn_io_matrix *matrix,
                                 const csrn_io_output *output, const char *path,
                                 const csrn_io_progress *progress, csrn_io_error *error);

/* The format that the name of an output says; -1: none. */
int csrn_io_output_format(const char *path);

/* Makes a file under a temporary name by make(arg, name, error) and moves it to
 * output->path once it is synced. */
typedef csrn_io_status (*csrn_io_make)(void *arg, const char *path, csrn_io_error *error);
csrn_io_status csrn_io_replace(const csrn_io_output *output, csrn_io_make make, void *arg,
                               csrn_io_error *error);

/* Bytes of memory that this process may use: the machine's, or less where a control group sets a limit. What
 * the system says is read below `root`, "/" but for tests. */
int64_t csrn_io_machine_memory(const char *root);

/* What csrn_csr_check() found, in the words of files: without the names of C. */
enum { CSRN_IO_FAULT = 512 };
const char *csrn_io_matrix_fault(const csrn_context *ctx, char text[CSRN_IO_FAULT]);

/* Stores a sentence and returns `status`. */
csrn_io_status csrn_io_fail(csrn_io_error *error, csrn_io_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether there is a file, before it is opened: of a pipe, that would wait for a writer. */
csrn_io_status csrn_io_check_file(const char *path, csrn_io_error *error);

/* Reports progress; false: cancelled. */
int csrn_io_proceed(const csrn_io_progress *progress, const char *step, int64_t done, int64_t total);

void csrn_io_table_free(csrn_io_table *table);

/* ---- whole_memory.c ---- */

enum { CSRN_IO_PROGRAM = 14 << 20 }; /* bytes of the program itself, with its libraries */

/* What libhdf5 takes to write the output, if that is an .h5ad; with what it copies of the input. */
double csrn_io_writer_bytes(const csrn_io_input *input, const csrn_io_output *output);
/* Of the names that are in memory, each a pointer and a text from malloc(). */
double csrn_io_table_bytes(const csrn_io_table *table);
/* As many of the threads wanted, which take `each` bytes to write a matrix that is in memory, as the input's
 * memory is enough for; at least one. The input may be NULL. */
int csrn_io_affordable_writers(const csrn_io_input *input, const csrn_io_matrix *matrix, int64_t each,
                               int wanted);

/* ---- text_names.c: names that stay in a text file, a piece at a time ---- */

typedef struct csrn_names csrn_names;

/* NULL with the error stored. */
csrn_names *csrn_names_open(const csrn_io_table *table, csrn_io_error *error);
void csrn_names_close(csrn_names *names);
/* Reads the next rows: how many; 0: there are no more, -1: the error stored. */
int64_t csrn_names_next(csrn_names *names, csrn_io_error *error);
/* A column of those rows, valid until the next call. */
char *const *csrn_names_column(const csrn_names *names, int column);

/* Element i of an array of any integer type. */
int64_t csrn_io_integer_at(const void *array, csrn_dtype type, int64_t i);

#endif
