/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's part. Each inline is a trap or a part of one; the labels and the names at the left of the
 * comments are those of docs/protocol.md. Guest threads keep running meanwhile.
 */

/* A trap drains the caller's store buffer before the engine looks. */
#define LOCK_GRANULE(g) atomic { !lk[g] -> lk[g] = true }
#define LOCK_SERVER atomic { !slk -> slk = true }
inline unlock_granule(G) { d_step { lk[G] = false; check_granule(G) } }

/* RESTORE: every word of granule G back to the mirror. */
inline restore_all(G, I) {
  I = 0;
  do
  :: I < NB -> data[BYTE(G, I)] = mirror[BYTE(G, I)]; I++
  :: else -> break
  od;
  I = 0
}

/* RESTORE_REST: the words of G that its owner did not write (bits K), where they differ. */
inline restore_rest(G, I, K) {
#if WILDS
  I = 0;
  do
  :: I < NB ->
     if
     :: (K & (1 << I)) == 0 && data[BYTE(G, I)] != mirror[BYTE(G, I)] -> data[BYTE(G, I)] = mirror[BYTE(G, I)]
     :: else
     fi;
     I++
  :: else -> break
  od;
  I = 0
#else
  skip
#endif
}

/* ---- CRASH(U): OWNTHREAD when the crashed thread itself traps, or is dead. E gets the epoch, 0 = too late. */
inline crash(U, OWNTHREAD, E) {
  /* CRASH.lock */ LOCK_SERVER;
  if
  :: ust[U] == ACTIVE ->
     /* CRASH.cst */ atomic { drained[U] = false; E = EPOCH(mode) + 1; cst[U] = E };
#if HOLE == 4
     drained[U] = true;
#endif
     /* CRASH.mode: the one store */
     d_step { mode = E * 2 + 1; ust[U] = CRASHED; true_crash(U); check_mode() };
     if
     :: OWNTHREAD -> /* CRASH.drained */ drained[U] = true
     :: else
     fi
  :: else -> E = 0
  fi;
  /* CRASH.unlock */ slk = false
}

/* ---- DRAINED(U, E): the windows of U, crashed at epoch E, have been seen closed. The mode moves before
 * anything is restored: else a reader that looked at a tag before a late claim and again after its
 * restoration would see the same tag, and keep what it read in between. */
inline report_drained(U, E) {
  /* DRAINED.lock */ LOCK_SERVER;
  if
  :: (ust[U] == CRASHED && cst[U] == E && !drained[U]) || HOLE == 22 ->
#if HOLE != 27
     /* DRAINED.mode */ d_step { mode = (EPOCH(mode) + 1) * 2 + SUPPRESSION(mode); check_mode() };
#endif
     /* DRAINED.flag */ drained[U] = true
  :: else
  fi;
  /* DRAINED.unlock */ slk = false
}

/* ---- FINISH ---- */
/* PREPARE(U), granule G: stage what U wrote, if the tag says it is U's; what is contended stands in records. */
inline prepare_granule(U, G, T, K, I) {
  /* PREPARE.lock */ LOCK_GRANULE(G);
  /* PREPARE.tag */ T = tag[G];
  if
  :: T == OWN(U, gen[U]) || T == FROZEN(U, gen[U]) ||
     ((T == DAMAGED || T == REPAIRING) && (conf[U] & (1 << (G))) && NO_CHAIN(G)) ->
     /* PREPARE.mask */ K = mask[G];
     I = 0;
     do
     :: I < NB ->
        if
        :: K & (1 << I) -> /* PREPARE.stage */ stage[(U) * NX + BYTE(G, I)] = data[BYTE(G, I)]
        :: else
        fi;
        I++
     :: else -> break
     od;
     stage_mask[(U) * NG + (G)] = K
  :: else
  fi;
  K = 0; I = 0; T = 0;
  unlock_granule(G)
}

/* COMMIT(U): the one store. OKAY tells whether U was still active. */
inline commit(U, OKAY) {
  atomic {
    !slk ->
    d_step {
      if
      :: ust[U] == ACTIVE -> ust[U] = COMMITTED; true_commit(U); OKAY = true; check_all_free_granules()
      :: else -> OKAY = false
      fi
    }
  }
}

