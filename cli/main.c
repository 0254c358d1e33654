/*
 * The command line `csrnorm`: a table of commands, each in a file of its own.
 */
#include "commands.h"
#include "io.h"

#include <stdio.h>
#include <string.h>

static const cli_command commands[] = {
    {"normalize", "INPUT", "Scales every cell of a count matrix to the same total.", cli_normalize_options,
     cli_normalize, NULL},
    {"sums", "INPUT", "Prints the sums of the rows or columns of a matrix.", cli_sums_options, cli_sums,
     NULL},
    {"scale", "INPUT", "Multiplies or divides rows or columns by numbers from a file.", cli_scale_options,
     cli_scale, NULL},
    {"info", "INPUT", "Says what a file holds, from its metadata.", cli_info_options, cli_info, NULL},
    {"check", "INPUT", "Checks the structure and the values of a matrix.", cli_check_options, cli_check,
     NULL},
    {"devices", NULL, "Lists the devices that can compute.", cli_devices_options, cli_devices, NULL},
    {"simulate", NULL, "Makes realistic counts.", cli_simulate_options, cli_simulate, NULL},
    {"bench", NULL, "Measures every operation against the roofline of this machine.", NULL, NULL, cli_bench},
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *stream) {
  fprintf(stream,
          "Usage: csrnorm COMMAND [ARGUMENT]...\n\n"
          "Normalization of sparse count matrices: .h5ad, 10x .h5, MatrixMarket and .npz.\n\nCommands:\n");
  for (int i = 0; i < N_COMMANDS; i++)
    fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
  fprintf(stream, "\n'csrnorm COMMAND --help' tells more; 'csrnorm --version' names the libraries.\n");
}

static int run_command(const cli_command *command, int argc, char **argv) {
  cli_arguments arguments;
  bool help;
  if (command->run_raw)
    return command->run_raw(argc, argv);
  int code = cli_parse(command, argc, argv, &arguments, &help);
  if (code)
    return code;
  if (help) {
    cli_print_help(command);
    return CLI_OK;
  }
  return command->run(&arguments);
}

/* A full disk or a closed pipe behind stdout is a failure, not a success. */
static int flush(int code) {
  if (fflush(stdout) == 0 && !ferror(stdout))
    return code;
  fprintf(stderr, "csrnorm: the result cannot be written to standard output\n");
  return code ? code : CLI_FAILED;
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "";
  if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
    printf("%s\n%s\n", csrn_build_info(), csrn_io_libraries());
    return flush(CLI_OK);
  }
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
    print_usage(stdout);
    return flush(CLI_OK);
  }
  for (int i = 0; i < N_COMMANDS; i++)
    if (strcmp(name, commands[i].name) == 0)
      return flush(run_command(&commands[i], argc - 1, argv + 1));
  if (*name)
    fprintf(stderr, "csrnorm: unknown command \"%s\"\n", name);
  print_usage(stderr);
  return CLI_USAGE;
}
