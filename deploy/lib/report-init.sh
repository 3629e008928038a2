#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of the entry `report` (deploy/hardware-report.sh): what Linux on the hypervisor can say of a machine.
# Lines `report:`, and one `RESULT:` at the end.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
export PATH=/bin:/sbin
while read -r module; do
  insmod "/lib/modules/$(uname -r)/$module.ko" 2>/dev/null || echo "init: cannot load $module"
done <"/lib/modules/$(uname -r)/load-order"
mkdir -p /run/vmsrs/windows
mount -t ext4 -o ro,dax /dev/pmem0 /run/vmsrs/windows || echo "init: cannot mount the windows"
cpus=$(nproc)
export cpus
result=SUCCESS
for test in report offline fuzz; do
  machine-guest "$test" >/tmp/said 2>&1 || echo "RESULT: FAILURE ended with $?" >>/tmp/said
  grep '^report: ' /tmp/said
  word=$(sed -n 's/^RESULT: //p' /tmp/said | tail -n 1)
  echo "report: test $test: ${word:-nothing said}"
  [ "$word" = SUCCESS ] || [ "${word%% *}" = SKIP ] || result="FAILURE $test"
done
bench_transparency quick 2>&1 | sed 's/^/report: /'
echo "RESULT: $result"
sleep 1000
