/*
 * See codec.h. libdeflate inflates and compresses at the levels that were asked for;
 * ISA-L deflates where speed is all that matters. Measured on an AMD EPYC (AVX2), chunks
 * of 128 KiB of float32, MB/s of one core: inflating what zlib's level 4 made of counts:
 * libdeflate 1,020, ISA-L 870; deflating normalized counts: ISA-L level 1 400 (ratio
 * 0.182), libdeflate level 1 220 (0.147), zlib level 4 75 (0.133).
 */
#include "codec.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <libdeflate.h>
#include <lzf.h>
#include <stdlib.h>
#include <string.h>

struct csrn_coder {
  struct libdeflate_decompressor *inflater;
  struct libdeflate_compressor *deflater; /* of `level`; made when needed */
  int level;
  struct isal_zstream stream;
  uint8_t *fast; /* working memory of ISA-L's level 1 */
  uint8_t *scratch;
  size_t room; /* bytes of scratch */
};

enum { FAST_BYTES = ISAL_DEF_LVL1_DEFAULT };

bool csrn_codec_equal(const csrn_codec *a, const csrn_codec *b) {
  return a->shuffle == b->shuffle && a->kind == b->kind && (!a->shuffle || a->element == b->element);
}

csrn_coder *csrn_coder_create(void) {
  csrn_coder *coder = calloc(1, sizeof *coder);
  if (!coder)
    return NULL;
  coder->inflater = libdeflate_alloc_decompressor();
  coder->fast = malloc(FAST_BYTES);
  if (coder->inflater && coder->fast)
    return coder;
  csrn_coder_destroy(coder);
  return NULL;
}

void csrn_coder_destroy(csrn_coder *coder) {
  if (!coder)
    return;
  libdeflate_free_decompressor(coder->inflater);
  libdeflate_free_compressor(coder->deflater);
  free(coder->fast);
  free(coder->scratch);
  free(coder);
}

/* Stored blocks of deflate take 5 bytes for each 64 KiB at most, the zlib stream 6; more is not used, since a
 * chunk that does not become smaller is left as it is. */
size_t csrn_codec_bound(size_t raw) {
  return raw + raw / 256 + 64;
}

static uint8_t *scratch_of(csrn_coder *coder, size_t bytes) {
  if (coder->room < bytes) {
    free(coder->scratch);
    coder->scratch = malloc(bytes);
    coder->room = coder->scratch ? bytes : 0;
  }
  return coder->scratch;
}

/* ---- Shuffle ----------------------------------------------------------------- */

/* Byte b of element i to place b * n + i, or back. What is left of a chunk behind its last whole element
 * stays behind. */
static inline void move_bytes(const uint8_t *from, size_t bytes, size_t element, bool back, uint8_t *to) {
  const size_t n = bytes / element;
  for (size_t b = 0; b < element; b++)
    for (size_t i = 0; i < n; i++) {
      const size_t whole = i * element + b, apart = b * n + i;
      to[back ? whole : apart] = from[back ? apart : whole];
    }
  memcpy(to + n * element, from + n * element, bytes - n * element);
}

/* The usual sizes as constants, which compilers make twice as fast. */
static void shuffle(const uint8_t *from, size_t bytes, size_t element, bool back, uint8_t *to) {
  if (element == 4 && back)
    move_bytes(from, bytes, 4, true, to);
  else if (element == 4)
    move_bytes(from, bytes, 4, false, to);
  else if (element == 8 && back)
    move_bytes(from, bytes, 8, true, to);
  else
    move_bytes(from, bytes, element, back, to);
}

/* ---- Compressors ------------------------------------------------------------- */

static bool decompress(csrn_coder *coder, csrn_codec_kind kind, const void *from, size_t n, void *to,
                       size_t raw) {
  size_t made = 0;
  if (kind == CSRN_CODEC_DEFLATE)
    return libdeflate_zlib_decompress(coder->inflater, from, n, to, raw, NULL) == LIBDEFLATE_SUCCESS;
  if (kind == CSRN_CODEC_LZF && n <= UINT32_MAX && raw <= UINT32_MAX)
    made = lzf_decompress(from, (unsigned)n, to, (unsigned)raw);
  return made == raw;
}

