#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command with promtool and amtool in its PATH.
# Usage: with_monitoring.sh WORK_FOLDER COMMAND...
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../../deploy/lib/unpacked.sh"
work=${1:?usage: with_monitoring.sh WORK_FOLDER COMMAND...}
shift
promtool=$(unpacked_program "$work" prometheus promtool)
amtool=$(unpacked_program "$work" prometheus-alertmanager amtool)
PATH=${promtool%/*}:${amtool%/*}:$PATH
exec "$@"
