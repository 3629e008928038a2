#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The packages on a Debian host that starts by its own firmware and GRUB: vm.py. Needs root, for the image.

usage: machine_test.py FOLDER BUILD SCENARIO
  FOLDER    what takes long is made there once: image, packages, a machine with the packages installed
  BUILD     folder of a build, for the book shop
  SCENARIO  files      makes these
            life       a trial, kept; the book shop under systemd; the next boot; natively again
            life_ovmf  the same by UEFI, without the shop
            refused    an image that GRUB does not take
            reset      one that resets the machine at once
            hang       one that never says a word: the watchdog of a management controller
            panic      Linux panics on VMSRS before vmsrsd is there
            dead       vmsrsd dies after it was there
            misled     vmsrsd cannot start: its configuration, and the hypervisor's hash is of another secret
            kernel     apt brings a new kernel
            container  the book shop in podman, on the hypervisor and on vmsrs-hosted
            by_hand    docs/install.md to the letter, on a host without anything: from nothing to the first alert
"""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import repository
import vm

TREE = pathlib.Path(__file__).resolve().parents[3]
PAGE = TREE / "docs/install.md"
CATALOGUE = TREE / "examples/bookshop/data/catalogue.csv"
NATIVE = "the first entry: Linux alone"


class Failed(Exception):
    """The message says what is not as it should be."""


def require(condition, what):
    if not condition:
        raise Failed(what)


def step(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


# What is made once

def make_files(folder):
    """FOLDER/debian.img, FOLDER/packages, FOLDER/installed/disk.qcow2: that image with the packages installed by apt."""
    image = vm.make_image(folder)
    packages = repository.build_packages(folder / "packages")
    made_from = (folder / "packages/built-from").read_text() + (folder / "debian.img.made-by").read_text()
    installed = folder / "installed"
    mark = installed / "made-from"
    if mark.exists() and mark.read_text() == made_from:
        return
    shutil.rmtree(installed, ignore_errors=True)
    source = repository.Repository(installed / "repository")
    source.put(*packages)
    with source.serve() as port, vm.Machine(image, installed) as machine:
        step("a fresh Debian host")
        machine.wait_until_up()
        source.introduce(machine, port)
        step("apt-get install vmsrs")
        machine.run("DEBIAN_FRONTEND=noninteractive apt-get -q -y install vmsrs", 900)
        default_stays_native(machine)
        machine.power_off()
    mark.write_text(made_from)


def default_stays_native(machine):
    words = status(machine)
    require(words == {"running": "Linux alone", "default": NATIVE, "next": "the default"},
            f"the installation changes no default: {words}")


@contextlib.contextmanager
def installed_machine(folder, **more):
    """A machine whose disk begins as FOLDER/installed left it; off at the end."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="machine.") as own:
        # The account's key is on that disk already.
        for name in ("id_ed25519", "id_ed25519.pub"):
            shutil.copy(folder / "installed" / name, own)
        with vm.Machine(folder / "installed/disk.qcow2", own, **more) as machine:
            machine.wait_for_boot()
            yield machine


# What is asked of a machine

def status(machine):
    """vmsrs-boot's words."""
    lines = machine.run("vmsrs-boot status").splitlines()
    return {key: value for key, _, value in (line.partition("  ") for line in lines) for value in [value.strip()]}


def entry_of(machine, kernel=None):
    return "vmsrs-" + (kernel or machine.run("uname -r").strip())


def try_vmsrs(machine, *words):
    """`vmsrs-boot trial`, and the restart. Not yet: what has become of it."""
    machine.run(" ".join(("vmsrs-boot", "trial", *words)))
    step("trial: systemctl reboot")
    return machine.reboot()


