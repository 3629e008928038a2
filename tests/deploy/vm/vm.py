#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Debian host in QEMU that starts as a real one does: by its own firmware and GRUB, from its own disk.

As a module: Machine. As a program, for people: `vm.py IMAGE FOLDER [bios|ovmf|secure_boot]` starts one, prints how to log in, and
ends it on Ctrl-C. IMAGE is what make-image.sh made, or another machine's disk.qcow2; it is never written to.
"""
import base64
import contextlib
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time

# An emulated machine on a busy host is slow, and these limits only have to tell slow from dead.
BOOT_SECONDS = 900
COMMAND_SECONDS = 600
# Of UEFI (Debian package ovmf): code, and the template of the variables that each machine has a copy of. With Secure Boot
# these have the keys that machines are sold with, and only system management mode can write to them.
OVMF = pathlib.Path("/usr/share/OVMF")
UEFI = {"ovmf": (OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd"),
        "secure_boot": (OVMF / "OVMF_CODE_4M.secboot.fd", OVMF / "OVMF_VARS_4M.ms.fd")}


class MachineError(Exception):
    """The machine did not do what it was told; the message says what, and where its console is."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_image(folder):
    """Path of the image in this folder, made if need be: minutes, and as root only."""
    subprocess.run([pathlib.Path(__file__).with_name("make-image.sh"), folder], check=True)
    return pathlib.Path(folder) / "debian.img"


