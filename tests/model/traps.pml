/* SPDX-License-Identifier: Apache-2.0
 *
 * The two traps of a user's thread, T_STORE and T_LOAD, under the granule's lock. Text of proctype user:
 * its variables are x (byte), g (granule), v (value), m (mode), c (a user's cst), t (tag), o (owner),
 * i, k, e (scratch), fe (the freeze epoch with which the caller comes again, else 0).
 */
inline trap_store() {
  t = 0;
TS_lock: /* also the caller's way back after DRAIN and WAIT; the trap drains its store buffer */
  BUFFER_EMPTY(p);
  LOCK_GRANULE(g);
TS_mode:
  m = mode;
TS_caller: /* a crashed caller's store is dropped */
  atomic {
    c = cst[p];
    if
    :: CRASHED_AT(c, m) && HOLE != 36 -> goto TS_finish
    :: else
    fi
  };
TS_tag:
  atomic {
    t = tag[g];
    if
    :: t == UNOWNED || t == OWN(p, gen[p]) -> goto TS_again
    :: t == CONTENDED -> goto TS_record
    :: t == DAMAGED || t == REPAIRING -> goto TS_damaged
    :: t == LOCKED -> assert(false)
    :: IS_OWN(t) || IS_FROZEN(t) -> o = TAG_USER(t)
    fi
  };
TS_over: /* the owner's generation may end at any moment, even now */
  atomic {
    if
    :: gen[o] == TAG_GEN(t)
    :: gen[o] != TAG_GEN(t) && IS_OWN(t) -> goto TS_again
    :: gen[o] != TAG_GEN(t) && IS_FROZEN(t) -> goto TS_thaw
    fi
  };
TS_owner:
  atomic {
    c = cst[o];
    if
    :: CRASHED_AT(c, m) -> skip
    :: !CRASHED_AT(c, m) && IS_OWN(t) -> goto TS_freeze
#if HOLE == 10
    :: !CRASHED_AT(c, m) && IS_FROZEN(t) && fe == 0 && o != p -> goto TS_drain_again
    :: !CRASHED_AT(c, m) && IS_FROZEN(t) && (fe != 0 || o == p) -> goto TS_contend
#else
    :: !CRASHED_AT(c, m) && IS_FROZEN(t) && fe != fe_of[g] && o != p -> goto TS_drain_again
    :: !CRASHED_AT(c, m) && IS_FROZEN(t) && (fe == fe_of[g] || o == p) -> goto TS_contend
#endif
    fi
  };
TS_drained:
  if
  :: drained[o] || HOLE == 30
  :: else -> lk[g] = false; goto TS_wait
  fi;

  /* Owned by a crashed, drained user: restore, and make it mine. */
TS_claim_restore:
  restore_all(g, i);
TS_claim_write:
  atomic { data[x] = v; true_write(p, x, v) };
TS_claim_ws:
  ws[p] = ws[p] | (1 << g);
  conf[o] = conf[o] & ~(1 << g);
  conf[p] = conf[p] | (1 << g);
TS_claim_mask:
  mask[g] = BIT(x);
TS_claim_tag:
  tag[g] = OWN(p, gen[p]);
  goto TS_finish;

TS_freeze: /* by compare-and-swap: the tag's generation may have ended and somebody may have claimed */
#if HOLE == 1
  goto TS_contend;
#endif
  atomic {
    if
    :: tag[g] == t || HOLE == 16 ->
       tag[g] = FROZEN(o, TAG_GEN(t)); fe_of[g]++; fe = fe_of[g]; lk[g] = false; goto TS_drain
    :: else -> goto TS_again
    fi
  };
TS_drain_again:
  atomic { fe = fe_of[g]; lk[g] = false };
TS_drain: /* guest: membarrier, then wait for the owner's window */
  MAY_DIE;
#if HOLE != 17
  BUFFER_EMPTY(o);
#endif
  !win[o];
  goto TS_lock;
TS_wait: /* guest: wait until the crashed owner is drained */
  MAY_DIE;
  drained[o] || ust[o] != CRASHED || cst[o] != c;
  goto TS_lock;

TS_thaw: /* frozen, and its owner has ended since */
  COUNT_FREED;
  tag[g] = UNOWNED;
  goto TS_again;

TS_contend: /* the owner's window is closed and its next store will trap: its bytes become records. The mask
             * is believed of an unfinished owner only; of a committed one, what is still staged */
  atomic {
    if
    :: gen[o] != TAG_GEN(t) -> k = 0
    :: gen[o] == TAG_GEN(t) && ust[o] == COMMITTED -> k = stage_mask[o * NG + g]
    :: gen[o] == TAG_GEN(t) && ust[o] != COMMITTED -> k = mask[g]
    fi
  };
  i = 0;
  do
  :: i < NB ->
     if
     :: k & (1 << i) ->
TS_contend_record:
        atomic { e = data[BYTE(g, i)]; d_step { list_push(NX + BYTE(g, i), o, e); e = 0 } }
     :: else
     fi;
     i++
  :: else -> break
  od;
#if HOLE != 38
TS_contend_rest:
  restore_rest(g, i, k);
#endif
TS_contend_stage: /* from now on the records speak for the owner, not what it may have staged */
#if HOLE != 20
  atomic {
    i = 0;
    do :: i < NB -> stage[o * NX + BYTE(g, i)] = 0; i++ :: else -> break od;
    stage_mask[o * NG + g] = 0
  };
#endif
  i = 0; k = 0;
#if HOLE != 35
  conf[o] = conf[o] & ~(1 << g);
#endif
TS_contend_tag:
  tag[g] = CONTENDED;
TS_record: /* contended: write through, and my record on top */
  atomic { data[x] = v; true_write(p, x, v) };
TS_record_push:
  atomic { list_push(NX + x, p, v) };
  goto TS_finish;

TS_damaged:
#if DAMAGES
  if
  :: !NO_CHAIN(g) -> /* it was contended */
     tag[g] = CONTENDED; goto TS_record
  :: NO_CHAIN(g) && (t == DAMAGED || fe != fe_of[g]) && HOLE != 19 ->
     if
     :: t == DAMAGED -> atomic { tag[g] = REPAIRING; fe_of[g]++ }
     :: else
     fi;
     atomic { fe = fe_of[g]; lk[g] = false };
     o = 0;
     do /* guest: membarrier, then wait for everybody's window */
     :: o < NU -> MAY_DIE; BUFFER_EMPTY(o); !win[o]; o++
     :: else -> break
     od;
     o = 0;
     goto TS_lock
  :: NO_CHAIN(g) && ((t == REPAIRING && fe == fe_of[g]) || HOLE == 19)
  fi;
TS_repair: /* every claim is over: the one confirmed claimant is the owner, or there is none */
  atomic {
    o = 0; k = 0; i = NU;
    do
    :: o < NU ->
#if HOLE == 12
       if :: ust[o] != IDLE && (ws[o] & (1 << g)) && i == NU -> i = o; k++ :: else fi;
#else
       if :: ust[o] != IDLE && (conf[o] & (1 << g)) -> i = o; k++ :: else fi;
#endif
       o++
    :: else -> break
    od;
    o = 0;
    assert(k <= 1)
  };
  if
  :: k == 1 -> tag[g] = OWN(i, gen[i])
  :: else -> restore_all(g, i); COUNT_FREED; tag[g] = UNOWNED
  fi;
  k = 0; i = 0;
#else
  assert(false);
#endif

TS_again: /* the caller repeats its STORE */
  unlock_granule(g);
  fe = 0; o = 0; c = 0;
  goto S_open;

TS_finish:
  unlock_granule(g)
}

