/*
 * The entries of a MatrixMarket file, by several threads: each takes the next block of whole lines,
 * which one at a time inflates, and parses it by itself. In the order of the blocks it then gets
 * a place for what it found, so that entries are in the order of the file, and the first
 * fault in the file is the one that is told.
 */
#include "mtx_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  LINE_AT_LEAST = 4,        /* bytes: "1 1" and its end */
  VALUES_A_THREAD = 1 << 16 /* fewer are not worth one */
};

bool csrn_mtx_allocate(const mtx_state *state, int64_t n, mtx_entries *entries) {
  const size_t room = (size_t)n + 1;
  *entries = (mtx_entries){.fits_i32 = true, .fits_f32 = state->real_type != CSRN_F64};
  bool done = room < SIZE_MAX / 16;
  if (done) {
    entries->cells = malloc(room * sizeof *entries->cells);
    entries->genes = malloc(room * sizeof *entries->genes);
    done = entries->cells && entries->genes;
  }
  if (done && state->field != FIELD_PATTERN)
    done = (entries->values = malloc(room * sizeof *entries->values)) != NULL;
  return done;
}

void csrn_mtx_free(mtx_entries *entries) {
  free(entries->cells);
  free(entries->genes);
  free(entries->values);
  memset(entries, 0, sizeof *entries);
}

/* ---- One line ----------------------------------------------------------------- */

static bool ends_here(const char *p) {
  return p[strspn(p, " \t")] == '\0';
}

/* A positive integer, then spaces; NULL if there is none or it is absurdly long. */
static const char *parse_coordinate(const char *p, int64_t *value) {
  while (*p == ' ' || *p == '\t')
    p++;
  const char *first = p;
  int64_t number = 0;
  while (*p >= '0' && *p <= '9' && p - first < 18)
    number = number * 10 + (*p++ - '0');
  *value = number;
  return p == first || (*p != ' ' && *p != '\t' && *p != '\0') ? NULL : p;
}

static bool parse_integer(const char *p, mtx_value *value) {
  char *end;
  errno = 0;
  value->integer = strtoll(p, &end, 10);
  return end > p && errno == 0 && ends_here(end);
}

/* Rounded once, to the type that the file is noted to have. */
static bool parse_real(const char *p, csrn_dtype type, mtx_value *value) {
  char *end;
  errno = 0;
  value->real = type == CSRN_F32 ? (double)strtof(p, &end) : strtod(p, &end);
  return end > p && ends_here(end) && !(errno == ERANGE && isinf(value->real));
}

/* A count of up to 15 digits is the usual case, and exact in a double. */
static bool parse_value(const mtx_state *state, const char *p, mtx_value *value) {
  p += strspn(p, " \t");
  const char *first = p;
  int64_t number = 0;
  while (*p >= '0' && *p <= '9' && p - first < 15)
    number = number * 10 + (*p++ - '0');
  if (p == first || !ends_here(p))
    return state->field == FIELD_INTEGER ? parse_integer(first, value)
                                         : parse_real(first, state->real_type, value);
  if (state->field == FIELD_INTEGER)
    value->integer = number;
  else
    value->real = state->real_type == CSRN_F32 ? (double)(float)number : (double)number;
  return true;
}

