# SPDX-License-Identifier: Apache-2.0
"""What the playbooks decide: whether a host can run VMSRS and what it would lose, which hosts the fleet has, and their names."""

from __future__ import annotations

import ipaddress
import re

from ansible.errors import AnsibleFilterError

MIB = 1024
SIZES = {"K": 1, "M": MIB, "G": MIB * MIB}


def vmsrs_facts(lines):
    """The lines NAME=VALUE of preflight.sh or boot-state.sh as a dictionary."""
    return dict(line.split("=", 1) for line in lines if "=" in line)


def hidden_kib(hidden, memory_kib):
    """How much memory the hypervisor's option hidden= takes; KiB."""
    share = re.fullmatch(r"(\d+)%", hidden)
    if share:
        return memory_kib * int(share[1]) // 100
    size = re.fullmatch(r"(\d+)([KMG])", hidden)
    if not size:
        raise AnsibleFilterError(f"hypervisor_hidden: expected a size such as 512M or a share such as 10%, got '{hidden}'")
    return int(size[1]) * SIZES[size[2]]


def processor_errors(facts):
    flags = facts["flags"].split()
    if facts["xen"]:
        yield f"runs below another hypervisor that keeps SVM to itself (Xen: {facts['xen']})"
    if facts["vendor"] not in ("AuthenticAMD", "HygonGenuine"):
        yield f"the processor is {facts['vendor'] or 'unknown'}: VMSRS needs one of AMD with SVM (or vmsrs_platform: hosted)"
    elif "svm" not in flags:
        yield "the processor offers no SVM: switch it on in the firmware's setup (a virtual machine: let it have the flag svm)"
    elif facts["vm_cr"] and int(facts["vm_cr"]) & 0x10:
        yield "SVM is switched off: switch it on in the firmware's setup"
    elif "npt" not in flags:
        yield "the processor has no nested paging (npt)"
    if "nx" not in flags:
        yield "the processor has no NX, or the firmware has switched it off"
    if int(facts["cpus"]) > 64:
        yield f"{facts['cpus']} processors: VMSRS knows 64 at most"


def firmware_errors(facts):
    if facts["secure_boot"] == "1":
        yield "Secure Boot is on: switch it off in the firmware's setup (the image is not signed)"
    if facts["grub"] != "yes":
        yield "GRUB does not start this host (no update-grub, or no /boot/grub/grub.cfg)"
    unsuited = [kind for kind in facts["boot_device"].split()
                if kind in ("lvm", "crypt") or kind.startswith("raid") or kind.startswith("md")]
    if unsuited or facts["boot_filesystem"] in ("btrfs", "zfs"):
        yield (f"GRUB cannot write to /boot/grub ({' '.join(unsuited) or facts['boot_filesystem']}), so a trial boot "
               "would never end: put /boot on ext4 on a plain partition")


def system_errors(facts, settings):
    if facts["release"] != settings["release"] or facts["machine"] != "x86_64":
        yield f"expected {settings['release']} on x86_64, found {facts['release']} on {facts['machine']}"
    if facts["systemd"] != "yes":
        yield "systemd is not the first process"
    skew = max(settings["begin"] - int(facts["clock"]), int(facts["clock"]) - settings["end"], 0)
    if skew > settings["clock_skew_s"]:
        yield (f"the clock is {round(skew)} s off this controller's (at most {settings['clock_skew_s']}): certificates "
               "and events need a right one; set it (timedatectl, chrony)")
    for folder, wanted in settings["free_mib"].items():
        there = facts.get(f"free{folder}")
        if not there or int(there) < wanted:
            yield f"{folder} has {there or 'no'} MiB free, {wanted} are needed"
    if facts["dpkg"]:
        yield f"packages are half-installed: {facts['dpkg']} (dpkg --configure -a, apt --fix-broken install)"
    if facts["apt"]:
        yield f"apt is broken: {facts['apt']}"


