/*
 * HDF5 files that are sound as such, with groups, types, filters, attributes and numbers as the
 * bytes have it, and with chunks of raw bytes: .h5ad, sparse and dense, and 10x.
 */
#include "fuzz_io.h"

#include <hdf5.h>
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

static hid_t take_type(source *s) {
  const hid_t types[] = {H5T_IEEE_F32LE, H5T_STD_I32LE,  H5T_IEEE_F64LE, H5T_STD_I64LE, H5T_STD_U8LE,
                         H5T_STD_U16LE,  H5T_STD_U32LE,  H5T_STD_U64LE,  H5T_STD_I8LE,  H5T_STD_I16BE,
                         H5T_IEEE_F32BE, H5T_NATIVE_B32, H5T_STD_I32LE,  H5T_STD_I32LE};
  return types[take(s) % (sizeof types / sizeof types[0])];
}

static void put_text(hid_t object, const char *name, const char *text) {
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, strlen(text) + 1);
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, text);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

static void put_shape(hid_t object, source *s, int as_attribute) {
  const hsize_t two = 2 + (take(s) == 1);
  const int64_t shape[3] = {take_number(s), take_number(s), 1};
  hid_t space = H5Screate_simple(1, &two, NULL);
  hid_t made = as_attribute
                   ? H5Acreate2(object, "shape", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT)
                   : H5Dcreate2(object, "shape", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (as_attribute)
    H5Awrite(made, H5T_NATIVE_INT64, shape);
  else
    H5Dwrite(made, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, shape);
  as_attribute ? H5Aclose(made) : H5Dclose(made);
  H5Sclose(space);
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
  return storage;
}

/* Numbers, and perhaps a chunk of bytes that the filters have not seen. */
static void put_numbers(hid_t group, const char *name, source *s, int rank) {
  enum { MOST = 64 };
  int64_t values[MOST];
  hsize_t extent[2] = {take(s) % 33, take(s) % 9};
  if (rank == 2 && extent[0] > 7)
    extent[0] = 7;
  for (int i = 0; i < MOST; i++)
    values[i] = s->size ? take_number(s) : i;
  hid_t type = take_type(s), storage = take_storage(s, rank), space = H5Screate_simple(rank, extent, NULL);
  hid_t made = H5Dcreate2(group, name, type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  const unsigned raw = take(s);
  if (made >= 0 && raw < 200)
    H5Dwrite(made, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  if (made >= 0 && raw % 4 == 3 && extent[0] > 0 && H5Pget_layout(storage) == H5D_CHUNKED) {
    const hsize_t first[2] = {0, 0};
    H5Dwrite_chunk(made, H5P_DEFAULT, raw >> 4 & 3, first, raw % 64 + 1, values);
  }
  H5Dclose(made);
  H5Sclose(space);
  H5Pclose(storage);
}

static void put_texts(hid_t group, const char *name, source *s) {
  const hsize_t n = take(s) % 33;
  const char *texts[33];
  for (int i = 0; i < 33; i++)
    texts[i] = i % 3 ? "Gene Expression" : "other";
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &n, NULL);
  H5Tset_size(type, H5T_VARIABLE);
  hid_t made = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts);
  H5Dclose(made);
  H5Sclose(space);
  H5Tclose(type);
}

static void put_sparse(hid_t group, source *s) {
  put_numbers(group, "data", s, take(s) == 7 ? 2 : 1);
  put_numbers(group, "indices", s, 1);
  put_numbers(group, "indptr", s, 1);
}

static void put_h5ad(hid_t file, source *s) {
  static const char *const encodings[] = {"csr_matrix", "csc_matrix", "array", "csr", ""};
  if (take(s) % 4 == 3) {
    put_numbers(file, "X", s, 2);
  } else {
    hid_t X = H5Gcreate2(file, "X", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    put_text(X, "encoding-type", encodings[take(s) % 5]);
    put_text(X, "encoding-version", "0.1.0");
    put_shape(X, s, 1);
    put_sparse(X, s);
    H5Gclose(X);
  }
  hid_t obs = H5Gcreate2(file, "obs", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  put_text(obs, "encoding-type", "dataframe");
  put_text(obs, "_index", "_index");
  put_texts(obs, "_index", s);
  H5Gclose(obs);
}

static void put_10x(hid_t file, source *s) {
  const int v3 = take(s) % 2;
  hid_t group = H5Gcreate2(file, v3 ? "matrix" : "mm10", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
        features = -1;
  put_shape(group, s, 0);
  put_sparse(group, s);
  put_texts(group, "barcodes", s);
  if (v3)
    features = H5Gcreate2(group, "features", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  static const char *const names[][2] = {{"genes", "id"}, {"gene_names", "name"}, {"x", "feature_type"}};
  for (int i = 0; i < 3; i++)
    put_texts(v3 ? features : group, names[i][v3], s);
  if (v3)
    H5Gclose(features);
  H5Gclose(group);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  source s = {data, size};
  const char *path = fuzz_path(0, ".h5");
  const unsigned how = take(&s);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (file < 0)
    return 0;
  if (take(&s) % 2)
    put_h5ad(file, &s);
  else
    put_10x(file, &s);
  H5Fclose(file);
  fuzz_use(path, how);
  unlink(path);
  return 0;
}
