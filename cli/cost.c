/* See cost.h. */
#include "cost.h"

#include <math.h>
#include <stdlib.h>

double cli_cost_of_cpu(const cli_rates *rates, const cli_job *job) {
  return (double)job->values * (double)job->value_bytes / rates->cpu;
}

/* Up and down at once: neither faster than alone. */
static double at_once(const cli_rates *rates, double up, double down) {
  return fmax((up + down) / rates->both, fmax(up / rates->up, down / rates->down));
}

/* Four chunks of a sixteenth of the values, but of 65,536 values at least and 32 MiB of each array at most.
 */
static double pinned_bytes(const cli_job *job) {
  double widest = fmax((double)job->value_bytes, fmax((double)job->out_bytes, (double)job->index_bytes));
  double values = fmin(fmax((double)job->values / 16, 65536), 0x1p25 / widest);
  double bytes = (double)(job->value_bytes + job->index_bytes);
  if (job->out_bytes != job->value_bytes)
    bytes += (double)job->out_bytes;
  return 4 * values * bytes;
}

double cli_cost_of_device(const cli_rates *rates, const cli_job *job) {
  double n = (double)job->values, value = (double)job->value_bytes, index = (double)job->index_bytes;
  double down = n * (double)job->out_bytes, once = n * (value + index);
  double all = n * (value * job->passes + index * job->index_passes);
  double up = all, link;
  if (job->passes == 1) {
    link = at_once(rates, all, down);
  } else if (once <= (double)job->room) {
    up = once;
    link = once / rates->up + down / rates->down;
  } else { /* the values of the last pass go up beside those that come down */
    link = (all - n * value) / rates->up + at_once(rates, n * value, down);
  }
  return rates->call + pinned_bytes(job) / rates->pin + fmax(link, (up + down) / rates->copy);
}

bool cli_rates_parse(const char *text, cli_rates *rates) {
  double numbers[7];
  for (int k = 0; k < 7; k++) {
    char *end;
    numbers[k] = strtod(text, &end);
    if (end == text || *end != (k < 6 ? ',' : '\0') || !isfinite(numbers[k]) ||
        !(k < 6 ? numbers[k] > 0 : numbers[k] >= 0))
      return false;
    text = end + 1;
  }
  *rates = (cli_rates){numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]};
  return true;
}