/* Adds the entry of a line; NULL, or what is wrong with it. */
static const char *parse_entry(const mtx_state *state, const char *line, mtx_entries *entries) {
  int64_t row = 0, column = 0;
  mtx_value value = {0};
  const char *p = parse_coordinate(line, &row);
  p = p ? parse_coordinate(p, &column) : NULL;
  if (!p)
    return "expected a row and a column";
  if (row < 1 || row > state->n_rows)
    return "the row is outside the matrix";
  if (column < 1 || column > state->n_cols)
    return "the column is outside the matrix";
  if (state->field == FIELD_PATTERN ? !ends_here(p) : !parse_value(state, p, &value))
    return state->field == FIELD_INTEGER ? "expected an integer of 64 bits as the value"
           : state->field == FIELD_REAL  ? "expected a number within float64 as the value"
                                         : "a pattern file has no values";
  const int64_t i = entries->n++;
  entries->cells[i] = (int32_t)(state->cells_in_rows ? row : column) - 1;
  entries->genes[i] = (int32_t)(state->cells_in_rows ? column : row) - 1;
  if (entries->values)
    entries->values[i] = value;
  if (state->field == FIELD_INTEGER)
    entries->fits_i32 &= value.integer >= INT32_MIN && value.integer <= INT32_MAX;
  else if (state->field == FIELD_REAL)
    entries->fits_f32 &= isnan(value.real) || (double)(float)value.real == value.real;
  return NULL;
}

/* ---- One block ---------------------------------------------------------------- */

typedef struct reading {
  const csrn_io_input *input;
  const mtx_state *state;
  mtx_entries *entries;
  const csrn_io_progress *progress;
  pthread_mutex_t source; /* of the text and the number of blocks */
  int64_t n_blocks;
  pthread_mutex_t order; /* of all below, and of entries->n */
  pthread_cond_t turned;
  int64_t turn; /* blocks that have got their place */
  csrn_io_status status;
  csrn_io_error *error;
} reading;

/* What a thread has to itself. */
typedef struct block {
  reading *all;
  int64_t number, first_line; /* number of the line before its first */
  int64_t length;             /* bytes; 0: the end, -1: failed */
  char *text;
  mtx_entries entries;
  const char *fault; /* what is wrong with the line of that number, or NULL */
  int64_t fault_line;
  char *fault_text, *fault_end; /* the line, and where its '\0' is instead of its end */
  csrn_io_error error;
} block;

static void take(block *b) {
  reading *all = b->all;
  pthread_mutex_lock(&all->source);
  b->number = all->n_blocks++;
  b->first_line = csrn_text_line_number(all->state->text);
  b->length = csrn_text_block(all->state->text, b->text, &b->error);
  pthread_mutex_unlock(&all->source);
}

/* Parses the lines of a block up to the first fault; or, with `wanted` >= 0, up to the entry of that number,
 * which is then the fault. */
static void parse_block(block *b, int64_t wanted) {
  char *line = b->text, *end = b->text + b->length;
  b->entries.n = 0;
  b->fault = NULL;
  for (int64_t number = b->first_line + 1; line < end && !b->fault; number++) {
    char *stop = memchr(line, '\n', (size_t)(end - line));
    if (!stop)
      stop = end;
    char *last = stop > line && stop[-1] == '\r' ? stop - 1 : stop;
    const char kept = *last;
    *last = '\0';
    if (line[0] != '%' && !ends_here(line)) {
      b->fault = b->entries.n == wanted ? "more entries than the header says"
                                        : parse_entry(b->all->state, line, &b->entries);
      b->fault_line = number;
      b->fault_text = line;
      b->fault_end = last;
    }
    if (!b->fault)
      *last = kept;
    line = stop + 1;
  }
}

/* Called in the turn of the block: gives it its place and tells faults. */
static csrn_io_status place(block *b, int64_t *first) {
  reading *all = b->all;
  const int64_t left = all->state->nnz - all->entries->n;
  *first = all->entries->n;
  if (b->length < 0) {
    *all->error = b->error;
    return CSRN_IO_FAILED;
  }
  if (b->entries.n > left || (b->entries.n == left && b->fault)) {
    if (b->fault)
      *b->fault_end = '\n';
    parse_block(b, left);
  }
  if (b->fault)
    return csrn_io_fail(all->error, CSRN_IO_FAILED, "%s: line %" PRId64 " is \"%.80s\": %s", all->input->path,
                        b->fault_line, b->fault_text, b->fault);
  all->entries->n += b->entries.n;
  all->entries->fits_i32 &= b->entries.fits_i32;
  all->entries->fits_f32 &= b->entries.fits_f32;
  if (!csrn_io_proceed(all->progress, "reading", all->entries->n, all->state->nnz))
    return csrn_io_fail(all->error, CSRN_IO_FAILED, "interrupted");
  return CSRN_IO_OK;
}

