# SPDX-License-Identifier: Apache-2.0
"""What the lines of the matrix program say: verdict and evidence of each cell, and the table of them all."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

STYLES = {"hosted": ("threads", "pool", "loop", "processes"), "svm": ("threads", "pool", "loop")}
COLUMNS = {"threads": "thread a connection", "pool": "pool", "loop": "event loop", "processes": "processes"}
# enum vmsrs_fault_kind
FAULTS = ("-", "wild", "null", "non_canonical", "bus", "arithmetic", "illegal", "abort", "check", "storage", "stack")
NEEDS_LIBRARY, NO_FAULT, NOT_CONTAINED, LEAVES_DAMAGE, MAY_TELL_OTHERS, MAY_END_LATER = 1, 2, 4, 8, 16, 32  # enum Trait
FINISHED, SUPPRESSED, UNWOUND = 0, 1, 2  # enum vmsrs_outcome
FAULT_LIMIT = {"hosted": 1000, "svm": 200}  # of a crashed user: the emulated processor is slow
RUNS_ON, TO_ITS_END, NO_CRASH = "runs on", "to its end", "no crash"
NOT_PROVOKED = "not provoked"
BY_CHANCE = f"{TO_ITS_END}, or **server ends** later"
# What QEMU's processor does not do as a real one does.
NOT_EMULATED = {"sse_exception", "misplaced_lock", "control_bits", "debug_trap"}
# What the quick part of the tests plays in the machine.
FEW = ("null_read", "wild_write", "non_canonical", "end_of_file", "wild_jump", "stack_overflow", "division_by_zero",
       "masked_store", "ud2", "breakpoint", "abort", "exception", "double_free", "raise", "use_after_free")


BEGIN, END = "<!-- table -->\n", "<!-- end -->\n"  # in docs/matrix.md


@dataclass
class Kind:
    name: str
    signal: int
    fault: int
    traits: int
    how: str
    why: str


@dataclass
class Lines:
    """Of one platform: `control kind=...` and `cell style=... kind=...` as dictionaries."""
    control: dict[str, dict[str, int]] = field(default_factory=dict)
    cells: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)

    def add(self, lines: list[str]) -> None:
        for line in lines:
            word, _, rest = line.partition(" ")
            if word not in ("control", "cell"):
                continue
            pairs = dict(pair.split("=", 1) for pair in rest.split())
            kind, style = pairs.pop("kind"), pairs.pop("style", "")
            numbers = {name: int(value) for name, value in pairs.items()}
            if word == "control":
                self.control[kind] = numbers
            else:
                self.cells[style, kind] = numbers


def parse_kinds(text: str) -> list[Kind]:
    """What `matrix kinds` prints."""
    found = []
    for line in text.splitlines():
        head, how, why = line.split("\t")
        pairs = dict(pair.split("=", 1) for pair in head.split()[1:])
        found.append(Kind(pairs["kind"], int(pairs["signal"]), int(pairs["fault"]), int(pairs["traits"]),
                          how.removeprefix("how="), why.removeprefix("why=")))
    return found


def was_provoked(kind: Kind, lines: Lines) -> bool:
    """Without the library the kind is what it is meant to be, on this platform's processor."""
    control = lines.control.get(kind.name)
    return kind.traits & NEEDS_LIBRARY != 0 or (control is not None and control["possible"] == 1 and
                                                control["signal"] == kind.signal)


def verdict(cell: dict[str, int]) -> str:
    """What became of the request and of the server."""
    if cell["ended"]:
        return "**server ends**"
    if not cell["others"]:
        return "**server hangs**"
    if not cell["answered"]:
        return "**thread hangs**"
    if cell["wrong"]:
        return "**wrong data**"
    if cell["outcome"] == FINISHED:
        return NO_CRASH
    return RUNS_ON if cell["went_on"] else TO_ITS_END


