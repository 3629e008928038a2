// SPDX-License-Identifier: Apache-2.0
#include "boot/host_cpu.hpp"

#include <new>

#include "svm/apic.hpp"
#include "svm/console.hpp"
#include "svm/machine.hpp"
#include "svm/processor.hpp"
#include "svm/processor_start.hpp"
#include "svm/svm_exit_handler.hpp"
#include "svm/x86.hpp"

extern "C" {
extern char ap_trampoline_begin[], ap_trampoline_end[];
extern std::uint64_t ap_start_cr3, ap_start_stack, ap_start_argument;
[[noreturn]] void hypervisor_ap_main(vmsrs::svm::Processor* processor);
}

namespace vmsrs::boot {
namespace {

constexpr std::uint64_t kStackBytes = 64 << 10;
constexpr std::uint64_t kGuardBytes = svm::kPage;

void make_processor(std::uint32_t index, std::uint32_t apic_id, svm::PagePool& pool) {
  void* const place = pool.take(sizeof(svm::Processor));
  void* const vmcb = pool.take(sizeof(svm::Vmcb));
  void* const save_area = pool.take(svm::kPage);
  void* const stack = pool.take(kGuardBytes + kStackBytes);
  if (stack == nullptr) console::stop("the hypervisor's own memory is used up");
  auto* const processor = new (place) svm::Processor();
  processor->index = index;
  processor->apic_id = apic_id;
  processor->vmcb = new (vmcb) svm::Vmcb();
  processor->host_save_area = save_area;
  processor->stack_top = static_cast<std::uint8_t*>(stack) + kGuardBytes + kStackBytes;
  svm::processors.list[index] = processor;
  svm::processors.count = index + 1;
}

void start(svm::Processor& processor) {
  const std::uint64_t tsc_per_ms = svm::machine().tsc_per_ms;
  ap_start_cr3 = svm::machine().host_cr3;
  ap_start_stack = reinterpret_cast<std::uint64_t>(processor.stack_top);
  ap_start_argument = reinterpret_cast<std::uint64_t>(&processor);
  // The universal start-up algorithm (MultiProcessor Specification 1.4, B.4).
  svm::send_ipi(processor.apic_id, svm::kIpiInit | svm::kIpiLevel | svm::kIpiAssert);
  wait_us(10000, tsc_per_ms);
  for (int i = 0; i < 2 && !processor.started; ++i) {
    svm::send_ipi(processor.apic_id,
                  svm::kIpiStartUp | static_cast<std::uint32_t>(kTrampoline.begin >> 12));
    wait_us(200, tsc_per_ms);
  }
  constexpr int kPatienceMs = 10000;
  for (int i = 0; i < kPatienceMs && !processor.started; ++i) wait_us(1000, tsc_per_ms);
  if (!processor.started) {
    console::stop("CPU ", processor.index, " (APIC ", processor.apic_id, ") did not start");
  }
}

}  // namespace

void wait_us(std::uint64_t microseconds, std::uint64_t tsc_per_ms) {
  const std::uint64_t begin = x86::read_tsc();
  while ((x86::read_tsc() - begin) * 1000 < microseconds * tsc_per_ms) x86::pause();
}

std::uint64_t measure_tsc() {
  // Channel 2 in mode 0 raises its output, readable in port 0x61, when the count is over.
  constexpr std::uint64_t kTicks = 1193182 / 20;  // 50 ms
  x86::out8(0x61, static_cast<std::uint8_t>((x86::in8(0x61) & ~2u) | 1u));
  x86::out8(0x43, 0xb0);
  x86::out8(0x42, kTicks & 0xff);
  x86::out8(0x42, kTicks >> 8);
  const std::uint64_t begin = x86::read_tsc();
  // Well below a microsecond between two looks: an emulator takes long for each of them.
  while ((x86::in8(0x61) & 0x20) == 0)
    for (int i = 0; i < 200; ++i) asm volatile("");
  return (x86::read_tsc() - begin) / 50;
}

std::uint64_t processor_bytes(std::uint32_t count) {
  const std::uint64_t each = svm::align_up(sizeof(svm::Processor), svm::kPage) + sizeof(svm::Vmcb) +
                             svm::kPage + kGuardBytes + kStackBytes;
  return count * each;
}

void make_processors(const CpuList& cpus, svm::PagePool& pool) {
  const std::uint32_t own_id = svm::apic_read(svm::kApicId) >> 24;
  make_processor(0, own_id, pool);
  svm::processors.list[0]->started = true;
  for (std::uint32_t i = 0; i < cpus.count; ++i) {
    if (cpus.apic_ids[i] != own_id) make_processor(svm::processors.count, cpus.apic_ids[i], pool);
  }
}

svm::PhysicalRange stack_guard(const svm::Processor& processor) {
  const auto stack = reinterpret_cast<std::uint64_t>(processor.stack_top) - kStackBytes;
  return {stack - kGuardBytes, stack};
}

void start_processors() {
  const auto bytes = static_cast<std::size_t>(ap_trampoline_end - ap_trampoline_begin);
  __builtin_memcpy(reinterpret_cast<void*>(kTrampoline.begin), ap_trampoline_begin, bytes);
  for (std::uint32_t i = 1; i < svm::processors.count; ++i) start(*svm::processors.list[i]);
  console::set_stop_others(svm::stop_other_processors);
}

}  // namespace vmsrs::boot

void hypervisor_ap_main(vmsrs::svm::Processor* processor) {
  vmsrs::boot::load_interrupt_table();
  vmsrs::svm::enable_svm(*processor);
  processor->waits_for_sipi = true;
  processor->started = true;
  vmsrs::svm::wait_for_start_up(*processor);
  vmsrs::svm::run_guest(*processor);
}
