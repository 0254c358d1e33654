/* See faults.h. What a program defines itself its shared libraries call, too, so that libhdf5, libzip and
 * zlib are reached without their knowledge; the system is called by number. */
#define _GNU_SOURCE
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
  char directory[256]; /* "": no plan */
  fault_kind kind;
  int left;   /* calls before the one that fails; below 0: that was it */
  int number; /* 0: of no call, but of a place */
  long room, spoilt, spoilt_end;
  bool happened;
} plan;

void faults_fail(const char *directory, fault_kind kind, int at, int number) {
  plan.kind = kind;
  plan.left = at;
  plan.number = number;
  plan.happened = false;
  snprintf(plan.directory, sizeof plan.directory, "%s", directory);
}

static void plan_place(const char *path, long room, long spoilt, long spoilt_end) {
  plan.number = 0;
  plan.room = room;
  plan.spoilt = spoilt;
  plan.spoilt_end = spoilt_end;
  plan.happened = false;
  snprintf(plan.directory, sizeof plan.directory, "%s", path);
}

void faults_fill(const char *directory, long room) {
  plan_place(directory, room, 0, 0);
}

void faults_spoil(const char *path, long offset, long length) {
  plan_place(path, LONG_MAX, offset, offset + length);
}

bool faults_end(void) {
  plan.directory[0] = '\0';
  return plan.happened;
}

/* ---- Decisions ----------------------------------------------------------------- */

static bool is_meant(const char *path) {
  return plan.directory[0] && strncmp(path, plan.directory, strlen(plan.directory)) == 0;
}

