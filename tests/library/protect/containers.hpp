// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory_resource>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

// Containers of the standard library, and work on them; containers.cpp is built as vmsrs_protect()
// builds a program. All of it is defined there: of a function that is instantiated with hooks and
// without, the linker takes one.
namespace vmsrs::test {

struct Containers {
  explicit Containers(std::pmr::memory_resource* memory);
  ~Containers();
  std::pmr::unordered_map<std::uint64_t, std::uint64_t> hashed;
  std::pmr::map<std::uint64_t, std::uint64_t> sorted;
  std::pmr::set<std::pmr::string> texts;
  std::pmr::list<std::uint64_t> links;
  std::pmr::vector<std::uint64_t> row;
  std::pmr::deque<std::uint64_t> queue;
  std::uint64_t changes = 0;

  bool operator==(const Containers&) const;
};

Containers* make_containers(void* at, std::pmr::memory_resource* memory);
// The same seed makes the same changes to like containers.
void change(Containers& containers, std::uint64_t seed, unsigned changes);

}  // namespace vmsrs::test