def control_problems(kind: Kind, lines: Lines, platform: str) -> list[str]:
    if kind.traits & NEEDS_LIBRARY:
        return []
    control = lines.control.get(kind.name)
    if control is None:
        return [f"{kind.name}: was not tried without the library"]
    if not control["possible"] or (platform == "svm" and kind.name in NOT_EMULATED):
        return []
    if control["signal"] != kind.signal:
        return [f"{kind.name}: without the library signal {control['signal']}, not {kind.signal}"]
    endless = kind.signal == 0 and not kind.traits & NO_FAULT
    return [] if control["endless"] == endless else [f"{kind.name}: without the library it is not endless"]


def cell_problems(kind: Kind, platform: str, style: str, cell: dict[str, int]) -> list[str]:
    """What is not as it must be, whatever the table says."""
    found = []

    def expect(condition: bool, what: str) -> None:
        if not condition:
            found.append(f"{style}, {kind.name}: not so: {what} ({cell})")

    said = verdict(cell)
    expect(cell["wrong"] == 0, "normal users' data is exact")
    if kind.traits & NOT_CONTAINED or (kind.traits & MAY_END_LATER and cell["ended"]):
        return found
    expect(said == (NO_CRASH if kind.traits & NO_FAULT else said) and
           said in ({NO_CRASH} if kind.traits & NO_FAULT else {RUNS_ON, TO_ITS_END}), "it is contained")
    expect(cell["told"] == 0 or kind.traits & MAY_TELL_OTHERS != 0, "nobody else is told that he failed")
    expect(cell["fault"] == kind.fault, "the library heard of the fault")
    expect(cell["crashes"] == (kind.fault != 0), "of one crash")
    # Whoever comes to a damaged tag waits for its repair: on a busy machine nobody need have finished by then.
    if said == RUNS_ON and style != "loop" and not kind.traits & MAY_TELL_OTHERS:
        expect(cell["during"] > 0, "others were served meanwhile")
    if kind.name == "endless_faults":
        expect(cell["provoked"] == FAULT_LIMIT[platform] and said == TO_ITS_END, "it is ended by its number of faults")
    if kind.name.startswith("endless"):
        expect(said == TO_ITS_END, "it is ended")
    return found


def style_problems(kinds: list[Kind], lines: Lines, platform: str, style: str) -> list[str]:
    """`kinds`: those that should have been played."""
    found = []
    for kind in kinds:
        found += control_problems(kind, lines, platform)
        cell = lines.cells.get((style, kind.name))
        if cell is not None and was_provoked(kind, lines):
            found += cell_problems(kind, platform, style, cell)
        elif cell is None and lines.control.get(kind.name, {"possible": 1})["possible"]:
            found.append(f"{style}, {kind.name}: was not played")
    return found


def text_of(kind: Kind, platform: str, style: str, lines: Lines) -> str:
    cell = lines.cells.get((style, kind.name))
    if cell is None:
        return "?"
    if not was_provoked(kind, lines):
        return NOT_PROVOKED
    chance = kind.traits & MAY_END_LATER and (cell["ended"] or verdict(cell) == TO_ITS_END)
    return BY_CHANCE if chance else verdict(cell)


def head_of(platform: str, style: str) -> str:
    return f"{platform}: {COLUMNS[style]}"


def table(kinds: list[Kind], platforms: dict[str, Lines]) -> str:
    """In Markdown."""
    heads = ["kind", "how it is provoked", "without VMSRS", "fault"]
    heads += [head_of(platform, style) for platform in platforms for style in STYLES[platform]]
    rows = [heads, ["---"] * len(heads)]
    for kind in kinds:
        name = signal.Signals(kind.signal).name if kind.signal else ""
        without = name or ("-" if kind.traits & NEEDS_LIBRARY else "runs on" if kind.traits & NO_FAULT else "endless")
        cells = [text_of(kind, platform, style, lines) for platform, lines in platforms.items()
                 for style in STYLES[platform]]
        rows.append([f"`{kind.name}`", kind.how, without, FAULTS[kind.fault], *cells])
    reasons = [f"- `{kind.name}`: {kind.why}." for kind in kinds if kind.why]
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + [""] + reasons) + "\n"


def between_markers(text: str) -> str:
    return text.partition(BEGIN)[2].partition(END)[0]
