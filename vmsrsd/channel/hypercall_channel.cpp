// SPDX-License-Identifier: Apache-2.0
#include "channel/hypercall_channel.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace vmsrs::channel {
namespace {

// Far more pages than any buffer here has, far more pieces than any call here is done in: past it
// the other side is broken, and a status is better than a daemon that hangs.
constexpr int kMostTouches = 64;
constexpr int kMostPieces = 100000;

std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

template <typename T>
std::span<std::byte> bytes_of(T& object) {
  return std::as_writable_bytes(std::span<T, 1>(&object, 1));
}

vmsrs_status to_status(std::uint64_t rax) {
  return rax < VMSRS_STATUS_COUNT ? static_cast<vmsrs_status>(rax) : VMSRS_STATUS_COUNT;
}

// Makes the page at `address` present and writable by writing to a byte of `buffer` in it what is
// there already. False if the buffer has no byte in that page.
bool touch(std::uint64_t address, std::span<std::byte> buffer) {
  const std::uint64_t page = address & ~std::uint64_t{VMSRS_PAGE_BYTES - 1};
  const std::uint64_t first = std::max(page, address_of(buffer.data()));
  const std::uint64_t end =
      std::min(page + VMSRS_PAGE_BYTES, address_of(buffer.data()) + buffer.size());
  if (buffer.empty() || first >= end) return false;
  auto* byte = reinterpret_cast<unsigned char*>(first);
  __atomic_fetch_or(byte, static_cast<unsigned char>(0), __ATOMIC_RELAXED);
  return true;
}

}  // namespace

HypercallChannel::~HypercallChannel() {
  if (!is_open_) return;
  Registers registers{.rax = VMSRS_CALL_MGMT_CLOSE, .rdi = token_};
  hypercall_.call(registers);
}

vmsrs_status HypercallChannel::call(Registers& registers, std::span<std::byte> buffer) {
  for (int touches = 0;; ++touches) {
    Registers attempt = registers;
    hypercall_.call(attempt);
    const auto status = to_status(attempt.rax);
    if (status == VMSRS_TOUCH && touches < kMostTouches && touch(attempt.rdx, buffer)) continue;
    registers = attempt;
    return status;
  }
}

vmsrs_status HypercallChannel::call_to_end(Registers& registers, std::span<std::byte> buffer) {
  for (int pieces = 0;; ++pieces) {
    Registers attempt = registers;
    const vmsrs_status status = call(attempt, buffer);
    if (status == VMSRS_AGAIN && pieces < kMostPieces) continue;
    registers = attempt;
    return status;
  }
}

vmsrs_status HypercallChannel::open(std::span<const std::uint8_t, VMSRS_SECRET_BYTES> secret,
                                    std::uint64_t capabilities) {
  std::array<std::uint8_t, VMSRS_SECRET_BYTES> copy;
  std::copy(secret.begin(), secret.end(), copy.begin());
  Registers registers{
      .rax = VMSRS_CALL_MGMT_OPEN, .rdi = address_of(copy.data()), .rsi = capabilities};
  const vmsrs_status status = call_to_end(registers, bytes_of(copy));
  explicit_bzero(copy.data(), copy.size());
  if (status == VMSRS_OK) {
    token_ = registers.rdx;
    is_open_ = true;
  }
  return status;
}

vmsrs_status HypercallChannel::version(Version& version) {
  Registers registers{.rax = VMSRS_CALL_VERSION};
  const vmsrs_status status = call(registers);
  version = {static_cast<std::uint32_t>(registers.rdx), static_cast<std::uint32_t>(registers.rsi)};
  return status;
}

vmsrs_status HypercallChannel::stats(vmsrs_stats& stats) {
  stats = {};
  Registers registers{
      .rax = VMSRS_CALL_MGMT_STATS, .rdi = token_, .rsi = address_of(&stats), .rdx = sizeof(stats)};
  return call_to_end(registers, bytes_of(stats));
}

template <typename Structure>
vmsrs_status HypercallChannel::read(std::uint64_t number, std::uint64_t selector,
                                    Structure& structure) {
  structure = {};
  Registers registers{.rax = number,
                      .rdi = token_,
                      .rsi = selector,
                      .rdx = address_of(&structure),
                      .r10 = sizeof(structure)};
  return call_to_end(registers, bytes_of(structure));
}

vmsrs_status HypercallChannel::exits(std::uint32_t cpu, vmsrs_exits& exits) {
  return read(VMSRS_CALL_MGMT_EXITS, cpu, exits);
}

