// SPDX-License-Identifier: Apache-2.0
#include "tracer.hpp"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstdlib>
#include <fstream>

namespace vmsrs::study {
namespace {

constexpr std::uint64_t kRedZoneBytes = 128;
constexpr std::size_t kCallers = 6;
constexpr std::uint64_t kWordBytes = 8;

// 1, 2, 5, 10, 20, 50, ...
RequestNumber next_point(RequestNumber point) {
  RequestNumber power = 1;
  while (power * 10 <= point) power *= 10;
  return point / power == 2 ? point / 2 * 5 : point * 2;
}

}  // namespace

Tracer::Tracer(const TracerOptions& options)
    : options_(options), requests_(options.user_is), injections_(options.injections) {
  requests_.on_finished = [this](RequestNumber request, const AtWork&) {
    request_finished(request);
  };
}

void Tracer::begin_thread(unsigned cpu) {
  const std::lock_guard held(lock_);
  if (cpu >= kMostThreads) {
    std::fprintf(stderr, "vmsrs-study: the tracer: more than %zu threads\n", kMostThreads);
    std::abort();
  }
  threads_[cpu] = std::make_unique<Thread>();
  threads_[cpu]->number = threads_begun_++;
}

void Tracer::instruction(unsigned cpu, const Instruction& next) {
  const std::lock_guard held(lock_);
  Thread& thread = *threads_[cpu];
  complete(thread);
  thread.pending = &next;
}

void Tracer::access(unsigned cpu, std::uint64_t address, std::uint32_t bytes, bool store) {
  Thread& thread = *threads_[cpu];
  if (thread.access_count < kMostAccesses)
    thread.accesses[thread.access_count++] = {.address = address, .bytes = bytes, .store = store};
}

void Tracer::complete(Thread& thread) {
  if (thread.pending == nullptr) return;
  const Instruction& done = *thread.pending;
  const std::span<const Access> accesses(thread.accesses.data(), thread.access_count);
  thread.pending = nullptr;
  thread.access_count = 0;
  if (done.stack_displacement) {
    const auto seen = std::ranges::find_if(accesses, [&](const Access& access) {
      return access.store == done.stack_operand_is_stored;
    });
    if (seen != accesses.end()) {
      thread.stack_pointer = seen->address - static_cast<std::uint64_t>(*done.stack_displacement);
      if (thread.stack_end == 0) find_stack(thread);
    }
  }
  if (done.call) {
    thread.frames.push_back({done.address + done.bytes, thread.stack_pointer});
  } else if (done.ret) {
    while (!thread.frames.empty() && thread.frames.back().stack_pointer <= thread.stack_pointer)
      thread.frames.pop_back();
  }
  if (started_) follow(thread, done, accesses);
}

void Tracer::follow(Thread& thread, const Instruction& instruction,
                    std::span<const Access> accesses) {
  const UserNumber user = thread.at_work.user;
  if (user != kNobody) {
    ++instructions_;
    if ((instruction.loads || instruction.stores) && !instruction.repeated && accesses.empty())
      ++unseen_accesses_;
  }
  if (injections_.any_followed()) {
    Labels loaded = 0;
    for (const Access& access : accesses)
      for (std::uint64_t i = 0; !access.store && i < access.bytes; ++i)
        loaded |= memory_.at(access.address + i);
    if (loaded != 0) injections_.loaded(user, loaded);
    const Decisions decisions = thread.registers.execute(instruction, accesses, memory_);
    if ((decisions.addresses | decisions.branches) != 0) injections_.decided(decisions);
  }
  if (user == kNobody || thread.allocates) return;
  bool stored = false;
  for (const Access& access : accesses) {
    touch(thread, access);
    stored |= access.store;
  }
  // A call's return address is no value of the program's.
  if (stored && !instruction.call && injections_.chooses(thread.at_work.request)) {
    const auto first =
        std::ranges::find_if(accesses, [](const Access& access) { return access.store; });
    forget(injections_.stored(thread.at_work.request, user, instruction.address,
                              place_of(thread, first->address), accesses, memory_));
  }
}

void Tracer::touch(Thread& thread, const Access& access) {
  const UserNumber user = thread.at_work.user;
  if (user == kNobody) return;
  ++(access.store ? stores_ : loads_);
  if (access.address < thread.stack_start || access.address >= thread.stack_end) {
    granules_.touch(access.address, access.bytes, user, access.store);
    return;
  }
  if (thread.stack_words.empty())
    thread.stack_words.resize((thread.stack_end - thread.stack_start) / kWordBytes + 1);
  for (std::uint64_t word = (access.address - thread.stack_start) / kWordBytes;
       word <= (access.address + access.bytes - 1 - thread.stack_start) / kWordBytes &&
       word < thread.stack_words.size();
       ++word)
    if (thread.stack_words[word] != thread.at_work.request) {
      thread.stack_words[word] = thread.at_work.request;
      ++stack_words_;
    }
}

PlaceKind Tracer::place_of(const Thread& thread, std::uint64_t address) const {
  if (address >= thread.stack_start && address < thread.stack_end) return PlaceKind::stack;
  return allocations_.block_of(address) != nullptr ? PlaceKind::heap : PlaceKind::other;
}

// The mapping that it lies in, up to where the thread began: what is above is the thread's local
// storage, or the program's arguments.
void Tracer::find_stack(Thread& thread) const {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uint64_t start = 0, end = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &start, &end) != 2) continue;
    if (thread.stack_pointer < start || thread.stack_pointer >= end) continue;
    thread.stack_start = start;
    thread.stack_end = thread.stack_pointer + kWordBytes;
  }
}

