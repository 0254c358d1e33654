/*
 * The common ground of everything that calls libhdf5: starting it silently, turning its
 * error stack into one sentence, and reading texts and small integers, of which h5py,
 * PyTables and 10x write several kinds each.
 */
#include "hdf5_util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- The library ---- */

void csrn_hdf5_begin(void) {
  /* It would close what is open, and print, at exit. */
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  if (H5Zfilter_avail(CSRN_HDF5_LZF) <= 0)
    csrn_hdf5_register_lzf();
  H5Eclear2(H5E_DEFAULT);
}

int csrn_hdf5_is_hdf5(const unsigned char magic[8]) {
  return !memcmp(magic, "\x89HDF\r\n\x1a\n", 8);
}

void csrn_hdf5_close(hid_t id) {
  if (id < 0)
    return;
  /* Closing must not hide the error that led to it. */
  hid_t stack = H5Eget_current_stack();
  H5Idec_ref(id);
  H5Eset_current_stack(stack);
}

/* ---- Errors ---- */

static csrn_io_status refuse(const csrn_hdf5_file *file, csrn_io_status status, const char *format,
                             va_list arguments) {
  char text[sizeof file->error->text];
  vsnprintf(text, sizeof text, format, arguments);
  return csrn_io_fail(file->error, status, "%s: %s", file->path, text);
}

csrn_io_status csrn_hdf5_refuse(const csrn_hdf5_file *file, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  csrn_io_status status = refuse(file, CSRN_IO_FAILED, format, arguments);
  va_end(arguments);
  return status;
}

csrn_io_status csrn_hdf5_no_memory(const csrn_hdf5_file *file, const char *object, uint64_t bytes) {
  return csrn_hdf5_refuse(file, "out of memory: %s needs %llu bytes", object, (unsigned long long)bytes);
}

/* Keeps the first entry, which is the innermost. */
static herr_t keep_innermost(unsigned n, const H5E_error2_t *entry, void *user) {
  const size_t room = 256;
  char *text = user;
  if (n == 0 && entry->desc)
    snprintf(text, room, "%s", entry->desc);
  return 0;
}

csrn_io_status csrn_hdf5_failed(const csrn_hdf5_file *file, const char *action, const char *object) {
  char text[256] = "";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, text);
  H5Eclear2(H5E_DEFAULT);
  /* Faults of the system come as "..., errno = 28, error message = '...', buf = 0x..., ...". */
  const char *system_fault = strstr(text, "errno = ");
  if (system_fault) {
    int number = (int)strtol(system_fault + strlen("errno = "), NULL, 10);
    snprintf(text, sizeof text, "%s", strerror(number));
  }
  return csrn_hdf5_refuse(file, "cannot %s %s: %s", action, object,
                          text[0] ? text : "libhdf5 gives no reason");
}

/* ---- Objects ---- */

char *csrn_hdf5_format(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = n < 0 ? NULL : malloc((size_t)n + 1);
  if (text) {
    va_start(arguments, format);
    vsnprintf(text, (size_t)n + 1, format, arguments);
    va_end(arguments);
  }
  return text;
}

/* Follows links; an object that cannot be opened is unreadable. */
static csrn_hdf5_kind kind_of_object(hid_t location, const char *path) {
  hid_t object = H5Oopen(location, path, H5P_DEFAULT);
  if (object < 0)
    return CSRN_HDF5_UNREADABLE;
  H5I_type_t type = H5Iget_type(object);
  csrn_hdf5_close(object);
  return type == H5I_GROUP ? CSRN_HDF5_GROUP : type == H5I_DATASET ? CSRN_HDF5_DATASET : CSRN_HDF5_OTHER;
}

