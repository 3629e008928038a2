// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/apic_registers.hpp"
#include "svm/processor.hpp"

// The guest uses the real local APICs. Its loads go straight through; its stores trap, for ever,
// because one of them can be an INIT: the CPU that gets a real INIT leaves guest mode and runs on
// outside the hypervisor. So INIT and start-up IPIs are taken out here and carried out by hand
// (processor_start.hpp); everything else is stored as it is.
namespace vmsrs::svm {

void handle_apic_store(Processor& processor, std::uint64_t offset);

// The I/O APICs are the guest's too, but for entries that would deliver an INIT.
void handle_io_apic_store(Processor& processor, std::uint64_t address);

std::uint32_t apic_read(std::uint32_t offset);
void apic_write(std::uint32_t offset, std::uint32_t value);

// Fixes the low word of an interrupt command to one CPU and waits until it is out. The guest's own
// destination register is put back.
void send_ipi(std::uint32_t apic_id, std::uint32_t command);

// What an INIT does to a local APIC, pending interrupts included (APM vol. 2, 16.3).
void reset_local_apic();

}  // namespace vmsrs::svm
