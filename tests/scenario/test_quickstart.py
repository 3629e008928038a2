# SPDX-License-Identifier: Apache-2.0
"""quickstart, where it cannot do its work: one clear line each, and nothing left running."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).parents[2]
QUICKSTART = TOP / "deploy" / "quickstart.sh"


def children() -> set[str]:
    """QEMU and socat processes of runs that were started from here."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"VMSRS_TEST_MARK=1" in environment:
            found.add(process.name)
    return found - {str(os.getpid())}


class CannotWork(unittest.TestCase):
    def refused(self, code: int, expected: str, *options: str, command: list[str] | None = None,
                **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*(command or []), str(QUICKSTART), *options], capture_output=True,
                              text=True, timeout=100, check=False, stdin=subprocess.DEVNULL,
                              env={**os.environ, "VMSRS_TEST_MARK": "1", **environment})
        self.assertEqual(done.returncode, code, done)
        errors = [line for line in done.stderr.splitlines() if "quickstart: error: " in line]
        self.assertEqual(len(errors), 1, done)
        self.assertIn(expected, errors[0])
        self.assertEqual(children(), set())
        return done

    def test_wrong_options(self) -> None:
        for options in (("--users", "7"), ("--users", "201"), ("--users", "x"), ("--users", ""),
                        ("--users",), ("--seed", "-1"), ("--seed", "1.5"), ("--seed", "2147483648"),
                        ("--cpus", "0"), ("--cpus", "9"), ("--output", "xml"), ("--output",),
                        ("--fault", "bang"), ("--ports", "1,2"), ("--ports", "1,2,70000"),
                        ("--ports", "x"), ("--nonsense",), ("extra",), ("--users=7",),
                        ("--without-vmsrs", "--early-unlock"), ("--monitoring",),
                        ("--monitoring", "--keep", "--without-vmsrs")):
            with self.subTest(options):
                done = self.refused(2, "", *options)
                self.assertEqual(len(done.stderr.splitlines()), 1, done)
                self.assertEqual(done.stdout, "")

    def test_help(self) -> None:
        done = subprocess.run([str(QUICKSTART), "--help"], capture_output=True, text=True, check=True)
        for option in ("--output", "--keep", "--monitoring", "--without-vmsrs", "--users", "--seed",
                       "--cpus", "--fault", "--early-unlock"):
            self.assertIn(option, done.stdout)

    def test_too_little_memory(self) -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("MemTotal: 4000000 kB\nMemAvailable: 1000000 kB\n")
            file.flush()
            self.refused(1, "too little memory: 976 MiB are free", VMSRS_MEMINFO=file.name)

    def test_errors_are_a_document_too(self) -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("MemAvailable: 1000000 kB\n")
            file.flush()
            done = self.refused(1, "too little memory", "--output", "json", VMSRS_MEMINFO=file.name)
            self.assertFalse(json.loads(done.stdout)["ok"])

    def test_without_root(self) -> None:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*command, "test", "-r", str(QUICKSTART)], check=False).returncode != 0:
            self.skipTest("others may not read this tree")
        self.refused(1, "needs root", command=command)

    def test_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            self.refused(1, f"port {port} of 127.0.0.1 is used by another program", "--ports",
                         f"{port},{port - 1},{port - 2}")

    def test_without_network_for_apt(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            programs(folder, dpkg_query="exit 1",
                     apt_get="echo 'E: Failed to fetch something: could not resolve host' >&2; exit 100")
            self.refused(1, "could not resolve host", PATH=f"{folder}:{os.environ['PATH']}")


def programs(folder: str, **scripts: str) -> None:
    for name, script in scripts.items():
        path = Path(folder, name.replace("_", "-"))
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)


class Packages(unittest.TestCase):
    """need_packages, with an apt whose third-party source cannot be reached."""

    # `install` puts a file there for each package that Debian has; dpkg-query looks for it.
    APT = '''case "$*" in
      *update*) echo "$UPDATE_SAYS" >&2; exit "$UPDATE_EXITS" ;;
    esac
    for word in "$@"; do
      case $word in
        good*) : >"$INSTALLED/$word" ;;
        bad*) echo "E: Unable to locate package $word" >&2; code=100 ;;
      esac
    done
    exit ${code:-0}'''
    QUERY = 'for package; do :; done; [ -e "$INSTALLED/$package" ] && printf installed'

    def need(self, *packages: str, exits: int = 0,
             says: str = "W: Failed to fetch https://third.party/InRelease  503") -> tuple[int, str]:
        with tempfile.TemporaryDirectory() as folder:
            programs(folder, apt_get=self.APT, dpkg_query=self.QUERY, id="echo 0")
            installed = Path(folder, "installed")
            installed.mkdir()
            script = ('set -euo pipefail; program=test; source "$TOP/deploy/lib/messages.sh"; '
                      'source "$TOP/deploy/lib/packages.sh"; log=$1; shift; need_packages "$log" "$@"')
            done = subprocess.run(
                ["bash", "-c", script, "test", f"{folder}/log", *packages], capture_output=True,
                text=True, check=False, env={
                    **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "TOP": str(TOP),
                    "INSTALLED": str(installed), "UPDATE_EXITS": str(exits), "UPDATE_SAYS": says})
            return done.returncode, done.stderr

    def test_another_source_that_fails_does_no_harm(self) -> None:
        for exits in (0, 100):
            code, said = self.need("good-one", "good-two", exits=exits)
            self.assertEqual(code, 0, said)
            self.assertIn("installing 2 Debian packages", said)

    def test_missing_package_is_named_with_the_reason(self) -> None:
        code, said = self.need("good-one", "bad-one", exits=100)
        self.assertEqual(code, 1, said)
        self.assertIn("apt cannot install bad-one: W: Failed to fetch https://third.party", said)
        code, said = self.need("bad-one", says="Reading package lists...")
        self.assertEqual(code, 1, said)
        self.assertIn("apt cannot install bad-one: E: Unable to locate package bad-one", said)


class Shell(unittest.TestCase):
    def test_shellcheck(self) -> None:
        scripts = [*sorted(TOP.glob("deploy/*.sh")), *sorted(TOP.glob("deploy/lib/*.sh")),
                   *sorted(TOP.glob("deploy/guest/*.sh")), *sorted(TOP.glob("tests/*.sh")),
                   *sorted(TOP.glob("bench/*.sh")), *sorted(TOP.glob("examples/*/*.sh")),
                   TOP / ".ci" / "run"]
        subprocess.run(["shellcheck", "-x", *map(str, scripts)], check=True)


if __name__ == "__main__":
    unittest.main()
