// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "allocations.hpp"
#include "granules.hpp"
#include "injections.hpp"
#include "instruction.hpp"
#include "registers.hpp"
#include "requests.hpp"
#include "shadow.hpp"

// Puts together what the server's threads do. Every function is called on the thread that it is
// about.
namespace vmsrs::study {

// The server's calls to this tracer, made by allocation_calls.c as system calls that do not exist.
inline constexpr std::int64_t kCallEnter = 0x56530000, kCallAllocated = 0x56530001,
                              kCallFreed = 0x56530002, kCallMoving = 0x56530003,
                              kCallLeave = 0x56530004;

struct TracerOptions {
  UserIs user_is = UserIs::request;
  InjectionOptions injections;
};

// What users touched of their own threads' stacks is counted apart: it is nobody else's, and new
// memory in each request.
struct Snapshot {
  RequestNumber requests = 0;
  std::array<Sharing, 3> sharing;
  std::uint64_t stack_words = 0;
};

class Tracer {
 public:
  explicit Tracer(const TracerOptions& options);

  // More threads than can be kept apart end the process, with a message.
  void begin_thread(unsigned cpu);
  void instruction(unsigned cpu, const Instruction& instruction);
  void access(unsigned cpu, std::uint64_t address, std::uint32_t bytes, bool store);
  void before_call(unsigned cpu, std::int64_t number,
                   const std::array<std::uint64_t, 6>& arguments);
  void after_call(unsigned cpu, std::int64_t number, std::int64_t result);

  // From any thread. Before `start` only calls and allocations are followed.
  // `range_start`: of InjectionOptions, now that the program is loaded.
  void start(std::uint64_t range_start);
  void write(std::FILE* file);
  [[nodiscard]] RequestNumber finished_requests() const;

 private:
  static constexpr std::size_t kMostAccesses = 64;
  static constexpr std::size_t kMostThreads = 4096;
  struct Frame {
    std::uint64_t return_address = 0, stack_pointer = 0;
  };
  struct Thread {
    unsigned number = 0;
    const Instruction* pending = nullptr;
    std::array<Access, kMostAccesses> accesses;
    std::size_t access_count = 0;
    std::vector<Frame> frames;
    std::uint64_t stack_pointer = 0, stack_start = 0, stack_end = 0;
    bool allocates = false;
    std::uint64_t moving = 0, moving_bytes = 0;  // a block that is reallocated
    AtWork at_work;
    Registers registers;
    std::array<std::uint64_t, 6> arguments{};
    std::vector<UserNumber> stack_words;  // the user that touched it last, from stack_start on
  };

  void complete(Thread& thread);
  void follow(Thread& thread, const Instruction& instruction, std::span<const Access> accesses);
  void touch(Thread& thread, const Access& access);
  void kernel_access(Thread& thread, std::uint64_t address, std::uint64_t bytes, bool store);
  void kernel_vector(Thread& thread, std::uint64_t vectors, std::uint64_t count,
                     std::uint64_t bytes, bool store);
  void transfer(Thread& thread, std::int64_t number, std::int64_t result);
  void allocation_call(Thread& thread, std::int64_t number);
  void mapping_call(Thread& thread, std::int64_t number, std::int64_t result);
  void find_stack(Thread& thread) const;
  void clear_dead_stacks();
  void forget(Labels labels);
  void request_finished(RequestNumber request);
  [[nodiscard]] PlaceKind place_of(const Thread& thread, std::uint64_t address) const;
  [[nodiscard]] static Site site_of(const Thread& thread, std::uint64_t bytes);

  mutable std::mutex lock_;
  TracerOptions options_;
  bool started_ = false;
  // By QEMU's number, at a fixed place: `access` looks without the lock.
  std::array<std::unique_ptr<Thread>, kMostThreads> threads_;
  unsigned threads_begun_ = 0;
  Requests requests_;
  Granules granules_;
  Allocations allocations_;
  std::map<std::uint64_t, Site>
      mapped_;  // anonymous memory that is no block: where it begins, and whose it is
  Shadow memory_;
  Injections injections_;
  std::vector<Snapshot> snapshots_;
  RequestNumber next_snapshot_ = 1;
  std::uint64_t stack_words_ = 0;
  std::uint64_t instructions_ = 0, loads_ = 0, stores_ = 0;  // of users
  std::uint64_t unseen_accesses_ = 0;
};

}  // namespace vmsrs::study
