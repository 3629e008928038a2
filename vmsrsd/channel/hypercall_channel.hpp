// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "channel/channel.hpp"
#include "channel/hypercall.hpp"

namespace vmsrs::channel {

// The management channel over hypercalls. Opened once with the secret; the token that this gives is
// good in the opening address space only, so never fork and go on. Not thread-safe: SerialChannel.
class HypercallChannel final : public Channel {
 public:
  explicit HypercallChannel(Hypercall& hypercall) : hypercall_(hypercall) {}
  ~HypercallChannel() override;
  HypercallChannel(const HypercallChannel&) = delete;
  HypercallChannel& operator=(const HypercallChannel&) = delete;

  // `capabilities`: bits of enum vmsrs_capability.
  [[nodiscard]] vmsrs_status open(std::span<const std::uint8_t, VMSRS_SECRET_BYTES> secret,
                                  std::uint64_t capabilities);

  vmsrs_status version(Version& version) override;
  vmsrs_status stats(vmsrs_stats& stats) override;
  vmsrs_status exits(std::uint32_t cpu, vmsrs_exits& exits) override;
  vmsrs_status log(std::uint64_t cursor, std::span<vmsrs_log_line> lines, LogPage& page) override;
  vmsrs_status guest_ends(std::uint64_t cursor, std::span<vmsrs_guest_end> ends,
                          LogPage& page) override;
  vmsrs_status events(std::uint64_t cursor, std::span<vmsrs_event> events, LogPage& page) override;
  vmsrs_status acknowledge_events(std::uint64_t sequence) override;
  vmsrs_status guest_cpu(std::uint64_t sequence, std::uint32_t cpu,
                         vmsrs_guest_cpu& state) override;
  vmsrs_status announce_reset(bool wanted) override;
  vmsrs_status memory(std::vector<vmsrs_memory_range>& ranges) override;
  vmsrs_status server(std::uint32_t index, vmsrs_server_info& info) override;
  vmsrs_status work(std::uint32_t index, vmsrs_server_work& work) override;
  vmsrs_status users(std::uint32_t server, std::uint64_t cursor, std::span<vmsrs_user_info> records,
                     ListPage& page) override;
  vmsrs_status regions(std::uint32_t server, std::uint64_t cursor,
                       std::span<vmsrs_region_info> records, ListPage& page) override;
  vmsrs_status region_map(std::uint32_t server, std::uint32_t region, bool anew,
                          vmsrs_region_map& map) override;
  vmsrs_status records(std::uint32_t server, std::uint64_t region, std::uint64_t cursor,
                       std::span<vmsrs_record_info> records, ListPage& page) override;
  vmsrs_status label(const vmsrs_user_info& user, UserLabel& label) override;
  vmsrs_status check(bool start_anew, vmsrs_check_report& report) override;
  vmsrs_status define(const vmsrs_server_definition& definition, std::uint32_t& server) override;
  vmsrs_status collect(std::uint32_t server, std::uint64_t slot,
                       std::uint64_t& records_left) override;
  vmsrs_status scrub(std::uint64_t server, std::uint64_t bytes, ScrubProgress& progress) override;
  vmsrs_status suppress(std::uint32_t server, std::uint32_t slot,
                        std::uint64_t generation) override;
  vmsrs_status contain(std::uint32_t server, std::uint32_t mode) override;
  vmsrs_status change_secret(const std::array<std::uint8_t, VMSRS_HASH_BYTES>& hash) override;
  vmsrs_status reap(std::uint32_t server, std::uint32_t process_id) override;

 private:
  // Makes the call; touches pages of `buffer` and repeats as long as the hypervisor asks for it.
  vmsrs_status call(Registers& registers, std::span<std::byte> buffer = {});
  // The same, and repeats on VMSRS_AGAIN: for calls that wait for nobody else.
  vmsrs_status call_to_end(Registers& registers, std::span<std::byte> buffer = {});
  template <typename Structure>
  vmsrs_status read(std::uint64_t number, std::uint64_t selector, Structure& structure);
  // A page of a list that ends with cursor 0; `registers` have all but the token.
  template <typename Record>
  vmsrs_status read_list(Registers registers, std::span<Record> records, ListPage& page);
  template <typename Record>
  vmsrs_status read_page(std::uint64_t number, std::uint64_t cursor, std::span<Record> records,
                         LogPage& page);

  Hypercall& hypercall_;
  std::uint64_t token_ = 0;
  bool is_open_ = false;
};

}  // namespace vmsrs::channel
