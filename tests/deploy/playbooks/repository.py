# SPDX-License-Identifier: Apache-2.0
"""An apt repository of the packages in a folder, signed with a key made for it, and served on loopback."""
import functools
import gzip
import http.server
import pathlib
import subprocess
import threading

from email.utils import formatdate
from hashlib import sha256


class Repository:
    """`key`: the file with the public key. A machine in QEMU finds it at 10.0.2.2:`port`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.home = self.folder / ".gnupg"
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.key = self.folder / "key.asc"
        if not self.key.exists():
            self.gpg("--passphrase", "", "--quick-generate-key", "Packages of a test", "default", "sign", "1d")
            self.key.write_bytes(self.gpg("--armor", "--export"))

    def gpg(self, *words):
        return subprocess.run(["gpg", "--homedir", self.home, "--batch", "--yes", "--pinentry-mode", "loopback", *words], check=True,
                              capture_output=True).stdout

    def index(self):
        """After packages have come or gone."""
        packages = subprocess.run(["dpkg-scanpackages", "--multiversion", "."], cwd=self.folder, check=True, capture_output=True).stdout
        (self.folder / "Packages").write_bytes(packages)
        (self.folder / "Packages.gz").write_bytes(gzip.compress(packages, mtime=0))
        sums = "".join(f" {sha256((self.folder / name).read_bytes()).hexdigest()} {(self.folder / name).stat().st_size} {name}\n"
                       for name in ("Packages", "Packages.gz"))
        (self.folder / "Release").write_text(f"Origin: vmsrs-test\nDate: {formatdate(usegmt=True)}\nSHA256:\n{sums}")
        self.gpg("--clearsign", "-o", self.folder / "InRelease", self.folder / "Release")

    def __enter__(self):
        handler = functools.partial(Quiet, directory=self.folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