def wait_for_unit(machine, unit, states=("active", "failed"), seconds=600):
    """Until it is in one of these states; in which."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = machine.ssh(f"systemctl is-active {unit}", 60).stdout.strip()
        if state in states:
            return state
        time.sleep(2)
    raise Failed(f"{unit} is {state}: {machine.ssh(f'systemctl status {unit}').stdout}")


def require_protected(machine):
    version = json.loads(machine.run("vmsrsctl --output json version"))
    require(version["isolation"] == "hypervisor", f"vmsrsctl says that the hypervisor isolates: {version}")
    require("hypervisor" in machine.run("vmsrsctl status"), "vmsrsctl status tells of the hypervisor")
    require(" ext4 ro," in machine.run("grep ' /run/vmsrs/windows ' /proc/mounts"), "systemd has mounted the windows")
    machine.run("vmsrsctl check")


def require_kept(machine, entry):
    require(wait_for_unit(machine, "vmsrs-boot-confirm") == "active",
            "the trial is confirmed: " + machine.ssh("journalctl -b -u vmsrs-boot-confirm -u vmsrsd").stdout)
    words = status(machine)
    require(words == {"running": entry, "default": entry, "next": "the default"}, f"it is the default: {words}")
    require_protected(machine)


def require_native(machine):
    words = status(machine)
    require(words == {"running": "Linux alone", "default": NATIVE, "next": "the default"}, f"native again: {words}")
    # Nothing to look at: vmsrsd says so once, and is not started again and again.
    require(wait_for_unit(machine, "vmsrsd") == "failed", "vmsrsd has ended")
    ended = dict(line.split("=") for line in machine.run("systemctl show -p ExecMainStatus -p NRestarts vmsrsd").splitlines())
    require(ended == {"ExecMainStatus": "4", "NRestarts": "0"}, f"it has found no hypervisor, and was left alone: {ended}")
    told = machine.ssh("vmsrsctl status")
    require(told.returncode == 4 and "vmsrsd" in told.stdout, f"vmsrsctl says that no daemon answers: {told}")


def stored_crashes(machine):
    """The identities (as text) of the crashes that vmsrsd has stored."""
    answer = json.loads(machine.run("vmsrsctl --output json events list --type crash"))
    return {str(event["id"]) for event in answer["events"]}


def require_journal(machine):
    """journald has each crash, with its fields; and vmsrsd no more rights than it should."""
    lines = machine.run("journalctl --no-pager --output json -u vmsrsd VMSRS_EVENT_TYPE=crash").splitlines()
    entries = [json.loads(line) for line in lines]
    stored = stored_crashes(machine)
    require(stored and {entry["VMSRS_EVENT_ID"] for entry in entries} == stored,
            f"what is stored is in the journal: {stored}, {entries}")
    for entry in entries:
        require((entry["VMSRS_SERVER"], entry["VMSRS_FAULT"], entry["PRIORITY"]) == ("bookshop", "wild", "4"), entry)
    exposure = machine.run("systemd-analyze security --no-pager vmsrsd").rpartition("Overall exposure level")[2]
    require(float(exposure.split(": ")[1].split()[0]) <= 2.0, f"its exposure is at most 2.0: {exposure}")


# Scenarios

def life(folder, build, firmware="bios", with_shop=True):
    with installed_machine(folder, firmware=firmware, forward={"shop": 7070, "metrics": 9470}) as machine:
        if firmware == "ovmf":
            require(machine.ssh("test -d /sys/firmware/efi").returncode == 0, "it was started by UEFI")
        default_stays_native(machine)
        entry = entry_of(machine)
        try_vmsrs(machine)
        require_kept(machine, entry)
        step("kept")
        crashes = set()
        if with_shop:
            step("the book shop, under systemd")
            install_shop(machine, build)
            run_shop(machine)
            require_journal(machine)
            crashes = stored_crashes(machine)
        step("once more, as the default")
        machine.reboot()
        require_kept(machine, entry)
        require(stored_crashes(machine) >= crashes, "events of the boot before are still there")
        step("and natively again")
        machine.run("vmsrs-boot native")
        machine.reboot()
        require_native(machine)


SHOP_UNIT = """[Unit]
After=vmsrsd.service run-vmsrs-windows.mount
[Service]
User=shop
SupplementaryGroups=vmsrs-servers
LimitMEMLOCK=infinity
LimitCORE=0
ExecStart=/opt/bookshop --bind 0.0.0.0 --port 7070 --catalogue /opt/catalogue.csv --secret-file /etc/vmsrs/bookshop.secret \\
  --order-seconds 600 --inject 1:wild:2 --inject 7:wild:2
