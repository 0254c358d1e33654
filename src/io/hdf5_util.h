/*
 * HDF5 as the readers and writers of .h5ad and 10x files see it: numbers, texts and
 * attributes with this library's error sentences around libhdf5's calls. Objects are
 * named by their path from the root of the file, which is also how messages name them.
 */
#ifndef CSRN_HDF5_UTIL_H
#define CSRN_HDF5_UTIL_H

#include "codec.h"
#include "io_internal.h"

#include <hdf5.h>
#include <stdatomic.h>

enum {
  CSRN_HDF5_LZF = 32000,         /* registered id of h5py's lzf filter */
  CSRN_HDF5_FILTERS_TEXT = 128,  /* room for "shuffle+gzip-4" and the like */
  CSRN_HDF5_SLAB_BYTES = 4 << 20 /* read or written between two reports of progress */
};

/* What the system refused of the reading or writing of a file. */
typedef struct csrn_hdf5_fault {
  atomic_int number; /* errno of the first access that failed; 0: none has */
  bool writes;
} csrn_hdf5_fault;

/* A file and where its errors go. */
typedef struct csrn_hdf5_file {
  hid_t id;
  const char *path;
  csrn_io_error *error;
  const csrn_hdf5_fault *fault; /* or NULL */
} csrn_hdf5_file;

/* ---- hdf5_driver.c: files, and what the system refused ---- */

/* Each takes `fault` along until the file is closed. No other file is ever opened: an external link dangles.
 * A read that fails is a failure of libhdf5's call, or of an object that seems not to be there; a write that
 * fails is told by nobody but the fault. Negative on failure. */
hid_t csrn_hdf5_open_file(const char *path, csrn_hdf5_fault *fault);
hid_t csrn_hdf5_create_file(const char *path, hid_t properties, csrn_hdf5_fault *fault);
/* Whether the system has done all it was asked for; to stop early by. */
static inline bool csrn_hdf5_is_sound(const csrn_hdf5_file *file) {
  return !file->fault || file->fault->number == 0;
}

/* Where the bytes of a chunk lie in a file, for whoever asked for them to read or write them himself: what
 * takes time about that needs no lock. */
typedef struct csrn_hdf5_span {
  struct csrn_hdf5_driven *file; /* NULL: there is nothing left to do */
  uint64_t address;
} csrn_hdf5_span;

/* H5Dread_chunk() and H5Dwrite_chunk() of `size` bytes, but for reading and writing them. A chunk that has
 * not as many is not found: of datasets without filters H5Dget_chunk_storage_size() says what a chunk should
 * have, and H5Dread_chunk() reads what the file says, into whatever room there is. */
herr_t csrn_hdf5_find_chunk(hid_t dataset, const hsize_t *offset, size_t size, uint32_t *mask, void *to,
                            csrn_hdf5_span *span);
herr_t csrn_hdf5_place_chunk(hid_t dataset, const hsize_t *offset, size_t size, uint32_t mask,
                             const void *from, csrn_hdf5_span *span);
/* The rest of that, by any thread, and before the file is closed; where spans lie side by side for all of
 * them at once. What the system refuses is a fault of the file: elements that cannot be read are zeros. */
void csrn_hdf5_read_span(const csrn_hdf5_span *span, size_t size, void *to);
void csrn_hdf5_write_span(const csrn_hdf5_span *span, size_t size, const void *from);

/* What becomes of `status`: a failure, with the system's reason, if the system refused anything. To be asked
 * at the end of whatever reads, and when what was written is closed. */
csrn_io_status csrn_hdf5_settle(const csrn_hdf5_file *file, csrn_io_status status);

/* ---- hdf5_util.c: the library, errors, objects, texts ---- */

/* Before any other call of a thread: libhdf5 prints nothing and knows lzf. */
void csrn_hdf5_begin(void);
int csrn_hdf5_is_hdf5(const unsigned char magic[8]);
/* Closes an identifier of any kind; negative ones are ignored. */
void csrn_hdf5_close(hid_t id);

