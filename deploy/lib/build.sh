# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154  # variables are shared with quickstart.sh
# Building what goes into the machine. Quick when everything is up to date. The tests name a build
# directory of their own in VMSRS_BUILD_DIR, so that nothing is built twice.

# Usage: build_for_machine LOGDIR. Sets `build` and `kernel` (directories).
build_for_machine() {
  local logs=$1 targets=(bookshop-plain)
  build=${VMSRS_BUILD_DIR:-$top/build/release}
  kernel=$build/guest
  if [[ $with_vmsrs == yes ]]; then
    targets+=(vmsrs-hypervisor vmsrsd vmsrsctl bookshop)
  fi
  # One build at a time in one clone.
  exec 9>"$build.lock"
  flock 9
  if [[ ! -f $build/build.ninja ]]; then
    say "configuring the build"
    (cd "$top" && quietly "$logs/configure.log" "cmake" cmake --preset release -DBUILD_TESTING=OFF)
  fi
  say "building ${targets[*]}"
  quietly "$logs/build.log" "the build" cmake --build "$build" --target "${targets[@]}"
  quietly "$logs/kernel.log" "fetching Debian's cloud kernel" \
    "$top/deploy/guest/fetch-kernel.sh" "$kernel"
  if [[ $with_vmsrs == yes && ! -f $build/windows.img ]] ||
    [[ $top/deploy/guest/make-windows-image.sh -nt $build/windows.img ]]; then
    quietly "$logs/windows.log" "making the windows image" \
      "$top/deploy/guest/make-windows-image.sh" "$build/windows.img" "$shop_gid"
  fi
  exec 9>&-
}
