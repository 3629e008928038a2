#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes links to prometheus and promtool in a folder. Debian has both only inside the package of the Prometheus
# server, which would start a service: where it is not installed, it is unpacked there instead.
# Usage: prometheus.sh FOLDER
set -euo pipefail
folder=${1:?usage: prometheus.sh FOLDER}
mkdir -p "$folder"
cd "$folder"
for program in prometheus promtool; do
  [[ ! -x $program ]] || continue
  found=$(command -v "$program" || true)
  if [[ -z $found ]]; then
    found=root/usr/bin/$program
    if [[ ! -x $found ]]; then
      (chmod 0777 . && apt-get -q download prometheus >download.log 2>&1) || {
        echo "apt-get download prometheus failed: $(tail -n 1 download.log)" >&2
        exit 1
      }
      dpkg-deb -x prometheus_*.deb root
      rm -f prometheus_*.deb
    fi
  fi
  ln -sf "$found" "$program"
done
