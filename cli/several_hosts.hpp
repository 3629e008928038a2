// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "verbs/verbs.hpp"

namespace vmsrs::cli {

// Does a verb's `work` on each of the hosts, at most `context.parallel` at a time, each in a
// process of its own that ends with this one. Prints what they answer in the order of the hosts,
// failures on stderr. Returns 0 if none failed, the code of the failures if all failed with the
// same, else 6.
[[nodiscard]] int run_on_hosts(Context& context, const std::function<int()>& work,
                               const std::vector<FleetHost>& hosts);

// The same for a verb that prints line after line until it is stopped: each line with its host
// before it as it comes. Needs a process for every host at the same time: Failure (usage) if those
// are more than `context.parallel`.
[[nodiscard]] int follow_on_hosts(Context& context, const std::function<int()>& work,
                                  const std::vector<FleetHost>& hosts);

// "shop1, shop2, shop3 and 7 more".
[[nodiscard]] std::string names_words(const std::vector<std::string>& names, std::size_t most);

}  // namespace vmsrs::cli
