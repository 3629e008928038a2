// SPDX-License-Identifier: Apache-2.0
#include "schedules/stage.hpp"

#include <algorithm>
#include <cstring>

#include "probe.hpp"

namespace vmsrs::test {

using guest::Access;
using hooks::Step;

Stage::Stage(const Play& play)
    : play_(play),
      server_({{play.bytes, static_cast<unsigned>(play.granule), play.claimed}}, 1024) {
  for (std::size_t i = 0; i < play.acts.size(); ++i)
    actors_.push_back(std::make_unique<Actor>(server_, 0xa000 + 0x1000 * i));
  for (const auto& actor : actors_) actor->thread.hands_over = play.hands_over;
  initial_.assign(server_.region(0), server_.region(0) + play_.bytes);
  const auto pause = [this] { scheduler_.pause(); };
  server_.yield = pause;
  server_.machine.platform.set_relaxer(pause);
  server_.barrier = [this] {
    for (const auto& actor : actors_) flush(*actor);
  };
  scheduler_.on_step = [this](Step step) { observe(step); };
}

Stage::~Stage() { server_.machine.platform.set_relaxer(nullptr); }

std::string Stage::run(Choices& choices) {
  rewind();
  model_.emplace(initial_, play_.granule);
  perform_alone(play_.before);
  if (!wrong_.empty()) return "before the play: " + wrong_;
  cast_.clear();
  std::vector<std::function<void()>> bodies;
  for (std::size_t i = 0; i < play_.acts.size(); ++i) {
    cast_.push_back(i);
    bodies.push_back([this, i] { perform(i, play_.acts[i]); });
  }
  if (scheduler_.run(bodies, choices, play_.preemptions) == Scheduler::End::kStuck)
    wrong("stuck: nobody gets on");
  ++exercise_.schedules;
  if (wrong_.empty()) perform_alone(play_.after);
  if (!wrong_.empty()) return wrong_;
  for (const auto& actor : actors_) {
    if (actor->user) wrong("the play leaves a user");
    if (actor->thread.open && server_.area(actor->thread.slot).window != 0)
      wrong("a window is left open");
  }
  for (std::size_t word = 0; word < play_.bytes / 8; ++word) {
    if (memory(word) != truth(word, false))
      wrong("at the end memory holds " + std::to_string(memory(word)) + " in word " +
            std::to_string(word) + ", not " + std::to_string(truth(word, false)));
    if (mirror(word) != truth(word, false))
      wrong("at the end the mirror is wrong in word " + std::to_string(word));
  }
  if ((server_.window().status.mode & VMSRS_MODE_SUPPRESSION) != 0)
    wrong("suppression does not end");
  if (recovery::EngineProbe::ledger(0).record_count != 0) wrong("records are left");
  if (!damaging_ && recovery::EngineProbe::counters(0).repaired_tags != repaired_tags_)
    wrong("a tag is repaired that nobody damaged");
  return wrong_;
}

std::string Stage::check_invariants() { return server_.sound() ? "" : "an invariant is violated"; }

Exercise Stage::exercise() const {
  Exercise sum = exercise_;
  for (const auto& actor : actors_) {
    sum.drains += actor->thread.drains;
    sum.traps += actor->thread.traps;
    sum.waits += actor->thread.waits;
  }
  return sum;
}

// As it was before the first run, but for generations and epochs, which only rise.
void Stage::rewind() {
  for (std::size_t i = 0; play_.claimed && i < play_.bytes / play_.granule; ++i)
    server_.claim(0, i).tag = vmsrs_tag(vmsrs_tag_body(VMSRS_TAG_UNOWNED, 0, 0), i);
  std::memcpy(server_.region(0), initial_.data(), play_.bytes);
  std::memcpy(recovery::EngineProbe::ledger(0).regions[0].mirror, initial_.data(), play_.bytes);
  for (const auto& actor : actors_) actor->thread.start_anew();
  next_value_ = 1;
  repaired_tags_ = recovery::EngineProbe::counters(0).repaired_tags;
}

void Stage::perform_alone(const std::vector<std::vector<Act>>& acts) {
  AllChoices none;
  for (std::size_t i = 0; i < acts.size() && wrong_.empty(); ++i) {
    cast_ = {i % actors_.size()};
    if (scheduler_.run({[&, i] { perform(cast_[0], acts[i]); }}, none, 0) == Scheduler::End::kStuck)
      wrong("stuck: nobody gets on");
  }
}

void Stage::wrong(const std::string& what) {
  if (wrong_.empty()) wrong_ = what;
}

void Stage::perform(std::size_t number, const std::vector<Act>& acts) {
  for (const Act& act : acts) perform(*actors_[number], act);
}

void Stage::perform(Actor& actor, const Act& act) {
  switch (act.kind) {
    case Act::Kind::kBegin:
      if (actor.thread.begin() != VMSRS_OK) return wrong("a user may not begin");
      return take_user(actor);
    case Act::Kind::kStore:
    case Act::Kind::kFaultyStore:
      return store(actor, act.what, act.kind == Act::Kind::kFaultyStore);
    case Act::Kind::kLoad:
    case Act::Kind::kLoadCommitted:
      return load(actor, act.what, act.kind == Act::Kind::kLoadCommitted);
    case Act::Kind::kEnd:
    case Act::Kind::kKeep:
      return end(actor, act.kind == Act::Kind::kKeep);
    case Act::Kind::kCrash:
      actor.crashing = static_cast<std::size_t>(
          std::find_if(actors_.begin(), actors_.end(),
                       [&](const auto& each) { return each.get() == &actor; }) -
          actors_.begin());
      (void)actor.thread.crash();
      actor.crashing.reset();
      actor.told = true;
      ++exercise_.crashes;
      return;
    case Act::Kind::kDeclare: {
      if (!actors_[act.what]->user) return;
      actor.crashing = act.what;
      const std::uint64_t slot = actors_[act.what]->thread.slot;
      const guest::CallResult result = actor.thread.declare(slot, actors_[act.what]->generation);
      actor.crashing.reset();
      actor.crash_epoch = result.status == VMSRS_OK ? result.first : 0;
      exercise_.crashes += result.status == VMSRS_OK;
      return;
    }
    case Act::Kind::kDrain:
      if (actor.crash_epoch == 0) return;
      (void)actor.thread.drain(actors_[act.what]->thread.slot);
      return;
    case Act::Kind::kReport:
      if (actor.crash_epoch == 0) return;
      (void)actor.thread.report_drained(actors_[act.what]->thread.slot, actor.crash_epoch);
      return;
    case Act::Kind::kKnock: {
      const std::uint64_t value = next_value_++;
      actor.ticket =
          actor.thread
              .store(server_.regions[0].begin + 8 * act.what, &value, sizeof value, 0, false)
              .second;
      return;
    }
    case Act::Kind::kComeAgain: {
      actor.storing = act.what;
      actor.value = next_value_++ << 8;
      const guest::CallResult result =
          actor.thread.store(server_.regions[0].begin + 8 * act.what, &actor.value,
                             sizeof actor.value, actor.ticket, false);
      actor.storing.reset();
      if (result.status != VMSRS_OK) store(actor, act.what, false);
      return;
    }
    case Act::Kind::kComeToLast:
    case Act::Kind::kComeBack: {
      auto& user =
          recovery::EngineProbe::ledger(0).users[static_cast<recovery::Slot>(actor.thread.slot)];
      if (act.kind == Act::Kind::kComeToLast) {
        actor.old_generation = (user.generation - 1) & VMSRS_TAG_GENERATION_MASK;
        user.generation = (user.generation | VMSRS_TAG_GENERATION_MASK) - 1;
      } else if ((user.generation & VMSRS_TAG_GENERATION_MASK) != 0) {
        return wrong("the slot's generation has not come round");
      } else {
        user.generation |= actor.old_generation;
      }
      server_.machine.platform.window(0)->users[actor.thread.slot] = user.word();
      return;
    }
    case Act::Kind::kFill:
      for (std::size_t i = 0; i < (server_.area_bytes - sizeof(vmsrs_user_area)) / 8; ++i)
        store(actor, act.what + i * play_.granule / 8, false);
      return;
    case Act::Kind::kHidePage:
      return actor.thread.client.memory.set_page(server_.region(0), HostMemory::Page::kNotPresent);
    case Act::Kind::kScrub:
      (void)server_.manager.call(VMSRS_CALL_MGMT_SCRUB, server_.token, 0, ~0ull);
      return server_.serve();
    case Act::Kind::kServe:
      return server_.serve();
    case Act::Kind::kDamage:
      damaging_ = true;
      hooks::step(Step::TS_tag);
      server_.claim(0, act.what).tag = 0x1234;
      return;
    case Act::Kind::kStaleTag:
      damaging_ = true;
      server_.claim(0, act.what).tag = vmsrs_tag(vmsrs_tag_body(VMSRS_TAG_FROZEN, 77, 5), act.what);
      return;
    case Act::Kind::kWild: {
      const std::uint64_t value = 0xbad;
      std::memcpy(server_.region(0) + 8 * act.what, &value, sizeof value);
      return;
    }
  }
}

void Stage::store(Actor& actor, std::size_t word, bool faulty) {
  const bool told = actor.told;
  actor.storing = word;
  actor.value = next_value_++ << 8;
  actor.stores_left_before_fault = faulty ? 2 : 0;
  Access outcome = Access::kCrashed;
  try {
    const std::uint64_t values[] = {actor.value, actor.value + 1};
    outcome = faulty ? actor.thread.store(0, 8 * word, values, sizeof values)
                     : actor.thread.store_as_compiled(0, 8 * word, actor.value);
    actor.storing.reset();
    if (faulty) return;  // it was refused before the fault
  } catch (const Fault&) {
    actor.storing.reset();
    return perform(actor, {Act::Kind::kCrash});
  }
  if (outcome == Access::kRefused)
    return wrong("a store is refused, status " + std::to_string(actor.thread.status));
  if (outcome == Access::kDone && told) return wrong("a user that knows of its crash stores on");
  if (outcome == Access::kDone) return;
  if (!actor.crashed)
    return wrong("a store is refused as a crashed user's, but nobody has crashed it");
  actor.told = true;
  ++exercise_.suppressed;
}

void Stage::load(Actor& actor, std::size_t word, bool committed) {
  actor.reading = word;
  actor.reads_committed = committed;
  actor.allowed.clear();
  std::uint64_t value = 0;
  const Access outcome = committed ? actor.thread.load_committed(0, 8 * word, &value, sizeof value)
                                   : actor.thread.load_as_compiled(0, 8 * word, value);
  actor.reading.reset();
  if (actor.crashed) return;
  ++exercise_.loads;
  exercise_.values.insert(value);
  if (outcome == Access::kCrashed)
    return wrong("a load is refused as a crashed user's, but nobody has crashed it");
  if (outcome == Access::kRefused)
    return wrong("a load is refused, status " + std::to_string(actor.thread.status));
  if (std::find(actor.allowed.begin(), actor.allowed.end(), value) == actor.allowed.end())
    wrong("a load of word " + std::to_string(word) + " gives " + std::to_string(value) +
          ", which it was not worth at any instant of the load");
}

void Stage::end(Actor& actor, bool keep) {
  actor.in_end = true;
  const vmsrs_status status = actor.thread.end(keep);
  actor.in_end = false;
  if (status == VMSRS_CRASHED) {
    if (!actor.crashed) wrong("a user that nobody has crashed cannot finish");
    const vmsrs_status collected = actor.thread.collect();
    if (collected != VMSRS_OK) wrong("a crashed user cannot be collected");
    if (actor.user) model_->collect(*actor.user);
    actor.user.reset();
    actor.crashed = false;
    if (keep) perform(actor, {Act::Kind::kBegin});
    return;
  }
  if (status != VMSRS_OK) return wrong("an end is refused, status " + std::to_string(status));
  if (actor.crashed) wrong("a crashed user finishes");
  actor.before_commit.clear();
  ++exercise_.commits;
  actor.user.reset();
  if (keep) take_user(actor);
}

void Stage::take_user(Actor& actor) {
  actor.user = model_->begin();
  actor.generation = server_.generation(actor.thread.slot);
  actor.crashed = actor.told = false;
}

void Stage::note_crash(Actor& actor) {
  if (!actor.user || actor.crashed) return;
  actor.crashed = true;
  model_->crash(*actor.user);
  note_readers();
}

// Whatever is read just now may also give what it is worth from now on.
void Stage::note_readers() {
  for (const auto& actor : actors_)
    if (!actor->allowed.empty()) note_reader(*actor);
}

void Stage::note_reader(Actor& actor) {
  if (!actor.reading) return;
  actor.allowed.push_back(truth(*actor.reading, actor.reads_committed));
  for (const auto& other : actors_) {
    if (!actor.reads_committed || other->before_commit.empty()) continue;
    std::uint64_t value;
    std::memcpy(&value, other->before_commit.data() + 8 * *actor.reading, sizeof value);
    actor.allowed.push_back(value);
  }
}

// The instant before the actor's next access, which nothing comes between.
void Stage::observe(Step step) {
  Actor& actor = *actors_[cast_[scheduler_.current()]];
  if (watch) watch(cast_[scheduler_.current()], step);
  switch (step) {
    case Step::S_mode:
      if (!play_.buffers_windows || actor.buffered) return;
      actor.buffered = true;
      server_.area(actor.thread.slot).window = 0;
      return;
    case Step::S_append:
    case Step::S_claim:
    case Step::S_mask:
    case Step::S_close:
      return flush(actor);
    case Step::S_data:
      flush(actor);
      if (actor.stores_left_before_fault == 1) {
        actor.stores_left_before_fault = 0;
        throw Fault{};
      }
      [[fallthrough]];
    case Step::TS_record:
      if (!actor.storing) return;
      if (actor.user && !actor.crashed)
        for (std::size_t i = 0; i < 8; ++i)
          model_->store(*actor.user, 8 * *actor.storing + i,
                        static_cast<std::uint8_t>(actor.value >> 8 * i));
      if (actor.stores_left_before_fault > 0) --actor.stores_left_before_fault;
      return note_readers();
    case Step::PUBLISH_mode:
      if (actor.crashing) note_crash(*actors_[*actor.crashing]);
      actor.crashing.reset();
      return;
    case Step::L_data:
      if (actor.allowed.empty()) note_reader(actor);
      return;
    case Step::C_freed:
      if (actor.allowed.empty()) note_reader(actor);
      return;
    case Step::APPLY_mirror:
    case Step::FREE_count:
    case Step::PUBLISH_cst:
      if (!actor.in_end || actor.crashed || !actor.before_commit.empty() || !actor.user) return;
      for (std::size_t i = 0; i < play_.bytes; ++i)
        actor.before_commit.push_back(model_->committed(i));
      model_->finish(*actor.user);
      return note_readers();
    default:
      return;
  }
}

// What was in the processor's buffer is in memory.
void Stage::flush(Actor& actor) {
  if (!actor.buffered) return;
  actor.buffered = false;
  server_.area(actor.thread.slot).window = 1;
}

std::uint64_t Stage::truth(std::size_t word, bool committed) const {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i)
    value |=
        std::uint64_t{committed ? model_->committed(8 * word + i) : model_->value(8 * word + i)}
        << 8 * i;
  return value;
}

std::uint64_t Stage::memory(std::size_t word) const {
  std::uint64_t value;
  std::memcpy(&value, server_.region(0) + 8 * word, sizeof value);
  return value;
}

std::uint64_t Stage::mirror(std::size_t word) const {
  std::uint64_t value;
  std::memcpy(&value, recovery::EngineProbe::ledger(0).regions[0].mirror + 8 * word, sizeof value);
  return value;
}

}  // namespace vmsrs::test
