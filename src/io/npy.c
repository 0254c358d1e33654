/* See npy.h; the format is described in numpy's own documentation (numpy.lib.format). */
#include "npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Every kind of number that numpy writes and a matrix may hold; narrow ones are widened to a type of ours. */
static const struct {
  char kind;
  size_t size;
  csrn_dtype type;
  bool is_written;
} types[] = {
    {'f', 2, CSRN_F32, false}, {'f', 4, CSRN_F32, true}, {'f', 8, CSRN_F64, true}, {'u', 1, CSRN_U8, true},
    {'u', 2, CSRN_U16, true},  {'u', 4, CSRN_U32, true}, {'u', 8, CSRN_U64, true}, {'i', 1, CSRN_I32, false},
    {'i', 2, CSRN_I32, false}, {'i', 4, CSRN_I32, true}, {'i', 8, CSRN_I64, true}, {'b', 1, CSRN_U8, false},
};

enum { N_TYPES = sizeof types / sizeof types[0] };

static bool is_little_endian(void) {
  const uint16_t probe = 1;
  return *(const unsigned char *)&probe == 1;
}

/* ---- Reading ---------------------------------------------------------------- */

/* The header is a Python dictionary of three known keys. Each parser below takes the text at *p, moves behind
 * what it expects and the spaces that follow, and returns false if that is not there. */
static bool take(const char **p, const char *expected) {
  const size_t length = strlen(expected);
  if (strncmp(*p, expected, length) != 0)
    return false;
  *p += length;
  *p += strspn(*p, " ");
  return true;
}

/* Digits, fewer than overflow int64. */
static bool take_number(const char **p, int64_t *number) {
  const size_t length = strspn(*p, "0123456789");
  if (length == 0 || length > 18)
    return false;
  *number = strtoll(*p, NULL, 10);
  *p += length;
  return take(p, "");
}

static bool take_descr(const char **p, csrn_npy *npy) {
  int64_t size;
  const char *text = *p;
  if (text[0] != '\'' || !text[1] || !strchr("<>|=", text[1]) || !text[2] || !strchr("fiubUS", text[2]))
    return false;
  *p = text + 3;
  if (!take_number(p, &size) || !take(p, "'") || size == 0 || size > 256)
    return false;
  npy->kind = text[2];
  npy->size = (size_t)size * (npy->kind == 'U' ? 4 : 1); /* characters of 4 bytes */
  npy->swapped = text[1] == (is_little_endian() ? '>' : '<');
  npy->type = CSRN_NONE;
  for (int i = 0; i < N_TYPES; i++)
    if (types[i].kind == npy->kind && types[i].size == npy->size)
      npy->type = types[i].type;
  return npy->type != CSRN_NONE || npy->kind == 'U' || npy->kind == 'S';
}

/* "()" or "(n,)"; Python 2 wrote "(nL,)". */
static bool take_shape(const char **p, csrn_npy *npy) {
  npy->n = 1;
  if (!take(p, "("))
    return false;
  if (take(p, ")"))
    return true;
  return take_number(p, &npy->n) && (take(p, "L") || true) && take(p, ",") && take(p, ")");
}

/* Of one dimension, so that the order of the elements does not matter. */
static bool take_order(const char **p) {
  return take(p, "False") || take(p, "True");
}

static bool parse_dictionary(const char *p, csrn_npy *npy) {
  unsigned seen = 0;
  if (!take(&p, "{"))
    return false;
  while (!take(&p, "}")) {
    unsigned key;
    bool done;
    if (take(&p, "'descr'")) {
      key = 1;
      done = take(&p, ":") && take_descr(&p, npy);
    } else if (take(&p, "'fortran_order'")) {
      key = 2;
      done = take(&p, ":") && take_order(&p);
    } else {
      key = 4;
      done = take(&p, "'shape'") && take(&p, ":") && take_shape(&p, npy);
    }
    if (!done || (seen & key) || (!take(&p, ",") && *p != '}'))
      return false;
    seen |= key;
  }
  return seen == 7 && p[strspn(p, " \n")] == '\0';
}

