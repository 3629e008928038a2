// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>

// Which bytes of the server's memory hold corrupted values, of which injections. Not thread-safe.
namespace vmsrs::study {

// A bit for each injection and way of following it (injections.hpp).
using Labels = std::uint64_t;
inline constexpr unsigned kLabels = 64;

class Shadow {
 public:
  [[nodiscard]] Labels at(std::uint64_t address) const;
  void set(std::uint64_t address, Labels labels);
  void clear(std::uint64_t address, std::uint64_t bytes);
  // As mremap() moves memory.
  void move(std::uint64_t from, std::uint64_t to, std::uint64_t bytes);
  // Takes these labels off every byte.
  void forget(Labels labels);
  // How many bytes carry a label now, and at most since it was last forgotten.
  [[nodiscard]] std::uint64_t count(unsigned label) const { return counts_[label]; }
  [[nodiscard]] std::uint64_t peak(unsigned label) const { return peaks_[label]; }

 private:
  static constexpr std::uint64_t kPageBytes = 4096;
  struct Page {
    std::array<Labels, kPageBytes> labels{};
    unsigned labelled = 0;
  };

  [[nodiscard]] Page* page(std::uint64_t number) const;
  void change(Page& page, std::uint64_t offset, Labels labels);

  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
  std::array<std::uint64_t, kLabels> counts_{}, peaks_{};
  mutable std::uint64_t cached_number_ = ~0ull;
  mutable Page* cached_ = nullptr;
};

}  // namespace vmsrs::study
