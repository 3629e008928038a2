# SPDX-License-Identifier: Apache-2.0
"""The curves as one SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import HEADING
from .comparison import WORK_SECONDS, Comparison
from .output import circumstances

LICENCE = "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
AXES = {
    "users": "users over time (at most 1,000 unfinished at once)",
    "region_mib": "region, MiB",
    "threads": "threads (one processor)",
    "crashed_users": "crashed users, not collected",
}
COLOURS = {"ours": "tab:blue", "fork": "tab:orange", "uffd": "tab:green",
           "uffd-async": "tab:red", "mprotect": "tab:purple"}
LABELS = {"ours": "VMSRS", "fork": "checkpoint: fork", "uffd": "checkpoint: userfaultfd",
          "uffd-async": "checkpoint: userfaultfd, async", "mprotect": "checkpoint: mprotect"}


def start() -> Any:
    """pyplot, set up for files that are the same for the same figures."""
    import matplotlib  # only here: the rest runs without it
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "vmsrs"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot
    return pyplot


def save(figure: Any, file: Path, title: str) -> None:
    figure.suptitle(f"{title}\n{circumstances()}", fontsize=9)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    start().close(figure)
    first, rest = file.read_text(encoding="utf-8").split("\n", 1)
    file.write_text(f"{first}\n{LICENCE}{rest}", encoding="utf-8")


def draw(file: Path, comparison: Comparison) -> None:
    pyplot = start()
    figure, panels = pyplot.subplots(2, 3, figsize=(15, 9))
    flat = iter(panels.flat)
    for name, curve in comparison.curves.items():
        panel = next(flat)
        for way, points in curve.items():
            measured = way == "ours" or name == "region_mib"
            panel.plot([x for x, _ in points], [y / 1e3 for _, y in points],
                       "o-" if measured else "--", color=COLOURS[way], label=LABELS[way])
        panel.set_xscale("symlog" if name == "crashed_users" else "log")
        panel.set_yscale("log")
        points = [x for x, _ in curve["ours"]]
        panel.set_xticks(points, [f"{x:,}" for x in points])
        panel.minorticks_off()
        panel.set_xlabel(AXES[name])
        panel.set_ylabel("more for a request, us")
    panel = next(flat)
    faults = sorted({round(10 ** (step / 10)) for step in range(0, 51)})
    for way in comparison.ways:
        panel.plot(faults, [comparison.total_seconds(way, count) for count in faults],
                   color=COLOURS[way], label=LABELS[way])
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("faults N")
    panel.set_ylabel(f"total time of {WORK_SECONDS:.0f} s of work, s (model)")
    panel = next(flat)
    ways = list(comparison.ways)
    for shift, row, label in ((-0.2, "lost_ms", "work lost at a fault"),
                              (0.2, "pause_ms", "pause at a fault")):
        panel.bar([i + shift for i in range(len(ways))],
                  [comparison.ways[way][row].value for way in ways], 0.4, label=label)
    panel.set_xticks(range(len(ways)), [LABELS[way].replace(": ", ":\n") for way in ways],
                     fontsize=7)
    panel.set_yscale("log")
    panel.set_ylabel("ms")
    for panel in panels.flat:
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    save(figure, file, f"VMSRS benchmarks: {HEADING}")
