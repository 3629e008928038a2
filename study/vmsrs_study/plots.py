# SPDX-License-Identifier: Apache-2.0
"""The paper's figures 1 and 2, as SVG."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

LICENCE = "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"


def start() -> Any:
    """pyplot, set up for files that are the same for the same figures."""
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "vmsrs"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot
    return pyplot


def save(figure: Any, file: Path, title: str) -> None:
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    start().close(figure)
    first, rest = file.read_text(encoding="utf-8").split("\n", 1)
    file.write_text(f"{first}\n{LICENCE}{rest}", encoding="utf-8")


def title(result: dict[str, Any]) -> str:
    return (f"{result['server'][0]}, {result['requests']} requests, a user is a {result['user']}\n"
            f"{result['circumstances']}")


def legend_below(panel: Any) -> None:
    panel.legend(fontsize=7, ncol=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))


def draw_injections(panel: Any, rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: (row["marked"], row["peak_with_addresses"], row["request"]))
    places = range(1, len(rows) + 1)
    panel.fill_between(places, [row["peak"] for row in rows], [row["peak_with_addresses"] for row in rows],
                       color="tab:orange", alpha=0.2, label="largest number, addresses followed too")
    panel.plot(places, [row["peak"] for row in rows], "-", color="tab:orange", label="largest number")
    panel.plot(places, [row["marked"] for row in rows], "o", color="tab:blue", label="marked (the paper's max)")
    panel.plot(places, [row["last_with_addresses"] for row in rows], "^", color="tab:green", fillstyle="none",
               label="at the end, addresses followed too")
    panel.plot(places, [row["last"] for row in rows], "s", color="tab:red", markersize=4,
               label="at the end (the paper's last)")
    panel.set_xlabel("injection, by the number of bytes marked")
    panel.set_ylabel("corrupted addresses (bytes)")


def draw_curves(panel: Any, rows: list[dict[str, Any]]) -> None:
    length = max(len(row["after"]) for row in rows)
    for key, colour, label in (("after", "tab:red", "data"),
                               ("after_with_addresses", "tab:green", "addresses followed too")):
        columns = [[row[key][i] for row in rows if len(row[key]) > i] for i in range(length)]
        mean = [statistics.fmean(column) for column in columns]
        panel.plot(range(length), mean, color=colour, label=f"mean, {label}")
        panel.plot(range(length), [statistics.median(column) for column in columns], "--", color=colour,
                   label=f"median, {label}")
    panel.axhline(statistics.fmean(row["marked"] for row in rows), color="tab:blue", linestyle=":",
                  label="mean number marked")
    panel.set_xlabel("requests finished after the corrupting one")
    panel.set_ylabel("corrupted addresses (bytes)")


def figure1(result: dict[str, Any], file: Path) -> None:
    rows = [row for row in result["figure1"] if row["after"]]
    figure, panels = start().subplots(1, 2, figsize=(13, 5.6))
    if rows:
        draw_injections(panels[0], rows)
        draw_curves(panels[1], rows)
        for panel in panels:
            panel.set_yscale("symlog", linthresh=1)
            panel.set_ylim(bottom=-0.3)
            panel.grid(alpha=0.3)
            legend_below(panel)
        panels[1].set_xscale("symlog", linthresh=1)
        panels[1].set_xlim(left=0)
    save(figure, file, f"How corrupted values spread and vanish: {title(result)}")


def figure2(result: dict[str, Any], file: Path) -> None:
    points = [point for point in result["figure2"] if point["requests"] > 0]
    figure, panel = start().subplots(figsize=(8, 5.6))
    requests = [point["requests"] for point in points]
    for size, colour, name in (("8", "tab:blue", "8 bytes"), ("64", "tab:orange", "64 bytes"),
                               ("4096", "tab:green", "page")):
        panel.plot(requests, [100 * point[size]["share"] for point in points], "o-", color=colour,
                   label=f"{name}: touched by several users")
        panel.plot(requests, [100 * point[size]["share_passed"] for point in points], "s--", color=colour,
                   fillstyle="none", label=f"{name}: one read what another wrote")
    panel.plot(requests, [100 * point["share_with_stacks"] for point in points], "^:", color="tab:gray",
               label="8 bytes, of memory with users' stacks")
    panel.set_xscale("log")
    if requests:
        ticks = [value for value in requests if str(value)[0] == "1"]
        panel.set_xticks(ticks, [f"{value:,}" for value in ticks])
    panel.minorticks_off()
    panel.set_ylim(0, 100)
    panel.set_xlabel("requests")
    panel.set_ylabel("share of the memory that users touched, %")
    panel.grid(alpha=0.3)
    legend_below(panel)
    save(figure, file, f"Memory that users share: {title(result)}")


def draw(result: dict[str, Any], folder: Path) -> None:
    figure1(result, folder / "figure1.svg")
    figure2(result, folder / "figure2.svg")
