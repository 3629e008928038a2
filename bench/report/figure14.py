# SPDX-License-Identifier: Apache-2.0
"""The paper's figure 14: what programs take with VMSRS over what they take without, by how many
instructions come on one monitored access. Natively that is time; in the machine that counts
instructions (machine.py), instructions, with traps beside them."""

from __future__ import annotations

import csv
import datetime
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from . import HEADING
from .aims import Aim
from .output import circumstances, number
from .machine import Machine
from .programs import Figure, Programs


@dataclass(frozen=True)
class Arms:
    """What is compared, and where."""
    name: str
    heading: str
    what: str


NATIVE = Arms("figure14", HEADING, "time")
COUNTED = Arms("figure14_icount", "TCG, instructions, nested paging's cost not in it", "instructions")
KINDS = ("read", "write", "assign")
MODES = ("normal", "suppression")
INTENSIVE = 20  # instructions on one monitored access
AIMS = {aim.key: aim for arms in (NATIVE, COUNTED) for aim in (
    Aim(f"{arms.name}_programs_normal_ratio", "bench_figure14", 1.01),
    Aim(f"{arms.name}_intensive_normal_ratio", "bench_figure14", 1.05),
    Aim(f"{arms.name}_programs_suppression_ratio", "bench_figure14", 1.1),
    Aim(f"{arms.name}_intensive_suppression_ratio", "bench_figure14", 1.1))}
# The paper's figures (5.2): what, ratio, the curves that it says it of.
PAPER = (("3 %, tuned by hand", 1.03, "normal", ("read", "write")),
         ("5 %", 1.05, "normal", ("read", "write")),
         ("10 %, assignment", 1.10, "normal", ("assign",)),
         ("2x", 2.0, "suppression", KINDS))


@dataclass(frozen=True)
class Counts:
    """Of one operation, in the machine; instructions but for the traps."""
    plain: float
    traps: float
    library: float
    hypervisor: float

    def row(self) -> str:
        total = self.plain + self.library + self.hypervisor
        return (f"{self.traps:>8.3g} {self.plain:>12.0f} {self.library:>9.0f} {self.hypervisor:>11.0f}"
                f" {100 * self.library / total:>9.1f} % {100 * self.hypervisor / total:>10.1f} %")


COUNTS_HEAD = (f"{'traps':>8} {'instructions':>12} {'library':>9} {'hypervisor':>11} {'library':>11} "
               f"{'hypervisor':>12}")


@dataclass
class Curves:
    arms: Arms = NATIVE
    points: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    # by mode and name: instructions on one access, ratio
    programs: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    microseconds: dict[tuple[str, str], float] = field(default_factory=dict)  # of a request; native
    # by mode and name, of a program or a curve's point; counted
    counts: dict[str, dict[str, Counts]] = field(default_factory=dict)

    def at(self, kind: str, mode: str, instructions: float) -> float | None:
        """The ratio there, between the points measured."""
        points = self.points.get((kind, mode), [])
        for (left, low), (right, high) in zip(points, points[1:]):
            if left <= instructions <= right:
                share = math.log(instructions / left) / math.log(right / left)
                return low + share * (high - low)
        return None

    def reaches(self, kind: str, mode: str, ratio: float) -> float | None:
        """From how many instructions on the ratio stays at most that; None: not where was measured."""
        points = self.points.get((kind, mode), [])
        above = [i for i, (_, value) in enumerate(points) if value > ratio]
        if not above:
            return points[0][0] if points else None
        if above[-1] + 1 == len(points):
            return None
        (left, high), (right, low) = points[above[-1]], points[above[-1] + 1]
        share = (high - ratio) / (high - low)
        return math.exp(math.log(left) + share * math.log(right / left))


def measure(programs: Programs | Machine) -> Curves:
    curves = Curves(COUNTED if isinstance(programs, Machine) else NATIVE)
    for kind in KINDS:
        found = _found(programs, kind)
        for mode in MODES:
            works = [int(match[1]) for name in found if (match := re.match(mode + r"_(\d+)_ratio$", name))]
            curves.points[kind, mode] = [(found[f"{mode}_{work}_instructions"], found[f"{mode}_{work}_ratio"])
                                         for work in works]
            for work in works:
                _add_counts(curves, found, mode, str(work), f"{kind}_{work}")
    found = _found(programs, "programs")
    for mode in MODES:
        names = [match[1] for name in found if (match := re.match(mode + r"_(.+)_ratio$", name))]
        curves.programs[mode] = {
            name: (found[f"{mode}_{name}_instructions"], found[f"{mode}_{name}_ratio"]) for name in names}
        for name in names:
            _add_counts(curves, found, mode, name, name)
            if (microseconds := found.get(f"{mode}_{name}_us")) is not None:
                curves.microseconds[mode, name] = microseconds
    return curves


def _found(programs: Programs | Machine, what: str) -> dict[str, float]:
    return {figure.name: figure.value for figure in programs.run("bench_figure14", what) or []}


def _add_counts(curves: Curves, found: dict[str, float], mode: str, point: str, name: str) -> None:
    if curves.arms is COUNTED:
        values = (found[f"{mode}_{point}_{what}"] for what in ("plain", "traps", "library", "hypervisor"))
        curves.counts.setdefault(mode, {})[name] = Counts(*values)


