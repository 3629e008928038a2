# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154  # variables are shared with quickstart.sh
# Debian packages: what is needed for which purpose, and installing what is missing.

build_packages=(
  cmake ninja-build g++ ccache pkg-config libzydis-dev libyaml-cpp-dev libarchive-dev libspdlog-dev libcli11-dev
  prometheus-cpp-dev libcpp-httplib-dev nlohmann-json3-dev libssl-dev
  libsqlite3-dev libelf-dev)
machine_packages=(
  qemu-system-x86 seabios busybox-static cpio e2fsprogs python3 socat openssl)
bench_packages=(python3 python3-matplotlib)
study_packages=(python3 python3-matplotlib qemu-user)
test_packages=(
  libboost-test-dev libevent-dev libmemcached-tools dpkg-dev sqlite3 xz-utils shellcheck procps systemd
  spin gcc gdb tcc clang libclang-rt-14-dev make man-db mandoc socat xxd openssl
  qemu-user python3-matplotlib python3-jsonschema python3-yaml
  grub-common grub-pc-bin grub-efi-amd64-bin ovmf xorriso mtools acpica-tools kexec-tools
  debhelper lintian mmdebstrap diffoscope-minimal git
  fdisk qemu-utils openssh-client apt-utils gpg ansible-core ansible-lint)
# A browser and what drives it. Who has a Node.js of another source has its npm with it.
browser_packages=(chromium)
command -v npm >/dev/null || browser_packages+=(nodejs npm)

# Prints those of the named packages that are not installed.
missing_packages() { # package...
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      echo "$package"
  done
}

# Installs those of the named packages that are missing. Says nothing if none is. A source of packages
# that cannot be reached does no harm if none of these comes from it: what counts is what is there.
need_packages() { # log package...
  local log=$1 missing
  shift
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]} > 0)) || return 0
  [[ $(id -u) == 0 ]] || fail "needs root to install ${missing[*]}"
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q -o Acquire::Retries=2 update >"$log" 2>&1 || true
  apt-get -q -y -o Acquire::Retries=2 -o Dpkg::Use-Pty=0 install --no-install-recommends \
    "${missing[@]}" >>"$log" 2>&1 || true
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]} == 0)) || apt_failed "$log" "apt cannot install ${missing[*]}"
}

apt_failed() { # log what
  local reason
  reason=$(grep -m 1 '^\(E\|W\):' "$1" || tail -n 1 "$1")
  fail "$2: ${reason:-no reason given} (log: $1)"
}
