// SPDX-License-Identifier: Apache-2.0
#include "effects.hpp"

#include <errno.h>
#include <sys/mman.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <utility>

#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "suppression.hpp"
#include "thread.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::size_t kFirstBytes = VMSRS_PAGE_BYTES;

// Keyed, and each by its place: a user that writes over them cannot make others of them.
std::uint64_t sum_of(const Effect& effect, std::uint64_t place) {
  const std::uint64_t key = control().seal_key;
  std::uint64_t sum = place + 1;
  for (const std::uint64_t word :
       {reinterpret_cast<std::uint64_t>(effect.settle), effect.first, effect.second}) {
    sum = (sum ^ word ^ key) * VMSRS_TAG_BODY_FACTOR;
    sum ^= sum >> 29;
  }
  return sum;
}

std::size_t capacity_of(const EffectLog& log) { return log.bytes / sizeof(Effect); }

bool grow(EffectLog& log) {
  const std::size_t bytes = log.bytes != 0 ? 2 * log.bytes : kFirstBytes;
  void* const at = log.effects != nullptr ? mremap(log.effects, log.bytes, bytes, MREMAP_MAYMOVE)
                                          : mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return false;
  log.effects = static_cast<Effect*>(at);
  log.bytes = bytes;
  return true;
}

void unmap(const EffectLog& log) {
  if (log.effects != nullptr) munmap(log.effects, log.bytes);
}

bool holds(const EffectLog& log) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < log.count; ++i) sum += sum_of(log.effects[i], i);
  return sum == log.sum;
}

}  // namespace

bool add_effect(const Effect& effect) {
  ThreadContext& context = thread_context();
  if (!seal_holds(context)) return false;
  EffectLog log = context.effects;
  if (log.count >= capacity_of(log) && !grow(log)) return false;
  log.effects[log.count] = effect;
  log.sum += sum_of(effect, log.count);
  ++log.count;
  context.effects = log;
  seal(context);
  return true;
}

bool effects_hold() {
  const ThreadContext& context = thread_context();
  return context.effects.count == 0 || (seal_holds(context) && holds(context.effects));
}

// What is carried out may open scopes, and add effects to them: the thread has another log then.
void settle_effects(Ending ending) {
  ThreadContext& context = thread_context();
  if (context.effects.count == 0 || !seal_holds(context)) return;
  EffectLog log = std::exchange(context.effects, {});
  seal(context);
  if (holds(log))
    for (std::uint64_t i = 0; i < log.count; ++i)
      log.effects[i].settle(ending, log.effects[i].first, log.effects[i].second);
  if (context.effects.effects != nullptr || log.bytes > kFirstBytes || !seal_holds(context))
    return unmap(log);
  log.count = log.sum = 0;
  context.effects = log;
  seal(context);
}

void drop_effects() {
  ThreadContext& context = thread_context();
  if (context.effects.count == 0 || !seal_holds(context)) return;
  context.effects.count = context.effects.sum = 0;
  seal(context);
}

void free_effects() {
  ThreadContext& context = thread_context();
  if (!seal_holds(context)) return;
  unmap(std::exchange(context.effects, {}));
  seal(context);
}

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

namespace {

template <Ending kWanted>
void call_if(Ending ending, std::uint64_t function, std::uint64_t argument) {
  if (ending == kWanted)
    reinterpret_cast<void (*)(void*)>(function)(reinterpret_cast<void*>(argument));
}

template <Ending kWanted>
int add_call(const char* name, void (*function)(void*), void* argument) {
  if (function == nullptr) return fail(VMSRS_ERROR_ARGUMENT, "%s: the function is NULL", name);
  const Effect effect = {call_if<kWanted>, reinterpret_cast<std::uint64_t>(function),
                         to_register(argument)};
  if (!scope_is_open()) {
    effect.settle(Ending::kFinished, effect.first, effect.second);
    return 0;
  }
  if (add_effect(effect)) return 0;
  return fail(VMSRS_ERROR_SYSTEM, "%s: no memory for it", name);
}

}  // namespace

int vmsrs_defer(void (*effect)(void*), void* argument) {
  return add_call<Ending::kFinished>("vmsrs_defer", effect, argument);
}

int vmsrs_on_collected(void (*callback)(void*), void* argument) {
  return add_call<Ending::kTakenBack>("vmsrs_on_collected", callback, argument);
}
