/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of the shop that has nothing to do with VMSRS, C11 and C++20: a thread for each client
 * of a unix socket, who sends the numbers of the books that it buys, a line each.
 */
#ifndef CLIENTS_H_
#define CLIENTS_H_

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef void buy_function(uint64_t book, int client);
static buy_function* buy_for_client;

static void* serve_client(void* argument) {
  const int client = (int)(intptr_t)argument;
  FILE* const requests = fdopen(client, "r");
  unsigned long book;
  while (fscanf(requests, "%lu", &book) == 1) buy_for_client(book, client);
  fclose(requests);
  return NULL;
}

/* Does not return unless the socket cannot be made: then 1. */
static int serve_clients(const char* socket_path, buy_function* buy) {
  struct sockaddr_un address;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, socket_path, sizeof address.sun_path - 1);
  buy_for_client = buy;
  signal(SIGPIPE, SIG_IGN); /* a client that has gone is told nothing */
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  unlink(socket_path);
  if (bind(listener, (const struct sockaddr*)&address, sizeof address) != 0 ||
      listen(listener, 16) != 0)
    return 1;
  for (;;) {
    pthread_t thread;
    const int client = accept(listener, NULL, NULL);
    if (pthread_create(&thread, NULL, serve_client, (void*)(intptr_t)client) == 0)
      pthread_detach(thread);
    else
      close(client);
  }
}

#endif /* CLIENTS_H_ */
