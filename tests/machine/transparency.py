# SPDX-License-Identifier: Apache-2.0
"""Transparency, with a few rounds: the same work has the same results with the hypervisor below Linux and without, at
not many more instructions, and exits only where they are known.

usage: transparency.py BUILD_DIR
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from report import transparency  # noqa: E402

# At most so many exits for an operation; an operation of "idle" is a second. The local APIC's timer is started anew,
# and its interrupt acknowledged, by stores that exit; a program that starts asks 36 times for CPUID (glibc 2.36).
# None for "disk": the host is waited for, and the machine's timers run on.
MOST_EXITS = {"known_instructions": 0.0001, "integer": 0.0001, "floating_point": 1, "memory_copy": 1,
              "system_calls": 0.01, "page_faults": 0.05, "fork_exec": 45, "context_switch": 0.1, "disk": math.inf,
              "timers": 8, "idle": 100}


def problems(comparison: transparency.Comparison) -> list[str]:
    found = comparison.differences()
    rows = {row.name: row for row in comparison.rows}
    if set(rows) != set(MOST_EXITS):
        found.append(f"ran: {sorted(rows)}")
    if not any(row.exit_count for row in rows.values()):
        found.append("no exits at all: they are not counted")
    for name, row in rows.items():
        if name in MOST_EXITS and row.exit_count / row.operations > MOST_EXITS[name]:
            found.append(f"{name}: {row.exit_count} exits in {row.operations} operations")
        if row.aim() is not None and row.percent() > row.aim():
            found.append(f"{name}: {row.percent():.2f} % more instructions, aim {row.aim()} %")
    return found


def main() -> int:
    comparison = transparency.measure(Path(sys.argv[1]).resolve(), quick=True)
    transparency.print_table(comparison)
    found = problems(comparison)
    print("\n" + ("\n".join(found) or "all as it should be"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
