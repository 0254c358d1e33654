/*
 * Codes, types, version and devices: everything that needs no context. The numbers are
 * pinned here a second time, because programs in other languages have them as numbers.
 */
#include "fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void status_codes_are_pinned(void **state) {
  (void)state;
  assert_int_equal(CSRN_OK, 0);
  assert_int_equal(CSRN_INVALID_ARGUMENT, 1);
  assert_int_equal(CSRN_INVALID_MATRIX, 2);
  assert_int_equal(CSRN_OVERFLOW, 3);
  assert_int_equal(CSRN_OUT_OF_MEMORY, 4);
  assert_int_equal(CSRN_NOT_BUILT, 5);
  assert_int_equal(CSRN_NO_DEVICE, 6);
  assert_int_equal(CSRN_UNSUPPORTED, 7);
  assert_int_equal(CSRN_DEVICE_ERROR, 8);
}

static void every_status_has_a_text_of_its_own(void **state) {
  (void)state;
  for (int i = CSRN_OK; i <= CSRN_DEVICE_ERROR; i++) {
    assert_non_null(csrn_status_string((csrn_status)i));
    assert_true(strlen(csrn_status_string((csrn_status)i)) > 3);
    for (int j = CSRN_OK; j < i; j++)
      assert_string_not_equal(csrn_status_string((csrn_status)i), csrn_status_string((csrn_status)j));
  }
}

static void unknown_status_has_a_text(void **state) {
  (void)state;
  const int unknown[] = {-1, CSRN_DEVICE_ERROR + 1, 1000};
  for (size_t i = 0; i < COUNT(unknown); i++) {
    const char *text = csrn_status_string((csrn_status)unknown[i]);
    assert_non_null(text);
    assert_true(text[0] != '\0');
    assert_string_not_equal(text, csrn_status_string(CSRN_OK));
  }
}

static void types_are_pinned(void **state) {
  (void)state;
  static const struct {
    csrn_dtype type;
    int value;
    size_t size;
    const char *name;
  } types[] = {{CSRN_F32, 1, 4, "float32"}, {CSRN_F64, 2, 8, "float64"}, {CSRN_U8, 3, 1, "uint8"},
               {CSRN_U16, 4, 2, "uint16"},  {CSRN_U32, 5, 4, "uint32"},  {CSRN_U64, 6, 8, "uint64"},
               {CSRN_I32, 7, 4, "int32"},   {CSRN_I64, 8, 8, "int64"},   {CSRN_NONE, 0, 0, "unknown"}};
  for (size_t i = 0; i < COUNT(types); i++) {
    assert_int_equal(types[i].type, types[i].value);
    assert_int_equal(csrn_dtype_size(types[i].type), types[i].size);
    assert_string_equal(csrn_dtype_name(types[i].type), types[i].name);
  }
}

static void unknown_type_has_no_size(void **state) {
  (void)state;
  const int unknown[] = {-1, CSRN_I64 + 1, 100};
  for (size_t i = 0; i < COUNT(unknown); i++) {
    assert_int_equal(csrn_dtype_size((csrn_dtype)unknown[i]), 0);
    assert_string_equal(csrn_dtype_name((csrn_dtype)unknown[i]), "unknown");
  }
}

static void choices_are_pinned(void **state) {
  (void)state;
  assert_int_equal(CSRN_PER_ROW, 0);
  assert_int_equal(CSRN_PER_COLUMN, 1);
  assert_int_equal(CSRN_MULTIPLY, 0);
  assert_int_equal(CSRN_DIVIDE, 1);
  assert_int_equal(CSRN_ZERO_IEEE, 0);
  assert_int_equal(CSRN_ZERO_AS_ONE, 1);
  assert_int_equal(CSRN_BACKEND_AUTO, 0);
  assert_int_equal(CSRN_BACKEND_CPU, 1);
  assert_int_equal(CSRN_BACKEND_CUDA, 2);
  assert_int_equal(CSRN_TARGET_MEDIAN, 0);
  assert_int_equal(CSRN_TARGET_MEAN, 1);
  assert_int_equal(CSRN_TARGET_FIXED, 2);
  assert_int_equal(sizeof(csrn_normalize_report), 48);
}

static void version_is_that_of_the_header(void **state) {
  (void)state;
  char expected[64];
  snprintf(expected, sizeof expected, "%d.%d.%d", CSRN_VERSION_MAJOR, CSRN_VERSION_MINOR, CSRN_VERSION_PATCH);
  assert_string_equal(csrn_version(), expected);
}

static void build_info_is_one_line(void **state) {
  (void)state;
  const char *info = csrn_build_info();
  assert_non_null(strstr(info, csrn_version()));
  assert_non_null(strstr(info, "OpenMP"));
  assert_non_null(strstr(info, "generic"));
  assert_non_null(strstr(info, "CUDA"));
  assert_null(strchr(info, '\n'));
}

static void cpu_is_one_device(void **state) {
  (void)state;
  int32_t count = -1;
  assert_int_equal(csrn_device_count(CSRN_BACKEND_CPU, &count), CSRN_OK);
  assert_int_equal(count, 1);
}

