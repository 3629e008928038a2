/* SPDX-License-Identifier: Apache-2.0
 *
 * Model of the trap-free recovery protocol: see docs/protocol.md, README.md here, and check.py, which
 * runs it. words.pml: memory and encoding. ghost.pml: the properties. engine.pml, traps.pml: the engine.
 * Here: a user's thread, and what else there is in the world.
 */
#include "words.pml"
#include "ghost.pml"

#if MIDFAULT
#define MAY_FAULT if :: faults > 0 -> goto FAULT :: true fi
#else
#define MAY_FAULT skip
#endif
#if DEATHS
#define MAY_DIE if :: atomic { deaths > 0 && _pid <= NU -> deaths--; goto DIE } :: true fi
#else
#define MAY_DIE skip
#endif

#include "engine.pml"
#include "traps.pml"

/* ---- AGE: before generation gen+1 of slot U comes (round), its old tags go, and whoever read one ---- */
inline age(U, G, T, I) {
  I = (gen[U] + 1) % GENS;
#if HOLE != 9
  G = 0;
  do
  :: G < NG ->
     /* AGE.lock */ LOCK_GRANULE(G);
     /* AGE.tag */ T = tag[G];
     if
     :: T == OWN(U, I) || T == FROZEN(U, I) ->
        COUNT_FREED;
        /* AGE.clear, compare-and-swap */ atomic { if :: tag[G] == T -> tag[G] = UNOWNED :: else fi }
     :: else
     fi;
     unlock_granule(G);
     G++
  :: else -> break
  od;
#endif
  G = 0; T = 0; I = 0;
#if HOLE != 21
  do /* AGE.grace: membarrier, then every window */
  :: I < NU -> BUFFER_EMPTY(I); !win[I]; I++
  :: else -> break
  od;
#endif
  I = 0
}

