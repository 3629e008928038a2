// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Log lines. They go to QEMU's debug console (port 0xe9) where there is one; `say` and `stop` also
// go to the first serial port: at boot, before Linux owns it, and when the machine ends. At boot to
// the screen too.
// Any CPU at any time; a line is never mixed with another CPU's.
namespace vmsrs::console {

struct Hex {
  std::uint64_t value;
};

class Line {
 public:
  void put(char c) {
    if (length_ + 1 < sizeof(text_)) text_[length_++] = c;
  }
  void add(const char* text);
  void add(char* text) { add(static_cast<const char*>(text)); }
  void add(std::uint64_t number);
  void add(std::uint32_t number) { add(std::uint64_t{number}); }
  void add(Hex number);
  const char* text() const { return text_; }
  std::size_t length() const { return length_; }

 private:
  char text_[400] = {};
  std::size_t length_ = 0;
};

void console_initialise();
void emit(const Line& line, bool serial_too);
// Shows a line; nullptr from the moment on that Linux owns the screen.
void set_screen(void (*show_line)(const char* text, std::size_t length));
// What `stop` does, once, instead of ending the machine. `problem` ends with a NUL.
void set_fallback(void (*fallback)(const char* problem));
[[noreturn]] void give_up(const char* problem);
// Ends the machine: all other CPUs stop, then isa-debug-exit if the command line named one, else
// halt.
[[noreturn]] void end_machine();
void set_debug_exit_port(std::uint16_t port);
// Called by end_machine, so that nobody runs on: set once there are other CPUs.
void set_stop_others(void (*stop_others)());

template <class... Parts>
void log(Parts... parts) {
  Line line;
  line.add("vmsrs: ");
  (line.add(parts), ...);
  emit(line, false);
}
template <class... Parts>
void say(Parts... parts) {
  Line line;
  line.add("vmsrs: ");
  (line.add(parts), ...);
  emit(line, true);
}
template <class... Parts>
[[noreturn]] void stop(Parts... parts) {
  Line line;
  constexpr const char* kPrefix = "vmsrs: error: ";
  line.add(kPrefix);
  (line.add(parts), ...);
  emit(line, true);
  give_up(line.text() + __builtin_strlen(kPrefix));
}

}  // namespace vmsrs::console
