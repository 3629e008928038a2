/* SPDX-License-Identifier: Apache-2.0
 *
 * Ghost state and the properties. Everything here runs inside the step (d_step) that it belongs to.
 */
hidden byte h1;
hidden byte h2;
hidden byte h3;
hidden byte h4;
hidden byte top; /* result of newest_true */

/* Puts user U's value V on top of list L, in place of U's older entry. */
inline list_push(L, U, V) {
  h1 = 0; h2 = 0;
  do
  :: h1 < NU ->
     if
     :: lists[(L) * NU + h1] != 0 && ENTRY_USER(lists[(L) * NU + h1]) != (U) ->
        lists[(L) * NU + h2] = lists[(L) * NU + h1]; h2++
     :: else
     fi;
     h1++
  :: else -> break
  od;
  lists[(L) * NU + h2] = ENTRY(U, V); h2++;
  do :: h2 < NU -> lists[(L) * NU + h2] = 0; h2++ :: else -> break od;
  h1 = 0
}

/* Removes user U's entry from list L; if OLDER, also all entries below it. */
inline list_drop(L, U, OLDER) {
  h1 = 0; h2 = 0; h3 = 0; /* h3: entries below U's, when they are to go */
  if
  :: OLDER ->
     do
     :: h1 < NU ->
        if :: lists[(L) * NU + h1] != 0 && ENTRY_USER(lists[(L) * NU + h1]) == (U) -> h3 = h1 :: else fi;
        h1++
     :: else -> break
     od;
     h1 = h3
  :: else
  fi;
  do
  :: h1 < NU ->
     if
     :: lists[(L) * NU + h1] != 0 && ENTRY_USER(lists[(L) * NU + h1]) != (U) ->
        lists[(L) * NU + h2] = lists[(L) * NU + h1]; h2++
     :: else
     fi;
     h1++
  :: else -> break
  od;
  do :: h2 < NU -> lists[(L) * NU + h2] = 0; h2++ :: else -> break od;
  h1 = 0
}

/* Contract, point 1: the value of the last write by a user who is not crashed, else the committed one. */
inline newest_true(X) {
  top = truth_base[X]; h1 = 0;
  do
  :: h1 < NU ->
     if :: lists[(X) * NU + h1] != 0 -> top = ENTRY_VALUE(lists[(X) * NU + h1]) :: else fi;
     h1++
  :: else -> break
  od;
  h1 = 0 /* a d_step must not end in a loop */
}

/* The value of byte X may have changed: every load under way may return it. */
inline note_readers(X) {
  newest_true(X);
  h1 = 0;
  do
  :: h1 < NU -> if :: reading[h1] == (X) + 1 -> ok[h1] = ok[h1] | (1 << top) :: else fi; h1++
  :: else -> break
  od;
  h1 = 0 /* a d_step must not end in a loop */
}

/* A monitored write takes place. A crashed user's changes nothing. */
inline true_write(U, X, V) {
  if :: ust[U] == ACTIVE -> list_push(X, U, V); note_readers(X) :: else fi
}

/* The mirror of granule G may have changed: a committed load under way may return it. */
inline note_committed_reader(G) {
#if CREADS
  if
  :: c_reading != 0 && GRANULE(c_reading - 1) == (G) -> c_ok = c_ok | (1 << mirror[c_reading - 1])
  :: else
  fi
#else
  skip
#endif
}

/* The one store that makes U crashed. */
inline true_crash(U) {
  h4 = 0;
  do
  :: h4 < NX -> list_drop(h4, U, false); note_readers(h4); h4++
  :: else -> break
  od;
  h1 = 0 /* a d_step must not end in a loop */
}

/* The one store that commits U. */
inline true_commit(U) {
  h4 = 0;
  do
  :: h4 < NX ->
     h1 = 0;
     do
     :: h1 < NU ->
        if
        :: lists[h4 * NU + h1] != 0 && ENTRY_USER(lists[h4 * NU + h1]) == (U) ->
           truth_base[h4] = ENTRY_VALUE(lists[h4 * NU + h1]); list_drop(h4, U, true); h1 = NU
        :: else -> h1++
        fi
     :: else -> break
     od;
     h4++
  :: else -> break
  od;
  h1 = 0 /* a d_step must not end in a loop */
}

inline true_load_begins(P, X) { newest_true(X); reading[P] = (X) + 1; ok[P] = 1 << top }

