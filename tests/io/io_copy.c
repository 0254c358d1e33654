/*
 * io_copy [--cells rows|columns] [--compression none|gzip] INPUT OUTPUT: reads a matrix and
 * writes it as it is, for test_io_scipy.py.
 */
#include "io.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  csrn_io_select select = {0};
  csrn_io_output output = {.force = 1};
  csrn_io_error error = {""};
  csrn_io_input *input = NULL;
  csrn_io_matrix matrix = {0};
  csrn_context *context = NULL;
  for (; argc > 4; argc -= 2, argv += 2) {
    if (strcmp(argv[1], "--cells") == 0)
      select.cells = strcmp(argv[2], "rows") == 0 ? CSRN_IO_CELLS_ROWS : CSRN_IO_CELLS_COLUMNS;
    else
      output.compression = strcmp(argv[2], "none") == 0 ? CSRN_IO_COMPRESSION_NONE : CSRN_IO_COMPRESSION_GZIP;
  }
  if (argc != 3 || csrn_context_create(NULL, &context))
    return 2;
  output.path = argv[2];
  csrn_io_status status = csrn_io_open(argv[1], &select, &input, &error);
  if (!status)
    status = csrn_io_read(input, context, &matrix, NULL, &error);
  if (!status)
    status = csrn_io_write(input, &matrix, &output, NULL, &error);
  if (status)
    fprintf(stderr, "%s\n", error.text);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  csrn_context_destroy(context);
  return status ? 1 : 0;
}