/* APPLY(U), granule G. The mirror's part needs nothing but hidden state. */
inline apply_granule(U, G, T, K, I) {
  /* APPLY.lock */ LOCK_GRANULE(G);
  /* APPLY.mirror */
  d_step {
    h4 = (G) * NB;
    do
    :: h4 < ((G) + 1) * NB ->
       if
       :: stage_mask[(U) * NG + (G)] & BIT(h4) -> mirror[h4] = stage[(U) * NX + h4]
       :: else
       fi;
       stage[(U) * NX + h4] = 0;
       h1 = 0;
       do
       :: h1 < NU ->
          if
          :: lists[NX * NU + h4 * NU + h1] != 0 && ENTRY_USER(lists[NX * NU + h4 * NU + h1]) == (U) ->
             mirror[h4] = ENTRY_VALUE(lists[NX * NU + h4 * NU + h1]);
#if HOLE == 5
             list_drop(NX + h4, U, false);
#else
             list_drop(NX + h4, U, true);
#endif
             h1 = NU
          :: else -> h1++
          fi
       :: else -> break
       od;
       h4++
    :: else -> break
    od;
    stage_mask[(U) * NG + (G)] = 0;
    note_committed_reader(G)
  };
  /* APPLY.tag */ T = tag[G];
  if
  :: T == OWN(U, gen[U]) || T == FROZEN(U, gen[U]) ||
     ((T == DAMAGED || T == REPAIRING) && (conf[U] & (1 << (G))) && NO_CHAIN(G)) ->
     /* APPLY.rest */
#if HOLE != 37
     K = mask[G];
     restore_rest(G, I, K);
     K = 0;
#endif
     conf[U] = conf[U] & ~(1 << (G));
     if
     :: T != OWN(U, gen[U]) -> /* APPLY.thaw */ COUNT_FREED; tag[G] = UNOWNED
     :: else
     fi
  :: T == CONTENDED && NO_CHAIN(G) -> /* APPLY.free */ COUNT_FREED; tag[G] = UNOWNED
  :: else
  fi;
  T = 0;
  unlock_granule(G)
}

/* OVER(U): the generation ends; U's marks are void with it. */
inline generation_over(U) {
  /* OVER.lock */ LOCK_SERVER;
  /* OVER.gen */
  d_step { gen[U] = (gen[U] + 1) % GENS; ws[U] = 0; conf[U] = 0; ust[U] = IDLE; check_all_free_granules() };
  slk = false
}

/* ---- COLLECT(U), granule G ---- */
inline collect_granule(U, G, T, M, I, OKAY) {
  /* COLLECT.lock */ LOCK_GRANULE(G);
  /* COLLECT.records: mine go; did any stand there? */
  d_step {
    h4 = (G) * NB; OKAY = false;
    do
    :: h4 < ((G) + 1) * NB ->
       h2 = 0;
       do
       :: h2 < NU ->
          if :: lists[NX * NU + h4 * NU + h2] != 0 && ENTRY_USER(lists[NX * NU + h4 * NU + h2]) == (U) -> OKAY = true :: else fi;
          h2++
       :: else -> break
       od;
       list_drop(NX + h4, U, false);
       stage[(U) * NX + h4] = 0;
       h4++
    :: else -> break
    od;
    stage_mask[(U) * NG + (G)] = 0
  };
  /* COLLECT.tag */ T = tag[G];
  if
  :: T == OWN(U, gen[U]) || T == FROZEN(U, gen[U]) ||
     ((T == DAMAGED || T == REPAIRING) && (conf[U] & (1 << (G))) && NO_CHAIN(G) && !OKAY) ->
     /* COLLECT.restore */ restore_all(G, I);
     conf[U] = conf[U] & ~(1 << (G));
#if HOLE != 26
     /* COLLECT.free */ COUNT_FREED; tag[G] = UNOWNED;
#endif
  :: (T == CONTENDED || T == DAMAGED || T == REPAIRING) && OKAY ->
#if HOLE != 33
     /* COLLECT.mode */ M = mode;
     I = 0;
     do
     :: I < NB ->
        /* COLLECT.value */
        d_step { newest_record(BYTE(G, I), M); data[BYTE(G, I)] = top };
        I++
     :: else -> break
     od;
     I = 0; M = 0;
#endif
     if
     :: NO_CHAIN(G) -> /* COLLECT.free */ COUNT_FREED; tag[G] = UNOWNED
     :: else
     fi
  :: else
  fi;
  T = 0; OKAY = false;
  unlock_granule(G)
}

