/*
 * Small good HDF5 files for the fuzzer to edit, one of each kind: .h5ad as anndata writes it (CSR, CSC,
 * dense) and as it did before 0.7 and before 0.8, with layers, raw, categories and all that a copy has to
 * carry; 10x of both versions and of probes.
 */
#ifndef CSRN_FUZZ_SAMPLES_H
#define CSRN_FUZZ_SAMPLES_H

#include <hdf5.h>

enum {
  FUZZ_CSR,
  FUZZ_CSC,
  FUZZ_DENSE,
  FUZZ_OLD, /* h5sparse_format, tables of records, raw.X */
  FUZZ_0_7, /* categories by reference */
  FUZZ_10X, /* version 3; those before are .h5ad */
  FUZZ_PROBES,
  FUZZ_10X_V2,
  FUZZ_SAMPLES
};

void fuzz_make_sample(hid_t file, unsigned kind);

#endif
