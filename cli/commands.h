/* The commands, one file each; main.c holds the table. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "options.h"

extern const cli_option cli_normalize_options[], cli_sums_options[], cli_scale_options[], cli_info_options[],
    cli_check_options[], cli_devices_options[], cli_simulate_options[], cli_bench_options[];

int cli_normalize(const cli_arguments *arguments);
int cli_sums(const cli_arguments *arguments);
int cli_scale(const cli_arguments *arguments);
int cli_info(const cli_arguments *arguments);
int cli_check(const cli_arguments *arguments);
int cli_devices(const cli_arguments *arguments);
int cli_simulate(const cli_arguments *arguments);
int cli_bench(int argc, char **argv);

#endif