/* Property "value": what a completed load of a user who is not crashed returns. */
inline true_load_ends(P, D) {
#if WILDS
  assert(ust[P] != ACTIVE || (D) == WILD_VALUE || ((ok[P] >> (D)) & 1) == 1);
#else
  assert(ust[P] != ACTIVE || ((ok[P] >> (D)) & 1) == 1);
#endif
  reading[P] = 0; ok[P] = 0
}

/* Does byte X's chain hold nothing? (entries are compact) */
#define CHAIN_EMPTY(X) (lists[NX * NU + (X) * NU] == 0)
#if NB == 1
#define NO_CHAIN(g) CHAIN_EMPTY(BYTE(g, 0))
#define SAME_AS_MIRROR(g) SAME(BYTE(g, 0))
#else
#define NO_CHAIN(g) (CHAIN_EMPTY(BYTE(g, 0)) && CHAIN_EMPTY(BYTE(g, 1)))
#define SAME_AS_MIRROR(g) (SAME(BYTE(g, 0)) && SAME(BYTE(g, 1)))
#endif
#if WILDS
#define SAME(x) (data[x] == mirror[x] || data[x] == WILD_VALUE)
#else
#define SAME(x) (data[x] == mirror[x])
#endif
#define OVER(t) (IS_OWN(t) && gen[TAG_USER(t)] != TAG_GEN(t))
#define NOBODYS(t) ((t) == UNOWNED || OVER(t))

/* Property "all or nothing, nothing lost": whatever stops here, the hidden state alone (mirror, stages and
 * records of COMMITTED users, in any order) gives exactly the committed value of every byte. */
inline check_recoverable(G) {
  h4 = (G) * NB;
  do
  :: h4 < ((G) + 1) * NB ->
     top = mirror[h4]; h1 = 0;
     do
     :: h1 < NU ->
        if
        :: ust[h1] == COMMITTED && (stage_mask[h1 * NG + (G)] & BIT(h4)) -> top = stage[h1 * NX + h4]
        :: else
        fi;
        h1++
     :: else -> break
     od;
     h1 = 0;
     do
     :: h1 < NU ->
        if
        :: lists[NX * NU + h4 * NU + h1] != 0 && ust[ENTRY_USER(lists[NX * NU + h4 * NU + h1])] == COMMITTED ->
           top = ENTRY_VALUE(lists[NX * NU + h4 * NU + h1])
        :: else
        fi;
        h1++
     :: else -> break
     od;
     assert(top == truth_base[h4]);
     h4++
  :: else -> break
  od;
  h1 = 0 /* a d_step must not end in a loop */
}

/* Properties that hold whenever granule G's lock is free. */
inline check_granule(G) {
  assert(NO_CHAIN(G) || tag[G] == CONTENDED || tag[G] == DAMAGED || tag[G] == REPAIRING);
  assert(!NO_CHAIN(G) || tag[G] != CONTENDED);
  assert(!NOBODYS(tag[G]) || SAME_AS_MIRROR(G));
  check_recoverable(G)
}

inline check_all_free_granules() {
  h2 = 0;
  do
  :: h2 < NG -> if :: !lk[h2] -> check_granule(h2) :: else fi; h2++
  :: else -> break
  od;
  h1 = 0 /* a d_step must not end in a loop */
}

/* Property "mode = suppression if and only if a crashed user is not yet collected"; server lock held. */
inline check_mode() {
  h1 = 0; h2 = 0;
  do
  :: h1 < NU -> if :: ust[h1] == CRASHED -> h2 = 1 :: else fi; h1++
  :: else -> break
  od;
  assert(SUPPRESSION(mode) == h2)
}

/* At the very end: nothing of anybody is left. */
inline check_end() {
  h3 = 0;
  do
  :: h3 < NG ->
     assert(!lk[h3]);
     check_granule(h3);
#if DAMAGES == 0
     assert(NOBODYS(tag[h3]) || (IS_FROZEN(tag[h3]) && gen[TAG_USER(tag[h3])] != TAG_GEN(tag[h3])));
#endif
     assert(NO_CHAIN(h3) && SAME_AS_MIRROR(h3));
     h3++
  :: else -> break
  od;
  h3 = 0;
  do
  :: h3 < NU -> assert(ust[h3] == IDLE && !win[h3]); h3++
  :: else -> break
  od;
  assert(!slk && !SUPPRESSION(mode))
}
