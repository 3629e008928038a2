# SPDX-License-Identifier: Apache-2.0
"""What the paper says about each of its scenarios (5.1), held against what a run's users wrote down."""

from __future__ import annotations

import re
from typing import Callable

from runs import Run

INVARIANTS = {"hidden", "storage", "chains", "users", "mirror", "collected", "accounting", "windows"}
KILLED_BY_SIGSEGV = 128 + 11
OLD = "1:3100 2:3200 3:3300 4:3400 5:3500 6:3600 7:3700 8:3800"
CLERKS = 3


class Judge:
    """Collects what is not as the paper says."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.problems: list[str] = []

    def expect(self, condition: bool, what: str) -> None:
        if not condition:
            self.problems.append(f"not so: {what}")

    def said(self, who: str, what: str) -> bool:
        return f"{who:<8} {what}" in self.run.lines

    def expect_said(self, who: str, what: str) -> None:
        self.expect(self.said(who, what), f"{who} {what}")

    def numbers(self, who: str, about: str) -> list[dict[str, int]]:
        """The `name number, name number` lines of somebody in which a name is `about`."""
        found = []
        for line in self.run.lines:
            if line.startswith(f"{who:<8} "):
                pairs = re.findall(r"([a-z ]+) (\d+)(?:,|$)", line[9:])
                numbers = {name.strip(): int(number) for name, number in pairs}
                if about in numbers:
                    found.append(numbers)
        return found

    def expect_sweeps(self, who: str) -> None:
        """A reader of a race: it was there at the instant, and it saw one change, there and for good."""
        sweeps = self.numbers(who, "sweeps")
        self.expect(len(sweeps) == 1, f"{who} says what it saw")
        for seen in sweeps:
            self.expect(seen["rounds while it happened"] > 0, f"{who} read while it happened")
            for wrong in ("back", "stale", "strange"):
                self.expect(seen[wrong] == 0, f"{who} saw nothing {wrong}")


def mechanism(judge: Judge, crashes: int) -> None:
    """The engine's own counters: nothing of this was true by chance."""
    run = judge.run
    judge.expect(run.status == 0, f"the server lives to its end (status {run.status})")
    judge.expect(run.counted("faults") >= crashes, "every error was a fault that the engine heard of")
    judge.expect(run.counted("suppressed_stores") > 0, "stores were suppressed")
    judge.expect(run.counted("restores") > 0, "granules were restored")
    judge.expect(run.counted("users_collected") >= crashes, "crashed users were collected")
    judge.expect(run.after.get("mode") == "normal", "suppression is over")
    judge.expect(set(run.verdicts) == INVARIANTS, "every invariant was looked at")
    for name, verdict in run.verdicts.items():
        judge.expect(verdict == "ok", f"invariant {name}: ok, it is {verdict}")


def clerks(judge: Judge) -> None:
    """The normal users beside the scene: all that they finished is there, and none had to be told."""
    for number in range(CLERKS):
        found = judge.numbers(f"clerk {number}", "finished")
        judge.expect(len(found) == 1, f"clerk {number} says what it did")
        for clerk in found:
            judge.expect(clerk["finished"] > 0, f"clerk {number} was at work")
            judge.expect(clerk["finished"] == clerk["roster"], f"clerk {number}: nothing is lost")
            judge.expect(clerk["told"] == 0, f"clerk {number} never failed")
            judge.expect(clerk["reads"] > 0, f"clerk {number} read")
            judge.expect(clerk["backwards"] == 0, f"clerk {number} saw no count go back")


def told(judge: Judge, who: str = "user 0") -> None:
    judge.expect_said(who, "runs on")
    judge.expect_said(who, "ends: told that it failed")


def recovery(judge: Judge) -> None:
    """Figure 9: everybody goes on, the faulty user to its end, where it learns that it failed."""
    mechanism(judge, 1)
    clerks(judge)
    told(judge)
    judge.expect_said("user 0", "prints 1:90001 2:90002")
    judge.expect_said("user 3", "reads before 1:3100 2:3200 3:3300 4:3400")
    judge.expect_said("user 3", "reads during 1:3100 2:3200 3:3300 4:3400")
    judge.expect_said("user 4", "writes 4:4400")
    judge.expect_said("user 4", "ends: finished")
    judge.expect_said("user 3", "reads after 1:3100 2:3200 3:3300 4:4400")


