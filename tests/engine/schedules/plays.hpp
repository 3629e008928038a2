// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "schedules/stage.hpp"

namespace vmsrs::test {

// A step of the protocol that is left out, or done wrongly, and the play that shows it.
struct Hole {
  unsigned number;
  const char* what;
  Play play;
  const char* seen_as;  // what the stage must say begins so
};

const std::vector<Hole>& holes();

}  // namespace vmsrs::test