/* ISA-L 2.30 looks at members of the stream that it has not set: one chunk in some thousands comes out a byte
 * longer or shorter for it. Set here, that is one in some ten thousands: equal values need not give equal
 * bytes. */
static size_t deflate_fast(csrn_coder *coder, const void *from, size_t raw, void *to, size_t room) {
  struct isal_zstream *stream = &coder->stream;
  memset(stream, 0, sizeof *stream);
  isal_deflate_stateless_init(stream);
  stream->level = 1;
  stream->level_buf = coder->fast;
  stream->level_buf_size = FAST_BYTES;
  stream->gzip_flag = IGZIP_ZLIB;
  stream->end_of_stream = 1;
  stream->next_in = (uint8_t *)(uintptr_t)from;
  stream->avail_in = (uint32_t)raw;
  stream->next_out = to;
  stream->avail_out = room > UINT32_MAX ? UINT32_MAX : (uint32_t)room;
  return isal_deflate_stateless(stream) == COMP_OK ? stream->total_out : 0;
}

static size_t deflate_well(csrn_coder *coder, int level, const void *from, size_t raw, void *to,
                           size_t room) {
  level = level > 1 ? level : 1;
  if (coder->level != level) {
    libdeflate_free_compressor(coder->deflater);
    coder->deflater = libdeflate_alloc_compressor(level);
    coder->level = coder->deflater ? level : 0;
  }
  return coder->deflater ? libdeflate_zlib_compress(coder->deflater, from, raw, to, room) : 0;
}

/* 0 if the result is not smaller than `raw` bytes. */
static size_t compress(csrn_coder *coder, const csrn_codec *codec, const void *from, size_t raw, void *to) {
  const size_t room = csrn_codec_bound(raw);
  size_t n = 0;
  if (codec->kind == CSRN_CODEC_LZF)
    return raw < 2 || raw > UINT32_MAX ? 0 : lzf_compress(from, (unsigned)raw, to, (unsigned)raw - 1);
  if (codec->kind == CSRN_CODEC_DEFLATE)
    n = codec->level <= 1 && raw <= UINT32_MAX / 2 ? deflate_fast(coder, from, raw, to, room)
                                                   : deflate_well(coder, codec->level, from, raw, to, room);
  return n < raw ? n : 0;
}

/* ---- Both -------------------------------------------------------------------- */

bool csrn_codec_decode(csrn_coder *coder, const csrn_codec *codec, uint32_t mask, const void *from, size_t n,
                       void *to, size_t raw) {
  const bool shuffled = codec->shuffle && !(mask & 1);
  const bool compressed = codec->kind != CSRN_CODEC_NONE && !(mask >> codec->shuffle & 1);
  const uint8_t *bytes = from;
  if (!compressed && n != raw)
    return false;
  if (compressed) {
    uint8_t *target = shuffled ? scratch_of(coder, raw) : to;
    if (!target || !decompress(coder, codec->kind, from, n, target, raw))
      return false;
    bytes = target;
  }
  if (shuffled)
    shuffle(bytes, raw, codec->element, true, to);
  else if (bytes != to)
    memcpy(to, bytes, raw);
  return true;
}

size_t csrn_codec_encode(csrn_coder *coder, const csrn_codec *codec, const void *from, size_t raw, void *to,
                         uint32_t *mask) {
  const uint8_t *bytes = codec->shuffle ? scratch_of(coder, raw) : from;
  *mask = 0;
  if (!bytes)
    return 0;
  if (codec->shuffle)
    shuffle(from, raw, codec->element, false, coder->scratch);
  const size_t n = codec->kind == CSRN_CODEC_NONE ? 0 : compress(coder, codec, bytes, raw, to);
  if (n > 0)
    return n;
  if (codec->kind != CSRN_CODEC_NONE)
    *mask = 1U << codec->shuffle;
  memcpy(to, bytes, raw);
  return raw;
}
