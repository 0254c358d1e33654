/* See npy.h; the format is described in numpy's own documentation (numpy.lib.format). */
#include "npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  char kind;
  size_t size;
  csrn_dtype type;
  const char *descr; /* as written; NULL for what is only read */
} types[] = {
    {'f', 2, CSRN_F32, NULL},  {'f', 4, CSRN_F32, "<f4"}, {'f', 8, CSRN_F64, "<f8"}, {'u', 1, CSRN_U8, "|u1"},
    {'u', 2, CSRN_U16, "<u2"}, {'u', 4, CSRN_U32, "<u4"}, {'u', 8, CSRN_U64, "<u8"}, {'i', 1, CSRN_I32, NULL},
    {'i', 2, CSRN_I32, NULL},  {'i', 4, CSRN_I32, "<i4"}, {'i', 8, CSRN_I64, "<i8"}, {'b', 1, CSRN_U8, NULL},
};

enum { N_TYPES = sizeof types / sizeof types[0] };

/* Points behind "'KEY':" and spaces in the header's dictionary. */
static const char *find_key(const char *dictionary, const char *key) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "'%s':", key);
  const char *found = strstr(dictionary, quoted);
  return found ? found + strlen(quoted) + strspn(found + strlen(quoted), " ") : NULL;
}

static bool parse_descr(const char *text, csrn_npy *npy) {
  const uint16_t probe = 1;
  const bool little = *(const unsigned char *)&probe == 1;
  if (!text || *text != '\'' || !strchr("<>|=", text[1]) || !strchr("fiubUS", text[2]))
    return false;
  char *end;
  npy->kind = text[2];
  npy->size = strtoul(text + 3, &end, 10) * (npy->kind == 'U' ? 4 : 1);
  npy->swapped = (text[1] == '>' && little) || (text[1] == '<' && !little);
  npy->type = CSRN_NONE;
  for (int i = 0; i < N_TYPES; i++)
    if (types[i].kind == npy->kind && types[i].size == npy->size)
      npy->type = types[i].type;
  bool is_text = npy->kind == 'U' || npy->kind == 'S';
  return *end == '\'' && npy->size > 0 && npy->size < 1024 && (npy->type != CSRN_NONE || is_text);
}

static bool parse_shape(const char *text, csrn_npy *npy) {
  char *end;
  if (!text || *text != '(')
    return false;
  npy->n = 1;
  if (text[1] == ')')
    return true;
  npy->n = strtoll(text + 1, &end, 10);
  return end > text + 1 && npy->n >= 0 && *end == ',' && end[1] == ')';
}

bool csrn_npy_parse(const unsigned char *bytes, size_t n_bytes, csrn_npy *npy) {
  char dictionary[1024];
  if (n_bytes < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3)
    return false;
  size_t begin = bytes[6] == 1 ? 10 : 12, length = bytes[8] + ((size_t)bytes[9] << 8);
  if (bytes[6] > 1)
    length += ((size_t)bytes[10] << 16) + ((size_t)bytes[11] << 24);
  if (length >= sizeof dictionary || begin + length > n_bytes)
    return false;
  memcpy(dictionary, bytes + begin, length);
  dictionary[length] = '\0';
  npy->data_offset = begin + length;
  return parse_descr(find_key(dictionary, "descr"), npy) && parse_shape(find_key(dictionary, "shape"), npy);
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

size_t csrn_npy_header(csrn_dtype type, int64_t n, bool is_scalar, char header[128]) {
  char dictionary[118], shape[32] = "()";
  const char *descr = "";
  for (int i = 0; i < N_TYPES; i++)
    if (types[i].type == type && types[i].descr)
      descr = types[i].descr;
  if (!is_scalar)
    snprintf(shape, sizeof shape, "(%" PRId64 ",)", n);
  int length = snprintf(dictionary, sizeof dictionary,
                        "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
  memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* 118 bytes follow, so that data begins at 128 */
  memset(header + 10, ' ', 118);
  memcpy(header + 10, dictionary, (size_t)length);
  header[127] = '\n';
  return 128;
}
