// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

// The management calls of the ABI as functions: the daemon's only way to the hidden region.
// HypercallChannel makes them, SerialChannel puts a lock around each; tests have a fake.
namespace vmsrs::channel {

struct Version {
  std::uint32_t abi = 0;
  std::uint32_t isolation = 0;  // enum vmsrs_isolation
};

struct ListPage {
  std::size_t count = 0;          // records written
  std::uint64_t next_cursor = 0;  // 0 = that was the end
};

struct LogPage {
  std::size_t count = 0;  // lines written; 0 = that was the end
  std::uint64_t next_cursor = 0;
};

// What a program calls its user: any bytes.
struct UserLabel {
  std::size_t bytes = 0;
  std::array<std::uint8_t, VMSRS_LABEL_BYTES> text{};
};

constexpr std::uint64_t kEveryCrashedUser = ~std::uint64_t{0};
constexpr std::uint64_t kEveryServer = ~std::uint64_t{0};
constexpr std::uint64_t kEveryRegion = VMSRS_EVERY_REGION;
constexpr std::uint64_t kEveryByte = ~std::uint64_t{0};

struct ScrubProgress {
  std::uint64_t bytes_left = 0;
  std::uint64_t restored = 0;  // granules, by all sweeps and scrubs of these servers so far
};

// Every call returns the hypervisor's status; results are good after VMSRS_OK, and after
// VMSRS_AGAIN where a function says so.
class Channel {
 public:
  virtual ~Channel() = default;

  [[nodiscard]] virtual vmsrs_status version(Version& version) = 0;
  [[nodiscard]] virtual vmsrs_status stats(vmsrs_stats& stats) = 0;
  // VMSRS_NOT_FOUND past the last one, for both.
  [[nodiscard]] virtual vmsrs_status exits(std::uint32_t cpu, vmsrs_exits& exits) = 0;
  // Lines from number `cursor` on, or the oldest that are kept.
  [[nodiscard]] virtual vmsrs_status log(std::uint64_t cursor, std::span<vmsrs_log_line> lines,
                                         LogPage& page) = 0;
  // Ends of the guest from record `cursor` on, or the oldest that are kept.
  [[nodiscard]] virtual vmsrs_status guest_ends(std::uint64_t cursor,
                                                std::span<vmsrs_guest_end> ends, LogPage& page) = 0;
  // Events from number `cursor` on, or the oldest that nobody has acknowledged.
  [[nodiscard]] virtual vmsrs_status events(std::uint64_t cursor, std::span<vmsrs_event> events,
                                            LogPage& page) = 0;
  // All up to that number are safe: the hypervisor may forget them. VMSRS_BAD_ARGUMENT: that one
  // has not been given out yet.
  [[nodiscard]] virtual vmsrs_status acknowledge_events(std::uint64_t sequence) = 0;
  // A CPU at that end.
  [[nodiscard]] virtual vmsrs_status guest_cpu(std::uint64_t sequence, std::uint32_t cpu,
                                               vmsrs_guest_cpu& state) = 0;
  // `ranges` becomes as long as there are.
  [[nodiscard]] virtual vmsrs_status memory(std::vector<vmsrs_memory_range>& ranges) = 0;
  [[nodiscard]] virtual vmsrs_status server(std::uint32_t index, vmsrs_server_info& info) = 0;
  // VMSRS_UNKNOWN_CALL from a hypervisor that does not count this.
  [[nodiscard]] virtual vmsrs_status work(std::uint32_t index, vmsrs_server_work& work) = 0;
  [[nodiscard]] virtual vmsrs_status users(std::uint32_t server, std::uint64_t cursor,
                                           std::span<vmsrs_user_info> records, ListPage& page) = 0;
  [[nodiscard]] virtual vmsrs_status regions(std::uint32_t server, std::uint64_t cursor,
                                             std::span<vmsrs_region_info> records,
                                             ListPage& page) = 0;
  // Where in a region something is going on. `anew`: as somebody finds it who looks from now on, or
  // is looking. VMSRS_AGAIN (map filled) until that is done: wait and ask again, without `anew`.
  [[nodiscard]] virtual vmsrs_status region_map(std::uint32_t server, std::uint32_t region,
                                                bool anew, vmsrs_region_map& map) = 0;
  // Of one region, or of kEveryRegion. A page may be empty before the end.
  [[nodiscard]] virtual vmsrs_status records(std::uint32_t server, std::uint64_t region,
                                             std::uint64_t cursor,
                                             std::span<vmsrs_record_info> records,
                                             ListPage& page) = 0;
  // VMSRS_NOT_FOUND: the user is gone, and not of those that are remembered.
  [[nodiscard]] virtual vmsrs_status label(const vmsrs_user_info& user, UserLabel& label) = 0;
  // VMSRS_AGAIN (report filled) while a verdict is pending: the caller waits and goes on.
  [[nodiscard]] virtual vmsrs_status check(bool start_anew, vmsrs_check_report& report) = 0;
  [[nodiscard]] virtual vmsrs_status define(const vmsrs_server_definition& definition,
                                            std::uint32_t& server) = 0;
  // VMSRS_AGAIN (records_left filled) until a thread of the server has done it: wait and repeat.
  [[nodiscard]] virtual vmsrs_status collect(std::uint32_t server, std::uint64_t slot,
                                             std::uint64_t& records_left) = 0;
  // Asks for the next `bytes` of the regions of one server, or of kEveryServer, to be scrubbed; 0:
  // only asks how far it is. VMSRS_AGAIN (progress filled) while some are left.
  [[nodiscard]] virtual vmsrs_status scrub(std::uint64_t server, std::uint64_t bytes,
                                           ScrubProgress& progress) = 0;
  // Declares that user crashed: in force with VMSRS_OK. VMSRS_NOT_FOUND: it has ended.
  [[nodiscard]] virtual vmsrs_status suppress(std::uint32_t server, std::uint32_t slot,
                                              std::uint64_t generation) = 0;
  // `mode`: enum vmsrs_server_containment.
  [[nodiscard]] virtual vmsrs_status contain(std::uint32_t server, std::uint32_t mode) = 0;
  // `hash`: SHA-256 of the secret that opens channels from now on.
  [[nodiscard]] virtual vmsrs_status change_secret(
      const std::array<std::uint8_t, VMSRS_HASH_BYTES>& hash) = 0;
  // The next reset of the machine is wanted, or not after all. VMSRS_NOT_FOUND: there is no
  // hypervisor that could be reset.
  [[nodiscard]] virtual vmsrs_status announce_reset(bool wanted) = 0;
  [[nodiscard]] virtual vmsrs_status reap(std::uint32_t server, std::uint32_t process_id) = 0;
};

}  // namespace vmsrs::channel
