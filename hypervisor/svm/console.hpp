// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstddef>
#include <cstdint>

// Log lines. They are kept in hidden memory (MGMT_LOG) and go to QEMU's debug console (port 0xe9)
// where there is one; all but `log` also go to the first serial port: at boot, before Linux owns
// it, and when the machine ends; at boot to the screen too. Any CPU at any time; a line is never
// mixed with another CPU's.
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
void emit(const Line& line, vmsrs_log_level level, bool serial_too);
// A kept line, its `time_ns` still the processor's counter; `sequence` becomes that of the oldest
// one if that is later. False: there is none yet.
bool read_log(std::uint64_t& sequence, vmsrs_log_line& line);
// The number of the last kept line.
std::uint64_t last_line();
// Shows a line; nullptr from the moment on that Linux owns the screen.
void set_screen(void (*show_line)(const char* text, std::size_t length));
// What `stop` does, once, instead of ending the machine. `problem` ends with a NUL.
void set_fallback(void (*fallback)(const char* problem));
// For the last words of a CPU that has faulted, perhaps in the middle of a line: whoever writes one
// no longer keeps others from it.
void seize_lines();
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
  emit(line, VMSRS_LOG_INFO, false);
}
// About what the guest does, and could do for ever: the first hundred lines.
bool may_log_guest();
template <class... Parts>
void log_guest(Parts... parts) {
  if (may_log_guest()) log(parts...);
}
template <class... Parts>
void say(Parts... parts) {
  Line line;
  line.add("vmsrs: ");
  (line.add(parts), ...);
  emit(line, VMSRS_LOG_INFO, true);
}
template <class... Parts>
void warn(Parts... parts) {
  Line line;
  line.add("vmsrs: warning: ");
  (line.add(parts), ...);
  emit(line, VMSRS_LOG_WARNING, true);
}
// The machine cannot go on as it is; the caller says what comes of it. Returns the line.
constexpr const char* kErrorPrefix = "vmsrs: error: ";
template <class... Parts>
Line complain(Parts... parts) {
  Line line;
  line.add(kErrorPrefix);
  (line.add(parts), ...);
  emit(line, VMSRS_LOG_ERROR, true);
  return line;
}
template <class... Parts>
[[noreturn]] void stop(Parts... parts) {
  const Line line = complain(parts...);
  give_up(line.text() + __builtin_strlen(kErrorPrefix));
}

}  // namespace vmsrs::console
