/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of the trap-free protocol that lie in the server's own memory (docs/protocol.md): a
 * claim for each granule of a region, and an area for each user slot. Library and engine both read
 * and write them. They are hints for speed: the server can damage them, and what is hidden decides.
 * C11 and C++20.
 */
#ifndef VMSRS_CLAIMS_H_
#define VMSRS_CLAIMS_H_

#include <vmsrs/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Who owns a granule, and which of its bytes the owner wrote (bit i: byte i). Both change in one
 * step when a user claims the granule; while nobody owns it the mask says nothing. A region's
 * claims are an array in the order of its granules, aligned to 16. */
struct vmsrs_claim {
  uint64_t tag;
  uint64_t mask;
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_claim) == 16, "layout");

/* A tag: bits 0..2 kind, 3..12 slot, 13..51 generation (both 0 but for OWN and FROZEN), 52..63
 * check bits over all of that and the granule's number. No tag is zero. No user has the last
 * generation: a slot rests in it until no tag of its earlier users is left. */
enum vmsrs_tag_kind {
  VMSRS_TAG_DAMAGED = 0, /* what check bits that do not fit are taken for; never written */
  VMSRS_TAG_UNOWNED = 1,
  VMSRS_TAG_OWN = 2,       /* of a user; of nobody once that generation of the slot is over */
  VMSRS_TAG_FROZEN = 3,    /* the same, and its owner must trap to store */
  VMSRS_TAG_CONTENDED = 4, /* the engine keeps who wrote what: every store traps */
  VMSRS_TAG_LOCKED = 5,    /* the engine is comparing it with the mirror */
  VMSRS_TAG_REPAIRING = 6  /* it was damaged */
};
#define VMSRS_TAG_SLOT_SHIFT 3u
#define VMSRS_TAG_GENERATION_SHIFT 13u
#define VMSRS_TAG_GENERATION_MASK ((1ull << 39) - 1u)
#define VMSRS_TAG_CHECK_BITS (0xfffull << 52)
#define VMSRS_TAG_BODY_FACTOR 0x9e3779b97f4a7c15ull
#define VMSRS_TAG_GRANULE_FACTOR 0xd1b54a32d192ed03ull
VMSRS_STATIC_ASSERT(VMSRS_MAX_USERS == 1u << (VMSRS_TAG_GENERATION_SHIFT - VMSRS_TAG_SLOT_SHIFT),
                    "slots fill their field");

static inline uint64_t vmsrs_tag_body(enum vmsrs_tag_kind kind, uint64_t slot,
                                      uint64_t generation) {
  return (uint64_t)kind | slot << VMSRS_TAG_SLOT_SHIFT |
         (generation & VMSRS_TAG_GENERATION_MASK) << VMSRS_TAG_GENERATION_SHIFT;
}
/* The tag of a granule; body_check is body * VMSRS_TAG_BODY_FACTOR, which a user computes once. */
static inline uint64_t vmsrs_tag_of(uint64_t body, uint64_t body_check, uint64_t granule) {
  return body | ((body_check + granule * VMSRS_TAG_GRANULE_FACTOR) & VMSRS_TAG_CHECK_BITS);
}
static inline uint64_t vmsrs_tag(uint64_t body, uint64_t granule) {
  return vmsrs_tag_of(body, body * VMSRS_TAG_BODY_FACTOR, granule);
}

static inline uint64_t vmsrs_tag_slot(uint64_t tag) {
  return tag >> VMSRS_TAG_SLOT_SHIFT & (VMSRS_MAX_USERS - 1u);
}
static inline uint64_t vmsrs_tag_generation(uint64_t tag) {
  return tag >> VMSRS_TAG_GENERATION_SHIFT & VMSRS_TAG_GENERATION_MASK;
}
/* What a tag found at a granule is: library and engine must take it for the same. */
static inline enum vmsrs_tag_kind vmsrs_tag_kind_of(uint64_t tag, uint64_t granule) {
  const uint64_t body = tag & ~VMSRS_TAG_CHECK_BITS;
  const uint64_t kind = body & 7u;
  if (tag != vmsrs_tag(body, granule)) return VMSRS_TAG_DAMAGED;
  if (kind == VMSRS_TAG_OWN || kind == VMSRS_TAG_FROZEN) return (enum vmsrs_tag_kind)kind;
  if (body != kind || kind > VMSRS_TAG_REPAIRING) return VMSRS_TAG_DAMAGED;
  return (enum vmsrs_tag_kind)kind;
}

