// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cxxabi.h>
#include <vmsrs/vmsrs.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vmsrs/fast.hpp>

// Class 5 of the library: a user from its begin to its end, and reads that belong together.
namespace vmsrs {

namespace detail {
// An exception that nobody in the body catches is its user's crash, as abort() is. The end of the
// thread (pthread_exit, cancellation) goes on: the library ends the scope on its way.
template <typename Body>
void call_body(void* body) {
#if defined(__cpp_exceptions)
  try {
    (*static_cast<Body*>(body))();
#if defined(__GLIBCXX__)
  } catch (abi::__forced_unwind&) {
    throw;
#endif
  } catch (...) {
    crash_suppression_os(VMSRS_FAULT_ABORT, nullptr);
  }
#else
  (*static_cast<Body*>(body))();
#endif
}

template <typename Body, typename OnCrash>
int run(decltype(vmsrs_run_user) run_scope, std::uint64_t label, Body& body, OnCrash& on_crash) {
  return run_scope(
      label, call_body<std::remove_reference_t<Body>>, std::addressof(body),
      [](void* p) { (*static_cast<OnCrash*>(p))(); }, std::addressof(on_crash));
}
}  // namespace detail

// Runs body() as one user; on_crash() runs in the fault handler (see vmsrs_run_user).
template <typename Body, typename OnCrash>
int run_user(std::uint64_t label, Body&& body, OnCrash&& on_crash) {
  return detail::run(vmsrs_run_user, label, body, on_crash);
}
template <typename Body>
int run_user(std::uint64_t label, Body&& body) {
  auto nobody = [] {};
  return detail::run(vmsrs_run_user, label, body, nobody);
}

// The same for a user that only reads, and only committed values (see vmsrs_run_reader).
template <typename Body, typename OnCrash>
int run_reader(std::uint64_t label, Body&& body, OnCrash&& on_crash) {
  return detail::run(vmsrs_run_reader, label, body, on_crash);
}

// The suspended user of that number goes on in body() (see vmsrs_run_resumed).
template <typename Body, typename OnCrash>
int run_resumed(std::uint64_t user, Body&& body, OnCrash&& on_crash) {
  return detail::run(vmsrs_run_resumed, user, body, on_crash);
}

// A user for as long as this object lives, on the thread that made it: vmsrs_user_begin and
// vmsrs_user_end. It has no point to be unwound to: where that can be needed, use run_user.
class User {
 public:
  explicit User(std::uint64_t label = 0) : error_(vmsrs_user_begin(label)) {}
  ~User() { end(); }
  User(const User&) = delete;
  User& operator=(const User&) = delete;

  // 0, or the vmsrs_error for which there is no user.
  int error() const { return error_; }
  // Ends it before its time: a vmsrs_outcome or a vmsrs_error. Once.
  int end() {
    if (error_ != 0 || ended_) return error_ != 0 ? error_ : VMSRS_ERROR_STATE;
    ended_ = true;
    return vmsrs_user_end();
  }

 private:
  int error_;
  bool ended_ = false;
};

// body(); false if the thread's user crashed in it (see vmsrs_rescue).
template <typename Body>
requires std::is_void_v<std::invoke_result_t<Body&>>
bool rescue(Body&& body) {
  constexpr int kCrashed = -1;
  return vmsrs_rescue(
             [](void* p) {
               (*static_cast<std::remove_reference_t<Body>*>(p))();
               return 0;
             },
             std::addressof(body), kCrashed) != kCrashed;
}

// What body() returns, or `error` if the thread's user crashed in it.
template <typename Error, typename Body>
auto rescue(Error&& error, Body&& body) -> std::decay_t<std::invoke_result_t<Body&>> {
  std::optional<std::decay_t<std::invoke_result_t<Body&>>> result;
  if (rescue([&] { result.emplace(body()); })) return *std::move(result);
  return std::forward<Error>(error);
}

// What lists show of the calling thread's user (see vmsrs_user_label).
inline int label_user(std::string_view label) {
  return vmsrs_user_label(label.data(), label.size());
}

// Loads that belong together. read() is called, and called again whenever somebody has crashed or
// was collected meanwhile: what the last call loaded is all from before a crash, or all from after
// it. It loads through the library, stores nothing shared, and leaves nothing behind of an earlier
// call. That others finish meanwhile is another matter: that is what the program's locks are for.
template <typename Read>
auto read_whole(Read&& read) -> decltype(read()) {
  for (;;) {
    const std::uint64_t began = vmsrs_read_begin();
    if constexpr (std::is_void_v<decltype(read())>) {
      read();
      if (vmsrs_read_was_whole(began)) return;
    } else {
      auto result = read();
      if (vmsrs_read_was_whole(began)) return result;
    }
  }
}

}  // namespace vmsrs
