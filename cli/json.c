/* The writer of json.h. */
#include "json.h"
#include "io.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static void print_text(FILE *stream, const char *text) {
  fputc('"', stream);
  const char *valid = text + csrn_io_utf8_length(text); /* up to there */
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if ((const char *)c == valid) {
      fputs("\\ufffd", stream); /* for a byte that is no UTF-8, as JSON has to be */
      valid = (const char *)c + 1 + csrn_io_utf8_length((const char *)c + 1);
    } else if (*c == '"' || *c == '\\')
      fprintf(stream, "\\%c", *c);
    else if (*c < 0x20)
      fprintf(stream, "\\u%04x", *c);
    else
      fputc(*c, stream);
  }
  fputc('"', stream);
}

static void begin_member(cli_json *json, const char *name) {
  if (json->depth > 0)
    fprintf(json->stream, "%s\n%*s", json->first ? "" : ",", 2 * json->depth, "");
  json->first = false;
  if (name) {
    print_text(json->stream, name);
    fputs(": ", json->stream);
  }
}

void cli_json_open(cli_json *json, const char *name, char bracket) {
  begin_member(json, name);
  fputc(bracket, json->stream);
  json->depth++;
  json->first = true;
}

void cli_json_close(cli_json *json, char bracket) {
  json->depth--;
  if (!json->first)
    fprintf(json->stream, "\n%*s", 2 * json->depth, "");
  fputc(bracket, json->stream);
  json->first = false;
  if (json->depth == 0)
    fputc('\n', json->stream);
}

void cli_json_string(cli_json *json, const char *name, const char *value) {
  begin_member(json, name);
  if (value)
    print_text(json->stream, value);
  else
    fputs("null", json->stream);
}

void cli_json_integer(cli_json *json, const char *name, int64_t value) {
  begin_member(json, name);
  fprintf(json->stream, "%" PRId64, value);
}

void cli_json_real(cli_json *json, const char *name, double value) {
  char text[32];
  begin_member(json, name);
  fputs(isfinite(value) ? cli_format_real(value, text) : "null", json->stream);
}

void cli_json_bool(cli_json *json, const char *name, bool value) {
  begin_member(json, name);
  fputs(value ? "true" : "false", json->stream);
}

char *cli_format_real(double value, char text[32]) {
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, 32, "%.*g", digits, value);
    if (strtod(text, NULL) == value)
      break;
  }
  return text;
}