// What lies below a stack's end is free.
void Tracer::clear_dead_stacks() {
  for (const auto& thread : threads_)
    if (thread != nullptr && thread->stack_pointer > thread->stack_start + kRedZoneBytes)
      memory_.clear(thread->stack_start,
                    thread->stack_pointer - kRedZoneBytes - thread->stack_start);
}

void Tracer::forget(Labels labels) {
  if (labels == 0) return;
  for (const auto& thread : threads_)
    if (thread != nullptr) thread->registers.forget(labels);
}

void Tracer::request_finished(RequestNumber request) {
  if (injections_.any_followed()) clear_dead_stacks();
  forget(injections_.finished(request, requests_.begun(), memory_));
  if (requests_.finished() < next_snapshot_) return;
  snapshots_.push_back({requests_.finished(), granules_.totals(), stack_words_});
  next_snapshot_ = next_point(next_snapshot_);
}

void Tracer::kernel_access(Thread& thread, std::uint64_t address, std::uint64_t bytes, bool store) {
  if (bytes == 0) return;
  touch(thread, {.address = address, .bytes = static_cast<std::uint32_t>(bytes), .store = store});
  if (store) {
    memory_.clear(address, bytes);
  } else if (injections_.any_followed()) {
    for (std::uint64_t i = 0; i < bytes; ++i)
      if (const Labels labels = memory_.at(address + i); labels != 0) injections_.sent(labels);
  }
}

void Tracer::kernel_vector(Thread& thread, std::uint64_t vectors, std::uint64_t count,
                           std::uint64_t bytes, bool store) {
  const auto* const vector = reinterpret_cast<const iovec*>(vectors);
  for (std::uint64_t i = 0; i < count && bytes > 0; ++i) {
    const std::uint64_t part = std::min<std::uint64_t>(bytes, vector[i].iov_len);
    kernel_access(thread, reinterpret_cast<std::uint64_t>(vector[i].iov_base), part, store);
    bytes -= part;
  }
}

