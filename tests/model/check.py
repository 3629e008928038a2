#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the protocol model with spin, and that each step left out on purpose is missed.

usage: check.py quick            small configurations and the holes that show in seconds
       check.py full             all configurations, all holes
       check.py run NAME [N]     one configuration, with hole N open if given; prints the counter-example
       check.py list             names of configurations and holes

Every search is exhaustive (no bitstate hashing): a configuration passes only if spin visited all its
states, found no violated property and no deadlock (with LIVE=1: no livelock either), and was not cut short by depth, memory or time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from configurations import CONFIGURATIONS, HOLES

HERE = Path(__file__).resolve().parent
DEPTH = 1_000_000
# MiB and seconds for one search, optimisation of the verifier (compiling costs more than small searches)
LIMITS = {"quick": (2_000, 300, "-O0"), "full": (9_000, 3_600, "-O1")}
Limits = tuple[int, int, str]


KINDS = {"invalid end state": "deadlock", "non-progress cycle": "livelock"}


@dataclass
class Outcome:
    verdict: str  # "passes", "counter-example", "truncated"
    detail: str
    states: int
    seconds: float


def search(switches: str, hole: int, limits: Limits, directory: Path) -> Outcome:
    """Generates, compiles and runs a verifier in directory."""
    defines = [f"-D{switch}" for switch in switches.split()] + [f"-DHOLE={hole}"]
    subprocess.run(
        ["spin", *defines, "-a", str(HERE / "vmsrs.pml")], cwd=directory, check=True, capture_output=True
    )
    megabytes, seconds, optimisation = limits
    livelocks = "LIVE=1" in switches
    subprocess.run(
        [*compiler(optimisation), "-w", "-DNP" if livelocks else "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=2048", f"-DMEMLIM={megabytes}", "-o", "pan",
         "pan.c"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip
    start = cpu_seconds()
    try:
        output = subprocess.run(
            ["./pan", f"-m{DEPTH}", *(["-l"] if livelocks else [])],
            cwd=directory, capture_output=True, text=True, timeout=seconds,
        ).stdout  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome("truncated", f"after {seconds} s", 0, seconds)
    return judge(output, cpu_seconds() - start)


def compiler(optimisation: str) -> list[str]:
    """Where running is short, compiling is most of the time: tcc if there is one."""
    if optimisation == "-O0" and shutil.which("tcc"):
        return ["tcc"]
    return ["gcc", optimisation]


def cpu_seconds() -> float:
    """Of all verifiers that have ended: comparable on a busy machine."""
    times = os.times()
    return times.children_user + times.children_system


def judge(output: str, seconds: float) -> Outcome:
    stored = re.search(r"(\d+) states, stored", output)
    states = int(stored.group(1)) if stored else 0
    errors = re.search(r"errors: (\d+)", output)
    found = re.search(r"pan:\d+: (.*) \(at depth (\d+)\)", output)
    if found and "max search depth" not in found.group(1) and errors and int(errors.group(1)) > 0:
        kind = next((kind for sign, kind in KINDS.items() if sign in found.group(1)), "assertion")
        return Outcome("counter-example", f"{kind} at depth {found.group(2)}", states, seconds)
    for sign in ("max search depth too small", "out of memory", "reached -DMEMLIM", "Search not completed"):
        if sign in output:
            return Outcome("truncated", sign, states, seconds)
    if errors and int(errors.group(1)) == 0:
        return Outcome("passes", "", states, seconds)
    return Outcome("truncated", "no result from the verifier", states, seconds)


def run_one(name: str, hole: int, limits: Limits) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="vmsrs-model-") as directory:
        return search(CONFIGURATIONS[name][1], hole, limits, Path(directory))


def report(kind: str, name: str, outcome: Outcome, good: bool) -> None:
    print(
        f"{'ok  ' if good else 'FAIL'} {kind:14} {name:24} {outcome.states:>11,} states {outcome.seconds:7.1f} s  "
        f"{outcome.verdict} {outcome.detail}",
        flush=True,
    )


def check_all(level: str) -> int:
    limits = LIMITS[level]
    start = time.monotonic()
    failures = 0
    chosen = [name for name, (from_level, _) in CONFIGURATIONS.items() if level == "full" or from_level == "quick"]
    for name in chosen:
        outcome = run_one(name, 0, limits)
        good = outcome.verdict == "passes"
        failures += not good
        report("protocol", name, outcome, good)
    left_out = []
    for number, (_, name) in HOLES.items():
        if name not in chosen and number not in QUICK_HOLES:
            left_out.append(str(number))
            continue
        outcome = run_one(name, number, (*limits[:2], "-O0"))
        good = outcome.verdict == "counter-example"
        failures += not good
        report(f"hole {number}", name, outcome, good)
    if left_out:
        print(f"holes left to `full`: {', '.join(left_out)}")
    wall = time.monotonic() - start
    print(f"model: {level}, {failures} failures, {cpu_seconds():.0f} s of processor time, {wall:.0f} s in all")
    return 1 if failures else 0


# Holes whose counter-example comes soon although the whole configuration is large.
QUICK_HOLES = {7, 10, 16}


def show(name: str, hole: int) -> int:
    """Runs one configuration; a counter-example is printed access by access."""
    with tempfile.TemporaryDirectory(prefix="vmsrs-model-") as scratch:
        directory = Path(scratch)
        outcome = search(CONFIGURATIONS[name][1], hole, LIMITS["full"], directory)
        if outcome.verdict == "counter-example":
            print_trail(CONFIGURATIONS[name][1], hole, directory)
        good = outcome.verdict == ("counter-example" if hole else "passes")
        report(f"hole {hole}" if hole else "protocol", name, outcome, good)
    return 0 if good else 1


def print_trail(switches: str, hole: int, directory: Path) -> None:
    defines = [f"-D{switch}" for switch in switches.split()] + [f"-DHOLE={hole}"]
    shortest = subprocess.run(["./pan", "-i", f"-m{DEPTH}"], cwd=directory, capture_output=True, text=True)
    assert shortest.returncode == 0
    trail = subprocess.run(
        ["spin", *defines, "-p", "-k", str(next(directory.glob("*.trail"))), str(HERE / "vmsrs.pml")],
        cwd=directory, capture_output=True, text=True,
    ).stdout  # fmt: skip
    step = re.compile(r"proc\s+(\d+) \((\w+):\d+\) \S*?(\w+\.pml:\d+) \(state \d+\)\s*(\[.*\])")
    for line in trail.splitlines():
        match = step.search(line)
        if match and "ghost.pml" not in match.group(3) and match.group(4) not in ("[else]", "[(1)]"):
            process, kind, where, text = match.groups()
            print(f"{kind} {int(process) - 1}  {where:18} {text}")


def main(arguments: list[str]) -> int:
    if shutil.which("spin") is None or shutil.which("gcc") is None:
        print("SKIP: spin and gcc are needed (Debian: apt-get install spin gcc; with tcc, `quick` takes half the time)")
        return 77
    if arguments in (["quick"], ["full"]):
        return check_all(arguments[0])
    if arguments == ["list"]:
        for name, (level, switches) in CONFIGURATIONS.items():
            print(f"{name:24} {level:6} {switches}")
        for number, (what, name) in HOLES.items():
            print(f"hole {number:<3} {name:24} {what}")
        return 0
    if len(arguments) in (2, 3) and arguments[0] == "run" and arguments[1] in CONFIGURATIONS:
        return show(arguments[1], int(arguments[2]) if len(arguments) == 3 else 0)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
