/*
 * HDF5 files that are sound as such: good files of each kind that is read, and a list of edits to them,
 * which the bytes are: objects, attributes and links of any kind in any place, and chunks of raw bytes.
 * Damage to HDF5 itself is libhdf5's to find.
 */
#include "fuzz_io.h"
#include "fuzz_samples.h"
#include "hdf5_util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The bytes, taken from the front; zeros behind their end. */
typedef struct source {
  const uint8_t *data;
  size_t size;
} source;

static unsigned take(source *s) {
  const unsigned byte = s->size ? *s->data : 0;
  s->data += s->size > 0;
  s->size -= s->size > 0;
  return byte;
}

/* Mostly small, sometimes wild. */
static int64_t take_number(source *s) {
  static const int64_t wild[] = {-1, INT32_MAX, INT64_MAX, INT64_MIN, (int64_t)1 << 40, 65536, 255, 256};
  const unsigned byte = take(s);
  return byte < 248 ? byte % 32 : wild[byte - 248];
}

static const char *take_word(source *s, const char *const *words, size_t n) {
  return words[take(s) % n];
}

/* ---- What is edited, and with what --------------------------------------------------- */

static const char *const paths[] = {
    "X",
    "X/data",
    "X/indices",
    "X/indptr",
    "obs",
    "obs/_index",
    "obs/batch",
    "obs/batch/codes",
    "obs/factor",
    "obs/__categories",
    "var",
    "var/_index",
    "layers",
    "layers/a",
    "layers/a/data",
    "layers/a/indices",
    "layers/a/indptr",
    "layers/raw",
    "raw",
    "raw/X",
    "raw/X/data",
    "raw/X/indptr",
    "raw/var",
    "raw/var/_index",
    "raw.X",
    "raw.var",
    "uns",
    "uns/log1p",
    "uns/log1p/base",
    "uns/more",
    "matrix",
    "matrix/data",
    "matrix/indices",
    "matrix/indptr",
    "matrix/shape",
    "matrix/barcodes",
    "matrix/features",
    "matrix/features/id",
    "matrix/features/name",
    "matrix/features/feature_type",
    "matrix/features/genome",
    "matrix/features/gene_id",
    "matrix/features/probe_region",
    "matrix/features/_all_tag_keys",
    "matrix/genes",
    "mm10",
    "mm10/data",
    "mm10/indices",
    "mm10/indptr",
    "mm10/shape",
    "mm10/barcodes",
    "mm10/genes",
    "mm10/gene_names",
    "/",
};

static const char *const attributes[] = {
    "encoding-type",  "encoding-version", "shape",
    "_index",         "column-order",     "h5sparse_format",
    "h5sparse_shape", "categories",       "chemistry_description",
};

static const char *const texts[] = {
    "csr_matrix",
    "csc_matrix",
    "csr",
    "csc",
    "array",
    "dataframe",
    "anndata",
    "dict",
    "0.1.0",
    "0.2.0",
    "",
    "_index",
    "batch",
    "codes",
    "factor",
    "..",
    "a/b",
    "\xff\xfe",
    "mm10",
    "categorical",
    "Gene Expression",
    "Antibody Capture",
};

#define TAKE(s, list) take_word(s, list, sizeof(list) / sizeof(list)[0])

static hid_t take_type(source *s) {
  const hid_t types[] = {H5T_IEEE_F32LE, H5T_STD_I32LE,  H5T_IEEE_F64LE, H5T_STD_I64LE,     H5T_STD_U8LE,
                         H5T_STD_U16LE,  H5T_STD_U32LE,  H5T_STD_U64LE,  H5T_STD_I8LE,      H5T_STD_I16BE,
                         H5T_IEEE_F32BE, H5T_NATIVE_B32, H5T_STD_I32LE,  H5T_NATIVE_LDOUBLE};
  return types[take(s) % (sizeof types / sizeof types[0])];
}

