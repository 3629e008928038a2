#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The playbooks on machines that start by their own firmware and GRUB. Needs root, for the image.

usage: site_test.py FOLDER BUILD SCENARIO
  FOLDER    what takes long is made there once: image, packages
  BUILD     folder of a build, for the book shop and vmsrsctl
  SCENARIO  site      a host on the hypervisor, and one on vmsrs-hosted that watches both: site.yml, crashes, the alert, site.yml
                      again, verify.yml, rollback.yml, uninstall.yml
            unfit     hosts that cannot run VMSRS: each is refused with one message, and goes on once it can
            upgrade   two hosts, one started by UEFI: a full disk; upgrade.yml, in the middle of which the second loses its
                      power; once more; then the newer hypervisor is none: the first host falls back, the second stays
"""
import contextlib
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vm"))
import repository  # noqa: E402
import vm  # noqa: E402
from playbook_site import ANSIBLE, TREE, recap  # noqa: E402

CATALOGUE = TREE / "examples/bookshop/data/catalogue.csv"
# Of the emulated machine: S3. Its times are those of a busy host.
PATIENCE_SECONDS = 2400
# User 1 crashes in its second ADD and lingers until it goes on to CHECKOUT.
SHOP_UNIT = """[Unit]
Description=Book shop
[Service]
User=shop
ExecStart=/opt/bookshop --bind 0.0.0.0 --port 7070 --catalogue /opt/catalogue.csv \
--secret-file /etc/vmsrs/servers/bookshop.secret --order-seconds 600 --inject 1:wild:2
[Install]
WantedBy=multi-user.target
"""
MONITORING_PACKAGES = ["prometheus", "prometheus-alertmanager"]
# The book shop, which is built with the library; and memcached as Debian has it.
SERVERS = {
    "vmsrsd_servers": [{"name": "bookshop", "attach_secret_file": "/etc/vmsrs/servers/bookshop.secret", "account": "shop"},
                       {"name": "cache", "attach_secret_file": "/etc/vmsrs/servers/cache.secret"}],
    "server_protection_services": [{"service": "bookshop", "mode": "library", "server": "bookshop", "limits": {"TasksMax": 512}},
                                   {"service": "memcached", "program": "/usr/bin/memcached", "server": "cache", "users": "events",
                                    "secret_file": "/etc/vmsrs/servers/cache.secret", "limits": {"MemoryMax": "512M"}}]}


def require(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def step(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def wait_until(what, condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(2)


class Site:
    """Machines, the repository that they install from, an inventory of them."""

    def __init__(self, folder, build, work):
        self.build, self.work = build, work
        self.image = vm.make_image(folder)
        self.packages = repository.build_packages(folder / "packages")
        self.repository = repository.Repository(work / "repository")
        self.downloaded = folder / "downloaded"
        self.machines = {}

    def machine(self, stack, name, firmware="bios", **outfit):
        machine = stack.enter_context(vm.Machine(self.image, self.work / name, firmware=firmware, **outfit))
        self.machines[name] = machine
        return machine

    def write_inventory(self, port, hosts, control=None, **variables):
        """`hosts`: names with variables of their own."""
        def reached(name):
            machine = self.machines[name]
            return {"ansible_host": "127.0.0.1", "ansible_port": machine.ports["ssh"],
                    "ansible_ssh_common_args": " ".join(machine.ssh_options())}
        protected = {name: {**reached(name), **its, "vmsrs_api_address": f"127.0.0.1:{self.machines[name].ports['api']}",
                            "vmsrs_metrics_address": f"10.0.2.2:{self.machines[name].ports['metrics']}",
                            "pki_alternative_names": [f"DNS:{name}", "IP:127.0.0.1", "IP:10.0.2.2"]} for name, its in hosts.items()}
        children = {"vmsrs_hosts": {"hosts": protected}}
        if control:
            children["vmsrs_control"] = {"hosts": {control: reached(control)}}
        vmsrsctl = str(self.build / "cli/vmsrsctl")
        (self.work / "inventory.json").write_text(json.dumps({"all": {"children": children, "vars": {
            "ansible_user": "root", "ansible_ssh_timeout": 60,
            "repository_source": f"deb [signed-by=/etc/apt/keyrings/vmsrs.gpg] http://10.0.2.2:{port} ./",
            "repository_key": str(self.repository.served / "key.gpg"),
            "pki_operators": ["operator"], "fleet_vmsrsctl": vmsrsctl, "vmsrs_vmsrsctl": vmsrsctl,
            "vmsrsd_clients": [{"name": "operator", "role": "operate"}, {"name": "prometheus", "role": "observe"}],
            "hypervisor_hidden": "128M", "hypervisor_free_mib": {"/boot": 64, "/usr": 128, "/var": 128},
            "hypervisor_accept_losses": ["sleep"], "hypervisor_reboot_timeout_s": PATIENCE_SECONDS,
            "hypervisor_confirm_timeout_s": 900, "vmsrs_health_retries": 60, **variables}}}, indent=1))

    def play(self, playbook, *options, code=0):
        step(f"{playbook} {' '.join(options)}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("VMSRS_", "ANSIBLE_"))}
        done = subprocess.run(
            ["ansible-playbook", "-i", self.work / "inventory.json", ANSIBLE / playbook, *options], check=False, text=True, timeout=4 * PATIENCE_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**environment, "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_HOME": str(self.work / "ansible"), "ANSIBLE_NOCOLOR": "1",
                 "HOME": str(self.work)})
        if done.returncode != code:
            print(done.stdout)
            for name, machine in self.machines.items():
                print(f"--- {name}", machine.ssh("vmsrs-boot status; journalctl -b -n 60 --no-pager", 120).stdout)
        require(done.returncode == code, f"{playbook} ended with {done.returncode}, not {code}")
        step(json.dumps(recap(done.stdout)))
        return done.stdout

    def ctl(self, *words):
        done = subprocess.run([self.build / "cli/vmsrsctl", "--fleet", self.work / "fleet.yaml", *words], check=False, text=True,
                              capture_output=True, timeout=300)
        require(done.returncode == 0, f"vmsrsctl {' '.join(words)}: {done.returncode} {done.stdout} {done.stderr}")
        return done.stdout

    def install_services(self, machine, port):
        """Not yet protected."""
        self.repository.introduce(machine, port)
        machine.run("DEBIAN_FRONTEND=noninteractive apt-get -q -y install memcached", 900)
        machine.run("rm /etc/apt/sources.list.d/vmsrs.list /etc/apt/keyrings/key.gpg && apt-get -q update")
        stripped = self.work / "bookshop"
        subprocess.run(["strip", "-o", stripped, self.build / "examples/bookshop/bookshop"], check=True)
        machine.copy_to(stripped, CATALOGUE, to="/opt")
        machine.run("id -u shop >/dev/null 2>&1 || useradd -r shop; cat >/etc/systemd/system/bookshop.service && systemctl enable bookshop",
                    stdin=SHOP_UNIT)


class Receiver:
    """Alertmanager's webhook: which alerts it has told, as (name, status)."""

    def __init__(self):
        told = self.told = []

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend((alert["labels"]["alertname"], alert["status"]) for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Shopper:
    """A connection to the book shop."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.stream = self.connection.makefile("rw", newline="\n")

    def ask(self, line):
        self.stream.write(line + "\n")
        self.stream.flush()
        return self.stream.readline().strip()


def boot_words(machine):
    return dict(line.split(None, 1) for line in machine.run("vmsrs-boot status").splitlines())


CACHE_CLIENT = """import socket
stream = socket.create_connection(("127.0.0.1", 11211), 60).makefile("rwb")
for line in (b"set a 0 0 4", b"VMS1", b"get a", b"quit"):
    stream.write(line + b"\\r\\n")
stream.flush()
print(stream.read().decode().split())
"""


def require_crash_contained(here, name, machine):
    """A user of the book shop crashes, and stays; another one goes on. The crashed one's connection."""
    crashing, normal = Shopper(machine.ports["shop"]), Shopper(machine.ports["shop"])
    for line in ("HELLO 1", "BEGIN", "ADD 3 1", "ADD 4 1"):
        crashing.ask(line)
    require(normal.ask("HELLO 2").startswith("WELCOME"), "another user is served")
    require(normal.ask("READ 3").startswith("ROW 3 "), "and reads what the first had bought")
    users = json.loads(here.ctl("--host", name, "users", "list", "--crashed", "--output", "json"))["users"]
    require([user["server"] for user in users] == ["bookshop"], f"{name}: vmsrsctl lists the crashed user: {users}")
    return crashing


def require_collected(here, name, machine, crashing):
    here.ctl("--host", name, "gc", "--yes")
    said = crashing.ask("CHECKOUT")
    require("FAILED" in said, f"the crashed user is told: {said}")
    status = json.loads(here.ctl("--host", name, "status", "--output", "json"))
    require(sum(status["restores"].values()) > 0, f"restores: {status['restores']}")
    require(machine.run("systemctl show -P NRestarts bookshop").strip() == "0", "the shop was never started again")


def require_cache_protected(here, name, machine):
    said = machine.run("python3 -", stdin=CACHE_CLIENT)
    require("VMS1" in said, f"memcached serves: {said}")
    servers = json.loads(here.ctl("--host", name, "servers", "list", "--output", "json"))["servers"]
    cache, = (server for server in servers if server["name"] == "cache")
    require(cache["attached"] and cache["users_begun"] > 0, f"it is attached, and its requests are users: {cache}")


def site(stack, folder, build, work):
    here = Site(folder, build, work)
    shop = here.machine(stack, "shop1", forward={"api": 9471, "metrics": 9470, "shop": 7070})
    control = here.machine(stack, "control", forward={"api": 9471, "metrics": 9470, "shop": 7070, "prometheus": 9090})
    receiver = Receiver()
    step("two bare hosts start")
    for machine in (shop, control):
        machine.wait_until_up()
    here.repository.put(*here.packages, *repository.download(here.downloaded, control, *MONITORING_PACKAGES, "memcached"))
    port = stack.enter_context(here.repository.serve())
    for machine in (shop, control):
        here.install_services(machine, port)
    hook = {"name": "test", "webhook_configs": [{"url": f"http://10.0.2.2:{receiver.port}/", "send_resolved": True}]}
    here.write_inventory(port, {"shop1": {}, "control": {"vmsrs_platform": "hosted"}}, "control", **SERVERS,
                         monitoring_receivers=[hook], monitoring_default_receiver="test",
                         # An emulated processor takes long for everything.
                         monitoring_routes=[{"matchers": ['alertname="VmsrsOverheadHigh"'], "receiver": "nobody"}],
                         monitoring_group_wait_s=1, monitoring_prometheus_listen="0.0.0.0:9090")

    refused = here.play("site.yml", "--tags", "preflight", "--limit", "shop1", "-e", '{"hypervisor_accept_losses": []}', code=2)
    require("would lose under VMSRS" in " ".join(refused.split()), "the preflight says what the host would lose")
    here.play("site.yml", "--check")
    require(all(machine.ssh("test -e /etc/vmsrs").returncode != 0 for machine in (shop, control)), "check mode changes nothing")
    step("a host whose apt is broken")
    shop.run("echo broken >/etc/apt/sources.list.d/broken.list")
    refused = here.play("site.yml", "--limit", "shop1", code=2)
    require("/etc/apt/sources.list.d/broken.list" in refused, "what is broken is named")
    shop.run("rm /etc/apt/sources.list.d/broken.list")
    here.play("site.yml")
    words = boot_words(shop)
    require(words["running"] == words["default"] and words["running"].startswith("vmsrs-"), f"VMSRS runs and is the default: {words}")
    again = recap(here.play("site.yml"))
    require(all(counts["changed"] == 0 for counts in again.values()), f"a second run changes nothing: {again}")
    here.play("verify.yml")
    for name, machine in here.machines.items():
        require_cache_protected(here, name, machine)

    step("a user crashes on vmsrs-hosted; others go on")
    require_collected(here, "control", control, require_crash_contained(here, "control", control))
    wait_until("what may have fired is over", lambda: sorted(told for told, status in receiver.told if status == "firing")
               == sorted(told for told, status in receiver.told if status == "resolved"))
    receiver.told.clear()
    step("and on the hypervisor; the alert")
    crashing = require_crash_contained(here, "shop1", shop)
    # On an emulated machine the user may stay for less than the time to the next alert; that one says the same, louder.
    wait_until("an alert of suppression", lambda: any(name.startswith("VmsrsSuppression") and status == "firing" for name, status in receiver.told))
    require_collected(here, "shop1", shop, crashing)
    fired = {name for name, _ in receiver.told}
    wait_until("the alerts resolve", lambda: {name for name, status in receiver.told if status == "resolved"} >= fired)
    require(all(name.startswith("VmsrsSuppression") for name in fired), f"nothing else fires: {receiver.told}")
    query = f"http://127.0.0.1:{control.ports['prometheus']}/api/v1/query?query=vmsrs_up"
    with urllib.request.urlopen(query, timeout=60) as answer:
        results = json.load(answer)["data"]["result"]
    require(sorted((sample["metric"]["instance"], sample["value"][1]) for sample in results) == [("control", "1"), ("shop1", "1")],
            f"Prometheus has them: {results}")

    here.play("rollback.yml")
    words = boot_words(shop)
    require(words["running"] == "Linux alone", f"Linux alone runs: {words}")
    for machine in (shop, control):
        require(machine.ssh("grep -l vmsrs /proc/$(pidof memcached)/maps").stdout == "", "memcached is what it was")
        require("VMS1" in machine.run("python3 -", stdin=CACHE_CLIENT), "and serves")
    counts = recap(here.play("rollback.yml"))
    require(all(its["changed"] == 0 for its in counts.values()), f"a second rollback changes nothing: {counts}")

    here.play("uninstall.yml", "-e", "vmsrs_purge=true")
    for machine in (shop, control):
        left = machine.ssh("dpkg-query -W -f '${Status} ${Package}\\n' '*vmsrs*' 2>/dev/null | grep -v 'not-installed'").stdout
        require(left == "", f"no package is left: {left}")
    require(shop.ssh("grep vmsrs /boot/grub/grub.cfg; ls /boot | grep vmsrs").stdout == "", "nothing of it boots")
    again = recap(here.play("uninstall.yml"))
    require(all(its["changed"] == 0 for its in again.values()), f"a second time changes nothing: {again}")


def unfit(stack, folder, build, work):
    here = Site(folder, build, work)
    here.repository.put(*here.packages)
    port = stack.enter_context(here.repository.serve())

    def started(name, firmware="bios", **outfit):
        """The host with another outfit: a processor, memory, a clock."""
        machine = here.machine(stack, name, firmware, forward={"api": 9471, "metrics": 9470}, **outfit)
        machine.wait_until_up()
        here.write_inventory(port, {name: {}})
        return machine

    def refuse(machine, *reasons):
        said = " ".join(here.play("site.yml", code=2).split()).replace("''", "'")  # of YAML's quotes
        require(said.count("cannot run VMSRS, and nothing was changed") == 1, "one message")
        for reason in reasons:
            require(reason in said, f"{reason}: {said}")
        require(machine.ssh("test -e /etc/vmsrs || test -e /etc/apt/sources.list.d/vmsrs.list").returncode != 0, "nothing was changed")
        machine.power_off()

    step("another processor, little memory, a wrong clock")
    refuse(started("shop1", cpu="Skylake-Server", memory=600, options=("-rtc", "base=2024-02-29T12:00:00")),
           "the processor is GenuineIntel: VMSRS needs one of AMD", "too little memory", "s off this controller's")
    step("no SVM, another release")
    machine = started("shop1", cpu="EPYC,-svm")
    machine.run("cp /etc/os-release /root && sed -i 's/^VERSION_ID=.*/VERSION_ID=\"11\"/' /etc/os-release")
    refuse(machine, "the processor offers no SVM: switch it on", "expected debian 12 on x86_64, found debian 11")
    step("as it should be")
    machine = started("shop1")
    machine.run("cp /root/os-release /etc/os-release")
    here.play("site.yml", "--tags", "preflight")
    machine.power_off()

    step("Secure Boot: on, then off")
    machine = started("shop2", "ovmf")
    here.repository.put(*repository.download(here.downloaded, machine, "shim-signed", "grub-efi-amd64-signed"))
    here.repository.introduce(machine, port)
    machine.run("""export DEBIAN_FRONTEND=noninteractive
        apt-get -q -y install shim-signed grub-efi-amd64-signed && mount /boot/efi; mountpoint /boot/efi &&
        grub-install --target=x86_64-efi --uefi-secure-boot --force-extra-removable --no-nvram &&
        rm /etc/apt/sources.list.d/vmsrs.list""", 1800)
    machine.power_off()
    machine = started("shop2", "secure_boot")
    refuse(machine, "Secure Boot is on: switch it off in the firmware's setup")
    machine = started("shop2", "ovmf")
    here.write_inventory(port, {"shop2": {"hypervisor_accept_losses": ["sleep", "efi"]}})
    here.play("site.yml")
    require(boot_words(machine)["running"].startswith("vmsrs-"), "by the signed GRUB, into VMSRS")


def upgrade(stack, folder, build, work):
    here = Site(folder, build, work)
    names = ["shop1", "shop2"]
    for name, firmware in zip(names, ("bios", "ovmf")):
        here.machine(stack, name, firmware, forward={"api": 9471, "metrics": 9470})
    step("two bare hosts start")
    for machine in here.machines.values():
        machine.wait_until_up()
    here.repository.put(*here.packages)
    port = stack.enter_context(here.repository.serve())
    drained = work / "drain.yml"
    drained.write_text("- name: Take the load away\n  ansible.builtin.shell: date >>/root/drained\n  changed_when: true\n")
    here.write_inventory(port, dict.fromkeys(names, {}), vmsrs_drain_tasks=str(drained), hypervisor_accept_losses=["sleep", "efi"])
    step("a host whose disk is full")
    shop1, shop2 = (here.machines[name] for name in names)
    shop1.run("fallocate -l $(($(df --output=avail -B1 /var | tail -n 1) - 60000000)) /var/filler")
    refused = here.play("site.yml", "--limit", "shop1", code=2)
    require("MiB free, 128 are needed" in refused, "what is missing is told")
    require(shop1.ssh("test -e /etc/vmsrs").returncode != 0, "nothing was changed")
    shop1.run("rm /var/filler")
    here.play("site.yml")

    def version_of(name):
        return here.machines[name].run("dpkg-query -W -f '${Version}' vmsrs-hypervisor")
    old = version_of("shop1")
    ours = [package for package in here.packages if package.name.startswith(("vmsrsd_", "vmsrsctl_", "vmsrs-hypervisor_"))]
    newer = f"{old}+good"
    here.repository.put(*(repository.renumbered(package, work, newer) for package in ours))
    step("an upgrade in the middle of which the second host loses its power")
    cut = threading.Thread(target=lambda: (wait_until("the first host is drained", lambda: shop1.ssh("test -e /root/drained").returncode == 0, 7200), shop2.kill()))
    cut.start()
    said = here.play("upgrade.yml", code=4)
    cut.join()
    require(recap(said)["shop2"]["unreachable"] == 1 and version_of("shop1") == newer, "the first host was upgraded, the second one is gone")
    shop2.start()
    shop2.wait_until_up()
    require(version_of("shop2") == old and boot_words(shop2)["running"].startswith("vmsrs-"), "it is protected again, as it was")
    here.play("upgrade.yml")
    require([version_of(name) for name in names] == [newer, newer], "both have the newer version")
    drained = [machine.run("wc -l </root/drained").strip() for machine in (shop1, shop2)]
    require(drained == ["2", "1"], f"each was drained in each run that came to it: {drained}")

    step("an upgrade whose hypervisor is none")
    bad = f"{old}+worse"
    here.repository.put(*(repository.renumbered(package, work, bad, [("boot/vmsrs-hypervisor.elf32", lambda image: image[:64])]
                                                if package.name.startswith("vmsrs-hypervisor_") else ()) for package in ours))
    said = " ".join(here.play("upgrade.yml", code=2).split())
    require("shop1" in said and ("no entry of VMSRS" in said or "the trial of VMSRS has failed" in said), "the first host's failure is told")
    require(version_of("shop2") == newer, "the second host was not touched")
    require(shop2.run("wc -l </root/drained").strip() == "1", "and not drained")
    require(boot_words(shop2)["running"].startswith("vmsrs-"), "and is protected")


SCENARIOS = {"site": site, "unfit": unfit, "upgrade": upgrade}


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in SCENARIOS:
        sys.exit(__doc__)
    folder, build = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="run.")))
        SCENARIOS[sys.argv[3]](stack, folder, build, work)
    step("done")


if __name__ == "__main__":
    main()
