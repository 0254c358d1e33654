/*
 * What commands do alike: a context from --device and --threads, an input from its
 * options, progress on a terminal, and an orderly end on SIGINT and SIGTERM.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "io.h"
#include "json.h"
#include "options.h"

#include <stdio.h>

/* What `--device auto` has come to; no reason: it was not asked. */
typedef struct cli_auto {
  char reason[256];
  double cpu_seconds, device_seconds; /* expected; 0: not known */
} cli_auto;

typedef struct cli_session {
  const cli_arguments *arguments;
  csrn_context *ctx;            /* computes; its arrays are in host memory */
  csrn_context *reader;         /* a CPU context for what files hold; ctx itself if that is one */
  int32_t device;               /* of ctx, as --device counts them */
  csrn_context_options options; /* of ctx */
  const csrn_io_plan *plan;     /* of a file that is worked on in pieces: who does what; or NULL */
  bool is_auto;                 /* where to compute is left to the program: choose.h */
  cli_auto choice;
  csrn_io_input *input;
  csrn_io_select select;
  csrn_io_progress progress;
  csrn_io_error error;
  double started; /* of the current step, in seconds */
  bool shows_progress, drawn;
  char step[32];
} cli_session;

/* Creates the context; CLI_OK or an exit code with the message printed. Always to be
 * ended by cli_session_end(). */
int cli_session_begin(cli_session *session, const cli_arguments *arguments);
/* Opens the operand by the options of CLI_OPTIONS_SELECT; select.memory is set before by whoever knows it. */
int cli_session_open(cli_session *session);
int cli_session_read(cli_session *session, csrn_io_matrix *matrix);
/* Values that the CPU is timed on for --device auto: more than its caches hold, and some milliseconds. A
 * matrix of fewer is done before a device could be asked. */
enum { CLI_TRIAL_VALUES = 1 << 22 };

/* Whether that, with the matrix as a whole, takes no more memory than so much (0: any); else prints how much
 * it takes. */
int cli_session_affords(const cli_session *session, int64_t memory, const csrn_io_whole *whole);
void cli_session_end(cli_session *session);

/* Clears the progress on the terminal: before anything else is printed. */
void cli_session_end_progress(cli_session *session);

/* Prints the sentence of the file library or of the context; returns the exit code. */
int cli_session_fail(const cli_session *session, csrn_io_status status);
int cli_session_core_fail(const cli_session *session);

/* --compression into output->compression and level; false with the message printed. */
bool cli_compression(const cli_arguments *arguments, csrn_io_output *output);

/* What contexts for the pieces of a file are made like: NULL where the CPU computes. */
const csrn_context_options *cli_session_device(const cli_session *session);

/* What computes, as a person reads it: "x86-64-v4, 2 threads" or "cuda:0, NVIDIA H100, sm_90". */
enum { CLI_WHERE = 600 };
const char *cli_session_where(const cli_session *session, char text[CLI_WHERE]);
/* The same as members of a report: backend, isa, threads; of a CUDA device also its number and name; and why,
 * where that was left to the program. */
void cli_session_json(const cli_session *session, cli_json *json);

/* Seconds on a clock that only moves forward. */
double cli_now(void);

/* The input as a line: "pbmc.h5ad: 3774 cells x 16791 genes, 2702861 values, float32". */
void cli_print_shape(FILE *stream, const char *name, const csrn_io_description *d);

/* The axis of the cells x genes matrix that --axis names, as one of the stored matrix. */
csrn_axis cli_stored_axis(const csrn_io_matrix *matrix, int columns);

/* data[i] as float64, for reports. */
double cli_value_at(const csrn_csr *csr, int64_t i);
/* indptr[i] or indices[i] of any type. */
int64_t cli_index_at(const void *indices, csrn_dtype type, int64_t i);

#endif
