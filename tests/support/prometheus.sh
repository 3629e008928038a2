# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Prometheus and promtool for tests. Debian has both only in the package of the server, which would
# start a service: so it is unpacked into a work folder instead of installed.

# Prints the folder that has prometheus and promtool. Several may call it at the same time.
prometheus_folder() { # work-folder
  local work=$1
  if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    dirname "$(command -v promtool)"
    return
  fi
  mkdir -p "$work"
  (
    flock 9
    [[ ! -x $work/root/usr/bin/promtool ]] || exit 0
    cd "$work" && chmod 0777 .
    apt-get -q download prometheus >download.log 2>&1 || {
      echo "apt-get download prometheus failed: $(tail -n 1 download.log)" >&2
      exit 1
    }
    dpkg-deb -x prometheus_*.deb root && rm -f prometheus_*.deb
  ) 9>"$work/lock" || return
  echo "$work/root/usr/bin"
}
