# SPDX-License-Identifier: Apache-2.0
"""A server that nobody rebuilt, on the hypervisor: one boot of the machine, the server with the preload object and without.

usage: svm_test.py BUILD
"""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "paper"))
import machine  # noqa: E402
from runs import Run  # noqa: E402

STAGE = machine.Stage("preload", "stock", (
    "guestlib/preload/vmsrs-run", "guestlib/preload/libvmsrs-preload.so", "tests/preload/preload_stock_server",
    str(HERE / "stock-faults")), 280)
KINDS = ["wild", "divide", "abort"]  # two that are stepped over, and one with nothing to go on with
STEPPED = ["wild", "divide"]
CONTAINED = [["stock-faults", "threads", "threads", *KINDS], ["stock-faults", "threads", "requests", *KINDS],
             ["stock-faults", "epoll", "requests", *STEPPED]]
PLAIN = ["stock-faults", "threads", "plain", "wild"]


def said(run: Run) -> dict[str, str]:
    """What follows each `stock WHAT: `."""
    return {match[1]: match[2] for line in run.lines if (match := re.match(r"stock ([^:]+): ?(.*)$", line))}


def differences(what: str, found: object, expected: object) -> list[str]:
    return [] if found == expected else [f"{what}: {found!r}, expected {expected!r}"]


def contained_problems(run: Run) -> list[str]:
    kinds, values = run.words[3:], said(run)
    found = differences("put", values.get("put"), "done")
    for kind in kinds:
        found += differences(f"{kind}: its answer", values.get(f"bad {kind}"), "")
        found += differences(f"{kind}: the other client's", values.get(f"get after {kind}"), "mine")
    found += differences("the server ended", values.get("server ended"), "0")
    for name in ("crashed", "connections ended"):
        found += differences(name, re.findall(rf"(\d+) {name}", values.get("report", "")), [str(len(kinds))])
    if run.counted("faults") < len(kinds):
        found.append(f"the engine has heard of {run.counted('faults')} faults")
    found += differences("users collected", run.counted("users_collected") >= len(kinds), True)
    return found + differences("invariants", set(run.verdicts.values()), {"ok"})


def plain_problems(run: Run) -> list[str]:
    """The same server and error, and nothing before it."""
    values = said(run)
    return (differences("put", values.get("put"), "done") +
            differences("the other client's", values.get("get after wild"), "") +
            differences("the server ended", values.get("server ended"), str(128 + signal.SIGSEGV)))


def main() -> int:
    runs = machine.runs_of(machine.boot(Path(sys.argv[1]).resolve(), [PLAIN, *CONTAINED], STAGE))
    failed = differences("played", [run.words for run in runs], [PLAIN, *CONTAINED])
    for run in runs:
        here = plain_problems(run) if run.words == PLAIN else contained_problems(run)
        print(" ".join(run.words), "on svm:", said(run), f"exit status {run.status}")
        print("\n".join(f"   {problem}" for problem in here) or "   ok")
        failed += here
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