/* A user's area: whether its thread is within a store, and which granules it claimed (its write
 * set). Areas lie one after another in the order of slots, each of the size that USER_AREAS was
 * told; entries follow the head and fill the rest. */
struct vmsrs_user_area {
  uint64_t window; /* 1 between S_open and S_close; anything else is damage, and counts as closed */
  uint64_t count;  /* entries of the write set, for others to look through */
  uint64_t depth;  /* open scopes of the user's thread */
  uint64_t process; /* of that thread, as it calls itself */
  uint64_t hook_window; /* the same as window, for a store of instrumented code */
  uint64_t reserved[3];
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_user_area) == 64, "layout");
#define VMSRS_MIN_USER_AREA_BYTES 1024u
#define VMSRS_MAX_USER_AREA_BYTES (1u << 20)

/* An entry of a write set: bits 0..31 granule, 32..39 region, 40..62 generation (its lowest bits),
 * 63: the claim is confirmed. */
#define VMSRS_ENTRY_CONFIRMED (1ull << 63)
#define VMSRS_ENTRY_GENERATION_MASK ((1ull << 23) - 1u)
static inline uint64_t vmsrs_entry(uint64_t region, uint64_t granule, uint64_t generation) {
  return granule | region << 32 | (generation & VMSRS_ENTRY_GENERATION_MASK) << 40;
}
/* What a user says of its write set at its end or its crash: how many entries there are,
 * vmsrs_masked_sum of all bits that it has set in masks, and vmsrs_write_set_sum over the entries in
 * order. By these damage to what lies in memory is found out. */
struct vmsrs_write_set {
  uint64_t count;
  uint64_t masked;
  uint64_t sum;
};
/* The sum of a write set begins with the body of the user's OWN tags; the confirmed bit is left
 * out. */
static inline uint64_t vmsrs_write_set_sum(uint64_t sum, uint64_t entry) {
  return (sum ^ (entry & ~VMSRS_ENTRY_CONFIRMED)) * VMSRS_TAG_BODY_FACTOR + 1u;
}

/* Of bits of a granule's mask; those of disjoint bits add up. Other bits of one granule never have
 * the same sum, for the factor is odd. */
static inline uint64_t vmsrs_masked_sum(uint64_t region, uint64_t granule, uint64_t bits) {
  const uint64_t factor = (region << 32 | granule) * VMSRS_TAG_GRANULE_FACTOR;
  return ((factor ^ factor >> 29) | 1u) * bits;
}

/* What a user may hand over at its end, so that whoever commits it need not fetch each granule and
 * its claim: for each entry of the write set, in order, one of these, and behind each the aligned
 * words of the granule that hold a byte of its mask. VMSRS_MAX_RANGE_BYTES at most. */
struct vmsrs_written {
  uint64_t entry;
  uint64_t mask; /* 0: the granule's tag is not plainly the user's, look at it */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_written) == 16, "layout");
/* Bit 8 * i: the mask has a byte of the granule's word i. */
static inline uint64_t vmsrs_written_words(uint64_t mask) {
  mask |= mask >> 4;
  mask |= mask >> 2;
  mask |= mask >> 1;
  return mask & 0x0101010101010101ull;
}
/* Of every word that is handed over, in order; begins as the write set's does. */
static inline uint64_t vmsrs_handed_over_sum(uint64_t sum, uint64_t word) {
  return (sum << 7 | sum >> 57) + word * VMSRS_TAG_BODY_FACTOR;
}
#define VMSRS_HANDED_OVER_SHIFT 32u /* USER_END: bytes of it, in RSI above the flags */

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* VMSRS_CLAIMS_H_ */
