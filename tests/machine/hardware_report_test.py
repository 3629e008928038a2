#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/hardware-report.sh: what it makes of a serial line, and the image in a machine that is emulated.

    hardware_report_test.py judge
    hardware_report_test.py boot FOLDER     (FOLDER: for the image)
"""
import os
import re
import subprocess
import sys
import tempfile

COMMAND = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/hardware-report.sh")
END = "vmsrs: error: CPU 0: guest shutdown (triple fault): exit 0x7f"
GOOD = {"report": ["report: processor: one of AMD's", "RESULT: SUCCESS"], "below cpuid": ["RESULT: SUCCESS"],
        "below shutdown": [END], "below nmi": ["saw: 1", "RESULT: SUCCESS"], "bare nmi": ["saw: 1", "RESULT: SUCCESS"]}
SECONDS = 240


def log_of(entries):
    return "".join("\x1b[H\x1b[Jvmsrs-report: begin " + name + "\r\n" + "".join(line + "\r\n" for line in lines)
                   for name, lines in entries.items())


def judged(text):
    with tempfile.NamedTemporaryFile("w", suffix=".log") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([COMMAND, "judge", file.name], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def check_judge():
    """Each line of what is said tips the verdict."""
    found = []
    for what, entries, code, words in (
            ("all as expected", GOOD, 0, "5 of 32 entries were run, 0 not as expected"),
            ("a failure", {**GOOD, "below cpuid": ["RESULT: FAILURE SVM is shown"]}, 1, "NOT AS EXPECTED  FAILURE SVM"),
            ("no result", {**GOOD, "below msrs": ["saw: 2"]}, 1, "no result"),
            ("a machine that should have ended", {**GOOD, "below shutdown": ["RESULT: SUCCESS"]}, 1, "NOT AS EXPECTED"),
            ("a defect of the hypervisor", {**GOOD, "below cpuid": ["vmsrs: error: the hypervisor faulted"]}, 1, "faulted"),
            ("not as the bare machine", {**GOOD, "bare nmi": ["saw: 2", "RESULT: SUCCESS"]}, 1, "other things"),
            ("a report that failed", {**GOOD, "report": ["RESULT: FAILURE fuzz"]}, 1, "FAILURE fuzz"),
            ("nothing of ours", {}, 1, "not one entry")):
        got, said = judged(log_of(entries))
        if got != code or words not in said:
            found.append(f"{what}: expected {code} and '{words}', got {got} and: {said}")
    return found


def said_by_machine(image):
    """The serial line of a machine started from the image, up to its result."""
    command = ["qemu-system-x86_64", "-machine", "q35", "-device", "amd-iommu", "-cpu", "EPYC,+svm,+npt", "-smp", "2",
               "-m", "1024", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-accel",
               "tcg,thread=single", "-cdrom", image]
    text = ""
    with subprocess.Popen(["timeout", str(SECONDS), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, errors="replace") as machine:
        for line in machine.stdout:
            text += line
            if "RESULT:" in line or "vmsrs: error:" in line:
                break
        machine.terminate()
    return text


def check_boot(folder):
    os.makedirs(folder, exist_ok=True)
    image = os.path.join(folder, "hardware.iso")
    text = ""
    for entry in ("report", "below single_step", "bare single_step", "below shutdown"):
        subprocess.run([COMMAND, "image", image, entry], check=True)
        text += said_by_machine(image)
    code, said = judged(text)
    print(said)
    good = code == 0 and re.search(r"\b4 of \d+ entries were run, 0 not as expected", said) and "test fuzz: SUCCESS" in said
    return [] if good else [f"the judge's exit code is {code}"]


def main():
    problems = check_judge() if sys.argv[1] == "judge" else check_boot(sys.argv[2])
    print("\n".join(problems) or "all as it should be")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
