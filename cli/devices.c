/* `csrnorm devices`: what can compute here, and why what cannot does not; exit code 1 if something cannot. */
#include "commands.h"
#include "json.h"

#include "csrnorm/csrnorm.h"

const cli_option cli_devices_options[] = {
    {"json", 0, NULL, "print the result as JSON"},
    CLI_OPTIONS_END,
};

static const struct {
  csrn_backend backend;
  const char *name;
} backends[] = {{CSRN_BACKEND_CPU, "cpu"}, {CSRN_BACKEND_CUDA, "cuda"}};

enum { N_BACKENDS = sizeof backends / sizeof backends[0] };

static void print_device(cli_json *json, const char *backend, const csrn_device_properties *p) {
  if (json) {
    cli_json_open(json, NULL, '{');
    cli_json_string(json, "backend", backend);
    cli_json_integer(json, "device", p->device);
    cli_json_string(json, "name", p->name);
    cli_json_string(json, "isa", p->isa);
    cli_json_integer(json, "units", p->n_units);
    cli_json_integer(json, "memory_bytes", p->memory_bytes);
    cli_json_close(json, '}');
  } else {
    printf("%s:%d  %s, %d %s, %.1f GiB, %s\n", backend, p->device, p->name, p->n_units,
           p->backend == CSRN_BACKEND_CPU ? "processors" : "multiprocessors",
           (double)p->memory_bytes / 0x1p30, p->isa);
  }
}

static void print_absent(cli_json *json, const char *backend) {
  if (json) {
    cli_json_open(json, NULL, '{');
    cli_json_string(json, "backend", backend);
    cli_json_string(json, "missing", csrn_error_detail(NULL));
    cli_json_close(json, '}');
  } else {
    printf("%s  none: %s\n", backend, csrn_error_detail(NULL));
  }
}

/* Whether all its devices can be used, and there is one. */
static bool print_backend(cli_json *json, csrn_backend backend, const char *name) {
  int32_t count = 0;
  bool good = true;
  if (csrn_device_count(backend, &count) || count == 0) {
    print_absent(json, name);
    return false;
  }
  for (int32_t device = 0; device < count; device++) {
    csrn_device_properties properties = {.size = sizeof properties};
    if (csrn_device_info(backend, device, &properties) == CSRN_OK) {
      print_device(json, name, &properties);
    } else {
      print_absent(json, name);
      good = false;
    }
  }
  return good;
}

int cli_devices(const cli_arguments *arguments) {
  cli_json json = {.stream = stdout};
  const bool as_json = cli_flag(arguments, "json");
  bool good = true;
  if (as_json) {
    cli_json_open(&json, NULL, '{');
    cli_json_open(&json, "devices", '[');
  }
  for (int i = 0; i < N_BACKENDS; i++)
    good = print_backend(as_json ? &json : NULL, backends[i].backend, backends[i].name) && good;
  if (as_json) {
    cli_json_close(&json, ']');
    cli_json_close(&json, '}');
  }
  return good ? CLI_OK : CLI_FAILED;
}
