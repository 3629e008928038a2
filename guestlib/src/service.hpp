// SPDX-License-Identifier: Apache-2.0
#pragma once

// The service thread: does for the hypervisor what needs the server's own page tables (an
// operator's forced collection, comparing region and mirror), and sees to users that an operator
// has declared crashed. It watches a word of the window, without a trap.
namespace vmsrs::guest {

// Both while the control block is writable. 0 or a vmsrs_error.
int start_service_thread();
void stop_service_thread();

}  // namespace vmsrs::guest
