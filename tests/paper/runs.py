# SPDX-License-Identifier: Apache-2.0
"""What a run of the roster is, wherever it ran: what was said, how it ended, what the engine counted."""

from __future__ import annotations

from dataclasses import dataclass, field

SCENARIOS = ("5.1.1", "5.1.2", "5.1.3-1", "5.1.3-2", "5.1.3-3")
ROUNDS = {"hosted": 300, "svm": 50}  # of the races


def is_end(line: str) -> bool:
    """Of what is played: it has done all, and is alive until it has been looked at."""
    return line.split() in [[server, "waits"] for server in ("roster", "matrix", "strict", "stock")]


@dataclass
class Run:
    words: list[str]  # the command: roster or roster-plain, the scenario, options
    platform: str
    status: int = -1  # as a shell has it: 128 + N after signal N
    lines: list[str] = field(default_factory=list)
    before: dict[str, object] = field(default_factory=dict)  # the server, as vmsrsctl lists it
    after: dict[str, object] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)  # of vmsrsctl check, at the end

    @property
    def protected(self) -> bool:
        return self.words[0] == "roster"

    @property
    def name(self) -> str:
        """As the tests are called: plain_5.1.1, 5.1.1, 5.1.1_hole, 5.1.1_traps."""
        return (("" if self.protected else "plain_") + self.words[1] +
                ("_hole" if "hole" in self.words else "") +
                ("_traps" if "--trap-every-store" in self.words else ""))

    def counted(self, name: str) -> int:
        """How much the engine's counter of the roster's server has risen."""
        def value(server: dict[str, object]) -> int:
            counter = server.get(name, 0)
            if isinstance(counter, dict):
                return sum(int(part) for part in counter.values())
            return int(counter)  # type: ignore[call-overload]
        return value(self.after) - value(self.before)


def commands(platform: str) -> list[list[str]]:
    """Every run of a platform."""
    rounds = ["--rounds", str(ROUNDS[platform])]
    runs = [["roster", scenario, *(rounds if scenario in ("5.1.3-1", "5.1.3-3") else [])]
            for scenario in SCENARIOS]
    runs.append(["roster", "5.1.1", "--fault", "hole"])
    # Not on svm: where each store is a call, no instant of 5.1.3-3 is left in which anybody else runs.
    runs += [[*words, "--trap-every-store"] for words in runs[:len(SCENARIOS)]
             if platform == "hosted" or words[1] != "5.1.3-3"]
    return [["roster-plain", "5.1.1"], ["roster-plain", "5.1.1", "--fault", "hole"], *runs]
