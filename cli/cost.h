/*
 * What an operation on a matrix in host memory would take on the CPU and through a device, from
 * rates that were measured: what `--device auto` goes by. Pure arithmetic, so that it can be
 * followed by hand; choose.h measures.
 */
#ifndef CLI_COST_H
#define CLI_COST_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes per second, but for the last. */
typedef struct cli_rates {
  double up, down; /* of the link from and to pinned memory, each way alone */
  double both;     /* both ways at once, the two together */
  double copy;     /* between the program's memory and pinned memory, by all threads */
  double pin;      /* host memory pinned */
  double cpu;      /* values that the CPU takes through this very operation */
  double call;     /* seconds that a call through the device takes with next to nothing to do */
} cli_rates;

typedef struct cli_job {
  int64_t values;
  int64_t value_bytes, out_bytes; /* of one; out_bytes 0: no values come back */
  int64_t index_bytes;            /* of one; 0 where the columns do not matter */
  int passes, index_passes;       /* how often they travel if they do not stay on the device */
  int64_t room;                   /* bytes of the device's memory for values that stay */
} cli_job;

/* Seconds on the CPU: the values at its rate. */
double cli_cost_of_cpu(const cli_rates *rates, const cli_job *job);

/* Seconds through the device, whose kernels are faster than the link:
 *
 *   the call itself
 *   + pinning four chunks, as the library does at the first call
 *   + the slower of two that overlap:
 *       the link: one pass goes up and comes down at once; of several, those before the last only go
 *       up, and where the matrix stays on the device the last only comes down
 *       the CPU, copying what goes up and what comes down to and from pinned memory
 */
double cli_cost_of_device(const cli_rates *rates, const cli_job *job);

/* "up,down,both,copy,pin,cpu,call" as numbers; false if it is none. All are positive, but for the last, which
 * may be 0. */
bool cli_rates_parse(const char *text, cli_rates *rates);

#endif
