// SPDX-License-Identifier: Apache-2.0
#include "boot/native_boot.hpp"

#include "boot/layout.hpp"
#include "svm/console.hpp"
#include "svm/x86.hpp"

extern "C" {
extern char boot_pml4[];  // entry.S
[[noreturn]] void enter_linux_natively(std::uint32_t entry, std::uint32_t boot_params);
}

namespace vmsrs::boot {
namespace {

// Too large for the stack.
constinit Layout layout;
constinit Text<2560> command_line;

// In front, for behind `--` everything is init's.
bool write_command_line(const BootInformation& information, const LinuxKernel& kernel,
                        const char* problem) {
  bool fits = command_line.assign(kFallbackWord) && command_line.add("=\"");
  for (; *problem != '\0'; ++problem) {
    const char c[2] = {*problem == '"' ? '\'' : *problem, '\0'};
    fits = fits && command_line.add(c);
  }
  return fits && command_line.add("\" ") && command_line.add(information.linux_options.c_str()) &&
         kernel.takes_command_line(command_line.length());
}

}  // namespace

void boot_natively(const BootInformation& information, const char* problem) {
  constexpr std::uint64_t kBootCpu = 1u << 8;
  if ((x86::read_msr(x86::kMsrApicBase) & kBootCpu) == 0) console::end_machine();
  console::say("starting Linux without the hypervisor (fallback=native)");
  // The host's own tables, if they stand, lie in what becomes Linux's memory.
  x86::write_cr3(reinterpret_cast<std::uint64_t>(boot_pml4));
  LinuxKernel kernel = inspect_kernel(information.modules[kKernelModule]);
  choose_native_layout(information, kernel, layout);
  const Module& initrd = information.modules[kInitrdModule];
  __builtin_memcpy(reinterpret_cast<void*>(layout.initrd.begin),
                   reinterpret_cast<const void*>(initrd.begin), initrd.bytes());
  const char* options = information.linux_options.c_str();
  if (write_command_line(information, kernel, problem)) options = command_line.c_str();
  const std::uint32_t boot_params =
      load_kernel(kernel, information, layout.initrd, layout.linux_map, options);
  enter_linux_natively(static_cast<std::uint32_t>(kernel.load_address), boot_params);
}

}  // namespace vmsrs::boot
