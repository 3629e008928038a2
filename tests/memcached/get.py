# SPDX-License-Identifier: Apache-2.0
"""memcached's source from its Debian package, and the programs that are built of it.

usage: get.py CMAKE PREFIX FOLDER TARGET...

Everything goes to FOLDER: the package's source, as apt gets it, configured; and the programs. apt is given
lists of its own there: the machine's stay as they are. MEMCACHED_SOURCE=DIRECTORY in the environment:
that source instead, unpacked; nothing is got from anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

NO_SOURCE = """memcached's source package cannot be had, so nothing of it is tested: {why}.
It takes a mirror with Debian's source packages ("deb-src") and dpkg-dev; or name an unpacked source:
MEMCACHED_SOURCE=DIRECTORY"""


class NoSource(Exception):
    pass


def source_lists(folder: Path, release: str) -> list[str]:
    """The machine's lists of this release's packages, each as one of its sources."""
    lists = []
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        for line in re.findall(rf"^deb (?:\[.*?\] )?\S+ {release}\S* .*main.*$", text, re.MULTILINE):
            lists.append(line.replace("deb ", "deb-src ", 1))
        for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
            fields = dict(re.findall(r"^([\w-]+):\s*(.*)$", stanza, re.MULTILINE))
            suites = [suite for suite in fields.get("Suites", "").split() if suite.startswith(release)]
            if "deb" in fields.get("Types", "").split() and "main" in fields.get("Components", "").split():
                key = f"[signed-by={fields['Signed-By']}] " if fields.get("Signed-By", "").startswith("/") else ""
                lists += [f"deb-src {key}{uri} {suite} main" for uri in fields["URIs"].split() for suite in suites]
    return lists


def said(command: list[str], log: Path, **options: object) -> None:
    """Runs it; what it prints goes to the log."""
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        result = subprocess.run(command, check=False, stdout=file, stderr=subprocess.STDOUT, timeout=600,
                                **options)  # type: ignore[call-overload]
    if result.returncode != 0:
        errors = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
                  if re.match(r"E:|.*error:|.*FAILED", line)]
        raise NoSource(f"{command[0]} has failed ({errors[-1] if errors else result.returncode}; log: {log})")


def from_package(folder: Path) -> Path:
    apt = folder / "apt"
    for part in ("parts", "lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(encoding="ascii"), re.MULTILINE)
    lists = source_lists(Path("/etc/apt"), release[1]) if release else []
    if not lists:
        raise NoSource("apt has no list of this release's packages")
    (apt / "parts/sources.list").write_text("\n".join(lists) + "\n", encoding="ascii")
    options = [f"Dir::Etc::SourceList={apt}/none", f"Dir::Etc::SourceParts={apt}/parts", f"Dir::State::Lists={apt}/lists",
               f"Dir::Cache={apt}/cache", "APT::Sandbox::User=root", "Acquire::Retries=2", "Acquire::http::Timeout=30"]
    words = [word for option in options for word in ("-o", option)]
    said(["apt-get", "-q", *words, "update"], folder / "apt.log")
    said(["apt-get", "-q", *words, "source", "memcached"], folder / "apt.log", cwd=folder)
    return next(path for path in sorted(folder.glob("memcached-*")) if path.is_dir())


def source(folder: Path) -> Path:
    """Unpacked and configured."""
    place = folder / "source"
    if (place / "config.h").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    for old in folder.glob("memcached-*"):
        shutil.rmtree(old)
    if named := os.environ.get("MEMCACHED_SOURCE"):
        if not (Path(named) / "configure").exists():
            raise NoSource(f"MEMCACHED_SOURCE: '{named}' has no configure")
        shutil.copytree(named, place)
    else:
        from_package(folder).rename(place)
    # Its store on disk reads into items by threads of its own and calls that nobody looks at.
    said(["./configure", "--disable-dependency-tracking", "--disable-extstore"], folder / "configure.log", cwd=place,
         env={**os.environ, "CC": "clang"})
    return place


def main() -> int:
    cmake, prefix, folder, *targets = sys.argv[1:]
    place = Path(folder).resolve()
    place.mkdir(parents=True, exist_ok=True)
    try:
        unpacked = source(place)
        launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        said([cmake, "-G", "Ninja", "-S", str(Path(__file__).parent / "program"), "-B", str(place / "programs"),
              f"-DMEMCACHED_SOURCE={unpacked}", f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_C_COMPILER=clang", *launcher],
             place / "build.log")
        said([cmake, "--build", str(place / "programs"), "--target", *targets], place / "build.log")
    except NoSource as error:
        print(NO_SOURCE.format(why=error))
        return 1
    print(f"built of {unpacked.name}: {', '.join(targets)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
