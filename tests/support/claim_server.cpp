// SPDX-License-Identifier: Apache-2.0
#include "support/claim_server.hpp"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "drain.hpp"

namespace vmsrs::test {

ClaimServer::ClaimServer(std::vector<Part> parts, std::size_t bytes, unsigned processes)
    : area_bytes(bytes),
      areas(VMSRS_MAX_USERS * bytes, processes),
      yield(sched_yield),
      barrier([] { syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }),
      parts_(std::move(parts)),
      processes_(processes) {
  syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
  token = manager.open().rdx;
  (void)manager.define(token, "shop", secret_of(1));
  for (const Part& part : parts_) {
    memory.push_back(std::make_unique<Pages>(part.bytes, processes));
    claims.push_back(
        std::make_unique<Pages>(part.bytes / part.granule * sizeof(vmsrs_claim), processes));
    for (std::size_t i = 0; i < part.bytes; ++i)
      memory.back()->data()[i] = static_cast<std::uint8_t>(i * 7);
  }
  for (unsigned process = 0; process < processes; ++process)
    processes_[process].service = client(process, 0xd000);
  (void)service.attach("shop", secret_of(1), kProcessId);
  processes_[0].attached = true;
  if (service.call(VMSRS_CALL_USER_AREAS, address_of(areas.data()), bytes).status != VMSRS_OK)
    throw std::runtime_error("USER_AREAS refused");
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    char name[VMSRS_NAME_BYTES] = {'p', static_cast<char>('0' + i)};
    const Result region =
        service.call(VMSRS_CALL_PROFILE_NAMED, address_of(memory[i]->data()), parts_[i].bytes,
                     parts_[i].granule, address_of(name), claims_at(i, 0), parts_[i].eager);
    Result fill{region.status == VMSRS_OK ? VMSRS_AGAIN : region.status, 0, 0};
    while (fill.status == VMSRS_AGAIN)
      fill = service.call(VMSRS_CALL_PROFILE_FILL, region.rdx, fill.rdx);
    if (fill.status != VMSRS_OK) throw std::runtime_error("PROFILE refused");
    place(0, i, region.rdx);
  }
  for (unsigned process = 1; process < processes; ++process)
    if (join(process) != VMSRS_OK) throw std::runtime_error("joining refused");
}

std::uint64_t ClaimServer::claims_at(std::size_t part, unsigned process) const {
  return parts_[part].claimed ? address_of(claims[part]->data(process)) : 0;
}

void ClaimServer::place(unsigned process, std::size_t part, std::uint64_t number) {
  processes_[process].regions.push_back(
      fast::make_region(address_of(region(part, process)), parts_[part].bytes,
                        reinterpret_cast<vmsrs_claim*>(claims_at(part, process)),
                        static_cast<std::uint32_t>(__builtin_ctz(parts_[part].granule)),
                        static_cast<std::uint32_t>(number)));
}

Client ClaimServer::client(unsigned process, std::uint64_t thread) const {
  Client made(space_of(process), thread);
  for (unsigned other = 0; other < processes_.size(); ++other) {
    if (other == process) continue;
    made.memory.forbid_range(areas.data(other), areas.bytes());
    for (std::size_t i = 0; i < memory.size(); ++i) {
      made.memory.forbid_range(memory[i]->data(other), memory[i]->bytes());
      made.memory.forbid_range(claims[i]->data(other), claims[i]->bytes());
    }
  }
  return made;
}

vmsrs_status ClaimServer::join(unsigned process, std::size_t part_count) {
  Client& thread = service_of(process);
  Result result = thread.attach("shop", secret_of(1), kProcessId + process);
  if (result.status != VMSRS_OK) return result.status;
  processes_[process].attached = true;
  processes_[process].regions.clear();
  result = thread.call(VMSRS_CALL_USER_AREAS_JOIN, address_of(areas.data(process)), area_bytes);
  for (std::size_t i = 0; i < std::min(part_count, parts_.size()) && result.status == VMSRS_OK;
       ++i) {
    char name[VMSRS_NAME_BYTES] = {'p', static_cast<char>('0' + i)};
    result = thread.call(VMSRS_CALL_PROFILE_JOIN, address_of(region(i, process)), parts_[i].bytes,
                         parts_[i].granule, address_of(name), claims_at(i, process));
    if (result.status == VMSRS_OK) place(process, i, result.rdx);
  }
  return result.status;
}

vmsrs_status ClaimServer::lose(unsigned process) {
  processes_[process].attached = false;
  return manager.reap(token, 0, kProcessId + process).status;
}

