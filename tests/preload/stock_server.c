/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that knows nothing of VMSRS: a table of notes, in three styles.
 *
 * usage: stock_server threads|epoll|libevent
 *
 * Prints its port, then answers lines:
 *   put N TEXT       writes a note                      -> done
 *   get N            what is there                      -> the note
 *   bad KIND N TEXT  writes a note, and makes an error  -> done, if it comes to that
 *   fork             a child of fork writes over note 0, and tells -> what it sees, its end
 *   quit             the server's orderly end
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kNotes = 4096, kNoteBytes = 64, kLineBytes = 256 };

static char (*notes)[kNoteBytes];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long orders; /* plain memory, which no region has */

static volatile int zero;
static int* volatile nowhere = (int*)0x123456789000;
static void (*volatile no_function)(void);

static int overflow(int depth) {
  volatile char frame[4096];
  frame[0] = (char)depth;
  return depth < 0 ? 0 : overflow(depth + 1) + frame[0];
}

static void err(const char* kind, long note) {
  if (strcmp(kind, "wild") == 0) *nowhere = 1;
  if (strcmp(kind, "null") == 0) *(int* volatile)(long)zero = 1;
  if (strcmp(kind, "divide") == 0) zero = 12345 / zero;
  if (strcmp(kind, "abort") == 0) abort();
  if (strcmp(kind, "jump") == 0) no_function();
  if (strcmp(kind, "overflow") == 0) overflow(1);
  if (strcmp(kind, "spin") == 0)
    while (zero == 0) *nowhere = 1;
  if (strcmp(kind, "late") == 0) { /* and goes on, as if nothing was */
    *nowhere = 1;
    snprintf(notes[note], kNoteBytes, "late by %s", kind);
  }
  if (strcmp(kind, "scribble") == 0) { /* over somebody else's note, plainly */
    *(volatile char*)notes[(note + 1) % kNotes] = '?';
    *nowhere = 1;
  }
}

static void put(long note, const char* text) {
  const size_t bytes = strlen(text) + 1;
  if (text[0] == '#' && bytes <= kNoteBytes) /* by another function */
    memcpy(notes[note], text, bytes);
  else if (text[0] == '!') /* by none */
    notes[note][0] = text[1];
  else
    snprintf(notes[note], kNoteBytes, "%s", text);
  ++orders;
}

/* A child has a copy of all that its parent has. */
static void ask_child(char* answer, size_t bytes) {
  char told[kLineBytes];
  int pipes[2];
  if (pipe(pipes) != 0) exit(1);
  const pid_t child = fork();
  if (child == 0) {
    memcpy(notes[0], "the child's", sizeof "the child's");
    notes[0][0] = 'T';
    notes = realloc(notes, 2 * kNotes * kNoteBytes);
    if (notes == NULL) _exit(3);
    const int length = snprintf(told, sizeof told, "%s", notes[0]);
    if (write(pipes[1], told, (size_t)length) != length) _exit(2);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  close(pipes[1]);
  const ssize_t length = read(pipes[0], told, sizeof told - 1);
  close(pipes[0]);
  told[length > 0 ? length : 0] = 0;
  snprintf(answer, bytes, "%s, %d", told, status);
}

static void handle(const char* line, char* answer, size_t bytes) {
  char kind[16], text[kLineBytes] = "";
  long note = 0;
  if (sscanf(line, "put %ld %255[^\n]", &note, text) >= 1) {
    pthread_mutex_lock(&lock);
    put(note % kNotes, text);
    pthread_mutex_unlock(&lock);
    snprintf(answer, bytes, "done\n");
  } else if (sscanf(line, "get %ld", &note) == 1) {
    pthread_mutex_lock(&lock);
    snprintf(answer, bytes, "%s\n", notes[note % kNotes]);
    pthread_mutex_unlock(&lock);
  } else if (sscanf(line, "bad %15s %ld %255[^\n]", kind, &note, text) >= 2) {
    pthread_mutex_lock(&lock);
    put(note % kNotes, text);
    err(kind, note % kNotes);
    pthread_mutex_unlock(&lock);
    snprintf(answer, bytes, "done\n");
  } else if (strncmp(line, "fork", 4) == 0) {
    ask_child(answer, bytes - 1);
    strcat(answer, "\n");
  } else if (strncmp(line, "quit", 4) == 0) {
    notes = realloc(notes, kNoteBytes);
    free(notes);
    exit(notes != NULL ? 0 : 1);
  } else {
    snprintf(answer, bytes, "what?\n");
  }
}

/* One read, one answer. False: the client has gone. */
static int serve_once(int client) {
  char line[kLineBytes], answer[2 * kLineBytes];
  const ssize_t length = read(client, line, sizeof line - 1);
  if (length < 0 && errno == EAGAIN) return 1;
  if (length <= 0) return 0;
  line[length] = 0;
  handle(line, answer, sizeof answer);
  return write(client, answer, strlen(answer)) > 0;
}

static void* serve(void* argument) {
  const int client = (int)(long)argument;
  while (serve_once(client)) {
  }
  close(client);
  pthread_exit(NULL);
}

static void run_threads(int listener) {
  for (;;) {
    pthread_t thread;
    const int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    if (pthread_create(&thread, NULL, serve, (void*)(long)client) == 0) pthread_detach(thread);
  }
}

static void run_epoll(int listener) {
  const int poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    const int count = epoll_wait(poller, &event, 1, -1);
    if (count != 1) continue;
    if (event.data.fd == listener) {
      event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
      event.events = EPOLLIN;
      if (event.data.fd >= 0) epoll_ctl(poller, EPOLL_CTL_ADD, event.data.fd, &event);
    } else if (!serve_once(event.data.fd)) {
      close(event.data.fd);
    }
  }
}

struct Client {
  struct event* event;
};

static void on_input(evutil_socket_t client, short what, void* argument) {
  struct Client* const self = argument;
  (void)what;
  if (serve_once(client)) return;
  event_free(self->event);
  free(self);
  close(client);
}

static void on_connection(evutil_socket_t listener, short what, void* base) {
  (void)what;
  const int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  if (client < 0) return;
  struct Client* const self = malloc(sizeof *self);
  self->event = event_new(base, client, EV_READ | EV_PERSIST, on_input, self);
  event_add(self->event, NULL);
}

static void run_libevent(int listener) {
  struct event_base* const base = event_base_new();
  event_add(event_new(base, listener, EV_READ | EV_PERSIST, on_connection, base), NULL);
  event_base_dispatch(base);
}

int main(int argc, char** argv) {
  const char* const style = argc == 2 ? argv[1] : "";
  for (int descriptor = 3; descriptor < 1024; ++descriptor) close(descriptor); /* as daemons do */
  closefrom(3);
  notes = calloc(kNotes, kNoteBytes);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof address;
  if (notes == NULL || bind(listener, (struct sockaddr*)&address, bytes) != 0 ||
      listen(listener, 64) != 0 || getsockname(listener, (struct sockaddr*)&address, &bytes) != 0)
    return 1;
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  if (strcmp(style, "threads") == 0) run_threads(listener);
  if (strcmp(style, "epoll") == 0) run_epoll(listener);
  if (strcmp(style, "libevent") == 0) run_libevent(listener);
  return 2;
}
