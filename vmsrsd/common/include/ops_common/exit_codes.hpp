// SPDX-License-Identifier: Apache-2.0
#pragma once

// The exit codes of vmsrsd and vmsrsctl. Stable: scripts depend on them.
namespace vmsrs::ops {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,              // command line or configuration file
  kExitInvariantViolated = 3,  // vmsrsctl check
  kExitUnreachable = 4,        // no daemon, or no hypervisor below it
  kExitDenied = 5,             // wrong secret or missing permission
  kExitSomeFailed = 6,         // of several hosts
};

}  // namespace vmsrs::ops
