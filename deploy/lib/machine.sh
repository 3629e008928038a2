# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154  # variables are shared with quickstart.sh
# The virtual machine: its initramfs, QEMU, waiting for it, and the way in for vmsrsctl.

shop_gid=1000 # in the guest; the group that may map the hypervisor's windows
guest_memory_mib=1024
lingering_user=500 # none of the judge's
boot_seconds=480
# Linux's first word takes two seconds where the emulation gets a processor, and minutes where it must share
# one with ten others. With KVM silence means that it does not work here.
silence_seconds_kvm=90
silence_seconds_tcg=240

# What only this run knows, in front of everything that is the same for all.
write_run_files() { # directory
  local etc=$1/etc shop=/bin/bookshop-plain shop_options=''
  mkdir -p "$etc/vmsrs"
  chmod 755 "$etc" "$etc/vmsrs"
  if [[ $with_vmsrs == yes ]]; then
    shop=/bin/bookshop
    new_secret "$etc/vmsrs/management.secret" 0400
    # The shop's account reads this one; the owner is set when the archive is made.
    new_secret "$etc/vmsrs/bookshop.secret" 0440
    cp "$run/guest.pem" "$run/ca.pem" "$etc/vmsrs/"
    cat >"$etc/vmsrs/vmsrs.yaml" <<YAML
management:
  secret_file: /etc/vmsrs/management.secret
metrics:
  listen: 10.0.2.15:9470
api:
  socket: /run/vmsrs/api.sock
  socket_mode: "0600"
servers:
  - name: bookshop
    attach_secret_file: /etc/vmsrs/bookshop.secret
YAML
    [[ $early_unlock == no ]] || shop_options+=' --early-unlock'
  fi
  # An emulated machine on a busy host is slow, and the judge keeps some orders open on purpose.
  shop_options+=' --order-seconds 600'
  shop_options+=" --inject 1:$fault:2 --inject 7:$fault:2"
  [[ $monitoring == no ]] || shop_options+=" --inject $lingering_user:$fault:2"
  cat >"$etc/run.conf" <<CONF
with_vmsrs=$with_vmsrs
shop=$shop
shop_account=shop
shop_options='$shop_options'
CONF
  printf 'root:x:0:0::/:/bin/sh\nshop:x:%d:%d::/:/bin/false\n' $shop_gid $shop_gid >"$etc/passwd"
  printf 'root:x:0:\nshop:x:%d:\n' $shop_gid >"$etc/group"
}

# An archive of its own for what differs from run to run: the kernel unpacks one after the other.
append_run_files() { # directory initrd
  (
    cd "$1" || exit 1
    [[ $with_vmsrs == no ]] || chgrp $shop_gid etc/vmsrs/bookshop.secret
    find etc -print0 | cpio --null --quiet -o -H newc
  ) >>"$2"
}

make_initrd() {
  local base=$build/initrd-vmsrs-$with_vmsrs.img files=(
    "$build/examples/bookshop/bookshop-plain"
    "$top/examples/bookshop/data/catalogue.csv:/etc/catalogue.csv")
  if [[ $with_vmsrs == yes ]]; then
    files+=("$build/examples/bookshop/bookshop" "$build/vmsrsd/vmsrsd" "$(command -v socat)")
  fi
  if initrd_is_old "$base" "${files[@]%%:*}"; then
    quietly "$run/initrd.log" "making the initramfs" "$top/deploy/guest/make-initramfs.sh" \
      -o "$base" -k "$kernel" -i "$top/deploy/lib/guest-init.sh" "${files[@]}"
  fi
  (umask 077 && cp "$base" "$run/initrd.img")
  write_run_files "$run/files"
  append_run_files "$run/files" "$run/initrd.img"
}

