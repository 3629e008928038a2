// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "channel/channel.hpp"

// Whole lists from the channel's one-by-one calls. On a status other than VMSRS_OK the list holds
// what had been read before.
namespace vmsrs::channel {

[[nodiscard]] vmsrs_status read_servers(Channel& channel, std::vector<vmsrs_server_info>& servers);
// Of the first so many servers; none, where the hypervisor does not know the call.
[[nodiscard]] vmsrs_status read_works(Channel& channel, std::size_t servers,
                                      std::vector<vmsrs_server_work>& works);
[[nodiscard]] vmsrs_status read_users(Channel& channel, std::uint32_t server,
                                      std::vector<vmsrs_user_info>& users);
[[nodiscard]] vmsrs_status read_regions(Channel& channel, std::uint32_t server,
                                        std::vector<vmsrs_region_info>& regions);
[[nodiscard]] vmsrs_status read_exits(Channel& channel, std::vector<vmsrs_exits>& exits);

// From record `cursor` on; `next` is the number to go on with.
[[nodiscard]] vmsrs_status read_guest_ends(Channel& channel, std::uint64_t cursor,
                                           std::vector<vmsrs_guest_end>& ends, std::uint64_t& next);

// All there are from number `cursor` on, or the oldest that nobody has acknowledged, at most as
// many as the hypervisor keeps; `next` is the number to go on with.
[[nodiscard]] vmsrs_status read_events(Channel& channel, std::uint64_t cursor,
                                       std::vector<vmsrs_event>& events, std::uint64_t& next);

// From line `cursor` on; `next` is the number to go on with.
[[nodiscard]] vmsrs_status read_log(Channel& channel, std::uint64_t cursor,
                                    std::vector<vmsrs_log_line>& lines, std::uint64_t& next);

}  // namespace vmsrs::channel
