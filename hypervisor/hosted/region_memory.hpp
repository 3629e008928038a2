// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/hosted.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "hosted/accounts.hpp"
#include "hosted/shared_memory.hpp"

namespace vmsrs::hosted {

// Memory for regions. One connection takes it, others of the same server may have it as well; it is
// there, and its account pays for it, until the last of them has let it go.
class RegionMemory {
 public:
  // nullptr: the account has all that it may have, or there is none.
  static std::shared_ptr<const RegionMemory> create(Accounts& accounts, uid_t account,
                                                    std::uint64_t bytes);
  ~RegionMemory();
  RegionMemory(const RegionMemory&) = delete;
  RegionMemory& operator=(const RegionMemory&) = delete;
  const SharedMemory& shared() const { return memory_; }

 private:
  RegionMemory(Accounts& accounts, uid_t account, SharedMemory memory)
      : accounts_(accounts), account_(account), memory_(std::move(memory)) {}

  Accounts& accounts_;
  const uid_t account_;
  SharedMemory memory_;
};

// Where the regions of all servers lie, so that another process of a server can have the same
// memory. Any thread.
class RegionPlaces {
 public:
  struct Place {
    std::shared_ptr<const RegionMemory> memory;  // nullptr: no process has it (any more)
    std::uint64_t offset = 0;
  };
  void note(std::uint32_t server, std::uint64_t region, vmsrs_hosted_part part, const Place& place);
  Place find(std::uint32_t server, std::uint64_t region, vmsrs_hosted_part part);

 private:
  struct Known {
    std::weak_ptr<const RegionMemory> memory;
    std::uint64_t offset;
  };
  std::mutex lock_;
  std::map<std::tuple<std::uint32_t, std::uint64_t, vmsrs_hosted_part>, Known> known_;
};

}  // namespace vmsrs::hosted
