#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Versions N and N-1 together: the book shop's scenario with engine, daemon and library of this tree and of the one before
the hypercalls' last change, in every mixture. On vmsrs-hosted, which has the hypervisor's engine.

usage: versions_test.py BUILD FOLDER
  BUILD   of this tree
  FOLDER  where the earlier tree is built, once
Exit code 77: git does not know the earlier tree (a shallow clone).
"""
import itertools
import pathlib
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
PARTS = {"engine": ("hypervisor/hosted/vmsrs-hosted",), "daemon": ("vmsrsd/vmsrsd", "cli/vmsrsctl"),
         "library": ("examples/bookshop/bookshop",)}


def git(*words):
    return subprocess.run(["git", "-C", TREE, *words], check=True, capture_output=True, text=True).stdout.strip()


def earlier_commit():
    """The commit before the last one that changed the hypercalls' header; None: there is none here."""
    try:
        changed = git("log", "-1", "--format=%H", "--", "abi/include/vmsrs/abi.h")
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
        subprocess.run(["cmake", "--build", build, "-j2", "--target", "vmsrs-hosted", "vmsrsd", "vmsrsctl", "bookshop"],
                       check=True, stdout=subprocess.DEVNULL)
    return build


def mixture(folder, builds):
    """A folder that looks like a build, with each part of the build that `builds` names for it."""
    for part, files in PARTS.items():
        for file in files:
            link = folder / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(builds[part] / file)
    return folder


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build, folder = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    commit = earlier_commit()
    if commit is None:
        print("SKIP: git does not know the tree before the last change of abi.h")
        sys.exit(77)
    earlier = build_earlier(commit, folder)
    failed = []
    for choice in itertools.product(("N", "N-1"), repeat=len(PARTS)):
        name = ", ".join(f"{part} {version}" for part, version in zip(PARTS, choice))
        if len(set(choice)) == 1:  # of one tree: other tests
            continue
        mixed = mixture(folder / "mixed", {part: build if version == "N" else earlier
                                           for part, version in zip(PARTS, choice)})
        done = subprocess.run([sys.executable, TREE / "tests/scenario/hosted_run.py", mixed,
                               TREE / "examples/bookshop/data/catalogue.csv", "protected"], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {name}", flush=True)
        if done.returncode != 0:
            print(done.stdout)
            failed.append(name)
    print(f"N-1 is {commit}: {len(failed)} failures")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
