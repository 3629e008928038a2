/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of the protocol and how they are encoded, and the sizes of a configuration.
 *
 * Rule of the model: one access to a word that two parties share without a common lock is one step.
 * What only the holder of a granule's lock touches (mirror, chains, stages, freeze epochs) may be
 * changed in the same step as one such access: nobody else can look in between.
 */

/* ---- sizes and switches; a configuration overrides them with -D ---- */
#ifndef NU
#define NU 2 /* users = threads = slots */
#endif
#ifndef NG
#define NG 1 /* granules */
#endif
#ifndef NB
#define NB 1 /* words in a granule: what one monitored store writes, and what restoring writes at once */
#endif
#ifndef GENS
#define GENS 3 /* generations of a slot before they come round */
#endif
#ifndef HOLE
#define HOLE 0 /* 0: the protocol as it should be; N: step N left out or done wrongly, see check.py */
#endif
/* Per user: scopes one after the other, stores and loads in each, faults in all, bytes it may touch. */
#ifndef SC0
#define SC0 1
#endif
#ifndef SC1
#define SC1 1
#endif
#ifndef SC2
#define SC2 1
#endif
#ifndef ST0
#define ST0 0
#endif
#ifndef ST1
#define ST1 0
#endif
#ifndef ST2
#define ST2 0
#endif
#ifndef LD0
#define LD0 0
#endif
#ifndef LD1
#define LD1 0
#endif
#ifndef LD2
#define LD2 0
#endif
#ifndef CR0
#define CR0 0
#endif
#ifndef CR1
#define CR1 0
#endif
#ifndef CR2
#define CR2 0
#endif
#ifndef BM0
#define BM0 15
#endif
#ifndef BM1
#define BM1 15
#endif
#ifndef BM2
#define BM2 15
#endif
#ifndef ASYNC
#define ASYNC 0 /* service threads or operators, up to 2, that declare one crash each */
#endif
#ifndef AMASK
#define AMASK 7 /* users it may declare crashed */
#endif
#ifndef AGE
#define AGE 0 /* 1: generations come round */
#endif
#ifndef SWEEPS
#define SWEEPS 0 /* granules swept, any time */
#endif
#ifndef WILDS
#define WILDS 0 /* plain stores behind the library's back */
#endif
#ifndef DAMAGES
#define DAMAGES 0 /* tags scribbled over, any time */
#endif
#ifndef DEATHS
#define DEATHS 0 /* threads that die at any guest step, found later by a reaper */
#endif
#ifndef MIDFAULT
#define MIDFAULT 0 /* 1: own faults also in the middle of a store */
#endif
#ifndef TSO
#define TSO 0 /* 1: every user's plain stores go through a store buffer */
#endif
#ifndef BL
#define BL 4 /* its length */
#endif
#ifndef CREADS
#define CREADS 0 /* committed loads, one after another, of one reader */
#endif
#ifndef LATEWIN
#define LATEWIN 0 /* 1: a store's window closes at the next store or the scope's end (instrumented code) */
#endif
#ifndef CURSOR
#define CURSOR 1 /* 0: collection goes by the write set alone, without the cursor over all tags */
#endif

#define NX (NG * NB)
#define WORLD (NU + ASYNC + (SWEEPS > 0) + (WILDS > 0) + (DAMAGES > 0) + (DEATHS > 0) + (CREADS > 0))
#define ST(p) ((p) == 0 -> ST0 : ((p) == 1 -> ST1 : ST2))
#define LD(p) ((p) == 0 -> LD0 : ((p) == 1 -> LD1 : LD2))
#define CR(p) ((p) == 0 -> CR0 : ((p) == 1 -> CR1 : CR2))
#define SC(p) ((p) == 0 -> SC0 : ((p) == 1 -> SC1 : SC2))
#define BM(p) ((p) == 0 -> BM0 : ((p) == 1 -> BM1 : BM2))
/* Every store of a run writes a value of its own, 1..14; 0 is the initial value, 15 is a wild one. */
#define FIRST_VALUE(p) ((p) == 0 -> 1 : ((p) == 1 -> 1 + SC0 * ST0 : 1 + SC0 * ST0 + SC1 * ST1))
#define WILD_VALUE 15

/* ---- tag[g] ---- */
#define UNOWNED 0
#define OWN(u, g) (1 + (u) * GENS + (g))
#define FROZEN(u, g) (21 + (u) * GENS + (g))
#define CONTENDED 50
#define LOCKED 51
#define DAMAGED 52   /* check bits do not fit */
#define REPAIRING 53 /* damaged, and frozen until all windows have been seen closed */
#define IS_OWN(t) ((t) >= 1 && (t) <= 20)
#define IS_FROZEN(t) ((t) >= 21 && (t) <= 40)
#define TAG_USER(t) ((((t) - 1) % 20) / GENS)
#define TAG_GEN(t) ((((t) - 1) % 20) % GENS)

