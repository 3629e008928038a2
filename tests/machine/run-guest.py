#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots kernel and initramfs in QEMU, on the hypervisor or without, and reports what the guest found.

The guest prints one line `RESULT: SUCCESS`, `RESULT: SKIP why`, `RESULT: FAILURE why` or `RESULT: ERROR why`
on its serial port. What this script prints last, and its exit code:
  SUCCESS 0   the guest said so (or, with --expect-stop, the hypervisor refused in these words)
  FAILURE 1   the guest found something wrong
  ERROR   2   the test itself could not be run (no QEMU, a file is missing, no such test)
  CRASH   3   no result: the machine ended, hung past the time limit, or the hypervisor stopped
  SKIP   77   the guest said that this cannot be shown here
"""
import argparse
import hashlib
import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time

CODES = {"SUCCESS": 0, "FAILURE": 1, "ERROR": 2, "CRASH": 3, "SKIP": 77}
SILENCE_SECONDS = 90
EMULATED = "tcg,thread=single"
UEFI_FIRMWARE = "/usr/share/ovmf/OVMF.fd"


def finish(word, text=""):
    print(f"{word}{': ' if text else ''}{text}", flush=True)
    sys.exit(CODES[word])


def accelerator():
    """KVM only where it offers SVM to guests and really works; else TCG, which emulates SVM."""
    try:
        with open("/sys/module/kvm_amd/parameters/nested", encoding="ascii") as file:
            nested = file.read().strip() in ("1", "Y")
        os.close(os.open("/dev/kvm", os.O_RDWR))
        return "kvm" if nested else EMULATED
    except OSError:
        return EMULATED


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hypervisor", help="vmsrs-hypervisor.elf32; without it: none")
    parser.add_argument("--kernel", help="module 0")
    parser.add_argument("--initrd", help="module 1")
    parser.add_argument("--windows", help="module 2")
    parser.add_argument("--append", default="", help="more of the kernel's command line")
    parser.add_argument("--hypervisor-options", default="", help="more of the hypervisor's")
    parser.add_argument("--secret", help="management secret, 32 characters; its hash is passed on")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", type=int, default=1024, help="MiB")
    parser.add_argument("--cpu", default="EPYC,+svm,+npt")
    parser.add_argument("--machine", default="q35")
    parser.add_argument("--grub", choices=["bios", "uefi"], help="by GRUB from a disk, under this firmware")
    parser.add_argument("--multiboot", choices=["1", "2"], default="2", help="GRUB's protocol")
    parser.add_argument("--no-iommu", action="store_true", help="devices reach all memory")
    parser.add_argument("--device", action="append", default=[], metavar="OPTION=VALUE",
                        help="more of QEMU's options, such as device=nvme,…; may be repeated")
    parser.add_argument("--icount", action="store_true",
                        help="one nanosecond of the machine's time is one instruction, of whichever processor; always TCG")
    parser.add_argument("--restart", action="store_true", help="a guest that ends is started again")
    parser.add_argument("--timeout", type=float, default=180, help="seconds")
    parser.add_argument("--log", help="the hypervisor's log; default: beside the initrd")
    parser.add_argument("--expect-failure", help="SUCCESS if the guest finds something wrong in these words")
    parser.add_argument("--expect-said", help="the hypervisor must have said these words when the guest succeeds")
    parser.add_argument("--expect-end", help="the machine ends without a result, the hypervisor having said these words")
    parser.add_argument("--expect-wiped", metavar="HEX",
                        help="with --expect-end: these bytes are nowhere in hidden memory any more")
    parser.add_argument("--expect-fallback", help="the hypervisor refuses with these words, Linux starts without it")
    parser.add_argument("--screen", action="store_true", help="with --expect-stop: the words are on the screen too")
    parser.add_argument("--expect-stop", help="SUCCESS if the hypervisor refuses with these words")
    return parser.parse_args()


def command_line(args, log):
    modules = []
    for name in (args.kernel, args.initrd, args.windows):
        if name is None:
            break
        if not os.path.isfile(name):
            finish("ERROR", f"no such file: {name}")
        modules.append(name)
    # no_timer_check: on a busy host an emulated timer may look dead to Linux's boot-time check. cpus: for the
    # test program, in its environment.
    linux_options = f"console=ttyS0 panic=-1 no_timer_check cpus={args.cpus} {args.append}".strip()
    machine = ["qemu-system-x86_64", "-machine", args.machine, "-cpu", args.cpu, "-smp", str(args.cpus),
               "-m", str(args.memory), "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]
    if args.expect_wiped:  # what is left of the machine is looked at
        machine += ["-action", "shutdown=pause", "-qmp", f"unix:{monitor_of(log)},server=on,wait=off"]
    for option in args.device:
        machine += ["-" + option.split("=", 1)[0], option.split("=", 1)[1]]
    if args.icount:  # without sleep: who idles does not wait for real time
        machine += ["-icount", "shift=0,sleep=off"]
    if args.hypervisor is None:
        return machine + ["-accel", EMULATED if args.icount else "tcg", "-kernel", args.kernel,
                          "-initrd", args.initrd, "-append", linux_options]
    # Of the chipsets used here one takes an IOMMU.
    if args.machine == "q35" and not args.no_iommu:
        machine += ["-device", "amd-iommu"]
    options = args.hypervisor_options
    if args.screen:  # must still be there when it is looked at
        machine += ["-vga", "std", "-qmp", f"unix:{monitor_of(log)},server=on,wait=off"]
    else:
        options += " debug_exit=0xf4"
    if not args.restart:  # a guest that ends is a failure, whatever its next start would say
        options += " restart=off"
    if args.expect_fallback:
        options += " fallback=native"
    if args.secret:
        options += " secret_sha256=" + hashlib.sha256(args.secret.encode()).hexdigest()
    options = options.strip()
    machine += ["-accel", EMULATED if args.icount else accelerator(), "-debugcon", f"file:{log}",
                "-device", "isa-debug-exit,iobase=0xf4"]
    if args.grub is not None:
        disk = os.path.splitext(log)[0] + ".iso"
        make_disk(disk, args, modules, options, linux_options)
        firmware = ["-bios", UEFI_FIRMWARE] if args.grub == "uefi" else []
        return machine + firmware + ["-cdrom", disk]
    # QEMU's own loader: modules separated by commas, the kernel's options behind its name.
    names = [name.replace(",", ",,") for name in modules]
    if names:
        names[0] += " " + linux_options.replace(",", ",,")
    return machine + ["-kernel", args.hypervisor, "-append", options] + (["-initrd", ",".join(names)] if names else [])


def make_disk(disk, args, modules, options, linux_options):
    """A disk from which GRUB starts hypervisor and modules, under a BIOS or UEFI."""
    hypervisor, module = ("multiboot2", "module2") if args.multiboot == "2" else ("multiboot", "module")
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(os.path.join(folder, "boot/grub"))
        lines = ["serial", "terminal_output serial", "insmod all_video", f"{hypervisor} /boot/hypervisor {options}"]
        shutil.copy(args.hypervisor, os.path.join(folder, "boot/hypervisor"))
        for name, source in zip(("kernel", "initrd", "windows"), modules):
            shutil.copy(source, os.path.join(folder, "boot", name))
            lines.append(f"{module} /boot/{name} {linux_options if name == 'kernel' else ''}".strip())
        with open(os.path.join(folder, "boot/grub/grub.cfg"), "w", encoding="ascii") as file:
            file.write("\n".join(lines + ["boot", ""]))
        made = subprocess.run(["grub-mkrescue", "-o", disk, folder], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            finish("ERROR", f"grub-mkrescue: {made.stderr.strip()}")


def main():
    args = parse_arguments()
    if shutil.which("qemu-system-x86_64") is None:
        finish("ERROR", "no qemu-system-x86_64 (Debian package qemu-system-x86)")
    if args.hypervisor is None and (args.kernel is None or args.initrd is None):
        finish("ERROR", "without a hypervisor a kernel and an initrd are needed")
    if args.hypervisor is not None and not os.path.isfile(args.hypervisor):
        finish("ERROR", f"no such file: {args.hypervisor}")
    if args.grub is not None:
        for program in ("grub-mkrescue", "xorriso", "mformat"):
            if shutil.which(program) is None:
                finish("ERROR", f"no {program} (Debian packages grub-common, xorriso, mtools)")
        if args.grub == "uefi" and not os.path.isfile(UEFI_FIRMWARE):
            finish("ERROR", f"no {UEFI_FIRMWARE} (Debian package ovmf)")
    word, text = run(args, SILENCE_SECONDS)
    if word == "SILENT":
        # A known defect (docs/hypervisor.md, "Known defect"): it must be seen, and not hide the rest.
        print(f"KNOWN DEFECT: {text}; booting once more", flush=True)
        word, text = run(args, args.timeout)
    finish(word, text)


def run(args, silence):
    """One boot: the result word and its text."""
    log = args.log or (args.initrd or args.hypervisor) + ".hv.log"  # hypervisors alone write one
    os.makedirs(os.path.dirname(os.path.abspath(log)), exist_ok=True)
    if os.path.exists(log):
        os.unlink(log)
    begin = time.monotonic()
    with subprocess.Popen(command_line(args, log), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as qemu:
        try:
            word, text = watch(qemu, args, log, begin, silence)
        finally:
            qemu.kill()
    print(f"-- {time.monotonic() - begin:.1f} s" +
          (f"; hypervisor's log: {log}" if args.hypervisor is not None else ""))
    if word != "SUCCESS" and os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as file:
            sys.stdout.write(file.read())
    return word, text


def monitor_of(log):
    return os.path.splitext(log)[0] + ".monitor"


def monitor_commands(log, *commands):
    """Answers of QEMU's monitor to commands, each with its arguments."""
    answers = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(monitor_of(log))
        with connection.makefile("rw") as monitor:
            monitor.readline()
            for command, arguments in (("qmp_capabilities", {}), *commands):
                monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                monitor.flush()
                answer = json.loads(monitor.readline())
                while "event" in answer:
                    answer = json.loads(monitor.readline())
                answers.append(answer.get("return"))
    return answers[1:]


