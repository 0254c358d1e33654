/*
 * Reads the .h5 files of 10x Genomics: version 3 (one group "matrix" with a table of
 * features) and version 2 (a group per genome). They hold the CSC matrix of features x
 * barcodes, which is the CSR matrix of cells x genes. Features are selected by type and
 * genome as scanpy's read_10x_h5() does; the selected ones keep their order.
 */
#include "hdf5_util.h"
#include "type_lists.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char default_type[] = "Gene Expression";

/* ---- Recognition ---- */

/* Also a child that cannot be read: a genome is not overlooked. */
static int has_child(hid_t file, const char *group, const char *child) {
  char *path = csrn_hdf5_format("%s/%s", group, child);
  csrn_hdf5_kind kind = path ? csrn_hdf5_kind_of(file, path) : CSRN_HDF5_MISSING;
  free(path);
  return kind == CSRN_HDF5_DATASET || kind == CSRN_HDF5_DANGLING || kind == CSRN_HDF5_UNREADABLE;
}

/* Version 2: the names of the groups that hold a matrix; NULL without memory. */
static char **list_genome_groups(hid_t file) {
  char **groups = csrn_hdf5_list(file, "/");
  size_t kept = 0;
  for (size_t i = 0; groups && groups[i]; i++) {
    char *group = groups[i];
    groups[i] = NULL;
    if (csrn_hdf5_kind_of(file, group) == CSRN_HDF5_GROUP && has_child(file, group, "barcodes") &&
        has_child(file, group, "indptr"))
      groups[kept++] = group;
    else
      free(group);
  }
  return groups;
}

int csrn_hdf5_is_10x(const char *path) {
  csrn_hdf5_begin();
  csrn_hdf5_fault fault = {0};
  hid_t file = csrn_hdf5_open_file(path, &fault);
  int is_10x = 0;
  if (file >= 0 && csrn_hdf5_kind_of(file, "X") == CSRN_HDF5_MISSING &&
      csrn_hdf5_kind_of(file, "obs") == CSRN_HDF5_MISSING) {
    char **genomes = list_genome_groups(file);
    csrn_hdf5_kind kind = csrn_hdf5_kind_of(file, "matrix");
    is_10x = kind == CSRN_HDF5_GROUP || kind == CSRN_HDF5_UNREADABLE || (genomes && genomes[0]);
    csrn_hdf5_list_free(genomes);
  }
  csrn_hdf5_close(file);
  errno = fault.number;
  return fault.number ? -1 : is_10x;
}

static int recognizes(const char *path, const unsigned char magic[8]) {
  return csrn_hdf5_is_hdf5(magic) ? csrn_hdf5_is_10x(path) : 0;
}

/* ---- Names of cells and genes ---- */

/* The texts of matrix/name as the next column of a table of n rows; none if `optional` and there is no such
 * name. */
static csrn_io_status add_column(const csrn_hdf5_input *input, const char *name, int optional, int64_t n,
                                 const char *column, csrn_io_table *table) {
  const csrn_hdf5_file *file = &input->file;
  char *path = csrn_hdf5_format("%s/%s", input->matrix, name);
  if (!path)
    return csrn_hdf5_no_memory(file, name, strlen(name));
  csrn_io_status status = CSRN_IO_OK;
  char **texts = NULL;
  int64_t found = 0;
  hid_t dataset = -1;
  csrn_hdf5_kind kind = csrn_hdf5_kind_of(file->id, path);
  if (kind == CSRN_HDF5_MISSING && optional)
    goto done;
  if (kind != CSRN_HDF5_DATASET) {
    status = csrn_hdf5_refuse_kind(file, path, kind);
    goto done;
  }
  dataset = H5Dopen2(file->id, path, H5P_DEFAULT);
  texts = dataset < 0 ? NULL : csrn_hdf5_strings(dataset, &found);
  if (!texts)
    status = csrn_hdf5_failed(file, "read the texts of", path);
  else if (found != n)
    status = csrn_hdf5_refuse(file, "%s has %" PRId64 " texts, expected %" PRId64 " for the shape of %s",
                              path, found, n, input->matrix);
  else {
    table->n_rows = n;
    table->names[table->n_columns] = column;
    table->columns[table->n_columns++] = texts;
    texts = NULL;
  }
done:
  csrn_hdf5_strings_free(texts, found);
  csrn_hdf5_close(dataset);
  free(path);
  return status;
}

