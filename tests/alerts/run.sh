#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks the alert rules with promtool.
# Usage: run.sh BUILD_DIRECTORY
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../support/prometheus.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rules=$here/../../dashboards/rules/vmsrs.rules.yaml
work=${1:?usage: run.sh BUILD_DIRECTORY}/promtool
promtool=$(prometheus_folder "$work")/promtool
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
