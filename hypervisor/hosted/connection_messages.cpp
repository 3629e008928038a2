// SPDX-License-Identifier: Apache-2.0
#include <sys/eventfd.h>

#include <algorithm>

#include "hosted/connection.hpp"

// What a client asks for over the socket. Whatever cannot be a mistake of a good client ends the
// connection; a good one that asks for too much gets a status.
namespace vmsrs::hosted {
namespace {

constexpr std::uint64_t kLowest = 64 * 1024;  // below it Linux maps nothing for a program
constexpr std::uint64_t kUserEnd = 1ull << 47;

bool good_pages(std::uint64_t address, std::uint64_t bytes) {
  return address >= kLowest && bytes != 0 && (address | bytes) % VMSRS_PAGE_BYTES == 0 &&
         address < kUserEnd && bytes <= kUserEnd - address;
}

}  // namespace

bool Connection::reply(const vmsrs_hosted_message& message, int first, int second) {
  if (peer_.answer(message, first, second)) return true;
  if (!peer_.has_ended())
    cut_off("it takes no answers");
  else
    ended_ = true;
  return false;
}

void Connection::handle(vmsrs_hosted_message& message) {
  const bool greeted = calls_.area().valid();
  const bool has_mapped = calls_.client_base() != 0;
  if (message.type == VMSRS_HOSTED_HELLO    ? greeted
      : message.type == VMSRS_HOSTED_MAPPED ? !greeted || has_mapped
                                            : !has_mapped)
    return cut_off("a message of type " + std::to_string(message.type) + " out of turn");
  int first = -1, second = -1;
  vmsrs_status status = VMSRS_OK;
  switch (message.type) {
    case VMSRS_HOSTED_HELLO:
      status = hello(message);
      first = calls_.area().descriptor();
      second = doorbell_;
      break;
    case VMSRS_HOSTED_MAPPED:
      status = mapped(message);
      break;
    case VMSRS_HOSTED_LANE_TAKE:
      status = take_lane(message);
      break;
    case VMSRS_HOSTED_LANE_GIVE:
      calls_.bury(message.a);
      calls_.lanes().give(message.a);
      break;
    case VMSRS_HOSTED_WINDOW:
      if (!calls_.attached()) status = VMSRS_NOT_ATTACHED;
      message.a = calls_.server();
      first = platform_.window_descriptor(calls_.server());
      break;
    case VMSRS_HOSTED_MEMORY_TAKE:
      status = take_memory(message);
      first = message.a != 0 ? calls_.memory().descriptor(message.a) : -1;
      break;
    case VMSRS_HOSTED_MEMORY_FIND:
      status = find_memory(message, first);
      break;
    case VMSRS_HOSTED_MEMORY_JOIN:
      status = join_memory(message);
      break;
    default:
      status = calls_.memory().remove(message.a) ? VMSRS_OK : VMSRS_NOT_FOUND;
  }
  if (ended_) return;
  message.status = status;
  if (status != VMSRS_OK) first = second = -1;
  const bool answered = reply(message, first, second);
  found_ = {};
  if (!answered) return;
  // A client that was refused at the door has no further business.
  if (message.type == VMSRS_HOSTED_HELLO && status != VMSRS_OK) ended_ = true;
}

vmsrs_status Connection::hello(vmsrs_hosted_message& message) {
  const std::uint32_t version = message.abi_version;
  if (version >> 16 != VMSRS_ABI_MAJOR || (version & 0xffff) > VMSRS_ABI_MINOR)
    return VMSRS_BAD_VERSION;
  const auto lanes =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(message.a, 1, VMSRS_MAX_LANES));
  const std::uint64_t bytes = VMSRS_AREA_BYTES(lanes);
  if (!accounts_.take_memory(peer_.account(), bytes)) return VMSRS_NO_STORAGE;
  area_bytes_ = bytes;
  if (!calls_.open(lanes)) return VMSRS_NO_STORAGE;
  doorbell_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (doorbell_ < 0) return VMSRS_NO_STORAGE;
  same_process_ids_ = message.b == static_cast<std::uint64_t>(peer_.process_id());
  message.a = lanes;
  message.b = bytes;
  return VMSRS_OK;
}