vmsrs_server_info ClaimServer::info() {
  vmsrs_server_info out{};
  (void)manager.call(VMSRS_CALL_MGMT_SERVER, token, 0, address_of(&out), sizeof out);
  return out;
}

vmsrs_check_report ClaimServer::check() {
  vmsrs_check_report report{};
  manager.check(token, report, [this] { serve(); });
  return report;
}

// Once round, and again for what the first ones had to leave to the last ones.
void ClaimServer::serve() {
  for (unsigned turn = 0; turn < 2 * processes_.size() - 1; ++turn)
    if (const std::size_t process = turn % processes_.size(); processes_[process].attached)
      serve(static_cast<unsigned>(process));
}

void ClaimServer::serve(unsigned process) {
  Client& thread = service_of(process);
  for (;;) {
    const Result result = thread.call(VMSRS_CALL_SERVICE);
    if (result.status == VMSRS_DRAIN) {
      std::uint64_t stuck = 0;
      if (!see_windows_closed(result.rdx, stuck)) {
        (void)thread.call(VMSRS_CALL_USER_ABANDON, stuck, generation(stuck));
        continue;
      }
      while (thread.call(VMSRS_CALL_USER_DRAINED, result.rdx, result.rsi).status == VMSRS_AGAIN) {
      }
    } else if (result.status != VMSRS_AGAIN) {
      return;
    }
  }
}

bool ClaimServer::see_windows_closed(std::uint64_t slot, std::uint64_t& stuck) {
  return guest::see_windows_closed(
      window(), slot, [this](std::uint64_t of) -> const vmsrs_user_area& { return area(of); },
      barrier,
      [&](std::uint64_t of, std::uint64_t, unsigned attempt) {
        if (attempt >= patience) {
          stuck = of;
          return false;
        }
        yield();
        return true;
      },
      [](std::uint64_t, unsigned) { return false; });
}

vmsrs_status ClaimServer::suppress(std::uint64_t slot, std::uint64_t generation) {
  return manager.call(VMSRS_CALL_MGMT_SUPPRESS, token, 0, slot, generation).status;
}

bool ClaimServer::sound() {
  const vmsrs_check_report report = check();
  return std::all_of(
      std::begin(report.results), std::end(report.results),
      [](const vmsrs_check_result& result) { return result.verdict == VMSRS_VERDICT_OK; });
}

guest::CallResult ClaimThread::repeat(std::uint64_t number, std::uint64_t rdi, std::uint64_t rsi,
                                      std::uint64_t rdx, std::uint64_t r10, std::uint64_t r8,
                                      std::uint64_t r9) {
  for (;;) {
    const Result result = client.call(number, rdi, rsi, rdx, r10, r8, r9);
    if (result.status == VMSRS_TOUCH)
      client.memory.touch(result.rdx);
    else if (result.status != VMSRS_AGAIN)
      return {static_cast<std::uint64_t>(result.status), result.rdx, result.rsi};
    else
      before_more();
  }
}

// The user's own tag, and its area as a user begins.
void ClaimThread::take_user() {
  const std::uint64_t word = __atomic_load_n(&server_.window().users[slot], __ATOMIC_ACQUIRE);
  fast_.own = vmsrs_tag_body(VMSRS_TAG_OWN, slot, word >> 2);
  fast_.own_check = fast_.own * VMSRS_TAG_BODY_FACTOR;
  fast_.area = &server_.area(slot, process_);
  fast::close_window(*fast_.area);
  __atomic_store_n(&fast_.area->count, std::uint64_t{0}, __ATOMIC_RELEASE);
  fast_.region.bytes = 0;
  fast_.set = {0, 0, fast_.own};
  fast_.sampled = sampled;
  if (sampled) fast_.seen = fast::kNever;
  open = true;
}

vmsrs_status ClaimThread::begin() {
  const guest::CallResult result = repeat(VMSRS_CALL_USER_BEGIN, 7, 0, 0);
  if (result.status != VMSRS_OK) return static_cast<vmsrs_status>(result.status);
  slot = result.first;
  take_user();
  return VMSRS_OK;
}

