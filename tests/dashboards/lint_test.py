# SPDX-License-Identifier: Apache-2.0
"""The rules that the dashboards keep, and that each rule finds what breaks it.

usage: lint_test.py FOLDER   with node_modules
"""

from __future__ import annotations

import copy
import functools
import re
import sys
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from expressions import Board, Selector, TOP, boards, of_board, of_rules, panels, parsed, variables

SOURCE = "${datasource}"
CHOSEN = {"datasource", "job", "instance"}
ON_TIME_RANGE_CHANGE = 2
GRID_WIDTH = 24
WINDOWS = {"$__rate_interval", "$__range"}
COUNTER = re.compile(r".*_(total|bucket|count|sum)$")
MODULES = Path()


@functools.cache
def exported() -> dict[str, set[str]]:
    """Every metric of vmsrsd with its labels, and what the rules record."""
    found: dict[str, set[str]] = {"up": set(), "ALERTS": {"alertname", "severity"}}
    for line in (TOP / "tests/ops/golden/metrics.txt").read_text(encoding="utf-8").splitlines():
        if sample := re.match(r"(\w+)(?:\{(.*)\})? ", line if not line.startswith("#") else ""):
            found.setdefault(sample.group(1), set()).update(re.findall(r'(\w+)="', sample.group(2) or ""))
    # Exported only where TLS is on.
    found["vmsrs_certificate_expiry_timestamp_seconds"] = {"certificate"}
    for rule in of_rules():
        if rule.kind == "recording":
            found[rule.name] = set(rule.name.split(":")[0].split("_")) - {"instance", "job"}
    return found


def of_variables(board: Board) -> Iterator[str]:
    for name in sorted(CHOSEN - set(variables(board))):
        yield f"no variable '{name}'"
    for name, variable in variables(board).items():
        if not variable.get("label") or not variable.get("description"):
            yield f"variable '{name}' has no label or no description"
        if variable["type"] != "query":
            continue
        if variable.get("refresh") != ON_TIME_RANGE_CHANGE:
            yield f"variable '{name}' does not follow the time range"
        if variable["datasource"]["uid"] != SOURCE:
            yield f"variable '{name}' is not of the chosen data source"
        if not variable["query"]["query"].startswith("label_values("):
            yield f"variable '{name}' asks for no label's values"
        if not (variable.get("includeAll") and variable.get("allValue") and variable.get("multi")):
            yield f"variable '{name}' does not let one choose several and all"


def of_panels(board: Board) -> Iterator[str]:
    for panel in panels(board):
        title = panel.get("title")
        if not title:
            yield f"a {panel['type']} panel has no title"
        for key in ("description", "targets"):
            if not panel.get(key):
                yield f"panel '{title}' has no {key}"
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        if not defaults.get("unit"):
            yield f"panel '{title}' has no unit"
        if not defaults.get("thresholds", {}).get("steps"):
            yield f"panel '{title}' has no thresholds"
        for source in (panel, *panel.get("targets", [])):
            if source.get("datasource", {}).get("uid") != SOURCE:
                yield f"panel '{title}' is not of the chosen data source"
        if len({target["refId"] for target in panel.get("targets", [])}) != len(panel.get("targets", [])):
            yield f"panel '{title}' has two targets of one name"
    for annotation in board["annotations"]["list"]:
        if annotation["datasource"]["uid"] != SOURCE:
            yield f"annotation '{annotation['name']}' is not of the chosen data source"


def of_layout(board: Board) -> Iterator[str]:
    if board.get("editable") is not False:
        yield "it can be edited"
    if not board.get("uid") or not board.get("title") or not board.get("description"):
        yield "it has no uid, no title or no description"
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > GRID_WIDTH:
            yield f"panel '{panel.get('title')}' is wider than the page"
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        for other in sorted({taken[cell] for cell in cells & taken.keys()}):
            yield f"panel '{panel.get('title')}' lies upon '{other}'"
        taken.update({cell: str(panel.get("title")) for cell in cells})
    if len({panel["id"] for panel in board["panels"]}) != len(board["panels"]):
        yield "two panels have one id"


