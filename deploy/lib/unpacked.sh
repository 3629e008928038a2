# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Programs of Debian packages that would start a service: unpacked into a work folder, not installed.

# Prints the program's path. Several may call it at the same time.
unpacked_program() { # work-folder package program
  local work=$1 package=$2 program=$3
  if command -v "$program"; then return; fi
  mkdir -p "$work"
  (
    flock 9
    [[ ! -x $work/$package/usr/bin/$program ]] || exit 0
    cd "$work" && chmod 0777 .
    apt-get -q download "$package" >"$package.log" 2>&1 || {
      echo "apt-get download $package failed: $(tail -n 1 "$package.log")" >&2
      exit 1
    }
    dpkg-deb -x "$package"_*.deb "$package" && rm -f "$package"_*.deb
  ) 9>"$work/lock" || return
  echo "$work/$package/usr/bin/$program"
}
