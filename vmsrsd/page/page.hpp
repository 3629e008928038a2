// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <httplib.h>

#include "channel/channel.hpp"
#include "daemon/check_ledger.hpp"
#include "daemon/clock.hpp"
#include "page/history.hpp"

namespace vmsrs::page {

// The status page: `/` with its script and style, and `/page.json`, which the script asks for again
// and again. It goes where the metrics go, so it tells no more than they do but slots and ages of
// users: no labels, no addresses. All references must outlive the server.
void install(httplib::Server& server, channel::Channel& channel, const daemon::CheckLedger& ledger,
             const History& history, const daemon::Clock& clock);

}  // namespace vmsrs::page
