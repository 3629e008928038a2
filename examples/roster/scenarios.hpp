// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"
#include "roster.hpp"

// The paper's scenarios (5.1), one function each. User 0 is the one who fails. Each prints what its
// users do and see; whether that is right is for whoever reads it (tests/paper).
namespace roster {

struct Scene {
  Roster& roster;
  void* memory;  // the roster's
  const Options& options;
};

void recovery(const Scene& scene);                       // 5.1.1
void isolation(const Scene& scene);                      // 5.1.2
void reader_while_suppression_is_entered(const Scene&);  // 5.1.3-1
void order_of_a_write_and_a_read(const Scene& scene);    // 5.1.3-2
void reader_between_data_and_metadata(const Scene&);     // 5.1.3-3

// How a user's scope ended, in words.
const char* told(memory::Outcome outcome);

}  // namespace roster
