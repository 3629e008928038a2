#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks the alert rules with promtool. Debian has promtool only inside the package of the Prometheus
# server, which would start a service: so it is unpacked into the build directory instead of installed.
# Usage: run.sh BUILD_DIRECTORY
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rules=$here/../../dashboards/rules/vmsrs.rules.yaml
work=${1:?usage: run.sh BUILD_DIRECTORY}/promtool
promtool=$(command -v promtool || true)
if [[ -z $promtool ]]; then
  promtool=$work/root/usr/bin/promtool
  if [[ ! -x $promtool ]]; then
    mkdir -p "$work"
    (cd "$work" && chmod 0777 . && apt-get -q download prometheus >download.log 2>&1) || {
      echo "apt-get download prometheus failed: $(tail -n 1 "$work/download.log")" >&2
      exit 1
    }
    dpkg-deb -x "$work"/prometheus_*.deb "$work/root"
    rm -f "$work"/prometheus_*.deb
  fi
fi
"$promtool" check rules --lint=all --lint-fatal "$rules"
mkdir -p "$work/rules"
cp "$rules" "$here/vmsrs.test.yaml" "$work/rules"
cd "$work/rules"
"$promtool" test rules vmsrs.test.yaml
"$promtool" check metrics <"$here/../ops/golden/metrics.txt"
# The tests must be able to fail: without its threshold every alert's silent case is wrong.
sed 's/ > 5$/ > 5000/; s/_users > 0/_users > 9/; s/\]) > 0/]) > 999/; s/> 0\.9/> 9/; s/ == 1$/ == 2/; s/== 0/== 7/' \
  "$rules" >vmsrs.rules.yaml
if "$promtool" test rules vmsrs.test.yaml >broken.log 2>&1; then
  echo "the rules were broken on purpose, and no test failed" >&2
  exit 1
fi
echo "alerts: rules hold, and broken rules are found"
