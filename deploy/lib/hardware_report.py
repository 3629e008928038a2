# SPDX-License-Identifier: Apache-2.0
"""Judges what a machine's serial line said under the menu of deploy/hardware-report.sh.

    hardware_report.py LOG COMPARED ATTACKS ENDS     (the last three: names of cases, with blanks between)
"""
import re
import sys

END = "guest shutdown (triple fault)"


def sections(text):
    """By entry, what its last run said."""
    found = {}
    lines = []
    for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n"):
        if match := re.search(r"vmsrs-report: begin (report|(?:below|bare) \w+)", line):
            lines = found[match[1]] = []
        else:
            lines.append(line.strip())
    return found


def result(lines):
    for line in lines:
        if match := re.search(r"RESULT: (.*)", line):
            return match[1].strip()
        if match := re.search(r"vmsrs: error: (.*)", line):
            return match[1].strip()
    return "no result"


def seen(lines):
    return [line[line.index("saw: "):] for line in lines if "saw: " in line]


def judge(entries, compared, ends):
    """Rows: entry, what it said, whether that is expected (None: was not run)."""
    for name, lines in entries.items():
        if lines is None:
            yield name, "not run", None
            continue
        said = result(lines)
        kind, _, case = name.partition(" ")
        if case in ends:
            yield name, said, END in said
        elif kind == "below" and case in compared and entries.get(f"bare {case}") is not None:
            same = seen(lines) == seen(entries[f"bare {case}"])
            yield name, said + ("" if same else ", but saw other things than the bare machine"), said == "SUCCESS" and same
        else:
            yield name, said, said == "SUCCESS"


def main():
    log, compared, attacks, ends = sys.argv[1], *(words.split() for words in sys.argv[2:])
    with open(log, encoding="utf-8", errors="replace") as file:
        found = sections(file.read())
    names = ["report", *(f"below {case}" for case in (*compared, *attacks, *ends)), *(f"bare {case}" for case in compared)]
    entries = {name: found.get(name) for name in names}
    if not found:
        sys.exit(f"{log}: not one entry of the menu in it: is this the serial line of a machine that the image started?")
    for line in entries["report"] or ():
        if "report: " in line:
            print(line[line.index("report: ") + len("report: "):])
    wrong = ran = 0
    for name, said, good in judge(entries, compared, ends):
        print(f"{name:<28}{'-' if good is None else 'as expected' if good else 'NOT AS EXPECTED':<17}{said}")
        ran += good is not None
        wrong += good is False
    print(f"{ran} of {len(names)} entries were run, {wrong} not as expected")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
