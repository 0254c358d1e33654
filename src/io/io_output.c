/*
 * Output files that appear whole or not at all: written under a temporary name in the
 * same directory, synced, and renamed. Whatever fails or interrupts before the rename
 * leaves what was under the output's name as it was.
 */
#define _GNU_SOURCE /* renameat2() */

#include "io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The temporary file in progress, for csrn_io_abandon(): whether there is one, and its name. */
static volatile sig_atomic_t has_temporary;
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

int csrn_io_output_format(const char *path) {
  const int writer = path ? find_writer(path) : -1;
  return writer < 0 ? -1 : (int)writers[writer].format;
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

static csrn_io_status check_directory(const csrn_io_output *output, const char *target,
                                      csrn_io_error *error) {
  char directory[PATH_MAX];
  struct stat status;
  directory_of(target, directory);
  bool found = stat(directory, &status) == 0;
  if (found && !S_ISDIR(status.st_mode)) {
    errno = ENOTDIR;
    found = false;
  }
  if (found && faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0)
    return CSRN_IO_OK;
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot write into the directory %s: %s", output->path,
                      directory, strerror(errno));
}

static csrn_io_status exists(const csrn_io_output *output, csrn_io_error *error) {
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: exists already; --force replaces it", output->path);
}

static csrn_io_status check_place(const csrn_io_output *output, csrn_io_error *error) {
  char target[PATH_MAX];
  struct stat status;
  if (strlen(output->path) > PATH_MAX - 1)
    return csrn_io_fail(error, CSRN_IO_USAGE, "the output's name is too long");
  resolve(output->path, target);
  csrn_io_status code = check_directory(output, target, error);
  if (code || lstat(target, &status) != 0)
    return code;
  if (S_ISLNK(status.st_mode))
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: is a symbolic link to a file that does not exist",
                        output->path);
  if (!S_ISREG(status.st_mode))
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: exists and is not a regular file", output->path);
  return output->force ? CSRN_IO_OK : exists(output, error);
}

csrn_io_status csrn_io_vector_check(const char *path, int force, csrn_io_error *error) {
  const csrn_io_output output = {.path = path, .force = force};
  return check_place(&output, error);
}

/* Of obs: anndata has others for itself. */
static bool is_column_name(const char *key) {
  return *key && !strchr(key, '/') && strcmp(key, ".") != 0 && strcmp(key, "_index") != 0 &&
         strcmp(key, "__categories") != 0 && csrn_io_is_utf8(key);
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
  if (output->key_added && !is_column_name(output->key_added))
    return csrn_io_fail(error, CSRN_IO_USAGE,
                        "%s: the name of the column for the factors is empty, \".\", _index or __categories, "
                        "has a / or is not UTF-8",
                        output->path);
  const int is_gzip = !strcmp(writers[writer].suffix, ".mtx.gz");
  if (writers[writer].format == CSRN_IO_MTX && output->compression != CSRN_IO_COMPRESSION_KEEP &&
      (output->compression == CSRN_IO_COMPRESSION_GZIP) != is_gzip)
    return csrn_io_fail(error, CSRN_IO_USAGE, "%s: the name says that it is %scompressed, --compression not",
                        output->path, is_gzip ? "" : "un");
  if (output->layer && (!h5ad || !input || input->description.format != CSRN_IO_H5AD))
    return csrn_io_fail(error, CSRN_IO_USAGE, "%s: a layer is written only from .h5ad to .h5ad",
                        output->path);
  return check_place(output, error);
}

static csrn_io_status failed(csrn_io_error *error, const csrn_io_output *output) {
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", output->path, strerror(errno));
}

/* A name in the target's directory, hidden, that nothing else has; false if it is too long. */
static bool choose_name(const char *target, char name[PATH_MAX]) {
  char directory[PATH_MAX];
  uint64_t random;
  struct timespec now;
  directory_of(target, directory);
  const char *slash = strrchr(target, '/');
  if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) {
    clock_gettime(CLOCK_REALTIME, &now);
    random = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec ^ (uint64_t)getpid() << 20;
  }
  return snprintf(name, PATH_MAX, "%s/.%.200s.%016" PRIx64 ".tmp", directory, slash ? slash + 1 : target,
                  random) < PATH_MAX;
}

/* Creates the temporary file; csrn_io_abandon() knows its name before there is a file. What replaces a file
 * gets its mode only when it is complete, since that may forbid writing. */
static csrn_io_status create_temporary(const csrn_io_output *output, const char *target,
                                       csrn_io_error *error) {
  const mode_t mode = access(target, F_OK) == 0 ? 0600 : 0666;
  int file = -1;
  for (int tries = 0; file < 0 && tries < 16; tries++) {
    if (!choose_name(target, temporary)) {
      errno = ENAMETOOLONG;
      return failed(error, output);
    }
    has_temporary = 1;
    file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    has_temporary = file >= 0;
    if (file < 0 && errno != EEXIST)
      break;
  }
  if (file < 0)
    return failed(error, output);
  close(file);
  return CSRN_IO_OK;
}

static bool sync_path(const char *path, const struct stat *like) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  bool done = file >= 0 && (!like || fchmod(file, like->st_mode & 07777) == 0) && fsync(file) == 0;
  int reason = errno;
  if (file >= 0)
    close(file);
  errno = reason;
  return done;
}

/* rename(), but what has come under the new name meanwhile stays: errno is EEXIST then. Some file systems can
 * do this only with a second link to the file. */
static int rename_to_new(const char *from, const char *to) {
#ifdef RENAME_NOREPLACE
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -1;
#endif
  if (link(from, to) == 0) {
    unlink(from);
    return 0;
  }
  if (errno == EEXIST)
    return -1;
  if (access(to, F_OK) != 0)
    return rename(from, to); /* the best that such a file system has */
  errno = EEXIST;
  return -1;
}

/* The rename is the moment at which the result exists. */
static csrn_io_status publish(const csrn_io_output *output, const char *target, csrn_io_error *error) {
  char directory[PATH_MAX];
  struct stat old;
  const bool replaces = output->force && stat(target, &old) == 0;
  if (!sync_path(temporary, replaces ? &old : NULL))
    return failed(error, output);
  if ((output->force ? rename : rename_to_new)(temporary, target) != 0)
    return !output->force && errno == EEXIST ? exists(output, error) : failed(error, output);
  has_temporary = 0;
  directory_of(target, directory);
  sync_path(directory, NULL); /* some file systems refuse; the result stands */
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
  if (has_temporary)
    unlink(temporary);
  has_temporary = 0;
}
