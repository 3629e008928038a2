#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long `vmsrsctl fleet` takes over a fleet of synthetic hosts in a real Prometheus.

usage: fleet_queries.py HOSTS

Loads a block of four samples of every series that the verbs ask for, checks that the
answers are what was loaded, and prints for each verb: queries, seconds until Prometheus had answered,
seconds of processors that Prometheus and the command took, and what they take of memory at most. Fails
above the bounds below; that of time is of processors, as machines for tests are busy."""
import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from daemon_site import CTL, eventually, free_port
from fleet_site import FakeServer, Folder

MOST_QUERIES = 2
MOST_SECONDS = 10  # of processors, Prometheus and command together
KINDS = ("wild", "null", "non_canonical", "bus", "arithmetic", "illegal", "abort", "check", "storage",
         "stack", "operator")
CAUSES = ("demand", "crash", "collection", "sweep")
REASONS = ("vmmcall", "cpuid", "msr", "nested_page_fault", "apic", "nmi", "init", "svm_instruction",
           "interrupt", "other")
CPUS = 2
HERTZ = 2_000_000_000
AGES = (600, 300, 30, 0)  # of the samples, in seconds: two and more in every range that is asked for


def suppressed(host):
    return host % 1000 == 7


def down(host):
    return host % 500 == 3


# Metric: type, its label sets, and its value for a host, at so many seconds.
FAMILIES = {
    "up": ("gauge", ({},), lambda host, labels, s: int(not down(host))),
    "vmsrs_up": ("gauge", ({},), lambda host, labels, s: 1),
    "vmsrs_tsc_hertz": ("gauge", ({},), lambda host, labels, s: HERTZ),
    "vmsrs_cpus": ("gauge", ({},), lambda host, labels, s: CPUS),
    "vmsrs_recovery_region_bytes": ("gauge", ({},), lambda host, labels, s: 62914560),
    "vmsrs_recovery_region_used_bytes": ("gauge", ({},), lambda host, labels, s: 3145728),
    "vmsrs_server_attached": ("gauge", ({"server": "shop"},), lambda host, labels, s: 1),
    "vmsrs_server_active_users": ("gauge", ({"server": "shop"},), lambda host, labels, s: 3),
    "vmsrs_suppressed_users": ("gauge", ({"server": "shop"},),
                               lambda host, labels, s: int(suppressed(host))),
    "vmsrs_stuck_users": ("gauge", ({"server": "shop"},), lambda host, labels, s: 0),
    "vmsrs_server_storage_used_bytes": ("gauge", ({"server": "shop"},),
                                        lambda host, labels, s: 3145728),
    "vmsrs_oldest_suppression_start_timestamp_seconds":
        ("gauge", ({"server": "shop"},), lambda host, labels, s: None),  # see lines()
    "vmsrs_user_faults": ("counter", tuple({"server": "shop", "kind": kind} for kind in KINDS),
                          lambda host, labels, s: s // 100 if labels["kind"] == "wild" else 0),
    "vmsrs_restores": ("counter", tuple({"server": "shop", "cause": cause} for cause in CAUSES),
                       lambda host, labels, s: s if labels["cause"] == "demand" else 0),
    "vmsrs_users_begun": ("counter", ({"server": "shop"},), lambda host, labels, s: s * (host % 90)),
    "vmsrs_suppressed_stores": ("counter", ({"server": "shop"},), lambda host, labels, s: 0),
    # A share of the time of (host % 100) in 100,000, all of it for one reason.
    "vmsrs_hypervisor_cycles": (
        "counter", tuple({"reason": reason, "cpu": str(cpu)} for reason in REASONS
                         for cpu in range(CPUS)),
        lambda host, labels, s: s * HERTZ // 100_000 * (host % 100)
        if labels["reason"] == "vmmcall" else 0),
}
GONE_WHEN_DOWN = set(FAMILIES) - {"up"}


def lines(hosts, now, ages):
    """The samples as OpenMetrics text; a host that is down has `up` alone."""
    for name, (kind, label_sets, value_of) in FAMILIES.items():
        yield f"# TYPE {name} {kind}\n"
        metric = name + ("_total" if kind == "counter" else "")
        oldest = "oldest" in name
        for host in range(hosts):
            if (down(host) and name in GONE_WHEN_DOWN) or (oldest and not suppressed(host)):
                continue
            for labels in label_sets:
                text = "".join(f',{key}="{value}"' for key, value in labels.items())
                series = f'{metric}{{job="vmsrs",instance="host{host:05}",site="site{host % 10}"{text}}}'
                for age in ages:
                    value = now - 60 - host if oldest else value_of(host, labels, ages[0] - age + 600)
                    yield f"{series} {value} {now - age}\n"


class Proxy:
    """Asks Prometheus at the time of the samples, and counts queries and seconds."""

    def __init__(self, url, now):
        self.url, self.now, self.queries, self.seconds = url, now, 0, 0.0
        self.server = FakeServer(self.answer)

    def answer(self, _method, path, body):
        begin = time.monotonic()
        request = urllib.request.Request(
            self.url + path, (body + "&" + urllib.parse.urlencode({"time": self.now})).encode())
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                result = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            result = error.code, error.read().decode()
        self.queries += 1
        self.seconds += time.monotonic() - begin
        return result


def peak_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def processor_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(folder, proxy, *words):
    """The document of a verb; the command's seconds of a processor and peak of memory in MiB."""
    proxy.queries, proxy.seconds = 0, 0.0
    with subprocess.Popen([CTL, "--fleet", folder.path / "fleet.yaml", "--timeout", "600", "-o", "json",
                           *words], stdout=subprocess.PIPE, text=True) as process:
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{words}: exit code {process.returncode}")
    return json.loads(text), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def expect(name, found, wanted):
    if found != wanted:
        raise SystemExit(f"{name}: {found} instead of {wanted}")


