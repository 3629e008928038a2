/* SPDX-License-Identifier: Apache-2.0
 *
 * Put before the sources that by_hand.py has placed calls in (-include): what these announce. They
 * name memcached's own types and variables, so each fits where by_hand.py puts it.
 */
#ifndef BY_HAND_H_
#define BY_HAND_H_

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* These bytes, if they are the region's, are the calling user's from here to its end. If they
 * cannot be, the user fails. Does not return then. */
void guard_stores(const void* at, size_t bytes);
/* Has the calling thread's user so many granules that not much more than a new slab page, of
 * 16,384, fits into its write set? */
bool guard_has_many(void);
/* The calling thread is a user between these, if it was none. */
int guard_lock(pthread_mutex_t* lock);
int guard_unlock(pthread_mutex_t* lock);
extern pthread_mutex_t guard_alone;
#define BY_HAND_BEGIN guard_lock(&guard_alone)
#define BY_HAND_END guard_unlock(&guard_alone)

#define BY_HAND(object) guard_stores(&(object), sizeof(object))

/* What comes behind a large part of a value is read in an event of its own. */
#define BY_HAND_READ(bytes)               \
  do {                                    \
    if (guard_has_many()) {               \
      errno = EAGAIN;                     \
      return -1;                          \
    }                                     \
    if ((bytes) > 65536) (bytes) = 65536; \
  } while (0)

/* Its head, and the number for CAS behind it. */
#define BY_HAND_ITEM(item) guard_stores(item, sizeof *(item) + sizeof(uint64_t))
/* Its head, its key, and a value that is short. Longer ones are copied to it by calls. */
#define BY_HAND_NEW_ITEM(item, bytes) guard_stores(item, (bytes) < 512 ? (bytes) : 512)
/* The head of one of the pieces that a large item has. */
#define BY_HAND_CHUNK(chunk) guard_stores(chunk, sizeof *(chunk))

/* The first free chunk of a slab class changes. */
#define BY_HAND_SLOTS(slab)                                               \
  do {                                                                    \
    BY_HAND(slab);                                                        \
    if ((slab).slots != NULL) BY_HAND(((const item*)(slab).slots)->prev); \
  } while (0)

/* Of a list: what leads to an item in the middle of it, and to its ends. */
#define BY_HAND_NEIGHBOURS(item)                           \
  do {                                                     \
    if ((item)->next != NULL) BY_HAND((item)->next->prev); \
    if ((item)->prev != NULL) BY_HAND((item)->prev->next); \
  } while (0)
#define BY_HAND_ENDS(id) \
  do {                   \
    BY_HAND(heads[id]);  \
    BY_HAND(tails[id]);  \
  } while (0)
#define BY_HAND_COUNTS(id)    \
  do {                        \
    BY_HAND(sizes[id]);       \
    BY_HAND(sizes_bytes[id]); \
  } while (0)
/* From its prev to its next and those of its neighbours: all that moving it one place changes. */
#define BY_HAND_LINKS(item)                                                                    \
  do {                                                                                         \
    BY_HAND((item)->next);                                                                     \
    BY_HAND((item)->prev);                                                                     \
    BY_HAND_NEIGHBOURS(item);                                                                  \
    if ((item)->prev != NULL) BY_HAND((item)->prev->prev);                                     \
    if ((item)->prev != NULL && (item)->prev->prev != NULL) BY_HAND((item)->prev->prev->next); \
  } while (0)

#endif /* BY_HAND_H_ */
