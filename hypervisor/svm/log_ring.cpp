// SPDX-License-Identifier: Apache-2.0
#include "svm/log_ring.hpp"

namespace vmsrs::svm {

void LogRing::add(vmsrs_log_level level, std::uint32_t cpu, std::uint64_t counter, const char* text,
                  std::size_t length) {
  const std::uint64_t sequence = ++written_;
  vmsrs_log_line& line = lines_[sequence % kLines];
  line = {};
  line.sequence = sequence;
  line.time_ns = counter;
  line.cpu = cpu;
  line.level = level;
  line.length =
      static_cast<std::uint16_t>(length < VMSRS_LOG_TEXT_BYTES ? length : VMSRS_LOG_TEXT_BYTES);
  __builtin_memcpy(line.text, text, line.length);
}

bool LogRing::read(std::uint64_t sequence, vmsrs_log_line& line) const {
  if (sequence < oldest() || sequence > written_) return false;
  line = lines_[sequence % kLines];
  return true;
}

}  // namespace vmsrs::svm
