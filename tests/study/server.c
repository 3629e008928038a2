// SPDX-License-Identifier: Apache-2.0
// A server whose users' accesses are known one by one: a request is a byte, and what it does stands
// in `serve`. It makes its own system calls, so that no memory of the C library's is touched. What
// lies on pages of its own is shared by what the tests have users do, and by nothing else.
//
// usage: server PORT
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { kWords = 512, kMostConnections = 8, kBlockBytes = 64, kBigBytes = 300000 };

struct Page {
  volatile uint64_t words[kWords];
} __attribute__((aligned(4096)));

struct Page source, copies, table, looked_up, shared_word, read_only, split_page, private_pages[2];

static inline long call(long number, long a, const volatile void* b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = 0;
  register long r9 __asm__("r9") = 0;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

struct Blocks {
  volatile uint64_t* copy;
  volatile uint64_t* cache;
  volatile uint64_t* notes;
};

__attribute__((noinline)) static volatile uint64_t* make_copy(void) { return malloc(kBlockBytes); }
__attribute__((noinline)) static volatile uint64_t* make_cache(void) {
  return calloc(1, kBlockBytes);
}
__attribute__((noinline)) static volatile uint64_t* make_notes(void) {
  return aligned_alloc(kBlockBytes, kBlockBytes);
}

__attribute__((noinline)) static void serve(int connection, char request, struct Blocks* blocks) {
  volatile uint64_t answer = 0;
  const volatile void* from = &answer;
  long bytes = 1;
  switch (request) {
    case 's':  // the value that the tests corrupt
      source.words[0] = 5;
      break;
    case 'c': {
      const uint64_t value = source.words[0];
      copies.words[0] = value;
      copies.words[1] = value;
      copies.words[2] = value;
      break;
    }
    case 'a':  // a value that is computed
      copies.words[3] = source.words[0] * 3 + 1;
      break;
    case 'p':  // a value that is looked up
      looked_up.words[0] = table.words[source.words[0] & 7];
      break;
    case 'b':
      if (source.words[0] == 5) copies.words[4] = 1;
      break;
    case 'h':  // behind what the allocator writes to a block that is free
      blocks->copy[3] = source.words[0];
      break;
    case 'r':
      blocks->copy = realloc((void*)blocks->copy, kBigBytes);
      break;
    case 'm':
      blocks->copy = make_copy();
      break;
    case 'f':
      free((void*)blocks->copy);
      blocks->copy = NULL;
      break;
    case 't': {  // on the stack, and gone with it
      volatile uint64_t local[kWords / 8] = {0};
      local[0] = source.words[0];
      answer = local[1 + (answer & 7)] & 0;
      break;
    }
    case 'x':
      source.words[0] = 0;
      for (int i = 0; i < 5; ++i) copies.words[i] = 0;
      break;
    case 'z':
      looked_up.words[0] = 0;
      break;
    case 'o':  // to the client, by the kernel
      from = source.words;
      bytes = sizeof source.words[0];
      break;
    case 'i':  // from the client, by the kernel
      call(SYS_read, connection, source.words, sizeof source.words[0], 0);
      break;
    case 'g':
      answer = shared_word.words[0] + read_only.words[0];
      break;
    case 'w':
      shared_word.words[0] = 1;
      break;
    case '0':
    case '1':
      private_pages[request - '0'].words[0] = 1;
      break;
    case '2':  // words of one page, not of one line
    case '3':
      split_page.words[8 * (request - '2')] = 1;
      break;
    case 'k':
      blocks->cache[0] += 1;
      break;
    case 'n':
      blocks->notes[0] += 1;
      break;
    default:
      break;
  }
  call(SYS_write, connection, from, bytes, 0);
}

int main(int argument_count, char** arguments) {
  if (argument_count != 2) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)atoi(arguments[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 8) != 0)
    return 1;
  struct Blocks blocks = {make_copy(), make_cache(), make_notes()};
  blocks.notes[0] = 0;
  struct pollfd waiting[1 + kMostConnections] = {{.fd = listener, .events = POLLIN}};
  int connections = 0;
  for (;;) {
    call(SYS_poll, (long)waiting, (void*)(long)(1 + connections), -1, 0);
    for (int i = 1; i <= connections; ++i) {
      char request;
      if (waiting[i].revents == 0) continue;
      if (call(SYS_read, waiting[i].fd, &request, 1, 0) == 1)
        serve(waiting[i].fd, request, &blocks);
      else
        waiting[i].fd = -1;
    }
    if ((waiting[0].revents & POLLIN) != 0 && connections < kMostConnections) {
      waiting[++connections] =
          (struct pollfd){.fd = (int)call(SYS_accept, listener, NULL, 0, 0), .events = POLLIN};
    }
  }
}
