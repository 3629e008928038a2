// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/hosted.h>

#include <memory>
#include <vector>

#include "hosted/region_memory.hpp"
#include "recovery/guest_memory.hpp"

namespace vmsrs::hosted {

// A client's memory as far as this process reaches it: the memory that it gave the client for
// regions, and the payload of the lane that is being answered. A client's address is only a name
// for a place in one of these; every other one is no address. Nothing here can fault: the memory
// has its size for good, whatever the client has mapped or unmapped. One thread.
class HostedMemory final : public recovery::GuestMemory {
 public:
  static constexpr std::size_t kMostPieces = 2 * VMSRS_MAX_REGIONS + 1;  // claims, areas

  recovery::MemoryOutcome prepare(recovery::GuestVirtual address, std::size_t bytes,
                                  recovery::Access access) override;
  recovery::MemoryOutcome read(recovery::GuestVirtual address, void* to,
                               std::size_t bytes) override;
  recovery::MemoryOutcome write(recovery::GuestVirtual address, const void* from,
                                std::size_t bytes) override;
  recovery::MemoryOutcome compare(recovery::GuestVirtual address, const void* with,
                                  std::size_t bytes, std::size_t& same) override;

  recovery::MemoryOutcome map(recovery::GuestVirtual address, std::size_t bytes,
                              recovery::Access access, std::uint8_t*& at) override;
  std::size_t mapped_pages() const override { return ~std::size_t{0}; }

  // Where calls may point besides regions; replaced at each call.
  void set_payload(std::uint64_t address, std::byte* data, std::size_t bytes) {
    payload_ = {address, bytes, data};
  }

  // Memory for regions, at the address where the client maps it.
  enum class Fit { kFree, kThereAlready, kOverlaps };
  Fit fit(std::uint64_t address, std::uint64_t bytes) const;
  bool has_room() const { return pieces_.size() < kMostPieces; }
  std::uint64_t add(std::uint64_t address,
                    std::shared_ptr<const RegionMemory> memory);  // its number
  bool remove(std::uint64_t number);                              // false: no such memory
  void remove_all();
  int descriptor(std::uint64_t number) const;
  // The memory in which these bytes of the client's lie; none: nullptr.
  RegionPlaces::Place place_of(std::uint64_t address, std::uint64_t bytes) const;
  // Where the client has that memory; 0: nowhere.
  std::uint64_t address_of(const RegionMemory& memory) const;

 private:
  struct Range {
    std::uint64_t address = 0, bytes = 0;
    std::byte* data = nullptr;
    std::byte* find(std::uint64_t at, std::uint64_t count) const {
      return at >= address && count <= bytes && at - address <= bytes - count
                 ? data + (at - address)
                 : nullptr;
    }
  };
  struct Piece {
    Range range;
    std::shared_ptr<const RegionMemory> memory;
    std::uint64_t number;
  };
  std::byte* translate(recovery::GuestVirtual address, std::size_t bytes);

  Range payload_;
  Range recent_;  // where the last access was
  std::vector<Piece> pieces_;
  std::uint64_t given_ = 0;
};

}  // namespace vmsrs::hosted
