# SPDX-License-Identifier: Apache-2.0
"""What the tests of the preload object share: a platform, a program before it, clients."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TREE / "tests/install"), str(TREE / "tests/scenario")]
from consumers_test import Host  # noqa: E402
from hosted_run import start  # noqa: E402,F401
from installation import report  # noqa: E402,F401

PATIENCE_SECONDS = 30
NOTES, NOTE_BYTES = 4096, 64
COUNTS = ("users", "crashed", "faults observed", "system calls refused", "connections ended",
          "requests unprotected", "of", "regions")


class Bench:
    """A platform in a folder of its own, and programs over it."""

    def __init__(self, build: Path, stack: contextlib.ExitStack) -> None:
        self.build, self.stack = build, stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.host = Host(build, self.folder, stack)
        self.environment = {**os.environ, "VMSRS_HOSTED_SOCKET": str(self.host.socket)}
        self._reports = 0

    def command(self, users: str, *options: str) -> tuple[list[str], Path]:
        """What stands before a program, and where its report will be."""
        self._reports += 1
        report_file = self.folder / f"report.{self._reports}"
        return [str(self.build / "guestlib/preload/vmsrs-run"), "--server", "shop", "--secret-file",
                str(self.host.secret), "--users", users, f"--report={report_file}", *options, "--"], report_file


def counts_of(report_file: Path) -> list[dict[str, int]]:
    """Of each process that ended: `3 users` -> users: 3."""
    lines = report_file.read_text(encoding="ascii").splitlines() if report_file.exists() else []
    return [{name: int(number) for number, name in re.findall(r"(\d+) ([a-z ]+?)(?:,|$| (?=\d))", line)}
            for line in lines]


class Client:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._socket.settimeout(PATIENCE_SECONDS)

    def ask(self, line: str) -> str:
        """The answer; nothing: the server has closed the connection."""
        try:
            self._socket.sendall(f"{line}\n".encode("ascii"))
            answer = b""
            while not answer.endswith(b"\n"):
                piece = self._socket.recv(4096)
                if not piece:
                    break
                answer += piece
            return answer.decode("ascii").rstrip("\n")
        except ConnectionError:
            return ""

    def close(self) -> None:
        self._socket.close()


class Server:
    """The stock server; `prefix` is what stands before it."""

    def __init__(self, bench: Bench, style: str, prefix: list[str], stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.process = start(stack, *prefix, str(bench.build / "tests/preload/preload_stock_server"), style,
                             env=bench.environment, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self._port = int(self.process.stdout.readline() or 0)

    def client(self) -> Client:
        return self._stack.enter_context(contextlib.closing(Client(self._port)))

    def quit(self) -> int:
        self.client().ask("quit")
        return self.process.wait(PATIENCE_SECONDS)


def differences(what: str, found: object, expected: object) -> list[str]:
    return [] if found == expected else [f"{what}: {found!r}, expected {expected!r}"]
