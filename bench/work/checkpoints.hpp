// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

// The textbook's way to survive a fault: save the whole state now and then, and go back to it.
namespace vmsrs::bench {

class Checkpoints {
 public:
  virtual ~Checkpoints() = default;
  // Saves the state of now. What it takes of the server's time is the checkpoint's pause.
  virtual void take() = 0;
  // Has the last one been saved whole? Until then a fault goes back to the one before.
  virtual bool complete() = 0;
  // The region as it was at the last complete checkpoint; the server stands still meanwhile.
  virtual void roll_back() = 0;
  // Does the server wait for somebody at a first write? Otherwise all that checkpoints cost it is
  // time of its own thread.
  virtual bool waits() const { return false; }
  // No cost until the next take().
  virtual void suspend() = 0;
};

// "fork", or a way of watch_pages(): whole copies by a child on the engine's processor, or copies
// of the pages that were written. Null: this kernel refuses.
std::unique_ptr<Checkpoints> make_checkpoints(std::string_view way, std::byte* region,
                                              std::size_t bytes);

// Measures a way on the common work and reports its figures; `tries`: a point of the time model as
// well. False: this kernel refuses.
bool measure_checkpoints(std::string_view way, std::size_t region_bytes, bool tries);

}  // namespace vmsrs::bench
