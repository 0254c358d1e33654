/*
 * What the fuzzers of the file library share: an input that is opened and read, and then normalized, summed
 * and scaled in pieces and as a whole. None of it may crash, leak or run on; that it fails is usual, and
 * then with a sentence.
 */
#ifndef CSRN_FUZZ_IO_H
#define CSRN_FUZZ_IO_H

#include "io.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A path in memory for this process, by its number. */
const char *fuzz_path(int number, const char *suffix);

/* Does with the file what the bits of `how` say (any 16). Those of FUZZ_H5AD_ALONE, FUZZ_10X_ALONE and
 * FUZZ_TEXT_ALONE ask for what other formats refuse at once. */
enum { FUZZ_H5AD_ALONE = 3 << 7, FUZZ_10X_ALONE = 1 << 6 | 1 << 13, FUZZ_TEXT_ALONE = 3 << 14 };
void fuzz_use(const char *path, unsigned how);

#endif
