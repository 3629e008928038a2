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
constexpr std::uint64_t kHolds = 150;

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

  // Until it is kicked it runs the guest, whose words are all the same.
  void run(Cpu& cpu) {
    while (!stop) {
      if (!gate.try_enter(cpu.in_guest)) {
        std::this_thread::yield();
        continue;
      }
      ++cpu.entries;
      while (!cpu.kicked && !stop)
        for (const std::uint64_t word : words) cpu.mixtures += word != words[0];
      cpu.kicked = false;
      GuestGate::leave(cpu.in_guest);
    }
  }

  // As processor_start.cpp does it.
  void hold(std::uint64_t value) {
    gate.close();
    for (Cpu& cpu : cpus) {
      if (!GuestGate::is_in(cpu.in_guest)) continue;
      cpu.kicked = true;
      ++kicks;
    }
    for (Cpu& cpu : cpus)
      while (GuestGate::is_in(cpu.in_guest)) std::this_thread::yield();
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
  BOOST_TEST(GuestGate::is_in(in_guest));
  GuestGate::leave(in_guest);
  gate.close();
  BOOST_TEST(!gate.try_enter(in_guest));
  BOOST_TEST(!GuestGate::is_in(in_guest));
  gate.open();
  BOOST_TEST(gate.try_enter(in_guest));
}
