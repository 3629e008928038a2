# SPDX-License-Identifier: Apache-2.0
"""The whole scenario on this host, natively: vmsrs-hosted, vmsrsd, the book shop, and the judge.

usage: hosted_run.py BUILD_DIR CATALOGUE MODE [--fault KIND] [--seed N] [--users N] [SHOP_OPTION ...]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from host_run import free_port

INVARIANTS = {"hidden", "storage", "chains", "users", "mirror", "collected", "accounting", "windows"}
PATIENCE_SECONDS = 60


def require(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(f"not as it should be: {what}")


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        require(process.poll() is None, f"{process.args} ended with {process.returncode}")
        require(time.monotonic() < end, f"{path} is not there")
        time.sleep(0.02)


def new_secret(file: Path) -> str:
    """Writes a secret and returns its hash."""
    secret = secrets.token_bytes(32)
    file.write_text(secret.hex() + "\n", encoding="ascii")
    file.chmod(0o400)
    return hashlib.sha256(secret).hexdigest()


def start(stack: contextlib.ExitStack, *command: str, **options: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, text=True, **options)  # type: ignore[call-overload]
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def start_stack(build: Path, folder: Path, stack: contextlib.ExitStack, metrics: str,
                events: str = "", **options: object) -> tuple[Path, Path, subprocess.Popen[str]]:
    """vmsrs-hosted and vmsrsd for a book shop, whose secret is shop.secret: the engine's socket, the API's,
    vmsrs-hosted's process. `metrics`: where to listen; `events`: further keys; the rest is for vmsrsd."""
    socket, api, config = folder / "hosted.sock", folder / "api.sock", folder / "vmsrs.yaml"
    (folder / "hash").write_text(new_secret(folder / "management.secret"), encoding="ascii")
    new_secret(folder / "shop.secret")
    config.write_text(
        f"platform: hosted\nhosted: {{socket: {socket}}}\n"
        f"management: {{secret_file: {folder}/management.secret}}\n"
        f"events: {{store: {folder}/events.db{events}}}\n"
        f"metrics: {{listen: '{metrics}'}}\napi: {{socket: {api}}}\n"
        f"servers:\n  - {{name: bookshop, attach_secret_file: {folder}/shop.secret}}\n",
        encoding="ascii")
    hosted = start(stack, str(build / "hypervisor/hosted/vmsrs-hosted"), "--socket", str(socket),
                   "--secret-hash-file", str(folder / "hash"))
    wait_for(socket, hosted)
    daemon = start(stack, str(build / "vmsrsd/vmsrsd"), "--config", str(config), **options)
    wait_for(api, daemon)
    return socket, api, hosted


def run(options: argparse.Namespace, shop_options: list[str], folder: Path,
        stack: contextlib.ExitStack) -> dict[str, object]:
    build = Path(options.build)
    metrics_port, shop_port = free_port(), free_port()
    socket, api, hosted = start_stack(build, folder, stack, f"127.0.0.1:{metrics_port}")
    faults = [f"--inject={user}:{options.fault}" for user in (1, 7)]
    shop = start(stack, str(build / "examples/bookshop/bookshop"), "--catalogue", options.catalogue,
                 "--port", str(shop_port), "--secret-file", str(folder / "shop.secret"),
                 *[word for fault in faults for word in fault.split("=")], *shop_options,
                 stdout=subprocess.PIPE, env={**os.environ, "VMSRS_HOSTED_SOCKET": str(socket)})
    assert shop.stdout is not None
    require(bool(shop.stdout.readline()), "the shop starts")
    judge = subprocess.run(
        [sys.executable, "-m", "judge", "--shop", f"127.0.0.1:{shop_port}", "--mode", options.mode,
         "--catalogue", options.catalogue, "--seed", str(options.seed), "--users",
         str(options.users), "--metrics", f"http://127.0.0.1:{metrics_port}/metrics", "--vmsrsctl",
         str(build / "cli/vmsrsctl"), "--api", str(api), "--fact", f"fault={options.fault}", "--output",
         "json"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}, check=False, timeout=300,
        stdout=subprocess.PIPE, text=True)
    print(judge.stdout, flush=True)
    ctl = [str(build / "cli/vmsrsctl"), "--socket", str(api)]
    version = json.loads(subprocess.run([*ctl, "version", "--output", "json"], check=True,
                                        capture_output=True, text=True, timeout=60).stdout)
    print(json.dumps(version), flush=True)
    require(version["isolation"] == "process", "the isolation is reported as a process's")
    require(hosted.poll() is None, "vmsrs-hosted is the process that it was")
    require(judge.returncode == 0, f"the judge's exit code is {judge.returncode}")
    return json.loads(judge.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("build")
    parser.add_argument("catalogue")
    parser.add_argument("mode")
    parser.add_argument("--fault", default="wild")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--users", type=int, default=20)
    options, shop_options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        result = run(options, shop_options, Path(folder), stack)
    require(result["ok"] is True, "ok")
    require([user for user in result["crashed_users"] if user not in result["undecidable_users"]] ==
            [1, 7], "users 1 and 7 crashed, nobody else")
    require(result["fault"] == "scribble" or not result["undecidable_users"], "nothing is undecidable")
    for key in ("faults", "suppressed_stores", "restores"):
        require(int(str(result[key])) > 0, f"{key} > 0: the mechanism was exercised")
    require(set(result["checks"]) == INVARIANTS, "every invariant was checked")  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
