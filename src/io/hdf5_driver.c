/*
 * Between libhdf5 and the system: a file driver that reads and writes as libhdf5's own does, and
 * remembers what the system refused.
 *
 * libhdf5 1.10 does not get over a write that fails: H5Ocopy() crashes, and H5Fclose() leaves a file
 * open that it can neither write nor drop. So it never learns of one: from the first that fails on, what it
 * writes is dropped, and whoever asks for the file to be written looks at the fault before the file is
 * taken for one. Of a read that fails it does learn, unless it is of elements, but often takes an object that
 * it could not read for one that is not there, and here is what tells the two apart.
 *
 * Bytes of chunks it can be asked only to find or to make room for: they are then read and written without
 * the lock that libhdf5 needs.
 *
 * Files that another names (by external links, by virtual datasets) are never opened, so that none but the
 * input is read, and none but the output written: libhdf5 opens them like the file that names them, where it
 * would write into what an external link of the output leads to.
 */
#define _GNU_SOURCE
#include "hdf5_util.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

/* An open file; its first member is what libhdf5 knows of it. */
typedef struct csrn_hdf5_driven {
  H5FD_t base;
  int descriptor;
  csrn_hdf5_fault *fault;      /* the caller's; outlives the file */
  haddr_t allocated, end;      /* addresses behind what libhdf5 uses, and behind the file */
  atomic_uint_least64_t begun; /* behind what is on its way to the disk */
} csrn_hdf5_driven;

/* What the access properties carry; libhdf5 makes copies of it. */
typedef struct driver_info {
  csrn_hdf5_fault *fault;
} driver_info;

static herr_t note(csrn_hdf5_fault *fault, int number) {
  int none = 0;
  atomic_compare_exchange_strong(&fault->number, &none, number);
  return -1;
}

/* ---- Opening and closing ------------------------------------------------------ */

static int open_descriptor(const char *name, unsigned flags) {
  const int how = flags & H5F_ACC_RDWR ? O_RDWR : O_RDONLY;
  return open(name,
              O_CLOEXEC | how | (flags & H5F_ACC_TRUNC ? O_TRUNC : 0) | (flags & H5F_ACC_CREAT ? O_CREAT : 0),
              0666);
}

/* Properties that libhdf5 copies from an open file, to open another, lack the driver's information, since the
 * driver does not say how to get it from the file (`fapl_get`). */
static H5FD_t *open_file(const char *name, unsigned flags, hid_t access, haddr_t largest) {
  const driver_info *info = H5Pget_driver_info(access);
  struct stat status;
  (void)largest;
  csrn_hdf5_driven *file = info ? calloc(1, sizeof *file) : NULL;
  if (!file)
    return NULL;
  file->fault = info->fault;
  file->descriptor = open_descriptor(name, flags);
  if (file->descriptor < 0 || fstat(file->descriptor, &status) != 0) {
    note(file->fault, errno);
    if (file->descriptor >= 0)
      close(file->descriptor);
    free(file);
    return NULL;
  }
  file->end = (haddr_t)status.st_size;
  return &file->base;
}

/* Some file systems tell of a failed write only here. */
static herr_t close_file(H5FD_t *base) {
  csrn_hdf5_driven *file = (csrn_hdf5_driven *)(void *)base;
  if (close(file->descriptor) != 0)
    note(file->fault, errno);
  free(file);
  return 0;
}

/* What sec2, the usual driver, says of itself, so that files are laid out as by that. */
static herr_t query(const H5FD_t *base, unsigned long *flags) {
  (void)base;
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
           H5FD_FEAT_AGGREGATE_SMALLDATA;
#ifdef H5FD_FEAT_DEFAULT_VFD_COMPATIBLE
  *flags |= H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
#endif
  return 0;
}

/* Not to read what another process is writing, as far as the file system knows locks. An output has a name
 * that nobody else uses. */
