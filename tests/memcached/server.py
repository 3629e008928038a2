# SPDX-License-Identifier: Apache-2.0
"""memcached under vmsrs-hosted, and a client that knows what it should answer."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "paper"))
from hosted import Hosted  # noqa: E402
from hosted_run import PATIENCE_SECONDS, require, start  # noqa: E402
from host_run import free_port  # noqa: E402

INVARIANTS = {"hidden", "storage", "chains", "users", "mirror", "collected", "accounting", "windows"}


class Memcached:
    """One of the programs, with vmsrs-hosted and vmsrsd of its own: on processor 1, itself on 0, if `apart`."""

    def __init__(self, build: Path, program: Path, folder: Path, stack: contextlib.ExitStack, *options: str,
                 apart: bool = False, **environment: str) -> None:
        everywhere = os.sched_getaffinity(0)
        if apart:
            os.sched_setaffinity(0, {1})  # children have it from here
        self.host = Hosted(build, folder, stack, "memcached")
        if apart:
            os.sched_setaffinity(0, {0})
        self.port = free_port()
        account = ("-u", "root") if os.getuid() == 0 else ()
        self.process = start(stack, str(program), *account, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0",
                             *options, env={**os.environ, **self.environment(), **environment})
        os.sched_setaffinity(0, everywhere)
        end = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            require(self.process.poll() is None, f"{program} ended with {self.process.returncode}")
            require(time.monotonic() < end, f"{program} answers")
            time.sleep(0.02)

    def environment(self) -> dict[str, str]:
        return {"VMSRS_HOSTED_SOCKET": str(self.host.socket), "MEMCACHED_SECRET": str(self.host.secret)}

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def broken_invariants(self) -> list[str]:
        verdicts = {check["name"]: check["verdict"] for check in self.host.ctl("check")["checks"]}
        return [name for name in sorted(INVARIANTS | set(verdicts)) if verdicts.get(name) != "ok"]


class Closed(Exception):
    """The server has closed the connection, or has said that the request failed."""


class Client:
    """A connection. Answers come as bytes, without their line ends."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._from = self._socket.makefile("rb")
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._from.close()
        self._socket.close()

    def send(self, request: bytes) -> None:
        try:
            self._socket.sendall(request)
        except OSError as error:
            raise Closed(str(error)) from error

    def line(self) -> bytes:
        try:
            line = self._from.readline()
        except ConnectionError as error:
            raise Closed(str(error)) from error
        if not line.endswith(b"\r\n") or line.startswith(b"SERVER_ERROR the request failed"):
            raise Closed(line.decode("ascii", "replace"))
        return line[:-2]

    def found(self) -> dict[bytes, bytes]:
        """What a get gives."""
        items = {}
        while (line := self.line()) != b"END":
            word, key, _, length = line.split()[:4]
            require(word == b"VALUE", f"a value, not {line!r}")
            data = self._from.read(int(length) + 2)
            if len(data) != int(length) + 2:
                raise Closed("within a value")
            items[key] = data[:-2]
        return items

    def ask(self, request: bytes) -> bytes:
        self.send(request)
        return self.line()

    def get(self, *keys: bytes) -> dict[bytes, bytes]:
        self.send(b"get " + b" ".join(keys) + b"\r\n")
        return self.found()

    def stats(self, what: bytes = b"") -> dict[str, str]:
        self.send(b"stats " + what + b"\r\n" if what else b"stats\r\n")
        answers = {}
        while (line := self.line()) != b"END":
            _, name, value = line.decode("ascii").split(" ", 2)
            answers[name] = value
        return answers


def run(*command: str, seconds: int, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=seconds, **options)  # type: ignore[call-overload]
