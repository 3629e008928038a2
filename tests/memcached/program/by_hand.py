# SPDX-License-Identifier: Apache-2.0
"""Places calls by hand in memcached's sources: each line before (or after) a place in a function announces what is stored
there to the region (by_hand.h says what each announces). A function or place that is not found, or not once, is an error.

usage: by_hand.py SOURCE FOLDER

Writes to FOLDER the sources that have such calls.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

BEGIN = ""  # of the function
AFTER = ">"  # marks a place that the line comes behind

# Of each file: function, place in it, line.
CALLS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "assoc.c": (
        ("assoc_init", BEGIN, "BY_HAND(primary_hashtable);"),
        ("assoc_insert", "it->h_next = old_hashtable[oldbucket];", "BY_HAND(it->h_next); BY_HAND(old_hashtable[oldbucket]);"),
        ("assoc_insert", "it->h_next = primary_hashtable[",
         "BY_HAND(it->h_next); BY_HAND(primary_hashtable[hv & hashmask(hashpower)]);"),
        ("assoc_delete", "nxt = (*before)->h_next;", "BY_HAND(*before); BY_HAND((*before)->h_next);"),
        # Before it fills a user's write set with the new table.
        ("assoc_expand", BEGIN, "BY_HAND(old_hashtable); BY_HAND(primary_hashtable); BY_HAND(expanding); "
                                "BY_HAND(expand_bucket); BY_HAND(stats_state);"),
        ("assoc_maintenance_thread", "assoc_expand();", "BY_HAND_BEGIN;"),
        ("assoc_maintenance_thread", AFTER + "assoc_expand();", "BY_HAND_END;"),
        ("assoc_maintenance_thread", "it->h_next = primary_hashtable[",
         "BY_HAND(it->h_next); BY_HAND(primary_hashtable[bucket]);"),
        ("assoc_maintenance_thread", "old_hashtable[expand_bucket] = NULL;",
         "BY_HAND(old_hashtable[expand_bucket]); BY_HAND(expand_bucket); BY_HAND(expanding);"),
        # The iterator is the region's too, and changes between two locks.
        ("assoc_iterate", "if (iter->next != NULL) {", "BY_HAND(*iter);"),
        ("assoc_iterate", "// unlock previous bucket,", "BY_HAND_BEGIN;"),
        ("assoc_iterate", AFTER + "iter->bucket++;\n            iter->bucket_locked = false;", "BY_HAND_END;"),
        ("assoc_iterate", "item_lock(iter->bucket);", "BY_HAND_BEGIN; BY_HAND(*iter);"),
        ("assoc_iterate", AFTER + "iter->bucket_locked = true;", "BY_HAND_END;"),
        ("assoc_iterate", "// - nothing found in this bucket,", "BY_HAND_BEGIN;"),
        ("assoc_iterate", AFTER + "iter->bucket_locked = false;\n            iter->bucket++;", "BY_HAND_END;"),
    ),
    "bipbuffer.c": (
        ("bipbuf_init", BEGIN, "BY_HAND(*me);"),
        ("bipbuf_push", BEGIN, "BY_HAND(*me);"),
        ("bipbuf_poll", BEGIN, "BY_HAND(*me);"),
    ),
    "crawler.c": (
        ("crawler_expired_eval", BEGIN, "BY_HAND_ITEM(search); BY_HAND(crawlers[i]);"),
        ("crawler_metadump_eval", BEGIN, "BY_HAND_ITEM(it);"),
        # Not always with the lock that it lets go of.
        ("lru_crawler_class_done", BEGIN, "BY_HAND_BEGIN; BY_HAND(crawlers[i]);"),
        ("lru_crawler_class_done", "pthread_mutex_unlock(&lru_locks[i]);", "BY_HAND_END;"),
        ("item_crawl_hash", "if (refcount_incr(it) < 2) {", "BY_HAND_ITEM(it);"),
        ("item_crawler_thread", "search = do_item_crawl_q(", "BY_HAND(crawlers[i]);"),
        ("item_crawler_thread", "if (refcount_incr(search) != 2) {", "BY_HAND_ITEM(search);"),
        ("do_lru_crawler_start", "crawlers[sid].nbytes = 0;", "BY_HAND(crawlers[sid]);"),
    ),
    "items.c": (
        ("item_stats_reset", "memset(&itemstats[i], 0,", "BY_HAND(itemstats[i]);"),
        ("do_item_stats_add_crawl", BEGIN, "BY_HAND(itemstats[i]);"),
        ("get_cas_id", "uint64_t next_id = ++cas_id;", "BY_HAND(cas_id);"),
        ("set_cas_id", "cas_id = new_cas;", "BY_HAND(cas_id);"),
        ("do_item_alloc_pull", "itemstats[id].direct_reclaims += i;", "BY_HAND(itemstats[id].direct_reclaims);"),
        ("do_item_alloc_chunk", "nch->head = ch->head;", "BY_HAND_CHUNK(ch);"),
        ("do_item_alloc", "itemstats[id].outofmemory++;", "BY_HAND(itemstats[id].outofmemory);"),
        ("do_item_link_q", "it->prev = 0;", "BY_HAND_ITEM(it); BY_HAND_ENDS(it->slabs_clsid); "
                                            "BY_HAND_COUNTS(it->slabs_clsid); if (*head != NULL) BY_HAND((*head)->prev);"),
        ("item_link_q_warm", "itemstats[it->slabs_clsid].moves_to_warm++;",
         "BY_HAND(itemstats[it->slabs_clsid].moves_to_warm);"),
        ("do_item_unlink_q", BEGIN, "BY_HAND_ENDS(it->slabs_clsid); BY_HAND_COUNTS(it->slabs_clsid); BY_HAND_NEIGHBOURS(it);"),
        ("do_item_link", BEGIN, "BY_HAND_ITEM(it);"),
        ("do_item_unlink", BEGIN, "BY_HAND_ITEM(it);"),
        ("do_item_unlink_nolock", BEGIN, "BY_HAND_ITEM(it);"),
        ("do_item_remove", BEGIN, "BY_HAND_ITEM(it);"),
        ("do_item_update", BEGIN, "BY_HAND_ITEM(it);"),
        ("do_item_get", "refcount_incr(it);", "BY_HAND_ITEM(it);"),
        ("do_item_bump", BEGIN, "BY_HAND_ITEM(it);"),
        ("lru_pull_tail", "if (refcount_incr(search) != 2) {", "BY_HAND_ITEM(search); BY_HAND(itemstats[id]);"),
        ("lru_bump_async", BEGIN, "BY_HAND_ITEM(it);"),
        ("lru_bump_async", "be->it = it;", "BY_HAND(*be);"),
        ("do_item_linktail_q", "it->prev = *tail;", "BY_HAND(it->next); BY_HAND(it->prev); BY_HAND_ENDS(it->slabs_clsid); "
                                                    "if (*tail != NULL) BY_HAND((*tail)->next);"),
        ("do_item_unlinktail_q", BEGIN, "BY_HAND_ENDS(it->slabs_clsid); BY_HAND_NEIGHBOURS(it);"),
        ("do_item_crawl_q", BEGIN, "BY_HAND_ENDS(it->slabs_clsid); BY_HAND_LINKS(it);"),
    ),
    "memcached.c": (
        ("_store_item_copy_chunks", "memcpy(dch->data + dch->used, sch->data", "BY_HAND_CHUNK(dch);"),
        ("_store_item_copy_chunks", "memcpy(dch->data + dch->used, ITEM_data(", "BY_HAND_CHUNK(dch);"),
        ("do_store_item", BEGIN, "BY_HAND_ITEM(it);"),
        ("tcp_read", BEGIN, "BY_HAND_READ(count);"),
        ("read_into_chunked_item", "ch->used += tocopy;", "BY_HAND_CHUNK(ch);"),
        ("read_into_chunked_item", "ch->used += res;", "BY_HAND_CHUNK(ch);"),
    ),
    "proto_bin.c": (
        ("complete_update_bin", "*(ITEM_data(it) + it->nbytes - 2) =", "guard_stores(ITEM_data(it) + it->nbytes - 2, 2);"),
        ("complete_update_bin", "ch->data[ch->used] =", "BY_HAND_CHUNK(ch); guard_stores(ch->data + ch->used, 2);"),
    ),
    "proto_text.c": (
        ("process_mget_command", "it->it_flags |= ITEM_TOKEN_SENT;", "BY_HAND_ITEM(it);"),
    ),
    "slabs.c": (
        ("slabs_init", BEGIN, "BY_HAND(slabclass); BY_HAND(mem_malloced); BY_HAND(mem_current); BY_HAND(mem_avail);"),
        ("grow_slab_list", "p->list_size = new_size;", "BY_HAND(*p);"),
        ("get_page_from_global_pool", "p->slabs--;", "BY_HAND(*p);"),
        ("do_slabs_newslab", "p->slab_list[p->slabs++] =", "BY_HAND(*p); BY_HAND(p->slab_list[p->slabs]);"),
        ("memory_allocate", BEGIN, "BY_HAND(mem_malloced); BY_HAND(mem_current); BY_HAND(mem_avail);"),
        ("memory_release", BEGIN, "BY_HAND(mem_malloced);"),
        ("do_slabs_alloc", "p->slots = it->next;", "BY_HAND(*p); BY_HAND_NEW_ITEM(it, size); "
                                                   "if (it->next != NULL) BY_HAND(it->next->prev);"),
        ("do_slabs_free", "it->it_flags = ITEM_SLABBED;", "BY_HAND_ITEM(it); BY_HAND_SLOTS(*p);"),
        ("do_slabs_free_chunked", "it->it_flags = ITEM_SLABBED;",
         "BY_HAND_ITEM(it); BY_HAND_CHUNK(chunk); BY_HAND_SLOTS(slabclass[chunk->orig_clsid]);"),
        ("do_slabs_free_chunked", "if (chunk->next) {", "if (chunk->next != NULL) BY_HAND_CHUNK(chunk->next);"),
        ("do_slabs_free_chunked", "chunk->it_flags = ITEM_SLABBED;",
         "BY_HAND_CHUNK(chunk); BY_HAND_SLOTS(slabclass[chunk->slabs_clsid]);"),
        ("start_slab_maintenance_thread", "slab_rebal.slab_start = NULL;", "BY_HAND_BEGIN; BY_HAND(slab_rebal);"),
        ("start_slab_maintenance_thread", AFTER + "slab_rebal.slab_start = NULL;", "BY_HAND_END;"),
        # No calls are in the functions that move slab pages from one size of items to another.
        ("do_slabs_reassign", BEGIN, "return REASSIGN_NOSPARE;"),
    ),
    "thread.c": (
        ("STATS_LOCK", AFTER + "pthread_mutex_lock(&stats_lock);", "BY_HAND(stats_state);"),
        ("memcached_thread_init", "stats_state.reserved_fds += 5;", "BY_HAND_BEGIN; BY_HAND(stats_state);"),
        ("memcached_thread_init", AFTER + "stats_state.reserved_fds += 5;", "BY_HAND_END;"),
    ),
}


class NotFound(Exception):
    pass


def body_of(text: str, function: str) -> tuple[int, int]:
    heads = list(re.finditer(rf"^\w[\w ]*[\s*]+{function}\s*\([^;{{}}]*\)\s*{{", text, re.MULTILINE))
    if len(heads) != 1:
        raise NotFound(f"function {function} is defined {len(heads)} times")
    end = text.find("\n}", heads[0].end())
    if end < 0:
        raise NotFound(f"function {function} has no end")
    return heads[0].end(), end


def places(text: str, calls: tuple[tuple[str, str, str], ...]) -> Iterator[tuple[int, str]]:
    for function, place, line in calls:
        begin, end = body_of(text, function)
        anchor = place.removeprefix(AFTER)
        count = text.count(anchor, begin, end) if anchor != BEGIN else 1
        if count != 1:
            raise NotFound(f"function {function}: '{anchor}' is there {count} times")
        at = text.index(anchor, begin, end)
        yield at + (len(anchor) if place.startswith(AFTER) else 0), line


def main() -> int:
    source, folder = (Path(word) for word in sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    for file, calls in CALLS.items():
        text = (source / file).read_text(encoding="utf-8")
        try:
            placed = sorted(places(text, calls), reverse=True)
        except NotFound as error:
            sys.exit(f"{file}: {error}: by_hand.py knows memcached 1.6.18 alone")
        for at, line in placed:
            text = f"{text[:at]} {line} {text[at:]}"
        (folder / file).write_text(f'#line 1 "{source / file}"\n{text}', encoding="utf-8")
    print(f"{sum(map(len, CALLS.values()))} calls in {len(CALLS)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
