# SPDX-License-Identifier: Apache-2.0
"""Runs quickstart and looks at its result, independently of its own verdict.

usage: machine_run.py protected|early-unlock|unprotected|keep|monitoring [QUICKSTART_OPTION ...]
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from host_run import free_port

QUICKSTART = Path(__file__).parents[2] / "deploy" / "quickstart.sh"
KEYS = {"hypervisor", "accelerator", "cpus", "users", "crashed_users", "faults", "suppressed_stores",
        "restores", "wrong_reads", "reads", "server_alive", "hidden_region_bytes", "checks", "seconds",
        "ok"}
INVARIANTS = {"hidden", "storage", "chains", "users", "mirror", "collected", "accounting", "windows"}
RUN_SECONDS = 560


def require(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(f"not as it should be: {what}")


def quickstart(options: list[str]) -> tuple[dict[str, Any], str]:
    """The document on stdout, and what was said on stderr."""
    process = subprocess.Popen([str(QUICKSTART), "--output", "json", *options], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        result, messages = process.communicate(timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        # To its children too: then it is free to clean up, which ends the machine.
        os.killpg(process.pid, signal.SIGTERM)
        result, messages = process.communicate()
    print(messages, result, sep="\n", flush=True)
    require(process.returncode == 0, f"exit code {process.returncode}")
    return json.loads(result), messages


def look_at_exercised(result: dict[str, Any]) -> None:
    require(result["hypervisor"] is True, "there is a hypervisor")
    require(result["server_alive"] is True, "the server lives")
    require([user for user in result["crashed_users"] if user not in result["undecidable_users"]] ==
            [1, 7], "users 1 and 7 crashed, nobody else")
    require(result["fault"] == "scribble" or not result["undecidable_users"], "nothing is undecidable")
    for key in ("faults", "suppressed_stores", "restores", "hidden_region_bytes", "reads"):
        require(result[key] > 0, f"{key} > 0")
    require(result["faults"] >= 2, "two users faulted")
    require(set(result["checks"]) == INVARIANTS, "every invariant was checked")
    require(set(result["checks"].values()) == {"ok"}, "no invariant is violated")


def refuses_strangers(port: int) -> bool:
    """The API's port serves nobody who has no certificate of this run, in the clear or by TLS."""
    request = b"GET /v1/status HTTP/1.0\r\n\r\n"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for encrypt in (False, True):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                stream = context.wrap_socket(connection) if encrypt else connection
                stream.sendall(request)
                if b"HTTP" in stream.recv(4096):
                    return False
        except OSError:
            pass
    return True


def look_at_kept(messages: str, api_port: int) -> None:
    """The machine of --keep can be used, by root alone, and stopped as it says."""
    vmsrsctl = re.search(r"vmsrsctl +(\S+) --socket (\S+)", messages)
    metrics = re.search(r"curl (\S+)", messages)
    stop = re.search(r"stop it +(.*)", messages)
    assert vmsrsctl and metrics and stop
    try:
        mode = os.stat(vmsrsctl[2]).st_mode
        require(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600,
                "the API's socket has mode 0600")
        for words in (["status"], ["users", "list"], ["check"]):
            subprocess.run([vmsrsctl[1], "--socket", vmsrsctl[2], *words], check=True, timeout=60)
        with urllib.request.urlopen(metrics[1], timeout=60) as reply:
            require(b"vmsrs_up 1" in reply.read(), "the metrics are within reach")
        require(refuses_strangers(api_port), "the API's port refuses strangers")
    finally:
        subprocess.run(["sh", "-c", stop[1]], check=True, timeout=60)
    require(not os.path.exists(vmsrsctl[2]), "the API's socket is gone")
    for pid in re.search(r"kill ([\d ]+)", stop[1])[1].split():  # type: ignore[index]
        require(wait_for_end(int(pid)), f"process {pid} has ended")


def wait_for_end(pid: int) -> bool:
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def main() -> None:
    mode, *options = sys.argv[1:]
    ports = [free_port() for _ in range(3)]
    if mode in ("keep", "monitoring"):
        options += ["--keep", "--ports", ",".join(map(str, ports))]
    if mode == "monitoring":
        options += ["--monitoring"]
    result, messages = quickstart(options)
    require(KEYS <= set(result), f"missing keys: {KEYS - set(result)}")
    require(result["ok"] is True, "ok")
    if mode == "unprotected":
        require(result["hypervisor"] is False and result["server_alive"] is False, "the server died")
        return
    look_at_exercised(result)
    if mode == "early-unlock":
        require(result["wrong_reads"] > 0 and bool(result["explanation"]), "the anomaly is shown")
        return
    require(result["wrong_reads"] == 0 and result["wrong_purchases"] == 0, "nobody was shown a wrong value")
    require(result["shop_equals_model"] is True, "the shop equals the model")
    if mode in ("keep", "monitoring"):
        look_at_kept(messages, ports[2])
    if mode == "monitoring":
        require("VmsrsSuppressionTooLong fires" in messages, "the alert fires")
        require("VmsrsSuppressionTooLong is resolved" in messages, "the alert is resolved")


if __name__ == "__main__":
    main()
