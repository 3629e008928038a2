# SPDX-License-Identifier: Apache-2.0
"""The measuring programs: one figure a line, `name<TAB>value<TAB>unit<TAB>text`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
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


def figures_of(lines: Iterable[str]) -> list[Figure]:
    figures = []
    for line in lines:
        name, value, unit, text = line.split("\t")
        figures.append(Figure(name, float(value), unit, text))
    return figures


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
        return figures_of(result.stdout.splitlines())
