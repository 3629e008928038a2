// SPDX-License-Identifier: Apache-2.0
#include "svm/console.hpp"

#include <atomic>

#include "svm/log_ring.hpp"
#include "svm/processor.hpp"
#include "svm/spin_lock.hpp"
#include "svm/x86.hpp"

namespace vmsrs::console {
namespace {

constexpr std::uint16_t kDebugConsole = 0xe9;
constexpr std::uint16_t kSerial = 0x3f8;
constexpr std::uint8_t kSerialTransmitEmpty = 0x20;

constinit svm::SpinLock line_lock;
constinit svm::LogRing ring;
constinit bool has_debug_console = false;
constinit bool has_serial = false;
constinit std::uint16_t debug_exit_port = 0;
using StopOthers = void (*)();
constinit StopOthers stop_other_cpus = nullptr;
using ShowLine = void (*)(const char*, std::size_t);
constinit ShowLine screen = nullptr;
using Fallback = void (*)(const char*);
constinit Fallback fallback = nullptr;

void serial_put(char c) {
  // Bounded: a port that never empties must not hold the machine.
  for (int i = 0; i < 100000; ++i) {
    if ((x86::in8(kSerial + 5) & kSerialTransmitEmpty) != 0) break;
  }
  x86::out8(kSerial, static_cast<std::uint8_t>(c));
}

// 0 before there are others.
std::uint32_t this_cpu() {
  const svm::Processor* const self = svm::processors.find(x86::cpuid(1).ebx >> 24);
  return self != nullptr ? self->index : 0;
}

}  // namespace

void Line::add(const char* text) {
  for (; *text != '\0'; ++text) put(*text);
}

void Line::add(std::uint64_t number) {
  char digits[20];
  int count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  while (count > 0) put(digits[--count]);
}

void Line::add(Hex number) {
  add("0x");
  int shift = 60;
  while (shift > 0 && ((number.value >> shift) & 15) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) put("0123456789abcdef"[(number.value >> shift) & 15]);
}

void console_initialise() {
  has_debug_console = x86::in8(kDebugConsole) == kDebugConsole;  // QEMU reads back the port number
  x86::out8(kSerial + 7, 0x5a);
  has_serial = x86::in8(kSerial + 7) == 0x5a;
}

void emit(const Line& line, vmsrs_log_level level, bool serial_too) {
  constexpr std::size_t kOurName = sizeof "vmsrs: " - 1;  // told by who reads the ring
  const std::uint32_t cpu = this_cpu();
  line_lock.lock();
  ring.add(level, cpu, x86::read_tsc(), line.text() + kOurName, line.length() - kOurName);
  if (serial_too && screen != nullptr) screen(line.text(), line.length());
  for (std::size_t i = 0; i < line.length(); ++i) {
    if (has_debug_console) x86::out8(kDebugConsole, static_cast<std::uint8_t>(line.text()[i]));
    if (serial_too && has_serial) serial_put(line.text()[i]);
  }
  if (has_debug_console) x86::out8(kDebugConsole, '\n');
  if (serial_too && has_serial) {
    serial_put('\r');
    serial_put('\n');
  }
  line_lock.unlock();
}

void seize_lines() { line_lock.unlock(); }

bool read_log(std::uint64_t& sequence, vmsrs_log_line& line) {
  line_lock.lock();
  if (sequence < ring.oldest()) sequence = ring.oldest();
  const bool found = ring.read(sequence, line);
  line_lock.unlock();
  return found;
}

std::uint64_t last_line() {
  line_lock.lock();
  const std::uint64_t number = ring.newest();
  line_lock.unlock();
  return number;
}

bool may_log_guest() {
  constexpr std::uint32_t kMost = 100;
  static constinit std::atomic<std::uint32_t> count{0};
  return count.load(std::memory_order_relaxed) < kMost &&
         count.fetch_add(1, std::memory_order_relaxed) < kMost;
}

void set_debug_exit_port(std::uint16_t port) { debug_exit_port = port; }
void set_screen(ShowLine show_line) { screen = show_line; }
void set_fallback(Fallback to) { fallback = to; }

void give_up(const char* problem) {
  const Fallback instead = fallback;
  fallback = nullptr;
  if (instead != nullptr) instead(problem);
  end_machine();
}

void set_stop_others(void (*stop_others)()) { stop_other_cpus = stop_others; }

void end_machine() {
  if (stop_other_cpus != nullptr) stop_other_cpus();
  // isa-debug-exit ends QEMU with status (value << 1) | 1.
  if (debug_exit_port != 0) x86::out32(debug_exit_port, 0x7f);
  x86::halt_for_ever();
}

}  // namespace vmsrs::console
