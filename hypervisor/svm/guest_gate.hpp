// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "svm/spin_lock.hpp"

namespace vmsrs::svm {

// Lets one CPU keep the others out of the guest for a while (a rendezvous). A CPU within the
// hypervisor runs none of the guest's instructions, whatever it does there, so only its way back is
// barred: one that waits for a lock or for a start-up IPI counts as kept out. Hence whoever has
// closed the gate may wait for any lock that others take within the hypervisor. Each CPU has a word
// `in_guest` of its own.
class GuestGate {
 public:
  // On the CPU itself, before each entry. False: not now; it waits until the gate is not closed().
  // Here a store and then a look, in close() a store and then looks: one sees the other.
  bool try_enter(std::atomic<bool>& in_guest) const {
    in_guest.store(true, std::memory_order_seq_cst);
    if (!closed_.load(std::memory_order_seq_cst)) return true;
    leave(in_guest);
    return false;
  }
  bool closed() const { return closed_.load(std::memory_order_relaxed); }
  static void leave(std::atomic<bool>& in_guest) {
    in_guest.store(false, std::memory_order_release);
  }

  // By a CPU within the hypervisor. From when it returns until open() nobody is in the guest.
  // in_guest_of(i): the word of CPU i of `count`. kick(i, is_in) brings that one out if is_in()
  // says that it is in there. One at a time: others wait here, and are kept out.
  template <typename InGuestOf, typename Kick, typename Relax>
  void close(std::uint32_t count, InGuestOf in_guest_of, Kick kick, Relax relax) {
    turn_.lock();
    closed_.store(true, std::memory_order_seq_cst);
    const auto is_in = [&](std::uint32_t i) {
      return in_guest_of(i).load(std::memory_order_seq_cst);
    };
    for (std::uint32_t i = 0; i < count; ++i) kick(i, [&] { return is_in(i); });
    for (std::uint32_t i = 0; i < count; ++i)
      while (is_in(i)) relax();
  }
  void open() {
    closed_.store(false, std::memory_order_release);
    turn_.unlock();
  }

 private:
  SpinLock turn_;
  std::atomic<bool> closed_{false};
};

}  // namespace vmsrs::svm
