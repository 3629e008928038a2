#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Versions N and N-1 together: the book shop's scenario with engine, daemon and library of this tree and of the one before
the hypercalls' last change, in every mixture. The engine is vmsrs-hosted, then the hypervisor.

usage: versions_test.py BUILD FOLDER
  BUILD   of this tree
  FOLDER  where the earlier tree is built, once
Exit code 77: git does not know the earlier tree (a shallow clone).
"""
import itertools
import os
import pathlib
import shutil
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
PARTS = {"engine": ("hypervisor/hosted/vmsrs-hosted", "hypervisor/vmsrs-hypervisor.elf32"), "daemon": ("vmsrsd/vmsrsd", "cli/vmsrsctl"),
         "library": ("examples/bookshop/bookshop", "examples/bookshop/bookshop-plain")}
TARGETS = ("vmsrs-hosted", "vmsrs-hypervisor", "vmsrsd", "vmsrsctl", "bookshop", "bookshop-plain")
# In place of a build that has nothing left to build.
NOTHING_TO_BUILD = f"""cmake_minimum_required(VERSION 3.25)
project(mixture NONE)
foreach(target {' '.join(TARGETS)})
  add_custom_target(${{target}})
endforeach()
"""


def git(*words):
    return subprocess.run(["git", "-C", TREE, *words], check=True, capture_output=True, text=True).stdout.strip()


def earlier_commit():
    """The commit before the last one that changed what the hypercalls are, which the ABI's test holds; None: there is none here."""
    try:
        changed = git("log", "-1", "--format=%H", "--", "tests/abi/golden.inc")
        return git("rev-parse", "--verify", "--quiet", f"{changed}^")
    except subprocess.CalledProcessError:
        return None


def build_earlier(commit, folder):
    """Builds that commit in folder/COMMIT, unless it is there; the build's folder."""
    source = folder / commit
    build = source / "build/release"
    if not all((build / file).exists() for files in PARTS.values() for file in files):
        source.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "-C", TREE, "archive", commit], check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
        subprocess.run(["cmake", "--preset", "release", "-DBUILD_TESTING=OFF"], cwd=source, check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", build, "-j2", "--target", *TARGETS],
                       check=True, stdout=subprocess.DEVNULL)
    return build


def mixture(folder, builds):
    """A folder that looks like a build, with each part of the build that `builds` names for it."""
    for part, files in PARTS.items():
        for file in files:
            copy = folder / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)
            shutil.copy2(builds[part] / file, copy)
    source = folder / "nothing-to-build"
    source.mkdir(exist_ok=True)
    (source / "CMakeLists.txt").write_text(NOTHING_TO_BUILD)
    subprocess.run(["cmake", "-G", "Ninja", "-S", source, "-B", folder], check=True, stdout=subprocess.DEVNULL)
    for made in folder.glob("initrd-*"):  # of another mixture
        made.unlink()
    return folder


def scenario(platform, mixed):
    """The book shop's, two users of which crash, on this mixture; what it printed if it failed."""
    words = {"hosted": ["hosted_run.py", mixed, TREE / "examples/bookshop/data/catalogue.csv", "protected"],
             "hypervisor": ["machine_run.py", "protected"]}[platform]
    done = subprocess.run([sys.executable, *words], cwd=TREE / "tests/scenario", check=False, text=True, timeout=900,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "VMSRS_BUILD_DIR": str(mixed), "PYTHONDONTWRITEBYTECODE": "1"})
    return None if done.returncode == 0 else done.stdout


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build, folder = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    commit = earlier_commit()
    if commit is None:
        print("SKIP: git does not know the tree before the last change of the hypercalls")
        sys.exit(77)
    earlier = build_earlier(commit, folder)
    failed = []
    for choice in itertools.product(("N", "N-1"), repeat=len(PARTS)):
        name = ", ".join(f"{part} {version}" for part, version in zip(PARTS, choice))
        if len(set(choice)) == 1:  # of one tree: other tests
            continue
        mixed = mixture(folder / "mixed", {part: build if version == "N" else earlier
                                           for part, version in zip(PARTS, choice)})
        for platform in ("hosted", "hypervisor"):
            wrong = scenario(platform, mixed)
            print(f"{'ok' if wrong is None else 'FAILED'}: {platform}: {name}", flush=True)
            if wrong is not None:
                print(wrong)
                failed.append(name)
    print(f"N-1 is {commit}: {len(failed)} failures")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
