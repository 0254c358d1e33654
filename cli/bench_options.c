/*
 * The command line of `csrnorm bench`. A value that makes no sense is a usage error
 * that names the option, what was given and what is expected; nothing is guessed.
 */
#include "bench.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_FIRST = 256 };

typedef enum option_code {
  OPT_DEVICE = OPT_FIRST,
  OPT_OPS,
  OPT_ISA,
  OPT_THREADS,
  OPT_CELLS,
  OPT_GENES,
  OPT_NNZ,
  OPT_ROW_LENGTH,
  OPT_DISTRIBUTION,
  OPT_VALUES,
  OPT_TYPE,
  OPT_INDEX_TYPE,
  OPT_INDPTR_TYPE,
  OPT_SEED,
  OPT_MAX_FRACTION,
  OPT_REPETITIONS,
  OPT_MIN_TIME,
  OPT_JSON,
  OPT_CSV,
  OPT_MARKDOWN,
  OPT_QUIET,
  OPT_HELP
} option_code;

static const struct option long_options[] = {
    {"device", required_argument, NULL, OPT_DEVICE},
    {"ops", required_argument, NULL, OPT_OPS},
    {"isa", required_argument, NULL, OPT_ISA},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"cells", required_argument, NULL, OPT_CELLS},
    {"genes", required_argument, NULL, OPT_GENES},
    {"nnz", required_argument, NULL, OPT_NNZ},
    {"row-length", required_argument, NULL, OPT_ROW_LENGTH},
    {"distribution", required_argument, NULL, OPT_DISTRIBUTION},
    {"values", required_argument, NULL, OPT_VALUES},
    {"type", required_argument, NULL, OPT_TYPE},
    {"index-type", required_argument, NULL, OPT_INDEX_TYPE},
    {"indptr-type", required_argument, NULL, OPT_INDPTR_TYPE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"max-fraction", required_argument, NULL, OPT_MAX_FRACTION},
    {"repetitions", required_argument, NULL, OPT_REPETITIONS},
    {"min-time", required_argument, NULL, OPT_MIN_TIME},
    {"json", no_argument, NULL, OPT_JSON},
    {"csv", no_argument, NULL, OPT_CSV},
    {"markdown", no_argument, NULL, OPT_MARKDOWN},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

void bench_print_help(FILE *stream) {
  fputs("usage: csrnorm bench [INPUT] [options]\n"
        "\n"
        "Measures every operation beside the roofline of this machine, on a simulated matrix or\n"
        "on that of INPUT (.h5ad, 10x .h5, .mtx, .mtx.gz, .npz). Results are checked first; a wrong\n"
        "one has no time, and the exit code is 1.\n"
        "\n"
        "What to run\n"
        "  --device LIST        cpu, cuda or cuda:N (default: cpu)\n"
        "  --isa LIST           generic, x86-64, x86-64-v3, x86-64-v4 or all (default: the best)\n"
        "  --threads LIST       numbers of CPU threads (default: all)\n"
        "  --ops LIST           operations (default: all); the rooflines always run\n"
        "  --max-fraction F     of gene exclusion (default: 0.05, more for short rows)\n"
        "  --repetitions N      rounds over all operations (default: 5)\n"
        "  --min-time SECONDS   timed work of an operation in all rounds (default: 0.1)\n"
        "\n"
        "Simulated matrix\n"
        "  --cells N            rows (default: 100000)\n"
        "  --genes N            columns (default: 30000)\n"
        "  --nnz N              stored values (default: one in 20)\n"
        "  --row-length N       the same as values per row\n"
        "  --distribution D     of row lengths: lognormal (default) or constant\n"
        "  --values V           counts (default) or reals\n"
        "  --type T             float32 (default), float64, uint8, uint16, uint32, int32 or int64\n"
        "  --index-type T       of the column indices: int32 (default) or int64\n"
        "  --indptr-type T      of the row offsets: int64 (default) or int32\n"
        "  --seed N             (default: 1)\n"
        "\n"
        "Output\n"
        "  --json, --csv, --markdown   instead of a table\n"
        "  --quiet              no progress\n"
        "  --help\n"
        "\n"
        "Operations:",
        stream);
  int column = 100;
  for (int k = 0; k < bench_n_operations; k++) {
    int length = (int)strlen(bench_operations[k].name) + 1;
    if (column + length > 90)
      column = fprintf(stream, "\n ") - 1;
    column += fprintf(stream, " %s", bench_operations[k].name);
  }
  fputc('\n', stream);
}

