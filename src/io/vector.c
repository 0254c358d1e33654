/*
 * Vectors of numbers for `csrnorm sums -o` and `csrnorm scale --by`: text with a number a
 * line, or .npy.
 */
#include "npy.h"
#include "text_input.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- Reading ---------------------------------------------------------------- */

/* The numbers read so far; grows by half. */
typedef struct numbers {
  double *values;
  int64_t n, room;
} numbers;

static bool append(numbers *list, double value) {
  if (list->n == list->room) {
    int64_t room = list->room + list->room / 2 + 1024;
    double *grown = realloc(list->values, (size_t)room * sizeof *grown);
    if (!grown)
      return false;
    list->values = grown;
    list->room = room;
  }
  list->values[list->n++] = value;
  return true;
}

static csrn_io_status read_text(const char *path, numbers *list, csrn_io_error *error) {
  csrn_text *text = csrn_text_open(path, error);
  csrn_io_status status = text ? CSRN_IO_OK : CSRN_IO_FAILED;
  char *line, *end;
  int found = 0;
  while (!status && (found = csrn_text_line(text, &line, error)) == 1) {
    line += strspn(line, " \t");
    if (*line == '\0' || *line == '#')
      continue;
    errno = 0;
    double value = strtod(line, &end);
    if (end == line || end[strspn(end, " \t")] != '\0' || (errno == ERANGE && isinf(value)))
      status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: line %" PRId64 " is \"%.80s\"; expected a number",
                            path, csrn_text_line_number(text), line);
    else if (!append(list, value))
      status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory", path);
  }
  csrn_text_close(text);
  return found < 0 ? CSRN_IO_FAILED : status;
}

static double number_at(const csrn_npy *npy, const void *values, int64_t i) {
  switch (npy->type) {
  case CSRN_F32:
    return (double)((const float *)values)[i];
  case CSRN_F64:
    return ((const double *)values)[i];
  case CSRN_U8:
    return ((const uint8_t *)values)[i];
  case CSRN_U16:
    return ((const uint16_t *)values)[i];
  case CSRN_U32:
    return ((const uint32_t *)values)[i];
  case CSRN_U64:
    return (double)((const uint64_t *)values)[i];
  case CSRN_I32:
    return ((const int32_t *)values)[i];
  default:
    return (double)((const int64_t *)values)[i];
  }
}

static csrn_io_status fail_npy(const char *path, const char *what, csrn_io_error *error) {
  csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s", path, what);
  return CSRN_IO_FAILED;
}

static csrn_io_status read_npy(const char *path, FILE *file, numbers *list, csrn_io_error *error) {
  unsigned char header[CSRN_NPY_LONGEST];
  csrn_npy npy;
  struct stat status;
  const size_t n_bytes = fread(header, 1, sizeof header, file);
  if (ferror(file))
    return fail_npy(path, strerror(errno), error);
  if (!csrn_npy_parse(header, n_bytes, &npy) || npy.type == CSRN_NONE)
    return fail_npy(path, "is no one-dimensional .npy array of numbers", error);
  if (fstat(fileno(file), &status) != 0)
    return fail_npy(path, strerror(errno), error);
  const int64_t bytes = (int64_t)status.st_size - (int64_t)npy.data_offset;
  if (bytes / (int64_t)npy.size != npy.n || bytes % (int64_t)npy.size != 0)
    return fail_npy(path, "is shorter or longer than its header says", error);
  void *values = malloc((size_t)npy.n * sizeof(double) + 1);
  list->values = malloc((size_t)npy.n * sizeof(double) + 1);
  csrn_io_status code = CSRN_IO_OK;
  if (!values || !list->values)
    code = fail_npy(path, "out of memory", error);
  else if (fseeko(file, (off_t)npy.data_offset, SEEK_SET) != 0 ||
           fread(values, npy.size, (size_t)npy.n, file) != (size_t)npy.n)
    code = fail_npy(path, ferror(file) ? strerror(errno) : "cannot be read", error);
  else
    csrn_npy_convert(&npy, values);
  for (; !code && list->n < npy.n; list->n++)
    list->values[list->n] = number_at(&npy, values, list->n);
  free(values);
  return code;
}

csrn_io_status csrn_io_read_vector(const char *path, double **values, int64_t *n, csrn_io_error *error) {
  numbers list = {0};
  unsigned char magic[6] = {0};
  *values = NULL;
  *n = 0;
  csrn_io_status status = csrn_io_check_file(path, error);
  if (status)
    return status;
  FILE *file = fopen(path, "rbe");
  if (!file)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s", path, strerror(errno));
  bool is_npy = fread(magic, 1, 6, file) == 6 && memcmp(magic, "\x93NUMPY", 6) == 0;
  if (ferror(file)) {
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    fclose(file);
    return CSRN_IO_FAILED;
  }
  rewind(file);
  status = is_npy ? read_npy(path, file, &list, error) : read_text(path, &list, error);
  fclose(file);
  if (status) {
    free(list.values);
    list = (numbers){0};
  }
  *values = list.values;
  *n = list.n;
  return status;
}

/* ---- Writing ---------------------------------------------------------------- */

typedef struct vector {
  const csrn_io_output *output;
  const void *values;
  csrn_dtype type;
  int64_t n;
} vector;

static bool write_text(FILE *file, const vector *v) {
  bool done = true;
  for (int64_t i = 0; done && i < v->n; i++) {
    if (v->type == CSRN_F64)
      done = fprintf(file, "%.17g\n", ((const double *)v->values)[i]) > 0;
    else if (v->type == CSRN_I64)
      done = fprintf(file, "%" PRId64 "\n", ((const int64_t *)v->values)[i]) > 0;
    else
      done = fprintf(file, "%" PRIu64 "\n", ((const uint64_t *)v->values)[i]) > 0;
  }
  return done;
}

static bool write_npy(FILE *file, const vector *v) {
  char header[CSRN_NPY_HEADER];
  csrn_npy_header(v->type, v->n, header);
  return fwrite(header, 1, sizeof header, file) == sizeof header &&
         fwrite(v->values, 8, (size_t)v->n, file) == (size_t)v->n;
}

static csrn_io_status make_vector(void *arg, const char *path, csrn_io_error *error) {
  const vector *v = arg;
  const size_t length = strlen(v->output->path);
  const bool npy = length > 4 && strcasecmp(v->output->path + length - 4, ".npy") == 0;
  FILE *file = fopen(path, "wbe");
  bool done = file && (npy ? write_npy(file, v) : write_text(file, v));
  if (file && fclose(file) != 0)
    done = false;
  return done ? CSRN_IO_OK
              : csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", v->output->path,
                             strerror(errno));
}

csrn_io_status csrn_io_write_vector(const char *path, int force, const void *values, csrn_dtype type,
                                    int64_t n, csrn_io_error *error) {
  const csrn_io_output output = {.path = path, .force = force};
  vector v = {&output, values, type, n};
  return csrn_io_replace(&output, make_vector, &v, error);
}
