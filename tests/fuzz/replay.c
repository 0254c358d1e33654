/*
 * Runs a fuzzer's entry point on what a fuzzer once found worth keeping, without libFuzzer, and keeps it: a
 * corpus is one file of many inputs, each behind two bytes of its length, in the order of their names.
 *
 *     replay CORPUS               runs each
 *     replay FOLDER|FILE...       the same for inputs in files of their own
 *     replay --pack FOLDER CORPUS
 *     replay --unpack CORPUS FOLDER
 */
#include "fuzz_io.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LONGEST = 65535 };

static unsigned char input[LONGEST];
static int n_inputs;

static int fail(const char *path, const char *why) {
  fprintf(stderr, "%s: %s\n", path, why);
  return 1;
}

static void run(size_t n) {
  unsigned char *exact = malloc(n ? n : 1); /* so that a sanitizer sees what reads beyond it */
  if (!exact)
    abort();
  memcpy(exact, input, n);
  LLVMFuzzerTestOneInput(exact, n);
  free(exact);
  n_inputs++;
}

/* Its bytes, at most LONGEST; -1: it cannot be read or is longer. */
static long read_input(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return -1;
  const size_t n = fread(input, 1, LONGEST, file);
  const int whole = fgetc(file) == EOF;
  fclose(file);
  return whole ? (long)n : -1;
}

static int write_input(const char *folder, int number, size_t n) {
  char path[512];
  snprintf(path, sizeof path, "%s/kept%05d", folder, number);
  FILE *file = fopen(path, "wb");
  const int done = file && fwrite(input, 1, n, file) == n;
  return !(file && fclose(file) == 0 && done);
}

/* Each input of a corpus is run, or written to a folder. */
static int read_corpus(const char *path, const char *folder) {
  FILE *file = fopen(path, "rb");
  int first, second, number = 0, fault = 0;
  if (!file)
    return fail(path, "cannot be opened");
  while (!fault && (first = fgetc(file)) != EOF && (second = fgetc(file)) != EOF) {
    const size_t n = (size_t)first | (size_t)second << 8;
    if (fread(input, 1, n, file) != n)
      fault = fail(path, "is cut off");
    else if (folder)
      fault = write_input(folder, number++, n);
    else
      run(n);
  }
  fclose(file);
  return fault;
}

static int is_input(const struct dirent *entry) {
  return entry->d_name[0] != '.';
}

/* Each file of a folder is run, or appended to a corpus. */
static int read_folder(const char *folder, FILE *corpus) {
  struct dirent **entries;
  char path[1024];
  int fault = 0;
  const int n_entries = scandir(folder, &entries, is_input, alphasort);
  if (n_entries < 0)
    return fail(folder, "cannot be read");
  for (int i = 0; i < n_entries; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
    const long n = read_input(path);
    if (n < 0)
      fault = fail(path, "cannot be read, or is too long");
    else if (!corpus)
      run((size_t)n);
    else if (fputc((int)(n & 255), corpus) == EOF || fputc((int)(n >> 8), corpus) == EOF ||
             fwrite(input, 1, (size_t)n, corpus) != (size_t)n)
      fault = fail(path, "cannot be kept");
    free(entries[i]);
  }
  free(entries);
  return fault;
}

static int pack(const char *folder, const char *path) {
  FILE *corpus = fopen(path, "wb");
  if (!corpus)
    return fail(path, "cannot be written");
  const int fault = read_folder(folder, corpus);
  return fclose(corpus) != 0 || fault;
}

/* A corpus is told from an input in a file of its own by its name. */
static int replay(const char *path) {
  struct stat status;
  const size_t length = strlen(path);
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
    return read_folder(path, NULL);
  if (length > 7 && !strcmp(path + length - 7, ".corpus"))
    return read_corpus(path, NULL);
  const long n = read_input(path);
  if (n < 0)
    return fail(path, "cannot be read");
  run((size_t)n);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "--pack"))
    return pack(argv[2], argv[3]);
  if (argc == 4 && !strcmp(argv[1], "--unpack"))
    return read_corpus(argv[2], argv[3]);
  int fault = argc < 2;
  for (int i = 1; i < argc; i++)
    fault |= replay(argv[i]);
  printf("%d inputs\n", n_inputs);
  return fault || n_inputs == 0;
}
