/* SPDX-License-Identifier: Apache-2.0
 *
 * Put before each source of memcached (-include) that is to be protected: tells guard.c of the
 * locks that shared data is under.
 */
#ifndef GUARD_H_
#define GUARD_H_

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

/* Locks of shared data. The first one that a request takes makes it the one at work, up to its end;
 * a thread without a request is a user from its first such lock to its last, and one that tidies up
 * for some of these together, until it sleeps or somebody else wants to work. */
int guard_lock(pthread_mutex_t* lock);
int guard_trylock(pthread_mutex_t* lock);
int guard_unlock(pthread_mutex_t* lock);
/* Before the calling thread waits for something else; if it sleeps, it is one that tidies up. */
void guard_wait(void);
void guard_sleep(void);

/* By what stands between the parentheses. What memcached holds while it sleeps or waits for other
 * threads (lru_maintainer_lock, lru_crawler_lock, maintenance_lock, slabs_rebalance_lock,
 * init_lock, worker_hang_lock), and what guards a thread's own counters, is none of them. */
#define GUARD_BEGINS_WITH(text, begin) (__builtin_strncmp(text, begin, sizeof(begin) - 1) == 0)
#define GUARD_IS_SHARED(text)                                                              \
  (GUARD_BEGINS_WITH(text, "&lru_locks[") || GUARD_BEGINS_WITH(text, "&item_locks[") ||    \
   GUARD_BEGINS_WITH(text, "&slabs_lock") || GUARD_BEGINS_WITH(text, "&stats_lock") ||     \
   GUARD_BEGINS_WITH(text, "&cas_id_lock") || GUARD_BEGINS_WITH(text, "&bump_buf_lock") || \
   GUARD_BEGINS_WITH(text, "&b->mutex") || GUARD_BEGINS_WITH(text, "&conn_lock") ||        \
   GUARD_BEGINS_WITH(text, "lock") || GUARD_BEGINS_WITH(text, "(pthread_mutex_t *) lock"))

#define pthread_mutex_lock(lock) \
  (GUARD_IS_SHARED(#lock) ? guard_lock(lock) : (guard_wait(), pthread_mutex_lock(lock)))
#define pthread_mutex_trylock(lock) \
  (GUARD_IS_SHARED(#lock) ? guard_trylock(lock) : pthread_mutex_trylock(lock))
#define pthread_mutex_unlock(lock) \
  (GUARD_IS_SHARED(#lock) ? guard_unlock(lock) : (guard_wait(), pthread_mutex_unlock(lock)))
#define pthread_cond_wait(condition, lock) (guard_wait(), pthread_cond_wait(condition, lock))
#define pthread_cond_timedwait(condition, lock, end) \
  (guard_wait(), pthread_cond_timedwait(condition, lock, end))
#define poll(files, count, limit) (guard_wait(), poll(files, count, limit))
#define usleep(time) (guard_sleep(), usleep(time))

#endif /* GUARD_H_ */