/* The names as scanpy calls them, with the gene symbols as the index. A file of probes has the gene of each
 * beside its own id. */
static const struct {
  const char *v3, *of_probes, *v2, *column;
} gene_columns[] = {
    {"features/name", "features/name", "gene_names", "index"},
    {"features/id", "features/gene_id", "genes", "gene_ids"},
    {"features/feature_type", "features/feature_type", NULL, "feature_types"},
    {"features/genome", "features/genome", NULL, "genome"},
    {NULL, "features/id", NULL, "probe_ids"},
};

enum { N_GENE_COLUMNS = sizeof gene_columns / sizeof gene_columns[0] };

/* Whether a dataset of features is one of texts that none of the above is, one per feature; or may be one,
 * but cannot be opened. */
static int is_other_text(const csrn_hdf5_input *state, const char *path) {
  hsize_t extent[1] = {0};
  if (strstr(path, "/_"))
    return 0;
  for (size_t i = 0; i < N_GENE_COLUMNS; i++)
    if (!strcmp(path, gene_columns[i].of_probes))
      return 0;
  char *whole = csrn_hdf5_format("%s/%s", state->matrix, path);
  csrn_hdf5_kind kind = whole ? csrn_hdf5_kind_of(state->file.id, whole) : CSRN_HDF5_MISSING;
  hid_t dataset = kind == CSRN_HDF5_DATASET ? H5Dopen2(state->file.id, whole, H5P_DEFAULT) : -1;
  hid_t space = dataset < 0 ? -1 : H5Dget_space(dataset), type = dataset < 0 ? -1 : H5Dget_type(dataset);
  const int found = type >= 0 && H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_ndims(space) == 1 &&
                    H5Sget_simple_extent_dims(space, extent, NULL) == 1 &&
                    extent[0] == (hsize_t)state->n_cols;
  csrn_hdf5_close(type);
  csrn_hdf5_close(space);
  csrn_hdf5_close(dataset);
  free(whole);
  return found || kind == CSRN_HDF5_DANGLING || kind == CSRN_HDF5_UNREADABLE;
}

static char **find_column(const csrn_io_table *table, const char *name) {
  for (int i = 0; i < table->n_columns; i++)
    if (!strcmp(table->names[i], name))
      return table->columns[i];
  return NULL;
}

/* Version 3: what else features are described by (probe_region, pattern, ...), under its own name unless a
 * column has that. */
static csrn_io_status read_other_names(csrn_io_input *input) {
  csrn_hdf5_input *state = input->state;
  csrn_io_table *genes = &input->genes;
  csrn_io_status status = CSRN_IO_OK;
  char *group = csrn_hdf5_format("%s/features", state->matrix);
  state->feature_names = group ? csrn_hdf5_list(state->file.id, group) : NULL;
  if (!state->feature_names)
    status = csrn_hdf5_no_memory(&state->file, "the list of what features are described by", 0);
  for (char **name = state->feature_names; name && *name && !status; name++) {
    char *path = csrn_hdf5_format("features/%s", *name);
    if (!path)
      status = csrn_hdf5_no_memory(&state->file, *name, strlen(*name));
    else if (!find_column(genes, *name) && is_other_text(state, path))
      status = genes->n_columns < CSRN_IO_COLUMNS
                   ? add_column(state, path, 0, state->n_cols, *name, genes)
                   : csrn_hdf5_refuse(&state->file, "%s has more than %d texts for each feature", group,
                                      CSRN_IO_COLUMNS);
    free(path);
  }
  free(group);
  return status;
}