inline trap_load() {
  t = 0;
TL_lock:
  BUFFER_EMPTY(p);
  LOCK_GRANULE(g);
TL_mode:
  m = mode;
TL_tag:
  atomic {
    t = tag[g];
    if
    :: t == UNOWNED -> goto TL_again
    :: t == CONTENDED -> goto TL_record
    :: t == DAMAGED || t == REPAIRING -> goto TL_damaged
    :: t == LOCKED -> assert(false)
    :: IS_OWN(t) || IS_FROZEN(t) -> o = TAG_USER(t)
    fi
  };
TL_over:
  atomic {
    if
    :: gen[o] == TAG_GEN(t)
    :: gen[o] != TAG_GEN(t) && (IS_OWN(t) || HOLE == 34) -> goto TL_again
    :: gen[o] != TAG_GEN(t) && IS_FROZEN(t) && HOLE != 34 -> goto TL_thaw
    fi
  };
TL_owner:
  atomic {
    c = cst[o];
    if
    :: CRASHED_AT(c, m) -> skip
    :: else -> goto TL_data
    fi
  };
TL_drained: /* not drained, or frozen: a store may still be in flight, so leave the granule alone */
  if
  :: (!drained[o] && HOLE != 31) || IS_FROZEN(t) -> goto TL_mirror
  :: else
  fi;
TL_restore:
  restore_all(g, i);
  conf[o] = conf[o] & ~(1 << g);
TL_restore_freed:
  COUNT_FREED;
TL_restore_tag: /* last: from here on the next claimant may come */
  tag[g] = UNOWNED;
TL_mirror:
  d = mirror[BYTE(g, x % NB)];
  goto TL_finish;

TL_thaw:
  COUNT_FREED;
  tag[g] = UNOWNED;
  goto TL_again;

TL_data: /* owner not crashed at m; unless the mode has moved, what stands there is right */
  d = data[x];
TL_data_mode:
  if
  :: mode == m || HOLE == 23 -> goto TL_finish
  :: else -> goto TL_mode
  fi;

TL_record:
  atomic { newest_record(x, m); d = top };
  goto TL_finish;

TL_damaged: /* the chain tells; else the confirmed claimant is the owner; nothing is changed here */
#if DAMAGES
  if
  :: !NO_CHAIN(g) -> goto TL_record
  :: else
  fi;
  d_step {
    o = 0; i = NU;
    do
    :: o < NU -> if :: ust[o] != IDLE && (conf[o] & (1 << g)) -> i = o :: else fi; o++
    :: else -> break
    od;
    o = 0
  };
  if
  :: i < NU -> o = i; i = 0; goto TL_damaged_owner
  :: else -> i = 0; goto TL_data
  fi;
TL_damaged_owner:
  atomic {
    c = cst[o];
    if
    :: CRASHED_AT(c, m) -> goto TL_mirror
    :: else -> goto TL_data
    fi
  };
#else
  assert(false);
#endif

TL_again:
  unlock_granule(g);
  o = 0; c = 0; t = 0;
  goto L_look;

TL_finish:
  unlock_granule(g)
}
