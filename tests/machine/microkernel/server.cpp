// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

void enter_address_space(const uint64_t* root) {
  asm volatile("movq %0, %%cr3" ::"r"(root) : "memory");
}

uint64_t open_management(uint64_t capabilities) {
  static char secret[VMSRS_SECRET_BYTES + 1] = "vmsrs machine tests: the secret.";
  Call open{
      .number = VMSRS_CALL_MGMT_OPEN, .rdi = address_of(secret), .rsi = capabilities, .rdx = 0};
  expect_equal(hypercall(open), VMSRS_OK, "MGMT_OPEN");
  return open.rdx;
}

extern const uint8_t kHashOfZeroes[32] = {
    0x66, 0x68, 0x7a, 0xad, 0xf8, 0x62, 0xbd, 0x77, 0x6c, 0x8f, 0xc1, 0x8b, 0x8e, 0x9f, 0x8e, 0x20,
    0x08, 0x97, 0x14, 0x85, 0x6e, 0xe2, 0x33, 0xb3, 0x90, 0x2a, 0x59, 0x1d, 0x0d, 0x5f, 0x29, 0x25};

void define_server(const char* name) {
  vmsrs_server_definition definition{};
  for (size_t i = 0; name[i] != '\0'; ++i) definition.name[i] = name[i];
  memcpy(definition.secret_hash, kHashOfZeroes, sizeof(kHashOfZeroes));
  const uint64_t token = open_management(VMSRS_OPERATE);
  Call call{.number = VMSRS_CALL_MGMT_DEFINE, .rdi = token, .rsi = address_of(&definition)};
  expect_equal(hypercall(call), VMSRS_OK, "MGMT_DEFINE");
  Call close{.number = VMSRS_CALL_MGMT_CLOSE, .rdi = token};
  expect_equal(hypercall(close), VMSRS_OK, "MGMT_CLOSE");
}

void attach_server(const char* name, uint32_t process_id) {
  vmsrs_attach_request request{};
  for (size_t i = 0; name[i] != '\0'; ++i) request.name[i] = name[i];
  request.abi_version = VMSRS_ABI_VERSION;
  request.process_id = process_id;
  make({.number = VMSRS_CALL_ATTACH, .rdi = address_of(&request)}, VMSRS_OK, "ATTACH");
}

uint64_t call_from_ring3(Call& call) {
  struct Made {
    Call* call;
    uint64_t status;
  } made{&call, 0};
  in_ring3(
      [](uint64_t at) {
        auto* const m = reinterpret_cast<Made*>(at);
        m->status = hypercall(*m->call);
      },
      address_of(&made));
  EXPECT_VECTOR(kNone, "a hypercall from ring 3");
  return made.status;
}

void make(Call& call, uint64_t wanted, const char* what) {
  const Call asked = call;
  uint64_t status = VMSRS_AGAIN;
  for (int i = 0; i < 1000 && status == VMSRS_AGAIN; ++i) {
    call = asked;
    status = call_from_ring3(call);
  }
  expect_equal(status, wanted, what);
}

bool clock_counts_instructions() {
  constexpr uint64_t kLoops = 100'000;  // of two instructions
  uint64_t left = kLoops;
  const uint64_t begin = tsc();
  asm volatile("1: decq %0; jnz 1b" : "+r"(left)::"cc");
  const uint64_t ticks = tsc() - begin;
  return ticks >= 2 * kLoops && ticks < 2 * kLoops + kLoops / 100;
}

void say(const char* what, uint64_t count) {
  char digits[21];
  unsigned at = sizeof(digits);
  digits[--at] = '\0';
  do {
    digits[--at] = static_cast<char>('0' + count % 10);
    count /= 10;
  } while (count > 0);
  print(what);
  print(" ");
  print(digits + at);
  print("\r\n");
}