vmsrs_status ClaimThread::end(bool keep) {
  guest::ClaimAccess access(fast_, server_.window(), server_.area_bytes, *this);
  const auto region_of = [&](std::uint64_t number) -> const fast::Region* {
    for (const fast::Region& region : server_.regions_of(process_))
      if (region.number == number) return &region;
    return nullptr;
  };
  guest::HandedOver over;
  const bool handed_over =
      hands_over && access.hand_over(buffer.data(), buffer.size(), region_of, over);
  if (const auto hook = std::exchange(before_end, nullptr)) hook();
  const auto answer = static_cast<vmsrs_status>(
      repeat(VMSRS_CALL_USER_END, handed_over ? address_of(buffer.data()) : 0,
             (keep ? VMSRS_USER_KEEP : 0) | over.bytes << VMSRS_HANDED_OVER_SHIFT, fast_.set.masked,
             fast_.set.count, fast_.set.sum, over.sum)
          .status);
  const bool kept = keep && (server_.window().users[slot] & 3) == VMSRS_USER_ACTIVE;
  if (answer == VMSRS_OK && kept) {
    take_user();
  } else if (answer == VMSRS_OK && keep) {  // the slot rests
    return begin();
  } else if (answer == VMSRS_OK) {
    open = false;
    fast_.own = 0;
  }
  return answer;
}

vmsrs_status ClaimThread::crash(vmsrs_fault_kind kind) {
  held_ = {};
  if (fast_.area != nullptr) fast::close_window(*fast_.area);
  const vmsrs_fault fault{static_cast<std::uint32_t>(kind), 1, 0xdead, 0x400000};
  return static_cast<vmsrs_status>(
      repeat(VMSRS_CALL_USER_CRASH, address_of(&fault), 0, 0, fast_.set.count, fast_.set.sum)
          .status);
}

vmsrs_status ClaimThread::collect() {
  const auto answer = static_cast<vmsrs_status>(repeat(VMSRS_CALL_USER_COLLECT, 0, 0, 0).status);
  if (answer == VMSRS_OK) {
    open = false;
    fast_.own = 0;
  }
  return answer;
}

vmsrs_status ClaimThread::suspend() {
  const std::uint64_t answer = repeat(VMSRS_CALL_USER_SUSPEND, 7, 0, 0).status;
  suspended = answer == VMSRS_OK;
  return static_cast<vmsrs_status>(answer);
}

vmsrs_status ClaimThread::resume(bool& crashed) {
  client.change_thread(client.thread() ^ 0x800);
  const std::uint64_t generation = fast_.own >> VMSRS_TAG_GENERATION_SHIFT;
  const std::uint64_t present = server_.generation(slot);
  const bool mine = (present & VMSRS_TAG_GENERATION_MASK) == generation;
  const guest::CallResult answer =
      repeat(VMSRS_CALL_USER_RESUME, slot, mine ? present : generation, 0);
  if (answer.status != VMSRS_OK) return static_cast<vmsrs_status>(answer.status);
  suspended = false;
  crashed = (answer.second & 3) != VMSRS_USER_ACTIVE;
  // What the thread knows itself of the mode, and of where it last stored.
  fast_.seen = fast_.seen_any = fast::kNever;
  fast_.region.bytes = 0;
  return VMSRS_OK;
}

void ClaimThread::lose() {
  suspended = false;
  held_ = {};
  open = false;
  fast_.own = 0;
}

vmsrs_status ClaimThread::hear(std::uint64_t depth) {
  const vmsrs_fault fault{VMSRS_FAULT_NONE, 1, 0, 0};
  return static_cast<vmsrs_status>(
      repeat(VMSRS_CALL_USER_CRASH, address_of(&fault), 7, depth, fast_.set.count, fast_.set.sum)
          .status);
}

guest::CallResult ClaimThread::declare(std::uint64_t other, std::uint64_t generation) {
  return repeat(VMSRS_CALL_USER_DECLARE, other, generation, 0);
}

vmsrs_status ClaimThread::report_drained(std::uint64_t other, std::uint64_t epoch) {
  return static_cast<vmsrs_status>(repeat(VMSRS_CALL_USER_DRAINED, other, epoch, 0).status);
}

bool ClaimThread::store_late(std::size_t number, std::size_t at, std::uint64_t value) {
  PartialStore store;
  if (!look(number, at, value, store)) return false;
  Went went = Went::kOn;
  while (went == Went::kOn) went = take_step(store);
  return went == Went::kStored;
}

bool ClaimThread::hold(std::size_t number, std::size_t at, std::uint64_t value) {
  fast::open_window(*fast_.area);
  if (!look(number, at, value, held_)) fast::close_window(*fast_.area);
  return held();
}

ClaimThread::Went ClaimThread::go_on() {
  const Went went = take_step(held_);
  if (!held()) fast::close_window(*fast_.area);
  return went;
}