def judged_wiped(args, log, said):
    """Of a machine that has been reset: is anything of the pattern left in hidden memory?"""
    end = time.monotonic() + 60
    while monitor_commands(log, ("query-status", {}))[0]["running"]:
        if time.monotonic() > end:
            return "FAILURE", "the machine runs on"
        time.sleep(0.2)
    begin, behind = (int(word, 16) for word in re.search(r"hidden (0x\w+)-(0x\w+)", said).groups())
    dump = os.path.splitext(log)[0] + ".hidden"
    monitor_commands(log, ("pmemsave", {"val": begin, "size": behind - begin, "filename": dump}))
    with open(dump, "rb") as file:
        found = file.read().count(bytes.fromhex(args.expect_wiped))
    os.unlink(dump)
    return ("FAILURE", f"{found} times in hidden memory: {args.expect_wiped}") if found else ("SUCCESS", "")


def screen_text(log):
    """What stands on the machine's screen, as text."""
    dump = os.path.splitext(log)[0] + ".screen"
    monitor_commands(log, ("pmemsave", {"val": 0xb8000, "size": 80 * 25 * 2, "filename": dump + ".text"}),
                     ("screendump", {"filename": dump}))
    with open(dump + ".text", "rb") as file:
        cells = file.read()
    if b"v" in cells[:2]:
        return cells[::2].decode("ascii", errors="replace")
    return pixel_text(dump)


