/* See session.h. */
#include "session.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double cli_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- Signals --------------------------------------------------------------- */

/* No result yet, so nothing to keep: remove the temporary file and go, by the signal, so
 * that a shell sees why. */
static void end_by_signal(int number) {
  csrn_io_abandon();
  signal(number, SIG_DFL);
  raise(number);
}

/* What a user, a system or a fault may end the program by: libhdf5 is known to crash on damaged files. A
 * signal that is ignored already, as nohup and shells in the background have it, stays so; one that a
 * sanitizer handles, too. Beyond a limit on the size of files, writes shall fail as they do on a full disk.
 */
static void watch_signals(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP,  SIGQUIT, SIGSEGV, SIGBUS,    SIGABRT,
                                SIGFPE, SIGXCPU, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPIPE};
  struct sigaction action, old;
  memset(&action, 0, sizeof action);
  action.sa_handler = end_by_signal;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (sigaction(numbers[i], NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
      sigaction(numbers[i], &action, NULL);
  signal(SIGXFSZ, SIG_IGN);
}

/* ---- Progress -------------------------------------------------------------- */

enum { BAR = 30 };
static const char bar[BAR + 1] = "##############################";
#define SECONDS_BETWEEN 0.1

static void draw(cli_session *session, const char *step, int64_t done, int64_t total) {
  static double last;
  double now = cli_now();
  if (strcmp(session->step, step) != 0) {
    snprintf(session->step, sizeof session->step, "%s", step);
    session->started = now;
    last = 0.0;
  }
  if (now - last < SECONDS_BETWEEN || total <= 0)
    return;
  last = now;
  int filled = (int)((double)done / (double)total * BAR);
  double elapsed = now - session->started;
  double left = done > 0 ? elapsed / (double)done * (double)(total - done) : 0.0;
  const double millions =
      elapsed > 0.0 ? (double)done / elapsed * 1e-6 : 0.0; /* of bytes or values, a second */
  fprintf(stderr, "\r%-15s [%.*s%*s] %3d %%  %6.0f M/s  %5.1f s left ", step, filled, bar, BAR - filled, "",
          (int)(100.0 * (double)done / (double)total), millions, left);
  session->drawn = true;
}

static int report_progress(void *user, const char *step, int64_t done, int64_t total) {
  cli_session *session = user;
  if (session->shows_progress)
    draw(session, step, done, total);
  return 0;
}

void cli_session_end_progress(cli_session *session) {
  if (session->drawn)
    fprintf(stderr, "\r%90s\r", "");
  session->drawn = false;
}

/* ---- Context --------------------------------------------------------------- */

static int parse_device(const cli_arguments *arguments, csrn_context_options *options, bool *is_auto) {
  const char *text = cli_value(arguments, "device");
  *is_auto = !text || strcmp(text, "auto") == 0;
  if (*is_auto)
    return CLI_OK;
  if (strcmp(text, "cpu") == 0) {
    options->backend = CSRN_BACKEND_CPU;
    return CLI_OK;
  }
  if (strncmp(text, "cuda", 4) == 0 && (text[4] == '\0' || text[4] == ':')) {
    const char *digits = text[4] ? text + 5 : "0";
    char *end;
    long number = strtol(digits, &end, 10);
    if (end > digits && !*end && number >= 0 && number < 1024) {
      options->backend = CSRN_BACKEND_CUDA;
      options->device = (int32_t)number;
      return CLI_OK;
    }
  }
  return cli_usage(arguments, "--device is \"%s\"; expected auto, cpu, cuda or cuda:N", text);
}

int cli_session_begin(cli_session *session, const cli_arguments *arguments) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  int64_t threads = 0;
  memset(session, 0, sizeof *session);
  session->arguments = arguments;
  session->progress = (csrn_io_progress){report_progress, session};
  session->shows_progress =
      isatty(STDERR_FILENO) && !cli_flag(arguments, "quiet") && !cli_flag(arguments, "no-progress");
  if (!cli_integer(arguments, "threads", 1, 4096, &threads))
    return CLI_USAGE;
  options.threads = (int32_t)threads;
  int code = parse_device(arguments, &options, &session->is_auto);
  if (code)
    return code;
  watch_signals();
  if (csrn_context_create(&options, &session->ctx))
    return cli_fail(arguments, "%s", csrn_error_detail(NULL));
  session->device = options.device;
  session->options = options;
  session->reader = session->ctx;
  if (csrn_context_backend(session->ctx) == CSRN_BACKEND_CPU)
    return CLI_OK;
  options.backend = CSRN_BACKEND_CPU;
  options.device = 0;
  if (csrn_context_create(&options, &session->reader))
    return cli_fail(arguments, "%s", csrn_error_detail(NULL));
  return CLI_OK;
}