static csrn_io_status read_names(csrn_io_input *input, int v3) {
  const csrn_hdf5_input *state = input->state;
  char *gene_id = csrn_hdf5_format("%s/features/gene_id", state->matrix);
  const int probes = v3 && gene_id && csrn_hdf5_kind_of(state->file.id, gene_id) != CSRN_HDF5_MISSING;
  free(gene_id);
  csrn_io_status status = add_column(state, "barcodes", 0, state->n_rows, "index", &input->cells);
  for (size_t i = 0; !status && i < N_GENE_COLUMNS; i++) {
    const char *name = probes ? gene_columns[i].of_probes : v3 ? gene_columns[i].v3 : gene_columns[i].v2;
    if (name)
      status = add_column(state, name, i > 1, state->n_cols, gene_columns[i].column, &input->genes);
  }
  return status || !v3 ? status : read_other_names(input);
}

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The distinct texts of a column, sorted; empty without the column, NULL without memory. */
static char **distinct(char *const *column, int64_t n) {
  char **list = calloc((uint64_t)n + 1, sizeof *list);
  char **sorted = calloc((uint64_t)n + 1, sizeof *sorted);
  int64_t kept = 0;
  int fault = !list || !sorted;
  if (!fault && column) {
    memcpy(sorted, column, (uint64_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_texts);
    for (int64_t i = 0; i < n && !fault; i++)
      if (kept == 0 || strcmp(sorted[i], list[kept - 1]))
        fault = !(list[kept++] = strdup(sorted[i]));
  }
  free(sorted);
  if (!fault)
    return list;
  csrn_hdf5_list_free(list);
  return NULL;
}

/* ---- Selection of features ---- */

static csrn_io_status refuse_choice(const csrn_hdf5_file *file, const char *what, const char *chosen,
                                    char *const *choices) {
  char text[512];
  csrn_hdf5_list_text(choices, text, sizeof text);
  return csrn_hdf5_refuse(file, "no feature has the %s \"%s\"; there are: %s", what, chosen, text);
}

/* column_of[] of the features of that type and genome (NULL: of any); left NULL if all are. */
static csrn_io_status select_features(csrn_hdf5_input *state, char *const *types, const char *type,
                                      char *const *genomes, const char *genome, int64_t *n_selected) {
  int64_t *column_of = malloc(((uint64_t)state->n_cols + 1) * sizeof *column_of);
  if (!column_of)
    return csrn_hdf5_no_memory(&state->file, "the list of features",
                               (uint64_t)state->n_cols * sizeof *column_of);
  int64_t n = 0;
  for (int64_t j = 0; j < state->n_cols; j++) {
    int selected = (!type || !strcmp(types[j], type)) && (!genome || !strcmp(genomes[j], genome));
    column_of[j] = selected ? n++ : -1;
  }
  *n_selected = n;
  if (n == state->n_cols)
    free(column_of);
  else
    state->column_of = column_of;
  return CSRN_IO_OK;
}

/* Version 3: what the request selects, and whether there is such a thing. */
static csrn_io_status choose_features(csrn_io_input *input, const csrn_io_select *select,
                                      int64_t *n_selected) {
  csrn_hdf5_input *state = input->state;
  char **types = find_column(&input->genes, "feature_types"),
       **genomes = find_column(&input->genes, "genome");
  state->feature_types = distinct(types, state->n_cols);
  state->genomes = distinct(genomes, state->n_cols);
  if (!state->feature_types || !state->genomes)
    return csrn_hdf5_no_memory(&state->file, "the list of features", (uint64_t)state->n_cols);
  const char *type = select->feature_types;
  if (type && !strcmp(type, "all"))
    type = NULL;
  else if (!type && types && state->n_cols > 0)
    type = default_type;
  if (type && !csrn_hdf5_list_has(state->feature_types, type))
    return refuse_choice(&state->file, "type", type, state->feature_types);
  if (select->genome && !csrn_hdf5_list_has(state->genomes, select->genome))
    return refuse_choice(&state->file, "genome", select->genome, state->genomes);
  return select_features(state, types, type, genomes, select->genome, n_selected);
}

/* Drops the rows of the table of genes that are not selected. */
static void select_names(const csrn_hdf5_input *state, csrn_io_table *genes, int64_t n_selected) {
  for (int c = 0; c < genes->n_columns; c++)
    for (int64_t j = 0; j < state->n_cols; j++) {
      char *text = genes->columns[c][j];
      genes->columns[c][j] = NULL;
      if (state->column_of[j] >= 0)
        genes->columns[c][state->column_of[j]] = text;
      else
        free(text);
    }
  genes->n_rows = n_selected;
}

/* ---- Entries of the selected features ---- */

static inline void move_value(void *values, int64_t to, int64_t from, size_t bytes) {
  switch (bytes) {
  case 1:
    ((uint8_t *)values)[to] = ((uint8_t *)values)[from];
    break;
  case 2:
    ((uint16_t *)values)[to] = ((uint16_t *)values)[from];
    break;
  case 4:
    ((uint32_t *)values)[to] = ((uint32_t *)values)[from];
    break;
  default:
    ((uint64_t *)values)[to] = ((uint64_t *)values)[from];
  }
}

/* Moves the selected of the entries [from, to) to `at` and renumbers their columns; returns
 * where they end. */
#define DEFINE_KEEP(code, T, name)                                                                           \
  static int64_t keep_##name(T *indices, void *values, size_t bytes, const int64_t *column_of, int64_t from, \
                             int64_t to, int64_t at) {                                                       \
    for (int64_t k = from; k < to; k++) {                                                                    \
      int64_t column = column_of[indices[k]];                                                                \
      if (column < 0)                                                                                        \
        continue;                                                                                            \
      indices[at] = (T)column;                                                                               \
      move_value(values, at++, k, bytes);                                                                    \
    }                                                                                                        \
    return at;                                                                                               \
  }
