# SPDX-License-Identifier: Apache-2.0
"""Plays one wild store into a region, with and without strict mode, and looks at what came of it.

usage: play.py BUILD_DIR hosted    on this host, where strict mode may be refused
       play.py BUILD_DIR svm       on the hypervisor, in a machine whose processor has protection keys
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "paper"))
import hosted  # noqa: E402
import machine  # noqa: E402
from runs import Run  # noqa: E402

STAGE = machine.Stage("strict", "strict", ("tests/strict/strict",), 280, "max,+svm,+npt")
PLAYED = [["strict", "off"], ["strict", "on"]]
REFUSED = 3
SUPPRESSED = "1"


def said(run: Run) -> dict[str, str]:
    """The values by their names."""
    words = [line.split(maxsplit=2) for line in run.lines]
    return {each[1]: each[2] for each in words if len(each) == 3 and each[0] == "strict"}


def expected(on: bool) -> dict[str, str]:
    """Strict: at the store itself, before it changed anything. Else by a later fault, and the sweep."""
    return {"in_force": str(int(on)), "outcome": SUPPRESSED, "stage_at_crash": "0" if on else "2",
            "right_meanwhile": str(int(on)), "wrong_at_the_end": "0"}


def problems(run: Run) -> list[str]:
    on, values = run.words[1] == "on", said(run)
    found = [f"{name}: {values.get(name)}, not {value}" for name, value in expected(on).items()
             if values.get(name) != value]
    if on != ("plain store to 0x" in values.get("reason", "")):
        found.append(f"the reason: {values.get('reason')}")
    if run.status != 0:
        found.append(f"status {run.status}")
    if set(run.verdicts.values()) != {"ok"}:
        found.append(f"invariants: {run.verdicts}")
    if run.counted("faults") == 0:
        found.append("the engine has heard of no fault")
    return found


def play_hosted(build: Path) -> list[Run]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        place = hosted.Hosted(build, Path(folder), stack, "strict")
        return [place.play(words, "tests/strict") for words in PLAYED]


def refused_for_want_of_keys(run: Run) -> bool:
    has_keys = "ospke" in Path("/proc/cpuinfo").read_text(encoding="ascii").split()
    return run.status == REFUSED and not has_keys and "no protection key" in said(run).get("refused", "")


def main() -> None:
    build, platform = Path(sys.argv[1]).resolve(), sys.argv[2]
    runs = play_hosted(build) if platform == "hosted" else machine.runs_of(machine.boot(build, PLAYED, STAGE))
    failed = len(runs) != len(PLAYED)
    for run in runs:
        print(" ".join(run.words), f"on {run.platform}:", said(run))
        if platform == "hosted" and run.words[1] == "on" and refused_for_want_of_keys(run):
            print("   refused, and rightly: this processor has no protection keys")
            continue
        for problem in problems(run):
            print("  ", problem)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
