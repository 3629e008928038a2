# SPDX-License-Identifier: Apache-2.0
"""One run of the roster, and whether it went as the paper says.

usage: paper_test.py BUILD_DIR hosted|svm NAME     (names: runs.Run.name)
"""

from __future__ import annotations

import sys
from pathlib import Path

import hosted
import machine
import verdicts
from runs import Run, commands


def main() -> int:
    build, platform, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if platform == "hosted":
        runs = hosted.play(build, [words for words in commands(platform)
                                   if Run(words, platform).name == name])
    else:  # all of them were played in one boot: test paper.svm_machine
        console = (build / "paper" / "svm.console").read_text(encoding="utf-8").splitlines()
        runs = [run for run in machine.runs_of(console) if run.name == name]
    if len(runs) != 1:
        print(f"there is no run {name}")
        return 1
    run, = runs
    print("\n".join(run.lines))
    print({counter: run.counted(counter) for counter in
           ("faults", "suppressed_stores", "restores", "users_collected")}, run.verdicts)
    problems = verdicts.problems(run)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
