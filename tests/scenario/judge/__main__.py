# SPDX-License-Identifier: Apache-2.0
"""python3 -m judge --shop HOST:PORT --catalogue FILE ...; --help lists the options.

Exit codes: 0 everything held, 1 something did not, 2 a wrong option.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from .history import read_catalogue
from .model import judge
from .observe import Observation, ObserveError, console_problems, observe
from .plan import HOT_TITLES, LEAST_USERS, MOST_USERS, Mode, draw
from .report import Report
from .scenario import Scenario


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got '{text}'")
    return host, int(port)


def user_count(text: str) -> int:
    if not text.isdigit() or not LEAST_USERS <= int(text) <= MOST_USERS:
        raise argparse.ArgumentTypeError(f"expected {LEAST_USERS} to {MOST_USERS}, got '{text}'")
    return int(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="judge", allow_abbrev=False)
    parser.add_argument("--shop", type=address, required=True, help="HOST:PORT of the shop")
    parser.add_argument("--catalogue", required=True, help="the catalogue that the shop was given")
    parser.add_argument("--mode", type=Mode, default=Mode.PROTECTED,
                        help=" | ".join(mode.value for mode in Mode))
    parser.add_argument("--users", type=user_count, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--metrics", help="URL of vmsrsd's metrics")
    parser.add_argument("--vmsrsctl", help="path of vmsrsctl")
    parser.add_argument("--api", help="vmsrsd's API socket, for vmsrsctl")
    parser.add_argument("--console", help="the machine's console: it says if the shop ends, and how")
    parser.add_argument("--fact", action="append", default=[], metavar="NAME=VALUE",
                        help="goes into the result as it is (JSON if it parses)")
    parser.add_argument("--started", type=float, help="when the whole run began (seconds since 1970)")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--history", help="write what the clients saw to this file")
    return parser.parse_args()


def fact(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def progress(text: str) -> None:
    print(f"judge: {text}", file=sys.stderr, flush=True)


def ask_daemon(options: argparse.Namespace, problems: list[str]) -> Observation | None:
    if not (options.metrics and options.vmsrsctl and options.api):
        return None
    try:
        return observe(options.metrics, options.vmsrsctl, options.api)
    except ObserveError as error:
        problems.append(str(error))
        return None


def main() -> int:
    options = parse()
    started = options.started or time.time()
    try:
        catalogue = read_catalogue(options.catalogue)
    except (OSError, ValueError) as error:
        progress(str(error))
        return 2
    if len(catalogue) < HOT_TITLES:
        progress(f"{options.catalogue}: at least {HOT_TITLES} titles are needed")
        return 2
    plan = draw(options.users, options.seed, len(catalogue))
    progress(f"{plan.users} users connect in random order, seed {plan.seed}")
    scenario = Scenario(options.shop, plan, options.mode)
    scenario.run()
    progress(f"the users are done: {scenario.history.read_count()} reads, "
             f"{len(scenario.history.purchases)} orders")
    if not scenario.server_gone:
        scenario.finish()
    problems: list[str] = []
    alive = scenario.server_answers()
    seen = ask_daemon(options, problems)
    if options.console:
        problems += console_problems(options.console, options.mode)
    verdict = judge(catalogue, scenario.history)
    report = Report(plan, options.mode, dict(fact(text) for text in options.fact), scenario, verdict,
                    seen, alive, time.time() - started, problems)
    report.find_problems()
    if options.history:
        Path(options.history).write_text(repr(scenario.history) + "\n", encoding="utf-8")
    print(json.dumps(report.document(), indent=2) if options.output == "json" else report.text())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