"""


def install_shop(machine, build):
    """The book shop with its catalogue in /opt, its account, its secret, and vmsrsd's configuration of it."""
    stripped = machine.folder / "bookshop"
    subprocess.run(["strip", "-o", stripped, build / "examples/bookshop/bookshop"], check=True)
    machine.copy_to(stripped, CATALOGUE, to="/opt")
    machine.run("""
        useradd --system shop
        (umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n' >/etc/vmsrs/bookshop.secret)
        chown shop /etc/vmsrs/bookshop.secret
        cat >>/etc/vmsrs/vmsrs.yaml""", stdin="""
servers:
  - name: bookshop
    attach_secret_file: /etc/vmsrs/bookshop.secret
""")
    machine.run("""sed -i 's/^servers: \\[\\]$//; s/^  listen: 127.0.0.1:9470$/  listen: 0.0.0.0:9470/' /etc/vmsrs/vmsrs.yaml
        vmsrsd --check-config --config /etc/vmsrs/vmsrs.yaml && systemctl restart vmsrsd""")


def run_shop(machine, unit=SHOP_UNIT):
    """The book shop as a service: two of its users crash, the judge looks at what the others see."""
    machine.run("cat >/etc/systemd/system/bookshop.service && systemctl daemon-reload && systemctl start bookshop", stdin=unit)
    # It listens (port 7070) when it is attached and has read its catalogue.
    machine.run("for i in $(seq 600); do ! grep -q ':1B9E 00000000:0000 0A' /proc/net/tcp || exit 0; sleep 0.2; done; "
                "systemctl status bookshop; exit 1")
    # The judge asks through vmsrsctl, which is in the machine.
    ask = machine.folder / "vmsrsctl"
    words = " ".join(["ssh", *machine.ssh_options(), "-p", str(machine.ports["ssh"]), "root@127.0.0.1"])
    ask.write_text(f'#!/bin/sh\nexec {words} vmsrsctl "$@"\n')
    ask.chmod(0o755)
    judged = subprocess.run(
        [sys.executable, "-m", "judge", "--shop", f"127.0.0.1:{machine.ports['shop']}", "--catalogue", CATALOGUE,
         "--metrics", f"http://127.0.0.1:{machine.ports['metrics']}/metrics", "--vmsrsctl", ask, "--api",
         "/run/vmsrs/api.sock", "--output", "json"], check=False, timeout=900, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(TREE / "tests/scenario"), "PYTHONDONTWRITEBYTECODE": "1"})
    print(judged.stdout, machine.ssh("journalctl --no-pager -u bookshop -u vmsrsd").stdout, sep="\n", flush=True)
    require(judged.returncode == 0, f"the judge ends with {judged.returncode}")
    result = json.loads(judged.stdout)
    require(result["ok"] is True and result["server_alive"] is True, "the judge finds nothing wrong")
    require(set(result["crashed_users"]) >= {1, 7}, "users 1 and 7 crash")
    for key in ("faults", "suppressed_stores", "restores"):
        require(result[key] > 0, f"{key} > 0")
    require(machine.run("systemctl show -P NRestarts bookshop").strip() == "0", "systemd has started it once")


IMAGES = {  # what stands in the place of the hypervisor
    "reset": "mov $6, %al; mov $0xcf9, %dx; out %al, %dx; 1: hlt; jmp 1b",
    "hang": "mov $'H', %al; mov $0xe9, %dx; out %al, %dx; cli; 1: hlt; jmp 1b"}


def make_broken_image(name, folder):
    """A multiboot 2 image of a few instructions."""
    source = f""".section .text
.long 0xe85250d6, 0, 16 + 8, -(0xe85250d6 + 16 + 8)
.short 0, 0
.long 8
.globl _start
_start: {IMAGES[name]}
"""
    (folder / "broken.S").write_text(source)
    subprocess.run(["as", "--32", "-o", folder / "broken.o", folder / "broken.S"], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x400000", "-o", folder / "vmsrs-hypervisor.elf32",
                    folder / "broken.o"], check=True)
    # Or it would be one more that GRUB refuses.
    subprocess.run(["grub-file", "--is-x86-multiboot2", folder / "vmsrs-hypervisor.elf32"], check=True)


