# SPDX-License-Identifier: Apache-2.0
"""Prints what the paper's figures 8 to 13 show, from runs of the roster made now.

usage: figures.py BUILD_DIR hosted|svm [SCENARIO ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import hosted
import machine
import verdicts
from runs import SCENARIOS, Run, commands

FIGURES = {"plain_5.1.1": "Figure 8, 5.1.1 without VMSRS: a user's error ends the server",
           "5.1.1": "Figure 9, 5.1.1: the server and its other users go on",
           "5.1.2": "Figure 10, 5.1.2: recovery data is out of the faulty user's reach",
           "5.1.3-1": "Figure 11, 5.1.3-1: a reader while suppression is being entered",
           "5.1.3-2": "Figure 12, 5.1.3-2: a write after the error, and a read after it",
           "5.1.3-3": "Figure 13, 5.1.3-3: a reader between a write and what is noted of it"}


def print_figure(run: Run) -> bool:
    print(f"\n== {FIGURES[run.name]} ({run.platform}) ==")
    for line in run.lines:
        print(f"  {line}")
    if run.protected:
        counted = ", ".join(f"{run.counted(name)} {name.replace('_', ' ')}" for name in
                            ("faults", "suppressed_stores", "restores", "users_collected"))
        print(f"  engine:  {counted}; check {'ok' if set(run.verdicts.values()) == {'ok'} else 'NOT ok'}")
    else:
        print(f"  status {run.status}")
    wrong = verdicts.problems(run)
    for problem in wrong:
        print(f"  {problem}")
    print(f"  {'NOT as' if wrong else 'as'} the paper says")
    return not wrong


def main() -> int:
    words = sys.argv[1:]
    if len(words) < 2 or words[1] not in ("hosted", "svm") or not set(words[2:]) <= set(SCENARIOS):
        print(__doc__.splitlines()[-1], file=sys.stderr)
        return 2
    build, platform, scenarios = Path(words[0]).resolve(), words[1], words[2:] or SCENARIOS
    wanted = [command for command in commands(platform)
              if Run(command, platform).name in FIGURES and command[1] in scenarios]
    play = hosted.play if platform == "hosted" else machine.play
    return 0 if all([print_figure(run) for run in play(build, wanted)]) else 1


if __name__ == "__main__":
    sys.exit(main())
