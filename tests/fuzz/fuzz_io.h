/*
 * What the fuzzers of the file library share: an input that is opened, read, and normalized in
 * pieces. None of it may crash, leak or run on; that it fails is usual, and then with a sentence.
 */
#ifndef CSRN_FUZZ_IO_H
#define CSRN_FUZZ_IO_H

#include "io.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A path in memory for this process, by its number. */
const char *fuzz_path(int number, const char *suffix);

/* Opens, describes and reads the file, and normalizes it to an .h5ad, by `how` (any bits). */
void fuzz_use(const char *path, unsigned how);

#endif
