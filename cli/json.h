/*
 * JSON objects on stdout, one member at a time: enough for reports of a few dozen values.
 * Numbers read back to the same bits; what is not finite is null, as JSON has it.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct cli_json {
  FILE *stream;
  int depth;
  bool first; /* of its object or array */
} cli_json;

/* `name` NULL: the outermost object, or an element of an array. */
void cli_json_open(cli_json *json, const char *name, char bracket); /* '{' or '[' */
void cli_json_close(cli_json *json, char bracket);                  /* '}' or ']' */
void cli_json_string(cli_json *json, const char *name, const char *value);
void cli_json_integer(cli_json *json, const char *name, int64_t value);
void cli_json_real(cli_json *json, const char *name, double value);
void cli_json_bool(cli_json *json, const char *name, bool value);

/* The shortest decimals that read back as `value`; returns `text`. */
char *cli_format_real(double value, char text[32]);

#endif
