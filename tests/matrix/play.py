# SPDX-License-Identifier: Apache-2.0
"""Plays the matrix on a platform, keeps what came out, and says what is not as it should be.

usage: play.py BUILD_DIR hosted STYLE     one style of server, on this host
       play.py BUILD_DIR svm              all of them, in one boot of the machine
       play.py BUILD_DIR svm few          the same with few kinds
Kept in BUILD_DIR/matrix/PLATFORM.STYLE.lines (but of the last), for document.py.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import cells
import document

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "paper"))
import hosted  # noqa: E402
import machine  # noqa: E402
from runs import Run  # noqa: E402

INVARIANTS = {"hidden", "storage", "chains", "users", "mirror", "collected", "accounting", "windows"}
STAGE = machine.Stage("matrix", "matrix", ("tests/matrix/matrix",), 900)
SLOW = ["--limit-ms", "6000", "--patience-ms", "20000", "--fault-limit", str(cells.FAULT_LIMIT["svm"])]
QUICK = ["--patience-ms", "3000"]


def kinds_of(build: Path) -> list[cells.Kind]:
    listed = subprocess.run([str(build / "tests/matrix/matrix"), "kinds"], check=True, text=True,
                            stdout=subprocess.PIPE)
    return cells.parse_kinds(listed.stdout)


def play_hosted(build: Path, style: str) -> list[Run]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        place = hosted.Hosted(build, Path(folder), stack, "matrix")
        control = subprocess.run([str(build / "tests/matrix/matrix"), "control"], check=True, text=True,
                                 stdout=subprocess.PIPE)
        run = place.play(["matrix", style, *QUICK], "tests/matrix", 200)
    return [Run(["matrix", "control"], "hosted", 0, control.stdout.splitlines()), run]


def play_svm(build: Path, few: bool) -> list[Run]:
    words = [*SLOW, "--kinds", ",".join(cells.FEW)] if few else SLOW
    played = [["matrix", "control"]] + [["matrix", style, *words] for style in cells.STYLES["svm"]]
    (build / "matrix").mkdir(exist_ok=True)
    return machine.runs_of(machine.boot(build, played, STAGE))


def problems(run: Run, kinds: list[cells.Kind], control: Run, few: bool) -> list[str]:
    """Of a style's run: each cell, what the engine itself has counted, and the document."""
    lines = cells.Lines()
    lines.add(control.lines)
    lines.add(run.lines)
    style = run.words[1]
    played = [kind for kind in kinds if not few or kind.name in cells.FEW]
    found = cells.style_problems(played, lines, run.platform, style)
    found += document.differences(document.DOCUMENT.read_text(encoding="utf-8"), kinds, lines, run.platform, style)
    contained = sum(cells.verdict(cell) in (cells.RUNS_ON, cells.TO_ITS_END) for cell in lines.cells.values())
    heard = {name: 0 for name in cells.FAULTS}
    for cell in lines.cells.values():
        heard[cells.FAULTS[cell["fault"]]] += cell["crashes"]
    del heard["-"]
    counted = {name: _fault_count(run, name) for name in heard}
    if any(counted[name] < heard[name] for name in heard):
        found.append(f"the engine has heard of fewer faults than the library: {counted}, {heard}")
    for counter in ("suppressed_stores", "restores"):
        if run.counted(counter) == 0:
            found.append(f"{counter}: none")
    if run.counted("users_collected") < contained:
        found.append(f"{contained} users were contained, {run.counted('users_collected')} collected")
    if run.status != 0 or set(run.verdicts) != INVARIANTS or set(run.verdicts.values()) != {"ok"}:
        found.append(f"status {run.status}, invariants {run.verdicts}")
    return found


def _fault_count(run: Run, name: str) -> int:
    def value(server: dict[str, object]) -> int:
        faults = server.get("faults", {})
        return int(faults.get(name, 0)) if isinstance(faults, dict) else 0
    return value(run.after) - value(run.before)


def main() -> int:
    build, platform = Path(sys.argv[1]).resolve(), sys.argv[2]
    few = sys.argv[3:] == ["few"]
    control, *runs = play_hosted(build, sys.argv[3]) if platform == "hosted" else play_svm(build, few)
    kinds = kinds_of(build)
    found: list[str] = []
    for run in runs:
        kept = [line for line in control.lines + run.lines if line.startswith(("control ", "cell "))]
        file = document.file_of(build, platform, run.words[1])
        file.parent.mkdir(exist_ok=True)
        if not few:
            file.write_text("\n".join(kept) + "\n", encoding="ascii")
        print("\n".join(run.lines))
        found += problems(run, kinds, control, few)
    expected = [sys.argv[3]] if platform == "hosted" else list(cells.STYLES["svm"])
    if [run.words[1] for run in runs] != expected:
        found.append(f"played: {[run.words for run in runs]}")
    print("\n".join(found) or f"{platform}: all as it should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
