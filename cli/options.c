/*
 * Parsing by the tables of options.h, on getopt_long(), and the messages about what the
 * user typed.
 */
#define _GNU_SOURCE /* getopt_long() */

#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_message(const cli_arguments *arguments, const char *format, va_list values) {
  fprintf(stderr, "csrnorm %s: ", arguments->command->name);
  vfprintf(stderr, format, values);
  fputc('\n', stderr);
}

int cli_usage(const cli_arguments *arguments, const char *format, ...) {
  va_list values;
  va_start(values, format);
  print_message(arguments, format, values);
  va_end(values);
  fprintf(stderr, "See 'csrnorm %s --help'.\n", arguments->command->name);
  return CLI_USAGE;
}

int cli_fail(const cli_arguments *arguments, const char *format, ...) {
  va_list values;
  va_start(values, format);
  print_message(arguments, format, values);
  va_end(values);
  return CLI_FAILED;
}

static int count_options(const cli_command *command) {
  int n = 0;
  while (command->options[n].name)
    n++;
  return n;
}

/* getopt's tables: the value of a long option is its position + 256, clear of letters. */
static void make_tables(const cli_command *command, struct option *longs, char *shorts) {
  int n = count_options(command);
  *shorts++ = ':'; /* tells a missing argument from an unknown option */
  for (int i = 0; i < n; i++) {
    const cli_option *option = &command->options[i];
    longs[i] =
        (struct option){option->name, option->argument ? required_argument : no_argument, NULL, 256 + i};
    if (option->letter) {
      *shorts++ = option->letter;
      if (option->argument)
        *shorts++ = ':';
    }
  }
  longs[n] = (struct option){NULL, 0, NULL, 0};
  *shorts = '\0';
}

static int position_of(const cli_command *command, int found) {
  if (found >= 256)
    return found - 256;
  for (int i = 0; command->options[i].name; i++)
    if (command->options[i].letter == found)
      return i;
  return -1;
}

/* The option that getopt did not know: a letter, which may stand between others, or the word just passed; or
 * one that takes no value and was given one. */
static int refuse_unknown(const cli_arguments *arguments, char **argv) {
  if (optopt > 0 && optopt < 256)
    return cli_usage(arguments, "unknown option -%c", optopt);
  if (optopt >= 256)
    return cli_usage(arguments, "option --%s takes no value", arguments->command->options[optopt - 256].name);
  return cli_usage(arguments, "unknown option %s", argv[optind - 1]);
}

int cli_parse(const cli_command *command, int argc, char **argv, cli_arguments *arguments, bool *help) {
  struct option longs[CLI_MAX_OPTIONS + 1];
  char shorts[2 * CLI_MAX_OPTIONS + 2];
  make_tables(command, longs, shorts);
  memset(arguments, 0, sizeof *arguments);
  arguments->command = command;
  *help = false;
  opterr = 0;
  optind = 1;
  for (int found; (found = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
    if (found == ':')
      return cli_usage(arguments, "option %s needs a value", argv[optind - 1]);
    int position = found == '?' ? -1 : position_of(command, found);
    if (position < 0)
      return refuse_unknown(arguments, argv);
    arguments->values[position] = optarg ? optarg : "";
    *help |= strcmp(command->options[position].name, "help") == 0;
  }
  if (*help)
    return CLI_OK;
  int n = argc - optind, expected = command->operand ? 1 : 0;
  if (n > expected)
    return cli_usage(arguments, "unexpected argument \"%s\"", argv[optind + expected]);
  if (n < expected)
    return cli_usage(arguments, "%s is missing", command->operand);
  arguments->operand = expected ? argv[optind] : NULL;
  return CLI_OK;
}

void cli_print_help(const cli_command *command) {
  printf("Usage: csrnorm %s%s%s [OPTION]...\n\n%s\n\n", command->name, command->operand ? " " : "",
         command->operand ? command->operand : "", command->summary);
  for (const cli_option *option = command->options; option->name; option++) {
    char text[64];
    int n = option->letter ? snprintf(text, sizeof text, "-%c, ", option->letter) : 0;
    snprintf(text + n, sizeof text - (size_t)n, "--%s%s%s", option->name, option->argument ? " " : "",
             option->argument ? option->argument : "");
    printf("  %-28s %s\n", text, option->help);
  }
}

const char *cli_value(const cli_arguments *arguments, const char *name) {
  const cli_option *options = arguments->command->options;
  for (int i = 0; options[i].name; i++)
    if (strcmp(options[i].name, name) == 0)
      return arguments->values[i];
  return NULL;
}

bool cli_flag(const cli_arguments *arguments, const char *name) {
  return cli_value(arguments, name) != NULL;
}

bool cli_integer(const cli_arguments *arguments, const char *name, int64_t lowest, int64_t highest,
                 int64_t *value) {
  const char *text = cli_value(arguments, name);
  if (!text)
    return true;
  char *end;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  if (end == text || *end || errno || number < lowest || number > highest) {
    cli_usage(arguments, "--%s is \"%s\"; expected a whole number from %lld to %lld", name, text,
              (long long)lowest, (long long)highest);
    return false;
  }
  *value = number;
  return true;
}

bool cli_real(const cli_arguments *arguments, const char *name, double *value) {
  const char *text = cli_value(arguments, name);
  if (!text)
    return true;
  char *end;
  double number = strtod(text, &end);
  if (end == text || *end) {
    cli_usage(arguments, "--%s is \"%s\"; expected a number", name, text);
    return false;
  }
  *value = number;
  return true;
}

bool cli_bytes(const cli_arguments *arguments, const char *name, int64_t *value) {
  static const char suffixes[] = "KMGT";
  const char *text = cli_value(arguments, name);
  if (!text)
    return true;
  char *end;
  double number = strtod(text, &end);
  const char *suffix = isalpha((unsigned char)*end) ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
  double bytes = suffix ? ldexp(number, 10 * (int)(suffix - suffixes + 1)) : number;
  if (end == text || (suffix ? end[1] : *end) || !(bytes >= 1) || bytes > 0x1p62) {
    cli_usage(arguments, "--%s is \"%s\"; expected bytes such as 500M or 2G", name, text);
    return false;
  }
  *value = (int64_t)bytes;
  return true;
}

bool cli_choice(const cli_arguments *arguments, const char *name, const char *const *words, int *value) {
  const char *text = cli_value(arguments, name);
  char list[128] = "";
  if (!text)
    return true;
  for (int i = 0; words[i]; i++) {
    if (strcmp(text, words[i]) == 0) {
      *value = i;
      return true;
    }
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", words[i]);
  }
  cli_usage(arguments, "--%s is \"%s\"; expected one of: %s", name, text, list);
  return false;
}
