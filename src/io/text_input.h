/*
 * Text files line by line, plain or gzip (of one or several members), for MatrixMarket
 * and the lists of names beside it.
 */
#ifndef CSRN_TEXT_INPUT_H
#define CSRN_TEXT_INPUT_H

#include "io_internal.h"

typedef struct csrn_text csrn_text;

/* NULL with the error stored. */
csrn_text *csrn_text_open(const char *path, csrn_io_error *error);
void csrn_text_close(csrn_text *text);

/* The next line without its end (LF or CR LF), terminated by '\0' and valid until the next
 * call. 1: a line, 0: the end of the file, -1: the error stored. */
int csrn_text_line(csrn_text *text, char **line, csrn_io_error *error);

/* The next lines, with their ends, up to CSRN_TEXT_BLOCK bytes of them; `to` has room for a byte more. How
 * many bytes; 0: the end of the file, -1: the error stored. */
enum { CSRN_TEXT_BLOCK = 1 << 20 };
int64_t csrn_text_block(csrn_text *text, char *to, csrn_io_error *error);

/* The number of the last line, from 1, and whether the file is gzip. */
int64_t csrn_text_line_number(const csrn_text *text);
int csrn_text_is_gzip(const csrn_text *text);

#endif