def broken_image(folder, name):
    with installed_machine(folder) as machine:
        if name == "refused":
            machine.run("head -c 100000 /dev/urandom >/boot/vmsrs-hypervisor.elf32")
        else:
            make_broken_image(name, machine.folder)
            machine.copy_to(machine.folder / "vmsrs-hypervisor.elf32", to="/boot")
        require("nothing resets a trial that hangs" in machine.run("vmsrs-boot trial"), "there is no management controller")
        machine.reboot()
        require_native(machine)
        require("Loading VMSRS" in machine.console(), "GRUB has tried it")
        step("Linux alone, by itself")
        machine.reboot()
        require_native(machine)


WATCHDOG_SECONDS = 240  # from the restart: enough for shutdown and GRUB on a busy host, or it would come before the image


def hang(folder):
    """A host with a management controller, as servers have: its watchdog ends a trial that hangs, and no other."""
    with installed_machine(folder, options=("-device", "ipmi-bmc-sim,id=bmc", "-device", "isa-ipmi-kcs,bmc=bmc")) as machine:
        cloud = machine.run("uname -r").strip()
        debian = cloud.replace("-cloud-", "-")  # the cloud kernel has no driver for it
        source = repository.Repository(machine.folder / "repository")
        source.put(*repository.download(folder / "downloaded", machine, f"linux-image-{debian}", "ipmitool"))
        with source.serve() as port:
            source.introduce(machine, port)
            step(f"apt-get install linux-image-{debian} ipmitool")
            machine.run(f"""echo 'linux-base linux-base/removing-running-kernel boolean false' | debconf-set-selections
                export DEBIAN_FRONTEND=noninteractive
                apt-get -q -y install linux-image-{debian} ipmitool && apt-get -q -y purge linux-image-{cloud}""", 1800)
        machine.reboot()
        entry = entry_of(machine)
        require(entry == f"vmsrs-{debian}", f"the other kernel runs: {entry}")

        def watchdog():
            lines = machine.run("ipmitool mc watchdog get").splitlines()
            return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}

        step("a trial that is healthy")
        require("resets the machine 900 s after" in machine.run("vmsrs-boot trial"), "the trial is guarded")
        machine.reboot()
        require_kept(machine, entry)
        guard = watchdog()
        require(guard["Watchdog Timer Use"].startswith("OS Load") and guard["Initial Countdown"].startswith("900"),
                f"it was guarded: {guard}")
        require(guard["Watchdog Timer Is"] == "Stopped", f"and is so no longer: {guard}")

        step("one that hangs")
        make_broken_image("hang", machine.folder)
        machine.copy_to(machine.folder / "vmsrs-hypervisor.elf32", to="/boot")
        machine.run(f"""mkdir -p /etc/systemd/system/vmsrs-boot-watchdog.service.d &&
            printf '[Service]\\nEnvironment=VMSRS_WATCHDOG_SECONDS={WATCHDOG_SECONDS}\\n' \\
              >/etc/systemd/system/vmsrs-boot-watchdog.service.d/soon.conf
            systemctl daemon-reload; vmsrs-boot native; vmsrs-boot trial""")
        before = machine.begin_restart()
        end = time.monotonic() + WATCHDOG_SECONDS
        while "H" not in machine.hypervisor_log.read_text(errors="replace").rpartition("\n")[2]:
            require(time.monotonic() < end, "the image that hangs is started")
            time.sleep(1)
        step("it hangs")
        machine.wait_for_boot(before)
        require_native(machine)
        require(watchdog()["Watchdog Timer Is"] == "Stopped", "Linux alone is not guarded")
        step("Linux alone, by itself")


def panic(folder):
    """Linux that does not live on VMSRS: whatever the reason, it is before vmsrsd."""
    with installed_machine(folder) as machine:
        machine.run("""cat >/etc/systemd/system/panics.service && systemctl enable panics""", stdin="""[Unit]
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target
ConditionKernelCommandLine=vmsrs.entry
[Service]
ExecStart=/bin/sh -c 'echo c >/proc/sysrq-trigger'
[Install]
WantedBy=sysinit.target
""")
        machine.run("vmsrs-boot trial")
        machine.reboot()
        require_native(machine)
        said = machine.hypervisor_log.read_text(errors="replace")
        require("Linux ended before management was opened" in said, f"the hypervisor gave up: {said}")
        step("Linux alone, by itself")