def check_status(status, hosts):
    gone = sum(down(host) for host in range(hosts))
    crashed = [host for host in range(hosts) if suppressed(host) and not down(host)]
    expect("hosts", status["hosts"], hosts)
    expect("down", len(status["down"]), gone)
    expect("protected", status["protected"], hosts - gone)
    expect("not scraped", status["not_scraped"], [])
    expect("suppressed", status["suppressed_users"], len(crashed))
    expect("oldest", status["oldest_suppression"]["host"], f"host{crashed[-1]:05}")
    expect("region", status["recovery_region_bytes"], (hosts - gone) * 62914560)
    expect("kinds", sorted(status["faults_last_hour"]), sorted(KINDS))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hosts", type=int)
    options = parser.parse_args()
    hosts = options.hosts
    now = int(time.time()) // 7200 * 7200 - 60
    ages = AGES
    folder = Folder()
    with contextlib.ExitStack() as stack:
        stack.callback(folder.remove)
        data = folder.path / "data"
        begin = time.monotonic()
        metrics = folder.path / "metrics.txt"
        count = 0
        with open(metrics, "w", encoding="ascii") as file:
            for line in lines(hosts, now, ages):
                file.write(line)
                count += not line.startswith("#")
            file.write("# EOF\n")
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", metrics, data],
                       check=True, stdout=subprocess.DEVNULL)
        metrics.unlink()
        print(f"{hosts} hosts, {count // len(ages)} series, {count} samples: loaded in "
              f"{time.monotonic() - begin:.0f} s")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        (folder.path / "prometheus.yml").write_text("{}\n")
        log = stack.enter_context(open(folder.path / "prometheus.log", "wb"))
        prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={folder.path}/prometheus.yml", f"--storage.tsdb.path={data}",
             f"--web.listen-address=127.0.0.1:{port}", "--query.timeout=10m", "--log.level=warn"],
            stderr=log, stdout=log)
        stack.callback(prometheus.wait, 60)
        stack.callback(prometheus.terminate)

        def ready():
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(url + "/-/ready", timeout=1) as answer:
                    return answer.status == 200
            return False
        if not eventually(ready, 120):
            raise SystemExit((folder.path / "prometheus.log").read_text())
        proxy = Proxy(url, now)
        stack.callback(proxy.server.stop)
        folder.write_fleet([(f"host{host:05}", 9471, {"site": f"site{host % 10}"})
                            for host in range(hosts)],
                           prometheus={"url": f"http://127.0.0.1:{proxy.server.port}"})
        slow = []
        for words in (("hosts", "list"), ("fleet", "status"), ("fleet", "status"),
                      ("fleet", "status", "--label", "site=site3"), ("fleet", "top"),
                      ("fleet", "top", "--by", "host"), ("fleet", "worst"),
                      ("fleet", "worst", "--by", "faults"), ("fleet", "worst", "--by", "overhead")):
            words = (*words[2:], *words[:2]) if "--label" in words else words
            before = processor_seconds(prometheus)
            document, own, mib = timed(folder, proxy, *words)
            theirs = processor_seconds(prometheus) - before
            print(f"{' '.join(words):38} {proxy.queries} queries, answered in {proxy.seconds:6.2f} s; "
                  f"processors: Prometheus {theirs:6.2f} s, command {own:5.2f} s; "
                  f"memory: {peak_mib(prometheus):5.0f} and {mib:4.0f} MiB", flush=True)
            if proxy.queries > MOST_QUERIES or own + theirs > MOST_SECONDS:
                slow.append(" ".join(words))
            if words == ("fleet", "status"):
                check_status(document, hosts)
            if words == ("fleet", "worst", "--by", "faults"):
                expect("most faults", document["hosts"][0]["faults_last_hour"] >= 6, True)
            if words == ("fleet", "top"):
                expect("servers", len(document["servers"]), 1)
            if words == ("fleet", "worst", "--by", "overhead"):
                share = document["hosts"][0]["overhead_share"]
                expect("the worst share", round(share * 100_000), 99)
        if slow:
            raise SystemExit(f"more than {MOST_QUERIES} queries, or {MOST_SECONDS} s: " + ", ".join(slow))
    return 0


if __name__ == "__main__":
    sys.exit(main())
