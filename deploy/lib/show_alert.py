# SPDX-License-Identifier: Apache-2.0
"""Lets a user of the book shop crash and linger until an alert fires, and waits for its end.

usage: show_alert.py --shop HOST:PORT --user N --alertmanager URL --alert NAME

Exit code 0: it fired and resolved. The user must be one whose second ADD crashes (bookshop --inject).
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE_SECONDS = 120


def say(begin: float, text: str) -> None:
    print(f"[{time.monotonic() - begin:3.0f} s] {text}", file=sys.stderr, flush=True)


def active(alertmanager: str, alert: str) -> bool:
    """False, too, while nobody answers there yet."""
    query = urllib.parse.urlencode({"active": "true", "filter": f'alertname="{alert}"'})
    try:
        with urllib.request.urlopen(f"{alertmanager}/api/v2/alerts?{query}", timeout=10) as answer:
            return bool(json.load(answer))
    except (urllib.error.URLError, OSError):
        return False


def wait_until(wanted: bool, alertmanager: str, alert: str) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if active(alertmanager, alert) == wanted:
            return True
        time.sleep(0.2)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for option in ("--shop", "--user", "--alertmanager", "--alert"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    host, _, port = options.shop.rpartition(":")
    begin = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        shop = connection.makefile("rw", newline="\n")

        def ask(line: str) -> str:
            shop.write(line + "\n")
            shop.flush()
            return shop.readline().strip()

        ask(f"HELLO {options.user}")
        for line in ("BEGIN", "ADD 3 1", "ADD 4 1"):
            ask(line)
        say(begin, f"user {options.user} has crashed in the middle of an order, and says nothing more")
        if not wait_until(True, options.alertmanager, options.alert):
            sys.exit(f"show_alert: {options.alert} did not fire within {PATIENCE_SECONDS} s")
        say(begin, f"{options.alert} fires")
        answer = ask("CHECKOUT")
        if not answer.startswith("FAILED"):
            sys.exit(f"show_alert: the crashed user is told {answer!r}, not that it failed")
        say(begin, f"user {options.user} goes on to the end of its order, and is told: {answer}")
        if not wait_until(False, options.alertmanager, options.alert):
            sys.exit(f"show_alert: {options.alert} did not resolve within {PATIENCE_SECONDS} s")
        say(begin, f"{options.alert} is resolved")


if __name__ == "__main__":
    main()