INDEX_TYPES(DEFINE_KEEP)

#define DEFINE_COUNT(code, T, name)                                                                          \
  static int64_t count_##name(const T *indices, int64_t n, const int64_t *column_of, int64_t n_cols) {       \
    int64_t count = 0;                                                                                       \
    for (int64_t k = 0; k < n; k++)                                                                          \
      count += (uint64_t)indices[k] < (uint64_t)n_cols && column_of[indices[k]] >= 0;                        \
    return count;                                                                                            \
  }
INDEX_TYPES(DEFINE_COUNT)

static int64_t keep_entries(csrn_csr *csr, const int64_t *column_of, int64_t from, int64_t to, int64_t at) {
  size_t bytes = csrn_dtype_size(csr->data_type);
  switch (csr->indices_type) {
#define CASE(code, T, name)                                                                                  \
  case code:                                                                                                 \
    return keep_##name((T *)csr->indices, csr->data, bytes, column_of, from, to, at);
    INDEX_TYPES(CASE)
#undef CASE
  default:
    return at;
  }
}

/* indptr[i] = value, returning what it was. */
static int64_t exchange(csrn_csr *csr, int64_t i, int64_t value) {
  int64_t old = 0;
  switch (csr->indptr_type) {
#define CASE(code, T, name)                                                                                  \
  case code:                                                                                                 \
    old = (int64_t)((T *)csr->indptr)[i];                                                                    \
    ((T *)csr->indptr)[i] = (T)value;                                                                        \
    break;
    INDEX_TYPES(CASE)
#undef CASE
  default:
    break;
  }
  return old;
}

/* Keeps the entries of the selected features; the matrix has passed its check. */
static void keep_selected(csrn_csr *csr, const int64_t *column_of, int64_t n_selected) {
  int64_t at = 0, from = 0;
  for (int64_t i = 0; i < csr->n_rows; i++) {
    int64_t to = exchange(csr, i + 1, 0);
    at = keep_entries(csr, column_of, from, to, at);
    exchange(csr, i + 1, at);
    from = to;
  }
  csr->nnz = at;
  csr->n_cols = n_selected;
}

static int64_t count_indices(const void *indices, csrn_dtype type, int64_t n, const csrn_hdf5_input *state) {
  switch (type) {
#define CASE(code, T, name)                                                                                  \
  case code:                                                                                                 \
    return count_##name(indices, n, state->column_of, state->n_cols);
    INDEX_TYPES(CASE)
#undef CASE
  default:
    return 0;
  }
}

/* Stored values of the selected features, for the description: the one thing that metadata does not say.
 * Slab by slab, since the indices need not fit in memory; but libhdf5 decodes no less than a chunk, which
 * takes it as it is in the file and on both sides of a filter. */