/* ---- a user's thread ---- */
proctype user(byte p) {
  byte x, g, v, m, c, t, d, o, i, k, e, fe;
  bool okay;
  byte seen = NO_MODE, scopes = SC(p), stores, loads, faults = CR(p), value = FIRST_VALUE(p);

BEGIN:
#if AGE
  age(p, g, t, i);
#endif
  /* BEGIN */
  atomic { !slk -> ust[p] = ACTIVE; cst[p] = 0; seen = NO_MODE; stores = ST(p); loads = LD(p) };

progress_next: /* the program's next access; a cycle that never comes here is a livelock */
  MAY_DIE;
  d_step { x = 0; g = 0; v = 0; m = 0; c = 0; t = 0; d = 0; o = 0; i = 0; k = 0; e = 0; fe = 0 };
  atomic {
    if
    :: stores > 0 && (BM(p) & 1) -> x = 0; goto STORE
    :: stores > 0 && NX > 1 && (BM(p) & 2) -> x = 1; goto STORE
    :: stores > 0 && NX > 2 && (BM(p) & 4) -> x = 2; goto STORE
    :: stores > 0 && NX > 3 && (BM(p) & 8) -> x = 3; goto STORE
    :: loads > 0 && (BM(p) & 1) -> x = 0; goto LOAD
    :: loads > 0 && NX > 1 && (BM(p) & 2) -> x = 1; goto LOAD
    :: loads > 0 && NX > 2 && (BM(p) & 4) -> x = 2; goto LOAD
    :: loads > 0 && NX > 3 && (BM(p) & 8) -> x = 3; goto LOAD
    :: faults > 0 -> goto FAULT
    :: stores == 0 && loads == 0 -> goto END
    fi
  };

STORE:
  atomic { stores--; v = value; value++; g = GRANULE(x) };
S_open:
#if LATEWIN
  if :: win[p] -> PUT_WIN(p, 0) :: else fi;
#endif
  PUT_WIN(p, 1);
  MAY_FAULT;
S_mode:
  atomic {
    m = mode;
    if
    :: m == seen || HOLE == 32 -> goto S_tag
    :: else
    fi
  };
  PUT_WIN(p, 0);
S_crashed: /* a crashed thread never takes the new mode for seen: its next store comes here again */
  atomic {
    c = cst[p];
    if
    :: CRASHED_AT(c, m) ->
#if HOLE == 13
       seen = m;
#endif
       goto progress_next
    :: else -> seen = m; goto S_open
    fi
  };
S_tag:
  atomic {
    t = tag[g];
    if
    :: t == OWN(p, gen[p]) -> goto S_mask
    :: t == UNOWNED -> goto S_append
    :: IS_OWN(t) && t != OWN(p, gen[p]) -> skip
    :: else -> goto S_trap
    fi
  };
S_over:
  if
  :: gen[TAG_USER(t)] != TAG_GEN(t) -> goto S_append
  :: else -> goto S_trap
  fi;
S_append: /* first the write set, then the tag */
  MAY_DIE;
#if HOLE != 6
  ws[p] = ws[p] | (1 << g);
#endif
  MAY_FAULT;
S_claim: /* tag and mask in one exchange; a locked instruction drains the store buffer */
  BUFFER_EMPTY(p);
  atomic {
    if
    :: tag[g] == t ->
       tag[g] = OWN(p, gen[p]);
#if HOLE == 7
       mask[g] = ALL_BITS
#elif HOLE == 11
       mask[g] = mask[g] | BIT(x)
#else
       mask[g] = BIT(x)
#endif
    :: else -> goto S_lost
    fi
  };
  MAY_FAULT;
  MAY_DIE;
#if DAMAGES
S_confirm:
  PUT_CONF(p, g);
#endif
  goto S_masked;
S_mask:
#if HOLE == 7
  PUT_MASK(p, g, ALL_BITS);
#else
  PUT_MASK(p, g, BIT(x));
#endif
S_masked:
  MAY_FAULT;
S_data:
  PUT_DATA(p, x, v);
  MAY_FAULT;
  MAY_DIE;
#if HOLE == 6
  ws[p] = ws[p] | (1 << g);
#endif
S_close:
#if LATEWIN == 0
  PUT_WIN(p, 0);
#endif
  goto progress_next;
S_lost:
  PUT_WIN(p, 0);
  t = 0;
  goto S_open;
S_trap:
#if HOLE != 28
  PUT_WIN(p, 0);
#endif
  trap_store();
  goto progress_next;

LOAD:
  atomic { loads--; g = GRANULE(x) };
#if TSO
  assert(ST(p) == 0);
#endif
#if HOLE == 29
  atomic { m = mode; d_step { true_load_begins(p, x) } };
  if
  :: m == seen && !SUPPRESSION(m) -> d = data[x]; goto L_done
  :: else
  fi;
  goto L_look;
#else
L_data: /* first the data, then the mode; the ghost load begins with the first access */
  atomic {
    d = data[x];
    if
    :: reading[p] == 0 -> d_step { true_load_begins(p, x) }
    :: else
    fi
  };
#endif
L_mode:
  atomic {
    m = mode;
    if
#if HOLE == 2
    :: !SUPPRESSION(m) -> goto L_done
#else
    :: m == seen && !SUPPRESSION(m) -> goto L_done
#endif
    :: else
    fi
  };
L_look:
  atomic {
    m = mode;
    if
    :: m == seen -> goto L_tag
    :: else
    fi
  };
L_crashed:
  atomic {
    c = cst[p];
    if
    :: CRASHED_AT(c, m) -> reading[p] = 0; ok[p] = 0; goto progress_next
    :: !CRASHED_AT(c, m) && !SUPPRESSION(m) -> seen = m; goto L_data_again
    :: !CRASHED_AT(c, m) && SUPPRESSION(m) -> seen = m
    fi
  };
L_tag:
  atomic {
    t = tag[g];
    if
    :: t == UNOWNED || IS_OWN(t)
    :: else -> goto T_LOAD
    fi
  };
L_data2:
  d = data[x];
  if
  :: IS_OWN(t) ->
L_over:
     if
     :: gen[TAG_USER(t)] != TAG_GEN(t)
     :: else ->
L_owner:
        atomic {
          c = cst[TAG_USER(t)];
          if
          :: CRASHED_AT(c, m) -> goto T_LOAD
          :: else
          fi
        }
     fi
  :: else
  fi;
#if HOLE != 24
L_tag_again:
  if :: tag[g] != t -> goto L_look :: else fi;
#endif
#if HOLE != 25
L_mode_again:
  if :: mode != m -> goto L_look :: else fi;
#endif
  goto L_done;
T_LOAD:
  trap_load();
L_done:
  atomic { true_load_ends(p, d) };
  goto progress_next;
L_data_again:
#if HOLE == 29
  d = data[x]; goto L_done;
#else
  goto L_data;
#endif

FAULT: /* the fault handler: the window closes, then one trap */
  atomic { faults--; reading[p] = 0; ok[p] = 0 };
  BUFFER_EMPTY(p);
  win[p] = 0;
  c = 0;
  crash(p, true, c);
  goto progress_next;

END: /* END: all windows of the user are closed; one trap */
#if LATEWIN
  if :: win[p] -> PUT_WIN(p, 0) :: else fi;
#endif
  BUFFER_EMPTY(p);
  end_of_scope(p, g, t, k, m, i, okay);
  scopes--;
  if
  :: scopes > 0 -> goto BEGIN
  :: else -> goto EXIT
  fi;
DIE: /* whatever it was doing outside the engine stays as it is; the reaper counts it as done */
#if DEATHS
  atomic { reading[p] = 0; ok[p] = 0; dead[p] = true };
  goto GONE;
#endif
EXIT:
  done++;
GONE:
  skip
}