def sick_daemon(folder, prepare):
    """The trial's vmsrsd is not healthy, and cannot be asked: back by itself."""
    with installed_machine(folder) as machine:
        machine.run("""mkdir -p /etc/systemd/system/vmsrs-boot-confirm.service.d &&
            printf '[Service]\\nEnvironment=VMSRS_CONFIRM_SECONDS=15\\n' >/etc/systemd/system/vmsrs-boot-confirm.service.d/soon.conf
            mkdir -p /var/log/journal""")
        machine.run(prepare)
        before = machine.boot_id()
        tried = try_vmsrs(machine)
        require(status(machine)["running"].startswith("vmsrs-"), "VMSRS runs first")
        require(tried != before, "it was started")
        machine.wait_for_boot(tried)
        require_native(machine)
        log = machine.run("journalctl -b -1 -u vmsrs-boot-confirm --no-pager")
        require("is not healthy: restarting into the default" in log, f"the trial's end: {log}")
        step("Linux alone, by itself")
        return log, machine.hypervisor_log.read_text(errors="replace")


def dead(folder):
    # It opens its channel, serves, and is gone for good.
    log, said = sick_daemon(folder, """mkdir -p /etc/systemd/system/vmsrsd.service.d &&
        printf '[Service]\\nRestart=no\\nExecStartPost=+/bin/sh -c "kill -KILL $MAINPID"\\n' >/etc/systemd/system/vmsrsd.service.d/dies.conf""")
    require("The next reset is let through" in log, f"it is announced without a daemon: {log}")
    require("the guest resets the machine, as announced" in said, f"the hypervisor lets it through: {said}")


def misled(folder):
    # Nobody can open this hypervisor: the restart is let through because nobody has.
    log, said = sick_daemon(folder, """sed -i 's/^GRUB_CMDLINE_VMSRS="/&secret_sha256='"$(printf %064d 7)"' /' /etc/default/grub.d/vmsrs.cfg &&
        update-grub && grep -q secret_sha256=0000 /boot/grub/grub.cfg""")
    require("not announced" in log, f"nobody could announce it: {log}")
    require("Linux ended before management was opened" in said, f"the hypervisor gave up: {said}")


# A root folder of the shop, its catalogue and the libraries that it is linked with.
MAKE_CONTAINER = """set -e
    mkdir -p /srv/shop/{proc,sys,dev,run/vmsrs,tmp,etc/vmsrs}
    for file in /opt/bookshop /opt/catalogue.csv $(ldd /opt/bookshop | grep -o '/[^ ]*'); do
      mkdir -p /srv/shop$(dirname $file) && cp -L $file /srv/shop$file
    done
"""
CONTAINER_UNIT = """[Unit]
After=vmsrsd.service
[Service]
ExecStartPre=-/usr/bin/podman rm -f bookshop
ExecStart=/bin/sh -c 'exec /usr/bin/podman run --rm --name bookshop --rootfs --network=host --user $$(id -u shop):$$(getent group vmsrs-servers | cut -d : -f 3) \\
  --ulimit memlock=-1 --ulimit core=0 --volume /run/vmsrs:/run/vmsrs --volume /etc/vmsrs/bookshop.secret:/etc/vmsrs/bookshop.secret:ro MORE \\
  /srv/shop /opt/bookshop --bind 0.0.0.0 --port 7070 --catalogue /opt/catalogue.csv --secret-file /etc/vmsrs/bookshop.secret \\
  --order-seconds 600 --inject 1:wild:2 --inject 7:wild:2'
"""


