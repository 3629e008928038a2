// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstddef>

// A small ELF core of the thread at the first fault of a site, for gdb: its registers, what its
// stack holds from the stack pointer up (256 KiB at most), the page of the instruction, and what
// gdb needs to find the modules. Nothing else of the process, and no vector registers. Off unless
// the operator names a folder in the environment (VMSRS_DUMPS).
namespace vmsrs::guest {

struct ControlBlock;

inline constexpr const char* kDumpsVariable = "VMSRS_DUMPS";
inline constexpr std::size_t kLongestDumpFolder = 255;

// Takes the folder over from the environment. 0 or VMSRS_ERROR_CONFIGURATION.
int set_up_dumps(ControlBlock& block);

// Of the first fault of a user. Leaves FOLDER/MODULE-BUILD+OFFSET.core, mode 0600: MODULE is the
// file that holds the instruction, BUILD the first 16 digits of its build id, OFFSET the
// instruction's address in the file's own. At most one of each name, four in a minute of this
// process's, and none while the folder holds 32 files. Async-signal-safe; takes a millisecond or so
// when it writes.
void leave_dump(int signal, const siginfo_t& info, const ucontext_t& context);

}  // namespace vmsrs::guest
