# SPDX-License-Identifier: Apache-2.0
"""Programs as Debian has built them do the same with the preload object as without.

usage: programs_test.py BUILD
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from pathlib import Path

from preload_run import Bench, counts_of, differences, report

LINES = 300_000  # fewer, and sort starts no thread
SQL = ("create table t(a, b); with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000) "
       "insert into t select x, hex(x * x) from c; select count(*), sum(a), max(b) from t;")
PYTHON = """
import ctypes, faulthandler, hashlib, os, signal, sqlite3, subprocess, threading
sums = []
def add(i): sums.append(hashlib.sha256(bytes(i) * 10000).hexdigest())
threads = [threading.Thread(target=add, args=(i,)) for i in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(sums))
print(subprocess.run(['sort'], input=b'b\\na\\n', capture_output=True).stdout)
child = os.fork()
if child == 0:
    os._exit(3)
print(os.waitpid(child, 0)[1])
signal.signal(signal.SIGSEGV, lambda *_: print('its own handler', flush=True))
os.kill(os.getpid(), signal.SIGSEGV)
signal.signal(signal.SIGSEGV, signal.SIG_DFL)
faulthandler.enable()
ctypes.string_at(0)
"""
# Without a fault of a user's; the last one ends by one that is nobody's. Those that start threads must
# have had users by the policy `threads`.
PROGRAMS = (("sort", ["sort", "--parallel=2", "{lines}"], 0, 1),
            ("xz", ["xz", "-T2", "--block-size=262144", "-c", "{lines}"], 0, 2),
            ("sqlite3", ["sqlite3", ":memory:", SQL], 0, 0),
            ("bash", ["bash", "-c", "for i in 1 2 3; do echo $i | sed s/1/x/; done | sort -r; (exit 7); echo $?; "
                                    "trap 'echo trapped' SEGV; kill -SEGV $$; trap - ABRT; kill -ABRT $$"],
             -signal.SIGABRT, 0),
            ("python3", ["/usr/bin/python3", "-c", PYTHON], -signal.SIGSEGV, 20))
POLICIES = ("none", "threads", "requests", "events")


def run(bench: Bench, command: list[str]) -> tuple[int, bytes]:
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60,
                            env=bench.environment)
    return result.returncode, result.stdout


def compare(bench: Bench, command: list[str], code: int, users: int) -> list[str]:
    plain = run(bench, command)
    complaints = differences("without: exit code", plain[0], code)
    for policy in POLICIES:
        prefix, report_file = bench.command(policy)
        protected = run(bench, prefix + command)
        if protected != plain:
            complaints.append(f"{policy}: ends with {protected[0]} after {len(protected[1])} bytes, "
                              f"not with {plain[0]} after these {len(plain[1])}")
        counts = counts_of(report_file)
        if code == 0 and (not counts or counts[0]["crashed"] != 0):
            complaints.append(f"{policy}: its report: {counts}")
        if code == 0 and policy == "threads" and counts and counts[0]["users"] < users:
            complaints.append(f"{policy}: {counts[0]['users']} users, expected {users} at least")
    return complaints


def main() -> int:
    complaints = []
    with contextlib.ExitStack() as stack:
        bench = Bench(Path(sys.argv[1]), stack)
        lines = bench.folder / "lines"
        numbers = random.Random(1)
        lines.write_text("".join(f"{numbers.getrandbits(40):x}\n" for _ in range(LINES)), encoding="ascii")
        for name, command, code, users in PROGRAMS:
            here = compare(bench, [word.format(lines=lines) if word == "{lines}" else word for word in command],
                           code, users)
            print(f"{name}: {'; '.join(here) if here else 'ok'}", flush=True)
            complaints += [f"{name}: {complaint}" for complaint in here]
    return report("programs", len(PROGRAMS), complaints)


if __name__ == "__main__":
    sys.exit(main())
