// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace guest {

// The machine's NVMe controller, driven by root from user space, with Linux' driver absent: a
// device that reads and writes whatever memory it is told to. Offsets and commands: NVM Express
// Base Specification 1.4, 3.1 and 5.
class Nvme {
 public:
  // Ends the test if there is none, or it does not start.
  Nvme();

  // Has the device write 4 KiB of its own (Identify Controller) to physical memory. Its status
  // code.
  unsigned write_to(std::uint64_t address);
  // Has the device read eight bytes of physical memory (its clock is set by them) and tell the
  // lower 48 bits of what it has read, some milliseconds later.
  std::uint64_t read_from(std::uint64_t address);

  // Memory of this process that stays where it is.
  static constexpr std::size_t kPageBytes = 4096;
  struct Page {
    volatile std::uint64_t* words;
    std::uint64_t physical;
  };
  static Page make_page();

 private:
  unsigned execute(std::uint32_t operation, std::uint64_t address, std::uint32_t argument);
  volatile std::uint32_t& word(std::size_t offset) { return registers_[offset / 4]; }

  volatile std::uint32_t* registers_ = nullptr;
  Page submissions_, completions_, answer_;
  unsigned submitted_ = 0, completed_ = 0;
};

}  // namespace guest