template <typename Record>
vmsrs_status HypercallChannel::read_page(std::uint64_t number, std::uint64_t cursor,
                                         std::span<Record> records, LogPage& page) {
  Registers registers{.rax = number,
                      .rdi = token_,
                      .rsi = cursor,
                      .rdx = address_of(records.data()),
                      .r10 = records.size_bytes()};
  const vmsrs_status status = call_to_end(registers, std::as_writable_bytes(records));
  page = {};
  if (status == VMSRS_OK)
    page = {std::min<std::size_t>(registers.rdx, records.size()), registers.rsi};
  return status;
}

vmsrs_status HypercallChannel::log(std::uint64_t cursor, std::span<vmsrs_log_line> lines,
                                   LogPage& page) {
  return read_page(VMSRS_CALL_MGMT_LOG, cursor, lines, page);
}

vmsrs_status HypercallChannel::guest_ends(std::uint64_t cursor, std::span<vmsrs_guest_end> ends,
                                          LogPage& page) {
  return read_page(VMSRS_CALL_MGMT_GUEST_ENDS, cursor, ends, page);
}

vmsrs_status HypercallChannel::events(std::uint64_t cursor, std::span<vmsrs_event> events,
                                      LogPage& page) {
  return read_page(VMSRS_CALL_MGMT_EVENTS, cursor, events, page);
}

vmsrs_status HypercallChannel::acknowledge_events(std::uint64_t sequence) {
  Registers registers{.rax = VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS, .rdi = token_, .rsi = sequence};
  return call_to_end(registers, {});
}

vmsrs_status HypercallChannel::guest_cpu(std::uint64_t sequence, std::uint32_t cpu,
                                         vmsrs_guest_cpu& state) {
  state = {};
  Registers registers{.rax = VMSRS_CALL_MGMT_GUEST_CPU,
                      .rdi = token_,
                      .rsi = sequence,
                      .rdx = cpu,
                      .r10 = address_of(&state),
                      .r8 = sizeof(state)};
  return call_to_end(registers, bytes_of(state));
}

vmsrs_status HypercallChannel::announce_reset(bool wanted) {
  Registers registers{
      .rax = VMSRS_CALL_MGMT_ANNOUNCE_RESET, .rdi = token_, .rsi = wanted ? 1u : 0u};
  return call_to_end(registers, {});
}

vmsrs_status HypercallChannel::memory(std::vector<vmsrs_memory_range>& ranges) {
  ranges.assign(VMSRS_MAX_MEMORY_RANGES, {});
  const std::span all(ranges);
  Registers registers{.rax = VMSRS_CALL_MGMT_MEMORY,
                      .rdi = token_,
                      .rsi = address_of(all.data()),
                      .rdx = all.size_bytes()};
  const vmsrs_status status = call_to_end(registers, std::as_writable_bytes(all));
  ranges.resize(status == VMSRS_OK ? std::min<std::size_t>(registers.rdx, all.size()) : 0);
  return status;
}

vmsrs_status HypercallChannel::server(std::uint32_t index, vmsrs_server_info& info) {
  return read(VMSRS_CALL_MGMT_SERVER, index, info);
}

vmsrs_status HypercallChannel::work(std::uint32_t index, vmsrs_server_work& work) {
  return read(VMSRS_CALL_MGMT_WORK, index, work);
}

template <typename Record>
vmsrs_status HypercallChannel::read_list(Registers registers, std::span<Record> records,
                                         ListPage& page) {
  registers.rdi = token_;
  const vmsrs_status status = call_to_end(registers, std::as_writable_bytes(records));
  page = {};
  if (status == VMSRS_OK) {
    page.count = std::min<std::size_t>(registers.rdx, records.size());
    page.next_cursor = registers.rsi;
  }
  return status;
}

vmsrs_status HypercallChannel::users(std::uint32_t server, std::uint64_t cursor,
                                     std::span<vmsrs_user_info> records, ListPage& page) {
  const Registers registers{.rax = VMSRS_CALL_MGMT_USERS,
                            .rsi = server,
                            .rdx = cursor,
                            .r10 = address_of(records.data()),
                            .r8 = records.size_bytes()};
  return read_list(registers, records, page);
}

vmsrs_status HypercallChannel::regions(std::uint32_t server, std::uint64_t cursor,
                                       std::span<vmsrs_region_info> records, ListPage& page) {
  const Registers registers{.rax = VMSRS_CALL_MGMT_REGIONS,
                            .rsi = server,
                            .rdx = cursor,
                            .r10 = address_of(records.data()),
                            .r8 = records.size_bytes()};
  return read_list(registers, records, page);
}