def links(value: object) -> Iterator[str]:
    """Every address within a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "url" and isinstance(inner, str):
                yield inner
            else:
                yield from links(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from links(inner)


def of_links(board: Board) -> Iterator[str]:
    others = {other["uid"]: other for other in boards().values()}
    for address in links(board):
        there = re.fullmatch(r"/d/([\w-]+)", urlsplit(address).path)
        if there is None or there.group(1) not in others:
            yield f"a link leads to {address}, no dashboard of these"
            continue
        query = urlsplit(address).query
        if "${__url_time_range}" not in query:
            yield f"the link to {there.group(1)} forgets the time range"
        given = {name.removeprefix("var-") for name, _ in parse_qsl(query) if name.startswith("var-")}
        if wrong := given ^ set(variables(others[there.group(1)])):
            yield f"the link to {there.group(1)} gives not its variables: {', '.join(sorted(wrong))}"


def of_selector(selector: Selector, known: dict[str, set[str]], has_server: bool) -> Iterator[str]:
    by_label = {matcher["label"]: matcher for matcher in selector.matchers}
    if selector.metric not in known:
        yield f"nobody exports or records {selector.metric}"
        return
    wanted = ["job", "instance"]
    if has_server and "server" in known[selector.metric]:
        wanted.append("server")
    for label in wanted:
        matcher = by_label.pop(label, {})
        if (matcher.get("operator"), matcher.get("value")) != ("=~", f"${label}"):
            yield f'{selector.metric} is not chosen by {label}=~"${label}"'
    for label in by_label:
        if label in ("job", "instance", "server"):
            yield f"{selector.metric} names a {label}"
        elif label not in known[selector.metric] and (selector.metric, label) != ("ALERTS", "alertstate"):
            yield f"{selector.metric} has no label {label}"
    if COUNTER.match(selector.metric) and not selector.over:
        yield f"the counter {selector.metric} is shown as it is, not by how it grows"


def of_queries(board: Board) -> Iterator[str]:
    known = exported()
    has_server = "server" in variables(board)
    asked = list(of_board("", board))
    # The names of variables stay, so that what is chosen by them shows.
    texts = [re.sub(r"\$__\w+", "1m", expression.text) for expression in asked]
    for expression, (errors, selectors) in zip(asked, parsed(texts, MODULES)):
        for error in errors:
            yield f"{expression.where}: not PromQL {error}"
        if expression.kind == "panel":
            for window in re.findall(r"\[([^\]]*)\]", expression.text):
                if window not in WINDOWS:
                    yield f"{expression.where}: a window of {window}, not one of {', '.join(sorted(WINDOWS))}"
        if expression.kind == "variable":
            continue
        for selector in selectors:
            for problem in of_selector(selector, known, has_server):
                yield f"{expression.where}: {problem}"


RULES: list[Callable[[Board], Iterator[str]]] = [of_variables, of_panels, of_layout, of_links, of_queries]


def problems(board: Board) -> list[str]:
    return [problem for rule in RULES for problem in rule(board)]


def first(board: Board, kind: str) -> Board:
    return next(panel for panel in board["panels"] if panel["type"] == kind)


def query(board: Board) -> Board:
    return first(board, "timeseries")["targets"][0]


def replaced(target: Board, old: str, new: str) -> None:
    assert old in target["expr"], target["expr"]
    target["expr"] = target["expr"].replace(old, new)


def without(board: Board, name: str) -> None:
    board["templating"]["list"] = [one for one in board["templating"]["list"] if one["name"] != name]


def relinked(board: Board, old: str, new: str) -> None:
    properties = [one for override in first(board, "table")["fieldConfig"]["overrides"]
                  for one in override["properties"] if one["id"] == "links"]
    assert old in properties[0]["value"][0]["url"]
    properties[0]["value"][0]["url"] = properties[0]["value"][0]["url"].replace(old, new)


# What somebody could break, on which dashboard, and what must be said of it.
BREAKAGES: list[tuple[str, Callable[[Board], object], str]] = [
    ("host", lambda b: without(b, "datasource"), "no variable 'datasource'"),
    ("host", lambda b: without(b, "job"), "no variable 'job'"),
    ("host", lambda b: without(b, "instance"), "no variable 'instance'"),
    ("host", lambda b: variables(b)["job"].update(refresh=1), "does not follow the time range"),
    ("host", lambda b: variables(b)["job"]["datasource"].update(uid="prometheus"), "not of the chosen data source"),
    ("host", lambda b: variables(b)["job"].update(label=""), "no label or no description"),
    ("host", lambda b: variables(b)["job"].update(allValue=None), "several and all"),
    ("host", lambda b: variables(b)["job"]["query"].update(query="vmsrs_up"), "asks for no label's values"),
    ("host", lambda b: first(b, "stat").pop("title"), "has no title"),
    ("host", lambda b: first(b, "stat").pop("description"), "has no description"),
    ("host", lambda b: first(b, "stat").pop("targets"), "has no targets"),
    ("host", lambda b: first(b, "stat")["fieldConfig"]["defaults"].pop("unit"), "has no unit"),
    ("host", lambda b: first(b, "stat")["fieldConfig"]["defaults"].pop("thresholds"), "has no thresholds"),
    ("host", lambda b: first(b, "stat")["datasource"].update(uid="p1"), "not of the chosen data source"),
    ("host", lambda b: query(b)["datasource"].update(uid="p1"), "not of the chosen data source"),
    ("host", lambda b: first(b, "timeseries")["targets"].append(query(b)), "two targets of one name"),
    ("host", lambda b: b["annotations"]["list"][0]["datasource"].update(uid="p1"), "not of the chosen data source"),
    ("host", lambda b: b.update(editable=True), "can be edited"),
    ("host", lambda b: b.pop("description"), "no description"),
    ("host", lambda b: first(b, "stat")["gridPos"].update(w=25), "wider than the page"),
    ("host", lambda b: b["panels"][1]["gridPos"].update(x=0), "lies upon"),
    ("host", lambda b: b["panels"][1].update(id=1), "two panels have one id"),
    ("host", lambda b: relinked(b, "/d/vmsrs-server", "/d/other"), "no dashboard of these"),
    ("host", lambda b: relinked(b, "${__url_time_range}", "x=1"), "forgets the time range"),
    ("host", lambda b: relinked(b, "var-server", "var-user"), "gives not its variables"),
    ("host", lambda b: replaced(query(b), "vmsrs_suppressed_users", "vmsrs_users"), "nobody exports"),
    ("host", lambda b: replaced(query(b), 'job=~"$job", ', ""), "is not chosen by job"),
    ("host", lambda b: replaced(query(b), 'instance=~"$instance"', 'instance="a"'), "is not chosen by instance"),
    ("host", lambda b: replaced(query(b), '$instance"}', '$instance", server="shop"}'), "names a server"),
    ("host", lambda b: replaced(query(b), '$instance"}', '$instance", cpu="0"}'), "has no label cpu"),
    ("host", lambda b: query(b).update(expr=query(b)["expr"] + " +"), "not PromQL"),
    ("server", lambda b: replaced(query(b), ', server=~"$server"', ""), "is not chosen by server"),
    ("server", lambda b: replaced(query(b), "[$__rate_interval]", "[5m]"), "a window of 5m"),
    ("server", lambda b: query(b).update(
        expr='sum(vmsrs_users_begun_total{job=~"$job", instance=~"$instance", server=~"$server"})'), "the counter"),
]


class Lint(unittest.TestCase):
    def test_dashboards_keep_the_rules(self) -> None:
        self.assertEqual(set(boards()), {"fleet", "host", "server", "hypervisor"})
        for name, board in boards().items():
            self.assertGreater(len(panels(board)), 10, name)
            self.assertEqual(problems(board), [], name)

    def test_each_rule_finds_what_breaks_it(self) -> None:
        for name, damage, told in BREAKAGES:
            with self.subTest(told=told):
                board = copy.deepcopy(boards()[name])
                damage(board)
                self.assertTrue(any(told in problem for problem in problems(board)), problems(board))

    def test_rules_are_promql(self) -> None:
        rules = of_rules()
        self.assertTrue(any(rule.kind == "recording" for rule in rules))
        known = exported()
        for rule, (errors, selectors) in zip(rules, parsed([rule.text for rule in rules], MODULES)):
            self.assertEqual(errors, [], rule.where)
            for selector in selectors:
                self.assertIn(selector.metric, known, rule.where)
                for matcher in selector.matchers:
                    # `job` and `expects` are labels of the target.
                    self.assertIn(matcher["label"], known[selector.metric] | {"job", "expects"}, rule.where)


if __name__ == "__main__":
    MODULES = Path(sys.argv.pop())
    unittest.main()