def without(judge: Judge) -> None:
    """Figure 8: the user writes, prints, follows a wild pointer, and everybody is gone."""
    judge.expect_said("user 0", "prints 1:90001 2:90002")
    judge.expect(judge.run.status == KILLED_BY_SIGSEGV,
                 f"a segmentation fault ends the server (status {judge.run.status})")
    judge.expect(bool(judge.run.lines) and
                 judge.run.lines[-1] == "user 0   follows a wild pointer", "nobody says anything more")


def isolation(judge: Judge) -> None:
    """Figure 10: whatever the faulty user destroys, what is restored is right."""
    mechanism(judge, 1)
    told(judge)
    right = "1:4100 2:4200 3:3300 4:3400"
    for when in ("before", "during", "after"):
        judge.expect_said("user 3", f"reads {when} {right}")
    destroyed = [int(number) for line in judge.run.lines
                 for number in re.findall(r"^user 0 +has overwritten (\d+) bytes$", line)]
    judge.expect(len(destroyed) == 1 and destroyed[0] > 0,
                 "recovery data within the server's reach was destroyed")
    judge.expect(judge.run.counted("restores") >= 3, "what the user wrote was restored")


def rounds(judge: Judge) -> int:
    """Of a race; in each of them user 0 crashed, and was told."""
    for line in judge.run.lines:
        if match := re.match(r"rounds +(\d+), in each user 0 crashed; told that it failed (\d+)$", line):
            judge.expect(match[1] == match[2], "user 0 was told in every round")
            return int(match[1])
    judge.expect(False, "rounds were played")
    return 1


def entering(judge: Judge) -> None:
    """Figure 11(a): the old values, all of them, from one instant on."""
    mechanism(judge, rounds(judge))
    clerks(judge)
    judge.expect_said("round 1", f"before: {OLD}")
    judge.expect_said("user 0", "prints " + " ".join(f"{n}:{90000 + n}" for n in range(1, 9)))
    judge.expect_said("user 3", f"reads during {OLD}")
    judge.expect_said("roster", f"reads after {OLD}")
    judge.expect_sweeps("user 3")
    judge.expect_sweeps("user 4")  # of committed values: old at any instant
    for seen in judge.numbers("user 4", "sweeps"):
        judge.expect(seen["straddled"] == 0, "committed values are never a mixture")


def order(judge: Judge) -> None:
    """Figure 12: user 3, who reads after user 4 wrote, reads what user 4 wrote."""
    mechanism(judge, 1)
    clerks(judge)
    told(judge)
    judge.expect_said("user 4", "reads during 1:3100")
    judge.expect_said("user 4", "writes 1:4100")
    judge.expect_said("user 4", "writes 2:4200")
    judge.expect_said("user 4", "ends: finished")
    judge.expect_said("user 3", "reads during 1:4100 2:4200")
    judge.expect_said("user 3", "reads after 1:4100 2:4200 3:3300")


def metadata(judge: Judge) -> None:
    """Figure 13: once user 4's value was read, it stays, and nothing old is put over it."""
    played = rounds(judge)
    mechanism(judge, played)
    clerks(judge)
    judge.expect_said("user 4", "writes 1:4100")
    judge.expect_said("user 3", "reads during 1:4100")
    judge.expect_said("rounds", f"{played} in which user 4's value was there after user 0's end")
    judge.expect_said("roster", f"reads after 1:{4100 + played - 1}")
    judge.expect_sweeps("user 3")


RIGHT: dict[str, Callable[[Judge], None]] = {
    "5.1.1": recovery, "5.1.2": isolation, "5.1.3-1": entering, "5.1.3-2": order,
    "5.1.3-3": metadata}


def problems(run: Run) -> list[str]:
    """What is not as the paper says; empty: all is."""
    judge = Judge(run)
    (RIGHT[run.words[1]] if run.protected else without)(judge)
    return judge.problems