/* "FILE: sentence" */
csrn_io_status csrn_hdf5_refuse(const csrn_hdf5_file *file, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "FILE: cannot ACTION OBJECT: what libhdf5 or the system said" */
csrn_io_status csrn_hdf5_failed(const csrn_hdf5_file *file, const char *action, const char *object);
csrn_io_status csrn_hdf5_no_memory(const csrn_hdf5_file *file, const char *object, uint64_t bytes);

typedef enum csrn_hdf5_kind {
  CSRN_HDF5_MISSING,    /* there is no link of that name */
  CSRN_HDF5_DANGLING,   /* a link to another file, or to nothing */
  CSRN_HDF5_UNREADABLE, /* an object that libhdf5 cannot open */
  CSRN_HDF5_GROUP,
  CSRN_HDF5_DATASET,
  CSRN_HDF5_OTHER
} csrn_hdf5_kind;

/* Follows links. */
csrn_hdf5_kind csrn_hdf5_kind_of(hid_t location, const char *path);
/* "FILE: PATH is ..., expected a dataset", or why it cannot be opened, for a path of that kind. */
csrn_io_status csrn_hdf5_refuse_kind(const csrn_hdf5_file *file, const char *path, csrn_hdf5_kind kind);

/* A formatted string from malloc(), or NULL. */
char *csrn_hdf5_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A NULL-terminated list of the names in a group, sorted; empty if there is no such group. */
char **csrn_hdf5_list(hid_t location, const char *group);
void csrn_hdf5_list_free(char **list);
int csrn_hdf5_list_has(char *const *list, const char *name);
/* "a, b, c" or "none" into text[size]; ends in "..." if it does not fit. */
void csrn_hdf5_list_text(char *const *list, char *text, size_t size);

/* The texts of an attribute or dataset of strings, fixed or variable in length; NULL
 * if it is anything else or cannot be read. Freed with csrn_hdf5_strings_free(). */
char **csrn_hdf5_strings(hid_t object, int64_t *n);
void csrn_hdf5_strings_free(char **strings, int64_t n);
/* The text of an attribute that holds one string, or NULL. */
char *csrn_hdf5_text_attribute(hid_t object, const char *name);
/* 0 if the attribute or dataset holds exactly n integers, which go to values. */
int csrn_hdf5_integers(hid_t object, int n, int64_t *values);

/* ---- hdf5_chunks.c: what libhdf5 must not see ---- */

/* Whether the first n_filters are an optional shuffle and at most one compressor that codec.c has. */
bool csrn_hdf5_find_codec(hid_t properties, int n_filters, csrn_codec *codec);
/* Whether a dataset is virtual, with elements in another file, whose name goes to name[size]. */
bool csrn_hdf5_is_elsewhere(hid_t properties, char *name, size_t size);
/* Whether a chunk with a part of rows [start, start + n) is not as large as its dataset says, or damaged, or
 * all elements are in another file; *where: its first row. To be asked before H5Dread(). */
int csrn_hdf5_has_bad_chunk(hid_t dataset, hsize_t start, hsize_t n, hsize_t *where);
/* The same as a sentence. */
csrn_io_status csrn_hdf5_check_chunks(const csrn_hdf5_file *file, hid_t dataset, const char *path,
                                      hsize_t start, hsize_t n);

/* ---- hdf5_lzf.c ---- */

/* Teaches libhdf5 to read and write lzf, as h5py does; 0 on success. */
int csrn_hdf5_register_lzf(void);

/* ---- hdf5_array.c: numbers in datasets ---- */

/* An open dataset of numbers. */
typedef struct csrn_hdf5_array {
  hid_t id;
  char *path;
  int rank; /* 1 or 2 */
  hsize_t extent[2];
  hsize_t chunk[2]; /* 0: not chunked */
  csrn_dtype type;  /* as it is read: float16 as f32, int8 and int16 as i32, bool as u8 */
  int narrow;       /* uint64 in the file, read as i64 where it fits */
  char filters[CSRN_HDF5_FILTERS_TEXT];
} csrn_hdf5_array;

typedef enum csrn_hdf5_use { CSRN_HDF5_VALUES, CSRN_HDF5_INDICES } csrn_hdf5_use;

/* The memory type of an element type. */
hid_t csrn_hdf5_native(csrn_dtype type);

/* Opens `path` and checks that it holds numbers (integers, for indices) in `rank`
 * dimensions, through filters that this libhdf5 has. */
csrn_io_status csrn_hdf5_array_open(const csrn_hdf5_file *file, const char *path, int rank, csrn_hdf5_use use,
                                    csrn_hdf5_array *array);
/* Reads the first `n` slices (elements, or rows of a 2-D array) into *values, from malloc(). */
csrn_io_status csrn_hdf5_array_read(const csrn_hdf5_file *file, const csrn_hdf5_array *array, int64_t n,
                                    const char *step, const csrn_io_progress *progress, void **values);
/* Slices [start, start + n) of an array of indices into values. */
csrn_io_status csrn_hdf5_array_slab(const csrn_hdf5_file *file, const csrn_hdf5_array *array, int64_t start,
                                    int64_t n, void *values);
void csrn_hdf5_array_close(csrn_hdf5_array *array);
/* Slices to read or write at once: some MB, in whole chunks. */
hsize_t csrn_hdf5_slab(const hsize_t *extent, const hsize_t *chunk, int rank, size_t element_bytes);

/* ---- hdf5_matrix.c: the matrix of an input ---- */

/* State of an open .h5ad or 10x file. */
typedef struct csrn_hdf5_input {
  csrn_hdf5_file file;
  csrn_hdf5_fault fault; /* of file */
  char *matrix;          /* path of the sparse group or dense dataset */
  int dense;
  csrn_hdf5_array data, indices, indptr; /* data alone if dense */
  int64_t n_rows, n_cols, nnz;           /* as stored */
  char **layers, **genomes, **feature_types;
  char **feature_names; /* 10x: what features are described by, the names of columns of the table of genes */
  int64_t
      *column_of; /* 10x: [n_cols] column of each feature in the result, -1: not selected; NULL: all are */
  struct csrn_npz *npz; /* the file is an .npz, which streams alike: see npz.h; NULL: HDF5 */
} csrn_hdf5_input;

/* Opens data, indices and indptr of the group input->matrix, which has n_rows x n_cols,
 * and checks their lengths against each other. */
csrn_io_status csrn_hdf5_sparse_open(csrn_hdf5_input *input);
/* Reads them, or the dense dataset. The entries are not looked at: csrn_io_read() does. */
csrn_io_status csrn_hdf5_matrix_read(csrn_hdf5_input *input, csrn_io_matrix *matrix,
                                     const csrn_io_progress *progress);
/* Fills the parts of a description that follow from the above. */
void csrn_hdf5_describe(const csrn_hdf5_input *input, csrn_io_description *description);
/* Opens the file and makes the state; always sets input->state. */
csrn_io_status csrn_hdf5_input_open(csrn_io_input *input, csrn_io_error *error);
void csrn_hdf5_input_close(csrn_io_input *input);
/* csrn_hdf5_settle() for an input, which may have no state. */
csrn_io_status csrn_hdf5_settle_input(const csrn_io_input *input, csrn_io_status status);

/* Rows of an anndata dataframe (a group, or before 0.7 a compound dataset); -1: cannot be told. */
int64_t csrn_hdf5_frame_length(hid_t file, const char *frame);
/* Whether the HDF5 file at `path` has the groups of a 10x file; -1 with errno set if it cannot be read. */
int csrn_hdf5_is_10x(const char *path);

/* ---- hdf5_write.c: datasets and attributes of an output ---- */

/* Creation properties for a dataset like `model` (an open dataset, or negative for none):
 * its chunks and, by `compression`, its filters, none, or gzip. Filters that could change
 * values, or that this libhdf5 cannot write, become gzip. Negative on failure. */
hid_t csrn_hdf5_storage(hid_t model, int rank, const hsize_t *extent, csrn_io_compression compression,
                        int level);

/* Whether a dataset made with the filters of these properties has the same filters. */
int csrn_hdf5_keeps_filters(hid_t properties);

/* The chunks of a dataset of that extent where no model says it. */
void csrn_hdf5_default_chunk(int rank, const hsize_t *extent, hsize_t *chunk);

/* A dataset to be written: `n` slices (elements, or rows) of `values`; what is left of
 * the extent reads as 0. */
typedef struct csrn_hdf5_values {
  const char *name, *step; /* of progress; NULL: reports none */
  int rank;
  hsize_t extent[2], max[2]; /* max as in H5Screate_simple(); used if the storage is chunked */
  csrn_dtype type;
  const void *values;
  int64_t n;
} csrn_hdf5_values;

/* Creates the dataset in `group` and writes it, or leaves it empty if there are no values; it is left open in
 * *dataset unless NULL. */
csrn_io_status csrn_hdf5_write_values(const csrn_hdf5_file *file, hid_t group, const csrn_hdf5_values *values,
                                      hid_t storage, const csrn_io_progress *progress, hid_t *dataset);
/* Messages name `from` by its path, or as `object` where it is the root. */
csrn_io_status csrn_hdf5_copy_attributes(const csrn_hdf5_file *file, hid_t from, hid_t to,
                                         const char *object);

/* Each returns 0 on success; a fault is left on libhdf5's error stack. Attributes that are
 * there already are replaced. */
int csrn_hdf5_write_text(hid_t object, const char *name, const char *text);
int csrn_hdf5_write_texts(hid_t object, const char *name, char *const *texts, int64_t n);
int csrn_hdf5_write_integers(hid_t object, const char *name, int n, const int64_t *values);
int csrn_hdf5_write_encoding(hid_t object, const char *type, const char *version);
/* A group encoded as `type`, or as nothing if NULL; negative on failure. */
hid_t csrn_hdf5_create_group(hid_t location, const char *name, const char *type, const char *version);
/* A dataset for n texts of variable length, encoded as anndata's string-array; negative on failure. */
hid_t csrn_hdf5_make_string_array(hid_t group, const char *name, int64_t n);
/* Elements [start, start + n) of it; 0 on success. */
int csrn_hdf5_write_strings(hid_t dataset, int64_t start, int64_t n, char *const *texts);

/* ---- h5ad_write.c, h5ad_copy.c, h5ad_whole.c, h5ad_annotate.c: csrn_io_write_h5ad() and its parts ---- */

/* Writes what a matrix without arrays of its own leaves empty, and sets the factors of `output`. */
typedef csrn_io_status (*csrn_hdf5_fill)(void *user, const csrn_hdf5_file *file, csrn_io_output *output);

/* A copy of an .h5ad input as csrn_io_write_h5ad() makes it; fill(user, ...) is called when all that does not
 * depend on the values has been copied. */
csrn_io_status csrn_hdf5_write_copy(csrn_hdf5_input *input, const csrn_io_matrix *matrix,
                                    const csrn_io_output *output, const char *path, csrn_hdf5_fill fill,
                                    void *user, const csrn_io_progress *progress, csrn_io_error *error);

/* A new .h5ad, in the same way. */
csrn_io_status csrn_hdf5_write_new(csrn_io_input *input, const csrn_io_matrix *matrix,
                                   const csrn_io_output *output, const char *path, csrn_hdf5_fill fill,
                                   void *user, const csrn_io_progress *progress, csrn_io_error *error);

/* What becomes of the indices in a copy whose values are written by a fill. */
typedef enum csrn_hdf5_indices {
  CSRN_HDF5_INDICES_COPIED, /* libhdf5 copies them */
  CSRN_HDF5_INDICES_RAW,    /* the dataset is made as it is, for its chunks (or elements) to be copied */
  CSRN_HDF5_INDICES_RECODED /* the dataset is made with the filters of the output */
} csrn_hdf5_indices;

csrn_hdf5_indices csrn_hdf5_indices_in(const csrn_hdf5_input *input, const csrn_io_output *output);

/* Copies all of an .h5ad to `file`, with the values of `matrix` in the place of those of
 * the input's matrix; where it has no array, the dataset is made and left empty. */
csrn_io_status csrn_hdf5_copy_h5ad(csrn_hdf5_input *input, const csrn_io_matrix *matrix,
                                   const csrn_io_output *output, const csrn_hdf5_file *file,
                                   const csrn_io_progress *progress);
/* Bytes that the largest chunk takes of what is copied beside the matrix. */
int64_t csrn_hdf5_copied_bytes(const csrn_hdf5_input *input);
/* Whether attributes of an object lie outside of its header, in the format of HDF5 1.8: 1, 0, or -1. */
int csrn_hdf5_has_dense_attributes(hid_t object);
/* Has an object made with the properties take as large attributes as `object` has; 0 on success. */
int csrn_hdf5_allow_dense_attributes(hid_t object, hid_t properties);
/* Refuses an object that H5Ocopy() does not copy as it should be: see h5ad_whole.c. */
csrn_io_status csrn_hdf5_check_whole(const csrn_hdf5_file *file, hid_t from, const char *name);
/* Whether the input has places for what is added to a copy of it; to be asked before anything is written. */
csrn_io_status csrn_hdf5_check_places(const csrn_hdf5_file *input, const csrn_io_output *output);
/* Adds obs/<key_added> and uns/log1p as `output` asks. */
csrn_io_status csrn_hdf5_annotate(const csrn_hdf5_file *file, const csrn_io_output *output, int64_t n_cells);

#endif
