// SPDX-License-Identifier: Apache-2.0
#include "redeliver.hpp"

#include <vmsrs/abi.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "guest_call.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint64_t kRedZone = 128;    // System V ABI, 3.2.2
constexpr std::uint64_t kAlignment = 64;   // of the vector registers' image
constexpr std::size_t kReturnAddress = 8;  // in front of the context (Linux, struct rt_sigframe)

// Where the vector registers' image says how long it is (Linux, struct _fpx_sw_bytes).
constexpr std::size_t kSoftwareBytes = 464;
constexpr std::uint32_t kMagic = 0x46505853;
constexpr std::size_t kLegacyBytes = 512;

bool is_on(const stack_t& stack, std::uint64_t address) {
  return (stack.ss_flags & SS_DISABLE) == 0 && address - to_register(stack.ss_sp) < stack.ss_size;
}

std::size_t image_bytes(const ucontext_t& context) {
  std::uint32_t words[2];  // magic, bytes
  std::memcpy(words,
              reinterpret_cast<const std::byte*>(context.uc_mcontext.fpregs) + kSoftwareBytes,
              sizeof words);
  return words[0] == kMagic ? words[1] : kLegacyBytes;
}

bool make_room(std::uint64_t from, std::uint64_t to) {
  for (std::uint64_t page = from; page < to;
       page = (page / VMSRS_PAGE_BYTES + 1) * VMSRS_PAGE_BYTES)
    if (!touch_page(page, true)) return false;
  return true;
}

[[noreturn]] void start(std::uint64_t handler, std::uint64_t frame, int signal, std::uint64_t info,
                        std::uint64_t context) {
  asm volatile(
      "mov %1, %%rsp\n\t"
      "jmp *%0"
      :
      : "r"(handler), "r"(frame), "D"(static_cast<long>(signal)), "S"(info), "d"(context)
      : "memory");
  __builtin_unreachable();
}

}  // namespace

bool redeliver_below(const struct sigaction& action, int signal, const siginfo_t& info,
                     ucontext_t& context) {
  const auto stack = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RSP]);
  const std::uint64_t frame = to_register(&context) - kReturnAddress;
  if (!is_on(context.uc_stack, frame) || is_on(context.uc_stack, stack)) return true;
  const std::uint64_t image = to_register(context.uc_mcontext.fpregs);
  const std::uint64_t end = image + image_bytes(context);
  const std::uint64_t moved =
      ((stack - kRedZone - (end - frame)) & ~(kAlignment - 1)) - kAlignment + frame % kAlignment;
  if (!make_room(moved, stack)) return false;
  std::memcpy(reinterpret_cast<void*>(moved), reinterpret_cast<const void*>(frame), end - frame);
  auto& copy = *reinterpret_cast<ucontext_t*>(moved + kReturnAddress);
  copy.uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(moved + (image - frame));
  const std::uint64_t handler = (action.sa_flags & SA_SIGINFO) != 0
                                    ? to_register(reinterpret_cast<void*>(action.sa_sigaction))
                                    : to_register(reinterpret_cast<void*>(action.sa_handler));
  start(handler, moved, signal, moved + (to_register(&info) - frame), to_register(&copy));
}

}  // namespace vmsrs::guest