// S_tag and S_over
bool ClaimThread::look(std::size_t number, std::size_t at, std::uint64_t value,
                       PartialStore& store) {
  const fast::Region& region = server_.regions_of(process_)[number];
  const std::uint64_t granule = at >> region.shift;
  const std::uint64_t tag = __atomic_load_n(&region.claims[granule].tag, __ATOMIC_ACQUIRE);
  const vmsrs_tag_kind kind = vmsrs_tag_kind_of(tag, granule);
  const bool mine = tag == vmsrs_tag_of(fast_.own, fast_.own_check, granule);
  const bool over = kind == VMSRS_TAG_OWN && fast::is_over(fast_, server_.window(), tag);
  const std::uint64_t capacity =
      (server_.area_bytes - sizeof(vmsrs_user_area)) / sizeof(std::uint64_t);
  const bool free = (kind == VMSRS_TAG_UNOWNED || over) && fast_.set.count < capacity;
  if (!mine && !free) return false;
  store = {mine ? Next::kMask : Next::kClaim, &region, at, value, tag};
  return true;
}

ClaimThread::Went ClaimThread::take_step(PartialStore& store) {
  const fast::Region& region = *store.region;
  const std::uint64_t granule = store.at >> region.shift;
  vmsrs_claim& claim = region.claims[granule];
  const std::uint64_t bits = fast::mask_of(store.at & region.within, sizeof store.value);
  const std::uint64_t entry = vmsrs_entry(region.number, granule, vmsrs_tag_generation(fast_.own));
  switch (store.next) {
    case Next::kClaim: {
      append(entry);
      const std::uint64_t own = vmsrs_tag_of(fast_.own, fast_.own_check, granule);
      const std::uint64_t mask = __atomic_load_n(&claim.mask, __ATOMIC_RELAXED);
      if (!fast::claim(claim, {store.tag, mask}, {own, bits})) {
        store = {};
        return Went::kLost;
      }
      fast_.set.masked += vmsrs_masked_sum(region.number, granule, bits);
      store.next = Next::kConfirm;
      return Went::kOn;
    }
    case Next::kConfirm:
      __atomic_store_n(&entries()[fast_.set.count - 1], entry | VMSRS_ENTRY_CONFIRMED,
                       __ATOMIC_RELEASE);
      store.next = Next::kData;
      return Went::kOn;
    case Next::kMask:
      fast::set_mask(region, granule, bits, fast_.set);
      store.next = Next::kData;
      return Went::kOn;
    default:
      fast::plain_store(reinterpret_cast<std::uint64_t*>(region.begin + store.at), store.value);
      store = {};
      return Went::kStored;
  }
}

// An entry that an attempt which lost has left is used again.
void ClaimThread::append(std::uint64_t entry) {
  const std::uint64_t count = fast_.set.count;
  if (count > 0 && entries()[count - 1] == entry) return;
  __atomic_store_n(&entries()[count], entry, __ATOMIC_RELEASE);
  fast_.set.sum = vmsrs_write_set_sum(fast_.set.sum, entry);
  fast_.set.count = count + 1;
  __atomic_store_n(&fast_.area->count, count + 1, __ATOMIC_RELEASE);
}

guest::Access ClaimThread::store(std::size_t number, std::size_t at, const void* from,
                                 std::size_t bytes) {
  const fast::Region& region = server_.regions_of(process_)[number];
  guest::ClaimAccess access(fast_, server_.window(), server_.area_bytes, *this);
  const auto* source = static_cast<const std::uint8_t*>(from);
  while (bytes > 0) {
    const std::size_t size = region.within + 1;
    const std::size_t now = std::min(bytes, size - at % size);
    const guest::Access outcome = access.store(region, region.begin + at, source, now);
    status = access.status();
    if (outcome != guest::Access::kDone) return outcome;
    at += now;
    source += now;
    bytes -= now;
  }
  return guest::Access::kDone;
}

guest::Access ClaimThread::exchange(std::size_t number, std::size_t at, std::uint64_t& seen,
                                    std::uint64_t desired, std::size_t bytes, bool& equal) {
  const fast::Region& region = server_.regions_of(process_)[number];
  guest::ClaimAccess access(fast_, server_.window(), server_.area_bytes, *this);
  const guest::Access outcome =
      access.store_if(region, region.begin + at, seen, desired, bytes, equal);
  status = access.status();
  return outcome;
}

guest::Access ClaimThread::load(std::size_t number, std::size_t at, void* to, std::size_t bytes) {
  const fast::Region& region = server_.regions_of(process_)[number];
  guest::ClaimAccess access(fast_, server_.window(), server_.area_bytes, *this);
  auto* target = static_cast<std::uint8_t*>(to);
  while (bytes > 0) {
    std::size_t now = 8;
    while (now > bytes || at % now != 0) now /= 2;
    std::uint64_t value = 0;
    const guest::Access outcome = access.load(region, region.begin + at, value, now);
    status = access.status();
    if (outcome != guest::Access::kDone) return outcome;
    std::memcpy(target, &value, now);
    at += now;
    target += now;
    bytes -= now;
  }
  return guest::Access::kDone;
}

