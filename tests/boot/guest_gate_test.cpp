// SPDX-License-Identifier: Apache-2.0
#include "svm/guest_gate.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <thread>
#include <vector>

// Threads for CPUs: what one writes while it has closed the gate, the others find whole. The words
// are plain ones, so that the thread sanitizer sees whether the gate orders them.
using vmsrs::svm::GuestGate;

namespace {

constexpr unsigned kCpus = 3, kHolders = 2;
constexpr std::uint64_t kHolds = 60;

struct Machine {
  GuestGate gate;
  struct Cpu {
    std::atomic<bool> in_guest{false}, kicked{false};
    std::uint64_t entries = 0, mixtures = 0;
  };
  std::array<Cpu, kCpus> cpus;
  std::array<std::uint64_t, 64> words{};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> kicks{0};

  // Runs the guest, whose words are all the same, until it is kicked, or only for a moment.
  void run(Cpu& cpu) {
    while (!stop) {
      if (!gate.try_enter(cpu.in_guest)) {
        while (gate.closed()) std::this_thread::yield();
        continue;
      }
      const bool briefly = ++cpu.entries % 4 != 0;
      do {
        for (const std::uint64_t word : words) cpu.mixtures += word != words[0];
      } while (!briefly && !cpu.kicked && !stop);
      cpu.kicked = false;
      GuestGate::leave(cpu.in_guest);
    }
  }

  void hold(std::uint64_t value) {
    gate.close(
        kCpus, [this](std::uint32_t i) -> std::atomic<bool>& { return cpus[i].in_guest; },
        [this](std::uint32_t i, auto is_in) {
          if (!is_in()) return;
          cpus[i].kicked = true;
          ++kicks;
        },
        std::this_thread::yield);
    for (std::size_t i = 0; i < words.size(); ++i) {
      words[i] = value;
      if (i % 16 == 0) std::this_thread::yield();
    }
    gate.open();
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_written_behind_a_closed_gate_is_one_step) {
  Machine machine;
  std::vector<std::thread> guests, holders;
  for (Machine::Cpu& cpu : machine.cpus) guests.emplace_back([&] { machine.run(cpu); });
  for (unsigned number = 0; number < kHolders; ++number)
    holders.emplace_back([&, number] {
      for (std::uint64_t i = 1; i <= kHolds; ++i) {
        machine.hold(i * kHolders + number);
        std::this_thread::yield();
      }
    });
  for (std::thread& holder : holders) holder.join();
  machine.stop = true;
  for (std::thread& guest : guests) guest.join();
  for (const Machine::Cpu& cpu : machine.cpus) {
    BOOST_TEST(cpu.entries > 1u);
    BOOST_TEST(cpu.mixtures == 0u);
  }
  BOOST_TEST(machine.kicks > 0u);
}

BOOST_AUTO_TEST_CASE(nobody_enters_while_it_is_closed) {
  GuestGate gate;
  std::atomic<bool> in_guest{false};
  BOOST_TEST(gate.try_enter(in_guest));
  BOOST_TEST(in_guest);
  int kicks = 0;
  gate.close(
      1, [&](std::uint32_t) -> std::atomic<bool>& { return in_guest; },
      [&](std::uint32_t, auto is_in) {
        kicks += is_in();
        GuestGate::leave(in_guest);
      },
      [] {});
  BOOST_TEST(kicks == 1);
  BOOST_TEST(!gate.try_enter(in_guest));
  BOOST_TEST(!in_guest);
  gate.open();
  BOOST_TEST(gate.try_enter(in_guest));
}