static bool is_file_meant(int file) {
  char name[64], path[512];
  if (!plan.directory[0])
    return false;
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  const ssize_t n = readlink(name, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = '\0';
  return is_meant(path);
}

/* Whether this call of a file or path that is meant fails; errno is set. Threads may race for a number. */
static bool fails(fault_kind kind) {
  if (plan.number == 0 || plan.kind != kind || __atomic_fetch_sub(&plan.left, 1, __ATOMIC_RELAXED) != 0)
    return false;
  plan.happened = true;
  errno = plan.number;
  return true;
}

/* The same for what never works. */
static bool refuses(fault_kind kind) {
  if (plan.number == 0 || plan.kind != kind)
    return false;
  plan.happened = true;
  errno = plan.number;
  return true;
}

/* How much of a write at `offset` the disk has room for; -1: none of it. */
static ssize_t room_for(size_t n, long offset) {
  if (plan.number != 0 || (long)n <= plan.room - offset)
    return (ssize_t)n;
  plan.happened = true;
  errno = ENOSPC;
  return offset < plan.room ? plan.room - offset : -1;
}

/* Whether bytes [offset, offset + n) cannot be read, at this call or ever. */
static bool is_spoilt(size_t n, long offset) {
  if (plan.number != 0)
    return fails(FAULT_READ);
  if (offset >= plan.spoilt_end || offset + (long)n <= plan.spoilt)
    return false;
  plan.happened = true;
  errno = EIO;
  return true;
}

static ssize_t read_file(int file, void *to, size_t n) {
  if (is_file_meant(file) && is_spoilt(n, syscall(SYS_lseek, file, 0, SEEK_CUR)))
    return -1;
  return syscall(SYS_read, file, to, n);
}

static ssize_t read_file_at(int file, void *to, size_t n, off_t offset) {
  return is_file_meant(file) && is_spoilt(n, offset) ? -1 : syscall(SYS_pread64, file, to, n, offset);
}

static ssize_t write_file(int file, const void *from, size_t n) {
  const bool meant = is_file_meant(file);
  if (meant && fails(FAULT_WRITE))
    return -1;
  const ssize_t fits = meant ? room_for(n, syscall(SYS_lseek, file, 0, SEEK_CUR)) : (ssize_t)n;
  return fits < 0 ? -1 : syscall(SYS_write, file, from, fits);
}

static ssize_t write_file_at(int file, const void *from, size_t n, off_t offset) {
  const bool meant = is_file_meant(file);
  if (meant && fails(FAULT_WRITE))
    return -1;
  const ssize_t fits = meant ? room_for(n, offset) : (ssize_t)n;
  return fits < 0 ? -1 : syscall(SYS_pwrite64, file, from, fits, offset);
}

/* ---- The C library's names -------------------------------------------------------- */

#pragma GCC visibility push(default) /* or shared libraries would not see them */

ssize_t read(int file, void *to, size_t n) {
  return read_file(file, to, n);
}

ssize_t pread(int file, void *to, size_t n, off_t offset) {
  return read_file_at(file, to, n, offset);
}

ssize_t pread64(int file, void *to, size_t n, off64_t offset) {
  return read_file_at(file, to, n, offset);
}

ssize_t write(int file, const void *from, size_t n) {
  return write_file(file, from, n);
}

ssize_t pwrite(int file, const void *from, size_t n, off_t offset) {
  return write_file_at(file, from, n, offset);
}

ssize_t pwrite64(int file, const void *from, size_t n, off64_t offset) {
  return write_file_at(file, from, n, offset);
}

int ftruncate(int file, off_t length) {
  return is_file_meant(file) && fails(FAULT_WRITE) ? -1 : (int)syscall(SYS_ftruncate, file, length);
}

int ftruncate64(int file, off64_t length) {
  return ftruncate(file, length);
}

/* Where a plan is in force, nothing depends on what a test's files are after a crash. */
int fsync(int file) {
  if (is_file_meant(file))
    return fails(FAULT_SYNC) ? -1 : 0;
  return (int)syscall(SYS_fsync, file);
}

int rename(const char *from, const char *to) {
  return is_meant(to) && fails(FAULT_RENAME) ? -1 : (int)syscall(SYS_rename, from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  if (is_meant(to) && (fails(FAULT_RENAME) || refuses(FAULT_NOREPLACE) || refuses(FAULT_LINK)))
    return -1;
  return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}

int link(const char *from, const char *to) {
  return is_meant(to) && refuses(FAULT_LINK) ? -1 : (int)syscall(SYS_link, from, to);
}

#pragma GCC visibility pop

/* ---- stdio, which calls the system by itself ------------------------------------- */

/* Open streams of files that are meant, by their descriptors. */
enum { STREAMS = 8 };
static struct stream {
  FILE *stream; /* NULL: free */
  int file;
} streams[STREAMS];

static ssize_t read_stream(void *cookie, char *to, size_t n) {
  return read_file(((struct stream *)cookie)->file, to, n);
}

/* What a cookie's function returns for an error is 0. */
static ssize_t write_stream(void *cookie, const char *from, size_t n) {
  const ssize_t written = write_file(((struct stream *)cookie)->file, from, n);
  return written < 0 ? 0 : written;
}

static int seek_stream(void *cookie, off64_t *offset, int whence) {
  const long to = syscall(SYS_lseek, ((struct stream *)cookie)->file, *offset, whence);
  *offset = to;
  return to < 0 ? -1 : 0;
}

static int close_stream(void *cookie) {
  struct stream *stream = cookie;
  stream->stream = NULL;
  return close(stream->file);
}

typedef FILE *(*opening)(const char *path, const char *mode);
typedef FILE *(*wrapping)(int file, const char *mode);
typedef int (*numbering)(FILE *stream);

/* The C library's function of that name goes to *function. */
static void find_real(const char *name, void *function, size_t size) {
  void *found = dlsym(RTLD_NEXT, name);
  memcpy(function, &found, size);
}

/* NULL if there are too many. */
static FILE *make_stream(int file, const char *mode) {
  const cookie_io_functions_t functions = {read_stream, write_stream, seek_stream, close_stream};
  for (int i = 0; i < STREAMS; i++)
    if (!streams[i].stream) {
      streams[i].file = file;
      return streams[i].stream = fopencookie(&streams[i], mode, functions);
    }
  return NULL;
}

static FILE *open_stream(const char *path, const char *mode) {
  opening function;
  find_real("fopen", &function, sizeof function);
  FILE *real = function(path, mode);
  if (!real || !is_meant(path))
    return real;
  const int file = dup(fileno(real));
  fclose(real);
  return make_stream(file, mode);
}

#pragma GCC visibility push(default)
FILE *fopen(const char *path, const char *mode) {
  return open_stream(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
  return open_stream(path, mode);
}

FILE *fdopen(int file, const char *mode) {
  wrapping function;
  if (is_file_meant(file))
    return make_stream(file, mode);
  find_real("fdopen", &function, sizeof function);
  return function(file, mode);
}

int fileno(FILE *stream) {
  numbering function;
  for (int i = 0; i < STREAMS; i++)
    if (streams[i].stream && streams[i].stream == stream)
      return streams[i].file;
  find_real("fileno", &function, sizeof function);
  return function(stream);
}
#pragma GCC visibility pop
