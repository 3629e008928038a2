// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "support/machine.hpp"
#include "support/pages.hpp"

namespace vmsrs::test {

// How the users of one server reach the engine and the server's memory: what a history drives.
// TrappedAccesses makes every access a hypercall. An implementation whose normal accesses need none
// goes behind the same interface and must agree with the same model. Users are numbered from 0.
// Each call answers as the hypercall of its name does when it is no longer asked to touch pages.
class Accesses {
 public:
  using User = std::uint32_t;
  // For the server of that number, with so many users in so many processes: user u is in process
  // u % processes.
  using Factory = std::function<std::unique_ptr<Accesses>(std::uint32_t server, std::uint32_t users,
                                                          std::uint32_t processes)>;

  virtual ~Accesses() = default;

  // Process p, under the number process_id; it joins all regions that there are.
  virtual Result attach(const std::string& name, const Secret& secret, std::uint32_t process,
                        std::uint32_t process_id) = 0;
  // By the first process: memory.data(p) is the region in process p. Everywhere else it is named by
  // its address in the first one.
  virtual Result profile(const Pages& memory, std::size_t bytes, unsigned granule, bool eager) = 0;
  virtual Result detach(std::uint32_t process) = 0;

  virtual Result begin(User user, std::uint64_t label) = 0;
  virtual Result end(User user) = 0;
  virtual Result crash(User user) = 0;
  virtual Result stuck(User user) = 0;
  virtual Result collect(User user) = 0;
  // Suspends the user, which is in that slot, and resumes it in another thread.
  virtual Result change_thread(User user, std::uint64_t slot, std::uint64_t generation) = 0;
  virtual Result service(std::uint32_t process) = 0;

  // 1 to 64 bytes at any address.
  virtual Result store(User user, std::uint8_t* to, const std::uint8_t* from,
                       std::uint32_t bytes) = 0;
  // Sampled: whom the user reads from is noted, where the bytes are a word.
  virtual Result load(User user, const std::uint8_t* from, std::uint8_t* to, std::uint32_t bytes,
                      bool sampled) = 0;
  virtual Result store_range(User user, std::uint8_t* to, const std::uint8_t* from,
                             std::uint32_t bytes) = 0;
  virtual Result fill(User user, std::uint8_t* to, std::uint8_t value, std::uint32_t bytes) = 0;
  // Makes the range readable in place.
  virtual Result load_range(User user, const std::uint8_t* from, std::uint32_t bytes) = 0;

  // RDX: 1 if the user was seen to read from one that has crashed since.
  virtual Result exposed(User user) = 0;

  // Committed values.
  virtual Result load_committed(User user, const std::uint8_t* from, std::uint8_t* to,
                                std::uint32_t bytes) = 0;

  // The n-th look at the server's memory from now on finds a page missing.
  virtual void fail_at(std::uint32_t n) = 0;
  virtual std::uint64_t touch_count() const = 0;
  // What the implementation itself has seen go wrong.
  virtual std::optional<std::string> complaint() const = 0;
};

}  // namespace vmsrs::test
