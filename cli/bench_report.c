/*
 * The schema of `csrnorm bench`: one list of fields for the environment and one for a
 * result, from which all four formats are written. A number that there is none of (the
 * time of a wrong result) is null in JSON and empty elsewhere.
 */
#include "bench.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef enum field_kind { FIELD_TEXT, FIELD_CHARS, FIELD_COUNT, FIELD_REAL } field_kind;

typedef struct field {
  const char *key;
  field_kind kind; /* const char *, char[], int64_t, double */
  size_t offset;
  const char *heading; /* in tables for people; NULL: not in those */
  int decimals;        /* there */
} field;

#define ENVIRONMENT(kind, member)                                                                            \
  { #member, kind, offsetof(bench_environment, member), #member, 4 }
static const field environment_fields[] = {
    ENVIRONMENT(FIELD_CHARS, date),         ENVIRONMENT(FIELD_CHARS, build),
    ENVIRONMENT(FIELD_CHARS, compiler),     ENVIRONMENT(FIELD_CHARS, cpu),
    ENVIRONMENT(FIELD_CHARS, devices),      ENVIRONMENT(FIELD_CHARS, device_wins),
    ENVIRONMENT(FIELD_COUNT, processors),   ENVIRONMENT(FIELD_COUNT, cache_bytes),
    ENVIRONMENT(FIELD_COUNT, memory_bytes), ENVIRONMENT(FIELD_TEXT, matrix),
    ENVIRONMENT(FIELD_TEXT, data_type),     ENVIRONMENT(FIELD_TEXT, indices_type),
    ENVIRONMENT(FIELD_TEXT, indptr_type),   ENVIRONMENT(FIELD_COUNT, n_rows),
    ENVIRONMENT(FIELD_COUNT, n_cols),       ENVIRONMENT(FIELD_COUNT, nnz),
    ENVIRONMENT(FIELD_COUNT, row_min),      ENVIRONMENT(FIELD_COUNT, row_median),
    ENVIRONMENT(FIELD_COUNT, row_max),      ENVIRONMENT(FIELD_REAL, small_fraction),
    ENVIRONMENT(FIELD_REAL, max_fraction),  ENVIRONMENT(FIELD_COUNT, n_excluded),
    ENVIRONMENT(FIELD_COUNT, repetitions),  ENVIRONMENT(FIELD_REAL, min_time),
    ENVIRONMENT(FIELD_COUNT, seed),         ENVIRONMENT(FIELD_REAL, load_average),
};

#define RESULT(kind, member, heading, decimals)                                                              \
  { #member, kind, offsetof(bench_result, member), heading, decimals }
static const field result_fields[] = {
    RESULT(FIELD_TEXT, operation, "operation", 0),
    RESULT(FIELD_TEXT, axis, NULL, 0),
    RESULT(FIELD_TEXT, device, "device", 0),
    RESULT(FIELD_CHARS, isa, "isa", 0),
    RESULT(FIELD_COUNT, threads, "threads", 0),
    RESULT(FIELD_COUNT, values, NULL, 0),
    RESULT(FIELD_REAL, bytes_per_value, "B/value", 0),
    RESULT(FIELD_REAL, bytes, NULL, 0),
    RESULT(FIELD_COUNT, samples, NULL, 0),
    RESULT(FIELD_REAL, min_ms, "min ms", 3),
    RESULT(FIELD_REAL, median_ms, "median ms", 3),
    RESULT(FIELD_REAL, gb_per_s, "GB/s", 2),
    RESULT(FIELD_REAL, billion_values_per_s, "10^9 values/s", 3),
    RESULT(FIELD_REAL, fraction, "fraction", 3),
    RESULT(FIELD_REAL, paired, "paired", 3),
    RESULT(FIELD_TEXT, reference, "of", 0),
    RESULT(FIELD_TEXT, check, "result", 0),
    RESULT(FIELD_CHARS, detail, NULL, 0),
};

enum {
  N_ENVIRONMENT = sizeof environment_fields / sizeof *environment_fields,
  N_RESULT = sizeof result_fields / sizeof *result_fields,
  CELL = 640 /* bytes of one formatted field */
};

/* ---- One field ----------------------------------------------------------- */

static const char *text_of(const field *f, const void *record) {
  const char *at = (const char *)record + f->offset;
  if (f->kind == FIELD_CHARS)
    return at;
  const char *text;
  memcpy(&text, at, sizeof text);
  return text ? text : "";
}

static bool is_text(const field *f) {
  return f->kind == FIELD_TEXT || f->kind == FIELD_CHARS;
}

/* decimals < 0: as many digits as read back to the same number. */
static const char *format_field(const field *f, const void *record, int decimals, char cell[CELL]) {
  const char *at = (const char *)record + f->offset;
  if (is_text(f)) {
    snprintf(cell, CELL, "%s", text_of(f, record));
  } else if (f->kind == FIELD_COUNT) {
    int64_t x;
    memcpy(&x, at, sizeof x);
    snprintf(cell, CELL, "%" PRId64, x);
  } else {
    double x;
    memcpy(&x, at, sizeof x);
    if (!isfinite(x))
      cell[0] = 0;
    else if (decimals < 0)
      snprintf(cell, CELL, "%.17g", x);
    else
      snprintf(cell, CELL, "%.*f", decimals, x);
  }
  return cell;
}

/* ---- Formats ------------------------------------------------------------- */

static void write_json_text(FILE *stream, const char *text) {
  fputc('"', stream);
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c == '"' || *c == '\\')
      fprintf(stream, "\\%c", *c);
    else if (*c < 0x20)
      fprintf(stream, "\\u%04x", *c);
    else
      fputc(*c, stream);
  }
  fputc('"', stream);
}

