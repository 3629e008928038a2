#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What one boot of the microkernel cannot show by itself.

    microkernel_test.py same CASE -- run-guest.py OPTION...
        Boots the case below the hypervisor and on the bare machine: both succeed, and each line `saw: …` is
        the same.
    microkernel_test.py verdicts -- run-guest.py OPTION...
        The runner keeps SUCCESS, SKIP, FAILURE, ERROR and CRASH apart.
"""
import subprocess
import sys


def boot(command, case, *options):
    done = subprocess.run(command + ["--append", f"test={case}", *options], capture_output=True, text=True,
                          timeout=280, check=False)
    sys.stdout.write(done.stdout + done.stderr)
    return done.returncode, done.stdout.splitlines()


def without(command, *names):
    """The command without these options and their values."""
    kept = list(command)
    for name in names:
        at = kept.index(name)
        del kept[at:at + 2]
    return kept


def same(command, case):
    bare = without(command, "--hypervisor", "--secret", "--windows", "--log")
    kernel = bare[bare.index("--kernel") + 1]
    bare[bare.index("--initrd") + 1] = kernel  # this guest has none
    seen = []
    for each in (command, bare):
        code, lines = boot(each, case)
        if code != 0:
            return f"the case itself ended with {code}"
        seen.append([line for line in lines if line.startswith("saw: ")])
    if not seen[0]:
        return "nothing was seen"
    for below, on_bare in zip(*seen):
        if below != on_bare:
            return f"below the hypervisor '{below}', on the bare machine '{on_bare}'"
    if len(seen[0]) != len(seen[1]):
        return f"{len(seen[0])} lines below the hypervisor, {len(seen[1])} on the bare machine"
    print(f"{len(seen[0])} lines are the same")
    return None


def verdicts(command):
    for case, code, word, options in (
            ("cpuid", 0, "SUCCESS", ()), ("says_skip", 77, "SKIP: as it was told to", ()),
            ("says_failure", 1, "FAILURE: as it was told to", ()), ("no_such_case", 2, "ERROR: no such case", ()),
            ("shutdown", 3, "CRASH: CPU 0: guest shutdown", ()),
            ("says_nothing", 3, "CRASH: no result after 3 s", ("--timeout", "3"))):
        got, lines = boot(command, case, *options)
        if got != code or not lines or not lines[-1].startswith(word):
            return f"{case}: ended with {got} and '{lines[-1] if lines else ''}', expected {code} and '{word}'"
    return None


def main():
    at = sys.argv.index("--")
    what, command = sys.argv[1:at], sys.argv[at + 1:]
    failure = same(command, what[1]) if what[0] == "same" else verdicts(command)
    if failure:
        print(f"FAILURE: {failure}")
    sys.exit(1 if failure else 0)


if __name__ == "__main__":
    main()