#if TSO
/* The store buffer of user p's thread: its oldest entry reaches memory at any time. */
proctype store_buffer(byte p) {
end:
  do
  :: d_step {
       buf_count[p] > 0 ->
       if
       :: buf_code[p * BL] == TO_WIN -> win[p] = buf_value[p * BL]
       :: buf_code[p * BL] >= 2 && buf_code[p * BL] < 6 ->
          mask[buf_code[p * BL] - 2] = mask[buf_code[p * BL] - 2] | buf_value[p * BL]
       :: buf_code[p * BL] >= 6 && buf_code[p * BL] < 10 -> conf[p] = conf[p] | (1 << (buf_code[p * BL] - 6))
       :: buf_code[p * BL] >= 10 ->
          data[buf_code[p * BL] - 10] = buf_value[p * BL];
          h4 = buf_code[p * BL] - 10; h3 = buf_value[p * BL];
          true_write(p, h4, h3)
       fi;
       h1 = 1;
       do
       :: h1 < BL ->
          buf_code[p * BL + h1 - 1] = buf_code[p * BL + h1];
          buf_value[p * BL + h1 - 1] = buf_value[p * BL + h1];
          h1++
       :: else -> break
       od;
       buf_code[p * BL + BL - 1] = 0; buf_value[p * BL + BL - 1] = 0;
       buf_count[p]--
     }
  od
}
#endif

#if ASYNC
/* The service thread, for itself or for an operator: declares one active user crashed and drains it. */
proctype service() {
  byte u, e;
  atomic {
    if
    :: (AMASK & 1) && ust[0] == ACTIVE -> u = 0
    :: (AMASK & 2) && NU > 1 && ust[1] == ACTIVE -> u = 1
    :: (AMASK & 4) && NU > 2 && ust[2] == ACTIVE -> u = 2
    :: done >= NU -> goto out
    fi
  };
  crash(u, false, e);
  if
  :: e > 0 ->
#if HOLE != 4
#if HOLE != 18
     /* ASYNC.membarrier */ BUFFER_EMPTY(u);
#endif
     /* ASYNC.window */ !win[u];
     report_drained(u, e)
#else
     skip
#endif
  :: else
  fi;
out:
  u = 0; e = 0;
  done++
}
#endif

#if SWEEPS
/* SWEEP of a granule. (The compare without the lock only saves work: here any granule may be swept.) */
proctype sweeper(byte times) {
  byte g, t, i;
  do
  :: times > 0 ->
     times--;
     if :: g = 0 :: NG > 1 -> g = 1 fi;
     /* SWEEP.lock */ LOCK_GRANULE(g);
     /* SWEEP.tag */ t = tag[g];
     if
     :: t == UNOWNED || (IS_OWN(t) && gen[TAG_USER(t)] != TAG_GEN(t)) ->
#if HOLE == 8
        restore_all(g, i)
#else
        /* SWEEP.claim, compare-and-swap */
        atomic { if :: tag[g] == t -> tag[g] = LOCKED :: else -> goto skipped fi };
        /* SWEEP.restore */ restore_all(g, i);
        COUNT_FREED;
        /* SWEEP.free */ tag[g] = UNOWNED
#endif
     :: else
     fi;
skipped:
     t = 0;
     unlock_granule(g)
  :: else -> break
  od;
  g = 0;
  done++
}
#endif

