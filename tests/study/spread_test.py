#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How a corrupted value spreads in server.c, byte for byte.

usage: spread_test.py BUILD
"""

import sys
import unittest
from pathlib import Path

from study import study

BUILD = Path(sys.argv.pop())


def injected(requests: str, *options: str) -> dict:
    """The one injection: into `source`, by the first request that stores to it."""
    rows = study(BUILD, requests, "--corrupt", "source", "--injections", "1", "--stores", "1", "--spacing", "1",
                 *options)["figure1"]
    if len(rows) != 1:
        raise AssertionError(f"{len(rows)} injections")
    return rows[0]


class Spread(unittest.TestCase):
    def test_copies_spread_and_are_cleansed(self) -> None:
        # A value, three copies, one found by it in a table, one on the heap; then most are overwritten, the heap's is
        # freed, and what was looked up is overwritten.
        row = injected("0s 0c 0p 0h 0x 0f 0z")
        self.assertEqual(row["marked"], 8)
        self.assertEqual(row["after"], [8, 32, 32, 40, 8, 0, 0])
        self.assertEqual(row["after_with_addresses"], [8, 32, 40, 48, 16, 8, 0])
        self.assertEqual((row["peak"], row["peak_with_addresses"]), (40, 48))
        self.assertEqual((row["last"], row["last_with_addresses"]), (0, 0))
        self.assertEqual(row["used_as_address"], 1)
        self.assertEqual(row["readers"], 3)  # c, p and h
        self.assertEqual(row["place"], "other")

    def test_computed_branched_on_the_stack_and_reallocated(self) -> None:
        row = injected("0s 0a 0b 0t 0h 0r 0x 0f")
        # a computes one, b only branches, t's is gone with its frame; h's block keeps it when it moves.
        self.assertEqual(row["after"], [8, 16, 16, 16, 24, 24, 8, 0])
        self.assertEqual(row["peak"], 32)  # while it moves, it is there twice
        self.assertEqual(row["decided_branches"], 1)

    def test_the_kernel_sends_and_overwrites(self) -> None:
        row = injected("0s 0o 0i")
        self.assertEqual(row["bytes_sent"], 8)
        self.assertEqual(row["after"], [8, 8, 0])

    def test_from_the_first_request_that_stores_there_for_as_many_as_asked(self) -> None:
        row = injected("0. 0g 0s 0c 0. 0. 0.", "--follow", "2")
        self.assertEqual(row["request"], 3)
        self.assertEqual(row["after"], [8, 32, 32])
        self.assertTrue(row["complete"])

    def test_any_store(self) -> None:
        # Requests c store three words, and variables of the server's on its stack.
        options = ("--injections", "8", "--stores", "1,3", "--follow", "5", "--spacing", "4", "--seed", "3")
        rows = study(BUILD, " ".join(["0c"] * 40), *options)["figure1"]
        self.assertEqual([row["stores"] for row in rows], [1, 3] * 4)
        self.assertEqual({row["place"] for row in rows}, {"stack", "other"})
        self.assertEqual(rows, study(BUILD, " ".join(["0c"] * 40), *options)["figure1"])


if __name__ == "__main__":
    unittest.main()