static hid_t take_storage(source *s, int rank) {
  const unsigned how = take(s);
  const hsize_t chunk[2] = {1 + take(s) % 16, 1 + take(s) % 16};
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  if (how & 1)
    return storage;
  H5Pset_chunk(storage, rank, chunk);
  if (how & 2)
    H5Pset_shuffle(storage);
  if (how & 4)
    H5Pset_deflate(storage, 1 + how % 9);
  if (how & 8)
    H5Pset_fletcher32(storage);
  if (how & 16)
    H5Pset_filter(storage, 32000, H5Z_FLAG_OPTIONAL, 0, NULL);
  if (how & 32)
    H5Pset_chunk_opts(storage, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS);
  return storage;
}

/* ---- Edits of datasets ------------------------------------------------------------ */

static void drop(hid_t file, const char *path) {
  if (path[0] != '/' && H5Lexists(file, path, H5P_DEFAULT) > 0)
    H5Ldelete(file, path, H5P_DEFAULT);
}

/* Numbers in the place of what is there; a chunked dataset may claim to be far larger than what is in it. */
static void put_numbers(hid_t file, source *s) {
  enum { MOST = 64 };
  int64_t values[MOST];
  const char *path = TAKE(s, paths);
  const unsigned shape = take(s);
  const int rank = shape % 8 == 0 ? 0 : shape % 8 < 6 ? 1 : 2;
  hsize_t extent[2] = {take(s) % 33, take(s) % 9}, whole[2];
  if (rank == 2 && extent[0] > 7)
    extent[0] = 7;
  for (int i = 0; i < MOST; i++)
    values[i] = s->size ? take_number(s) : i;
  hid_t type = take_type(s), storage = rank ? take_storage(s, rank) : H5Pcreate(H5P_DATASET_CREATE);
  const int chunked = rank > 0 && H5Pget_layout(storage) == H5D_CHUNKED;
  const hsize_t most[2] = {H5S_UNLIMITED, H5S_UNLIMITED};
  hid_t space = rank ? H5Screate_simple(rank, extent, chunked ? most : NULL) : H5Screate(H5S_SCALAR);
  drop(file, path);
  hid_t made = H5Dcreate2(file, path, type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  if (made >= 0)
    H5Dwrite(made, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  if (made >= 0 && chunked && shape > 200) {
    whole[0] = extent[0] + (hsize_t)(take_number(s) & INT32_MAX);
    whole[1] = extent[1];
    H5Dset_extent(made, whole);
  }
  H5Dclose(made);
  H5Sclose(space);
  H5Pclose(storage);
}

/* A chunk of bytes that the filters have not seen. */
static void put_chunk(hid_t file, source *s) {
  unsigned char bytes[64];
  const hsize_t first[2] = {0, 0};
  hid_t dataset = H5Dopen2(file, TAKE(s, paths), H5P_DEFAULT);
  const unsigned mask = take(s) & 3, n = take(s) % 64 + 1;
  for (unsigned i = 0; i < n; i++)
    bytes[i] = (unsigned char)take(s);
  hid_t storage = dataset < 0 ? -1 : H5Dget_create_plist(dataset);
  if (storage >= 0 && H5Pget_layout(storage) == H5D_CHUNKED)
    H5Dwrite_chunk(dataset, H5P_DEFAULT, mask, first, n, bytes);
  H5Pclose(storage);
  H5Dclose(dataset);
}

static void put_texts(hid_t file, source *s) {
  const char *path = TAKE(s, paths), *values[33];
  char fixed[33][8];
  const unsigned how = take(s);
  const hsize_t n = take(s) % 33, chunk = 1 + how % 7;
  for (int i = 0; i < 33; i++) {
    values[i] = s->size ? TAKE(s, texts) : "text";
    strncpy(fixed[i], values[i], sizeof fixed[i]);
  }
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &n, NULL),
        storage = H5Pcreate(H5P_DATASET_CREATE);
  H5Tset_size(type, how & 1 ? H5T_VARIABLE : sizeof fixed[0]);
  H5Tset_strpad(type, how & 2 ? H5T_STR_NULLPAD : how & 4 ? H5T_STR_SPACEPAD : H5T_STR_NULLTERM);
  if (how & 8)
    H5Pset_chunk(storage, 1, &chunk);
  if ((how & 24) == 24)
    H5Pset_deflate(storage, 1);
  drop(file, path);
  hid_t made = H5Dcreate2(file, path, type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  if (made >= 0 && how < 240)
    H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, how & 1 ? (const void *)values : (const void *)fixed);
  H5Dclose(made);
  H5Pclose(storage);
  H5Sclose(space);
  H5Tclose(type);
}

/* Records, an enumeration or lists; the records may be what obs was before anndata 0.7. */
static void put_other(hid_t file, source *s) {
  const char *path = TAKE(s, paths);
  const unsigned how = take(s);
  const hsize_t n = take(s) % 9;
  const int8_t no = 0, yes = (int8_t)(1 + how / 128);
  hid_t type = how % 3 == 0   ? H5Tcreate(H5T_COMPOUND, 16)
               : how % 3 == 1 ? H5Tenum_create(H5T_STD_I8LE)
                              : H5Tvlen_create(H5T_STD_I32LE);
  if (how % 3 == 0) {
    H5Tinsert(type, how & 16 ? "index" : "factor", 0, H5T_STD_I64LE);
    H5Tinsert(type, TAKE(s, texts), 8, take_type(s));
  } else if (how % 3 == 1) {
    H5Tenum_insert(type, "FALSE", &no);
    H5Tenum_insert(type, "TRUE", &yes);
  }
  hid_t space = how & 32 ? H5Screate(H5S_NULL) : H5Screate_simple(1, &n, NULL);
  drop(file, path);
  H5Dclose(H5Dcreate2(file, path, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(space);
  H5Tclose(type);
}

static void set_extent(hid_t file, source *s) {
  hid_t dataset = H5Dopen2(file, TAKE(s, paths), H5P_DEFAULT);
  const hsize_t extent[2] = {(hsize_t)(take_number(s) & INT32_MAX), take(s) % 9};
  if (dataset >= 0)
    H5Dset_extent(dataset, extent);
  H5Dclose(dataset);
}

/* ---- Edits of attributes ----------------------------------------------------------- */

/* In the place of what is there: nothing, a text of either kind, texts, numbers, or a reference. */
static void put_attribute(hid_t file, source *s) {
  const char *name = TAKE(s, attributes), *text[4];
  hid_t object = H5Oopen(file, TAKE(s, paths), H5P_DEFAULT);
  const unsigned how = take(s);
  const hsize_t n = take(s) % 4;
  int64_t numbers[4];
  hobj_ref_t reference = 0;
  if (object < 0)
    return;
  H5Adelete(object, name);
  for (int i = 0; i < 4; i++) {
    text[i] = TAKE(s, texts);
    numbers[i] = take_number(s);
  }
  hid_t type = how % 6 < 3   ? H5Tcopy(H5T_C_S1)
               : how % 6 < 5 ? H5Tcopy(take_type(s))
                             : H5Tcopy(H5T_STD_REF_OBJ);
  hid_t space = how & 64    ? H5Screate_simple(1, &n, NULL)
                : how > 250 ? H5Screate(H5S_NULL)
                            : H5Screate(H5S_SCALAR);
  const void *values = how % 6 < 2 ? (const void *)text : how % 6 == 2 ? text[0] : (const void *)numbers;
  if (how % 6 < 3)
    H5Tset_size(type, how % 6 < 2 ? H5T_VARIABLE : strlen(text[0]) + 1);
  if (how % 6 == 5) {
    H5Rcreate(&reference, file, TAKE(s, paths), H5R_OBJECT, -1);
    values = &reference;
  }
  const int one = H5Sget_simple_extent_npoints(space) <= 1;
  hid_t made = how % 6 == 2 && !one ? -1 : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  if (made >= 0 && (one || how % 6 < 2))
    H5Awrite(made, type, values);
  else if (made >= 0 && how % 6 < 5)
    H5Awrite(made, H5T_NATIVE_INT64, numbers);
  H5Aclose(made);
  H5Sclose(space);
  H5Tclose(type);
  H5Oclose(object);
}

/* ---- Edits of links ---------------------------------------------------------------- */

static void put_link(hid_t file, source *s) {
  const char *from = TAKE(s, paths), *to = TAKE(s, paths);
  char path[64];
  const unsigned how = take(s) % 6;
  if (how < 5)
    drop(file, to);
  if (how == 0)
    H5Gclose(H5Gcreate2(file, to, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  else if (how == 1)
    H5Lcreate_hard(file, from, file, to, H5P_DEFAULT, H5P_DEFAULT);
  else if (how == 2)
    H5Lmove(file, from, file, to, H5P_DEFAULT, H5P_DEFAULT);
  else if (how == 3)
    H5Lcreate_external(take(s) % 2 ? "/nowhere.h5" : fuzz_path(0, ".h5"), from, file, to, H5P_DEFAULT,
                       H5P_DEFAULT);
  else if (how == 4) {
    snprintf(path, sizeof path, "%s%s", take(s) % 2 ? "/" : "", from);
    H5Lcreate_soft(path, file, to, H5P_DEFAULT, H5P_DEFAULT);
  } else {
    H5Ocopy(file, from, file, to, H5P_DEFAULT, H5P_DEFAULT);
  }
}

static void put_type(hid_t file, source *s) {
  const char *path = TAKE(s, paths);
  hid_t type = H5Tcopy(take_type(s));
  drop(file, path);
  H5Tcommit2(file, path, type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Tclose(type);
}

static void delete (hid_t file, source *s) {
  drop(file, TAKE(s, paths));
}

/* ---- Files -------------------------------------------------------------------------- */

static void edit(hid_t file, source *s) {
  static void (*const edits[])(hid_t file, source * s) = {
      put_numbers, put_attribute, put_texts, put_link,    put_chunk,     delete,
      put_other,   set_extent,    put_type,  put_numbers, put_attribute, put_numbers,
  };
  enum { MOST_EDITS = 12 };
  for (int i = 0; i < MOST_EDITS && s->size > 0; i++)
    edits[take(s) % (sizeof edits / sizeof edits[0])](file, s);
}

/* A good file of that kind; its bytes are made once. */
static int write_sample(const char *path, unsigned kind) {
  static struct {
    void *bytes;
    ssize_t n;
  } samples[FUZZ_SAMPLES];
  if (!samples[kind].bytes) {
    hid_t made = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    fuzz_make_sample(made, kind);
    H5Fflush(made, H5F_SCOPE_LOCAL);
    samples[kind].n = H5Fget_file_image(made, NULL, 0);
    samples[kind].bytes = samples[kind].n > 0 ? malloc((size_t)samples[kind].n) : NULL;
    if (!samples[kind].bytes || H5Fget_file_image(made, samples[kind].bytes, (size_t)samples[kind].n) < 0)
      abort();
    H5Fclose(made);
  }
  FILE *file = fopen(path, "wb");
  const int done =
      file && fwrite(samples[kind].bytes, 1, (size_t)samples[kind].n, file) == (size_t)samples[kind].n;
  if (file)
    fclose(file);
  return done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source s = {data, size};
  const char *path = fuzz_path(0, ".h5");
  const unsigned kind = take(&s) % FUZZ_SAMPLES;
  unsigned how = take(&s);
  how |= take(&s) << 8;
  how &= ~(unsigned)(FUZZ_TEXT_ALONE | (kind < FUZZ_10X ? FUZZ_10X_ALONE : FUZZ_H5AD_ALONE));
  csrn_hdf5_begin(); /* the samples use lzf, too */
  if (!write_sample(path, kind))
    return 0;
  hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
  if (file < 0)
    abort();
  edit(file, &s);
  H5Fclose(file);
  fuzz_use(path, how);
  unlink(path);
  return 0;
}