static csrn_io_status count_selected(const csrn_hdf5_input *state, int64_t memory, int64_t *count) {
  const csrn_hdf5_array *indices = &state->indices;
  const size_t element = csrn_dtype_size(indices->type);
  const int64_t slab = (int64_t)csrn_hdf5_slab(indices->extent, indices->chunk, 1, element);
  const int64_t at_once = (slab < state->nnz ? slab : state->nnz) * (int64_t)element;
  const double needed = (double)at_once + 3 * (double)indices->chunk[0] * (double)element;
  *count = 0;
  if (memory > 0 && needed > (double)memory)
    return csrn_hdf5_refuse(
        &state->file, "needs %.0f bytes of memory to select features, more than the %" PRId64 " of --memory",
        needed, memory);
  void *some = malloc((size_t)at_once + 1);
  csrn_io_status status =
      some ? CSRN_IO_OK : csrn_hdf5_no_memory(&state->file, indices->path, (uint64_t)at_once);
  for (int64_t done = 0; some && done < state->nnz && !status; done += slab) {
    const int64_t n = state->nnz - done < slab ? state->nnz - done : slab;
    status = csrn_hdf5_array_slab(&state->file, indices, done, n, some);
    *count += status ? 0 : count_indices(some, indices->type, n, state);
  }
  free(some);
  return status;
}

/* ---- The reader ---- */

static csrn_io_status read_shape(csrn_hdf5_input *state) {
  char *path = csrn_hdf5_format("%s/shape", state->matrix);
  int64_t shape[2];
  csrn_hdf5_kind kind = path ? csrn_hdf5_kind_of(state->file.id, path) : CSRN_HDF5_MISSING;
  hid_t dataset = kind == CSRN_HDF5_DATASET ? H5Dopen2(state->file.id, path, H5P_DEFAULT) : -1;
  int fault = dataset < 0 || csrn_hdf5_integers(dataset, 2, shape);
  csrn_io_status status = kind == CSRN_HDF5_DANGLING || kind == CSRN_HDF5_UNREADABLE
                              ? csrn_hdf5_refuse_kind(&state->file, path, kind)
                              : CSRN_IO_OK;
  csrn_hdf5_close(dataset);
  free(path);
  if (status)
    return status;
  if (fault)
    return csrn_hdf5_refuse(&state->file, "%s/shape is missing or does not hold two integers", state->matrix);
  if (shape[0] < 0 || shape[1] < 0 || shape[0] > INT64_MAX / 16 || shape[1] > INT64_MAX / 16)
    return csrn_hdf5_refuse(&state->file,
                            "%s/shape is %" PRId64 " x %" PRId64 ", which is no shape of a matrix",
                            state->matrix, shape[0], shape[1]);
  state->n_cols = shape[0];
  state->n_rows = shape[1];
  return CSRN_IO_OK;
}

/* Whether all that may be a genome can be opened, so that the only one is the only one. */
static csrn_io_status check_groups(const csrn_hdf5_file *file) {
  char **groups = csrn_hdf5_list(file->id, "/");
  csrn_io_status status = CSRN_IO_OK;
  for (char **group = groups; group && *group && !status; group++)
    if (csrn_hdf5_kind_of(file->id, *group) == CSRN_HDF5_UNREADABLE)
      status = csrn_hdf5_refuse_kind(file, *group, CSRN_HDF5_UNREADABLE);
  csrn_hdf5_list_free(groups);
  return status;
}

/* Version 2: the group of the genome asked for, or the only one. */
static csrn_io_status choose_genome(csrn_hdf5_input *state, const csrn_io_select *select) {
  char text[512];
  csrn_io_status status = select->genome ? CSRN_IO_OK : check_groups(&state->file);
  if (status)
    return status;
  state->genomes = list_genome_groups(state->file.id);
  if (!state->genomes)
    return csrn_hdf5_no_memory(&state->file, "the list of genomes", 0);
  csrn_hdf5_list_text(state->genomes, text, sizeof text);
  const char *type = select->feature_types;
  if (type && strcmp(type, "all") && strcmp(type, default_type))
    return csrn_hdf5_refuse(&state->file,
                            "no feature has the type \"%s\": a 10x file of version 2 holds only \"%s\"", type,
                            default_type);
  if (!select->genome && state->genomes[0] && state->genomes[1])
    return csrn_hdf5_refuse(&state->file, "there are several genomes, and one must be chosen: %s", text);
  const char *genome = select->genome ? select->genome : state->genomes[0];
  if (!genome || !csrn_hdf5_list_has(state->genomes, genome))
    return csrn_hdf5_refuse(&state->file, "there is no genome \"%s\"; genomes: %s", genome ? genome : "",
                            text);
  state->matrix = strdup(genome);
  return state->matrix ? CSRN_IO_OK
                       : csrn_hdf5_no_memory(&state->file, "the name of the genome", strlen(genome));
}

