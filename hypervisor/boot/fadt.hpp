// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "svm/power_ports.hpp"

namespace vmsrs::boot {

// Reads ACPI's fixed table (FADT): the ports of PM1 control and reset. `bytes` as it says itself.
void read_fadt(const std::uint8_t* table, std::size_t bytes, svm::PowerPorts& ports);
// Where it has the main table of definitions (DSDT); 0: nowhere below 4 GiB.
std::uint64_t definitions_of(const std::uint8_t* table, std::size_t bytes);

// The same of a table of definitions (DSDT, SSDT; AML): if it has the object \_S5, its types of
// sleep.
void read_off_types(const std::uint8_t* table, std::size_t bytes, svm::PowerPorts& ports);
// Renames the objects \_S1 to \_S4, so that nobody finds states to sleep in. How many there were.
std::size_t hide_sleep_states(std::uint8_t* table, std::size_t bytes);

// The same of the HPET's device (PNP0103): it becomes one of the mainboard's (PNP0C02).
std::size_t hide_hpet_device(std::uint8_t* table, std::size_t bytes);

}  // namespace vmsrs::boot