static void write_json_object(FILE *stream, const field *fields, int n, const void *record,
                              const char *indent) {
  char cell[CELL];
  fputc('{', stream);
  for (int k = 0; k < n; k++) {
    fprintf(stream, "%s\n%s  \"%s\": ", k ? "," : "", indent, fields[k].key);
    if (is_text(&fields[k]))
      write_json_text(stream, text_of(&fields[k], record));
    else
      fputs(*format_field(&fields[k], record, -1, cell) ? cell : "null", stream);
  }
  fprintf(stream, "\n%s}", indent);
}

static void write_json(FILE *stream, const bench_environment *environment, const bench_result *results,
                       int n) {
  fputs("{\n  \"environment\": ", stream);
  write_json_object(stream, environment_fields, N_ENVIRONMENT, environment, "  ");
  fputs(",\n  \"results\": [", stream);
  for (int r = 0; r < n; r++) {
    fputs(r ? ", " : "", stream);
    write_json_object(stream, result_fields, N_RESULT, &results[r], "  ");
  }
  fputs("]\n}\n", stream);
}

static void write_csv_text(FILE *stream, const char *text) {
  if (!strpbrk(text, ",\"\r\n")) {
    fputs(text, stream);
    return;
  }
  fputc('"', stream);
  for (; *text; text++)
    fprintf(stream, *text == '"' ? "\"\"" : "%c", *text);
  fputc('"', stream);
}

static void write_csv_fields(FILE *stream, const field *fields, int n, const void *record, const char *end) {
  char cell[CELL];
  for (int k = 0; k < n; k++) {
    write_csv_text(stream, record ? format_field(&fields[k], record, -1, cell) : fields[k].key);
    fputs(k + 1 < n ? "," : end, stream);
  }
}

/* A row of CSV is complete by itself: the environment is repeated in each. */
static void write_csv(FILE *stream, const bench_environment *environment, const bench_result *results,
                      int n) {
  write_csv_fields(stream, result_fields, N_RESULT, NULL, ",");
  write_csv_fields(stream, environment_fields, N_ENVIRONMENT, NULL, "\n");
  for (int r = 0; r < n; r++) {
    write_csv_fields(stream, result_fields, N_RESULT, &results[r], ",");
    write_csv_fields(stream, environment_fields, N_ENVIRONMENT, environment, "\n");
  }
}

static void measure_widths(const bench_result *results, int n, int *widths) {
  char cell[CELL];
  for (int k = 0; k < N_RESULT; k++) {
    const field *f = &result_fields[k];
    widths[k] = f->heading ? (int)strlen(f->heading) : 0;
    for (int r = 0; f->heading && r < n; r++) {
      int width = (int)strlen(format_field(f, &results[r], f->decimals, cell));
      widths[k] = width > widths[k] ? width : widths[k];
    }
  }
}

/* Text to the left, numbers to the right; Markdown is the same with bars. */
static void write_line(FILE *stream, const bench_result *result, const int *widths, bool bars) {
  char cell[CELL];
  for (int k = 0; k < N_RESULT; k++) {
    const field *f = &result_fields[k];
    if (!f->heading)
      continue;
    const char *text = result ? format_field(f, result, f->decimals, cell) : f->heading;
    fprintf(stream, "%s%*s", bars ? "| " : k ? "  " : "", is_text(f) ? -widths[k] : widths[k], text);
    fputs(bars ? " " : "", stream);
  }
  fputs(bars ? "|\n" : "\n", stream);
}

static void write_rule(FILE *stream, const int *widths) {
  for (int k = 0; k < N_RESULT; k++) {
    if (!result_fields[k].heading)
      continue;
    fputs("| ", stream);
    for (int c = 0; c < widths[k] - 1; c++)
      fputc('-', stream);
    fputs(is_text(&result_fields[k]) ? "- " : ": ", stream);
  }
  fputs("|\n", stream);
}

static void write_table(FILE *stream, bool markdown, const bench_environment *environment,
                        const bench_result *results, int n) {
  char cell[CELL];
  int widths[N_RESULT];
  for (int k = 0; k < N_ENVIRONMENT; k++) {
    const field *f = &environment_fields[k];
    fprintf(stream, markdown ? "- %s: %s\n" : "%s: %s\n", f->key,
            format_field(f, environment, f->decimals, cell));
  }
  fputc('\n', stream);
  measure_widths(results, n, widths);
  write_line(stream, NULL, widths, markdown);
  if (markdown)
    write_rule(stream, widths);
  for (int r = 0; r < n; r++)
    write_line(stream, &results[r], widths, markdown);
}

void bench_report(FILE *stream, bench_format format, const bench_environment *environment,
                  const bench_result *results, int n) {
  if (format == BENCH_JSON)
    write_json(stream, environment, results, n);
  else if (format == BENCH_CSV)
    write_csv(stream, environment, results, n);
  else
    write_table(stream, format == BENCH_MARKDOWN, environment, results, n);
}
