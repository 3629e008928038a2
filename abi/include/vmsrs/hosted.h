/* SPDX-License-Identifier: Apache-2.0
 *
 * How the calls of abi.h travel on the hosted platform: between a client (the guest library, the
 * daemon's channel) and vmsrs-hosted, the process that runs the engine. C11 and C++20. The calls,
 * their numbers, structures and statuses are those of abi.h; here is only the transport: a socket
 * for what happens seldom, lanes in shared memory for calls. docs/hosted.md tells the whole story.
 */
#ifndef VMSRS_HOSTED_H_
#define VMSRS_HOSTED_H_

#include <stddef.h>
#include <stdint.h>
#include <vmsrs/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMSRS_HOSTED_SOCKET "/run/vmsrs/hosted.sock"
#define VMSRS_HOSTED_SOCKET_VARIABLE "VMSRS_HOSTED_SOCKET" /* environment: another path */

/* ---- The socket: SOCK_SEQPACKET. Each message is one vmsrs_hosted_message; each gets one answer
 * of the same type, in order. Whatever is not so (size, magic, type, descriptors sent along) ends
 * the connection. */

#define VMSRS_HOSTED_MAGIC 0x31485352534d56ull /* "VMSRSH1" */

enum vmsrs_hosted_type {
  /* First of all, once. a = lanes wanted, b = the client's process id as it sees it. Answer: a =
   * lanes granted, b = bytes of the call area; descriptors: call area, doorbell (an eventfd). */
  VMSRS_HOSTED_HELLO = 1,
  /* Second, once: a = where the client has mapped the call area. */
  VMSRS_HOSTED_MAPPED = 2,
  /* A lane for a thread: a = thread (its FS base), b = its kernel thread id, c = level (0; 1 and up
   * for calls made by a signal handler in the middle of a call). Answer: a = lane. The same thread
   * and level again get the same lane. */
  VMSRS_HOSTED_LANE_TAKE = 3,
  /* The thread ends: a = thread. All its lanes are free; a user that it left open is collected. */
  VMSRS_HOSTED_LANE_GIVE = 4,
  /* After ATTACH. Answer: a = server; descriptor: its window, which can be mapped read-only. */
  VMSRS_HOSTED_WINDOW = 5,
  /* Memory for a region, after ATTACH: a = the page-aligned address at which the client will map
   * it, b = bytes (whole pages). Answer: a = number of the memory; descriptor: the memory. */
  VMSRS_HOSTED_MEMORY_TAKE = 6,
  /* a = number of the memory. Calls cannot reach it any more. */
  VMSRS_HOSTED_MEMORY_GIVE = 7,
  /* Memory that another process of the same server has: a = region, b = enum vmsrs_hosted_part.
   * Answer: a = bytes, b = the address at which this client has it already, or 0, c = offset of that
   * part in it; descriptor: the memory. NOT_FOUND: no process has it. */
  VMSRS_HOSTED_MEMORY_FIND = 8,
  /* The same: a = region, b = enum vmsrs_hosted_part; c = the page-aligned address at which the client
   * has mapped it. Answer: a = number of the memory. */
  VMSRS_HOSTED_MEMORY_JOIN = 9,
  VMSRS_HOSTED_TYPE_COUNT = 10
};

/* What belongs to a region beside its bytes; the users' areas belong to region 0, whatever that is. */
enum vmsrs_hosted_part {
  VMSRS_HOSTED_BYTES = 0,
  VMSRS_HOSTED_CLAIMS = 1,
  VMSRS_HOSTED_AREAS = 2,
  VMSRS_HOSTED_PART_COUNT = 3
};

struct vmsrs_hosted_message {
  uint64_t magic;
  uint32_t type;   /* enum vmsrs_hosted_type */
  uint32_t status; /* of an answer: enum vmsrs_status; 0 in a question */
  uint32_t abi_version;
  uint32_t reserved;
  uint64_t a, b, c;
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_hosted_message) == 48, "layout");

/* ---- The call area: a page for the doorbell, then one page for every 64 lanes, then a payload for
 * each lane. Both sides write it: nothing in it is trusted, and each field is read once. */

#define VMSRS_LANE_LEVELS 4u
#define VMSRS_MAX_LANES 1088u
#define VMSRS_LANE_PAYLOAD_BYTES (VMSRS_MAX_RANGE_BYTES + VMSRS_PAGE_BYTES)

enum vmsrs_lane_state {
  VMSRS_LANE_IDLE = 0,
  VMSRS_LANE_REQUEST = 0x51455256, /* odd values: memory that was written over is no request */
  VMSRS_LANE_DONE = 0x454e4f44
};

struct vmsrs_lane {
  uint32_t state; /* enum vmsrs_lane_state; a futex: the client waits on it */
  uint16_t call;  /* enum vmsrs_call; in the answer: enum vmsrs_status, or one of those below */
  uint16_t turn;  /* which call of this lane it is; in the answer: which the next one is */
  uint64_t thread;
  uint64_t rdi, rsi, rdx, r10, r8, r9; /* in the answer: RDX and RSI */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_lane) == 64, "one cache line");

/* Each side stores a word, passes this, and looks at the other's word: at least one of them sees what
 * the other stored. */
static inline void vmsrs_full_barrier(void) {
  uint64_t nothing = 0;
  __asm__ volatile("lock orq $0, %0" : "+m"(nothing) : : "memory");
}

/* Statuses of calls that were not carried out. NOT_YOURS: the lane is not this thread's, take one and
 * repeat. OUT_OF_TURN: repeat with the turn that the answer gives. A call whose answer got lost is
 * repeated with its own turn: if it was carried out already, word for word, its answer is given
 * once more. */
#define VMSRS_LANE_NOT_YOURS 0xffffu
#define VMSRS_LANE_OUT_OF_TURN 0xfffeu

struct vmsrs_area_head {
  uint32_t asleep; /* 1: the other side waits for the doorbell, write 8 bytes (1) to it */
  uint32_t mail;   /* 1: there may be a message in the socket */
  uint8_t reserved[56];
  uint8_t waits[VMSRS_MAX_LANES]; /* of a lane: its thread sleeps, wake it after DONE */
  uint8_t reserved2[2944];
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_area_head) == VMSRS_PAGE_BYTES, "one page");

#define VMSRS_AREA_LANES_OFFSET VMSRS_PAGE_BYTES
#define VMSRS_AREA_PAYLOADS_OFFSET(lanes) \
  (VMSRS_AREA_LANES_OFFSET + (((lanes) + 63ull) / 64ull) * 64ull * sizeof(struct vmsrs_lane))
#define VMSRS_AREA_BYTES(lanes) \
  (VMSRS_AREA_PAYLOADS_OFFSET(lanes) + (uint64_t)(lanes)*VMSRS_LANE_PAYLOAD_BYTES)

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* VMSRS_HOSTED_H_ */
