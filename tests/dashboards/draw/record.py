# SPDX-License-Identifier: Apache-2.0
"""What the dashboards show of some minutes with real daemons (live_test.py's), as a file for draw.mjs.

usage: record.py BUILD_DIR FILE   with prometheus in PATH
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from expressions import boards, concrete, panels
from live_test import ENDS, PATIENCE_SECONDS, STAYS, Fleet, eventually
from operating_run import Shopper

SECONDS, STEP = 180, 2
WINDOW = "20s"  # a rate needs some scrapes, and the picture some rates


def live(fleet: Fleet) -> None:
    """Orders all the time; every 12 s a user crashes, twice one stays under suppression for a while, its books locked."""
    other, begin = Shopper(fleet.shop_port, 9), time.monotonic()
    held: Shopper | None = None
    for second in range(SECONDS):
        other.buy(6 + second % 4)
        if second % 12 == 6:
            Shopper(fleet.shop_port, ENDS).buy(5)
        if second in (30, 110):
            held = Shopper(fleet.shop_port, STAYS)
            for order in ("BEGIN", "ADD 3 1", "ADD 4 1"):
                held.ask(order)
        if second in (60, 150) and held is not None:
            held.ask("CHECKOUT")
        if second % 60 == 20:
            fleet.check()
        print(f"\r{second + 1} of {SECONDS} s", end="", file=sys.stderr, flush=True)
        time.sleep(max(0.0, begin + second + 1 - time.monotonic()))
    print(file=sys.stderr)


def series(fleet: Fleet, target: dict[str, object], begin: float, end: float) -> list[dict[str, object]]:
    """As Prometheus answers; of an instant query one value each."""
    query: dict[str, object] = {"query": concrete(str(target["expr"]), window=WINDOW)}
    if target.get("instant"):
        kind, query["time"] = "query", end
    else:
        kind, query["start"], query["end"], query["step"] = "query_range", begin, end, STEP
    asked = f"{fleet.address}/api/v1/{kind}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
        data = json.load(answer)["data"]
    if data["resultType"] == "scalar":
        return [{"metric": {}, "value": data["result"]}]
    return data["result"]


def main() -> None:
    build, file = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        fleet = Fleet(build, Path(folder), stack)
        eventually("both hosts are scraped", lambda: bool(fleet.ask("sum(vmsrs_up) == 2")))
        live(fleet)
        end = time.time()
        drawn = []
        for board in boards().values():
            shown = [{**panel, "data": [{"target": target, "series": series(fleet, target, end - SECONDS, end)}
                                        for target in panel.get("targets", [])]}
                     for panel in [row for row in board["panels"] if row["type"] == "row"] + panels(board)]
            drawn.append({"title": board["title"], "uid": board["uid"], "panels": shown})
    file.write_text(json.dumps({"begin": end - SECONDS, "end": end, "boards": drawn}), encoding="utf-8")


if __name__ == "__main__":
    main()