void cli_session_end(cli_session *session) {
  cli_session_end_progress(session);
  csrn_io_close(session->input);
  if (session->reader != session->ctx)
    csrn_context_destroy(session->reader);
  csrn_context_destroy(session->ctx);
}

int cli_session_fail(const cli_session *session, csrn_io_status status) {
  cli_session_end_progress((cli_session *)(uintptr_t)session);
  cli_fail(session->arguments, "%s", session->error.text);
  return status == CSRN_IO_USAGE ? CLI_USAGE : CLI_FAILED;
}

int cli_session_core_fail(const cli_session *session) {
  return cli_fail(session->arguments, "%s: %s", session->arguments->operand, csrn_error_detail(session->ctx));
}

int cli_session_affords(const cli_session *session, int64_t memory, const csrn_io_whole *whole) {
  const csrn_io_description *d = csrn_io_describe(session->input);
  const int64_t needed = d->nnz >= 0 ? csrn_io_matrix_bytes(session->input, whole) : 0;
  if (memory == 0 || needed <= memory)
    return CLI_OK;
  return cli_fail(session->arguments,
                  "%s: needs %" PRId64 " bytes of memory, more than the %" PRId64 " of --memory",
                  session->arguments->operand, needed, memory);
}

/* What csrn_device_info() knows of the device of a context; all empty if it fails. */
static csrn_device_properties describe(const cli_session *session) {
  csrn_device_properties properties = {.size = sizeof properties};
  if (csrn_device_info(csrn_context_backend(session->ctx), session->device, &properties))
    properties = (csrn_device_properties){.size = sizeof properties};
  return properties;
}

const csrn_context_options *cli_session_device(const cli_session *session) {
  return csrn_context_backend(session->ctx) == CSRN_BACKEND_CUDA ? &session->options : NULL;
}

/* ---- Who does what ----------------------------------------------------------- */

/* Whether a device works on a file in pieces, so that there are two that compute. */
static bool is_shared(const cli_session *session) {
  return session->plan && session->plan->streams && cli_session_device(session);
}

enum { SHARE = 64, N_PARTS = 4 };

/* What the device, or the CPU, does: NULL for what it does not. Reading, coding and writing are the CPU's. */
static void share_of(const csrn_io_plan *plan, bool device, const char *names[N_PARTS]) {
  static const char *const parts[] = {"totals", "marks", "values"};
  names[0] = device ? NULL : "files";
  for (int i = 0; i < N_PARTS - 1; i++)
    names[i + 1] = (device ? plan->on_device : plan->parts & ~plan->on_device) >> i & 1 ? parts[i] : NULL;
}

/* "totals, values"; "nothing" */
static const char *share_text(const csrn_io_plan *plan, bool device, char text[SHARE]) {
  const char *names[N_PARTS];
  text[0] = '\0';
  share_of(plan, device, names);
  for (int i = 0; i < N_PARTS; i++) {
    const size_t used = strlen(text);
    if (names[i])
      snprintf(text + used, SHARE - used, "%s%s", used ? ", " : "", names[i]);
  }
  return text[0] ? text : "nothing";
}

static void share_json(const csrn_io_plan *plan, bool device, cli_json *json) {
  const char *names[N_PARTS];
  share_of(plan, device, names);
  cli_json_open(json, device ? "device_does" : "cpu_does", '[');
  for (int i = 0; i < N_PARTS; i++)
    if (names[i])
      cli_json_string(json, NULL, names[i]);
  cli_json_close(json, ']');
}

const char *cli_session_where(const cli_session *session, char text[CLI_WHERE]) {
  char share[SHARE];
  size_t n = 0;
  if (cli_session_device(session)) {
    const csrn_device_properties device = describe(session);
    n = (size_t)snprintf(text, CLI_WHERE, "cuda:%d, %s, %s", session->device, device.name, device.isa);
  }
  if (is_shared(session))
    n += (size_t)snprintf(text + n, CLI_WHERE - n, ": %s; ", share_text(session->plan, true, share));
  if (!n || is_shared(session))
    n += (size_t)snprintf(text + n, CLI_WHERE - n, "%s, %d threads", csrn_context_isa(session->reader),
                          csrn_context_threads(session->reader));
  if (is_shared(session))
    snprintf(text + n, CLI_WHERE - n, ": %s", share_text(session->plan, false, share));
  if (session->choice.device_seconds > 0) { /* there was something to choose */
    size_t used = strlen(text);
    snprintf(text + used, CLI_WHERE - used, "; %s", session->choice.reason);
  }
  return text;
}

