/* SPDX-License-Identifier: Apache-2.0
 *
 * The C interface from C11, with the seam of the hypervisor: on a machine without VMSRS it says so
 * and everything else behaves like plain memory.
 */
#include <stdio.h>
#include <string.h>
#include <vmsrs/vmsrs.h>

static void body(void* argument) { vmsrs_store_u32((uint32_t*)argument, 1); }

static void add_one(void* number) { ++*(int*)number; }

#define EXPECT(condition)                                            \
  do {                                                               \
    if (!(condition)) {                                              \
      printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                      \
    }                                                                \
  } while (0)

int main(void) {
  const vmsrs_options options = {.server_name = "shop", .secret_file = "/nonexistent"};
  const vmsrs_profile_options eager = {.eager = true};
  uint32_t word = 0;
  uint32_t expected = 0;
  const uint32_t desired = 9;
  int calls = 0;
  vmsrs_pointer pointer = vmsrs_pointer_to(&word, sizeof word);
  char text[8];
  const int attached = vmsrs_attach(&options);
  if (attached == VMSRS_ERROR_CONFIGURATION) return 77; /* this is a guest of VMSRS: skipped */
  EXPECT(attached == VMSRS_ERROR_NO_PLATFORM);
  printf("%s\n", vmsrs_error_message());
  EXPECT(strstr(vmsrs_error_message(), "CPUID leaf 0x40000000") != NULL);
  EXPECT(vmsrs_attach(&options) == VMSRS_ERROR_NO_PLATFORM);
  EXPECT(vmsrs_detach() == VMSRS_ERROR_STATE);
  EXPECT(Init_profile() == VMSRS_ERROR_STATE);
  EXPECT(profile(&word, 64, 8) == VMSRS_ERROR_STATE);
  EXPECT(profile_named(&word, 64, 8, "stock") == VMSRS_ERROR_STATE);
  EXPECT(profile_named(&word, 64, 8, NULL) == VMSRS_ERROR_ARGUMENT);
  EXPECT(unprofile_named("stock") == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_run_user(1, body, &word, NULL, NULL) == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_user_begin(1) == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_user_end() == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_run_reader(1, body, &word, NULL, NULL) == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_reader_begin(1) == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_profile(&word, 64, 8, &eager) == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_profile_join("stock", NULL, NULL, NULL) == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_user_suppress(1) == VMSRS_ERROR_STATE);
  EXPECT(vmsrs_exposed() == VMSRS_ERROR_STATE);
  EXPECT(strstr(vmsrs_error_message(), "call vmsrs_attach first") != NULL);
  EXPECT(vmsrs_user_number() == 0);
  EXPECT(crash_suppression_os(VMSRS_FAULT_CHECK, NULL) == VMSRS_ERROR_STATE);
  EXPECT(!vmsrs_user_crashed());
  EXPECT(word == 0);
  EXPECT(vmsrs_heap_create(&word, 64, false) == NULL);
  EXPECT(strstr(vmsrs_error_message(), "not attached") != NULL);
  EXPECT(vmsrs_malloc(8) == NULL);
  EXPECT(vmsrs_malloc_size(&word) == 0);
  EXPECT(vmsrs_compare_exchange(&word, &expected, &desired, sizeof word) && word == 9);
  EXPECT(!vmsrs_compare_exchange(&word, &expected, &desired, sizeof word) && expected == 9);
  word = 0;
  EXPECT(vmsrs_read_was_whole(vmsrs_read_begin()));
  EXPECT(vmsrs_pointer_check(pointer, 4) == (void*)&word);
  EXPECT(vmsrs_defer(add_one, &calls) == 0 && calls == 1);
  EXPECT(vmsrs_on_collected(add_one, &calls) == 0 && calls == 1);
  body(&word);
  EXPECT(vmsrs_load_u32(&word) == 1);
  vmsrs_store_range(text, "1234567", sizeof text);
  EXPECT(strcmp(text, "1234567") == 0);
  vmsrs_fill_range(text, 'x', 3);
  vmsrs_assign(text + 3, text, 2);
  EXPECT(strcmp(text, "xxxxx67") == 0);
  return 0;
}
