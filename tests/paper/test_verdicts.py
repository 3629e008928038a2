# SPDX-License-Identifier: Apache-2.0
"""The verdicts themselves: runs that are right, and wrong in each way there is."""

from __future__ import annotations

import copy
import unittest

import machine
from runs import Run
from verdicts import INVARIANTS, KILLED_BY_SIGSEGV, OLD, problems

CLERKS = [f"clerk {n}  finished 12, roster 12, told 0, reads 12, backwards 0" for n in range(3)]
CRASH = ["user 0   follows a wild pointer", "user 0   runs on", "user 0   ends: told that it failed"]
ROUNDS = "rounds   7, in each user 0 crashed; told that it failed 7"


def sweeps(user: int) -> str:
    return (f"user {user}   sweeps 90, rounds while it happened 3, straddled 0, back 0, stale 0, "
            "strange 0")


LINES = {
    "5.1.1": ["user 3   reads before 1:3100 2:3200 3:3300 4:3400", "user 0   prints 1:90001 2:90002",
              "user 3   reads during 1:3100 2:3200 3:3300 4:3400", "user 4   writes 4:4400",
              "user 4   ends: finished", "user 3   reads after 1:3100 2:3200 3:3300 4:4400", *CRASH,
              *CLERKS],
    "5.1.2": [*(f"user 3   reads {when} 1:4100 2:4200 3:3300 4:3400"
                for when in ("before", "during", "after")),
              "user 0   has overwritten 840124 bytes", *CRASH],
    "5.1.3-1": [f"round 1  before: {OLD}", f"user 3   reads during {OLD}", f"roster   reads after {OLD}",
                "user 0   prints " + " ".join(f"{n}:{90000 + n}" for n in range(1, 9)), ROUNDS,
                sweeps(3), sweeps(4), *CLERKS],
    "5.1.3-2": ["user 4   reads during 1:3100", "user 4   writes 1:4100", "user 4   writes 2:4200",
                "user 4   ends: finished", "user 3   reads during 1:4100 2:4200",
                "user 3   reads after 1:4100 2:4200 3:3300", *CRASH, *CLERKS],
    "5.1.3-3": ["user 4   writes 1:4100", "user 3   reads during 1:4100", ROUNDS,
                "rounds   7 in which user 4's value was there after user 0's end",
                "roster   reads after 1:4106", sweeps(3), *CLERKS],
}


def good(scenario: str) -> Run:
    crashes = 7 if scenario in ("5.1.3-1", "5.1.3-3") else 1
    nothing = {"faults": {"wild": 0}, "suppressed_stores": 0, "restores": {"demand": 0, "collection": 0},
               "users_collected": 0, "mode": "normal"}
    counted = {"faults": {"wild": crashes}, "suppressed_stores": crashes,
               "restores": {"demand": 2, "collection": 1}, "users_collected": crashes, "mode": "normal"}
    return Run(["roster", scenario], "hosted", 0, list(LINES[scenario]), nothing, counted,
               {name: "ok" for name in INVARIANTS})


PLAIN = Run(["roster-plain", "5.1.1"], "hosted", KILLED_BY_SIGSEGV,
            ["user 0   prints 1:90001 2:90002", "user 0   follows a wild pointer"])


class Verdicts(unittest.TestCase):
    def test_right(self) -> None:
        for scenario in LINES:
            self.assertEqual(problems(good(scenario)), [])
        self.assertEqual(problems(PLAIN), [])

    def test_every_line_counts(self) -> None:
        for scenario, lines in LINES.items():
            for at, line in enumerate(lines):
                if line == "user 0   follows a wild pointer":
                    continue  # what came of it is looked at
                run = good(scenario)
                del run.lines[at]
                self.assertTrue(problems(run), f"{scenario} without '{line}'")

    def test_every_number_counts(self) -> None:
        for scenario in LINES:
            for before, after in ((":90001", ":3100"), ("3100", "90001"), ("4100", "3100"), ("4106", "4105"),
                                  ("roster 12", "roster 11"), ("told 0", "told 1"), ("reads 12", "reads 0"),
                                  ("backwards 0", "backwards 1"), ("finished 12, roster 12", "finished 0, roster 0"),
                                  ("happened 3", "happened 0"), ("back 0", "back 1"), ("stale 0", "stale 1"),
                                  ("strange 0", "strange 1"), ("failed 7", "failed 6"),
                                  ("overwritten 840124", "overwritten 0"), ("7 in which", "6 in which")):
                run = good(scenario)
                changed = [line.replace(before, after) for line in run.lines]
                if changed == run.lines:
                    continue
                run.lines = changed
                self.assertTrue(problems(run), f"{scenario} with '{after}' for '{before}'")

    def test_a_mixture_of_committed_values(self) -> None:
        run = good("5.1.3-1")
        run.lines = [line.replace("straddled 0", "straddled 1") if line.startswith("user 4") else line
                     for line in run.lines]
        self.assertTrue(problems(run))

    def test_a_mechanism_that_did_nothing(self) -> None:
        for scenario in LINES:
            for counter in ("faults", "suppressed_stores", "restores", "users_collected"):
                run = good(scenario)
                run.after[counter] = run.before[counter]
                self.assertTrue(problems(run), f"{scenario}: {counter}")
            run = good(scenario)
            run.after["mode"] = "suppression"
            self.assertTrue(problems(run))
            for verdicts in ({}, {**run.verdicts, "mirror": "violated"}, {**run.verdicts, "hidden": "unverified"}):
                run = good(scenario)
                run.verdicts = verdicts
                self.assertTrue(problems(run))

    def test_a_server_that_dies_or_does_not(self) -> None:
        run = good("5.1.1")
        run.status = KILLED_BY_SIGSEGV
        self.assertTrue(problems(run))
        run = copy.deepcopy(PLAIN)
        run.status = 0
        self.assertTrue(problems(run))
        run = copy.deepcopy(PLAIN)
        run.lines.append("user 3   reads during 1:3100")
        self.assertTrue(problems(run))

    def test_console(self) -> None:
        console = ["guest: begin roster 5.1.1 --fault hole", 'guest: before {"servers": [{"faults": {"wild": 1}}]}',
                   "Segmentation fault", 'guest: check {"checks": [{"name": "mirror", "verdict": "ok"}]}',
                   'guest: after {"servers": [{"faults": {"wild": 3}}]}', "user 0   runs on", "roster   waits",
                   "guest: ended 139", "RESULT: SUCCESS"]
        run, = machine.runs_of(console)
        self.assertEqual((run.name, run.status, run.lines), ("5.1.1_hole", 139, ["user 0   runs on"]))
        self.assertEqual((run.counted("faults"), run.verdicts), (2, {"mirror": "ok"}))


if __name__ == "__main__":
    unittest.main()
