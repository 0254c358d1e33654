/*
 * The .npy format of numpy (versions 1 to 3), one-dimensional arrays of numbers: for .npz
 * members and for vectors given to the command line.
 */
#ifndef CSRN_NPY_H
#define CSRN_NPY_H

#include "io_internal.h"

/* The header of an array. */
typedef struct csrn_npy {
  size_t data_offset; /* from the beginning of the file */
  int64_t n;          /* elements; 1 for a scalar */
  char kind;          /* 'f', 'i', 'u', 'b', 'U' or 'S' */
  size_t size;        /* bytes of an element */
  bool swapped;       /* byte order other than this machine's */
  csrn_dtype type;    /* in memory; CSRN_NONE for text */
} csrn_npy;

/* Reads the header at the beginning of `bytes`; false if that is none. */
bool csrn_npy_parse(const unsigned char *bytes, size_t n_bytes, csrn_npy *npy);

/* Converts n elements as they are in the file to npy->type, in the same memory, which has
 * room for n elements of either size. */
void csrn_npy_convert(const csrn_npy *npy, void *values);

/* Bytes of a header as written here, and the most of one that is read. */
enum { CSRN_NPY_HEADER = 128, CSRN_NPY_LONGEST = 1200 };

/* Writes the header of n elements, or of one word of `length` bytes. */
void csrn_npy_header(csrn_dtype type, int64_t n, char header[CSRN_NPY_HEADER]);
void csrn_npy_word_header(int length, char header[CSRN_NPY_HEADER]);

#endif
