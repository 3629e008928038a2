#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command with prometheus and promtool in its PATH.
# Usage: with_prometheus.sh WORK_FOLDER COMMAND...
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../support/prometheus.sh"
work=${1:?usage: with_prometheus.sh WORK_FOLDER COMMAND...}
shift
PATH=$(prometheus_folder "$work"):$PATH
exec "$@"