vmsrs_status Connection::mapped(const vmsrs_hosted_message& message) {
  if (good_pages(message.a, calls_.area().bytes()))
    calls_.set_client_base(message.a);
  else
    cut_off("the call area cannot be mapped where it says");
  return VMSRS_OK;
}

vmsrs_status Connection::take_lane(vmsrs_hosted_message& message) {
  const Lanes::Owner owner{message.a, static_cast<std::uint32_t>(message.b),
                           static_cast<std::uint32_t>(message.c)};
  if (owner.thread == 0 || message.b == 0 || message.b > 0x7fffffff ||
      message.c >= VMSRS_LANE_LEVELS) {
    cut_off("it wants a lane for no thread");
    return VMSRS_OK;
  }
  Lanes& lanes = calls_.lanes();
  const std::uint32_t known = lanes.thread_id_of(owner.thread);
  if (known != 0 && known != owner.thread_id) {  // the thread that had this FS base is no more
    calls_.bury(owner.thread);
    lanes.give(owner.thread);
  }
  std::optional<std::uint32_t> lane = lanes.find(owner);
  if (!lane) lane = lanes.take(owner);
  if (!lane) {
    bury_ended_threads();
    lane = lanes.take(owner);
  }
  if (!lane) return VMSRS_NO_SLOT;
  message.a = *lane;
  return VMSRS_OK;
}

vmsrs_status Connection::take_memory(vmsrs_hosted_message& message) {
  const std::uint64_t address = message.a, bytes = message.b;
  message.a = 0;
  if (!calls_.attached()) return VMSRS_NOT_ATTACHED;
  if (!good_pages(address, bytes)) return VMSRS_BAD_LENGTH;
  HostedMemory& memory = calls_.memory();
  const HostedMemory::Fit fit = memory.fit(address, bytes);
  if (fit == HostedMemory::Fit::kOverlaps) return VMSRS_OVERLAP;
  if (fit == HostedMemory::Fit::kThereAlready) return VMSRS_OK;  // number 0, no descriptor
  if (!memory.has_room()) return VMSRS_NO_SLOT;
  auto fresh = RegionMemory::create(accounts_, peer_.account(), bytes);
  if (fresh == nullptr) return VMSRS_NO_STORAGE;
  message.a = memory.add(address, std::move(fresh));
  return VMSRS_OK;
}

// The place lives at least as long as the answer, which carries its descriptor.
vmsrs_status Connection::find_memory(vmsrs_hosted_message& message, int& descriptor) {
  if (!calls_.attached()) return VMSRS_NOT_ATTACHED;
  if (message.b >= VMSRS_HOSTED_PART_COUNT) return VMSRS_BAD_ARGUMENT;
  found_ = places_.find(calls_.server(), message.a, static_cast<vmsrs_hosted_part>(message.b));
  if (found_.memory == nullptr) return VMSRS_NOT_FOUND;
  descriptor = found_.memory->shared().descriptor();
  message.a = found_.memory->shared().bytes();
  message.b = calls_.memory().address_of(*found_.memory);
  message.c = found_.offset;
  return VMSRS_OK;
}

vmsrs_status Connection::join_memory(vmsrs_hosted_message& message) {
  if (!calls_.attached()) return VMSRS_NOT_ATTACHED;
  if (message.b >= VMSRS_HOSTED_PART_COUNT) return VMSRS_BAD_ARGUMENT;
  auto memory =
      places_.find(calls_.server(), message.a, static_cast<vmsrs_hosted_part>(message.b)).memory;
  if (memory == nullptr) return VMSRS_NOT_FOUND;
  HostedMemory& mine = calls_.memory();
  if (!good_pages(message.c, memory->shared().bytes())) return VMSRS_BAD_LENGTH;
  if (mine.address_of(*memory) != 0) return VMSRS_BUSY;
  if (mine.fit(message.c, memory->shared().bytes()) != HostedMemory::Fit::kFree)
    return VMSRS_OVERLAP;
  if (!mine.has_room()) return VMSRS_NO_SLOT;
  message.a = mine.add(message.c, std::move(memory));
  return VMSRS_OK;
}

}  // namespace vmsrs::hosted