/* ---- Values -------------------------------------------------------------- */

static bool fail(char error[BENCH_DETAIL], const char *option, const char *found, const char *expected) {
  snprintf(error, BENCH_DETAIL, "--%s: '%s' is not %s", option, found, expected);
  return false;
}

/* A whole number; 1e6 is one too. */
static bool parse_count(const char *option, const char *text, double low, double high, int64_t *value,
                        char error[BENCH_DETAIL]) {
  char *end, expected[96];
  double x = strtod(text, &end);
  if (end == text || *end || !(x >= low && x <= high) || x != floor(x)) {
    snprintf(expected, sizeof expected, "a whole number from %.15g to %.15g", low, high);
    return fail(error, option, text, expected);
  }
  *value = (int64_t)x;
  return true;
}

static bool parse_real(const char *option, const char *text, double low, double high, double *value,
                       char error[BENCH_DETAIL]) {
  char *end, expected[96];
  double x = strtod(text, &end);
  if (end == text || *end || !(x >= low && x <= high)) {
    snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
    return fail(error, option, text, expected);
  }
  *value = x;
  return true;
}

/* "float32" and "f32" alike. */
static bool parse_type(const char *option, const char *text, const char *allowed, csrn_dtype *type,
                       char error[BENCH_DETAIL]) {
  static const char *const shorts[] = {"", "f32", "f64", "u8", "u16", "u32", "u64", "i32", "i64"};
  for (int t = CSRN_F32; t <= CSRN_I64; t++)
    if ((!strcmp(text, shorts[t]) || !strcmp(text, csrn_dtype_name((csrn_dtype)t))) &&
        strstr(allowed, csrn_dtype_name((csrn_dtype)t))) {
      *type = (csrn_dtype)t;
      return true;
    }
  return fail(error, option, text, allowed);
}

/* One of two words; *second says which. */
static bool parse_word(const char *option, const char *text, const char *first, const char *other,
                       bool *second, char error[BENCH_DETAIL]) {
  char expected[96];
  if (!strcmp(text, first) || !strcmp(text, other)) {
    *second = !strcmp(text, other);
    return true;
  }
  snprintf(expected, sizeof expected, "%s or %s", first, other);
  return fail(error, option, text, expected);
}

/* Splits in place at commas. */
static bool parse_list(const char *option, char *text, const char **items, int limit, int *n,
                       char error[BENCH_DETAIL]) {
  *n = 0;
  for (char *item = text; item;) {
    char *comma = strchr(item, ',');
    if (comma)
      *comma++ = 0;
    if (!*item)
      return fail(error, option, "", "a name or number: an element of the list is empty");
    if (*n == limit)
      return fail(error, option, item, "one of as few elements as this list may have");
    items[(*n)++] = item;
    item = comma;
  }
  return true;
}

static bool parse_devices(bench_settings *s, char *text, char error[BENCH_DETAIL]) {
  const char *items[BENCH_LIST_MAX];
  if (!parse_list("device", text, items, BENCH_LIST_MAX, &s->n_devices, error))
    return false;
  for (int k = 0; k < s->n_devices; k++) {
    int64_t number = 0;
    bool cuda = !strncmp(items[k], "cuda", 4) && (!items[k][4] || items[k][4] == ':');
    if (!cuda && strcmp(items[k], "cpu"))
      return fail(error, "device", items[k], "cpu, cuda or cuda:N");
    if (cuda && items[k][4] && !parse_count("device", items[k] + 5, 0, 1023, &number, error))
      return false;
    s->devices[k] = cuda ? CSRN_BACKEND_CUDA : CSRN_BACKEND_CPU;
    s->device_numbers[k] = (int)number;
  }
  return true;
}

