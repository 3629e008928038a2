// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>

// Whether faults are contained, and how many: containment must not give an attacker as many tries
// as he likes. All of it lies in a sealed page, so that no wild store resets a counter. Everything
// here is async-signal-safe.
namespace vmsrs::guest {

// Before the handlers are there.
void set_up_containment(const vmsrs_options& options);

// A fault of a thread that may have a user, of which it does not know that it has crashed: is it to
// be contained? In every mode if it has. False: it ends the process, as without the library; in the observing mode it has been counted and
// told on stderr.
[[nodiscard]] bool contains_fault(int signal, std::uint64_t instruction);

// A user has crashed, of that label. Past the limit of the site its label is refused, or the
// process is ended; past the server's it is ended.
void count_crash(vmsrs_fault_kind kind, std::uint64_t instruction, std::uint64_t label,
                 bool label_is_known);

// 0, or VMSRS_ERROR_REFUSED: users of that label are, for now.
[[nodiscard]] int check_label(std::uint64_t label);

// Where it is kept; for attack tests.
const void* containment_page(std::size_t& bytes);

}  // namespace vmsrs::guest
