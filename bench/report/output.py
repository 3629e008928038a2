# SPDX-License-Identifier: Apache-2.0
"""What is printed and what is kept."""

from __future__ import annotations

import csv
import datetime
import functools
import json
import os
import platform
import subprocess
from pathlib import Path

from . import HEADING
from .aims import KEYS
from .comparison import TRIED_FAULTS, TRIED_SECONDS, WORK_SECONDS, Comparison
from .programs import Figure


@functools.cache
def circumstances() -> str:
    """Asked for the first time when all has been measured and nothing is written yet."""
    model = next((line.split(":")[1].strip()
                  for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "-C", str(Path(__file__).parent), "describe", "--always",
                             "--dirty", "--exclude=*"], check=False, capture_output=True,
                            text=True).stdout.strip()
    now = datetime.datetime.now(datetime.timezone.utc)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (f"{now:%Y-%m-%d %H:%M} UTC; {os.cpu_count()} processors ({model}); "
            f"load average {load}; Linux {platform.release().partition('-')[0]}; commit {commit or 'unknown'}")


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def comparison_figures(comparison: Comparison) -> list[Figure]:
    figures = []
    for way, measured in comparison.ways.items():
        for figure in measured.values():
            figures.append(Figure(f"checkpoint_{way.replace('-', '_')}_{figure.name}",
                                  figure.value, figure.unit, figure.text))
        if way != "ours" and (faults := comparison.crossing(way)) is not None:
            figures.append(Figure(f"checkpoint_{way.replace('-', '_')}_crossing", faults, "faults",
                                  f"in {WORK_SECONDS:.0f} s of work, from which on VMSRS takes "
                                  "less time in all"))
    return figures


def print_table(figures: list[Figure], comparison: Comparison | None) -> None:
    print(f"VMSRS benchmarks: {HEADING}\n{circumstances()}\n")
    if figures:
        print(f"{'key':<28}{'measured':>12}  {'aim':<9}{'met':<5}what")
    for figure in figures:
        aim = KEYS.get(figure.name)
        measured = f"{number(figure.value)} {figure.unit}".strip()
        if aim is not None:
            met = "yes" if aim.met(figure.value) else "no"
            print(f"{figure.name:<28}{measured:>12}  {aim.text():<9}{met:<5}{figure.text}")
        else:
            print(f"  {figure.name:<26}{measured:>12}  {'':<14}{figure.text}")
    if comparison is not None:
        print_comparison(comparison)


def print_comparison(comparison: Comparison) -> None:
    print(f"\nThe same work under VMSRS and under checkpoints: {HEADING}")
    rows = ["overhead", "cpu_extra_us", "cost_ms", "interval_ms", "checkpoint_pause_ms", "lost_ms",
            "pause_ms", "tried_ratio"]
    print(f"{'':<22}" + "".join(f"{way:>14}" for way in comparison.ways))
    for row in rows:
        cells = [measured.get(row) for measured in comparison.ways.values()]
        print(f"{row:<22}" +
              "".join(f"{number(cell.value) if cell else '-':>14}" for cell in cells))
    tried = [comparison.total_seconds(way, TRIED_FAULTS, TRIED_SECONDS) / TRIED_SECONDS
             for way in comparison.ways]
    print(f"{'  the model says':<22}" + "".join(f"{number(value):>14}" for value in tried))
    crossings = []
    for way in comparison.ways:
        faults = None if way == "ours" else comparison.crossing(way)
        crossings.append("-" if way == "ours" else "never" if faults is None else str(faults))
    print(f"{'crossing (faults)':<22}" + "".join(f"{text:>14}" for text in crossings))
    for way in comparison.refused:
        print(f"{way}: this kernel refuses it")
    for name, curve in comparison.curves.items():
        points = [x for x, _ in next(iter(curve.values()))]
        print(f"\nMore nanoseconds for a request, by {name}: {HEADING}")
        print(f"{name:<22}" + "".join(f"{x:>10g}" for x in points))
        for way, values in curve.items():
            print(f"{way:<22}" + "".join(f"{number(y):>10}" for _, y in values))


def print_json(figures: list[Figure], comparison: Comparison | None, named: bool,
               more: list[Figure]) -> None:
    values = {figure.name: figure.value for figure in figures if figure.name in KEYS}
    if named and comparison is not None:
        values.update((figure.name, figure.value) for figure in comparison_figures(comparison))
    values.update((figure.name, figure.value) for figure in more)
    print(json.dumps(values, indent=1))


def write_csv(file: Path, figures: list[Figure], comparison: Comparison | None) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"# VMSRS benchmarks: {HEADING}\n# {circumstances()}\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("name", "x", "value", "unit", "aim", "what"))
        for figure in figures:
            aim = KEYS[figure.name].text() if figure.name in KEYS else ""
            writer.writerow((figure.name, "", f"{figure.value:.6g}", figure.unit, aim, figure.text))
        if comparison is None:
            return
        for figure in comparison_figures(comparison):
            writer.writerow((figure.name, "", f"{figure.value:.6g}", figure.unit, "", figure.text))
        for name, curve in comparison.curves.items():
            for way, points in curve.items():
                for x, y in points:
                    writer.writerow((f"curve_{name}_{way}", x, f"{y:.6g}", "ns", "",
                                     "more for a request"))