/* The kind of the last part of a path, whose parts before are groups. */
static csrn_hdf5_kind kind_of_part(hid_t location, const char *path) {
  H5L_info_t link;
  csrn_hdf5_kind kind = path[0] ? kind_of_object(location, path) : CSRN_HDF5_GROUP;
  if (kind != CSRN_HDF5_UNREADABLE)
    return kind;
  if (H5Lexists(location, path, H5P_DEFAULT) == 0)
    return CSRN_HDF5_MISSING;
  const int external = H5Lget_info(location, path, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_EXTERNAL;
  return external ? CSRN_HDF5_DANGLING : kind;
}

/* Cuts a path behind the first part that is no group, and returns the kind of that. */
static csrn_hdf5_kind cut_path(hid_t location, char *path) {
  csrn_hdf5_kind kind = CSRN_HDF5_GROUP;
  for (size_t n = 0; kind == CSRN_HDF5_GROUP;) {
    n += strcspn(path + n, "/");
    const char kept = path[n];
    path[n] = '\0';
    kind = kind_of_part(location, path);
    if (!kept)
      break;
    if (kind == CSRN_HDF5_GROUP)
      path[n++] = kept;
    else if (kind > CSRN_HDF5_GROUP) /* nothing can be in it */
      kind = CSRN_HDF5_MISSING;
  }
  return kind;
}

/* Where a soft link leads to, as a path from the same location; NULL if it is none. */
static char *soft_target(hid_t location, const char *path) {
  H5L_info_t link;
  if (H5Lget_info(location, path, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_SOFT)
    return NULL;
  const char *last = strrchr(path, '/');
  char *value = calloc(link.u.val_size + 1, 1), *target = NULL;
  if (value && H5Lget_val(location, path, value, link.u.val_size, H5P_DEFAULT) >= 0)
    target = value[0] == '/' || !last ? strdup(value)
                                      : csrn_hdf5_format("%.*s/%s", (int)(last - path), path, value);
  free(value);
  return target;
}

/* The kind of what cannot be opened: soft links are followed to where they break off. */
static csrn_hdf5_kind kind_of_broken(hid_t location, const char *path) {
  enum { MOST_LINKS = 16 }; /* as libhdf5 follows */
  csrn_hdf5_kind kind = CSRN_HDF5_UNREADABLE;
  int n_links = -1;
  for (char *way = strdup(path), *next; way; way = next) {
    n_links++;
    kind = cut_path(location, way);
    next = kind == CSRN_HDF5_UNREADABLE && n_links < MOST_LINKS ? soft_target(location, way) : NULL;
    free(way);
  }
  return kind == CSRN_HDF5_MISSING && n_links > 0 ? CSRN_HDF5_DANGLING : kind;
}

csrn_hdf5_kind csrn_hdf5_kind_of(hid_t location, const char *path) {
  csrn_hdf5_kind kind = kind_of_object(location, path);
  if (kind == CSRN_HDF5_UNREADABLE)
    kind = kind_of_broken(location, path);
  H5Eclear2(H5E_DEFAULT);
  return kind;
}

csrn_io_status csrn_hdf5_refuse_kind(const csrn_hdf5_file *file, const char *path, csrn_hdf5_kind kind) {
  if (kind == CSRN_HDF5_UNREADABLE && kind_of_object(file->id, path) == kind)
    return csrn_hdf5_failed(file, "read", path);
  static const char *const sentences[] = {
      [CSRN_HDF5_MISSING] = "is missing",
      [CSRN_HDF5_DANGLING] = "is a link to another file, or to nothing",
      [CSRN_HDF5_UNREADABLE] = "cannot be read",
      [CSRN_HDF5_GROUP] = "is a group, expected a dataset",
      [CSRN_HDF5_DATASET] = "is a dataset",
      [CSRN_HDF5_OTHER] = "is a named type, expected a dataset",
  };
  return csrn_hdf5_refuse(file, "%s %s", path, sentences[kind]);
}

/* ---- Lists of names ---- */

struct name_list {
  char **names;
  size_t n, room;
};

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *info, void *user) {
  (void)group;
  (void)info;
  struct name_list *list = user;
  if (list->n + 1 >= list->room) {
    size_t room = list->room ? 2 * list->room : 16;
    char **names = realloc(list->names, room * sizeof *names);
    if (!names)
      return -1;
    list->names = names;
    list->room = room;
  }
  list->names[list->n] = strdup(name);
  return list->names[list->n] ? (list->n++, 0) : -1;
}

char **csrn_hdf5_list(hid_t location, const char *group) {
  struct name_list list = {NULL, 0, 0};
  hid_t id = H5Gopen2(location, group, H5P_DEFAULT);
  hsize_t start = 0;
  herr_t fault = id < 0 ? 0 : H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, &start, add_name, &list);
  csrn_hdf5_close(id);
  H5Eclear2(H5E_DEFAULT);
  if (!list.names)
    return fault < 0 ? NULL : calloc(1, sizeof(char *));
  list.names[list.n] = NULL;
  if (fault < 0) {
    csrn_hdf5_list_free(list.names);
    return NULL;
  }
  return list.names;
}

void csrn_hdf5_list_free(char **list) {
  for (char **name = list; list && *name; name++)
    free(*name);
  free(list);
}

