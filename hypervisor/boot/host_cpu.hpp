// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "boot/acpi.hpp"
#include "svm/address.hpp"
#include "svm/page_pool.hpp"
#include "svm/processor.hpp"

namespace vmsrs::boot {

// The page in which the other CPUs begin, in real mode (ap_trampoline.S).
constexpr svm::PhysicalRange kTrampoline{0x8000, 0x9000};

// The interrupt table, the same one for all CPUs: written once at boot (the page where it is), then
// loaded by each.
svm::PhysicalRange fill_interrupt_table();
void load_interrupt_table();

// Ticks of the time-stamp counter in a millisecond, against the programmable interval timer.
std::uint64_t measure_tsc();
void wait_us(std::uint64_t microseconds, std::uint64_t tsc_per_ms);

// Memory that `count` CPUs need from the pool.
std::uint64_t processor_bytes(std::uint32_t count);

// Makes a Processor, with a stack, for every CPU; the calling one is number 0.
void make_processors(const CpuList& cpus, svm::PagePool& pool);
// The page below its stack, which the host's tables leave out.
svm::PhysicalRange stack_guard(const svm::Processor& processor);
// Brings the other CPUs up: each waits in the hypervisor for the guest's start-up IPI. Stops with a
// clear line if one stays silent.
void start_processors();

}  // namespace vmsrs::boot
