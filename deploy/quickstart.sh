#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a clean clone to a book shop whose users survive each other's crashes, by one command.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail

program=quickstart
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$top/deploy/lib/messages.sh"
source "$top/deploy/lib/checks.sh"
source "$top/deploy/lib/packages.sh"
source "$top/deploy/lib/build.sh"
source "$top/deploy/lib/secrets.sh"
source "$top/deploy/lib/machine.sh"
source "$top/deploy/lib/unpacked.sh"
source "$top/deploy/lib/monitoring.sh"

usage() {
  cat <<'USAGE'
usage: deploy/quickstart.sh [options]

Installs the Debian packages that are needed, builds, boots Debian's kernel on the VMSRS hypervisor in
QEMU, lets 20 users use a book shop while two of them crash, and judges what the others were shown.

  --output text|json   what the result on stdout looks like (text); progress always goes to stderr
  --keep               leave the machine running, with the shop, the metrics and the API within reach
  --monitoring         with --keep: Debian's Prometheus and Alertmanager watch the machine, from loopback; a third user
                       crashes and lingers until an alert fires, and is resolved
  --without-vmsrs      the same machine and shop without hypervisor and library: the server must die
  --early-unlock       the shop lets go of its locks too early, to show what VMSRS cannot repair
  --fault KIND         how users 1 and 7 crash: wild (default), null, div, hole, scribble
  --users N            8 to 200 (20)
  --seed N             of everything random, 0 to 2147483647 (1)
  --cpus N             processors of the machine, 1 to 8 (2)
  --ports A,B,C        ports of 127.0.0.1 for the shop, the metrics and the API (free ones)
  --help

Exit codes: 0 everything held, 1 something did not (one line says what), 2 a wrong option.
USAGE
}

output=text keep=no with_vmsrs=yes early_unlock=no fault=wild users=20 seed=1 cpus=2 ports=''
monitoring=no

number() { # option value low high
  if [[ ! $2 =~ ^(0|[1-9][0-9]{0,9})$ ]] || (($2 < $3 || $2 > $4)); then
    wrong "$1: expected a number from $3 to $4, got '$2'"
  fi
}

parse_options() {
  local option value
  while (($# > 0)); do
    option=$1
    shift
    case $option in
      --help) usage && exit 0 ;;
      --keep) keep=yes && continue ;;
      --monitoring) monitoring=yes && continue ;;
      --without-vmsrs) with_vmsrs=no && continue ;;
      --early-unlock) early_unlock=yes && continue ;;
      --output | --fault | --users | --seed | --cpus | --ports) ;;
      --*=*)
        set -- "${option%%=*}" "${option#*=}" "$@"
        continue
        ;;
      *) wrong "unknown option '$option'" ;;
    esac
    (($# > 0)) || wrong "$option: a value is missing"
    value=$1
    shift
    case $option in
      --output)
        [[ $value == text || $value == json ]] || wrong "--output: expected text or json, got '$value'"
        output=$value
        ;;
      --fault)
        [[ $value =~ ^(wild|null|div|hole|scribble)$ ]] ||
          wrong "--fault: expected wild, null, div, hole or scribble, got '$value'"
        fault=$value
        ;;
      --users) number "$option" "$value" 8 200 && users=$value ;;
      --seed) number "$option" "$value" 0 2147483647 && seed=$value ;;
      --cpus) number "$option" "$value" 1 8 && cpus=$value ;;
      --ports)
        [[ $value =~ ^[1-9][0-9]{0,4},[1-9][0-9]{0,4},[1-9][0-9]{0,4}$ ]] ||
          wrong "--ports: expected three numbers with commas between them, got '$value'"
        ports=$value
        for value in ${value//,/ }; do number --ports "$value" 1 65535; done
        ;;
    esac
  done
  [[ $with_vmsrs == yes || $early_unlock == no ]] ||
    wrong "--early-unlock shows the limits of VMSRS: it makes no sense with --without-vmsrs"
  [[ $monitoring == no || $keep$with_vmsrs == yesyes ]] ||
    wrong "--monitoring needs --keep, and makes no sense with --without-vmsrs"
}