def summary(curves: Curves) -> list[Figure]:
    figures = []
    own = curves.arms.name
    for mode in MODES:
        ratios = [ratio for _, ratio in curves.programs.get(mode, {}).values()]
        if ratios:
            figures.append(Figure(f"{own}_programs_{mode}_ratio", max(ratios), "",
                                  f"the worst of {len(ratios)} ordinary programs, a user for each request"))
        worst = [value for kind in KINDS if (value := curves.at(kind, mode, INTENSIVE)) is not None]
        if worst:
            figures.append(Figure(f"{own}_intensive_{mode}_ratio", max(worst), "",
                                  f"the worst of {', '.join(KINDS)}, one access in {INTENSIVE} instructions"))
        for kind in KINDS:
            if (value := curves.at(kind, mode, INTENSIVE)) is not None:
                figures.append(Figure(f"{own}_{kind}_{mode}_at_{INTENSIVE}", value, "",
                                      f"{kind}-intensive, one access in {INTENSIVE} instructions"))
    for what, ratio, mode, kinds in PAPER:
        for kind in kinds:
            reached = curves.reaches(kind, mode, ratio)
            if reached is not None:
                percent = f"{round(100 * (ratio - 1))}"
                figures.append(Figure(f"{own}_{kind}_{mode}_{percent}_percent", reached, "instr.",
                                      f"the paper's {what}: reached from so many instructions on one access on"))
    return figures


def print_table(curves: Curves) -> None:
    what = curves.arms.what
    print(f"\nFigure 14, {what} with VMSRS over {what} without: {curves.arms.heading}")
    for figure in summary(curves):
        aim = AIMS.get(figure.name)
        measured = f"{number(figure.value)} {figure.unit}".strip()
        met = f"{aim.text():<9}{'yes' if aim.met(figure.value) else 'no':<5}" if aim else " " * 14
        print(f"{figure.name:<46}{measured:>12}  {met}{figure.text}")
    for (kind, mode), points in curves.points.items():
        print(f"\n{kind}, {mode} mode\n{'instructions':<14}" + "".join(f"{x:>8.0f}" for x, _ in points))
        print(f"{'ratio':<14}" + "".join(f"{y:>8.2f}" for _, y in points))
    for mode, programs in curves.programs.items():
        print(f"\nordinary programs, {mode} mode")
        for name, (instructions, ratio) in programs.items():
            microseconds = curves.microseconds.get((mode, name))
            request = f"{microseconds:>7.1f} us a request, " if microseconds is not None else ""
            print(f"  {name:<20}{ratio:>6.2f}  {request}one access in {instructions:.0f} instructions")
    for mode, points in curves.counts.items():
        print(f"\nof one operation, {mode} mode: traps; instructions without VMSRS and what library and "
              f"hypervisor add; their shares of all\n  {'':<20}{COUNTS_HEAD}")
        for name, counts in points.items():
            if name in curves.programs[mode] or name.endswith("_0"):  # of the curves the first points
                print(f"  {name:<20}{counts.row()}")


def keep(folder: Path, curves: Curves) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}-{curves.arms.name}"
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"# VMSRS, the paper's figure 14: {curves.arms.heading}\n# {circumstances()}\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("name", "x", "value", "unit", "aim", "what"))
        for figure in summary(curves):
            aim = AIMS[figure.name].text() if figure.name in AIMS else ""
            writer.writerow((figure.name, "", f"{figure.value:.6g}", figure.unit, aim, figure.text))
        for (kind, mode), points in curves.points.items():
            for x, y in points:
                writer.writerow((f"curve_{kind}_{mode}", f"{x:.6g}", f"{y:.6g}", "", "",
                                 "x: instructions on one monitored access"))
        for mode, programs in curves.programs.items():
            for program, (instructions, ratio) in programs.items():
                writer.writerow((f"program_{program}_{mode}", f"{instructions:.6g}", f"{ratio:.6g}", "", "",
                                 "x: instructions on one monitored access"))
        for mode, operations in curves.counts.items():
            for operation, counts in operations.items():
                writer.writerow((f"traps_{operation}_{mode}", "", f"{counts.traps:.6g}", "", "", "of one operation"))
                for what in ("plain", "library", "hypervisor"):
                    writer.writerow((f"{what}_{operation}_{mode}", "", f"{getattr(counts, what):.6g}", "instr.", "",
                                     "of one operation"))
    draw(folder / f"{name}.svg", curves)
    return name


def draw(file: Path, curves: Curves) -> None:
    from .plots import save, start
    pyplot = start()
    figure, panels = pyplot.subplots(1, 2, figsize=(14, 6))
    colours = dict(zip(KINDS, ("tab:blue", "tab:red", "tab:green")))
    for panel, mode in zip(panels, MODES):
        for kind in KINDS:
            points = curves.points.get((kind, mode), [])
            panel.plot([x for x, _ in points], [100 * (y - 1) for _, y in points], "o-",
                       color=colours[kind], label=f"{kind}-intensive")
        programs = curves.programs.get(mode, {})
        panel.plot([x for x, _ in programs.values()], [100 * (y - 1) for _, y in programs.values()],
                   "k^", linestyle="none", label="ordinary programs, a user a request")
        for name, (x, y) in programs.items():
            panel.annotate(name.replace("_", " "), (x, 100 * (y - 1)), fontsize=6)
        for what, ratio, where, _ in PAPER:
            if where == mode:
                panel.axhline(100 * (ratio - 1), linestyle="--", linewidth=0.8, color="grey")
                panel.annotate(f"the paper: {what}", (1.0, 100 * (ratio - 1)), fontsize=7, ha="right",
                               va="bottom", xycoords=("axes fraction", "data"))
        panel.axvline(INTENSIVE, linestyle=":", linewidth=0.8, color="grey")
        panel.set_xscale("log")
        panel.set_yscale("symlog", linthresh=1)
        panel.set_ylim(-1, 1000)
        panel.set_xlabel("instructions on one monitored access, without VMSRS")
        panel.set_ylabel(f"more {curves.arms.what}, %")
        panel.set_title(f"{mode} mode")
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    save(figure, file, f"The paper's figure 14: {curves.arms.heading}")
