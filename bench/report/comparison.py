# SPDX-License-Identifier: Apache-2.0
"""The common work under VMSRS and under checkpoints: at a point, along curves, over faults."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field

from .programs import Figure, Programs

BASE_MIB = 64
WORK_SECONDS = 60.0  # of the time model: so long without protection and faults
TRIED_SECONDS, TRIED_FAULTS = 2.0, 2  # what bench_work tries of it (work/request.hpp)
MOST_FAULTS = 1_000_000

# The curves: what varies, and bench_work's other arguments (region, users, threads, crashed users).
CURVES = {
    "users": ((1, 10, 100, 1000, 10_000), lambda x: (BASE_MIB, x, 1, 0)),
    "region_mib": ((1, 8, 64, 256, 1024), lambda x: (x, 1, 1, 0)),
    "threads": ((1, 2, 4, 8), lambda x: (BASE_MIB, 1, x, 0)),
    "crashed_users": ((0, 1, 10, 100, 1000), lambda x: (BASE_MIB, 1, 1, x)),
}


@dataclass
class Comparison:
    ways: dict[str, dict[str, Figure]] = field(default_factory=dict)  # at BASE_MIB
    curves: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def incremental(self) -> str:
        """The cheapest of those that this kernel has."""
        ways = [way for way in self.ways if way not in ("ours", "fork")]
        if not ways:
            sys.exit("no incremental way of checkpoints has worked")
        return min(ways, key=lambda way: self.ways[way]["overhead"].value)

    def total_seconds(self, way: str, faults: int, work: float = WORK_SECONDS) -> float:
        """The paper's 3.3 as a sum: the work, what protecting it costs, what the faults cost."""
        value = {name: figure.value for name, figure in self.ways[way].items()}
        if way == "ours":
            each = (value["lost_ms"] + value["pause_ms"]) / 1e3
            return work * (1 + value["overhead"]) + faults * each
        if faults == 0:
            return work
        cost = value["cost_ms"] / 1e3
        interval = math.sqrt(2 * cost * work / faults)  # Young's, for that many faults
        return (work * (1 + cost / interval) +
                faults * (interval / 2 + value["pause_ms"] / 1e3))

    def crossing(self, way: str) -> int | None:
        """The number of faults from which VMSRS takes less time in all."""
        def ahead(faults: int) -> bool:
            return self.total_seconds("ours", faults) <= self.total_seconds(way, faults)
        if "ours" not in self.ways or not ahead(MOST_FAULTS):
            return None
        low, high = 0, MOST_FAULTS
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if ahead(middle) else (middle + 1, high)
        return low


def compare(programs: Programs) -> Comparison:
    result = Comparison()
    for way in ("ours", "fork", "uffd", "uffd-async", "mprotect"):
        if way == "mprotect" and {"uffd", "uffd-async"} & set(result.ways):
            continue  # the stand-in is not needed
        figures = programs.run("bench_work", way, str(BASE_MIB), "--try")
        if figures is None:
            result.refused.append(way)
        elif figures:
            result.ways[way] = {figure.name: figure for figure in figures}
    return result


def add_curves(programs: Programs, result: Comparison, quick: bool) -> None:
    ways = ("fork", result.incremental())
    base = tuple(map(str, (BASE_MIB, 1, 1, 0)))  # has been measured
    for name, (points, arguments) in CURVES.items():
        curve: dict[str, list[tuple[float, float]]] = {way: [] for way in ("ours", *ways)}
        for x in points[:2] if quick else points:
            for way in curve:
                words = tuple(map(str, arguments(x)))
                if way in result.ways and (words == base or way != "ours" and name != "region_mib"):
                    # Checkpoints know neither users nor threads: one figure for all.
                    extra = result.ways[way]["extra_ns"].value
                else:
                    figures = programs.run("bench_work", way, *words) or []
                    extra = {figure.name: figure.value for figure in figures}.get("extra_ns")
                    if extra is None:
                        continue
                curve[way].append((x, extra))
        result.curves[name] = curve
