// SPDX-License-Identifier: Apache-2.0
#include "next.hpp"

// __real_NAME of each function that vmsrs-protect.cmake lists (there it is the linker's --wrap that
// provides them): a jump through a word, which leads to the look-up until that has been done.
#define VMSRS_WRAPPED(name)                    \
  asm(".pushsection .data.rel.local, \"aw\"\n" \
      ".balign 8\n"                            \
      "vmsrs_next_" #name                      \
      ":\n"                                    \
      "  .quad vmsrs_first_" #name             \
      "\n"                                     \
      ".popsection\n"                          \
      ".pushsection .text\n"                   \
      ".globl __real_" #name                   \
      "\n"                                     \
      ".type __real_" #name                    \
      ", @function\n"                          \
      "__real_" #name                          \
      ":\n"                                    \
      "  jmp *vmsrs_next_" #name               \
      "(%rip)\n"                               \
      "vmsrs_first_" #name                     \
      ":\n"                                    \
      "  push %rdi\n"                          \
      "  push %rsi\n"                          \
      "  push %rdx\n"                          \
      "  push %rcx\n"                          \
      "  push %r8\n"                           \
      "  push %r9\n"                           \
      "  sub $8, %rsp\n"                       \
      "  lea vmsrs_name_" #name                \
      "(%rip), %rdi\n"                         \
      "  lea vmsrs_next_" #name                \
      "(%rip), %rsi\n"                         \
      "  call vmsrs_find_next\n"               \
      "  add $8, %rsp\n"                       \
      "  pop %r9\n"                            \
      "  pop %r8\n"                            \
      "  pop %rcx\n"                           \
      "  pop %rdx\n"                           \
      "  pop %rsi\n"                           \
      "  pop %rdi\n"                           \
      "  jmp *vmsrs_next_" #name               \
      "(%rip)\n"                               \
      "vmsrs_name_" #name                      \
      ":\n"                                    \
      "  .asciz \"" #name                      \
      "\"\n"                                   \
      ".popsection\n");
#include "wrapped.inc"
#undef VMSRS_WRAPPED

extern "C" [[gnu::used, gnu::visibility("hidden")]] void vmsrs_find_next(const char* name,
                                                                         void** next) {
  __atomic_store_n(next, vmsrs::preload::find_next(name), __ATOMIC_RELAXED);
}
