// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <string_view>

#include "guest.hpp"

void test_boot();
void test_log_and_memory();
void test_svm_hidden();
void test_kaslr();
void test_numa();
void test_native();
void test_hidden_memory();
void test_guest_memory();
void test_windows();
void test_offline();
void test_devices();
void test_free_devices();
void test_fuzz();
void test_panic();
void test_reset(std::uint32_t kind);
void test_announced_reset();
void test_power_off();
void test_sleep();
void test_kdump();
void test_hang_watch();
void test_report();

int main(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "boot") {
    test_boot();
    test_log_and_memory();
    test_svm_hidden();
    test_kaslr();
  } else if (name == "numa") {
    test_numa();
    test_boot();
  } else if (name == "native") {
    test_native();
  } else if (name == "hidden_memory") {
    test_hidden_memory();
  } else if (name == "guest_memory") {
    test_guest_memory();
  } else if (name == "windows") {
    test_windows();
  } else if (name == "offline") {
    test_offline();
  } else if (name == "devices") {
    test_devices();
  } else if (name == "free_devices") {
    test_free_devices();
  } else if (name == "fuzz") {
    test_fuzz();
  } else if (name == "panic") {
    test_panic();
  } else if (name == "reset") {
    test_reset(VMSRS_GUEST_RESET);
  } else if (name == "triple_fault") {
    test_reset(VMSRS_GUEST_SHUTDOWN);
  } else if (name == "announced_reset") {
    test_announced_reset();
  } else if (name == "power_off") {
    test_power_off();
  } else if (name == "sleep") {
    test_sleep();
  } else if (name == "kdump") {
    test_kdump();
  } else if (name == "hang_watch") {
    test_hang_watch();
  } else if (name == "report") {
    test_report();
  } else {
    std::printf("RESULT: FAILURE no test named '%s'\n", argc > 1 ? argv[1] : "");
    return 0;
  }
  std::printf("RESULT: SUCCESS\n");
  return 0;
}
