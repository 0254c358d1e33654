/* `csrnorm info`: what a file holds, from its metadata alone. */
#include "commands.h"
#include "json.h"
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_info_options[] = {
    CLI_OPTIONS_SELECT,
    CLI_OPTIONS_COMPUTE,
    {"json", 0, NULL, "print the result as JSON"},
    CLI_OPTIONS_END,
};

static const char *layout_name(csrn_io_layout layout) {
  static const char *const names[] = {"CSR", "CSC", "dense", "coordinate"};
  return names[layout];
}

static void print_list(const char *name, const char *const *list) {
  if (!list || !*list)
    return;
  printf("%s:", name);
  for (; *list; list++) {
    char *text = strdup(*list);
    if (text)
      csrn_io_make_printable(text);
    printf(" \"%s\"", text ? text : "?");
    free(text);
  }
  printf("\n");
}

static void print_text(const char *path, const csrn_io_description *d) {
  cli_print_shape(stdout, path, d);
  printf("matrix: %s, %s", d->matrix_name, layout_name(d->layout));
  if (d->indices_type)
    printf(", indices %s, indptr %s", csrn_dtype_name(d->indices_type), csrn_dtype_name(d->indptr_type));
  printf("\nfilters: %s, %" PRId64 " values a chunk\n", d->filters ? d->filters : "none", d->chunk);
  if (d->nnz_file != d->nnz)
    printf("values in the file before the selection of features: %" PRId64 "\n", d->nnz_file);
  print_list("layers", d->layers);
  print_list("genomes", d->genomes);
  print_list("feature types", d->feature_types);
}

static void json_list(cli_json *json, const char *name, const char *const *list) {
  cli_json_open(json, name, '[');
  for (; list && *list; list++)
    cli_json_string(json, NULL, *list);
  cli_json_close(json, ']');
}

static void print_json(const char *path, const csrn_io_description *d) {
  cli_json json = {.stream = stdout};
  cli_json_open(&json, NULL, '{');
  cli_json_string(&json, "input", path);
  cli_json_string(&json, "format", d->format_name);
  cli_json_string(&json, "matrix", d->matrix_name);
  cli_json_string(&json, "layout", layout_name(d->layout));
  cli_json_integer(&json, "n_cells", d->n_cells);
  cli_json_integer(&json, "n_genes", d->n_genes);
  cli_json_integer(&json, "nnz", d->nnz);
  cli_json_integer(&json, "nnz_file", d->nnz_file);
  cli_json_string(&json, "data_type", csrn_dtype_name(d->data_type));
  cli_json_string(&json, "indices_type", d->indices_type ? csrn_dtype_name(d->indices_type) : NULL);
  cli_json_string(&json, "indptr_type", d->indptr_type ? csrn_dtype_name(d->indptr_type) : NULL);
  cli_json_integer(&json, "chunk", d->chunk);
  cli_json_string(&json, "filters", d->filters);
  json_list(&json, "layers", d->layers);
  json_list(&json, "genomes", d->genomes);
  json_list(&json, "feature_types", d->feature_types);
  cli_json_close(&json, '}');
}

int cli_info(const cli_arguments *arguments) {
  cli_session session;
  int code = cli_session_begin(&session, arguments);
  if (!code)
    code = cli_session_open(&session);
  if (!code && cli_flag(arguments, "json"))
    print_json(arguments->operand, csrn_io_describe(session.input));
  else if (!code)
    print_text(arguments->operand, csrn_io_describe(session.input));
  cli_session_end(&session);
  return code;
}
