// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace vmsrs::svm {

// No device writes to memory or interrupts any more: what an operating system does before it hands
// a machine on, for one that could not. PCI functions (bus mastering, MSI and MSI-X off; reset
// where they offer it, their addresses kept), both interrupt controllers, the HPET. All CPUs are
// out of the guest. A tenth of a second.
void quiet_devices();

}  // namespace vmsrs::svm
