// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/hosted.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace vmsrs::hosted {

// Which lane is whose: this process's own table, so nothing that a client writes over its side of
// the call area changes it. A thread is known by its FS base, as on the hypervisor, and has a lane
// for each level of calls within calls. One thread.
class Lanes {
 public:
  struct Owner {
    std::uint64_t thread = 0;  // 0: the lane is free
    std::uint32_t thread_id = 0;
    std::uint32_t level = 0;
  };

  void initialise(std::uint32_t count);

  std::uint32_t count() const { return static_cast<std::uint32_t>(owners_.size()); }
  const std::vector<std::uint32_t>& in_use() const { return in_use_; }
  const Owner& owner(std::uint32_t lane) const { return owners_[lane]; }

  std::optional<std::uint32_t> find(const Owner& owner) const;
  // The kernel thread that has lanes under this FS base; 0: none.
  std::uint32_t thread_id_of(std::uint64_t thread) const;
  std::optional<std::uint32_t> take(const Owner& owner);  // nothing: all are in use
  void give(std::uint64_t thread);                        // all of its lanes

 private:
  std::vector<Owner> owners_;
  std::vector<std::uint32_t> in_use_;
};

}  // namespace vmsrs::hosted