static void cuda_not_built_and_no_device_differ(void **state) {
  (void)state;
  int32_t count = -1;
  csrn_status status = csrn_device_count(CSRN_BACKEND_CUDA, &count);
  if (strstr(csrn_build_info(), "no CUDA")) {
    assert_int_equal(status, CSRN_NOT_BUILT);
    assert_int_equal(count, 0);
    assert_true(strlen(csrn_error_detail(NULL)) > 0);
  } else if (status == CSRN_OK) {
    assert_true(count > 0);
  } else {
    assert_int_equal(status, CSRN_NO_DEVICE);
    assert_int_equal(count, 0);
  }
}

static void device_count_refuses_what_is_no_backend(void **state) {
  (void)state;
  int32_t count = -1;
  assert_int_equal(csrn_device_count((csrn_backend)7, &count), CSRN_INVALID_ARGUMENT);
  assert_non_null(strstr(csrn_error_detail(NULL), "backend"));
  assert_non_null(strstr(csrn_error_detail(NULL), "7"));
  assert_int_equal(csrn_device_count(CSRN_BACKEND_AUTO, &count), CSRN_INVALID_ARGUMENT);
  assert_null(strstr(csrn_error_detail(NULL), "auto"));
  assert_int_equal(csrn_device_count(CSRN_BACKEND_CPU, NULL), CSRN_INVALID_ARGUMENT);
  assert_non_null(strstr(csrn_error_detail(NULL), "count"));
}

static void device_info_describes_the_machine(void **state) {
  (void)state;
  csrn_device_properties properties;
  memset(&properties, 0xEE, sizeof properties);
  properties.size = sizeof properties;
  assert_int_equal(csrn_device_info(test.backend, 0, &properties), CSRN_OK);
  assert_int_equal(properties.size, sizeof properties);
  assert_int_equal(properties.backend, test.backend);
  assert_int_equal(properties.device, 0);
  assert_non_null(memchr(properties.name, '\0', sizeof properties.name));
  assert_non_null(memchr(properties.isa, '\0', sizeof properties.isa));
  assert_true(properties.name[0] != '\0');
  assert_non_null(strstr(properties.isa, test.isa));
  assert_true(properties.memory_bytes > (INT64_C(64) << 20));
  assert_true(properties.n_units >= 1);
}

static void cpu_info_is_of_this_machine(void **state) {
  (void)state;
  csrn_device_properties properties = {.size = sizeof properties};
  assert_int_equal(csrn_device_info(CSRN_BACKEND_CPU, 0, &properties), CSRN_OK);
  assert_int_equal(properties.memory_bytes,
                   (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE));
  assert_true(properties.n_units <= sysconf(_SC_NPROCESSORS_CONF));
  assert_non_null(strstr(properties.isa, "generic"));
}

/* An older program's struct is shorter: nothing behind its end may be written. */
static void device_info_fills_a_shorter_struct(void **state) {
  (void)state;
  csrn_device_properties properties, fresh;
  memset(&properties, 0xEE, sizeof properties);
  memset(&fresh, 0xEE, sizeof fresh);
  size_t size = offsetof(csrn_device_properties, memory_bytes);
  properties.size = size;
  assert_int_equal(csrn_device_info(test.backend, 0, &properties), CSRN_OK);
  assert_int_equal(properties.size, size);
  assert_memory_equal((char *)&properties + size, (char *)&fresh + size, sizeof fresh - size);
}

static void device_info_refuses_bad_arguments(void **state) {
  (void)state;
  csrn_device_properties properties, fresh;
  memset(&properties, 0xEE, sizeof properties);
  fresh = properties;
  assert_int_equal(csrn_device_info(test.backend, 0, NULL), CSRN_INVALID_ARGUMENT);
  const size_t sizes[] = {0, sizeof(size_t) - 1, sizeof properties + 8};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    properties.size = sizes[i];
    assert_int_equal(csrn_device_info(test.backend, 0, &properties), CSRN_INVALID_ARGUMENT);
    assert_non_null(strstr(csrn_error_detail(NULL), "size"));
  }
  properties.size = sizeof properties;
  const int32_t devices[] = {-1, 100000};
  for (size_t i = 0; i < COUNT(devices); i++) {
    csrn_status status = csrn_device_info(test.backend, devices[i], &properties);
    assert_true(status == CSRN_INVALID_ARGUMENT || status == CSRN_NO_DEVICE);
    assert_non_null(strstr(csrn_error_detail(NULL), "device"));
  }
  assert_int_equal(csrn_device_info((csrn_backend)7, 0, &properties), CSRN_INVALID_ARGUMENT);
  fresh.size = sizeof fresh;
  assert_memory_equal(&properties, &fresh, sizeof fresh);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(status_codes_are_pinned),
      TEST(every_status_has_a_text_of_its_own),
      TEST(unknown_status_has_a_text),
      TEST(types_are_pinned),
      TEST(unknown_type_has_no_size),
      TEST(choices_are_pinned),
      TEST(version_is_that_of_the_header),
      TEST(build_info_is_one_line),
      TEST(cpu_is_one_device),
      TEST(cuda_not_built_and_no_device_differ),
      TEST(device_count_refuses_what_is_no_backend),
      TEST(device_info_describes_the_machine),
      TEST(cpu_info_is_of_this_machine),
      TEST(device_info_fills_a_shorter_struct),
      TEST(device_info_refuses_bad_arguments),
  };
  return fixture_run(argc, argv, "status", tests, COUNT(tests));
}