int csrn_hdf5_list_has(char *const *list, const char *name) {
  for (; list && *list; list++)
    if (!strcmp(*list, name))
      return 1;
  return 0;
}

void csrn_hdf5_list_text(char *const *list, char *text, size_t size) {
  snprintf(text, size, "%s", list && *list ? *list : "none");
  for (char *const *name = list && *list ? list + 1 : NULL; name && *name; name++) {
    size_t used = strlen(text);
    if (used + strlen(*name) + sizeof ", , ..." > size) {
      snprintf(text + used, size - used, ", ...");
      return;
    }
    snprintf(text + used, size - used, ", %s", *name);
  }
}

/* ---- Texts ---- */

static hid_t type_of(hid_t object) {
  return H5Iget_type(object) == H5I_ATTR ? H5Aget_type(object) : H5Dget_type(object);
}

static hid_t space_of(hid_t object) {
  return H5Iget_type(object) == H5I_ATTR ? H5Aget_space(object) : H5Dget_space(object);
}

static herr_t read_all(hid_t object, hid_t type, void *values) {
  hsize_t where;
  if (H5Iget_type(object) == H5I_ATTR)
    return H5Aread(object, type, values);
  return csrn_hdf5_has_bad_chunk(object, 0, HSIZE_UNDEF, &where)
             ? -1
             : H5Dread(object, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
}

void csrn_hdf5_strings_free(char **strings, int64_t n) {
  for (int64_t i = 0; strings && i < n; i++)
    free(strings[i]);
  free(strings);
}

static int copy_variable(hid_t object, hid_t type, hid_t space, int64_t n, char **strings) {
  char **read = calloc((size_t)n + 1, sizeof *read);
  int fault = !read || (n > 0 && read_all(object, type, read) < 0);
  for (int64_t i = 0; !fault && i < n; i++)
    fault = !(strings[i] = strdup(read[i] ? read[i] : ""));
  if (read && n > 0)
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, read);
  free(read);
  return fault;
}

static int copy_fixed(hid_t object, hid_t type, int64_t n, char **strings) {
  size_t size = H5Tget_size(type);
  if (size == 0 || (uint64_t)n > SIZE_MAX / size - 1)
    return 1;
  char *read = malloc((size_t)n * size + 1);
  int fault = !read || (n > 0 && read_all(object, type, read) < 0);
  int padded = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
  for (int64_t i = 0; !fault && i < n; i++) {
    const char *text = read + (size_t)i * size;
    size_t length = strnlen(text, size);
    while (padded && length > 0 && text[length - 1] == ' ')
      length--;
    fault = !(strings[i] = strndup(text, length));
  }
  free(read);
  return fault;
}

char **csrn_hdf5_strings(hid_t object, int64_t *n) {
  char **strings = NULL;
  int fault = 1;
  hid_t type = type_of(object), space = space_of(object);
  if (type < 0 || space < 0 || H5Tget_class(type) != H5T_STRING)
    goto done;
  *n = H5Sget_simple_extent_npoints(space);
  if (*n < 0 || (uint64_t)*n >= SIZE_MAX / sizeof *strings)
    goto done;
  strings = calloc((size_t)*n + 1, sizeof *strings);
  if (strings)
    fault = H5Tis_variable_str(type) > 0 ? copy_variable(object, type, space, *n, strings)
                                         : copy_fixed(object, type, *n, strings);
done:
  csrn_hdf5_close(type);
  csrn_hdf5_close(space);
  if (fault && strings) {
    csrn_hdf5_strings_free(strings, *n);
    strings = NULL;
  }
  return strings;
}

/* ---- Attributes ---- */

char *csrn_hdf5_text_attribute(hid_t object, const char *name) {
  if (H5Aexists(object, name) <= 0)
    return NULL;
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  int64_t n = 0;
  char **strings = attribute < 0 ? NULL : csrn_hdf5_strings(attribute, &n);
  csrn_hdf5_close(attribute);
  char *text = NULL;
  if (strings && n == 1) {
    text = strings[0];
    strings[0] = NULL;
  }
  csrn_hdf5_strings_free(strings, n);
  return text;
}

int csrn_hdf5_integers(hid_t object, int n, int64_t *values) {
  hid_t type = type_of(object), space = space_of(object);
  int fault = type < 0 || space < 0 || H5Tget_class(type) != H5T_INTEGER ||
              H5Sget_simple_extent_npoints(space) != n || read_all(object, H5T_NATIVE_INT64, values) < 0;
  csrn_hdf5_close(type);
  csrn_hdf5_close(space);
  return fault;
}
