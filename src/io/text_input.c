/* See text_input.h. zlib reads plain files too, and goes on with the next gzip member. */
#include "text_input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* No line of the formats read here comes near this length. */
enum { BUFFER = CSRN_TEXT_BLOCK };

struct csrn_text {
  gzFile file;
  const char *path;
  int64_t line_number;
  size_t begin, end; /* of what is not given out yet */
  int at_end, is_gzip;
  char buffer[BUFFER + 1];
};

csrn_text *csrn_text_open(const char *path, csrn_io_error *error) {
  if (csrn_io_check_file(path, error)) /* all texts are read more than once */
    return NULL;
  csrn_text *text = malloc(sizeof *text);
  if (!text) {
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory", path);
    return NULL;
  }
  memset(text, 0, offsetof(csrn_text, buffer));
  text->path = path;
  text->file = gzopen(path, "rbe");
  if (!text->file) {
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s", path, strerror(errno));
    free(text);
    return NULL;
  }
  gzbuffer(text->file, 1 << 18);
  text->is_gzip = !gzdirect(text->file);
  return text;
}

void csrn_text_close(csrn_text *text) {
  if (!text)
    return;
  gzclose(text->file);
  free(text);
}

/* Reads up to `room` bytes; -1 for an error, which is stored. */
static int read_bytes(csrn_text *text, char *to, size_t room, csrn_io_error *error) {
  int n = gzread(text->file, to, (unsigned)room);
  int code = Z_OK;
  const char *reason = gzerror(text->file, &code);
  if (n < 0 || (code != Z_OK && code != Z_STREAM_END)) {
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be read: %s", text->path,
                 code == Z_BUF_ERROR ? "the gzip stream is cut off"
                 : code == Z_ERRNO   ? strerror(errno)
                                     : reason);
    return -1;
  }
  if (memchr(to, '\0', (size_t)n)) {
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: holds a zero byte: this is no text file", text->path);
    return -1;
  }
  text->at_end = n == 0;
  return n;
}

static int refuse_line(const csrn_text *text, csrn_io_error *error) {
  csrn_io_fail(error, CSRN_IO_FAILED, "%s: line %lld is too long: this is no text file", text->path,
               (long long)text->line_number + 1);
  return -1;
}

/* Moves what is left to the front and fills up; 0 for an error, which is stored. */
static int refill(csrn_text *text, csrn_io_error *error) {
  memmove(text->buffer, text->buffer + text->begin, text->end - text->begin);
  text->end -= text->begin;
  text->begin = 0;
  int n = read_bytes(text, text->buffer + text->end, BUFFER - text->end, error);
  if (n < 0)
    return 0;
  text->end += (size_t)n;
  return 1;
}

int csrn_text_line(csrn_text *text, char **line, csrn_io_error *error) {
  char *stop;
  for (;;) {
    char *from = text->buffer + text->begin;
    stop = memchr(from, '\n', text->end - text->begin);
    if (stop || text->at_end)
      break;
    if (text->end - text->begin == BUFFER)
      return refuse_line(text, error);
    if (!refill(text, error))
      return -1;
  }
  if (!stop && text->begin == text->end)
    return 0;
  *line = text->buffer + text->begin;
  if (!stop)
    stop = text->buffer + text->end;
  text->begin = (size_t)(stop - text->buffer) + (stop < text->buffer + text->end);
  if (stop > *line && stop[-1] == '\r')
    stop--;
  *stop = '\0';
  text->line_number++;
  return 1;
}

/* What is behind the last whole line waits in the buffer. */
int64_t csrn_text_block(csrn_text *text, char *to, csrn_io_error *error) {
  size_t n = text->end - text->begin, whole = 0;
  memcpy(to, text->buffer + text->begin, n);
  text->begin = text->end = 0;
  for (int more = 1; n < BUFFER && more > 0; n += (size_t)more) {
    more = read_bytes(text, to + n, BUFFER - n, error);
    if (more < 0)
      return -1;
  }
  for (const char *line = to, *stop; (stop = memchr(line, '\n', n - (size_t)(line - to))); line = stop + 1) {
    whole = (size_t)(stop + 1 - to);
    text->line_number++;
  }
  if (n < BUFFER && whole < n) { /* the last line of the file has no end */
    text->line_number++;
    return (int64_t)n;
  }
  if (whole == 0 && n == BUFFER)
    return refuse_line(text, error);
  memcpy(text->buffer, to + whole, n - whole);
  text->end = n - whole;
  return (int64_t)whole;
}

int64_t csrn_text_line_number(const csrn_text *text) {
  return text->line_number;
}

int csrn_text_is_gzip(const csrn_text *text) {
  return text->is_gzip;
}
