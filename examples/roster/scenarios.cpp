// SPDX-License-Identifier: Apache-2.0
#include "scenarios.hpp"

#include "actor.hpp"
#include "clerks.hpp"

namespace roster {

namespace {

using memory::Kind;

// What an actor of this scene does, with a line of the transcript for it.
class Cast {
 public:
  explicit Cast(const Scene& scene) : scene_(scene) {}

  void write(Actor& who, std::size_t number, std::uint64_t salary) const {
    who.does([&, number, salary] {
      scene_.roster.set_salary(number, salary);
      say(who.name(), "writes %zu:%llu", number, static_cast<unsigned long long>(salary));
    });
  }
  void read(Actor& who, const char* what, std::initializer_list<std::size_t> numbers) const {
    who.does([&] { say(who.name(), "%s %s", what, scene_.roster.read(numbers).c_str()); });
  }
  void fault(Actor& who) const {
    who.does([&] {
      say(who.name(), "follows a wild pointer");
      commit_fault(scene_.options.fault, scene_.memory);
      say(who.name(), "runs on");
    });
  }
  void end(Actor& who) const { say(who.name(), "%s", told(who.ends())); }
  // A request of a normal user that only reads.
  void look(Actor& who, const char* what, std::initializer_list<std::size_t> numbers) const {
    who.begin();
    read(who, what, numbers);
    end(who);
  }

 private:
  const Scene& scene_;
};

}  // namespace

const char* told(memory::Outcome outcome) {
  switch (outcome) {
    case memory::Outcome::finished:
      return "ends: finished";
    case memory::Outcome::suppressed:
      return "ends: told that it failed";
    case memory::Outcome::refused:
      break;
  }
  return "refused";
}

void recovery(const Scene& scene) {
  const Cast cast(scene);
  const Clerks clerks(scene.roster);
  Actor zero(0), three(3), four(4);
  cast.look(three, "reads before", {1, 2, 3, 4});

  zero.begin();
  cast.write(zero, 1, 90001);
  cast.write(zero, 2, 90002);
  cast.read(zero, "prints", {1, 2});
  cast.fault(zero);
  cast.write(zero, 3, 90003);  // counts no longer

  clerks.let_work();
  cast.look(three, "reads during", {1, 2, 3, 4});
  four.begin();
  cast.write(four, 4, 4400);
  cast.end(four);
  clerks.let_work();

  cast.end(zero);
  cast.look(three, "reads after", {1, 2, 3, 4});
}

void isolation(const Scene& scene) {
  const Cast cast(scene);
  Actor zero(0), three(3), four(4);
  four.begin();
  cast.write(four, 1, 4100);
  cast.write(four, 2, 4200);
  cast.end(four);
  cast.look(three, "reads before", {1, 2, 3, 4});

  zero.begin();
  cast.write(zero, 1, 90001);
  cast.write(zero, 2, 90002);
  cast.write(zero, 3, 90003);
  zero.does([&] {
    say(zero.name(), "overwrites all recovery data within its reach");
    const std::size_t bytes = memory::scribble_over_recovery_memory();
    say(zero.name(), "has overwritten %zu bytes", bytes);
  });
  cast.fault(zero);
  cast.write(zero, 4, 90004);  // counts no longer
  cast.look(three, "reads during", {1, 2, 3, 4});
  cast.end(zero);
  cast.look(three, "reads after", {1, 2, 3, 4});
}

void order_of_a_write_and_a_read(const Scene& scene) {
  const Cast cast(scene);
  const Clerks clerks(scene.roster);
  Actor zero(0), three(3), four(4);
  cast.look(three, "reads before", {1, 2, 3});

  zero.begin();
  cast.write(zero, 1, 90001);
  cast.write(zero, 2, 90002);
  cast.write(zero, 3, 90003);
  cast.fault(zero);
  cast.write(zero, 1, 91001);  // counts no longer

  four.begin();
  cast.read(four, "reads during", {1});
  cast.write(four, 1, 4100);
  cast.write(four, 2, 4200);
  cast.end(four);
  cast.look(three, "reads during", {1, 2});
  clerks.let_work();

  cast.end(zero);
  cast.look(three, "reads after", {1, 2, 3});
}

}  // namespace roster