#if WILDS
/* A plain store to a word that no user has written since it was committed. */
proctype wild(byte times) {
  byte x;
  do
  :: times > 0 ->
     atomic {
       times--;
       if :: x = 0 :: NX > 1 -> x = 1 :: NX > 2 -> x = 2 :: NX > 3 -> x = 3 fi
     };
     atomic {
       if
       :: (NOBODYS(tag[GRANULE(x)]) || (mask[GRANULE(x)] & BIT(x)) == 0) && CHAIN_EMPTY(x) && lists[x * NU] == 0 -> data[x] = WILD_VALUE
       :: else
       fi;
       x = 0
     }
  :: else -> break
  od;
  done++
}
#endif

#if CREADS
/* A reader of committed values: COMMITTED LOAD, of any word. */
proctype committed_reader(byte times) {
  byte x, g, f, t, d;
  do
  :: times > 0 ->
     times--;
     atomic {
       if :: x = 0 :: NX > 1 -> x = 1 :: NX > 2 -> x = 2 :: NX > 3 -> x = 3 fi;
       g = GRANULE(x)
     };
C_freed:
     atomic { f = freed; c_reading = x + 1; c_ok = 1 << mirror[x] };
#if HOLE == 42
     d = data[x];
#endif
C_tag:
     atomic { t = tag[g]; if :: t == UNOWNED || IS_OWN(t) :: else -> goto T_COMMITTED fi };
     if
     :: IS_OWN(t) ->
C_over:
        if :: gen[TAG_USER(t)] != TAG_GEN(t) :: else -> goto T_COMMITTED fi
     :: else
     fi;
#if HOLE != 42
C_data:
     d = data[x];
#endif
#if HOLE != 40
C_tag_again:
     if :: tag[g] != t -> goto T_COMMITTED :: else fi;
#endif
#if HOLE != 41
C_freed_again:
     if :: freed != f -> goto T_COMMITTED :: else fi;
#endif
     goto C_done;
T_COMMITTED:
     LOCK_GRANULE(g);
     d = mirror[x];
     lk[g] = false;
C_done:
     atomic { assert((c_ok >> d) & 1); c_reading = 0; c_ok = 0; f = 0; t = 0; d = 0; g = 0; x = 0 }
  :: else -> break
  od;
  done++
}
#endif

#if DAMAGES
/* A tag scribbled over; check bits tell. */
proctype scribbler(byte times) {
  byte g;
  do
  :: times > 0 ->
     times--;
     atomic { if :: g = 0 :: NG > 1 -> g = 1 fi; tag[g] = DAMAGED; g = 0 }
  :: else -> break
  od;
  done++
}
#endif

#if DEATHS
/* What a surviving process, or the next attach, does for a dead thread. */
proctype reaper() {
  byte u, g, t, k, m, i;
  bool okay;
  do
  :: atomic {
       if
       :: dead[0] -> u = 0; dead[0] = false
       :: NU > 1 && dead[1] -> u = 1; dead[1] = false
       :: NU > 2 && dead[2] -> u = 2; dead[2] = false
       :: done == WORLD - 1 -> goto DIE
       fi
     };
     /* REAP.window: what was in its store buffer is in memory */ BUFFER_EMPTY(u);
     win[u] = 0;
     if
     :: ust[u] == ACTIVE -> /* REAP.crash */ crash(u, true, t); t = 0
     :: else
     fi;
     if
     :: ust[u] == CRASHED -> /* REAP.collect */ end_of_scope(u, g, t, k, m, i, okay)
     :: ust[u] == COMMITTED -> /* REAP.apply */
        do
        :: g < NG -> apply_granule(u, g, t, k, i); g++
        :: else -> break
        od;
        g = 0;
        generation_over(u)
     :: ust[u] == IDLE
     fi;
     u = 0;
     done++
  od;
DIE:
  done++
}
#endif

init {
  atomic {
    run user(0);
#if NU > 1
    run user(1);
#endif
#if NU > 2
    run user(2);
#endif
#if TSO
    run store_buffer(0);
#if NU > 1
    run store_buffer(1);
#endif
#endif
#if ASYNC
    run service();
#if ASYNC > 1
    run service();
#endif
#endif
#if SWEEPS
    run sweeper(SWEEPS);
#endif
#if WILDS
    run wild(WILDS);
#endif
#if CREADS
    run committed_reader(CREADS);
#endif
#if DAMAGES
    run scribbler(DAMAGES);
#endif
#if DEATHS
    run reaper();
#endif
  };
  done == WORLD;
  d_step { check_end() }
}
