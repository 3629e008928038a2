// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

namespace vmsrs::cli {

// Asks on the terminal; throws Failure unless the answer is yes. Where nobody can be asked the
// failure is of usage and says `instead`; the question is not made then.
void confirm(const std::function<std::string()>& question, const std::string& instead);

}  // namespace vmsrs::cli
