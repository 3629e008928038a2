# SPDX-License-Identifier: Apache-2.0
"""A region of a program that nobody rebuilt: what its memory functions write is a user's, plain stores are refused.

usage: regions_test.py BUILD
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from preload_run import NOTE_BYTES, NOTES, Bench, Server, counts_of, differences, report

RUNS = (("threads", "requests"), ("epoll", "requests"), ("libevent", "events"))
REGION = f"--region-bytes={NOTES * NOTE_BYTES}"


def suppressed_and_restored(bench: Bench) -> tuple[int, int]:
    status = bench.host.ask("status")
    return int(str(status["suppressed_stores"])), sum(status["restores"].values())  # type: ignore[attr-defined]


def wait_until_finished(bench: Bench, users: int) -> list[str]:
    """A server that waits for its clients has no unfinished user."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if int(str(bench.host.ask("status")["users_finished"])) >= users:
            return []
        time.sleep(0.02)
    return ["the last user has not finished, and the server waits"]


def run(bench: Bench, style: str, policy: str) -> list[str]:
    prefix, report_file = bench.command(policy, REGION)
    before = suppressed_and_restored(bench)
    with contextlib.ExitStack() as stack:
        server = Server(bench, style, prefix, stack)
        good = server.client()
        complaints = []

        def expect(what: str, line: str, answer: str) -> None:
            complaints.extend(differences(f"{what}: {line}", good.ask(line), answer))

        for note in range(1, 5):
            expect("by snprintf", f"put {note} note {note}", "done")
        expect("by memcpy", "put 5 #five", "done")
        crashes = 0
        for kind in ("wild", "late", "scribble", "divide"):
            complaints += differences(kind, server.client().ask(f"bad {kind} 2 worse"), "")
            crashes += 1
            for note in range(1, 5):
                expect(f"after {kind}", f"get {note}", f"note {note}")
        # A plain store that would be right: it is refused then and there, not taken back later.
        complaints += differences("a plain store", server.client().ask("put 3 !x"), "")
        crashes += 1
        expect("after a plain store", "get 3", "note 3")
        expect("after all", "get 5", "#five")
        expect("a child of fork has a copy, its own", "fork", "The child's, 0")
        expect("which its parent does not see", "get 0", "")
        expect("and goes on", "put 0 parent's", "done")
        expect("and on", "get 0", "parent's")
        finished = int(str(bench.host.ask("status")["users_finished"]))
        expect("the last one", "put 6 six", "done")
        complaints += wait_until_finished(bench, finished + 1)
        complaints += differences("exit code", server.quit(), 0)
    counts = (counts_of(report_file) or [{}])[0]
    for name, number in (("crashed", crashes), ("of", 1), ("regions", 1)):
        complaints += differences(name, counts.get(name), number)
    after = suppressed_and_restored(bench)
    if after[0] <= before[0] or after[1] <= before[1]:
        complaints.append(f"no suppressed store, or no restored one: {before}, then {after}")
    return complaints + differences("check", bench.host.ask("check")["ok"], True)


def run_threads_as_users(bench: Bench) -> list[str]:
    """A thread's stores are committed when it ends, by pthread_exit(), and those of one that crashes never."""
    prefix, _ = bench.command("threads", REGION)
    with contextlib.ExitStack() as stack:
        server = Server(bench, "threads", prefix, stack)
        finished = int(str(bench.host.ask("status")["users_finished"]))
        first = server.client()
        complaints = differences("put", first.ask("put 2 first"), "done")
        first.close()
        complaints += wait_until_finished(bench, finished + 1)
        complaints += differences("its crash", server.client().ask("bad wild 2 worse"), "")
        complaints += differences("get", server.client().ask("get 2"), "first")
        return complaints + differences("exit code", server.quit(), 0)


def run_without(bench: Bench) -> list[str]:
    """No region by default: then the crashed user's notes are what it wrote, as the documentation says."""
    prefix, report_file = bench.command("requests")
    with contextlib.ExitStack() as stack:
        server = Server(bench, "threads", prefix, stack)
        good = server.client()
        complaints = differences("put", good.ask("put 2 !x"), "done")
        server.client().ask("bad wild 2 worse")
        complaints += differences("get", good.ask("get 2"), "worse")
        complaints += differences("exit code", server.quit(), 0)
    counts = (counts_of(report_file) or [{}])[0]
    return complaints + differences("regions", counts.get("of"), 0)


def main() -> int:
    complaints = []
    with contextlib.ExitStack() as stack:
        bench = Bench(Path(sys.argv[1]), stack)
        runs = [(f"{style} by {policy}", run(bench, style, policy)) for style, policy in RUNS]
        runs.append(("threads by threads", run_threads_as_users(bench)))
        runs.append(("without a region", run_without(bench)))
        for name, here in runs:
            print(f"{name}: {'; '.join(here) if here else 'ok'}", flush=True)
            complaints += [f"{name}: {complaint}" for complaint in here]
    return report("regions", len(runs), complaints)


if __name__ == "__main__":
    sys.exit(main())