/* ---- mode: epoch * 2 + suppression ---- */
#define EPOCH(m) ((m) >> 1)
#define SUPPRESSION(m) ((m) & 1)
#define NO_MODE 255
/* crashed at m <=> 0 < cst <= epoch of m */
#if HOLE == 3
#define CRASHED_AT(c, m) ((c) > 0)
#else
#define CRASHED_AT(c, m) ((c) > 0 && (c) <= EPOCH(m))
#endif

/* ---- a user's hidden state ---- */
#define IDLE 0
#define ACTIVE 1
#define COMMITTED 2
#define CRASHED 3

/* ---- memory of the server: every access is a step ---- */
byte tag[NG];
byte mask[NG]; /* the bytes that the owner wrote; of nobody's granule it says nothing */
byte data[NX];
byte win[NU];  /* is the thread between opening and closing its window? */
byte ws[NU];   /* write set, one bit a granule */
byte conf[NU]; /* the "confirmed" marks of the write set */
/* ---- windows that only the engine writes ---- */
byte mode;
byte cst[NU]; /* epoch from which the user counts as crashed */
byte gen[NU];
#if CREADS
byte freed; /* how often a granule became UNOWNED */
#if HOLE == 39
#define COUNT_FREED skip
#else
#define COUNT_FREED freed++
#endif
#else
#define COUNT_FREED skip
#endif
/* ---- hidden ---- */
byte ust[NU];
bool drained[NU];
byte mirror[NX];
/* Two lists for each byte, entries (user, value), oldest first, at most one entry a user, no gaps:
 * list x (ghost): the true writers of byte x who are neither finished nor crashed;
 * list NX + x (hidden): the records of byte x, its chain. */
byte lists[2 * NX * NU];
byte stage[NU * NX];       /* staged bytes of a commit */
byte stage_mask[NU * NG];  /* which of them are staged and not yet applied */
byte fe_of[NG];            /* freeze epoch */
bool lk[NG];               /* a granule's lock */
bool slk;                  /* the server's lock */
/* ---- environment ---- */
bool dead[NU];
byte deaths = DEATHS;
byte done; /* processes that have come to their end */

/* ---- ghost state: what is true, for the assertions only ---- */
byte truth_base[NX];  /* its committed value */
byte reading[NU];     /* 1 + byte that a monitored load is reading, or 0 */
int ok[NU];           /* values that byte has truly had since that load began, a bit each */
#if CREADS
byte c_reading; /* 1 + byte that a committed load is reading, or 0 */
int c_ok;       /* values its mirror has had since that load began */
#endif

#define ENTRY(u, v) ((((v) << 2) | (u)) + 1)
#define ENTRY_USER(e) (((e) - 1) & 3)
#define ENTRY_VALUE(e) (((e) - 1) >> 2)
#define BYTE(g, i) ((g) * NB + (i))
#define GRANULE(x) ((x) / NB)
#define BIT(x) (1 << ((x) % NB))
#define ALL_BITS ((1 << NB) - 1)

#if TSO
/* A store buffer for each user's thread: code and value of each entry, oldest first. */
byte buf_count[NU];
byte buf_code[NU * BL];
byte buf_value[NU * BL];
#define TO_WIN 1
#define TO_MASK(g) (2 + (g))
#define TO_CONF(g) (6 + (g))
#define TO_DATA(x) (10 + (x))
#define BUFFER_EMPTY(p) (buf_count[p] == 0)
#define PUT(p, code, value) \
  atomic { buf_count[p] < BL -> buf_code[(p) * BL + buf_count[p]] = code; \
    buf_value[(p) * BL + buf_count[p]] = value; buf_count[p]++ }
#define PUT_WIN(p, value) PUT(p, TO_WIN, value)
#define PUT_MASK(p, g, bits) PUT(p, TO_MASK(g), bits)
#define PUT_CONF(p, g) PUT(p, TO_CONF(g), 1)
#define PUT_DATA(p, x, value) PUT(p, TO_DATA(x), value)
#else
#define BUFFER_EMPTY(p) true
#define PUT_WIN(p, value) win[p] = value
#define PUT_MASK(p, g, bits) mask[g] = mask[g] | (bits)
#define PUT_CONF(p, g) conf[p] = conf[p] | (1 << (g))
#define PUT_DATA(p, x, value) d_step { data[x] = value; true_write(p, x, value) }
#endif
