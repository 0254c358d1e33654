/*
 * Tests of files in pieces, with the CPU or with a device computing on the pieces: programs that are
 * given "cuda" as their argument have the device compute.
 */
#ifndef CSRN_PIECES_DEVICE_H
#define CSRN_PIECES_DEVICE_H

#include "io.h"

/* What contexts for the pieces are made like; NULL: the CPU computes. */
extern const csrn_context_options *pieces_device;

/* Reads the arguments of a program; false if there is no such device. */
int pieces_arguments(int argc, char **argv);
/* As much memory as that, and what a device needs more; 0 stays 0. */
int64_t pieces_memory(int64_t bytes);

#endif
