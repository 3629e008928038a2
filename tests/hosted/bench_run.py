# SPDX-License-Identifier: Apache-2.0
"""bench/run.sh's side that people and programs see: keys, numbers, options. Says nothing of speed.

usage: bench_run.py BUILD_DIR
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"
KEYS = {
    "load_normal_extra_ns", "store_owned_extra_ns", "claim_extra_ns", "commit_granule_ns",
    "hosted_trap_ns", "load_suppression_extra_ns", "restore_ns", "fault_ratio",
    "shop_read90_ratio", "shop_read50_ratio", "shop_crashing_ratio", "sweep_memcmp_ratio",
    "memory_ratio", "scrape_ms", "scraped_ratio"}
WAYS = {"ours", "fork"}  # the others need what the kernel may refuse
FIGURE14 = {f"figure14_{what}_{mode}_ratio" for what in ("programs", "intensive")
            for mode in ("normal", "suppression")}
HEADING = "native, hosted platform, no nested paging"


def require(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(f"not as it should be: {what}")


def report(build: str, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(BENCH), "PYTHONDONTWRITEBYTECODE": "1",
                   "VMSRS_BENCH_QUICK": "1"}
    return subprocess.run([sys.executable, "-m", "report", "--build", build, *words], check=True,
                          env=environment, timeout=120, stdout=subprocess.PIPE, text=True).stdout


def refused(*words: str) -> bool:
    done = subprocess.run([str(BENCH / "run.sh"), *words], check=False, capture_output=True,
                          text=True, timeout=60)
    return done.returncode == 2 and len(done.stderr.splitlines()) == 1


def numbers(values: dict[str, object]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool)
               for value in values.values())


def main() -> None:
    build = sys.argv[1]
    values = json.loads(report(build, "--output", "json", *sorted(KEYS)))
    require(set(values) == KEYS, f"the keys: {sorted(values)}")
    require(numbers(values), f"numbers: {values}")
    require(all(values[key] > 0 for key in KEYS if not key.endswith("_extra_ns")), "more than 0")
    comparison = json.loads(report(build, "--output", "json", "checkpoint"))
    require(numbers(comparison), f"numbers: {comparison}")
    require({f"checkpoint_{way}_overhead" for way in WAYS} <= set(comparison), "the ways")
    figure14 = json.loads(report(build, "--output", "json", "figure14"))
    require(numbers(figure14), f"numbers: {figure14}")
    require(FIGURE14 <= set(figure14), f"figure 14: {sorted(figure14)}")
    require(HEADING in report(build, "memory_ratio"), "the heading")
    require(refused("--output", "xml") and refused("no_such_name") and refused("--fast"),
            "wrong arguments are refused in one line")


if __name__ == "__main__":
    main()
