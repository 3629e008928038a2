# SPDX-License-Identifier: Apache-2.0
"""An apt repository of packages that a test has built, signed by a key of its own, for machines of vm.py."""
import contextlib
import functools
import http.server
import os
import pathlib
import shutil
import subprocess
import threading

DEPLOY = pathlib.Path(__file__).resolve().parents[1]


def build_packages(folder):
    """The packages of this tree, built in this folder unless they are there: their paths."""
    subprocess.run([DEPLOY / "build-packages.sh", folder], check=True)
    return sorted(pathlib.Path(folder).glob("*.deb"))


def download(folder, machine, *packages):
    """Debian's packages of these names, and those that they depend on and the machine lacks, in this folder: all paths
    there. As this host gets Debian's packages."""
    there = set(machine.run("dpkg-query -W -f '${Package}\\n'").split())
    listed = subprocess.run(["apt-cache", "depends", "--recurse", *(f"--no-{kind}" for kind in (
        "recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")), *packages], check=True, capture_output=True, text=True)
    wanted = {line.strip() for line in listed.stdout.splitlines() if line and line[0] not in " |<"} - there
    # What a machine has another of: debconf's and usrmerge's alternatives.
    wanted -= {name for name in wanted if name.startswith(("cdebconf", "libdebian-installer", "libnewt", "libslang", "libtextwrap", "usr"))}
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)  # apt's own account downloads
    missing = [name for name in wanted if not list(folder.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "-q", "download", *missing], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return list(folder.glob("*.deb"))


def renumbered(package, folder, version, changes=()):
    """The same package under another version, for upgrades; its path. `changes`: pairs of a path in the package and a
    function from its old bytes to new ones."""
    unpacked = pathlib.Path(folder) / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-R", package, unpacked], check=True)
    control = unpacked / "DEBIAN/control"
    old = next(line.split()[1] for line in control.read_text().splitlines() if line.startswith("Version: "))
    # Versions in dependencies and in what the scripts compare with are the same words.
    for file in (control, unpacked / "DEBIAN/preinst"):
        if file.exists():
            file.write_text(file.read_text().replace(old, version))
    for name, change in changes:
        file = unpacked / name
        file.write_bytes(change(file.read_bytes()))
    made = pathlib.Path(folder) / pathlib.Path(package).name.replace(f"_{old}_", f"_{version}_")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", unpacked, made], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(unpacked)
    return made


class Repository:
    """A folder of packages with signed lists. `serve` hands it out on 127.0.0.1."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.served = self.folder / "served"
        self.served.mkdir(parents=True, exist_ok=True)
        self.keys = self.folder / "keys"
        if not self.keys.exists():
            self.keys.mkdir(mode=0o700)
            self.gpg("--quick-generate-key", "--passphrase", "", "repository of a test", "ed25519", "sign", "never")
            self.gpg("--export", "-o", self.served / "key.gpg")

    def gpg(self, *arguments):
        subprocess.run(["gpg", "--homedir", self.keys, "--batch", "--yes", "--quiet", "--no-tty", *arguments], check=True,
                       env={**os.environ, "GNUPGHOME": str(self.keys)}, stderr=subprocess.DEVNULL)

    def put(self, *packages):
        """Adds packages, and signs the lists anew."""
        for package in packages:
            shutil.copy(package, self.served)
        listed = subprocess.run(["apt-ftparchive", "packages", "."], cwd=self.served, check=True, capture_output=True)
        (self.served / "Packages").write_bytes(listed.stdout)
        released = subprocess.run(["apt-ftparchive", "-o", "APT::FTPArchive::Release::Codename=test", "release", "."],
                                  cwd=self.served, check=True, capture_output=True)
        (self.folder / "Release").write_bytes(released.stdout)
        self.gpg("--clearsign", "-o", self.served / "InRelease", self.folder / "Release")
        subprocess.run(["gpgconf", "--homedir", self.keys, "--kill", "gpg-agent"], check=True)

    @contextlib.contextmanager
    def serve(self):
        """Its port on 127.0.0.1."""
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=self.served))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            server.server_close()

    def introduce(self, machine, port):
        """Tells a machine of vm.py of it: key, source, lists."""
        machine.copy_to(self.served / "key.gpg", to="/etc/apt/keyrings")
        machine.run("cat >/etc/apt/sources.list.d/vmsrs.list && apt-get -q update", stdin=self.source_line(port))

    @staticmethod
    def source_line(port):
        return f"deb [signed-by=/etc/apt/keyrings/key.gpg] http://10.0.2.2:{port} ./\n"
