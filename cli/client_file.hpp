// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client.hpp"

namespace vmsrs::cli {

// $XDG_CONFIG_HOME/vmsrs/client.yaml, else ~/.config/vmsrs/client.yaml, if it is there: socket,
// host, cert, key and ca, as the options of these names. Throws Failure.
void read_client_file(Daemon& daemon);

}  // namespace vmsrs::cli