static csrn_io_status refuse_options(const csrn_hdf5_file *file, const csrn_io_select *select) {
  if (select->layer)
    return csrn_hdf5_refuse(file, "a layer was chosen: 10x files have no layers");
  if (select->cells != CSRN_IO_CELLS_DEFAULT)
    return csrn_hdf5_refuse(file, "rows or columns were said to be the cells: a 10x file says it itself");
  return CSRN_IO_OK;
}

static csrn_io_status open_matrix(csrn_io_input *input, const csrn_io_select *select, int *v3) {
  csrn_hdf5_input *state = input->state;
  csrn_io_status status = refuse_options(&state->file, select);
  if (status)
    return status;
  *v3 = csrn_hdf5_kind_of(state->file.id, "matrix") == CSRN_HDF5_GROUP &&
        csrn_hdf5_kind_of(state->file.id, "matrix/genes") == CSRN_HDF5_MISSING;
  if (!*v3)
    status = choose_genome(state, select);
  else if (!(state->matrix = strdup("matrix")))
    status = csrn_hdf5_no_memory(&state->file, "matrix", 0);
  if (!status)
    status = read_shape(state);
  if (!status)
    status = csrn_hdf5_sparse_open(state);
  return status ? status : read_names(input, *v3);
}

static csrn_io_status open_parts(csrn_io_input *input, const csrn_io_select *select) {
  csrn_io_description *description = &input->description;
  int v3 = 0;
  csrn_hdf5_input *state = input->state;
  csrn_io_status status = open_matrix(input, select, &v3);
  if (status)
    return status;
  int64_t n_selected = state->n_cols;
  if (v3)
    status = choose_features(input, select, &n_selected);
  if (status)
    return status;
  csrn_hdf5_describe(state, description);
  if (state->column_of) {
    select_names(state, &input->genes, n_selected);
    status = count_selected(state, select->memory, &description->nnz);
  }
  description->format = CSRN_IO_10X;
  description->layout = CSRN_IO_CSR; /* of cells x genes */
  description->format_name = v3 ? "10x Genomics h5 (v3)" : "10x Genomics h5 (v2)";
  description->matrix_name = state->matrix;
  description->n_cells = state->n_rows;
  description->n_genes = n_selected;
  return status;
}

static csrn_io_status open_10x(csrn_io_input *input, const csrn_io_select *select, csrn_io_error *error) {
  csrn_io_status status = csrn_hdf5_input_open(input, error);
  if (!status)
    status = open_parts(input, select);
  return csrn_hdf5_settle_input(input, status);
}

static csrn_io_status read_10x(csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                               const csrn_io_progress *progress, csrn_io_error *error) {
  csrn_hdf5_begin();
  csrn_hdf5_input *state = input->state;
  char fault[CSRN_IO_FAULT];
  state->file.error = error;
  memset(matrix, 0, sizeof *matrix);
  matrix->cells = CSRN_PER_ROW;
  csrn_io_status status = csrn_hdf5_matrix_read(state, matrix, progress);
  /* Features are looked up by their indices before csrn_io_read() checks these. */
  if (!status && state->column_of && csrn_csr_check(ctx, &matrix->csr) != CSRN_OK)
    status = csrn_hdf5_refuse(&state->file, "%s is not a valid sparse matrix: %s", state->matrix,
                              csrn_io_matrix_fault(ctx, fault));
  status = csrn_hdf5_settle(&state->file, status);
  if (status)
    csrn_io_matrix_free(matrix);
  else if (state->column_of)
    keep_selected(&matrix->csr, state->column_of, input->description.n_genes);
  return status;
}

const csrn_io_reader csrn_io_10x_reader = {recognizes, open_10x, read_10x, csrn_hdf5_input_close};
