# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154  # variables are shared with quickstart.sh
# What must be there before anything is started: each missing thing is one line.

least_memory_mib=2048
least_disk_mib=3072

check_root() {
  [[ $(id -u) == 0 ]] || fail "needs root: it installs Debian packages and starts a virtual machine"
}

check_debian() {
  command -v apt-get >/dev/null || fail "needs Debian 12: there is no apt-get here"
  [[ $(uname -m) == x86_64 ]] || fail "needs an x86-64 processor, this is $(uname -m)"
}

check_memory() {
  local free
  free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' "${VMSRS_MEMINFO:-/proc/meminfo}")
  ((free >= least_memory_mib)) ||
    fail "too little memory: $free MiB are free, $least_memory_mib MiB are needed"
}

check_disk() { # directory
  local free
  free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
  ((free >= least_disk_mib)) ||
    fail "too little disk space: $free MiB are free below $1, $least_disk_mib MiB are needed"
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Sets shop_port, metrics_port and api_port: those that were asked for (--ports), else free ones.
choose_ports() {
  local port
  if [[ -n $ports ]]; then
    IFS=, read -r shop_port metrics_port api_port <<<"$ports"
    for port in "$shop_port" "$metrics_port" "$api_port"; do
      port_is_free "$port" || fail "port $port of 127.0.0.1 is used by another program; see --ports"
    done
    return
  fi
  read -r shop_port metrics_port api_port < <(free_ports 3)
  [[ -n $api_port ]] || fail "no free port on 127.0.0.1"
}

# Prints so many that nothing on 127.0.0.1 listens on, on one line.
free_ports() { # count
  python3 - "$1" <<'PYTHON'
import socket
import sys
probes = [socket.socket() for _ in range(int(sys.argv[1]))]
for probe in probes:
    probe.bind(("127.0.0.1", 0))
print(*(probe.getsockname()[1] for probe in probes))
PYTHON
}
