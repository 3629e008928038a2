// SPDX-License-Identifier: Apache-2.0
#include "svm/apic.hpp"

#include "svm/apic_store_decode.hpp"
#include "svm/console.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/init_messages.hpp"
#include "svm/machine.hpp"
#include "svm/processor_start.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

constexpr std::uint32_t kShorthandNone = 0, kShorthandSelf = 1, kShorthandAll = 2;
constexpr std::uint32_t kLvtMasked = 1u << 16;
constexpr std::uint32_t kSpuriousReset = 0xff;  // software disabled

volatile std::uint32_t* register_at(std::uint32_t offset) {
  return reinterpret_cast<volatile std::uint32_t*>(kLocalApic + offset);
}

void start_or_init(Processor& target, std::uint32_t command) {
  if ((command & kIpiModeMask) == kIpiStartUp) {
    request_start_up(target, static_cast<std::uint8_t>(command));
  } else {
    request_init(target);
  }
}

// INIT or start-up IPI: never reaches the wire.
void intercept_command(Processor& sender, std::uint32_t command) {
  const bool is_init = (command & kIpiModeMask) == kIpiInit;
  const bool deassert = (command & kIpiLevel) != 0 && (command & kIpiAssert) == 0;
  if (is_init && deassert) return;  // means nothing to any processor of this century
  const std::uint32_t shorthand = (command >> 18) & 3;
  if (shorthand == kShorthandNone && (command & kIpiLogical) != 0) {
    console::log_guest("dropped an INIT or start-up IPI with a logical destination");
    return;
  }
  const std::uint32_t destination = apic_read(kApicCommandHigh) >> 24;
  const bool everybody = destination == 0xff;
  for (std::uint32_t i = 0; i < processors.count; ++i) {
    Processor& target = *processors.list[i];
    const bool self = &target == &sender;
    bool hit = false;
    if (shorthand == kShorthandNone) {
      hit = everybody || target.apic_id == destination;
    } else if (shorthand == kShorthandSelf) {
      hit = self;
    } else {
      hit = shorthand == kShorthandAll || !self;
    }
    if (hit) start_or_init(target, command);
  }
}

void forward(Processor& processor, std::uint32_t offset, std::uint32_t value) {
  if (offset == kApicCommandLow) {
    const std::uint32_t mode = value & kIpiModeMask;
    if (mode == kIpiInit || mode == kIpiStartUp) {
      intercept_command(processor, value);
      return;
    }
  }
  if (!may_store_to_apic(offset, value)) {
    console::log_guest("dropped a store to the local APIC, ", console::Hex{offset}, ": ",
                       console::Hex{value});
    return;
  }
  apic_write(offset, value);
}

}  // namespace

std::uint32_t apic_read(std::uint32_t offset) { return *register_at(offset); }
void apic_write(std::uint32_t offset, std::uint32_t value) { *register_at(offset) = value; }

void send_ipi(std::uint32_t apic_id, std::uint32_t command) {
  const std::uint32_t destination = apic_read(kApicCommandHigh);
  apic_write(kApicCommandHigh, apic_id << 24);
  apic_write(kApicCommandLow, command);
  while ((apic_read(kApicCommandLow) & kIpiPending) != 0) x86::pause();
  apic_write(kApicCommandHigh, destination);
}

void handle_apic_store(Processor& processor, std::uint64_t offset) {
  ApicStore store;
  if ((offset & 15) != 0 || !decode_apic_store(processor, store)) {
    refuse(processor, Vector::kGeneralProtection);
    return;
  }
  const auto at = static_cast<std::uint32_t>(offset);
  const std::uint32_t before = store.exchange_register == nullptr ? 0 : apic_read(at);
  forward(processor, at, store.value);
  if (store.exchange_register != nullptr) *store.exchange_register = before;
  skip_instruction(*processor.vmcb, store.length);
}

void handle_io_apic_store(Processor& processor, std::uint64_t address) {
  static constinit SpinLock lock;  // an index and its data are two stores
  ApicStore store;
  if ((address & 15) != 0 || !decode_apic_store(processor, store)) {
    refuse(processor, Vector::kGeneralProtection);
    return;
  }
  auto* const registers = reinterpret_cast<volatile std::uint32_t*>(align_down(address, kPage));
  const auto offset = static_cast<std::uint32_t>(address & kPageMask);
  lock.lock();
  const std::uint32_t index = registers[0];
  const std::uint32_t before = registers[offset / sizeof(*registers)];
  const bool allowed = may_store_to_io_apic(offset, index, store.value);
  if (allowed) registers[offset / sizeof(*registers)] = store.value;
  lock.unlock();
  if (!allowed) {
    console::log_guest("dropped a store to an I/O APIC, ", console::Hex{offset}, ", index ", index,
                       ": ", console::Hex{store.value});
  }
  if (store.exchange_register != nullptr) *store.exchange_register = before;
  skip_instruction(*processor.vmcb, store.length);
}

void reset_local_apic() {
  apic_write(kApicInitialCount, 0);
  for (std::uint32_t lvt = kApicLvtTimer; lvt <= kApicLvtError; lvt += 0x10) {
    apic_write(lvt, kLvtMasked);
  }
  apic_write(kApicTaskPriority, 0);
  // What is in service is ended and what is pending let in, to be forgotten by host_drain_vector.
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t left = 0;
    for (std::uint32_t word = 0; word < 0x80; word += 0x10)
      left |= apic_read(kApicInService + word);
    if (left == 0) break;
    apic_write(kApicEoi, 0);
  }
  asm volatile("stgi; sti; nop; nop; cli; clgi" ::: "memory");
  apic_write(kApicLogicalDestination, 0);
  apic_write(kApicDestinationFormat, 0xffffffff);
  apic_write(kApicSpurious, kSpuriousReset);
}

}  // namespace vmsrs::svm