class Machine:
    """One machine. `folder` is its own: disk (an overlay; kept, so that a machine can be started again), keys, logs.

    `forward`: names and ports of the guest; each becomes a port of 127.0.0.1 on this host (`ports[name]`). The guest
    reaches this host's 127.0.0.1 as 10.0.2.2. As a context it is started, and ended by its process id.
    """

    def __init__(self, image, folder, firmware="bios", memory=1024, cpus=2, forward=None, cpu="EPYC,+svm,+npt",
                 options=()):
        if firmware not in ("bios", *UEFI):
            raise ValueError(f"firmware is bios, ovmf or secure_boot, not {firmware}")
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.firmware, self.memory, self.cpus, self.cpu = firmware, memory, cpus, cpu
        self.options = list(options)
        self.ports = {name: free_port() for name in ("ssh", *(forward or {}))}
        self.guest_ports = {"ssh": 22, **(forward or {})}
        self.process = None
        self.console_log = self.folder / "console.log"
        self.hypervisor_log = self.folder / "hypervisor.log"
        self.key = self.folder / "id_ed25519"
        self.disk = self.folder / "disk.qcow2"
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.key], check=True)
        if not self.disk.exists():
            image = pathlib.Path(image).resolve()
            kind = "qcow2" if image.suffix == ".qcow2" else "raw"
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", image, self.disk], check=True)
        self.variables = self.folder / f"{firmware}.fd"
        if firmware in UEFI and not self.variables.exists():
            self.variables.write_bytes(UEFI[firmware][1].read_bytes())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def command_line(self):
        key = base64.b64encode(self.key.with_suffix(".pub").read_bytes()).decode()
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{self.ports[name]}-:{port}" for name, port in self.guest_ports.items())
        # Whatever ends the test ends the machine.
        kind = "q35,smm=on" if self.firmware == "secure_boot" else "q35"
        command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", kind, "-accel", "tcg,thread=single", "-cpu", self.cpu,
                   "-smp", self.cpus, "-m", self.memory, "-nodefaults", "-display", "none",
                   "-serial", f"file:{self.console_log}", "-debugcon", f"file:{self.hypervisor_log}",
                   "-drive", f"file={self.disk},if=none,id=disk,cache=unsafe", "-device", "amd-iommu",
                   "-device", "virtio-blk-pci,drive=disk,disable-legacy=on,iommu_platform=on,bootindex=1",
                   "-netdev", f"user,id=net{forwards}",
                   "-device", "virtio-net-pci,netdev=net,romfile=,disable-legacy=on,iommu_platform=on",
                   # systemd's tmpfiles makes root's authorized_keys of it, at the first start.
                   "-smbios", f"type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root={key}"]
        if self.firmware in UEFI:
            command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={UEFI[self.firmware][0]}",
                        "-drive", f"if=pflash,format=raw,unit=1,file={self.variables}"]
        if self.firmware == "secure_boot":
            command += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        return [str(word) for word in command + self.options]

    def start(self):
        """Switches it on; does not wait for it."""
        for log in (self.console_log, self.hypervisor_log):
            log.unlink(missing_ok=True)
        self.console_log.touch()
        with open(self.folder / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(self.command_line(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)

    def is_on(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """As a loss of power. Nothing if it is off."""
        if self.is_on():
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def fail(self, what):
        with contextlib.suppress(OSError):
            last = self.console_log.read_text(errors="replace").splitlines()[-15:]
            what += f"; end of {self.console_log}:\n" + "\n".join(last)
        raise MachineError(what)

    def ssh_options(self):
        """For ssh, scp and whatever calls them."""
        return ["-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
                "-o", f"UserKnownHostsFile={os.devnull}", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20",
                "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=12"]

    def ssh(self, command, timeout=COMMAND_SECONDS, stdin=None):
        """As root, by its shell; what became of it, output and errors in one. 255: no connection."""
        words = ["ssh", *self.ssh_options(), "-p", str(self.ports["ssh"]), "root@127.0.0.1", command]
        try:
            return subprocess.run(words, timeout=timeout, text=True, check=False, input=stdin or "",
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 255, f"no answer in {timeout} s")

    def run(self, command, timeout=COMMAND_SECONDS, stdin=None):
        """The command's output; MachineError if it fails."""
        done = self.ssh(command, timeout, stdin)
        if done.returncode != 0:
            raise MachineError(f"`{command}` ended with {done.returncode}: {done.stdout.strip()}")
        return done.stdout

    def copy_to(self, *sources, to):
        """Files of this host into a folder of the machine, which is made."""
        self.run(f"mkdir -p {shlex.quote(str(to))}")
        subprocess.run(["scp", "-q", "-r", *self.ssh_options(), "-P", str(self.ports["ssh"]), *map(str, sources),
                        f"root@127.0.0.1:{to}/"], check=True, timeout=COMMAND_SECONDS)

    def copy_from(self, source, to):
        subprocess.run(["scp", "-q", "-r", *self.ssh_options(), "-P", str(self.ports["ssh"]), f"root@127.0.0.1:{source}",
                        str(to)], check=True, timeout=COMMAND_SECONDS)

    def boot_id(self):
        """Of the Linux that runs now; None if none answers."""
        answer = self.ssh("cat /proc/sys/kernel/random/boot_id", 60)
        return answer.stdout.strip() if answer.returncode == 0 else None

    def wait_for_boot(self, after=None, seconds=BOOT_SECONDS):
        """Until a Linux other than that of the boot id `after` lets one in; its boot id."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.is_on():
                self.fail(f"QEMU ended: {(self.folder / 'qemu.log').read_text().strip()}")
            now = self.boot_id()
            if now not in (None, after):
                return now
            time.sleep(1)
        return self.fail(f"no new Linux answered in {seconds} s")

    def wait_until_up(self, seconds=BOOT_SECONDS):
        """Until systemd has started all that it was to; its word (`running`, `degraded`)."""
        self.wait_for_boot(seconds=seconds)
        return self.ssh("systemctl is-system-running --wait", seconds).stdout.strip()

    def begin_restart(self):
        """An orderly restart is on its way; the boot id of the Linux that ends."""
        before = self.run("cat /proc/sys/kernel/random/boot_id").strip()
        done = self.ssh("systemctl --no-block reboot")
        if done.returncode not in (0, 255):  # the connection may end before the answer comes
            raise MachineError(f"systemctl reboot ended with {done.returncode}: {done.stdout.strip()}")
        return before

    def reboot(self, seconds=BOOT_SECONDS):
        """An orderly restart, until the next Linux lets one in."""
        return self.wait_for_boot(self.begin_restart(), seconds)

    def wait_until_off(self, seconds=BOOT_SECONDS):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.fail(f"still on after {seconds} s")

    def power_off(self, seconds=BOOT_SECONDS):
        self.ssh("systemctl --no-block poweroff")
        self.wait_until_off(seconds)

    def console(self):
        return self.console_log.read_text(errors="replace")


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: vm.py IMAGE FOLDER [bios|ovmf|secure_boot]")
    with Machine(*sys.argv[1:]) as machine:
        machine.wait_for_boot()
        print("ssh", *machine.ssh_options(), "-p", machine.ports["ssh"], "root@127.0.0.1", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            machine.process.wait()


if __name__ == "__main__":
    main()
