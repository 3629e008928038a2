// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bank.hpp"

// The styles of servers: which thread serves which request.
namespace matrix {

inline constexpr const char* kStyles[] = {"threads", "pool", "loop", "processes"};

// Serves for ever. False: there is no such style.
bool serve(const ServerOptions& options);

}  // namespace matrix
