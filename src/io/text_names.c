/*
 * The names of cells and genes that lie in text files beside a MatrixMarket file. They are looked at when
 * that is opened, and read once more by a writer that has a place for them, a piece at a time: of millions of
 * cells they would take more memory than the matrix.
 */
#include "mtx_internal.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Pieces ------------------------------------------------------------------- */

struct csrn_names {
  const csrn_io_table *table;
  csrn_text *text;
  int64_t row; /* rows so far */
  char **columns[CSRN_NAMES_COLUMNS];
  char *buffer; /* the lines of a piece, cut into their fields */
};

enum { ROOM = 2 * (CSRN_TEXT_BLOCK + 1) }; /* of the buffer; a line has at most half of it */

csrn_names *csrn_names_open(const csrn_io_table *table, csrn_io_error *error) {
  csrn_names *names = calloc(1, sizeof *names);
  bool done = names && (names->buffer = malloc(ROOM));
  for (int c = 0; c < table->n_columns && done; c++)
    done = (names->columns[c] = malloc(CSRN_NAMES_AT_ONCE * sizeof(char *))) != NULL;
  if (!done)
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for the names", table->path);
  else if ((names->text = csrn_text_open(table->path, error))) {
    names->table = table;
    return names;
  }
  csrn_names_close(names);
  return NULL;
}

void csrn_names_close(csrn_names *names) {
  if (!names)
    return;
  csrn_text_close(names->text);
  for (int c = 0; c < CSRN_NAMES_COLUMNS; c++)
    free(names->columns[c]);
  free(names->buffer);
  free(names);
}

char *const *csrn_names_column(const csrn_names *names, int column) {
  return names->columns[column];
}

/* Cuts a line into the fields of row `at` of the piece. */
static bool split_line(csrn_names *names, char *line, int64_t at, csrn_io_error *error) {
  const csrn_io_table *table = names->table;
  if (!csrn_io_is_utf8(line))
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: line %" PRId64 " is not UTF-8", table->path,
                        names->row + 1) == CSRN_IO_OK;
  for (int c = 0; c < table->n_columns; c++) {
    if (!line)
      return csrn_io_fail(error, CSRN_IO_FAILED,
                          "%s: line %" PRId64 " has fewer columns than the first: %d, expected %d",
                          table->path, names->row + 1, c, table->n_columns) == CSRN_IO_OK;
    char *tab = strchr(line, '\t');
    if (tab)
      *tab = '\0';
    names->columns[table->order[c]][at] = line;
    line = tab ? tab + 1 : NULL;
  }
  return true;
}

/* The mark with which some editors begin a file in UTF-8 is no part of the first name. */
static const char *without_mark(const char *line) {
  return strncmp(line, "\xef\xbb\xbf", 3) == 0 ? line + 3 : line;
}

static int64_t refuse_length(const csrn_names *names, int64_t n, csrn_io_error *error) {
  const int64_t expected = names->table->n_rows;
  csrn_io_fail(error, CSRN_IO_FAILED, "%s: has %s%" PRId64 " lines; expected %" PRId64, names->table->path,
               n > expected ? "more than " : "", n > expected ? expected : n, expected);
  return -1;
}

int64_t csrn_names_next(csrn_names *names, csrn_io_error *error) {
  char *line;
  size_t used = 0;
  int64_t n = 0;
  while (n < CSRN_NAMES_AT_ONCE && used <= ROOM / 2) {
    const int found = csrn_text_line(names->text, &line, error);
    if (found < 0)
      return -1;
    if (found == 0)
      return n == 0 && names->row != names->table->n_rows ? refuse_length(names, names->row, error) : n;
    if (names->row == names->table->n_rows)
      return refuse_length(names, names->row + 1, error);
    const char *begin = names->row == 0 ? without_mark(line) : line;
    const size_t size = strlen(begin) + 1;
    memcpy(names->buffer + used, begin, size);
    if (!split_line(names, names->buffer + used, n, error))
      return -1;
    used += size;
    names->row++;
    n++;
  }
  return n;
}

/* ---- Files -------------------------------------------------------------------- */

/* The length of a name without .gz and then without its last extension. */
static size_t length_of_stem(const char *base) {
  size_t length = strlen(base);
  if (length > 3 && strcmp(base + length - 3, ".gz") == 0)
    length -= 3;
  for (size_t i = length; i > 1; i--)
    if (base[i - 1] == '.')
      return i - 1;
  return length;
}

/* "PREFIXmatrix.mtx.gz" has "PREFIXbarcodes.tsv.gz" beside it, any other "NAME.mtx" has
 * "NAME_barcodes.tsv". Finds the file `name`, with or without .gz. */
static bool find_beside(const char *path, const char *name, char *found, size_t size) {
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
  const char *stem = strstr(base, "matrix.mtx");
  size_t length = stem ? (size_t)(stem - path) : (size_t)(base - path) + length_of_stem(base);
  for (int gz = 1; gz >= 0; gz--) {
    int n = snprintf(found, size, "%.*s%s%s%s", (int)length, path, stem ? "" : "_", name, gz ? ".gz" : "");
    if (n > 0 && (size_t)n < size && access(found, F_OK) == 0)
      return true;
  }
  return false;
}

/* How many columns the first line of a file has, at most 3; -1 with the error stored. */
static int count_columns(const char *path, csrn_io_error *error) {
  csrn_text *text = csrn_text_open(path, error);
  char *line;
  int found = text ? csrn_text_line(text, &line, error) : -1, n = 1;
  for (; found == 1 && *line; line++)
    n += *line == '\t';
  csrn_text_close(text);
  return found < 0 ? -1 : n < 3 ? n : 3;
}

/* Takes note of a file of n names in up to three tab-separated columns, once it has been looked through;
 * `order[c]` is where column c of the file goes, of three. */
static csrn_io_status note_names(const char *path, int64_t n, int n_columns, const int *order,
                                 csrn_io_table *table, csrn_io_error *error) {
  table->n_columns = n_columns;
  table->n_rows = n;
  table->path = strdup(path);
  memcpy(table->order, order, sizeof table->order);
  if (!table->path)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for the names", path);
  csrn_names *names = csrn_names_open(table, error);
  int64_t found = names ? 1 : -1;
  while (found > 0)
    found = csrn_names_next(names, error);
  csrn_names_close(names);
  return found < 0 ? CSRN_IO_FAILED : CSRN_IO_OK;
}

csrn_io_status csrn_mtx_find_names(csrn_io_input *input, csrn_io_error *error) {
  static const int plain[3] = {0, 1, 2}, id_first[3] = {1, 0, 2};
  const csrn_io_description *d = &input->description;
  char path[PATH_MAX];
  csrn_io_status status = CSRN_IO_OK;
  input->cells.names[0] = input->genes.names[0] = "index";
  input->genes.names[1] = "gene_ids";
  input->genes.names[2] = "feature_types";
  if (find_beside(input->path, "barcodes.tsv", path, sizeof path))
    status = note_names(path, d->n_cells, 1, plain, &input->cells, error);
  if (!status && (find_beside(input->path, "features.tsv", path, sizeof path) ||
                  find_beside(input->path, "genes.tsv", path, sizeof path))) {
    const int n_columns = count_columns(path, error);
    status = n_columns < 0 ? CSRN_IO_FAILED
                           : note_names(path, d->n_genes, n_columns, n_columns > 1 ? id_first : plain,
                                        &input->genes, error);
  }
  return status;
}
