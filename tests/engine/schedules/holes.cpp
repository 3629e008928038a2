// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "schedules/plays.hpp"

// Opens the holes of docs/protocol.md in engine and library, one at a time: the stage must see it,
// and must see nothing in as many schedules with no hole open.
using namespace vmsrs::test;

namespace {

constexpr std::uint64_t kMost = 50'000, kLeast = 2'000;

struct Outcome {
  std::string wrong, schedule;
  std::uint64_t schedules = 0;
};

Outcome play_schedules(const Play& play, unsigned hole, std::uint64_t most) {
  Stage stage(play);
  AllChoices choices;
  Outcome outcome;
  do {
    vmsrs::hooks::open_hole = hole;
    outcome.wrong = stage.run(choices);
    vmsrs::hooks::open_hole = 0;
    if (outcome.wrong.empty() && ++outcome.schedules % 256 == 0)
      outcome.wrong = stage.check_invariants();
  } while (outcome.wrong.empty() && outcome.schedules < most && choices.advance());
  outcome.schedule = choices.printed();
  if (outcome.wrong.empty()) outcome.wrong = stage.check_invariants();
  return outcome;
}

bool examine(const Hole& hole) {
  const Outcome open = play_schedules(hole.play, hole.number, kMost);
  const bool seen = !open.wrong.empty() && open.wrong.starts_with(hole.seen_as);
  const Outcome closed = play_schedules(hole.play, 0, std::max(kLeast, 2 * open.schedules));
  std::cout << (seen && closed.wrong.empty() ? "ok    " : "FAIL  ") << "hole " << hole.number
            << ", " << hole.what << "\n      " << hole.play.name << ", after " << open.schedules
            << " schedules: " << (open.wrong.empty() ? "nothing was seen" : open.wrong)
            << "\n      engine_holes --hole " << hole.number << " --replay '" << open.schedule
            << "'\n      closed, " << closed.schedules << " schedules"
            << (closed.wrong.empty() ? "" : ": " + closed.wrong + " [" + closed.schedule + "]")
            << std::endl;
  return seen && closed.wrong.empty();
}

// Shows one schedule step by step.
bool replay(const Hole& hole, const std::string& schedule) {
  std::vector<std::size_t> taken;
  std::istringstream text(schedule);
  for (std::string number; std::getline(text, number, ',');)
    taken.push_back(std::strtoull(number.c_str(), nullptr, 10));
  Stage stage(hole.play);
  stage.watch = [](std::size_t thread, vmsrs::hooks::Step step) {
    std::cout << "thread " << thread << "  " << name_of(step) << "\n";
  };
  AllChoices choices(taken);
  vmsrs::hooks::open_hole = hole.number;
  const std::string wrong = stage.run(choices);
  vmsrs::hooks::open_hole = 0;
  std::cout << wrong << std::endl;
  return !wrong.empty();
}

int usage() {
  std::cerr << "usage: engine_holes [--hole N [--replay CHOICES]]\n"
               "all holes, or one; or one schedule of it, step by step\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty()) return std::ranges::all_of(holes(), examine) ? 0 : 1;
  if ((arguments.size() != 2 && arguments.size() != 4) || arguments[0] != "--hole") return usage();
  const auto hole =
      std::ranges::find(holes(), std::strtoul(arguments[1].c_str(), nullptr, 10), &Hole::number);
  if (hole == holes().end()) return usage();
  if (arguments.size() == 2) return examine(*hole) ? 0 : 1;
  return arguments[2] == "--replay" ? !replay(*hole, arguments[3]) : usage();
}
