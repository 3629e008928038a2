// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>

// The least that two processors need to work together: what calls are held against.
namespace vmsrs::bench {

constexpr std::size_t kLineWords = 64 / sizeof(std::uint64_t);

// A process on the engine's processor that spins on one word, does something whenever it changes,
// and answers in it. It shares `words` words with its maker. It spins until it is destroyed; gently:
// it pauses between looks, as vmsrs-hosted does.
class Peer {
 public:
  Peer(std::size_t words, std::function<void(std::uint64_t* shared)> work, bool gently = false);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Lines of memory that both can write.
  std::uint64_t* shared() const { return word_ + kLineWords; }
  // Until it has worked and answered.
  void ping() const {
    const std::uint64_t value = __atomic_load_n(word_, __ATOMIC_RELAXED);
    __atomic_store_n(word_, value + 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(word_, __ATOMIC_ACQUIRE) != value + 2) {
    }
  }

 private:
  std::uint64_t* word_;
  std::size_t bytes_;
  pid_t process_;
};

// Median of many: before() is not measured, ping() is, and after() behind it.
double median_ping_ns(const Peer& peer, const std::function<void()>& before = nullptr,
                      const std::function<void()>& after = nullptr);

// A ping with nothing beside the word.
double ping_pong_ns();

}  // namespace vmsrs::bench