def pixel_text(dump):
    """The same of a frame buffer, by the hypervisor's own glyphs: in capitals."""
    with open(os.path.join(os.path.dirname(__file__), "../../hypervisor/boot/screen.cpp"), encoding="ascii") as file:
        table = file.read().split("kGlyphs[64] = {", 1)[1].split("}", 1)[0]
    glyphs = {int(word, 8): chr(32 + i) for i, word in enumerate(re.findall(r"\d+", table))}
    with open(dump, "rb") as file:
        _, sizes, _, pixels = file.read().split(b"\n", 3)
    width, height = map(int, sizes.split())
    text = ""
    for top in range(0, height - 23, 24):
        for left in range(0, width - 11, 12):
            bits = 0
            for y in range(5):
                for x in range(3):
                    at = (top + 3 * y + 1) * width + left + 3 * x + 1
                    bits = bits << 1 | (pixels[3 * at] > 127)
            text += glyphs.get(bits, "\0")
    return text


def judged_stop(args, log, stopped):
    """Of a hypervisor that refuses, and is to."""
    if args.expect_stop not in stopped:
        return "FAILURE", f"expected '{args.expect_stop}', got: {stopped}"
    if not args.screen:
        return "SUCCESS", ""
    text = screen_text(log)
    if args.expect_stop in text or args.expect_stop.upper() in text:
        return "SUCCESS", ""
    return "FAILURE", f"not on the screen: '{args.expect_stop}', but '{' '.join(text.split())[:200]}'"


