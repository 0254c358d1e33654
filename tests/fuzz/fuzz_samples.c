/* See fuzz_samples.h. All hold a matrix of 6 cells x 7 genes with 12 values, some of them in one row. */
#include "fuzz_samples.h"

#include <stdint.h>
#include <string.h>

enum { CELLS = 6, GENES = 7, VALUES = 12 };

static const double values[VALUES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 300, 12};
static const int64_t columns[VALUES] = {0, 3, 6, 1, 2, 0, 5, 4, 3, 2, 1, 0};
static const int64_t by_cell[CELLS + 1] = {0, 3, 3, 5, 6, 12, 12};
static const int64_t genes_of[VALUES] = {0, 2, 4, 5, 1, 3, 0, 2, 4, 5, 1, 3}; /* of CSC: cells */
static const int64_t by_gene[GENES + 1] = {0, 2, 4, 6, 6, 9, 10, 12};

/* ---- Parts ------------------------------------------------------------------------- */

static hid_t text_type(void) {
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

static void put_text(hid_t object, const char *name, const char *text) {
  hid_t type = text_type(), space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, &text);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

static void encode(hid_t object, const char *type, const char *version) {
  put_text(object, "encoding-type", type);
  put_text(object, "encoding-version", version);
}

static void put_shape(hid_t object, const char *name, int64_t first, int64_t second) {
  const int64_t shape[2] = {first, second};
  const hsize_t two = 2;
  hid_t space = H5Screate_simple(1, &two, NULL);
  hid_t attribute = H5Acreate2(object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, H5T_NATIVE_INT64, shape);
  H5Aclose(attribute);
  H5Sclose(space);
}

/* Chunks of 5 with filters s, g, l; NULL: contiguous. */
static hid_t storage_of(const char *filters, int rank) {
  const hsize_t chunk[2] = {5, 3};
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  if (filters)
    H5Pset_chunk(storage, rank, chunk);
  if (filters && strchr(filters, 's'))
    H5Pset_shuffle(storage);
  if (filters && strchr(filters, 'g'))
    H5Pset_deflate(storage, 4);
  if (filters && strchr(filters, 'l'))
    H5Pset_filter(storage, 32000, H5Z_FLAG_OPTIONAL, 0, NULL);
  return storage;
}

static void put_array(hid_t group, const char *name, hid_t type, const char *filters, hsize_t n, hid_t memory,
                      const void *from) {
  const hsize_t most = H5S_UNLIMITED;
  hid_t storage = storage_of(filters, 1), space = H5Screate_simple(1, &n, filters ? &most : NULL);
  hid_t made = H5Dcreate2(group, name, type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  H5Dwrite(made, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, from);
  H5Dclose(made);
  H5Sclose(space);
  H5Pclose(storage);
}

static void put_texts(hid_t group, const char *name, hsize_t n, const char *const *texts, int encoded) {
  hid_t type = text_type(), space = H5Screate_simple(1, &n, NULL);
  hid_t made = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts);
  if (encoded)
    encode(made, "string-array", "0.2.0");
  H5Dclose(made);
  H5Sclose(space);
  H5Tclose(type);
}

static hid_t group_in(hid_t location, const char *name) {
  return H5Gcreate2(location, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
}

static const char *const names[] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6"};
static const char *const kinds[] = {"Gene Expression", "Antibody Capture", "Gene Expression",
                                    "Gene Expression", "Antibody Capture", "Gene Expression",
                                    "Gene Expression"};
static const char *const genomes[] = {"mm10", "", "mm10", "hg19", "", "mm10", "hg19"};

/* ---- .h5ad ------------------------------------------------------------------------- */

static void put_sparse(hid_t location, const char *name, int csc, const char *filters, hid_t type) {
  hid_t group = group_in(location, name);
  encode(group, csc ? "csc_matrix" : "csr_matrix", "0.1.0");
  put_shape(group, "shape", CELLS, GENES);
  put_array(group, "data", type, filters, VALUES, H5T_NATIVE_DOUBLE, values);
  put_array(group, "indices", H5T_STD_I32LE, filters, VALUES, H5T_NATIVE_INT64, csc ? genes_of : columns);
  put_array(group, "indptr", H5T_STD_I64LE, NULL, csc ? GENES + 1 : CELLS + 1, H5T_NATIVE_INT64,
            csc ? by_gene : by_cell);
  H5Gclose(group);
}

static void put_dense(hid_t location, const char *name, const char *filters, hid_t type) {
  const hsize_t extent[2] = {CELLS, GENES};
  double dense[CELLS * GENES] = {0};
  for (int i = 0; i < CELLS * GENES; i++)
    dense[i] = i % 3 ? 0 : i;
  hid_t storage = storage_of(filters, 2), space = H5Screate_simple(2, extent, NULL);
  hid_t made = H5Dcreate2(location, name, type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  H5Dwrite(made, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, dense);
  encode(made, "array", "0.2.0");
  H5Dclose(made);
  H5Sclose(space);
  H5Pclose(storage);
}

static void put_columns(hid_t frame, const char *column) {
  const hsize_t one = 1;
  hid_t type = text_type(), space = H5Screate_simple(1, &one, NULL);
  hid_t attribute = H5Acreate2(frame, "column-order", type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, &column);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

/* With a column of categories: a group, or (before 0.8) codes that refer to a dataset. */
static void put_frame(hid_t location, const char *name, hsize_t n, int by_reference) {
  hid_t frame = group_in(location, name);
  encode(frame, "dataframe", by_reference ? "0.1.0" : "0.2.0");
  put_text(frame, "_index", "_index");
  put_texts(frame, "_index", n, names, 1);
  put_columns(frame, "batch");
  hid_t batch = by_reference ? frame : group_in(frame, "batch");
  if (by_reference)
    H5Gclose(group_in(frame, "__categories"));
  put_texts(batch, by_reference ? "__categories/batch" : "categories", 2, names, 1);
  put_array(batch, by_reference ? "batch" : "codes", H5T_STD_I8LE, NULL, n, H5T_NATIVE_INT64, genes_of);
  if (by_reference) {
    hobj_ref_t reference;
    hid_t codes = H5Dopen2(frame, "batch", H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(codes, "categories", H5T_STD_REF_OBJ, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Rcreate(&reference, frame, "__categories/batch", H5R_OBJECT, -1);
    H5Awrite(attribute, H5T_STD_REF_OBJ, &reference);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Dclose(codes);
  } else {
    encode(batch, "categorical", "0.2.0");
    H5Gclose(batch);
  }
  H5Gclose(frame);
}

static void put_rest(hid_t file) {
  hid_t layers = group_in(file, "layers"), raw = group_in(file, "raw"), uns = group_in(file, "uns");
  encode(file, "anndata", "0.1.0");
  encode(layers, "dict", "0.1.0");
  put_sparse(layers, "a", 1, "g", H5T_STD_I32LE);
  H5Lcreate_soft("/X", layers, "linked", H5P_DEFAULT, H5P_DEFAULT);
  put_sparse(raw, "X", 0, NULL, H5T_STD_U16LE);
  put_frame(raw, "var", GENES, 0);
  put_texts(uns, "more", 3, names, 1);
  H5Gclose(uns);
  H5Gclose(raw);
  H5Gclose(layers);
}

static void make_h5ad(hid_t file, unsigned kind) {
  if (kind == FUZZ_DENSE)
    put_dense(file, "X", "sg", H5T_IEEE_F32LE);
  else
    put_sparse(file, "X", kind == FUZZ_CSC, kind == FUZZ_0_7 ? "l" : "sg", H5T_IEEE_F32LE);
  put_frame(file, "obs", CELLS, kind == FUZZ_0_7);
  put_frame(file, "var", GENES, kind == FUZZ_0_7);
  put_rest(file);
}

static void put_records(hid_t file, const char *name, hsize_t n) {
  struct record {
    char name[8];
    int64_t number;
  } records[GENES];
  hid_t text = H5Tcopy(H5T_C_S1), type = H5Tcreate(H5T_COMPOUND, sizeof(struct record));
  H5Tset_size(text, sizeof records[0].name);
  H5Tinsert(type, "index", 0, text);
  H5Tinsert(type, "number", sizeof records[0].name, H5T_NATIVE_INT64);
  memset(records, 0, sizeof records);
  for (hsize_t i = 0; i < n; i++)
    memcpy(records[i].name, names[i], strlen(names[i]));
  put_array(file, name, type, NULL, n, type, records);
  H5Tclose(type);
  H5Tclose(text);
}

static void put_h5sparse(hid_t file, const char *name) {
  hid_t group = group_in(file, name);
  put_text(group, "h5sparse_format", "csr");
  put_shape(group, "h5sparse_shape", CELLS, GENES);
  put_array(group, "data", H5T_IEEE_F32LE, "l", VALUES, H5T_NATIVE_DOUBLE, values);
  put_array(group, "indices", H5T_STD_I32LE, "l", VALUES, H5T_NATIVE_INT64, columns);
  put_array(group, "indptr", H5T_STD_I32LE, NULL, CELLS + 1, H5T_NATIVE_INT64, by_cell);
  H5Gclose(group);
}

static void make_old(hid_t file) {
  put_h5sparse(file, "X");
  put_h5sparse(file, "raw.X");
  put_records(file, "obs", CELLS);
  put_records(file, "var", GENES);
  put_records(file, "raw.var", GENES);
}

/* ---- 10x --------------------------------------------------------------------------- */

static hid_t put_10x(hid_t file, const char *name) {
  const int64_t shape[2] = {GENES, CELLS};
  hid_t group = group_in(file, name);
  put_array(group, "data", H5T_STD_I32LE, "sg", VALUES, H5T_NATIVE_DOUBLE, values);
  put_array(group, "indices", H5T_STD_I64LE, "sg", VALUES, H5T_NATIVE_INT64, columns);
  put_array(group, "indptr", H5T_STD_I64LE, "sg", CELLS + 1, H5T_NATIVE_INT64, by_cell);
  put_array(group, "shape", H5T_STD_I32LE, "sg", 2, H5T_NATIVE_INT64, shape);
  put_texts(group, "barcodes", CELLS, names, 0);
  return group;
}

static void make_v3(hid_t file, int probes) {
  hid_t group = put_10x(file, "matrix"), features = group_in(group, "features");
  put_texts(features, "id", GENES, names, 0);
  put_texts(features, "name", GENES, names, 0);
  put_texts(features, "feature_type", GENES, kinds, 0);
  put_texts(features, "genome", GENES, genomes, 0);
  put_texts(features, "_all_tag_keys", 1, names, 0);
  if (probes) {
    put_texts(features, "gene_id", GENES, names, 0);
    put_texts(features, "probe_region", GENES, kinds, 0);
  }
  H5Gclose(features);
  H5Gclose(group);
}

static void make_v2(hid_t file) {
  static const char *const groups[] = {"mm10", "hg19"};
  for (int i = 0; i < 2; i++) {
    hid_t group = put_10x(file, groups[i]);
    put_texts(group, "genes", GENES, names, 0);
    put_texts(group, "gene_names", GENES, names, 0);
    H5Gclose(group);
  }
}

void fuzz_make_sample(hid_t file, unsigned kind) {
  if (kind == FUZZ_OLD)
    make_old(file);
  else if (kind < FUZZ_10X)
    make_h5ad(file, kind);
  else if (kind == FUZZ_10X_V2)
    make_v2(file);
  else
    make_v3(file, kind == FUZZ_PROBES);
}