static herr_t lock(H5FD_t *base, hbool_t writes) {
  const csrn_hdf5_driven *file = (const csrn_hdf5_driven *)(const void *)base;
  if (writes || flock(file->descriptor, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
    return 0;
  return note(file->fault, EBUSY);
}

static herr_t unlock(H5FD_t *base) {
  const csrn_hdf5_driven *file = (const csrn_hdf5_driven *)(const void *)base;
  flock(file->descriptor, LOCK_UN);
  return 0;
}

/* ---- Sizes -------------------------------------------------------------------- */

static haddr_t get_allocated(const H5FD_t *base, H5FD_mem_t type) {
  (void)type;
  return ((const csrn_hdf5_driven *)(const void *)base)->allocated;
}

static herr_t set_allocated(H5FD_t *base, H5FD_mem_t type, haddr_t address) {
  (void)type;
  ((csrn_hdf5_driven *)(void *)base)->allocated = address;
  return 0;
}

static haddr_t get_end(const H5FD_t *base, H5FD_mem_t type) {
  (void)type;
  return ((const csrn_hdf5_driven *)(const void *)base)->end;
}

static herr_t cut(H5FD_t *base, hid_t transfer, hbool_t closing) {
  csrn_hdf5_driven *file = (csrn_hdf5_driven *)(void *)base;
  (void)transfer;
  (void)closing;
  if (file->end != file->allocated && !file->fault->number &&
      ftruncate(file->descriptor, (off_t)file->allocated) != 0)
    note(file->fault, errno);
  file->end = file->allocated;
  return 0;
}

/* ---- Bytes -------------------------------------------------------------------- */

/* What lies behind the end of the file reads as zeros. A read that fails is tried once more, since an error
 * of a network may pass. */
static bool get(const csrn_hdf5_driven *file, haddr_t address, size_t size, char *to) {
  for (int failed = 0; size > 0;) {
    const ssize_t n = pread(file->descriptor, to, size, (off_t)address);
    const bool given_up = n < 0 && errno != EINTR && failed++ > 0;
    if (given_up)
      note(file->fault, errno);
    if (given_up || n == 0) {
      memset(to, 0, size);
      return !given_up;
    }
    to += n > 0 ? n : 0;
    address += n > 0 ? (haddr_t)n : 0;
    size -= n > 0 ? (size_t)n : 0;
  }
  return true;
}

/* What is written goes to the disk while the rest is computed; else the end would have to wait for all of it.
 * Whole blocks only, since what lies behind is still to be written. */
static void begin_syncing(csrn_hdf5_driven *file, haddr_t end) {
  enum { AT_LEAST = 8 << 20, BLOCK = 1 << 20 };
  uint64_t begun = file->begun;
  end -= end % BLOCK;
  if (end >= begun + AT_LEAST && atomic_compare_exchange_strong(&file->begun, &begun, end))
    sync_file_range(file->descriptor, (off_t)begun, (off_t)(end - begun), SYNC_FILE_RANGE_WRITE);
}

static void put(csrn_hdf5_driven *file, haddr_t address, size_t size, const char *from) {
  while (size > 0 && !file->fault->number) {
    const ssize_t n = pwrite(file->descriptor, from, size, (off_t)address);
    if (n < 0 && errno != EINTR)
      note(file->fault, errno);
    from += n > 0 ? n : 0;
    address += n > 0 ? (haddr_t)n : 0;
    size -= n > 0 ? (size_t)n : 0;
  }
  begin_syncing(file, address);
}

/* Bytes that this thread has said it would read or write itself; no span: none. */
static _Thread_local struct {
  const void *bytes;
  size_t size;
  csrn_hdf5_span *span;
} postponed;

/* Says so, for the next call of libhdf5. */
static void postpone(const void *bytes, size_t size, csrn_hdf5_span *span) {
  *span = (csrn_hdf5_span){NULL, 0};
  postponed.bytes = bytes;
  postponed.size = size;
  postponed.span = span;
}

static bool is_postponed(H5FD_mem_t type, const void *bytes) {
  return postponed.span && type == H5FD_MEM_DRAW && postponed.bytes == bytes;
}

/* Whether an access is that; then it is not to be made here. */
static bool postpones(csrn_hdf5_driven *file, H5FD_mem_t type, haddr_t address, size_t size,
                      const void *bytes) {
  if (!is_postponed(type, bytes) || postponed.size != size)
    return false;
  *postponed.span = (csrn_hdf5_span){file, address};
  postponed.span = NULL;
  return true;
}

/* What csrn_hdf5_failed() then has to say. */
static herr_t refuse_size(size_t size) {
  H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_IO, H5E_READERROR,
           "a chunk has %zu bytes instead of %zu", size, postponed.size);
  return -1;
}

/* Elements that cannot be read are zeros, and the fault tells: libhdf5 1.10 crashes where it copies them and
 * fails. But of a chunk no more bytes are read than there is room for, and no fewer. */
static herr_t read_bytes(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size,
                         void *buffer) {
  csrn_hdf5_driven *file = (csrn_hdf5_driven *)(void *)base;
  (void)transfer;
  if (postpones(file, type, address, size, buffer))
    return 0;
  if (is_postponed(type, buffer))
    return refuse_size(size);
  if (get(file, address, size, buffer))
    return 0;
  return type == H5FD_MEM_DRAW ? 0 : -1;
}

static herr_t write_bytes(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size,
                          const void *buffer) {
  csrn_hdf5_driven *file = (csrn_hdf5_driven *)(void *)base;
  (void)transfer;
  if (address + size > file->end)
    file->end = address + size;
  if (!postpones(file, type, address, size, buffer))
    put(file, address, size, buffer);
  return 0;
}

/* ---- Spans -------------------------------------------------------------------- */

herr_t csrn_hdf5_find_chunk(hid_t dataset, const hsize_t *offset, size_t size, uint32_t *mask, void *to,
                            csrn_hdf5_span *span) {
  postpone(to, size, span);
  herr_t result = H5Dread_chunk(dataset, H5P_DEFAULT, offset, mask, to);
  if (result >= 0 && postponed.span) /* libhdf5 has not asked for any bytes */
    result = refuse_size(0);
  postponed.span = NULL;
  return result;
}

herr_t csrn_hdf5_place_chunk(hid_t dataset, const hsize_t *offset, size_t size, uint32_t mask,
                             const void *from, csrn_hdf5_span *span) {
  postpone(from, size, span);
  const herr_t result = H5Dwrite_chunk(dataset, H5P_DEFAULT, mask, offset, size, from);
  postponed.span = NULL;
  return result;
}

void csrn_hdf5_read_span(const csrn_hdf5_span *span, size_t size, void *to) {
  get(span->file, span->address, size, to);
}

void csrn_hdf5_write_span(const csrn_hdf5_span *span, size_t size, const void *from) {
  put(span->file, span->address, size, from);
}

/* ---- The driver ---------------------------------------------------------------- */

enum { PRIVATE_VALUE = 511 }; /* of those that libhdf5 leaves to programs for their own use */

static const H5FD_class_t driver_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)PRIVATE_VALUE,
#endif
    .name = "csrnorm",
    .maxaddr = ((haddr_t)1 << (8 * sizeof(off_t) - 1)) - 1,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(driver_info),
    .open = open_file,
    .close = close_file,
    .query = query,
    .get_eoa = get_allocated,
    .set_eoa = set_allocated,
    .get_eof = get_end,
    .read = read_bytes,
    .write = write_bytes,
    .truncate = cut,
    .lock = lock,
    .unlock = unlock,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

