// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi.hpp"
#include "boot/host_cpu.hpp"
#include "boot/host_tables.hpp"
#include "boot/layout.hpp"
#include "boot/linux_loader.hpp"
#include "boot/multiboot.hpp"
#include "boot/native_boot.hpp"
#include "boot/options.hpp"
#include "boot/processor_problem.hpp"
#include "boot/windows.hpp"
#include "monitor/monitor.hpp"
#include "svm/apic.hpp"
#include "svm/console.hpp"
#include "svm/contradiction.hpp"
#include "svm/features.hpp"
#include "svm/guest_access.hpp"
#include "svm/guest_end.hpp"
#include "svm/hang_watch.hpp"
#include "svm/machine.hpp"
#include "svm/msr_permissions.hpp"
#include "svm/port_permissions.hpp"
#include "svm/processor_start.hpp"
#include "svm/restart.hpp"
#include "svm/svm_exit_handler.hpp"
#include "svm/svm_platform.hpp"
#include "svm/x86.hpp"

extern "C" {
extern char image_begin[], image_constants[], image_data[];  // hypervisor.ld
extern char boot_stack_guard[];                              // entry.S
[[noreturn]] void hypervisor_main(std::uint32_t magic, std::uint64_t information);
}

namespace vmsrs::boot {
namespace {

using console::Hex;
using console::say;
using console::stop;

constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;

// Too large for the stack, and needed only until Linux runs.
constinit BootInformation boot_information;
constinit Layout layout;
constinit WindowFrames window_frames;
constinit svm::PagePool pool;
constinit svm::PageTable host_table;
// Tables for the time until the host's own ones stand, in hidden memory that they must reach.
constinit svm::PageTable first_table;
alignas(svm::kPage) constinit std::uint8_t first_table_memory[16 * svm::kPage] = {};
constinit svm::SvmPlatform platform;
constinit PanicDeviceTables panic_device;
// What is loaded at each start of Linux: the boot loader's modules, or our copies of them.
constinit LinuxKernel kernel;
constinit Module initrd;
constinit std::uint64_t modules_sum = 0;
constinit std::uint32_t hang_seconds = 0;
constinit HostMap host_map;

void check_processor() {
  svm::detect_features();
  const std::uint64_t apic_base = x86::read_msr(x86::kMsrApicBase);
  if (const char* problem = processor_problem(svm::features(), apic_base)) stop(problem);
}

void parse(const BootInformation& information, Options& options) {
  const OptionError error = parse_options(information.options.c_str(), options);
  // Even a wrong command line may say how to end.
  console::set_debug_exit_port(options.debug_exit_port);
  if (options.native_fallback) {
    console::set_fallback([](const char* problem) { boot_natively(boot_information, problem); });
  }
  if (error.what != nullptr) stop("bad option '", error.word, "': ", error.what);
}

// In front, for behind `--` everything is init's.
void skip_crash_kernel() {
  static constinit Text<decltype(boot_information.linux_options)::kSize> options;
  if (!options.assign("crash_kexec_post_notifiers ") ||
      !options.add(boot_information.linux_options.c_str()))
    stop("the kernel's command line is longer than it takes");
  boot_information.linux_options = options;
  svm::end_before_crash_kernel();
}

void check_modules(const BootInformation& information) {
  constexpr const char* kNames[kModuleCount] = {"0, the Linux kernel", "1, the initrd",
                                                "2, the windows image"};
  for (std::uint32_t i = 0; i < kModuleCount; ++i) {
    if (i >= information.module_count || information.modules[i].bytes() == 0) {
      stop("missing module ", kNames[i], "; expected: kernel, initrd, windows image");
    }
  }
}

// Of the kernel and the initrd: are they what they were?
std::uint64_t sum_of_modules() {
  std::uint64_t sum = 0;
  const auto add = [&](std::uint64_t begin, std::uint64_t bytes) {
    for (std::uint64_t i = 0; i + 8 <= bytes; i += 8) {
      sum = (sum << 1 | sum >> 63) ^ *reinterpret_cast<const std::uint64_t*>(begin + i);
    }
  };
  add(kernel.code_begin, kernel.code_bytes);
  add(initrd.begin, initrd.bytes());
  return sum;
}

std::uint64_t kept_bytes(const Options& options) {
  if (!options.restart) return 0;
  return svm::align_up(kernel.code_bytes, svm::kPage) + svm::align_up(initrd.bytes(), svm::kPage);
}

// Copies of the modules for all later starts: what lies where the boot loader put them is Linux's.
void keep_modules() {
  const auto keep = [](std::uint64_t begin, std::uint64_t bytes) {
    void* const copy = pool.take(bytes);
    if (copy == nullptr) stop("the hypervisor's own memory is used up");
    __builtin_memcpy(copy, reinterpret_cast<const void*>(begin), bytes);
    return reinterpret_cast<std::uint64_t>(copy);
  };
  kernel.code_begin = keep(kernel.code_begin, kernel.code_bytes);
  const std::uint64_t initrd_bytes = initrd.bytes();
  initrd.begin = keep(initrd.begin, initrd_bytes);
  initrd.end = initrd.begin + initrd_bytes;
  modules_sum = sum_of_modules();
}

void load_linux(svm::Processor& self) {
  if (modules_sum != 0 && sum_of_modules() != modules_sum)
    stop("the copies of kernel and initrd are damaged");
  const svm::GuestAccess access;
  __builtin_memcpy(reinterpret_cast<void*>(layout.initrd.begin),
                   reinterpret_cast<const void*>(initrd.begin), initrd.bytes());
  __builtin_memset(reinterpret_cast<void*>(layout.acpi_tables.begin), 0,
                   layout.acpi_tables.bytes());
  __builtin_memcpy(reinterpret_cast<void*>(layout.acpi_tables.begin), panic_device.bytes,
                   panic_device.used);
  const std::uint32_t boot_params =
      load_kernel(kernel, boot_information, layout.initrd, layout.linux_map,
                  boot_information.linux_options.c_str());
  svm::enter_protected_mode(self, static_cast<std::uint32_t>(kernel.load_address), boot_params);
  svm::count_guest_start();
  if (svm::machine().hpet != 0) svm::start_hang_watch(hang_seconds);
}

void copy_module(const Module& module, svm::PhysicalRange to) {
  __builtin_memset(reinterpret_cast<void*>(to.begin), 0, to.bytes());
  __builtin_memcpy(reinterpret_cast<void*>(to.begin), reinterpret_cast<const void*>(module.begin),
                   module.bytes());
}

std::uint64_t storage_bytes(const Options& options) {
  if (options.hidden_percent == 0) return options.hidden_bytes;
  const std::uint64_t all = boot_information.memory.usable_bytes();
  const std::uint64_t share = svm::align_down(all / 100 * options.hidden_percent, svm::kLargePage);
  if (share < kLeastHidden) stop("hidden=", options.hidden_percent, "% is less than 4M");
  return share < kMostHidden ? share : kMostHidden;
}

// entry.S has mapped 4 GiB; hidden memory may lie above.
void map_own_memory() {
  const auto memory = reinterpret_cast<std::uint64_t>(first_table_memory);
  pool = svm::PagePool({memory, memory + sizeof(first_table_memory)});
  const std::uint64_t begin = layout.hidden.begin;
  if (!first_table.initialise(pool, svm::features().huge_pages) ||
      !first_table.set(0, kFourGiB, svm::kHostFlags) ||
      !first_table.set(begin, begin + layout.own_bytes, svm::kHostFlags)) {
    stop("the hypervisor's own memory is used up");
  }
  x86::write_cr3(value(first_table.root()));
}

void fill_machine(const CpuList& cpus) {
  svm::Machine& m = svm::machine();
  m.image = layout.image;
  m.hidden = layout.hidden;
  m.storage_begin = layout.hidden.begin + layout.own_bytes;
  m.windows = layout.windows;
  m.hpet_for_guest = layout.acpi_tables.end - svm::kPage;
  for (const MemoryRange& range : layout.linux_map) {
    // Page 0 is absent from the host's tables. Linux does not use it.
    const std::uint64_t begin = range.begin == 0 ? svm::kPage : range.begin;
    if (range.type != kUsable || begin >= range.end) continue;
    if (m.guest_memory_count == svm::Machine::kMaxRanges) stop("memory is in too many pieces");
    m.guest_memory[m.guest_memory_count++] = {begin, range.end};
  }
  pool = svm::PagePool({layout.hidden.begin, layout.hidden.begin + layout.own_bytes});
  m.tsc_per_ms = measure_tsc();
  if (cpus.has_more)
    console::warn("more CPUs than the hypervisor can use; Linux gets ", cpus.count);
}

svm::PhysicalRange range_of(const char* begin, const char* end) {
  return {reinterpret_cast<std::uint64_t>(begin), reinterpret_cast<std::uint64_t>(end)};
}

// The host's tables, the nested ones, what exits on MSRs and ports: nothing of it changes after
// this.
void build_tables(svm::PhysicalRange interrupt_table) {
  svm::Machine& m = svm::machine();
  host_map.memory_end = boot_information.memory.top();
  host_map.code = range_of(image_begin, image_constants);
  host_map.constants = range_of(image_constants, image_data);
  host_map.interrupt_table = interrupt_table;
  host_map.add_guard(range_of(boot_stack_guard, boot_stack_guard + svm::kPage));
  for (std::uint32_t i = 0; i < svm::processors.count; ++i) {
    host_map.add_guard(stack_guard(*svm::processors.list[i]));
  }
  const std::uint64_t begin = pool.next();
  auto* const msr_permissions = static_cast<std::uint8_t*>(pool.take(svm::kMsrPermissionBytes));
  svm::fill_msr_permissions(msr_permissions);
  m.msr_permissions = msr_permissions;
  auto* const io_permissions = static_cast<std::uint8_t*>(pool.take(svm::kIoPermissionBytes));
  svm::fill_port_permissions(io_permissions, m.power_ports);
  m.io_permissions = io_permissions;
  bool good =
      host_table.initialise(pool, svm::features().huge_pages) && map_host(host_table, host_map, m);
  for (std::uint64_t server = 0; server < VMSRS_MAX_SERVERS; ++server) {
    const std::uint64_t alias = kWindowAlias + server * VMSRS_WINDOW_BYTES;
    for (std::uint64_t page = 0; page < VMSRS_WINDOW_PAGES; ++page) {
      const std::uint64_t at = alias + page * svm::kPage;
      good = good && host_table.set(at, at + svm::kPage, svm::kHostData,
                                    window_frames.frame[server][page] - at);
    }
    m.server_windows[server] = reinterpret_cast<vmsrs_window*>(alias);
  }
  if (!good || !svm::build_nested_tables(pool) || !seal_tables(host_table, begin, pool)) {
    stop("the hypervisor's own memory is used up");
  }
  m.host_cr3 = value(host_table.root());
  x86::write_msr(x86::kMsrEfer, x86::read_msr(x86::kMsrEfer) | x86::kEferNxe);
  x86::write_cr3(m.host_cr3);
}

void confine_devices() {
  svm::Machine& m = svm::machine();
  m.devices_confined = svm::start_iommus(m.iommus, pool);
  if (m.devices_confined) return;
  console::warn(m.iommus.count == 0 ? "no IOMMU" : "no use of the IOMMU",
                ": whoever drives a device (root) can have it change hidden memory");
}

// The hypervisor's own if hangs are to be watched for and it can send messages, else Linux's.
void take_hpet(const Options& options, const RootPointer& root) {
  const std::uint64_t hpet = find_hpet(root);
  if (options.hang_seconds != 0 && svm::find_hang_timer(hpet)) {
    svm::machine().hpet = hpet;
    svm::machine().guest_watch |= VMSRS_WATCH_HANG;
    hang_seconds = options.hang_seconds;
    return;
  }
  svm::machine().guest_hpet = hpet;
  if (options.hang_seconds != 0) {
    console::log("no HPET that sends messages: hangs of the guest are not recognised");
  }
}

// What Linux is to find in the firmware's tables, and what not.
void change_tables(RootPointer& root) {
  svm::Machine& m = svm::machine();
  hide_iommus(root);
  hide_sleep(root);
  if (!m.power_ports.off_known)
    console::warn("the firmware's tables do not tell how the machine is switched off; it stays on");
  if (m.hpet != 0) hide_hpet(root);
  if (add_panic_device(root, layout.acpi_tables.begin, panic_device)) {
    m.guest_watch |= VMSRS_WATCH_PANIC;
  } else {
    console::warn("no room for another ACPI table; the guest's panics are not recognised");
  }
}

void start_engine(const Options& options) {
  monitor::MonitorConfig config{};
  config.has_secret = options.has_secret;
  __builtin_memcpy(config.secret_hash, options.secret_hash, sizeof(config.secret_hash));
  auto* const storage = reinterpret_cast<void*>(layout.hidden.begin + layout.own_bytes);
  const std::uint64_t bytes = layout.hidden.bytes() - layout.own_bytes;
  platform.start_clock();
  if (!monitor::initialise(platform, storage, bytes, config)) {
    stop("hidden=", bytes >> 20, "M is too small for the recovery engine");
  }
}

[[noreturn]] void boot(std::uint32_t magic, std::uint64_t information) {
  console::console_initialise();
  console::set_screen(show_line);
  const svm::PhysicalRange interrupt_table = fill_interrupt_table();
  load_interrupt_table();
  if (const char* problem = copy_multiboot(magic, information, boot_information)) stop(problem);
  use_screen(boot_information.screen, kFourGiB);
  say("hypervisor, ABI ", std::uint64_t{VMSRS_ABI_MAJOR}, ".", std::uint64_t{VMSRS_ABI_MINOR},
      boot_information.uefi ? ", UEFI" : "");
  Options options;
  parse(boot_information, options);
  check_processor();
  check_modules(boot_information);
  CpuList cpus;
  RootPointer& root = boot_information.root_pointer;
  find_root_pointer(root);
  if (!find_cpus(root, cpus)) stop("no ACPI table of the processors (MADT)");
  svm::Machine& m = svm::machine();
  m.io_apic_count = find_io_apics(root, m.io_apics, svm::Machine::kMaxIoApics);
  if (m.io_apic_count > svm::Machine::kMaxIoApics)
    stop("more I/O APICs than the hypervisor can use");
  find_iommus(root, m.iommus);
  find_power_ports(root, m.power_ports);
  take_hpet(options, root);

  initrd = boot_information.modules[kInitrdModule];
  kernel = inspect_kernel(boot_information.modules[kKernelModule]);
  if (options.skips_crash_kernel) skip_crash_kernel();
  if (!kernel.takes_command_line(boot_information.linux_options.length())) {
    stop("the kernel's command line is longer than it takes");
  }
  const std::uint64_t own_bytes = svm::page_table_bytes() + processor_bytes(cpus.count) +
                                  svm::kMsrPermissionBytes + svm::kIoPermissionBytes +
                                  svm::iommu_bytes(svm::machine().iommus) + kept_bytes(options);
  choose_layout(boot_information,
                {own_bytes, storage_bytes(options), options.hidden_place, svm::mapped_end()},
                kernel, layout);
  copy_module(boot_information.modules[kWindowsModule], layout.windows);
  adopt_windows(layout.windows, window_frames);

  map_own_memory();
  fill_machine(cpus);
  make_processors(cpus, pool);
  build_tables(interrupt_table);
  if (options.restart) keep_modules();
  start_engine(options);
  // From here on Linux could not be started without the hypervisor: the other processors wait in
  // its memory, and with VM_CR.R_INIT set Linux's INIT would not take them out of it.
  console::set_fallback(nullptr);
  start_processors();
  confine_devices();
  change_tables(root);
  say("hidden ", Hex{layout.hidden.begin}, "-", Hex{layout.hidden.end}, " and ",
      Hex{layout.image.begin}, "-", Hex{layout.image.end}, ", windows ", Hex{layout.windows.begin},
      "-", Hex{layout.windows.end}, ", ", svm::processors.count, " CPUs, ",
      svm::machine().iommus.count, " IOMMUs");
  console::set_screen(nullptr);
  svm::Processor& self = *svm::processors.list[0];
  svm::enable_svm(self);
  load_linux(self);
  if (options.restart) svm::set_guest_loader(load_linux);
  if (options.resets_when_given_up) svm::reset_when_given_up();
  if (options.goes_on) svm::let_linux_go_on();
  svm::run_guest(self);
}

}  // namespace
}  // namespace vmsrs::boot

void hypervisor_main(std::uint32_t magic, std::uint64_t information) {
  vmsrs::boot::boot(magic, information);
}