vmsrs_status HypercallChannel::records(std::uint32_t server, std::uint64_t region,
                                       std::uint64_t cursor, std::span<vmsrs_record_info> records,
                                       ListPage& page) {
  const Registers registers{.rax = VMSRS_CALL_MGMT_RECORDS,
                            .rsi = server,
                            .rdx = region,
                            .r10 = cursor,
                            .r8 = address_of(records.data()),
                            .r9 = records.size_bytes()};
  return read_list(registers, records, page);
}

vmsrs_status HypercallChannel::region_map(std::uint32_t server, std::uint32_t region, bool anew,
                                          vmsrs_region_map& map) {
  map = {};
  Registers registers{.rax = VMSRS_CALL_MGMT_REGION_MAP,
                      .rdi = token_,
                      .rsi = server,
                      .rdx = region,
                      .r10 = address_of(&map),
                      .r8 = sizeof(map),
                      .r9 = anew ? 1u : 0u};
  return call(registers, bytes_of(map));
}

vmsrs_status HypercallChannel::label(const vmsrs_user_info& user, UserLabel& label) {
  label = {};
  Registers registers{.rax = VMSRS_CALL_MGMT_LABEL,
                      .rdi = token_,
                      .rsi = user.server,
                      .rdx = user.slot,
                      .r10 = user.generation,
                      .r8 = address_of(label.text.data()),
                      .r9 = label.text.size()};
  const vmsrs_status status = call_to_end(registers, std::as_writable_bytes(std::span(label.text)));
  if (status == VMSRS_OK) label.bytes = std::min<std::size_t>(registers.rdx, label.text.size());
  return status;
}

vmsrs_status HypercallChannel::check(bool start_anew, vmsrs_check_report& report) {
  report = {};
  Registers registers{.rax = VMSRS_CALL_MGMT_CHECK,
                      .rdi = token_,
                      .rsi = start_anew ? 1u : 0u,
                      .rdx = address_of(&report),
                      .r10 = sizeof(report)};
  return call(registers, bytes_of(report));
}

vmsrs_status HypercallChannel::define(const vmsrs_server_definition& definition,
                                      std::uint32_t& server) {
  vmsrs_server_definition copy = definition;
  Registers registers{.rax = VMSRS_CALL_MGMT_DEFINE, .rdi = token_, .rsi = address_of(&copy)};
  const vmsrs_status status = call_to_end(registers, bytes_of(copy));
  if (status == VMSRS_OK) server = static_cast<std::uint32_t>(registers.rdx);
  return status;
}

vmsrs_status HypercallChannel::collect(std::uint32_t server, std::uint64_t slot,
                                       std::uint64_t& records_left) {
  Registers registers{.rax = VMSRS_CALL_MGMT_COLLECT, .rdi = token_, .rsi = server, .rdx = slot};
  const vmsrs_status status = call(registers);
  if (status == VMSRS_OK || status == VMSRS_AGAIN) records_left = registers.rdx;
  return status;
}

vmsrs_status HypercallChannel::scrub(std::uint64_t server, std::uint64_t bytes,
                                     ScrubProgress& progress) {
  Registers registers{.rax = VMSRS_CALL_MGMT_SCRUB, .rdi = token_, .rsi = server, .rdx = bytes};
  const vmsrs_status status = call(registers);
  if (status == VMSRS_OK || status == VMSRS_AGAIN) progress = {registers.rdx, registers.rsi};
  return status;
}

vmsrs_status HypercallChannel::suppress(std::uint32_t server, std::uint32_t slot,
                                        std::uint64_t generation) {
  Registers registers{.rax = VMSRS_CALL_MGMT_SUPPRESS,
                      .rdi = token_,
                      .rsi = server,
                      .rdx = slot,
                      .r10 = generation};
  return call_to_end(registers, {});
}

vmsrs_status HypercallChannel::contain(std::uint32_t server, std::uint32_t mode) {
  Registers registers{
      .rax = VMSRS_CALL_MGMT_CONTAINMENT, .rdi = token_, .rsi = server, .rdx = mode};
  return call(registers);
}

vmsrs_status HypercallChannel::change_secret(
    const std::array<std::uint8_t, VMSRS_HASH_BYTES>& hash) {
  auto copy = hash;
  Registers registers{.rax = VMSRS_CALL_MGMT_SECRET, .rdi = token_, .rsi = address_of(copy.data())};
  return call_to_end(registers, bytes_of(copy));
}

vmsrs_status HypercallChannel::reap(std::uint32_t server, std::uint32_t process_id) {
  Registers registers{.rax = VMSRS_CALL_MGMT_REAP, .rdi = token_, .rsi = server, .rdx = process_id};
  return call_to_end(registers);
}

}  // namespace vmsrs::channel
