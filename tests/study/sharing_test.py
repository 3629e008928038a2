#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What users of server.c share, and what is proposed.

usage: sharing_test.py BUILD
"""

import sys
import unittest
from pathlib import Path

from study import study

BUILD = Path(sys.argv.pop())


def counts(point: dict, size: str) -> tuple:
    return tuple(point[size][key] for key in ("touched", "shared", "shared_and_written", "written_by_several"))


class Sharing(unittest.TestCase):
    def test_words_lines_and_pages_by_number_of_requests(self) -> None:
        # Both read two words, of which one writes the first; each writes a page of its own, and a line of a page.
        result = study(BUILD, "0g 1g 1w 00 11 02 13", "--user", "connection", "--injections", "0")
        self.assertEqual((result["requests"], result["connections"]), (7, 2))
        last = result["figure2"][-1]
        self.assertEqual(counts(last, "8"), (6, 2, 1, 0))
        self.assertEqual(counts(last, "64"), (6, 2, 1, 0))
        self.assertEqual(counts(last, "4096"), (5, 3, 2, 1))
        points = {point["requests"]: point["8"]["share"] for point in result["figure2"]}
        self.assertEqual(points, {1: 0.0, 2: 1.0, 5: 2 / 4, 7: 2 / 6})

    def test_a_user_is_a_request(self) -> None:
        last = study(BUILD, "0w 0w 00", "--injections", "0")["figure2"][-1]
        self.assertEqual(counts(last, "8"), (2, 1, 1, 1))

    def test_a_user_is_a_thread(self) -> None:
        last = study(BUILD, "0g 1w 1g", "--user", "thread", "--injections", "0")["figure2"][-1]
        self.assertEqual(counts(last, "8"), (2, 0, 0, 0))

    def test_a_block_that_is_allocated_anew_is_new_memory(self) -> None:
        # source, the block twice, and the linker's pointers to malloc and free; both read source.
        last = study(BUILD, "0h 0f 1m 1h", "--user", "connection", "--injections", "0")["figure2"][-1]
        self.assertEqual(counts(last, "8"), (5, 1, 0, 0))

    def test_proposal(self) -> None:
        found = study(BUILD, "0w 0g 1g 0k 1k 0n 00", "--user", "connection", "--injections", "0")["proposal"]
        rows = {row["name"]: row for row in found["objects"]}
        # Who has called main has a name only where the C library's symbols are.
        cache = next((name for name in rows if name.startswith("make_cache < main < ")), "make_cache")
        self.assertTrue(cache.endswith(" (to 64 bytes)"), cache)
        self.assertEqual(set(rows), {"shared_word (study_server)", cache})
        self.assertEqual(rows["shared_word (study_server)"]["kind"], "variable")
        self.assertEqual(rows["shared_word (study_server)"]["bytes"], 4096)
        self.assertEqual({key: rows[cache][key] for key in ("blocks", "bytes", "loads", "stores", "touched")},
                         {"blocks": 1, "bytes": 64, "loads": 2, "stores": 2, "touched": 1})
        # Five words: shared_word, read_only (shared, but nobody writes it), the cache, the notes, a private page.
        self.assertEqual(found["all_touched_bytes"], 5 * 8)
        self.assertEqual(found["all_stores"], 5)
        self.assertAlmostEqual(found["share_of_memory"], 2 / 5)
        self.assertAlmostEqual(found["share_of_stores"], 3 / 5)
        self.assertEqual(found["not_proposed"], 3)

    def test_what_each_writes_before_it_reads_is_not_proposed(self) -> None:
        result = study(BUILD, "0w 1w", "--user", "connection", "--injections", "0")
        self.assertEqual(counts(result["figure2"][-1], "8"), (1, 1, 1, 1))
        self.assertEqual((result["figure2"][-1]["8"]["passed"], result["proposal"]["objects"]), (0, []))
        last = study(BUILD, "0w 1g 1w", "--user", "connection", "--injections", "0")["figure2"][-1]
        self.assertEqual(last["8"]["passed"], 1)


if __name__ == "__main__":
    unittest.main()
