/*
 * Chunks of HDF5 datasets coded and decoded outside of libhdf5, so that many threads can
 * do it at once: the byte shuffle, and behind it deflate (what HDF5 calls gzip) or lzf.
 * Nothing here knows a file; a coder belongs to one thread.
 */
#ifndef CSRN_CODEC_H
#define CSRN_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum csrn_codec_kind { CSRN_CODEC_NONE, CSRN_CODEC_DEFLATE, CSRN_CODEC_LZF } csrn_codec_kind;

/* The filters of a dataset: at most a shuffle, then at most one compressor. A filter mask has
 * bit i set where filter i was skipped for a chunk. */
typedef struct csrn_codec {
  bool shuffle;
  csrn_codec_kind kind;
  int level;      /* of deflate: 1 to 9; 0 is the fastest */
  size_t element; /* bytes of an element, for the shuffle */
} csrn_codec;

/* Whether two codecs make the same of a chunk but for the level. */
bool csrn_codec_equal(const csrn_codec *a, const csrn_codec *b);

typedef struct csrn_coder csrn_coder;

/* NULL: out of memory. */
csrn_coder *csrn_coder_create(void);
void csrn_coder_destroy(csrn_coder *coder);

/* Bytes that a coded chunk of `raw` bytes can take. */
size_t csrn_codec_bound(size_t raw);

/* Decodes a chunk of n bytes to exactly `raw` bytes; false if it is damaged, or memory is short. */
bool csrn_codec_decode(csrn_coder *coder, const csrn_codec *codec, uint32_t mask, const void *from, size_t n,
                       void *to, size_t raw);

/* Codes `raw` bytes into to[csrn_codec_bound(raw)]; returns the bytes of the chunk, and its filter mask: a
 * compressor that does not make it smaller is skipped, as libhdf5 does. 0: out of memory. */
size_t csrn_codec_encode(csrn_coder *coder, const csrn_codec *codec, const void *from, size_t raw, void *to,
                         uint32_t *mask);

#endif
