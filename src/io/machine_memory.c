/*
 * How much memory there is to do with. In a container the machine's is not what a process may
 * use: a limit of its control group, of version 2 or 1, or of one above it, ends it by
 * force; and a batch system may have set limits of the process itself.
 */
#include "io_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number in a file; INT64_MAX for "max", for none, and without the file. */
static int64_t read_limit(const char *path) {
  FILE *file = fopen(path, "re");
  long long value = 0;
  const int found = file ? fscanf(file, "%lld", &value) : 0;
  if (file)
    fclose(file);
  return found == 1 && value > 0 ? value : INT64_MAX;
}

/* The lowest limit from the group `path` upwards; `path` is cut short on the way. */
static int64_t lowest_limit(const char *root, const char *mount, char *path, const char *name) {
  char file[3 * PATH_MAX];
  int64_t lowest = INT64_MAX;
  for (;;) {
    snprintf(file, sizeof file, "%s/%s%s/%s", root, mount, path, name);
    const int64_t limit = read_limit(file);
    lowest = limit < lowest ? limit : lowest;
    char *slash = strrchr(path, '/');
    if (!slash)
      return lowest;
    *slash = '\0';
  }
}

/* A line of /proc/self/cgroup is "0::PATH" for version 2, "N:memory:PATH" for version 1. */
static int64_t limit_of_line(const char *root, char *line) {
  char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
  if (!path)
    return INT64_MAX;
  *path++ = '\0';
  path[strcspn(path, "\n")] = '\0';
  if (controllers[1] == '\0')
    return lowest_limit(root, "sys/fs/cgroup", path, "memory.max");
  if (strcmp(controllers + 1, "memory") == 0)
    return lowest_limit(root, "sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
  return INT64_MAX;
}

static int64_t limit_of_process(void) {
  const int kinds[] = {RLIMIT_AS, RLIMIT_DATA};
  int64_t lowest = INT64_MAX;
  struct rlimit limit;
  for (int i = 0; i < 2; i++)
    if (getrlimit(kinds[i], &limit) == 0 && limit.rlim_cur < (rlim_t)lowest)
      lowest = (int64_t)limit.rlim_cur;
  return lowest;
}

int64_t csrn_io_machine_memory(const char *root) {
  const long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
  int64_t memory = pages > 0 && bytes > 0 ? (int64_t)pages * bytes : (int64_t)1 << 32;
  const int64_t allowed = limit_of_process();
  memory = allowed < memory ? allowed : memory;
  char path[PATH_MAX], line[PATH_MAX];
  snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
  FILE *groups = fopen(path, "re");
  while (groups && fgets(line, sizeof line, groups)) {
    const int64_t limit = limit_of_line(root, line);
    memory = limit < memory ? limit : memory;
  }
  if (groups)
    fclose(groups);
  return memory;
}
