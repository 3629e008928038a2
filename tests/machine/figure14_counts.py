# SPDX-License-Identifier: Apache-2.0
"""Figure 14 by counts, with a few rounds: the clock counts instructions, and the traps are those of the mechanism.

usage: figure14_counts.py BUILD_DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from report import figure14  # noqa: E402
from report.machine import PROGRAMS, Machine  # noqa: E402

READING = {"roster_lookup"}
WRITING = {"roster_change", "word_count", "sort"}


def calibration_problems(machine: Machine) -> list[str]:
    found = []
    for program in PROGRAMS:
        values = [figure.value for figure in machine.run("bench_figure14", program) if figure.name == "calibration"]
        if len(values) != 1 or abs(values[0] - 1) > 0.001:
            found.append(f"{program}: nanoseconds of the clock for an instruction: {values}")
    return found


def count_problems(mode: str, name: str, counts: figure14.Counts) -> list[str]:
    """A request that reads needs no call, and one that writes one; a user that goes on none."""
    least, most = (0.99, 1.1) if name in WRITING else (0.0, 0.0)
    found = []
    if not least <= counts.traps <= most:
        found.append(f"{counts.traps} traps")
    if (counts.hypervisor > 0) != (counts.traps > 0):
        found.append(f"{counts.traps} traps, and {counts.hypervisor} instructions of the hypervisor")
    if counts.library <= 0 or counts.plain <= 0:
        found.append(f"{counts.plain} instructions, and {counts.library} of the library")
    return [f"{name}, {mode} mode: {each}" for each in found]


def main() -> int:
    machine = Machine(Path(sys.argv[1]).resolve(), quick=True)
    curves = figure14.measure(machine)
    figure14.print_table(curves)
    found = calibration_problems(machine)
    for mode in figure14.MODES:
        played = curves.counts.get(mode, {})
        if not READING | WRITING <= set(played) or len(played) < 12:
            found.append(f"{mode} mode: played {sorted(played)}")
        for name, counts in played.items():
            found += count_problems(mode, name, counts)
    print("\n" + ("\n".join(found) or "all as it should be"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
