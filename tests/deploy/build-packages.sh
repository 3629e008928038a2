#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian packages of this tree, as far as git knows its files, in FOLDER/vmsrs; they lie in FOLDER then, with
# the build's log. Does nothing if FOLDER has those of the same files.
#
# Usage: build-packages.sh FOLDER
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
(($# == 1)) || { echo "usage: build-packages.sh FOLDER" >&2 && exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
exec 9>"$folder.lock"
flock 9

# Files that are deleted and not yet committed are in git's list and nowhere else.
files() { (cd "$top" && git ls-files -z | while IFS= read -r -d '' file; do [[ ! -e $file && ! -L $file ]] || printf '%s\0' "$file"; done); }
built_from=$(cd "$top" && files | xargs -0 sha256sum | sha256sum)
[[ $(cat "$folder/built-from" 2>/dev/null) != "$built_from" ]] || exit 0

rm -rf "$folder"
mkdir -p "$folder/vmsrs"
files | (cd "$top" && tar --null --files-from - -c) | tar -x -C "$folder/vmsrs"
: "${CCACHE_DIR:=$(ccache --get-config cache_dir 2>/dev/null || true)}"
export CCACHE_DIR
(cd "$folder/vmsrs" && dpkg-buildpackage -b -us -uc -ui -d -j2) >"$folder/log" 2>&1 ||
  { tail -n 30 "$folder/log" && echo "build-packages: error: the build in $folder failed" && exit 1; } >&2
echo "$built_from" >"$folder/built-from"
