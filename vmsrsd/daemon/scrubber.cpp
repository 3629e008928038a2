// SPDX-License-Identifier: Apache-2.0
#include "daemon/scrubber.hpp"

#include <spdlog/spdlog.h>

#include "channel/names.hpp"

namespace vmsrs::daemon {

void Scrubber::pass() {
  channel::ScrubProgress progress;
  const vmsrs_status status = channel_->scrub(channel::kEveryServer, bytes_per_second_, progress);
  if (status != VMSRS_OK && status != VMSRS_AGAIN) {
    spdlog::error("asking for a scrub: {}", channel::status_name(status));
    return;
  }
  if (restored_ && progress.restored > *restored_) {
    spdlog::warn("{} granules had been changed behind the library's back and are restored",
                 progress.restored - *restored_);
  }
  restored_ = progress.restored;
  spdlog::debug("scrub: {} bytes are asked for", progress.bytes_left);
}

}  // namespace vmsrs::daemon
