// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

namespace vmsrs::guest {

// Reads a server's attach secret: 64 hexadecimal digits, then at most white space. A file that
// others can read, or that its group can write, is refused; one that its group can read is warned
// of on stderr (systemd credentials look so). 0 or a vmsrs_error.
int read_secret(const char* path, std::uint8_t (&secret)[VMSRS_SECRET_BYTES]);

}  // namespace vmsrs::guest
