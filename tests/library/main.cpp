// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE library
#define BOOST_TEST_DYN_LINK
#include <signal.h>

#include <boost/test/framework.hpp>
#include <boost/test/tree/observer.hpp>
#include <boost/test/unit_test.hpp>
#include <cstddef>

namespace {

// Boost gives a test case an alternate stack of the least size that the processor can do with, or
// none, and takes away whatever is there at its end. With --use_alt_stack=no this one is there.
class AlternateStack : public boost::unit_test::test_observer {
 public:
  AlternateStack() { boost::unit_test::framework::register_observer(*this); }
  ~AlternateStack() override { boost::unit_test::framework::deregister_observer(*this); }
  void test_unit_start(const boost::unit_test::test_unit&) override {
    stack_t stack{};
    stack.ss_sp = memory_;
    stack.ss_size = sizeof memory_;
    sigaltstack(&stack, nullptr);
  }

 private:
  static inline std::byte memory_[128 * 1024];
};

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(AlternateStack);

// Signals are the library's under a sanitizer, too. (The sanitizer looks for this name.)
extern "C" const char* __asan_default_options() {
  return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0:"
         "use_sigaltstack=0";
}
