// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace vmsrs::daemon {

// The project's version, from CMake.
inline constexpr const char* kVersion = VMSRS_PROJECT_VERSION;

}  // namespace vmsrs::daemon
