#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154  # variables come from run.conf
#
# The guest's first process: brings up the network and the hypervisor's windows, starts vmsrsd as root and
# the shop as a user without privileges. Lines that begin with `guest:` are read by quickstart.
# The run's own settings are in /etc/run.conf.
export PATH=/bin:/sbin
say() { echo "guest: $*" >/dev/console; }
stop() {
  say "error: $*"
  sleep 2
  poweroff -f
}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /run/vmsrs/windows
mount -t tmpfs -o mode=0755 run /run
mount -t tmpfs -o mode=1777 shm /dev/shm
mkdir -p /run/vmsrs/windows
exec </dev/null >/dev/console 2>&1
# shellcheck disable=SC1091
. /etc/run.conf

modules=/lib/modules/$(uname -r)
while read -r module; do
  insmod "$modules/$module.ko" || say "no module $module"
done <"$modules/load-order"

ip link set lo up
tries=0
until ip link show eth0 >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || stop "no network device"
  usleep 100000
done
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2

if [ "$with_vmsrs" = yes ]; then
  tries=0
  until [ -b /dev/pmem0 ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || stop "the hypervisor's windows are not there: no /dev/pmem0"
    usleep 100000
  done
  blockdev --setro /dev/pmem0 # Linux itself refuses root, before a fault in its kernel does
  mount -t ext4 -o ro,dax /dev/pmem0 /run/vmsrs/windows || stop "cannot mount the windows"
  say "starting vmsrsd"
  (
    vmsrsd --config /etc/vmsrs/vmsrs.yaml
    say "vmsrsd ended, status $?"
  ) &
  tries=0
  until [ -S /run/vmsrs/api.sock ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || stop "vmsrsd does not come up"
    usleep 100000
  done
  # The API for the host: whoever has the run's certificate, nobody else.
  socat OPENSSL-LISTEN:9471,reuseaddr,fork,cert=/etc/vmsrs/guest.pem,cafile=/etc/vmsrs/ca.pem,verify=1 \
    UNIX-CONNECT:/run/vmsrs/api.sock &
fi

# The shop. It is never started again: if it dies, it stays dead.
say "starting $shop"
(
  su -s /bin/sh "$shop_account" -c \
    "exec $shop --bind 0.0.0.0 --port 7070 --catalogue /etc/catalogue.csv $shop_options"
  say "the shop ended, status $?"
  touch /run/shop-ended
) &
tries=0
until grep -q ' 00000000:1B9E ' /proc/net/tcp; do # port 7070
  tries=$((tries + 1))
  [ ! -e /run/shop-ended ] || stop "the shop did not start"
  [ $tries -lt 300 ] || stop "the shop does not come up"
  usleep 100000
done
say "ready"
while :; do
  wait
  sleep 3600
done
