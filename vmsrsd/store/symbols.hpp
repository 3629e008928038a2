// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace vmsrs::store {

// Where an address of a process lies. What could not be found is empty: the process has ended, its
// maps may not be read, the file is stripped or was replaced.
struct Place {
  std::uint64_t address = 0;
  std::optional<std::string> module;           // file that is mapped there
  std::optional<std::uint64_t> offset;         // of the address in that file's addresses (ELF)
  std::optional<std::string> symbol;           // the function, readable
  std::optional<std::uint64_t> symbol_offset;  // of the address in it
  std::optional<std::string> build;            // first 16 digits of the module's build id
};

// Finds modules and symbols of living processes: /proc/PID/maps and the symbol tables of the files
// there, without debug information. Keeps what it has read: make a new one for each batch of
// addresses. One thread.
class Symbols {
 public:
  explicit Symbols(std::string proc = "/proc") : proc_(std::move(proc)) {}

  [[nodiscard]] Place place(std::uint32_t process_id, std::uint64_t address);
  // File of the process's program, if it lives and may be looked at.
  [[nodiscard]] std::optional<std::string> program(std::uint32_t process_id) const;

 private:
  struct Mapping {
    std::uint64_t begin = 0, end = 0, file_offset = 0;
    std::uint64_t device = 0, inode = 0;
    std::string file;
  };
  struct Segment {
    std::uint64_t file_offset = 0, bytes = 0, address = 0;
  };
  struct Function {
    std::uint64_t begin = 0, end = 0;
    std::string name;
  };
  struct Module {
    std::vector<Segment> segments;
    std::vector<Function> functions;  // by their begin
    std::optional<std::string> build;
  };

  [[nodiscard]] const std::vector<Mapping>& mappings_of(std::uint32_t process_id);
  [[nodiscard]] const Module& module_of(std::uint32_t process_id, const Mapping& mapping);
  [[nodiscard]] Module read_module(std::uint32_t process_id, const Mapping& mapping) const;

  std::string proc_;
  std::map<std::uint32_t, std::vector<Mapping>> mappings_;
  std::map<std::tuple<std::uint64_t, std::uint64_t>, Module> modules_;  // by device and inode
};

}  // namespace vmsrs::store
