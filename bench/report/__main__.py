# SPDX-License-Identifier: Apache-2.0
"""usage: report --names | report --build DIR [--output table|json] [--keep FOLDER] [NAME ...]"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from pathlib import Path

from . import figure14, output, transparency
from .aims import AIMS, COMPARISONS, NAMES, NATIVE
from .comparison import Comparison, add_curves, compare
from .machine import Machine
from .programs import Figure, Programs, say


def measure(programs: Programs, names: list[str]) -> list[Figure]:
    figures: list[Figure] = []
    for aim in AIMS:
        if aim.key not in names:
            continue
        figures += programs.run(aim.program, aim.key) or []
    return figures


def keep(folder: Path, figures: list[Figure], comparison: Comparison | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"
    output.write_csv(folder / f"{name}.csv", figures, comparison)
    if comparison is not None and comparison.curves:
        from .plots import draw
        draw(folder / f"{name}.svg", comparison)
    say(f"kept in {folder}: {name}.*")


def main() -> None:
    parser = argparse.ArgumentParser(prog="report", allow_abbrev=False)
    parser.add_argument("--names", action="store_true")
    parser.add_argument("--build", type=Path)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("name", nargs="*")
    options = parser.parse_args()
    if options.names:
        print("\n".join(NAMES))
        return
    names = options.name or list(NATIVE)
    quick = os.environ.get("VMSRS_BENCH_QUICK") == "1"
    programs = Programs(options.build)
    figures = measure(programs, names)
    comparison = None
    if set(names) & set(COMPARISONS):
        comparison = compare(programs)
        if "curves" in names:
            add_curves(programs, comparison, quick)
    curves = []
    if figure14.NATIVE.name in names:
        curves.append(figure14.measure(programs))
    if figure14.COUNTED.name in names:
        curves.append(figure14.measure(Machine(options.build, quick)))
    compared = transparency.measure(options.build, quick) if transparency.NAME in names else None
    output.circumstances()
    if options.keep is not None and (figures or comparison is not None):
        keep(options.keep, figures, comparison)
    for each in curves if options.keep is not None else ():
        say(f"kept in {options.keep}: {figure14.keep(options.keep, each)}.*")
    if options.keep is not None and compared is not None:
        say(f"kept in {options.keep}: {transparency.keep(options.keep, compared)}.csv")
    if options.output == "json":
        # What has a name of its own is printed when it is named.
        more = [figure for each in curves if options.name for figure in figure14.summary(each)]
        more += transparency.summary(compared) if compared is not None else []
        output.print_json(figures, comparison, bool(options.name), more)
    else:
        if figures or comparison is not None:
            output.print_table(figures, comparison)
        else:
            print(output.circumstances())
        for each in curves:
            figure14.print_table(each)
        if compared is not None:
            transparency.print_table(compared)
    if compared is not None:
        programs.failed += compared.differences()
    if programs.failed:
        sys.exit("failed: " + "; ".join(programs.failed))


if __name__ == "__main__":
    main()