def container(folder, build):
    with installed_machine(folder, forward={"shop": 7070, "metrics": 9470}) as machine:
        source = repository.Repository(machine.folder / "repository")
        source.put(*(folder / "packages").glob("*.deb"), *repository.download(folder / "downloaded", machine, "podman"))
        with source.serve() as port:
            source.introduce(machine, port)
            step("apt-get install podman vmsrs-hosted")
            machine.run("DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends podman vmsrs-hosted", 1800)
        require(wait_for_unit(machine, "vmsrsd") == "active", "vmsrsd runs as soon as there is a vmsrs-hosted")
        try_vmsrs(machine)
        require_kept(machine, entry_of(machine))
        install_shop(machine, build)
        machine.run(MAKE_CONTAINER)
        step("a container with process numbers of its own is refused by name")
        machine.run("cat >/etc/systemd/system/bookshop.service && systemctl daemon-reload && systemctl start bookshop",
                    stdin=CONTAINER_UNIT.replace(" MORE", ""))
        wait_for_unit(machine, "bookshop", ("failed", "inactive"))
        said = machine.run("journalctl -b --no-pager | grep -c 'podman run --pid=host' || true")
        require(int(said) > 0, "it says what to do: " + machine.ssh("journalctl -b --no-pager -n 40").stdout)
        step("the book shop in a container, on the hypervisor")
        run_shop(machine, CONTAINER_UNIT.replace("MORE", "--pid=host"))
        step("and on vmsrs-hosted, with process numbers of its own")
        machine.run("vmsrs-boot native")
        machine.reboot()
        require(wait_for_unit(machine, "vmsrsd") == "active", "vmsrsd has found vmsrs-hosted")
        require(json.loads(machine.run("vmsrsctl --output json version"))["isolation"] == "process", "vmsrs-hosted isolates")
        run_shop(machine, CONTAINER_UNIT.replace(" MORE", ""))
        machine.run("vmsrsctl check")


def kernel(folder):
    """apt brings a newer kernel: the default stays the one that was proven, until the new one is."""
    newer = folder / "newer-kernel.deb"
    with installed_machine(folder) as machine:
        old = entry_of(machine)
        try_vmsrs(machine)
        require_kept(machine, old)
        source = repository.Repository(machine.folder / "repository")
        source.put(newer)
        name = subprocess.run(["dpkg-deb", "-f", newer, "Package"], check=True, capture_output=True, text=True).stdout.strip()
        with source.serve() as port:
            source.introduce(machine, port)
            step(f"apt-get install {name}")
            machine.run(f"DEBIAN_FRONTEND=noninteractive apt-get -q -y install {name}", 1800)
        new = entry_of(machine, name.removeprefix("linux-image-"))
        require(status(machine)["default"] == old, "the default is the proven one")
        machine.reboot()
        require(status(machine)["running"] == old, "which starts")
        require(wait_for_unit(machine, "vmsrs-boot-confirm") == "active", "and is left as it is")
        step("a trial of the new kernel")
        try_vmsrs(machine)
        require_kept(machine, new)
        step("the proven one is removed: the new one stays")
        machine.run(f"DEBIAN_FRONTEND=noninteractive apt-get -q -y purge linux-image-{old.removeprefix('vmsrs-')}", 900)
        machine.run("vmsrs-boot native")
        machine.reboot()
        require_native(machine)
        require(entry_of(machine) == new, "the fallback is the new kernel, alone")


