# SPDX-License-Identifier: Apache-2.0
"""Runs the server under the tracer, and its load beside it."""

from __future__ import annotations

import argparse
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

QEMU = "qemu-x86_64"
TRACER = "tracer.so"
ALLOCATIONS = "allocation_calls.so"
IDLE, TRACE, WRITE, WRITTEN = range(4)
LISTENS = "0A"


class Failed(Exception):
    """What went wrong while it ran."""


@dataclass(frozen=True)
class Traced:
    found: dict[str, Any]   # what output.cpp writes
    maps: str               # of the process, as /proc has it
    seconds: float


class Control:
    """The file that the tracer looks at: state, finished requests, whether it traces."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(mmap.PAGESIZE))
        with file.open("r+b") as stream:
            self._memory = mmap.mmap(stream.fileno(), mmap.PAGESIZE)

    def _get(self, index: int) -> int:
        return struct.unpack_from("<I", self._memory, 4 * index)[0]

    def say(self, state: int) -> None:
        struct.pack_into("<I", self._memory, 0, state)

    @property
    def state(self) -> int:
        return self._get(0)

    @property
    def requests(self) -> int:
        return self._get(1)

    @property
    def tracing(self) -> bool:
        return self._get(2) == 1


def listens(port: int) -> bool:
    for name in ("tcp", "tcp6"):
        file = Path("/proc/net") / name
        rows = file.read_text(encoding="ascii").splitlines()[1:] if file.exists() else []
        for row in rows:
            fields = row.split()
            if fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                return True
    return False


def say(text: str) -> None:
    print(f"vmsrs-study: {text}", file=sys.stderr, flush=True)


def wait(done: Callable[[], bool], server: subprocess.Popen[bytes], seconds: float, what: str,
         progress: Callable[[], str] | None = None) -> None:
    """Until `done`, with a line each ten seconds."""
    start = told = time.monotonic()
    while not done():
        if server.poll() is not None:
            raise Failed(f"the server ended while {what} (exit code {server.returncode}); what it printed is "
                         "above")
        now = time.monotonic()
        if now - start > seconds:
            raise Failed(f"gave up after {seconds:.0f} s while {what}")
        if now - told >= 10:
            told = now
            say(f"{now - start:.0f} s {what}{progress() if progress else ''}")
        time.sleep(0.05)


def command_line(options: argparse.Namespace, folder: Path, control: Path, output: Path) -> list[str]:
    settings = {"control": control, "output": output, "user": options.user,
                "injections": options.injections, "seed": options.seed, "spacing": options.spacing,
                "follow": options.follow, "stores": ":".join(map(str, options.stores)),
                "range_from_code": options.range_from_code, "range_bytes": options.range_bytes}
    plugin = ",".join([str(folder / TRACER)] + [f"{name}={value}" for name, value in settings.items()])
    # Bound at once: the dynamic linker is no part of a request.
    return [QEMU, "-E", f"LD_PRELOAD={folder / ALLOCATIONS}", "-E", "LD_BIND_NOW=1", "-plugin", plugin,
            *options.server]


def run_load(command: str, server: subprocess.Popen[bytes], seconds: float, what: str,
             progress: Callable[[], str] | None = None) -> None:
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=sys.stderr, start_new_session=True) as load:
        try:
            wait(lambda: load.poll() is not None, server, seconds, what, progress)
        finally:
            if load.poll() is None:
                os.killpg(load.pid, signal.SIGKILL)
    if load.returncode != 0:
        raise Failed(f"the command failed while {what}: '{command}' (exit code {load.returncode})")


def settle(control: Control) -> None:
    """What the server still does for the last request, with its answer sent."""
    before = -1
    while before != control.requests:
        before = control.requests
        time.sleep(0.2)


def stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def run(options: argparse.Namespace, folder: Path) -> Traced:
    work = Path(tempfile.mkdtemp(prefix="vmsrs-study."))
    try:
        return run_in(options, folder, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run_in(options: argparse.Namespace, folder: Path, work: Path) -> Traced:
    control = Control(work / "control")
    output = work / "found.json"
    # On one processor, threads take turns at few points only: a store and what tells of it stay in order.
    processor = max(os.sched_getaffinity(0))
    server = subprocess.Popen(command_line(options, folder, work / "control", output),
                              stdin=subprocess.DEVNULL, stdout=sys.stderr,
                              preexec_fn=lambda: os.sched_setaffinity(0, {processor}))
    try:
        wait(lambda: listens(options.port), server, options.start_limit,
             f"waiting for port {options.port}")
        if options.warm_up:
            run_load(options.warm_up, server, options.load_limit, "warming up")
        control.say(TRACE)
        wait(lambda: control.tracing, server, 60, "beginning to trace")
        start = time.monotonic()
        run_load(options.load, server, options.load_limit, "tracing",
                 lambda: f", {control.requests} requests")
        seconds = time.monotonic() - start
        settle(control)
        maps = Path(f"/proc/{server.pid}/maps").read_text(encoding="utf-8")
        control.say(WRITE)
        wait(lambda: control.state == WRITTEN, server, 600, "writing down")
    finally:
        stop(server)
    if not output.is_file():
        raise Failed("the tracer wrote nothing down")
    return Traced(json.loads(output.read_text(encoding="ascii")), maps, seconds)