/* Waits for the turn of the block; false if there is nothing more to do. */
static bool give(block *b) {
  reading *all = b->all;
  int64_t first = 0;
  pthread_mutex_lock(&all->order);
  while (all->turn < b->number && !all->status)
    pthread_cond_wait(&all->turned, &all->order);
  if (!all->status)
    all->status = place(b, &first);
  const bool done = !all->status;
  all->turn++;
  pthread_cond_broadcast(&all->turned);
  pthread_mutex_unlock(&all->order);
  if (!done || b->length == 0)
    return false;
  const size_t n = (size_t)b->entries.n;
  memcpy(all->entries->cells + first, b->entries.cells, n * sizeof *b->entries.cells);
  memcpy(all->entries->genes + first, b->entries.genes, n * sizeof *b->entries.genes);
  if (b->entries.values)
    memcpy(all->entries->values + first, b->entries.values, n * sizeof *b->entries.values);
  return true;
}

static void *work(void *arg) {
  block *b = arg;
  do {
    take(b);
    if (b->length > 0)
      parse_block(b, -1);
    else
      b->entries.n = 0;
  } while (give(b));
  return NULL;
}

/* ---- All ---------------------------------------------------------------------- */

static bool prepare(block *b, reading *all) {
  b->all = all;
  b->text = malloc(CSRN_TEXT_BLOCK + 1);
  return b->text && csrn_mtx_allocate(all->state, CSRN_TEXT_BLOCK / LINE_AT_LEAST + 1, &b->entries);
}

/* The calling thread is one of n, and if no others can be had does it alone. */
static csrn_io_status run(reading *all, block *blocks, int n) {
  pthread_t *threads = calloc((size_t)n, sizeof *threads);
  int started = 0, ready = 0;
  while (ready < n && prepare(&blocks[ready], all))
    ready++;
  const bool able = ready > 0 && threads; /* all->status belongs to the threads from here on */
  if (!able)
    all->status =
        csrn_io_fail(all->error, CSRN_IO_FAILED, "%s: out of memory for a block of text", all->input->path);
  for (; able && started + 1 < ready; started++)
    if (pthread_create(&threads[started], NULL, work, &blocks[started + 1]) != 0)
      break;
  if (able)
    work(&blocks[0]);
  for (int i = 0; i < started; i++)
    pthread_join(threads[i], NULL);
  free(threads);
  return all->status;
}

csrn_io_status csrn_mtx_read_entries(const csrn_io_input *input, int threads, mtx_entries *entries,
                                     const csrn_io_progress *progress, csrn_io_error *error) {
  const mtx_state *state = input->state;
  const int64_t useful = state->nnz / VALUES_A_THREAD + 1;
  const int wanted = useful < threads ? (int)useful : threads;
  const int n = csrn_mtx_affordable_threads(input, wanted);
  reading all = {.input = input,
                 .state = state,
                 .entries = entries,
                 .progress = progress,
                 .source = PTHREAD_MUTEX_INITIALIZER,
                 .order = PTHREAD_MUTEX_INITIALIZER,
                 .turned = PTHREAD_COND_INITIALIZER,
                 .error = error};
  block *blocks = calloc((size_t)n, sizeof *blocks);
  csrn_io_status status =
      blocks ? run(&all, blocks, n)
             : csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for a block of text", input->path);
  for (int i = 0; blocks && i < n; i++) {
    csrn_mtx_free(&blocks[i].entries);
    free(blocks[i].text);
  }
  free(blocks);
  if (!status && entries->n < state->nnz)
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: ends after %" PRId64 " entries; expected %" PRId64,
                          input->path, entries->n, state->nnz);
  return status;
}
