# SPDX-License-Identifier: Apache-2.0
"""vmsrs-run and the environment: what they refuse and how, and which processes they protect.

usage: launcher_test.py BUILD
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from preload_run import Bench, counts_of, differences, report

CANNOT, NOT_FOUND = 125, 127
PYTHON = "/usr/bin/python3"
THREAD = "import threading; t = threading.Thread(target=print, args=('in',)); t.start(); t.join()\n"
FORKING = ("import os, sys\n" + THREAD + "sys.stdout.flush()\nchild = os.fork()\n"
           "child and os.waitpid(child, 0)\n" + THREAD)
EXECUTING = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[1]])\n" + THREAD
ACCEPTING = ("import os, socket, sys\nlistener = socket.create_server(('127.0.0.1', 0))\nchild = os.fork()\n"
             "if child:\n    os.waitpid(child, 0)\n    sys.exit()\n"
             "socket.create_connection(listener.getsockname())\nlistener.accept()\n")


def run(bench: Bench, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60,
                          env={**bench.environment, **environment})


def expect(what: str, result: subprocess.CompletedProcess[str], code: int, text: str) -> list[str]:
    complaints = differences(f"{what}: exit code", result.returncode, code)
    if text not in result.stderr or (text == "" and result.stderr):
        complaints.append(f"{what}: {result.stderr!r}, expected {text!r}")
    return complaints


def refused(bench: Bench) -> list[str]:
    launcher = str(bench.build / "guestlib/preload/vmsrs-run")
    library = str(bench.build / "guestlib/preload/libvmsrs-preload.so")
    usual, _ = bench.command("threads")
    complaints = []
    for what, command, code, text in (
            ("no options", [launcher, "--", "true"], CANNOT, "--server is needed"),
            ("no program", usual, CANNOT, "which program?"),
            ("an unknown option", [launcher, "--user", "x"], CANNOT, "unknown option --user"),
            ("no value", [launcher, "--users"], CANNOT, "--users needs a value"),
            ("an unknown policy", bench.command("processes")[0] + ["true"], CANNOT,
             "VMSRS_USERS=processes: expected what is a user: threads, requests, events or none"),
            ("a size that is none", bench.command("none", "--region-bytes=4k")[0] + ["true"], CANNOT,
             "VMSRS_REGION_BYTES=4k: expected sizes in bytes"),
            ("a limit of 0", bench.command("none", "--fault-limit=0")[0] + ["true"], CANNOT,
             "VMSRS_FAULT_LIMIT=0: expected a number from 1"),
            ("another server", bench.command("none", "--server=nobody")[0] + ["true"], CANNOT, "not started"),
            ("no such program", usual + ["no-such-program"], NOT_FOUND, "not found in PATH"),
            ("a program that is no file", usual + ["/no/such/program"], NOT_FOUND, "No such file")):
        complaints += expect(what, run(bench, command), code, text)
    nowhere = {"VMSRS_HOSTED_SOCKET": str(bench.folder / "nowhere.sock")}
    complaints += expect("no platform", run(bench, usual + ["true"], **nowhere), CANNOT, "not started")
    goes_on, _ = bench.command("threads", "--unprotected=run")
    complaints += expect("no platform, and going on", run(bench, goes_on + ["true"], **nowhere), 0,
                         "going on unprotected")
    complaints += expect("no server", run(bench, ["env", f"LD_PRELOAD={library}", "true"]), 0,
                         "VMSRS_SERVER is not set: unprotected")
    linked = str(bench.build / "tests/library/library_shared_test")
    complaints += expect("a program with the library", run(bench, usual + [linked]), CANNOT, "protects itself")
    return complaints


def unloadable(bench: Bench) -> list[str]:
    usual, _ = bench.command("none")
    static = bench.folder / "static"
    subprocess.run(["gcc", "-static", "-x", "c", "-o", static, "-"], input="int main(void) { return 0; }\n",
                   text=True, check=True, timeout=60)
    complaints = expect("static", run(bench, usual + [str(static)]), CANNOT, "linked statically")
    if os.geteuid() == 0:
        other = bench.folder / "other"
        shutil.copy("/bin/true", other)
        os.chown(other, 65534, 65534)
        other.chmod(0o4755)
        complaints += expect("set-user-ID", run(bench, usual + [str(other)]), CANNOT, "set-user-ID")
    return complaints


def children(bench: Bench) -> list[str]:
    complaints = []
    for which, forked, executed in (("none", [2], 1), ("forked", [1, 2], 1), ("all", [1, 2], 2)):
        prefix, report_file = bench.command("threads", f"--children={which}")
        result = run(bench, prefix + [PYTHON, "-c", FORKING])
        complaints += expect(f"{which}, fork", result, 0, "") + differences("output", result.stdout, "in\n" * 3)
        complaints += differences(f"{which}: users of processes", [counts["users"] for counts in counts_of(report_file)],
                                  forked)
        prefix, report_file = bench.command("threads", f"--children={which}")
        result = run(bench, prefix + [PYTHON, "-c", EXECUTING, THREAD])
        complaints += expect(f"{which}, exec", result, 0, "") + differences("output", result.stdout, "in\n" * 2)
        complaints += differences(f"{which}: executed", [counts["users"] for counts in counts_of(report_file)],
                                  [1] * executed)
    prefix, _ = bench.command("requests")
    complaints += expect("a child that serves, and is not protected", run(bench, prefix + [PYTHON, "-c", ACCEPTING]),
                         0, "this child of fork is unprotected")
    return complaints


def programs(bench: Bench) -> list[str]:
    """A script executes the program: that alone is protected."""
    script = bench.folder / "script"
    script.write_text(f'#!/bin/sh\n{PYTHON} -c "$1" && echo script && exec {PYTHON} -c "$1"\n', encoding="ascii")
    script.chmod(0o755)
    complaints = []
    for program, text, users in ((f"--program={PYTHON}", "in\nscript\nin\n", [1, 1]), ("--program=/bin/true", "in\nscript\nin\n", []),
                                 ("--children=none", "in\nscript\nin\n", [])):
        prefix, report_file = bench.command("threads", program)
        result = run(bench, [*prefix, str(script), THREAD])
        complaints += expect(program, result, 0, "") + differences("output", result.stdout, text)
        complaints += differences(f"{program}: users of processes", [counts["users"] for counts in counts_of(report_file)], users)
    prefix, _ = bench.command("none", f"--program={shutil.which('env')}")
    left = [line for line in run(bench, [*prefix, "env"]).stdout.splitlines() if line.startswith("VMSRS_PROGRAM")]
    complaints += differences("the environment of the program", left, [])
    for name, text in (("/no/such/program", "a program that is there"), ("true", "a file's name from the root on")):
        complaints += expect(name, run(bench, [*bench.command("none", f"--program={name}")[0], "true"]), CANNOT,
                             f"VMSRS_PROGRAM={name}: expected {text}")
    return complaints


def successors(bench: Bench) -> list[str]:
    """Processes of one server that come while others go."""
    complaints = []
    for _ in range(10):
        prefix, _ = bench.command("none")
        several = [subprocess.Popen(prefix + ["true"], env=bench.environment, stderr=subprocess.PIPE, text=True)
                   for _ in range(3)]
        for one in several:
            told = one.communicate(timeout=60)[1]
            complaints += differences("one of several", (one.returncode, told), (0, ""))
    return complaints


def environment(bench: Bench) -> list[str]:
    complaints = []
    for which, stays in (("none", False), ("forked", False), ("all", True)):
        prefix, _ = bench.command("none", f"--children={which}")
        seen = run(bench, prefix + ["env"], LD_PRELOAD="libm.so.6").stdout.splitlines()
        left = [line for line in seen if line.startswith("VMSRS_") and not line.startswith("VMSRS_HOSTED_SOCKET")]
        preloaded = [line.partition("=")[2] for line in seen if line.startswith("LD_PRELOAD=")]
        complaints += differences(f"{which}: the environment has it", bool(left), stays)
        complaints += differences(f"{which}: other preloaded libraries stay",
                                  [name.endswith("libm.so.6") and ("vmsrs" in name) == stays for name in preloaded],
                                  [True])
    return complaints


def main() -> int:
    complaints = []
    with contextlib.ExitStack() as stack:
        bench = Bench(Path(sys.argv[1]), stack)
        runs = [(part.__name__, part(bench)) for part in (refused, unloadable, children, programs, successors, environment)]
        for name, here in runs:
            print(f"{name}: {'; '.join(here) if here else 'ok'}", flush=True)
            complaints += here
    return report("launcher", len(runs), complaints)


if __name__ == "__main__":
    sys.exit(main())
