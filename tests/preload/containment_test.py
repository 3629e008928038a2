# SPDX-License-Identifier: Apache-2.0
"""A server that nobody rebuilt: its users' faults are contained with the preload object, and end it without.

usage: containment_test.py BUILD
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from preload_run import Bench, Client, Server, counts_of, differences, report, start

# In each style by each policy that can know its users; the kinds of error that it stands.
STEPPED = ("wild", "null", "divide")  # the instruction is stepped over
UNWOUND = ("abort", "jump", "overflow", "spin")  # there is nothing to go on with
RUNS = (("threads", "threads", STEPPED + UNWOUND), ("threads", "requests", STEPPED + UNWOUND),
        ("epoll", "requests", STEPPED), ("libevent", "requests", STEPPED),
        ("libevent", "events", STEPPED + UNWOUND))
SIGNALS = {"wild": signal.SIGSEGV, "divide": signal.SIGFPE, "abort": signal.SIGABRT, "jump": signal.SIGSEGV}
STEADY_CLIENTS = 3


class Steady(threading.Thread):
    """A client without an error, who compares each answer with what it must be."""

    def __init__(self, client: Client, first_note: int) -> None:
        super().__init__()
        self._client, self._first = client, first_note
        self.wrong: list[str] = []
        self.rounds = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.wrong and (not self.done.is_set() or self.rounds < 10):
            note, text = self._first + self.rounds % 7, f"round {self.rounds} of {self._first}"
            self.wrong += differences("put", self._client.ask(f"put {note} {text}"), "done")
            self.wrong += differences("get", self._client.ask(f"get {note}"), text)
            self.rounds += 1


def run_contained(bench: Bench, style: str, policy: str, kinds: tuple[str, ...]) -> list[str]:
    prefix, report_file = bench.command(policy)
    before = bench.host.faults_and_restores()[0]
    with contextlib.ExitStack() as stack:
        server = Server(bench, style, prefix, stack)
        steady = [Steady(server.client(), 100 * (i + 1)) for i in range(STEADY_CLIENTS)]
        for client in steady:
            client.start()
        complaints = []
        for kind in kinds:
            bad = server.client()
            complaints += differences("before its error", bad.ask("put 1 mine"), "done")
            complaints += differences(f"{kind}: the answer", bad.ask(f"bad {kind} 1 worse"), "")
            # Its lock is free, its server there, a new connection like any other.
            complaints += differences(f"{kind}: the next client", server.client().ask("put 2 next"), "done")
        gone = server.client()
        complaints += differences("one that goes by itself", gone.ask("put 2 next"), "done")
        gone.close()
        for client in steady:
            time.sleep(0.1)  # its thread ends
            client.done.set()
            client.join()
            complaints += client.wrong
        complaints += differences("alive", server.process.poll(), None)
        complaints += differences("exit code", server.quit(), 0)
    after = bench.host.faults_and_restores()[0]
    if after - before < len(kinds):
        complaints.append(f"{after - before} faults were counted of {len(kinds)} users'")
    counts = (counts_of(report_file) or [{}])[0]
    for name, number in (("crashed", len(kinds)), ("connections ended", len(kinds)), ("requests unprotected", 0)):
        complaints += differences(name, counts.get(name), number)
    if counts.get("users", 0) < (STEADY_CLIENTS if policy == "threads" else sum(c.rounds for c in steady)):
        complaints.append(f"only {counts.get('users')} users")
    complaints += differences("check", bench.host.ask("check")["ok"], True)
    return complaints


def run_plain(bench: Bench, style: str, kind: str) -> list[str]:
    """The same server and error, and nothing before it."""
    with contextlib.ExitStack() as stack:
        server = Server(bench, style, [], stack)
        other = server.client()
        complaints = differences("put", other.ask("put 1 mine"), "done")
        server.client().ask(f"bad {kind} 1 worse")
        complaints += differences("exit code", server.process.wait(30), -SIGNALS[kind])
        return complaints + differences("the other client", other.ask("get 1"), "")


# Debian's own python3, with a thread for each request; the fault is in C, within a call of ctypes.
PYTHON_SERVER = """
import ctypes, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/bad':
            ctypes.string_at(0)
        answer = (3 * self.path).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def run_python(bench: Bench, prefix: list[str]) -> list[str]:
    with contextlib.ExitStack() as stack:
        server = start(stack, *prefix, "/usr/bin/python3", "-c", PYTHON_SERVER, env=bench.environment,
                       stdout=subprocess.PIPE)
        assert server.stdout is not None
        port = int(server.stdout.readline())

        def get(path: str) -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                    return str(answer.read().decode("ascii"))
            except OSError:
                return ""

        complaints = differences("before", get("/a"), "/a/a/a") + differences("its fault", get("/bad"), "")
        if not prefix:
            return complaints + differences("exit code", server.wait(30), -signal.SIGSEGV)
        complaints += differences("after", [get("/b"), get("/bad"), get("/c")], ["/b/b/b", "", "/c/c/c"])
        return complaints + differences("alive", server.poll(), None)


def run_main_thread(bench: Bench) -> list[str]:
    """A user of main() that cannot go on: it ends the process, and says why."""
    prefix, _ = bench.command("requests")
    with contextlib.ExitStack() as stack:
        server = Server(bench, "epoll", prefix, stack)
        server.client().ask("bad abort 1 worse")
        return differences("main thread: exit code", server.process.wait(30), -signal.SIGABRT)


def run_observed(bench: Bench) -> list[str]:
    prefix, _ = bench.command("requests", "--containment=observe")
    with contextlib.ExitStack() as stack:
        server = Server(bench, "threads", prefix, stack)
        server.client().ask("bad wild 1 worse")
        return differences("observing: exit code", server.process.wait(30), -signal.SIGSEGV)


def main() -> int:
    complaints = []
    with contextlib.ExitStack() as stack:
        bench = Bench(Path(sys.argv[1]), stack)
        runs = [(f"{style} by {policy}", run_contained(bench, style, policy, kinds)) for style, policy, kinds in RUNS]
        runs += [(f"{style} plain, {kind}", run_plain(bench, style, kind))
                 for style in ("threads", "epoll", "libevent") for kind in SIGNALS]
        runs += [(f"python3 by {policy}", run_python(bench, bench.command(policy)[0]))
                 for policy in ("threads", "requests")]
        runs += [("python3 plain", run_python(bench, [])), ("epoll, abort", run_main_thread(bench)), ("observing", run_observed(bench))]
        for name, here in runs:
            print(f"{name}: {'; '.join(here) if here else 'ok'}", flush=True)
            complaints += [f"{name}: {complaint}" for complaint in here]
    return report("containment", len(runs), complaints)


if __name__ == "__main__":
    sys.exit(main())
