/*
 * Output files that appear whole or not at all: written under a temporary name in the
 * same directory, synced, and renamed. Whatever fails or interrupts before the rename
 * leaves what was under the output's name as it was.
 */
#include "io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* The temporary file in progress, for csrn_io_abandon(); "" for none. */
static char temporary[PATH_MAX];

static const struct {
  const char *suffix;
  csrn_io_format format;
  csrn_io_status (*write)(csrn_io_input *input, const csrn_io_matrix *matrix, const csrn_io_output *output,
                          const char *path, const csrn_io_progress *progress, csrn_io_error *error);
} writers[] = {
    {".h5ad", CSRN_IO_H5AD, csrn_io_write_h5ad},
    {".mtx", CSRN_IO_MTX, csrn_io_write_mtx},
    {".mtx.gz", CSRN_IO_MTX, csrn_io_write_mtx},
    {".npz", CSRN_IO_NPZ, csrn_io_write_npz},
};

/* The writer for a name, or -1. */
static int find_writer(const char *path) {
  size_t length = strlen(path);
  for (int i = 0; i < (int)(sizeof writers / sizeof writers[0]); i++) {
    size_t suffix = strlen(writers[i].suffix);
    if (length > suffix && strcasecmp(path + length - suffix, writers[i].suffix) == 0)
      return i;
  }
  return -1;
}

/* Where the result really goes: a symbolic link is followed, not replaced. */
static void resolve(const char *path, char target[PATH_MAX]) {
  if (!realpath(path, target))
    snprintf(target, PATH_MAX, "%s", path);
}

static void directory_of(const char *path, char directory[PATH_MAX]) {
  snprintf(directory, PATH_MAX, "%s", path);
  char *slash = strrchr(directory, '/');
  if (!slash)
    snprintf(directory, PATH_MAX, ".");
  else
    slash[slash == directory] = '\0';
}

static csrn_io_status check_place(const csrn_io_output *output, csrn_io_error *error) {
  char target[PATH_MAX], directory[PATH_MAX];
  struct stat status;
  if (strlen(output->path) > PATH_MAX - 32)
    return csrn_io_fail(error, CSRN_IO_USAGE, "the output's name is too long");
  resolve(output->path, target);
  directory_of(target, directory);
  if (stat(directory, &status) != 0 || access(directory, W_OK | X_OK) != 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot write into the directory %s: %s", output->path,
                        directory, strerror(errno));
  if (stat(target, &status) != 0)
    return CSRN_IO_OK;
  if (!S_ISREG(status.st_mode))
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: exists and is not a regular file", output->path);
  if (!output->force)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: exists already; --force replaces it", output->path);
  return CSRN_IO_OK;
}

csrn_io_status csrn_io_output_check(const csrn_io_input *input, const csrn_io_output *output,
                                    csrn_io_error *error) {
  int writer = find_writer(output->path);
  if (writer < 0)
    return csrn_io_fail(error, CSRN_IO_USAGE,
                        "%s: the name does not say a format; expected .h5ad, .mtx, .mtx.gz or .npz",
                        output->path);
  bool h5ad = writers[writer].format == CSRN_IO_H5AD;
  if (output->key_added && !h5ad)
    return csrn_io_fail(error, CSRN_IO_USAGE, "%s: only an .h5ad can hold the factors of --key-added",
                        output->path);
  if (output->layer && (!h5ad || !input || input->description.format != CSRN_IO_H5AD))
    return csrn_io_fail(error, CSRN_IO_USAGE, "%s: a layer is written only from .h5ad to .h5ad",
                        output->path);
  return check_place(output, error);
}

static csrn_io_status failed(csrn_io_error *error, const csrn_io_output *output) {
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", output->path, strerror(errno));
}

/* Creates the temporary file, with the mode that the result is to have. */
static csrn_io_status create_temporary(const csrn_io_output *output, const char *target,
                                       csrn_io_error *error) {
  char directory[PATH_MAX];
  struct stat old;
  directory_of(target, directory);
  const char *slash = strrchr(target, '/');
  char name[PATH_MAX];
  if (snprintf(name, sizeof name, "%s/.%.200s.XXXXXX", directory, slash ? slash + 1 : target) >= PATH_MAX) {
    errno = ENAMETOOLONG;
    return failed(error, output);
  }
  int file = mkstemp(name);
  if (file < 0)
    return failed(error, output);
  snprintf(temporary, sizeof temporary, "%s", name);
  mode_t mask = umask(0);
  umask(mask);
  mode_t mode = stat(target, &old) == 0 ? old.st_mode & 07777 : 0666 & ~mask;
  bool done = fchmod(file, mode) == 0;
  close(file);
  return done ? CSRN_IO_OK : failed(error, output);
}

static bool sync_path(const char *path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  bool done = file >= 0 && fsync(file) == 0;
  int reason = errno;
  if (file >= 0)
    close(file);
  errno = reason;
  return done;
}

/* The rename is the moment at which the result exists. */
static csrn_io_status publish(const csrn_io_output *output, const char *target, csrn_io_error *error) {
  char directory[PATH_MAX];
  if (!sync_path(temporary) || rename(temporary, target) != 0)
    return failed(error, output);
  temporary[0] = '\0';
  directory_of(target, directory);
  sync_path(directory); /* some file systems refuse; the result stands */
  return CSRN_IO_OK;
}

csrn_io_status csrn_io_replace(const csrn_io_output *output, csrn_io_make make, void *arg,
                               csrn_io_error *error) {
  char target[PATH_MAX];
  csrn_io_status status = check_place(output, error);
  if (status)
    return status;
  resolve(output->path, target);
  status = create_temporary(output, target, error);
  if (!status)
    status = make(arg, temporary, error);
  if (!status)
    status = publish(output, target, error);
  csrn_io_abandon();
  return status;
}

typedef struct matrix_file {
  csrn_io_input *input;
  const csrn_io_matrix *matrix;
  const csrn_io_output *output;
  const csrn_io_progress *progress;
} matrix_file;

static csrn_io_status make_matrix(void *arg, const char *path, csrn_io_error *error) {
  const matrix_file *file = arg;
  return writers[find_writer(file->output->path)].write(file->input, file->matrix, file->output, path,
                                                        file->progress, error);
}

csrn_io_status csrn_io_write(csrn_io_input *input, const csrn_io_matrix *matrix, const csrn_io_output *output,
                             const csrn_io_progress *progress, csrn_io_error *error) {
  matrix_file file = {input, matrix, output, progress};
  csrn_io_status status = csrn_io_output_check(input, output, error);
  return status ? status : csrn_io_replace(output, make_matrix, &file, error);
}

void csrn_io_abandon(void) {
  if (temporary[0])
    unlink(temporary);
  temporary[0] = '\0';
}
