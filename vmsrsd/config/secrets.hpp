// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"

// Secrets are files of 64 hexadecimal digits (256 bits); white space around them does not matter.
namespace vmsrs::config {

[[nodiscard]] std::optional<Digest> parse_hex(std::string_view digits);
[[nodiscard]] std::string hex(const Digest& digest);
[[nodiscard]] Digest sha256(const Digest& secret);

// The secret of the management channel. Throws Error.
[[nodiscard]] Digest management_secret(const Config& config);

// What the hypervisor gets to know of a server's secret. Throws Error: the file cannot be read, or
// is not the server's account's alone.
[[nodiscard]] Digest attach_hash(const Server& server);

}  // namespace vmsrs::config
