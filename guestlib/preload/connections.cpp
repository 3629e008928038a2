// SPDX-License-Identifier: Apache-2.0
#include "connections.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.hpp"

namespace vmsrs::preload {
namespace {

constexpr int kMostDescriptors = 1 << 16;
constexpr std::uint32_t kListening = ~0u;

constinit std::uint32_t numbers[kMostDescriptors]{};  // kListening; 0: nothing is known of it
constinit std::uint32_t last_number = 0;
constinit int dead_socket = -1;

void set(int descriptor, std::uint32_t number) {
  if (descriptor < 0 || descriptor >= kMostDescriptors) return;
  __atomic_store_n(&numbers[descriptor], number, __ATOMIC_RELAXED);
}
std::uint32_t get(int descriptor) {
  if (descriptor < 0 || descriptor >= kMostDescriptors) return 0;
  return __atomic_load_n(&numbers[descriptor], __ATOMIC_RELAXED);
}

}  // namespace

bool make_dead_socket() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return false;
  shutdown(pair[0], SHUT_RDWR);
  close(pair[1]);
  dead_socket = pair[0];
  return true;
}

void note_accepted(int descriptor) {
  std::uint32_t number = 0;
  do number = __atomic_add_fetch(&last_number, 1, __ATOMIC_RELAXED);
  while (number == 0 || number == kListening);
  set(descriptor, number);
}
void note_listening(int descriptor) { set(descriptor, kListening); }
// A child of vfork closes its own, in its parent's memory.
void forget_connection(int descriptor) {
  if (get(descriptor) == 0) return;
  if (guest::attached_window() != nullptr && guest::control().process != getpid()) return;
  set(descriptor, 0);
}

std::uint32_t connection_number(int descriptor) {
  const std::uint32_t number = get(descriptor);
  return number != kListening ? number : 0;
}
bool is_input_of_users(int descriptor) { return get(descriptor) != 0; }

void end_connection(int descriptor) {
  if (dead_socket < 0) return;
  shutdown(descriptor, SHUT_RDWR);
  const int flags = fcntl(descriptor, F_GETFD);
  dup3(dead_socket, descriptor, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
}

// A child's are its parent's, and no use to it.
int first_of_library(unsigned first, unsigned last) {
  if (guest::attached_window() == nullptr || guest::control().process != getpid()) return -1;
  int lowest = -1;
  const auto look_at = [&](int descriptor) {
    const auto number = static_cast<unsigned>(descriptor);
    if (descriptor >= 0 && number >= first && number <= last && (lowest < 0 || descriptor < lowest))
      lowest = descriptor;
  };
  look_at(dead_socket);
  for (const int platforms : guest::control().platform_descriptors) look_at(platforms);
  return lowest;
}

bool is_librarys(int descriptor) {
  bool may_be = descriptor == dead_socket;
  for (const int platforms : guest::control().platform_descriptors)
    may_be = may_be || descriptor == platforms;
  const auto number = static_cast<unsigned>(descriptor);
  return descriptor >= 0 && may_be && first_of_library(number, number) == descriptor;
}

}  // namespace vmsrs::preload