def memory_errors(facts, settings):
    memory = int(facts["memory_kib"])
    hidden = hidden_kib(settings["hidden"], memory)
    if memory - hidden < settings["linux_mib"] * MIB:
        yield (f"too little memory: of {memory // MIB} MiB {hidden // MIB} would be hidden (hypervisor_hidden: "
               f"{settings['hidden']}), and Linux would have less than {settings['linux_mib']} MiB")


def losses(facts):
    """What this host has or does and would not below VMSRS: name and words."""
    found = {}
    if facts["kvm_users"] or facts["kvm_defined"]:
        there = [f"{what} {facts[key]}" for what, key in (("running:", "kvm_users"), ("defined:", "kvm_defined")) if facts[key]]
        found["kvm"] = f"virtual machines: KVM finds no SVM ({'; '.join(there)})"
    if facts["vfio"]:
        found["vfio"] = f"devices handed to programs by VFIO: Linux finds no IOMMU ({facts['vfio']})"
    if "deep" in facts["mem_sleep"] and facts["sleep_target"] != "masked":
        found["sleep"] = "sleep and hibernation (S1 to S4) are refused; a host whose sleep.target is masked does not lose them"
    if int(facts["crash_kernel"] or 0) > 0:
        found["kdump"] = ("the way after a panic: the crash kernel runs first and its restart starts Linux again on VMSRS, or none "
                          "runs (hypervisor_options: kdump=skipped)")
    if facts["efi"] == "yes":
        found["efi"] = "services of the UEFI firmware: efibootmgr, mokutil, dmidecode, capsule updates"
    return found


def vmsrs_preflight(facts, settings):
    """{"errors": [text], "losses": {name: text}, "not_accepted": [name]}; `facts` as preflight.sh tells them.

    On a host that runs below VMSRS already, what it hides (SVM, memory, firmware) is not asked again.
    """
    below = bool(facts["entry"]) and not facts["fallback"]
    errors = list(system_errors(facts, settings))
    if settings["hypervisor"] and not below:
        errors += [*processor_errors(facts), *firmware_errors(facts), *memory_errors(facts, settings)]
    lost = losses(facts) if settings["hypervisor"] and not below else {}
    accepted = settings["accept_losses"]
    known = {"kvm", "vfio", "sleep", "kdump", "efi"}
    if set(accepted) - known:
        raise AnsibleFilterError(f"hypervisor_accept_losses: expected some of {', '.join(sorted(known))}, "
                                 f"got {', '.join(sorted(set(accepted) - known))}")
    return {"errors": errors, "losses": lost, "not_accepted": [name for name in lost if name not in accepted]}


def vmsrs_fleet(names, hostvars, port, elsewhere):
    """Of each host: name, address with the port, labels, and the platform that is expected.

    `elsewhere`: the host's variable that names another address and port, if the host has it.
    """
    fleet = []
    for name in names:
        its = hostvars[name]
        address = its.get("vmsrs_address") or its.get("ansible_host") or name
        reached = its.get(elsewhere) or (f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        fleet.append({"name": name, "address": reached,
                      "labels": {key: str(value) for key, value in its.get("vmsrs_labels", {}).items()},
                      "platform": its.get("vmsrs_platform", "hypervisor")})
    return fleet


def vmsrs_alternative_names(names):
    """DNS:NAME or IP:ADDRESS of each, once; addresses as openssl prints them."""
    found = []
    for name in names:
        try:
            address = ipaddress.ip_address(name)
            text = str(address) if address.version == 4 else ":".join(
                f"{int(group, 16):X}" for group in address.exploded.split(":"))
            word = f"IP:{text}"
        except ValueError:
            word = f"DNS:{name}"
        if name and word not in found:
            found.append(word)
    return found


class FilterModule:
    def filters(self):
        return {"vmsrs_facts": vmsrs_facts, "vmsrs_preflight": vmsrs_preflight, "vmsrs_fleet": vmsrs_fleet,
                "vmsrs_alternative_names": vmsrs_alternative_names}
