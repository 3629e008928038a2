# SPDX-License-Identifier: Apache-2.0
"""All PromQL of the dashboards and rules, and its parser."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[2]
DASHBOARDS = TOP / "dashboards" / "json"
RULES = [TOP / "dashboards" / "rules" / name for name in ("vmsrs.recording.yaml", "vmsrs.rules.yaml")]

Board = dict[str, Any]


@dataclass(frozen=True)
class Expression:
    """`kind` is panel, annotation, variable, recording or alert; `name` is what it is recorded as, or the alert."""

    where: str
    kind: str
    text: str
    legend: str = ""
    name: str = ""


@dataclass(frozen=True)
class Selector:
    text: str
    metric: str
    over: bool
    matchers: list[dict[str, str]] = field(hash=False)


@functools.cache
def boards() -> dict[str, Board]:
    """The committed dashboards by their files' names; they are nobody's to change."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(DASHBOARDS.glob("*.json"))}


def panels(board: Board) -> list[Board]:
    """The panels that show something: all but rows, those within closed rows included."""
    found: list[Board] = []
    for panel in board["panels"]:
        found += panel.get("panels", []) if panel["type"] == "row" else [panel]
    return found


def variables(board: Board) -> dict[str, Board]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def of_board(name: str, board: Board) -> Iterator[Expression]:
    for panel in panels(board):
        for target in panel.get("targets", []):
            yield Expression(f"{name}: panel '{panel.get('title')}' {target.get('refId')}", "panel", target["expr"],
                             target.get("legendFormat", ""))
    for annotation in board["annotations"]["list"]:
        yield Expression(f"{name}: annotation '{annotation['name']}'", "annotation", annotation["expr"],
                         annotation.get("textFormat", ""))
    for variable in variables(board).values():
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            yield Expression(f"{name}: variable '{variable['name']}'", "variable",
                             asked.group(1) if asked else variable["query"]["query"],
                             f"{{{{{asked.group(2)}}}}}" if asked else "")


@functools.cache
def of_rules() -> list[Expression]:
    found = []
    for file in RULES:
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                kind = "recording" if "record" in rule else "alert"
                name = rule.get("record", rule.get("alert"))
                found.append(Expression(f"{file.name}: {name}", kind, rule["expr"], name=name))
    return found


def concrete(text: str, chosen: str = ".+", window: str = "1m") -> str:
    """The expression with Grafana's variables filled in; `chosen` for those that a person chooses."""
    text = re.sub(r"\$__(?:rate_interval|interval|range)\b", window, text)
    return re.sub(r"\$\{?(?:job|instance|server)\}?", chosen, text)


Parsed = tuple[list[str], list[Selector]]
_parsed: dict[str, Parsed] = {}


def parsed(texts: list[str], modules: Path) -> list[Parsed]:
    """Errors and selectors of each expression; `modules` is the folder with node_modules."""
    if new := [text for text in dict.fromkeys(texts) if text not in _parsed]:
        done = subprocess.run(["node", str(Path(__file__).parent / "parse.mjs")], cwd=modules, check=True, text=True,
                              input=json.dumps(new), stdout=subprocess.PIPE)
        for text, one in zip(new, json.loads(done.stdout)):
            _parsed[text] = one["errors"], [Selector(**selector) for selector in one["selectors"]]
    return [_parsed[text] for text in texts]