static bool parse_threads(bench_settings *s, char *text, char error[BENCH_DETAIL]) {
  const char *items[BENCH_LIST_MAX];
  if (!parse_list("threads", text, items, BENCH_LIST_MAX, &s->n_threads, error))
    return false;
  for (int k = 0; k < s->n_threads; k++) {
    int64_t threads;
    if (!parse_count("threads", items[k], 1, 65536, &threads, error))
      return false;
    s->threads[k] = (int)threads;
  }
  return true;
}

static bool parse_ops(bench_settings *s, char *text, char error[BENCH_DETAIL]) {
  if (!parse_list("ops", text, s->ops, (int)(sizeof s->ops / sizeof *s->ops), &s->n_ops, error))
    return false;
  for (int k = 0; k < s->n_ops; k++) {
    bool known = false;
    for (int o = 0; o < bench_n_operations; o++)
      known = known || !strcmp(s->ops[k], bench_operations[o].name);
    if (!known)
      return fail(error, "ops", s->ops[k], "an operation (csrnorm bench --help lists them)");
  }
  return true;
}

/* The instruction sets of this machine, for --isa all. */
static bool expand_isas(bench_settings *s, char error[BENCH_DETAIL]) {
  static csrn_device_properties properties;
  if (s->n_isas != 1 || !s->isas[0] || strcmp(s->isas[0], "all"))
    return true;
  properties.size = sizeof properties;
  if (csrn_device_info(CSRN_BACKEND_CPU, 0, &properties))
    return fail(error, "isa", "all", "known on this machine");
  s->n_isas = 0;
  for (char *name = strtok(properties.isa, ", "); name && s->n_isas < BENCH_LIST_MAX;
       name = strtok(NULL, ", "))
    s->isas[s->n_isas++] = name;
  return true;
}

/* ---- All of it ----------------------------------------------------------- */

typedef struct given {
  int64_t row_length;
  int formats;
  bool simulation; /* an option that only a simulated matrix has */
} given;

static bool take_matrix_option(bench_settings *s, given *g, int code, char *text, char error[BENCH_DETAIL]) {
  static const char types[] = "float32, float64, uint8, uint16, uint32, int32 or int64";
  int64_t seed;
  g->simulation = true;
  switch (code) {
  case OPT_CELLS:
    return parse_count("cells", text, 1, 1e12, &s->n_cells, error);
  case OPT_GENES:
    return parse_count("genes", text, 1, INT32_MAX, &s->n_genes, error);
  case OPT_NNZ:
    return parse_count("nnz", text, 0, 1e13, &s->nnz, error);
  case OPT_ROW_LENGTH:
    return parse_count("row-length", text, 1, INT32_MAX, &g->row_length, error);
  case OPT_DISTRIBUTION:
    return parse_word("distribution", text, "lognormal", "constant", &s->constant_rows, error);
  case OPT_VALUES:
    return parse_word("values", text, "counts", "reals", &s->reals, error);
  case OPT_TYPE:
    return parse_type("type", text, types, &s->data_type, error);
  case OPT_INDEX_TYPE:
    return parse_type("index-type", text, "int32 or int64", &s->indices_type, error);
  case OPT_INDPTR_TYPE:
    return parse_type("indptr-type", text, "int32 or int64", &s->indptr_type, error);
  default:
    if (!parse_count("seed", text, 0, 0x1p53, &seed, error))
      return false;
    s->seed = (uint64_t)seed;
    return true;
  }
}