run='' machine_pid='' forward_pid='' kept=no

# shellcheck disable=SC2317  # called by the trap
clean_up() {
  local code=$?
  trap - EXIT INT TERM HUP
  if [[ $kept == no ]]; then
    stop_machine
    if [[ -n $run ]]; then
      if ((code != 0)) && [[ -s $run/console.log ]]; then
        mkdir -p "$top/build/quickstart-failed"
        cp "$run"/*.log "$top/build/quickstart-failed/" 2>/dev/null
        say "the machine's logs are in build/quickstart-failed"
      fi
      rm -rf "$run"
    fi
  fi
  exit "$code"
}

boot() {
  choose_accelerator
  local below=''
  [[ $with_vmsrs == no ]] || below=' on the VMSRS hypervisor'
  say "booting Debian's $(cat "$kernel/version")$below: $cpus processors, accelerator $accelerator"
  start_machine
  if ! wait_for_machine; then
    # Without a sign of life: a known defect of the hypervisor (docs/hypervisor.md, "Known defect").
    [[ $accelerator == kvm || $silent == yes ]] || fail "the machine did not come up"
    say "trying once more, without KVM"
    stop_machine
    accelerator=tcg
    start_machine
    wait_for_machine || fail "the machine did not come up"
  fi
}

run_judge() {
  local mode=protected arguments=()
  [[ $early_unlock == no ]] || mode=early-unlock
  if [[ $with_vmsrs == yes ]]; then
    arguments+=(--metrics "http://127.0.0.1:$metrics_port/metrics" --vmsrsctl "$build/cli/vmsrsctl"
      --api "$run/api.sock")
  else
    mode=unprotected
  fi
  PYTHONPATH=$top/tests/scenario PYTHONDONTWRITEBYTECODE=1 python3 -m judge \
    --shop "127.0.0.1:$shop_port" --catalogue "$top/examples/bookshop/data/catalogue.csv" \
    --mode "$mode" --users "$users" --seed "$seed" --output "$output" --started "$started" \
    --console "$run/console.log" \
    --fact "accelerator=$accelerator" --fact "cpus=$cpus" --fact "fault=$fault" "${arguments[@]}"
}

tell_how_to_use_it() {
  {
    echo
    echo "The machine is running (process $machine_pid). Nobody but root can use the API's socket."
    echo "  shop       127.0.0.1:$shop_port: say HELLO 5, READ 1, ... (examples/bookshop/README.md)"
    if [[ $with_vmsrs == yes ]]; then
      echo "  metrics    curl http://127.0.0.1:$metrics_port/metrics"
      echo "  vmsrsctl   $build/cli/vmsrsctl --socket $run/api.sock status"
    fi
    if [[ $monitoring == yes ]]; then
      echo "  alerts     http://127.0.0.1:$prometheus_port/classic/alerts (Prometheus), http://127.0.0.1:$alertmanager_port"
    fi
    echo "  console    $run/console.log"
    echo "  stop it    kill $machine_pid $forward_pid ${monitoring_pids[*]} && rm -rf $run"
  } >&2
}

main() {
  parse_options "$@"
  check_root
  check_debian
  check_memory
  mkdir -p "$top/build/logs" 2>/dev/null || fail "cannot write to $top/build"
  check_disk "$top/build"
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  need_packages "$top/build/logs/apt.log" "${build_packages[@]}" "${machine_packages[@]}"
  choose_ports
  build_for_machine "$top/build/logs"
  run=$(mktemp -d "${TMPDIR:-/tmp}/vmsrs.XXXXXX")
  if [[ $with_vmsrs == yes ]]; then
    quietly "$run/certificates.log" "making certificates" make_certificates "$run"
  fi
  make_initrd
  boot
  [[ $with_vmsrs == no ]] || forward_api
  say "the shop is open; $users users go in"
  local code=0
  run_judge || code=$?
  if [[ $monitoring == yes ]]; then
    start_monitoring
    show_alert || code=1
  fi
  if [[ $keep == yes ]]; then
    kept=yes
    tell_how_to_use_it
  fi
  exit "$code"
}

main "$@"
