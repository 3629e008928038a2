# SPDX-License-Identifier: Apache-2.0
"""A machine of the svm platform whose clock counts instructions, with the measuring programs in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .programs import Figure, figures_of, say

TOP = Path(__file__).resolve().parents[2]
GUEST = TOP / "deploy" / "guest"
PROGRAMS = ("read", "write", "assign", "programs")  # of bench_figure14
WINDOWS_GID = 990
SECRET = "vmsrs machine tests: the secret."  # tests/machine/guests/guest.hpp
SECONDS = 300


class Machine:
    """One boot, at the first question; its answers are those of the programs in it."""

    def __init__(self, build: Path, quick: bool) -> None:
        self.build, self.quick = build, quick
        self._figures: dict[str, list[Figure]] | None = None

    def run(self, program: str, what: str) -> list[Figure]:
        assert program == "bench_figure14" and what in PROGRAMS
        if self._figures is None:
            say("booting the machine that counts instructions")
            self._figures = _figures(self._boot())
        return self._figures[what]

    def _boot(self) -> list[str]:
        """What the guest said."""
        kernel = self.build / "guest"
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            program, windows, initrd = folder / "bench_figure14", folder / "windows.img", folder / "initrd.img"
            _call("strip", "-o", program, self.build / "bench" / "bench_figure14")
            _call(GUEST / "fetch-kernel.sh", kernel)
            _call(GUEST / "make-windows-image.sh", windows, WINDOWS_GID)
            _call(GUEST / "make-initramfs.sh", "-o", initrd, "-k", kernel, "-i", TOP / "bench/machine/init", program)
            # Without the local APIC's timer, which Linux would calibrate for as long as all else takes.
            options = f"quiet nolapic_timer figure14={','.join(PROGRAMS)}" + (" quick=1" if self.quick else "")
            result = subprocess.run(
                [str(TOP / "tests/machine/run-guest.py"), "--icount", "--cpus", "1", "--hypervisor",
                 str(self.build / "hypervisor/vmsrs-hypervisor.elf32"), "--kernel", str(kernel / "vmlinuz"),
                 "--initrd", str(initrd), "--windows", str(windows), "--secret", SECRET, "--append", options,
                 "--timeout", str(SECONDS), "--log", str(folder / "hypervisor.log")],
                check=False, stdout=subprocess.PIPE, text=True, errors="replace", env=os.environ)
        if result.returncode != 0:
            sys.exit(f"{result.stdout}\nthe machine's run failed: {result.returncode}")
        return result.stdout.splitlines()


def _call(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=sys.stderr)


def _figures(console: list[str]) -> dict[str, list[Figure]]:
    """By program: the lines with tabs after the guest's `begin PROGRAM`."""
    lines: dict[str, list[str]] = {}
    for line in console:
        if match := re.match(r"guest: begin (\w+)$", line):
            said = lines.setdefault(match[1], [])
        elif lines and line.count("\t") == 3:
            said.append(line)
    missing = [program for program in PROGRAMS if not lines.get(program)]
    if missing:
        sys.exit("\n".join([*console, f"the machine says nothing of: {', '.join(missing)}"]))
    return {program: figures_of(said) for program, said in lines.items()}