static bool take_option(bench_settings *s, given *g, int code, char *text, char error[BENCH_DETAIL]) {
  int64_t repetitions;
  switch (code) {
  case OPT_DEVICE:
    return parse_devices(s, text, error);
  case OPT_OPS:
    return parse_ops(s, text, error);
  case OPT_ISA:
    return parse_list("isa", text, s->isas, BENCH_LIST_MAX, &s->n_isas, error) && expand_isas(s, error);
  case OPT_THREADS:
    return parse_threads(s, text, error);
  case OPT_MAX_FRACTION:
    return parse_real("max-fraction", text, 0x1p-1022, 1, &s->max_fraction, error);
  case OPT_MIN_TIME:
    return parse_real("min-time", text, 0, 3600, &s->min_time, error);
  case OPT_REPETITIONS:
    if (!parse_count("repetitions", text, 1, 1e6, &repetitions, error))
      return false;
    s->repetitions = (int)repetitions;
    return true;
  case OPT_JSON:
  case OPT_CSV:
  case OPT_MARKDOWN:
    s->format = code == OPT_JSON ? BENCH_JSON : code == OPT_CSV ? BENCH_CSV : BENCH_MARKDOWN;
    g->formats++;
    return true;
  case OPT_QUIET:
    return s->quiet = true;
  case OPT_HELP:
    return s->help = true;
  default:
    return take_matrix_option(s, g, code, text, error);
  }
}

/* What options say together. */
static bool complete(bench_settings *s, const given *g, char error[BENCH_DETAIL]) {
  const char *problem = NULL;
  if (g->formats > 1)
    problem = "only one of --json, --csv and --markdown can be given";
  else if (s->input && g->simulation)
    problem = "options of the simulated matrix cannot be given with INPUT";
  else if (g->row_length && s->nnz >= 0)
    problem = "only one of --nnz and --row-length can be given";
  if (g->row_length)
    s->nnz = g->row_length * s->n_cells;
  else if (s->nnz < 0)
    s->nnz = s->n_cells * s->n_genes / 20;
  if (!problem && (double)s->nnz > (double)s->n_cells * (double)s->n_genes)
    problem = "the matrix has fewer than --nnz (or --row-length times --cells) places";
  else if (!problem && s->indptr_type == CSRN_I32 && s->nnz > INT32_MAX)
    problem = "--indptr-type int32 cannot hold that many values";
  else if (!problem && s->reals && s->data_type != CSRN_F32 && s->data_type != CSRN_F64)
    problem = "--values reals needs --type float32 or float64";
  if (problem)
    snprintf(error, BENCH_DETAIL, "%s", problem);
  return !problem;
}

int bench_parse(int argc, char **argv, bench_settings *s, char error[BENCH_DETAIL]) {
  *s = (bench_settings){.devices = {CSRN_BACKEND_CPU},
                        .n_devices = 1,
                        .n_isas = 1,
                        .n_threads = 1,
                        .n_cells = 100000,
                        .n_genes = 30000,
                        .nnz = -1,
                        .data_type = CSRN_F32,
                        .indices_type = CSRN_I32,
                        .indptr_type = CSRN_I64,
                        .repetitions = 5,
                        .min_time = 0.1,
                        .seed = 1};
  given g = {0};
  int code;
  opterr = 0;
  optind = 1;
  while ((code = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
    if (code == '?' || code == ':') {
      snprintf(error, BENCH_DETAIL, "%s: %s", argv[optind - 1],
               code == ':' ? "a value is missing" : "no such option (csrnorm bench --help lists them)");
      return BENCH_USAGE;
    }
    if (!take_option(s, &g, code, optarg, error))
      return BENCH_USAGE;
  }
  if (optind < argc)
    s->input = argv[optind++];
  if (optind < argc) {
    snprintf(error, BENCH_DETAIL, "'%s': one INPUT at most", argv[optind]);
    return BENCH_USAGE;
  }
  return s->help || complete(s, &g, error) ? BENCH_OK : BENCH_USAGE;
}
