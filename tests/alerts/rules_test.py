# SPDX-License-Identifier: Apache-2.0
"""The alert and recording rules: promtool's checks, its unit tests, and that these can fail.

usage: rules_test.py SCRATCH_FOLDER [Rules | Broken]   with promtool in PATH
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
RULES = TOP / "dashboards" / "rules"
FILES = ["vmsrs.recording.yaml", "vmsrs.rules.yaml"]
TESTS = ["vmsrs.test.yaml", "hours.test.yaml"]
NEVER, ALWAYS = "vector(0) > 1", "vector(1)"
SCRATCH = Path()


def promtool(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)  # type: ignore[call-overload,no-any-return]


def alerts() -> dict[str, dict[str, object]]:
    return {rule["alert"]: rule for group in yaml.safe_load((RULES / "vmsrs.rules.yaml").read_text())["groups"]
            for rule in group["rules"]}


def tested(expression: str | None = None) -> tuple[int, str]:
    """Runs the unit tests, with `expression` in place of that of every alert."""
    code, output = 0, ""
    for name in FILES + TESTS:
        shutil.copy((RULES if name in FILES else HERE) / name, SCRATCH / name)
    if expression is not None:
        rules = yaml.safe_load((SCRATCH / "vmsrs.rules.yaml").read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule["expr"] = expression
        (SCRATCH / "vmsrs.rules.yaml").write_text(yaml.safe_dump(rules))
    for name in TESTS:
        done = promtool("test", "rules", name, cwd=SCRATCH)
        code, output = max(code, done.returncode), output + done.stdout
    return code, output


def failures(output: str) -> list[str]:
    """What promtool says of each case that failed: what was asked and when, expected, got."""
    return re.split(r"\n(?=\s+(?:expr|alertname): ?)", output.replace('\\"', '"'))[1:]


class Rules(unittest.TestCase):
    def test_promtool_has_nothing_to_say(self) -> None:
        for name in FILES:
            done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES / name))
            self.assertEqual(done.returncode, 0, done.stdout)
        with (TOP / "tests/ops/golden/metrics.txt").open() as metrics:
            done = promtool("check", "metrics", stdin=metrics)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_alerts_fire_and_resolve(self) -> None:
        code, output = tested()
        self.assertEqual(code, 0, output)

    def test_thresholds_lie_about_the_bound_of_suppression(self) -> None:
        source = (TOP / "guestlib/src/attach.cpp").read_text() + (TOP / "guestlib/src/control.hpp").read_text()
        default = re.search(r"kDefaultSuppressionLimitMs\s*=\s*([\d'_]+)", source)
        assert default is not None
        bound = int(default.group(1).replace("'", "")) / 1000

        def threshold(name: str) -> float:
            found = re.fullmatch(r"instance_server:vmsrs_suppression_age_seconds > (\d+)", str(alerts()[name]["expr"]))
            assert found is not None, name
            return float(found.group(1))

        warning, critical = threshold("VmsrsSuppressionTooLong"), threshold("VmsrsSuppressionNearBound")
        self.assertLess(warning, critical)
        self.assertLess(critical, bound)
        self.assertGreater(threshold("VmsrsSuppressionBoundPassed"), bound)

    def test_each_alert_is_graded_and_described(self) -> None:
        for name, rule in alerts().items():
            self.assertRegex(name, r"^Vmsrs([A-Z][a-z]+)+$")
            self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"), name)  # type: ignore[index]
            self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"}, name)  # type: ignore[call-overload]


class Broken(unittest.TestCase):
    """The unit tests find each alert that never fires, and each that always does."""

    def test_each_alert_has_a_case_in_which_it_fires(self) -> None:
        _, output = tested(NEVER)
        missed = [case for case in failures(output) if not re.search(r"exp: ?(nil|\[\])", case)]
        for name in alerts():
            self.assertTrue(any(f'"{name}"' in case or f": {name}," in case for case in missed),
                            f"{name} never fires, and no case fails")

    def test_each_alert_is_silent_before_and_resolves_after(self) -> None:
        _, output = tested(ALWAYS)
        wrong = [case for case in failures(output) if re.search(r"exp: ?(nil|\[\])", case)]
        for name in alerts():
            self.assertGreaterEqual(sum(f'"{name}"' in case.split("got:")[-1] for case in wrong), 2,
                                    f"{name} fires all the time, and not both silent cases fail")


if __name__ == "__main__":
    SCRATCH = Path(sys.argv.pop(1))
    SCRATCH.mkdir(parents=True, exist_ok=True)
    unittest.main()
