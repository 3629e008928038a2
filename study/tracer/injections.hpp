// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "registers.hpp"
#include "requests.hpp"
#include "shadow.hpp"

// Figure 1: values that a request stores are marked as corrupted, and followed. Not thread-safe.
namespace vmsrs::study {

inline constexpr unsigned kMostInjections = kLabels / 2;

struct InjectionOptions {
  unsigned count = kMostInjections;
  std::uint64_t seed = 1;
  RequestNumber spacing = 10;       // one injection in so many requests, on average
  RequestNumber follow = 100;       // requests, after the one that it is made in
  std::vector<unsigned> stores{1};  // how many stores in a row are corrupted, by turns
  std::uint64_t range_start = 0, range_bytes = 0;  // only stores to this range; 0 bytes: any
};

// How far a corruption has come: by data alone, and by data and addresses.
struct Spread {
  std::uint64_t data = 0, addresses = 0;
};

enum class PlaceKind : std::uint8_t { stack, heap, other };

struct Injection {
  enum class State : std::uint8_t { waiting, choosing, followed, complete };
  State state = State::waiting;
  RequestNumber request = 0;
  unsigned stores = 1;  // to be marked
  unsigned stores_left = 0;
  std::uint64_t stores_seen =
      0;  // by the request: each is as likely to be the first that is marked
  std::uint64_t instruction = 0, address = 0, marked_bytes = 0;
  PlaceKind place = PlaceKind::other;
  UserNumber user = kNobody;
  Spread peak;
  std::vector<Spread> after;  // at the end of the request, and of each finished one after it
  UserNumber last_reader = kNobody;
  std::uint64_t readers = 0;     // other users that loaded a corrupted value, one after the other
  std::uint64_t bytes_sent = 0;  // of corrupted values, to clients, files, other processes
  std::uint64_t addresses = 0,
                branches = 0;  // instructions that used one as an address, or for a branch

  [[nodiscard]] static Labels labels(unsigned index) { return Labels{3} << (2 * index); }
};

class Injections {
 public:
  explicit Injections(const InjectionOptions& options);

  void set_range_start(std::uint64_t address) { options_.range_start = address; }

  // An instruction of a request has stored these. Gives the labels that were taken off memory: they
  // are to be taken off registers, too.
  Labels stored(RequestNumber request, UserNumber user, std::uint64_t instruction, PlaceKind place,
                std::span<const Access> accesses, Shadow& memory);
  void loaded(UserNumber user, Labels labels);
  void sent(Labels labels);
  void decided(const Decisions& decisions);
  // Gives the labels that are followed no longer.
  Labels finished(RequestNumber request, RequestNumber begun, Shadow& memory);

  [[nodiscard]] bool any_followed() const { return followed_ != 0; }
  [[nodiscard]] bool chooses(RequestNumber request) const;
  [[nodiscard]] const std::vector<Injection>& all() const { return injections_; }

 private:
  InjectionOptions options_;
  std::mt19937_64 random_;
  std::vector<Injection> injections_;
  Labels followed_ = 0;
};

}  // namespace vmsrs::study
