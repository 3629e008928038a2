# SPDX-License-Identifier: Apache-2.0
"""The measuring programs: one figure a line, `name<TAB>value<TAB>unit<TAB>text`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 180
REFUSED = 3  # exit code: the kernel does not offer that way
STARTED = time.monotonic()


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    text: str


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:3.0f} s] {text}", file=sys.stderr, flush=True)


class Programs:
    def __init__(self, build: Path) -> None:
        self.folder = build / "bench"
        self.failed: list[str] = []

    def run(self, program: str, *arguments: str) -> list[Figure] | None:
        """The figures; None: this kernel refuses. One that fails does not stop the others."""
        command = " ".join((program, *arguments))
        say(command)
        try:
            result = subprocess.run([str(self.folder / program), *arguments], check=False,
                                    text=True, stdout=subprocess.PIPE, timeout=TIMEOUT_SECONDS)
            code = result.returncode
        except subprocess.TimeoutExpired:
            code = -1
        if code == REFUSED:
            return None
        if code != 0:
            say(f"{command} ended with {code}" if code > 0 else f"{command} was killed")
            self.failed.append(command)
            return []
        figures = []
        for line in result.stdout.splitlines():
            name, value, unit, text = line.split("\t")
            figures.append(Figure(name, float(value), unit, text))
        return figures

    def ping_pong(self) -> Figure:
        """What two processors need at least to tell each other a word and hear one back."""
        say("hosted_roundtrip")
        output = subprocess.run(
            [str(self.folder / "hosted_roundtrip"), "--output", "json", "--rounds", "20"],
            check=True, text=True, stdout=subprocess.PIPE, timeout=TIMEOUT_SECONDS).stdout
        return Figure("ping_pong_ns", json.loads(output)["ping_pong_ns"], "ns",
                      "a bare ping-pong of one shared word between the two processors")
