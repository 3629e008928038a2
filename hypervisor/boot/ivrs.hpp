// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "svm/iommu.hpp"

namespace vmsrs::boot {

// The firmware's table of IOMMUs (48882, 5.2), header included: its units, each once, and what it
// says of devices. A table that is cut off, or has more than fits, leaves the list incomplete.
void read_ivrs(const std::uint8_t* table, std::size_t bytes, svm::IommuList& list);

}  // namespace vmsrs::boot