static hid_t driver;

static void register_driver(void) {
  driver = H5FDregister(&driver_class);
}

/* Properties with which a file is opened through the driver; negative on failure. */
static hid_t access_of(csrn_hdf5_fault *fault) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  const driver_info info = {fault};
  pthread_once(&once, register_driver);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (access >= 0 && driver >= 0 && H5Pset_driver(access, driver, &info) >= 0 &&
      H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0)
    return access;
  csrn_hdf5_close(access);
  return -1;
}

hid_t csrn_hdf5_open_file(const char *path, csrn_hdf5_fault *fault) {
  hid_t access = access_of(fault);
  if (access < 0)
    return -1;
#if H5_VERSION_GE(1, 10, 7)
  /* File systems without locks are no reason to refuse a file that is only read. */
  H5Pset_file_locking(access, 1, 1);
#endif
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access);
  csrn_hdf5_close(access);
  return file;
}

hid_t csrn_hdf5_create_file(const char *path, hid_t properties, csrn_hdf5_fault *fault) {
  hid_t access = access_of(fault);
  hid_t file = access < 0 ? -1 : H5Fcreate(path, H5F_ACC_TRUNC, properties, access);
  csrn_hdf5_close(access);
  return file;
}

csrn_io_status csrn_hdf5_settle(const csrn_hdf5_file *file, csrn_io_status status) {
  if (csrn_hdf5_is_sound(file))
    return status;
  return csrn_io_fail(file->error, CSRN_IO_FAILED, "%s: cannot be %s: %s", file->path,
                      file->fault->writes ? "written" : "read", strerror(file->fault->number));
}