bool csrn_npy_parse(const unsigned char *bytes, size_t n_bytes, csrn_npy *npy) {
  char dictionary[CSRN_NPY_LONGEST];
  if (n_bytes < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3)
    return false;
  size_t begin = bytes[6] == 1 ? 10 : 12, length = bytes[8] + ((size_t)bytes[9] << 8);
  if (bytes[6] > 1)
    length += ((size_t)bytes[10] << 16) + ((size_t)bytes[11] << 24);
  if (length >= sizeof dictionary || begin + length > n_bytes || memchr(bytes + begin, '\0', length))
    return false;
  memcpy(dictionary, bytes + begin, length);
  dictionary[length] = '\0';
  npy->data_offset = begin + length;
  return parse_dictionary(dictionary, npy);
}

static void swap_bytes(unsigned char *values, int64_t n, size_t size) {
  for (int64_t i = 0; i < n; i++, values += size)
    for (size_t k = 0; k < size / 2; k++) {
      unsigned char byte = values[k];
      values[k] = values[size - 1 - k];
      values[size - 1 - k] = byte;
    }
}

/* A float16 in the bits of a float32. */
static float widen_half(uint16_t half) {
  uint32_t exponent = half >> 10 & 31, mantissa = half & 1023, bits;
  float value;
  if (exponent == 0) {
    value = (float)mantissa * 0x1p-24F;
    return half & 0x8000 ? -value : value;
  }
  bits = (uint32_t)(half & 0x8000) << 16 | (exponent == 31 ? 255U : exponent + 112) << 23 | mantissa << 13;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* From the back, since the wide values are written over the narrow ones. */
static void widen(const csrn_npy *npy, void *values) {
  for (int64_t i = npy->n - 1; i >= 0; i--) {
    if (npy->kind == 'f')
      ((float *)values)[i] = widen_half(((const uint16_t *)values)[i]);
    else if (npy->size == 1)
      ((int32_t *)values)[i] = ((const int8_t *)values)[i];
    else
      ((int32_t *)values)[i] = ((const int16_t *)values)[i];
  }
}

void csrn_npy_convert(const csrn_npy *npy, void *values) {
  if (npy->swapped)
    swap_bytes(values, npy->n, npy->size);
  if (npy->size < csrn_dtype_size(npy->type))
    widen(npy, values);
}

/* ---- Writing ---------------------------------------------------------------- */

/* Padded with spaces to CSRN_NPY_HEADER bytes, so that what follows is aligned as numpy wants it. */
static void write_header(const char *descr, const char *shape, char header[CSRN_NPY_HEADER]) {
  enum { PREFIX = 10, LENGTH = CSRN_NPY_HEADER - PREFIX };
  char text[LENGTH + 1];
  int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
  snprintf(text + n, sizeof text - (size_t)n, "%*s", LENGTH - n, "\n");
  memcpy(header, "\x93NUMPY\x01\x00", 8);
  header[8] = LENGTH;
  header[9] = 0;
  memcpy(header + PREFIX, text, LENGTH);
}

void csrn_npy_header(csrn_dtype type, int64_t n, char header[CSRN_NPY_HEADER]) {
  char descr[8] = "", shape[32];
  for (int i = 0; i < N_TYPES; i++)
    if (types[i].type == type && types[i].is_written)
      snprintf(descr, sizeof descr, "%c%c%d",
               types[i].size == 1   ? '|'
               : is_little_endian() ? '<'
                                    : '>',
               types[i].kind, (int)types[i].size);
  snprintf(shape, sizeof shape, "(%" PRId64 ",)", n);
  write_header(descr, shape, header);
}

void csrn_npy_word_header(int length, char header[CSRN_NPY_HEADER]) {
  char descr[16];
  snprintf(descr, sizeof descr, "|S%d", length);
  write_header(descr, "()", header);
}