/* The value of byte X by the hidden state: the newest record of a user not crashed at M, else the mirror. */
inline newest_record(X, M) {
  top = mirror[X]; h1 = 0;
  do
  :: h1 < NU ->
     if
     :: lists[NX * NU + (X) * NU + h1] != 0 && !CRASHED_AT(cst[ENTRY_USER(lists[NX * NU + (X) * NU + h1])], M) ->
        top = ENTRY_VALUE(lists[NX * NU + (X) * NU + h1])
     :: else
     fi;
     h1++
  :: else -> break
  od;
  h1 = 0
}

/* COLLECTED(U): generation over, then the mode. */
inline collected(U, I) {
  /* COLLECTED.lock */ LOCK_SERVER;
  /* COLLECTED.gen */
  d_step { gen[U] = (gen[U] + 1) % GENS; ws[U] = 0; conf[U] = 0 };
  I = 0;
  d_step {
    h1 = 0; I = 0;
    do
    :: h1 < NU -> if :: h1 != (U) && ust[h1] == CRASHED -> I = 1 :: else fi; h1++
    :: else -> break
    od;
    h1 = 0
  };
  /* COLLECTED.mode */
  d_step { mode = (EPOCH(mode) + 1) * 2 + I; ust[U] = IDLE; drained[U] = false; check_mode(); I = 0 };
  slk = false
}

/* The whole end of a scope, by the user's own thread (DYING: it may die between any two parts) or a reaper.
 * WS says which granules prepare goes over; apply and collect look at records too, so at all granules. */
inline end_of_scope(U, G, T, K, M, I, OKAY) {
  G = 0;
#if HOLE == 15
  /* no staging: the mirror first, granule by granule, the state at last */
  do
  :: G < NG && !(ws[U] & (1 << G)) -> G++
  :: G < NG && (ws[U] & (1 << G)) ->
     LOCK_GRANULE(G);
     K = mask[G];
     I = 0;
     do
     :: I < NB ->
        if :: tag[G] == OWN(U, gen[U]) && (K & (1 << I)) -> mirror[BYTE(G, I)] = data[BYTE(G, I)] :: else fi;
        I++
     :: else -> break
     od;
     K = 0; I = 0;
     atomic { lk[G] = false; G++ };
     MAY_DIE
  :: G == NG -> break
  od;
#else
  do
  :: G < NG && !(ws[U] & (1 << G)) -> G++
  :: G < NG && (ws[U] & (1 << G)) -> prepare_granule(U, G, T, K, I); G++
  :: G == NG -> break
  od;
#endif
  MAY_DIE;
  /* COMMIT */ commit(U, OKAY);
  G = 0;
  if
  :: OKAY ->
     OKAY = false;
     do
     :: G < NG -> MAY_DIE; apply_granule(U, G, T, K, I); G++
     :: G == NG -> break
     od;
     G = 0;
     MAY_DIE;
     generation_over(U)
  :: else ->
     /* COLLECT.drained: its threads are out, whoever declared it crashed */
     I = cst[U];
     report_drained(U, I);
     I = 0;
     do
     :: G < NG ->
        if
        :: CURSOR || (ws[U] & (1 << G)) || !NO_CHAIN(G) -> collect_granule(U, G, T, M, I, OKAY)
        :: else
        fi;
        G++
     :: G == NG -> break
     od;
     G = 0;
     collected(U, I)
  fi
}
