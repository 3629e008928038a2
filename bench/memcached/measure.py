# SPDX-License-Identifier: Apache-2.0
"""What the hooks and what protection cost memcached: processor time of its process for a request.

usage: measure.py BUILD_DIR PROGRAMS [--rounds N] [--requests N] [--csv FILE]

All arms are up at the same time and take turns, in changing order, and each is stopped while it is not its turn; each round
gives ratios, of which the median is printed, with the quarter below and above. The engine's own time is not in it: it has
a processor of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/memcached"))
from server import Memcached  # noqa: E402

ARMS = ("plain", "hooks", "protected", "chosen-hooks", "chosen", "by-hand", "one-call")
MIXES = {"90/10": 90, "50/50": 50}  # gets, of 100 requests
# name, of which arm, over which
RATIOS = (("hooks everywhere", "hooks", "plain"), ("protection above them", "protected", "hooks"),
          ("in all", "protected", "plain"), ("hooks at chosen functions", "chosen-hooks", "plain"),
          ("protection above them ", "chosen", "chosen-hooks"), ("in all ", "chosen", "plain"),
          ("calls by hand", "by-hand", "plain"),
          ("a call for each item that is stored", "one-call", "plain"))


def nanoseconds(load: Path, server: Memcached, gets: int, requests: int) -> float:
    answer = subprocess.run(["taskset", "-c", "0", str(load), str(server.port), str(server.process.pid), str(gets),
                             str(requests)], check=True, text=True, stdout=subprocess.PIPE, timeout=120)
    return float(answer.stdout)


def children() -> set[int]:
    return {int(word) for word in Path("/proc/self/task", str(os.getpid()), "children").read_text(encoding="ascii").split()}


def tell(processes: set[int], what: signal.Signals) -> None:
    for process in processes:
        os.kill(process, what)


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("build", type=Path)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = {(arm, mix): [] for arm in ARMS for mix in MIXES}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        servers, processes = {}, {}
        for arm in ARMS:
            before = children()
            (folder := Path(name) / arm).mkdir()
            servers[arm] = Memcached(options.build, options.programs / f"memcached-{arm}", folder, stack, "-t", "1",
                                     apart=True)
            processes[arm] = children() - before
            tell(processes[arm], signal.SIGSTOP)
        load = options.build / "bench/bench_memcached_load"
        for turn in range(options.rounds + 1):  # the first makes the slab pages
            for mix, gets in MIXES.items():
                for i in range(len(ARMS)):
                    arm = ARMS[(turn + i) % len(ARMS)]
                    tell(processes[arm], signal.SIGCONT)
                    took = nanoseconds(load, servers[arm], gets, options.requests)
                    tell(processes[arm], signal.SIGSTOP)
                    if turn > 0:
                        found[arm, mix].append(took)
    lines = ["mix,what,median,quarter_below,quarter_above"]
    for mix in MIXES:
        for arm in ARMS:
            lines.append(f"{mix},{arm} ns,{median(found[arm, mix]):.0f},,")
        for what, over, under in RATIOS:
            ratios = [a / b for a, b in zip(found[over, mix], found[under, mix])]
            below, _, above = quantiles(ratios, n=4)
            lines.append(f"{mix},{what.strip()}: {over} / {under},{median(ratios):.3f},{below:.3f},{above:.3f}")
    lines.insert(0, f"# memcached, processor time of its process for a request: {date.today()}, hosted platform, "
                    f"{options.rounds} rounds of {options.requests} requests; load average {os.getloadavg()[0]:.1f}")
    print("\n".join(lines))
    if options.csv is not None:
        options.csv.write_text("\n".join(lines) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