void cli_session_json(const cli_session *session, cli_json *json) {
  const bool shared = is_shared(session), asked = cli_session_device(session) != NULL;
  const bool cpu = !asked || (shared && !session->plan->on_device);
  const csrn_device_properties device = describe(session);
  cli_json_string(json, "backend", cpu ? "cpu" : "cuda");
  cli_json_string(json, "isa", cpu ? csrn_context_isa(session->reader) : device.isa);
  cli_json_integer(json, "threads", csrn_context_threads(shared ? session->reader : session->ctx));
  if (asked) {
    cli_json_integer(json, "device", session->device);
    cli_json_string(json, "device_name", device.name);
  }
  if (shared) {
    share_json(session->plan, true, json);
    share_json(session->plan, false, json);
  }
  if (session->choice.reason[0]) {
    cli_json_open(json, "auto", '{');
    cli_json_string(json, "reason", session->choice.reason);
    if (session->choice.cpu_seconds > 0)
      cli_json_real(json, "cpu_seconds", session->choice.cpu_seconds);
    if (session->choice.device_seconds > 0)
      cli_json_real(json, "device_seconds", session->choice.device_seconds);
    cli_json_close(json, '}');
  }
}

/* ---- Input ----------------------------------------------------------------- */

int cli_session_open(cli_session *session) {
  static const char *const axes[] = {"rows", "columns", NULL};
  const cli_arguments *arguments = session->arguments;
  int cells = -1;
  if (!cli_choice(arguments, "cells", axes, &cells))
    return CLI_USAGE;
  session->select = (csrn_io_select){.layer = cli_value(arguments, "layer"),
                                     .genome = cli_value(arguments, "genome"),
                                     .feature_types = cli_value(arguments, "feature-types"),
                                     .cells = (csrn_io_cells)(cells + 1),
                                     .memory = session->select.memory};
  csrn_io_status status =
      csrn_io_open(arguments->operand, &session->select, &session->input, &session->error);
  return status ? cli_session_fail(session, status) : CLI_OK;
}

int cli_session_read(cli_session *session, csrn_io_matrix *matrix) {
  csrn_io_status status =
      csrn_io_read(session->input, session->reader, matrix, &session->progress, &session->error);
  cli_session_end_progress(session);
  return status ? cli_session_fail(session, status) : CLI_OK;
}

bool cli_compression(const cli_arguments *arguments, csrn_io_output *output) {
  const char *text = cli_value(arguments, "compression");
  if (!text || strcmp(text, "keep") == 0) {
    output->compression = CSRN_IO_COMPRESSION_KEEP;
    return true;
  }
  if (strcmp(text, "none") == 0) {
    output->compression = CSRN_IO_COMPRESSION_NONE;
    return true;
  }
  output->compression = CSRN_IO_COMPRESSION_GZIP;
  bool levelled = strncmp(text, "gzip:", 5) == 0 && text[5] >= '1' && text[5] <= '9' && !text[6];
  if (levelled)
    output->level = text[5] - '0';
  if (levelled || strcmp(text, "gzip") == 0)
    return true;
  cli_usage(arguments, "--compression is \"%s\"; expected keep, none, gzip or gzip:1 to gzip:9", text);
  return false;
}

void cli_print_shape(FILE *stream, const char *name, const csrn_io_description *d) {
  fprintf(stream, "%s: %" PRId64 " cells x %" PRId64 " genes, ", name, d->n_cells, d->n_genes);
  if (d->nnz >= 0)
    fprintf(stream, "%" PRId64 " values, ", d->nnz);
  fprintf(stream, "%s, %s\n", csrn_dtype_name(d->data_type), d->format_name);
}

csrn_axis cli_stored_axis(const csrn_io_matrix *matrix, int columns) {
  csrn_axis other = matrix->cells == CSRN_PER_ROW ? CSRN_PER_COLUMN : CSRN_PER_ROW;
  return columns ? other : matrix->cells;
}

double cli_value_at(const csrn_csr *csr, int64_t i) {
  if (csr->data_type == CSRN_F32)
    return (double)((const float *)csr->data)[i];
  if (csr->data_type == CSRN_F64)
    return ((const double *)csr->data)[i];
  return (double)cli_index_at(csr->data, csr->data_type, i);
}

int64_t cli_index_at(const void *indices, csrn_dtype type, int64_t i) {
  switch (type) {
  case CSRN_U8:
    return ((const uint8_t *)indices)[i];
  case CSRN_U16:
    return ((const uint16_t *)indices)[i];
  case CSRN_U32:
    return ((const uint32_t *)indices)[i];
  case CSRN_I32:
    return ((const int32_t *)indices)[i];
  default:
    return ((const int64_t *)indices)[i];
  }
}
