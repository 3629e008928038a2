# SPDX-License-Identifier: Apache-2.0
"""An operator's word on containment, from vmsrsctl through vmsrsd and vmsrs-hosted to a server that runs.

usage: operator_test.py BUILD
"""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

from preload_run import PATIENCE_SECONDS, Bench, Server, differences, report


class Operated:
    """A server that is started again when it has ended."""

    def __init__(self, bench: Bench, stack: contextlib.ExitStack) -> None:
        self._bench, self._stack = bench, stack
        self._server = self._started()
        self.crashes = 0

    def _started(self) -> Server:
        return Server(self._bench, "threads", self._bench.command("threads")[0], self._stack)

    def say(self, mode: str) -> list[str]:
        """What vmsrsctl answers, and what it shows then."""
        answer = self._bench.host.ask("containment", "shop", mode)
        shown = self._bench.host.ask("servers", "list")["servers"][0]["containment"]  # type: ignore[index]
        return differences("answered and shown", (answer.get("containment"), shown), (mode, mode))

    def crash(self, what: str, contained: bool) -> list[str]:
        """One user's error: only its connection ends, or the whole server."""
        self.crashes += 1
        other = self._server.client()
        complaints = differences(f"{what}: before", other.ask("put 1 one"), "done")
        complaints += differences(f"{what}: the answer", self._server.client().ask("bad wild 2 worse"), "")
        if contained:
            return complaints + differences(f"{what}: another", other.ask("get 1"), "one")
        code = self._server.process.wait(PATIENCE_SECONDS)
        complaints += differences(f"{what}: ended by", -code, signal.SIGSEGV)
        self._server = self._started()
        return complaints

    def quit(self) -> list[str]:
        return differences("exit code", self._server.quit(), 0)


def main() -> int:
    complaints: list[str] = []
    with contextlib.ExitStack() as stack:
        bench = Bench(Path(sys.argv[1]).resolve(), stack)
        operated = Operated(bench, stack)
        complaints += operated.crash("as the program says", contained=True)
        for mode, contained in (("observe", False), ("contain", True), ("off", False)):
            complaints += operated.say(mode)
            complaints += operated.crash(mode, contained)
        complaints += operated.crash("off, after a new start", contained=False)
        complaints += operated.say("own")
        complaints += operated.crash("taken back", contained=True)
        complaints += operated.quit()
    return report("an operator's word", operated.crashes, complaints)


if __name__ == "__main__":
    sys.exit(main())