// What the kernel wrote and read for the calls that move data.
void Tracer::transfer(Thread& thread, std::int64_t number, std::int64_t result) {
  if (result <= 0) return;
  const auto& arguments = thread.arguments;
  const auto bytes = static_cast<std::uint64_t>(result);
  switch (number) {
    case SYS_read:
    case SYS_pread64:
    case SYS_recvfrom:
      return kernel_access(thread, arguments[1], bytes, true);
    case SYS_write:
    case SYS_pwrite64:
    case SYS_sendto:
      return kernel_access(thread, arguments[1], bytes, false);
    case SYS_readv:
    case SYS_preadv:
      return kernel_vector(thread, arguments[1], arguments[2], bytes, true);
    case SYS_writev:
    case SYS_pwritev:
      return kernel_vector(thread, arguments[1], arguments[2], bytes, false);
    case SYS_recvmsg:
    case SYS_sendmsg: {
      const auto* const message = reinterpret_cast<const msghdr*>(arguments[1]);
      return kernel_vector(thread, reinterpret_cast<std::uint64_t>(message->msg_iov),
                           message->msg_iovlen, bytes, number == SYS_recvmsg);
    }
    case SYS_getrandom:
      return kernel_access(thread, arguments[0], bytes, true);
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      return kernel_access(thread, arguments[1], bytes * 12, true);
    default:
      return;
  }
}

Site Tracer::site_of(const Thread& thread, std::uint64_t bytes) {
  Site site{.callers = {}, .size_class = std::bit_ceil(std::max<std::uint64_t>(bytes, 1))};
  for (auto frame = thread.frames.rbegin();
       frame != thread.frames.rend() && site.callers.size() < kCallers; ++frame)
    site.callers.push_back(frame->return_address);
  return site;
}

void Tracer::allocation_call(Thread& thread, std::int64_t number) {
  switch (number) {
    case kCallEnter:
      thread.allocates = true;
      return;
    case kCallAllocated:
      if (thread.moving != thread.arguments[0]) memory_.clear(thread.moving, thread.moving_bytes);
      thread.moving = thread.moving_bytes = 0;
      allocations_.allocated(thread.arguments[0], thread.arguments[1],
                             site_of(thread, thread.arguments[1]));
      return;
    case kCallFreed: {
      const std::uint64_t bytes = allocations_.freed(thread.arguments[0], granules_);
      memory_.clear(thread.arguments[0], bytes);
      return;
    }
    case kCallMoving:
      thread.moving = thread.arguments[0];
      thread.moving_bytes = allocations_.freed(thread.moving, granules_);
      return;
    case kCallLeave:
      thread.allocates = false;
      return;
    default:
      return;
  }
}

void Tracer::mapping_call(Thread& thread, std::int64_t number, std::int64_t result) {
  const auto& arguments = thread.arguments;
  if (number == SYS_munmap && result == 0) {
    memory_.clear(arguments[0], arguments[1]);
    granules_.take(arguments[0], arguments[1]);
  }
  if (number == SYS_mremap && result > 0 && static_cast<std::uint64_t>(result) != arguments[0])
    memory_.move(arguments[0], static_cast<std::uint64_t>(result),
                 std::min(arguments[1], arguments[2]));
}

void Tracer::before_call(unsigned cpu, std::int64_t number,
                         const std::array<std::uint64_t, 6>& arguments) {
  const std::lock_guard held(lock_);
  Thread& thread = *threads_[cpu];
  complete(thread);
  thread.arguments = arguments;
  if (number >= kCallEnter && number <= kCallLeave) return allocation_call(thread, number);
  if (started_) requests_.before_call(thread.at_work, number, arguments[0]);
}

void Tracer::after_call(unsigned cpu, std::int64_t number, std::int64_t result) {
  const std::lock_guard held(lock_);
  Thread& thread = *threads_[cpu];
  if (number == SYS_mmap && result > 0 && !thread.allocates &&
      (thread.arguments[3] & MAP_ANONYMOUS) != 0) {
    Site site = site_of(thread, 0);
    site.size_class = thread.arguments[1];
    mapped_[static_cast<std::uint64_t>(result)] = site;
  }
  if (!started_) return;
  requests_.after_call(thread.at_work, thread.number, number, thread.arguments[0], result);
  transfer(thread, number, result);
  mapping_call(thread, number, result);
}

void Tracer::start(std::uint64_t range_start) {
  const std::lock_guard held(lock_);
  injections_.set_range_start(range_start);
  started_ = true;
}

RequestNumber Tracer::finished_requests() const {
  const std::lock_guard held(lock_);
  return requests_.finished();
}

}  // namespace vmsrs::study
