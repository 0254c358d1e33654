/*
 * The command line as data: every command is an entry with a table of its options, from
 * which parsing, --help and the tests of man page and completions are made.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 }; /* exit codes */
enum { CLI_MAX_OPTIONS = 32, CLI_MAX_OPERANDS = 1 };

typedef struct cli_option {
  const char *name;     /* without the dashes; NULL ends a table */
  char letter;          /* 0: none */
  const char *argument; /* its name in --help; NULL: a flag */
  const char *help;
} cli_option;

typedef struct cli_arguments cli_arguments;

typedef struct cli_command {
  const char *name;
  const char *operand; /* "INPUT" or NULL */
  const char *summary;
  const cli_option *options;
  int (*run)(const cli_arguments *arguments);
  int (*run_raw)(int argc, char **argv); /* instead: parses for itself */
} cli_command;

struct cli_arguments {
  const cli_command *command;
  const char *operand;
  const char *values[CLI_MAX_OPTIONS]; /* by position in the table; "" for a flag that is set */
};

/* Options that every command that computes has. */
#define CLI_OPTIONS_COMPUTE                                                                                  \
  {"device", 0, "DEVICE", "where to compute: auto (default), cpu, cuda or cuda:N"}, {                        \
    "threads", 0, "N", "CPU threads (default: all that OpenMP grants)"                                       \
  }
#define CLI_OPTION_MEMORY                                                                                    \
  { "memory", 0, "SIZE", "memory to do with (default: a quarter of the machine's); K, M, G, T as suffix" }
#define CLI_OPTIONS_SELECT                                                                                   \
  {"layer", 0, "NAME", "layer of an .h5ad instead of X; raw: raw/X, where no layer has that name"},          \
      {"genome", 0, "NAME", "genome of a 10x file"},                                                         \
      {"feature-types", 0, "TYPE",                                                                           \
       "features of a 10x file: \"Gene Expression\" (default), another, or all"},                            \
  {                                                                                                          \
    "cells", 0, "AXIS", "where the cells are: rows or columns (default: as the format has it)"               \
  }
#define CLI_OPTIONS_REPORT                                                                                   \
  {"json", 0, NULL, "print the result as JSON"}, {"quiet", 'q', NULL, "print no summary and no progress"}, { \
    "no-progress", 0, NULL, "show no progress bar"                                                           \
  }
#define CLI_OPTIONS_END                                                                                      \
  {"help", 'h', NULL, "show this help"}, {                                                                   \
    NULL, 0, NULL, NULL                                                                                      \
  }

/* Parses argv[1..]; CLI_OK, or CLI_USAGE with the message printed. *help: was asked for. */
int cli_parse(const cli_command *command, int argc, char **argv, cli_arguments *arguments, bool *help);
void cli_print_help(const cli_command *command);

/* The value of an option, NULL if not given. The name must be in the table. */
const char *cli_value(const cli_arguments *arguments, const char *name);
bool cli_flag(const cli_arguments *arguments, const char *name);

/* Each leaves *value as it is where the option is not given; false with the message
 * printed for a bad value. */
bool cli_integer(const cli_arguments *arguments, const char *name, int64_t lowest, int64_t highest,
                 int64_t *value);
bool cli_real(const cli_arguments *arguments, const char *name, double *value);
/* Bytes with an optional suffix K, M, G or T (powers of 1024). */
bool cli_bytes(const cli_arguments *arguments, const char *name, int64_t *value);
/* The position of the value in a NULL-terminated list of words. */
bool cli_choice(const cli_arguments *arguments, const char *name, const char *const *words, int *value);

/* Prints "csrnorm COMMAND: sentence" and where to find help; returns CLI_USAGE. */
int cli_usage(const cli_arguments *arguments, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints "csrnorm COMMAND: sentence"; returns CLI_FAILED. */
int cli_fail(const cli_arguments *arguments, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