class Operator:
    """Who types what a page says into root's shell, which stays open until the machine restarts."""

    def __init__(self, machine):
        self.machine, self.shell, self.begun = machine, None, time.monotonic()

    def type(self, line, seconds=1800):
        """What the line prints; it must succeed."""
        print(f"{(time.monotonic() - self.begun) / 60:5.1f} min # {line}", flush=True)
        if line == "systemctl reboot":
            self.shell.kill()
            self.shell = None
            return self.machine.reboot()
        if self.shell is None:
            self.shell = subprocess.Popen(
                ["ssh", *self.machine.ssh_options(), "-p", str(self.machine.ports["ssh"]), "root@127.0.0.1",
                 "cd /root/packages && export DEBIAN_FRONTEND=noninteractive && exec bash"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        late = threading.Timer(seconds, self.shell.kill)
        late.start()
        # What a line starts in the background or asks shall not read the next line.
        self.shell.stdin.write(f"{{ {line}\n}} </dev/null; echo =ended= $?\n")
        said = []
        for answer in self.shell.stdout:
            before, mark, code = answer.partition("=ended= ")
            said.append(before)
            if mark:
                break
        late.cancel()
        text = "".join(said)
        print(text, flush=True)
        require(mark and code.strip() == "0", f"`{line}` ended with {code.strip() if mark else 'the connection'}")
        return text


def commands_of(page, heading):
    """The commands below a heading, here documents with what is in them."""
    part = page.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    commands = []
    for block in part.split("\n```\n")[1::2]:
        end = None
        for line in block.splitlines():
            line = line if end else line.split(" # ")[0].rstrip()
            if end:
                commands[-1] += "\n" + line
                end = None if line == end else end
            elif line:
                commands.append(line)
                end = line.partition("<<'")[2].rstrip("'") or None
    return commands


def by_hand(folder):
    page = "\n" + PAGE.read_text()
    install = [line for line in commands_of(page, "# Installing by packages") if line.startswith("apt-get install ./")]
    boot, alert = commands_of(page, "## The first boot"), commands_of(page, "## The first crash, and its alert")
    require(len(install) == 1 and len(boot) >= 3 and len(alert) >= 12, f"the page's commands are found: {install} {boot} {alert}")
    image, packages = vm.make_image(folder), repository.build_packages(folder / "packages")
    with tempfile.TemporaryDirectory(dir=folder, prefix="machine.") as own, vm.Machine(image, own) as machine:
        machine.wait_until_up()
        machine.copy_to(*packages, to="/root/packages")
        mirror = repository.Repository(machine.folder / "repository")
        mirror.put(*repository.download(folder / "downloaded", machine, "prometheus", "prometheus-alertmanager"))
        with mirror.serve() as port:
            mirror.introduce(machine, port)
            machine.run("""echo 'APT::Get::Assume-Yes "true";' >/etc/apt/apt.conf.d/yes""")  # what apt asks
            operator = Operator(machine)
            for line in install + boot:
                said = operator.type(line)
                require(line not in install or "there is no hypervisor below this Linux ('vmsrs-boot trial'" in said, f"apt says what is next: {said}")
            require_kept(machine, entry_of(machine))
            query, fired = next(line for line in alert if line.startswith("amtool")), None
            for line in alert:
                said = operator.type(line)
                awaited = {"vmsrsctl users list --crashed": "bookshop", query: "VmsrsSuppressionTooLong"}.get(line, "")
                end = time.monotonic() + 900
                while awaited not in said:
                    require(time.monotonic() < end, f"{awaited} is there")
                    time.sleep(5)
                    said = operator.type(line)
                fired = time.monotonic() if line == query else fired
                if line.startswith("printf 'CHECKOUT"):
                    require("FAILED" in said, f"the user is told: {said}")
                if line.startswith("vmsrsctl events"):
                    require("crash" in said, f"the crash is an event: {said}")
            step("the alert resolves")
            end = time.monotonic() + 900
            while "VmsrsSuppression" in operator.type(query):
                require(time.monotonic() < end, "the alert resolves")
                time.sleep(5)
            minutes = (fired - operator.begun) / 60
            step(f"from nothing to the first alert: {minutes:.1f} minutes")
            require(minutes < 30, "under 30 minutes")


SCENARIOS = {"files": lambda folder, build: make_files(folder),
             "life": life,
             "life_ovmf": lambda folder, build: life(folder, build, "ovmf", with_shop=False),
             **{name: lambda folder, build, name=name: broken_image(folder, name) for name in ("refused", "reset")},
             "hang": lambda folder, build: hang(folder),
             "panic": lambda folder, build: panic(folder),
             "dead": lambda folder, build: dead(folder),
             "misled": lambda folder, build: misled(folder),
             "kernel": lambda folder, build: kernel(folder),
             "container": container,
             "by_hand": lambda folder, build: by_hand(folder)}


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in SCENARIOS:
        sys.exit(__doc__)
    folder, build, scenario = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), sys.argv[3]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        SCENARIOS[scenario](folder, build)
    except (Failed, vm.MachineError) as error:
        sys.exit(f"FAILED: {error}")
    step("OK")


if __name__ == "__main__":
    main()