def judged_failure(expected, word, text):
    if word == "FAILURE" and expected in text:
        return "SUCCESS", ""
    return "FAILURE", f"expected the failure '{expected}', got: {word} {text}"


def watch(qemu, args, log, begin, silence):
    """The result word and what goes with it, as soon as one of the lines says so. SILENT: the guest
    itself has said nothing for `silence` seconds."""
    pending = b""
    heard = False
    loaded = args.grub is None  # what firmware and boot loader say is not the guest's word
    said = ""
    stopped = None
    with selectors.DefaultSelector() as selector:
        selector.register(qemu.stdout, selectors.EVENT_READ)
        while True:
            limit = args.timeout if heard else min(args.timeout, silence)
            left = begin + limit - time.monotonic()
            if left <= 0:
                if not heard and silence < args.timeout:
                    return "SILENT", f"no sign of life from the guest for {silence} s"
                return "CRASH", f"no result after {args.timeout:.0f} s"
            if not selector.select(left):
                continue
            data = os.read(qemu.stdout.fileno(), 65536)
            if not data:
                if args.expect_end and args.expect_end in said:
                    return "SUCCESS", ""
                return "CRASH", stopped or "the machine ended without a result"
            pending += data
            *lines, pending = pending.split(b"\n")
            for raw in lines:
                line = raw.decode(errors="replace").rstrip("\r")
                if "TCG doesn't support requested feature" in line:
                    continue
                print(line, flush=True)
                if line.startswith("vmsrs:"):
                    loaded = True
                    said += line
                heard = heard or (loaded and not line.startswith("vmsrs:"))
                if args.expect_wiped and args.expect_end in said:
                    return judged_wiped(args, log, said)
                if match := re.search(r"RESULT: (SUCCESS|SKIP|FAILURE|ERROR)\s*(.*)", line):
                    if args.expect_stop:
                        return "FAILURE", "the guest ran, but the hypervisor should have refused"
                    if args.expect_end:
                        return "FAILURE", f"expected the machine to end, got: {match.group(1)} {match.group(2)}"
                    if args.expect_fallback and args.expect_fallback not in (stopped or ""):
                        return "FAILURE", f"expected a fallback after '{args.expect_fallback}', got: {stopped}"
                    if args.expect_said and args.expect_said not in said:
                        return "FAILURE", f"expected the hypervisor to say '{args.expect_said}', got: {said}"
                    if args.expect_failure:
                        return judged_failure(args.expect_failure, match.group(1), match.group(2))
                    return match.group(1), match.group(2)
                if match := re.search(r"vmsrs: error: (.*)", line):
                    stopped = match.group(1)
                    if args.expect_stop:
                        return judged_stop(args, log, stopped)


if __name__ == "__main__":
    main()
