# SPDX-License-Identifier: Apache-2.0
"""The paper's figure 14: what programs take with VMSRS over what they take without, by how many
instructions come on one monitored access."""

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
from .programs import Figure, Programs

NAME = "figure14"
KINDS = ("read", "write", "assign")
MODES = ("normal", "suppression")
INTENSIVE = 20  # instructions on one monitored access
AIMS = {aim.key: aim for aim in (
    Aim("figure14_programs_normal_ratio", "bench_figure14", 1.01),
    Aim("figure14_intensive_normal_ratio", "bench_figure14", 1.05),
    Aim("figure14_programs_suppression_ratio", "bench_figure14", 1.1),
    Aim("figure14_intensive_suppression_ratio", "bench_figure14", 1.1))}
# The paper's figures (5.2): what, ratio, the curves that it says it of.
PAPER = (("3 %, tuned by hand", 1.03, "normal", ("read", "write")),
         ("5 %", 1.05, "normal", ("read", "write")),
         ("10 %, assignment", 1.10, "normal", ("assign",)),
         ("2x", 2.0, "suppression", KINDS))


@dataclass
class Curves:
    points: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    # by mode and name: instructions on one access, microseconds of a request, ratio
    programs: dict[str, dict[str, tuple[float, float, float]]] = field(default_factory=dict)

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


def measure(programs: Programs) -> Curves:
    curves = Curves()
    for kind in KINDS:
        found: dict[str, float] = {
            figure.name: figure.value for figure in programs.run("bench_figure14", kind) or []}
        for mode in MODES:
            works = [int(match[1]) for name in found if (match := re.match(mode + r"_(\d+)_ratio$", name))]
            curves.points[kind, mode] = [(found[f"{mode}_{work}_instructions"], found[f"{mode}_{work}_ratio"])
                                         for work in works]
    found = {figure.name: figure.value for figure in programs.run("bench_figure14", "programs") or []}
    for mode in MODES:
        names = [match[1] for name in found if (match := re.match(mode + r"_(.+)_ratio$", name))]
        curves.programs[mode] = {
            name: (found[f"{mode}_{name}_instructions"], found[f"{mode}_{name}_us"], found[f"{mode}_{name}_ratio"])
            for name in names}
    return curves


def summary(curves: Curves) -> list[Figure]:
    figures = []
    for mode in MODES:
        ratios = [ratio for _, _, ratio in curves.programs.get(mode, {}).values()]
        if ratios:
            figures.append(Figure(f"figure14_programs_{mode}_ratio", max(ratios), "",
                                  f"the worst of {len(ratios)} ordinary programs, a user for each request"))
        worst = [value for kind in KINDS if (value := curves.at(kind, mode, INTENSIVE)) is not None]
        if worst:
            figures.append(Figure(f"figure14_intensive_{mode}_ratio", max(worst), "",
                                  f"the worst of {', '.join(KINDS)}, one access in {INTENSIVE} instructions"))
        for kind in KINDS:
            if (value := curves.at(kind, mode, INTENSIVE)) is not None:
                figures.append(Figure(f"figure14_{kind}_{mode}_at_{INTENSIVE}", value, "",
                                      f"{kind}-intensive, one access in {INTENSIVE} instructions"))
    for what, ratio, mode, kinds in PAPER:
        for kind in kinds:
            reached = curves.reaches(kind, mode, ratio)
            if reached is not None:
                percent = f"{round(100 * (ratio - 1))}"
                figures.append(Figure(f"figure14_{kind}_{mode}_{percent}_percent", reached, "instr.",
                                      f"the paper's {what}: reached from so many instructions on one access on"))
    return figures


def print_table(curves: Curves) -> None:
    print(f"\nFigure 14, time with VMSRS over time without: {HEADING}")
    for figure in summary(curves):
        aim = AIMS.get(figure.name)
        measured = f"{number(figure.value)} {figure.unit}".strip()
        met = f"{aim.text():<9}{'yes' if aim.met(figure.value) else 'no':<5}" if aim else " " * 14
        print(f"{figure.name:<40}{measured:>12}  {met}{figure.text}")
    for (kind, mode), points in curves.points.items():
        print(f"\n{kind}, {mode} mode\n{'instructions':<14}" + "".join(f"{x:>8.0f}" for x, _ in points))
        print(f"{'ratio':<14}" + "".join(f"{y:>8.2f}" for _, y in points))
    for mode, programs in curves.programs.items():
        print(f"\nordinary programs, {mode} mode")
        for name, (instructions, microseconds, ratio) in programs.items():
            print(f"  {name:<20}{ratio:>6.2f}  {microseconds:>7.1f} us a request, one access in "
                  f"{instructions:.0f} instructions")


def keep(folder: Path, curves: Curves) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}-{NAME}"
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"# VMSRS, the paper's figure 14: {HEADING}\n# {circumstances()}\n")
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
            for program, (instructions, _, ratio) in programs.items():
                writer.writerow((f"program_{program}_{mode}", f"{instructions:.6g}", f"{ratio:.6g}", "", "",
                                 "x: instructions on one monitored access"))
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
        panel.plot([x for x, _, _ in programs.values()], [100 * (y - 1) for _, _, y in programs.values()],
                   "k^", linestyle="none", label="ordinary programs, a user a request")
        for name, (x, _, y) in programs.items():
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
        panel.set_ylabel("more time, %")
        panel.set_title(f"{mode} mode")
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    save(figure, file, f"The paper's figure 14: {HEADING}")
