/*
 * A system that refuses: while a plan is in force, the calls by which a program and its libraries read and
 * write the files of one directory are counted, and the one of a given number fails; or a disk is full
 * when a file has a given size. Linked into a test program these calls take the place of the C library's.
 */
#ifndef CSRN_FAULTS_H
#define CSRN_FAULTS_H

#include <stdbool.h>

typedef enum fault_kind {
  FAULT_READ,      /* read(), pread(), and what stdio reads */
  FAULT_WRITE,     /* write(), pwrite(), ftruncate(), and what stdio writes */
  FAULT_SYNC,      /* fsync() */
  FAULT_RENAME,    /* rename(), renameat2() */
  FAULT_NOREPLACE, /* renameat2(), however often it is called */
  FAULT_LINK       /* renameat2() and link(), however often they are called */
} fault_kind;

/* Call `at` (from 0) of that kind fails with errno `number`, and no other. */
void faults_fail(const char *directory, fault_kind kind, int at, int number);
/* No file gets longer than that: writes fail with ENOSPC, those across the end after they have written what
 * fits. */
void faults_fill(const char *directory, long room);
/* Reads of `length` bytes from `offset` on of the file of that path fail with EIO, however often they are
 * tried. */
void faults_spoil(const char *path, long offset, long length);
/* The end of the plan; whether anything failed by it. */
bool faults_end(void);

#endif