initrd_is_old() { # initrd source...
  local initrd=$1 source
  shift
  [[ -f $initrd ]] || return 0
  for source in "$@" "$kernel/complete" "$top"/deploy/lib/guest-init.sh "$top"/deploy/guest/*.sh; do
    [[ ! $source -nt $initrd ]] || return 0
  done
  return 1
}

# KVM only where its guests really get SVM: an AMD host whose kernel nests. QEMU is asked too.
choose_accelerator() {
  accelerator=tcg
  [[ $with_vmsrs == yes ]] || return 0
  if [[ -w /dev/kvm && $(cat /sys/module/kvm_amd/parameters/nested 2>/dev/null) =~ ^[1Yy]$ ]] &&
    grep -qw svm /proc/cpuinfo &&
    timeout 20 qemu-system-x86_64 -accel kvm -cpu "$cpu_model",enforce -machine q35 -nodefaults \
      -display none -S -monitor stdio <<<quit >/dev/null 2>&1; then
    accelerator=kvm
  fi
}
cpu_model=EPYC,+svm,+npt

# Sets machine_pid.
start_machine() {
  # shellcheck disable=SC2054
  local arguments=(
    -machine q35 -accel "$accelerator" -smp "$cpus" -m "$guest_memory_mib"
    -nodefaults -display none -no-reboot -serial "file:$run/console.log"
    -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$shop_port-:7070,hostfwd=tcp:127.0.0.1:$metrics_port-:9470,hostfwd=tcp:127.0.0.1:$api_port-:9471"
    -device amd-iommu -device virtio-net-pci,netdev=net,romfile=,disable-legacy=on,iommu_platform=on)
  local linux="console=ttyS0 panic=-1 quiet"
  # A busy host that emulates may let the guest wait too long for its timer check, which then panics.
  [[ $accelerator == kvm ]] || linux+=" no_timer_check"
  [[ $accelerator == kvm ]] || arguments[3]=tcg,thread=single
  if [[ $with_vmsrs == yes ]]; then
    arguments+=(-cpu "$cpu_model" -kernel "$build/hypervisor/vmsrs-hypervisor.elf32"
      -append "secret_sha256=$(secret_sha256 "$run/files/etc/vmsrs/management.secret")"
      -debugcon "file:$run/hypervisor.log"
      -initrd "$kernel/vmlinuz $linux,$run/initrd.img,$build/windows.img")
  else
    arguments+=(-cpu "$cpu_model" -kernel "$kernel/vmlinuz" -append "$linux" -initrd "$run/initrd.img")
  fi
  : >"$run/console.log"
  # Its own session: Ctrl-C reaches this script, which then stops the machine; with --keep nothing does.
  setsid qemu-system-x86_64 "${arguments[@]}" >"$run/qemu.log" 2>&1 </dev/null &
  machine_pid=$!
  echo "$machine_pid" >"$run/machine.pid"
}

machine_runs() { kill -0 "$machine_pid" 2>/dev/null; }

console_says() { grep -aq "guest: $1" "$run/console.log"; }

# Returns 1 if the machine did not get as far as serving; `silent` is yes if Linux never said a word.
wait_for_machine() {
  local begin until shown='' now
  begin=$(date +%s)
  until=$((begin + boot_seconds))
  silent=no
  local silence_seconds=$silence_seconds_tcg
  [[ $accelerator != kvm ]] || silence_seconds=$silence_seconds_kvm
  until console_says ready; do
    if ! machine_runs; then
      say "the machine ended: $(tail -n 1 "$run/qemu.log")"
      return 1
    fi
    if console_says 'error:'; then
      say "$(grep -a -m 1 'guest: error:' "$run/console.log" | tr -d '\r')"
      return 1
    fi
    if [[ -z $shown ]] && (($(date +%s) > begin + silence_seconds)); then
      silent=yes
      say "no sign of life from the machine for $silence_seconds s"
      return 1
    fi
    if (($(date +%s) > until)); then
      say "the machine was not ready after $boot_seconds s"
      return 1
    fi
    now=$(grep -a 'guest: ' "$run/console.log" | tail -n 1 | tr -d '\r')
    if [[ -n $now && $now != "$shown" ]]; then
      say "$now"
      shown=$now
    fi
    sleep 0.2
  done
}

# vmsrsd's API as a socket of the host's that only root can use. Sets forward_pid.
forward_api() {
  (
    umask 0177
    exec setsid socat "UNIX-LISTEN:$run/api.sock,mode=0600,unlink-early,fork" \
      "OPENSSL-CONNECT:127.0.0.1:$api_port,cert=$run/host.pem,cafile=$run/ca.pem,verify=1,commonname=guest" \
      >"$run/forward.log" 2>&1 </dev/null 9>&-
  ) &
  forward_pid=$!
  echo "$forward_pid" >"$run/forward.pid"
  local tries=0
  until [[ -S $run/api.sock ]]; do
    ((++tries < 50)) || fail "the API's socket did not come up: $(tail -n 1 "$run/forward.log")"
    sleep 0.1
  done
}

# Ends what this run started, and nothing else.
stop_machine() {
  local pid
  for pid in "${monitoring_pids[@]}" ${forward_pid:-} ${machine_pid:-}; do
    kill "$pid" 2>/dev/null || continue
    wait "$pid" 2>/dev/null || true
  done
}
