# SPDX-License-Identifier: Apache-2.0
"""Every expression of dashboards and rules against a real Prometheus, which has scraped real daemons: vmsrsd above
vmsrs-hosted, with a book shop whose users crash, and vmsrsd above a machine that has panicked, with TLS.

usage: live_test.py BUILD_DIR MODULES_FOLDER   with prometheus in PATH
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scenario"))

from expressions import RULES, TOP, Expression, boards, concrete, of_board, of_rules, parsed
from host_run import free_port
from hosted_run import new_secret, require, start, wait_for
from operating_run import Shopper

PATIENCE_SECONDS = 60
SERVICE_UNAVAILABLE = 503
CATALOGUE = str(TOP / "examples/bookshop/data/catalogue.csv")
STAYS, ENDS = 3, 5  # users of the shop that crash: one whose order stays open, one whose order ends
WINDOW = "1m"

# Expressions without data here, and why no test of this size has any.
NOTHING_EXPECTED: dict[str, str] = {}
# Alerts that this scenario sets off at once, and some that need more time than it takes.
FIRING = {"VmsrsSuppressionTooLong", "VmsrsGuestEnded"}
PENDING = {"VmsrsCertificateExpiring", "VmsrsHypervisorAbsent"}


class Fleet:
    """Two hosts and a Prometheus, all real processes, until the stack ends."""

    def __init__(self, build: Path, folder: Path, stack: contextlib.ExitStack) -> None:
        self.build, self.folder, self.stack = build, folder, stack
        self.hosted = self.start_hosted()
        self.panicked = self.start_panicked()
        self.shop_port = self.start_shop()
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules) for rules in RULES],
            "scrape_configs": [{"job_name": "vmsrs", "static_configs": [
                {"targets": [f"127.0.0.1:{self.hosted}"]},
                {"targets": [f"127.0.0.1:{self.panicked}"], "labels": {"expects": "hypervisor"}}]}],
        }), encoding="ascii")
        start(stack, "prometheus", f"--config.file={folder}/prometheus.yml",
              f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
              cwd=folder)

    def vmsrsd(self, program: str, name: str, config: dict[str, object]) -> int:
        """Starts a daemon, and gives the port of its metrics."""
        port = free_port()
        api = self.folder / f"{name}.sock"
        whole = {"management": {"secret_file": str(self.folder / f"{name}.secret")},
                 "events": {"store": str(self.folder / f"{name}.db")},
                 "metrics": {"listen": f"127.0.0.1:{port}"}, "log": {"level": "error"}, **config}
        whole["api"] = {"socket": str(api), **config.get("api", {})}  # type: ignore[dict-item]
        (self.folder / f"{name}.yaml").write_text(json.dumps(whole), encoding="ascii")
        daemon = start(self.stack, str(self.build / program), "--config", str(self.folder / f"{name}.yaml"))
        wait_for(api, daemon)
        return port

    def start_hosted(self) -> int:
        socket = self.folder / "hosted-engine.sock"
        (self.folder / "hash").write_text(new_secret(self.folder / "hosted.secret"), encoding="ascii")
        new_secret(self.folder / "shop.secret")
        engine = start(self.stack, str(self.build / "hypervisor/hosted/vmsrs-hosted"), "--socket", str(socket),
                       "--secret-hash-file", str(self.folder / "hash"))
        wait_for(socket, engine)
        return self.vmsrsd("vmsrsd/vmsrsd", "hosted", {
            "platform": "hosted", "hosted": {"socket": str(socket)},
            "servers": [{"name": "bookshop", "attach_secret_file": str(self.folder / "shop.secret")}]})

    def start_panicked(self) -> int:
        (self.folder / "panicked.secret").write_text("1" * 64, encoding="ascii")
        certificate, key = self.folder / "host.pem", self.folder / "host.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "10", "-subj", "/CN=panicked", "-keyout", str(key), "-out",
                        str(certificate)], check=True, capture_output=True)
        return self.vmsrsd("tests/dashboards/vmsrsd_after_panic", "panicked", {
            "api": {"tls": {"listen": f"127.0.0.1:{free_port()}", "certificate": str(certificate), "key": str(key),
                            "client_ca": str(certificate)}},
            "servers": [{"name": "shop", "attach_secret_sha256": "a" * 64}]})

    def start_shop(self) -> int:
        port = free_port()
        shop = start(self.stack, str(self.build / "examples/bookshop/bookshop"), "--catalogue", CATALOGUE, "--port",
                     str(port), "--secret-file", str(self.folder / "shop.secret"), "--inject", f"{STAYS}:wild:2",
                     "--inject", f"{ENDS}:null", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                     env={**os.environ, "VMSRS_HOSTED_SOCKET": str(self.folder / "hosted-engine.sock")})
        assert shop.stdout is not None
        require(bool(shop.stdout.readline()), "the shop starts")
        return port

    def check(self) -> None:
        for name in ("hosted", "panicked"):
            subprocess.run([str(self.build / "cli/vmsrsctl"), "--socket", str(self.folder / f"{name}.sock"), "check"],
                           check=True, capture_output=True, timeout=PATIENCE_SECONDS)

    def ask(self, expression: str) -> list[dict[str, object]]:
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/query?{query}", timeout=PATIENCE_SECONDS) as answer:
                result = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == SERVICE_UNAVAILABLE:
                raise  # it starts
            sys.exit(f"{expression}: {error.read().decode()}")
        return [result] if result["resultType"] == "scalar" else result["result"]

    def alerts(self, state: str) -> set[str]:
        return {str(one["metric"]["alertname"])  # type: ignore[index]
                for one in self.ask(f'ALERTS{{alertstate="{state}"}}')}


def eventually(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        require(time.monotonic() < end, f"never: {what}")
        time.sleep(0.1)


def misnamed(expression: Expression, series: list[dict[str, object]]) -> set[str]:
    """Labels that the legend shows and the series do not have."""
    return {label for label in re.findall(r"{{(\w+)}}", expression.legend)
            if not all(label in one["metric"] for one in series)}  # type: ignore[operator]


def judge(fleet: Fleet, modules: Path) -> list[str]:
    """What does not return what it should."""
    problems = []
    used = set()
    expressions = [*of_rules(), *(one for name, board in boards().items() for one in of_board(name, board))]
    texts = [concrete(expression.text, window=WINDOW) for expression in expressions]
    for expression, text, (errors, selectors) in zip(expressions, texts, parsed(texts, modules)):
        require(not errors, f"{expression.where}: {errors}")
        series = fleet.ask(text)
        if expression.kind == "recording":
            series = series and fleet.ask(expression.name)
        missing = [] if series else [text]
        if expression.kind in ("alert", "annotation"):
            # Their conditions do not all hold; that of which they are made is there.
            missing = [one.text for one in selectors if not fleet.ask(f"count_over_time({one.text}[{WINDOW}])")]
        elif series and (wrong := misnamed(expression, series)):
            problems.append(f"{expression.where}: the legend shows {', '.join(sorted(wrong))}, the series have none")
        if missing and expression.where in NOTHING_EXPECTED:
            used.add(expression.where)
        else:
            problems += [f"{expression.where}: no data: {one}" for one in missing]
    problems += [f"{where} has data after all" for where in NOTHING_EXPECTED.keys() - used]
    print(f"{len(expressions)} expressions, {len(used)} of them without data for a reason")
    return problems


def main() -> None:
    build, modules = (Path(word).resolve() for word in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        fleet = Fleet(build, Path(folder), stack)
        # Rises show only from the second scrape on.
        eventually("both hosts are scraped", lambda: bool(fleet.ask("sum(vmsrs_up) == 2")))
        stays, ends, other = (Shopper(fleet.shop_port, user) for user in (STAYS, ENDS, 9))
        require(other.buy(7).startswith("ORDER"), "others buy")
        require(ends.buy(4).startswith("FAILED"), "one user crashes, and is told")
        stays.ask("BEGIN")
        stays.ask("ADD 3 1")
        stays.ask("ADD 4 1")
        require(other.buy(7).startswith("ORDER"), "others buy on")
        fleet.check()
        eventually("the alerts fire", lambda: fleet.alerts("firing") >= FIRING)
        require(fleet.alerts("pending") >= PENDING, f"alerts that wait: {fleet.alerts('pending')}")
        problems = judge(fleet, modules)
        require(stays.ask("CHECKOUT").startswith("FAILED"), "the other crashed user is told")
        eventually("the suppression's alert resolves", lambda: "VmsrsSuppressionTooLong" not in fleet.alerts("firing"))
    for problem in problems:
        print(problem, file=sys.stderr)
    require(not problems, f"{len(problems)} expressions do not return what they should")


if __name__ == "__main__":
    main()