guest::Access ClaimThread::access_for(std::uint64_t status) {
  if (status == VMSRS_OK) return guest::Access::kDone;
  return status == VMSRS_CRASHED ? guest::Access::kCrashed : guest::Access::kRefused;
}

guest::Access ClaimThread::store_as_compiled(std::size_t number, std::size_t at,
                                             std::uint64_t value) {
  const fast::Region& region = server_.regions_of(process_)[number];
  auto* const to = reinterpret_cast<std::uint64_t*>(region.begin + at);
  if (region.claims == nullptr)
    return access_for(store(region.begin + at, &value, sizeof value, 0, false).status);
  if (fast_.region.bytes != 0 && fast::store(fast_, to, value)) return guest::Access::kDone;
  fast_.region = region;
  return store_word(number, at, value);
}

guest::Access ClaimThread::load_as_compiled(std::size_t number, std::size_t at,
                                            std::uint64_t& value) {
  const fast::Region& region = server_.regions_of(process_)[number];
  const auto* const from = reinterpret_cast<const std::uint64_t*>(region.begin + at);
  if (fast::load(fast_, from, value)) return guest::Access::kDone;
  if (region.claims != nullptr) return load(number, at, &value, sizeof value);
  guest::ClaimAccess access(fast_, server_.window(), server_.area_bytes, *this);
  const std::uint64_t mode = fast::mode_of(fast_);
  const bool normal = (mode & VMSRS_MODE_SUPPRESSION) == 0 && access.note_mode(mode);
  if (normal && fast::load(fast_, from, value)) return guest::Access::kDone;
  const guest::CallResult result = load(region.begin + at, sizeof value);
  value = result.first;
  return access_for(result.status);
}

guest::Access ClaimThread::load_committed(std::size_t number, std::size_t at, void* to,
                                          std::size_t bytes) {
  const fast::Region& region = server_.regions_of(process_)[number];
  guest::ClaimAccess access(fast_, server_.window(), server_.area_bytes, *this);
  const guest::Access outcome = access.load_committed(region, region.begin + at, to, bytes);
  status = access.status();
  return outcome;
}

guest::CallResult ClaimThread::store(std::uint64_t to, const void* from, std::size_t bytes,
                                     std::uint64_t ticket, bool full) {
  ++traps;
  return repeat(VMSRS_CALL_STORE_RANGE, to, address_of(from), bytes, ticket,
                full ? VMSRS_STORE_WRITE_SET_FULL : 0);
}

guest::CallResult ClaimThread::store_if(std::uint64_t to, std::uint64_t value,
                                        std::uint64_t expected, std::size_t bytes,
                                        std::uint64_t ticket, bool full) {
  ++traps;
  return repeat(VMSRS_CALL_STORE, to, value, bytes, ticket,
                VMSRS_STORE_IF_EQUAL | (full ? VMSRS_STORE_WRITE_SET_FULL : 0), expected);
}

guest::CallResult ClaimThread::load(std::uint64_t from, std::size_t bytes) {
  ++traps;
  return repeat(fast_.sampled != 0 ? VMSRS_CALL_LOAD_SAMPLED : VMSRS_CALL_LOAD, from, bytes, 0);
}

guest::CallResult ClaimThread::load_committed(std::uint64_t from, void* to, std::size_t bytes) {
  ++traps;
  return repeat(VMSRS_CALL_LOAD_COMMITTED, from, bytes, address_of(to));
}

bool ClaimThread::drain(std::uint64_t wanted) {
  ++drains;
  std::uint64_t stuck = 0;
  if (server_.see_windows_closed(wanted, stuck)) return true;
  ++abandoned;
  (void)repeat(VMSRS_CALL_USER_ABANDON, stuck, server_.generation(stuck), 0);
  return false;
}

void ClaimThread::wait(std::uint64_t owner, unsigned attempt) {
  ++waits;
  if (attempt >= server_.patience)
    (void)repeat(VMSRS_CALL_USER_ABANDON, owner, server_.generation(owner), 0);
  else
    server_.while_waiting();
}

bool ClaimThread::came_out(std::uint64_t owner, std::uint64_t crash_epoch) {
  server_.barrier();
  if (__atomic_load_n(&server_.area(owner).window, __ATOMIC_ACQUIRE) == 1) return false;
  (void)report_drained(owner, crash_epoch);
  return true;
}

bool ClaimThread::exposed() { return repeat(VMSRS_CALL_USER_EXPOSED, 0, 0, 0).first == 1; }

}  // namespace vmsrs::test
