# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash source-path=SCRIPTDIR
# Prometheus and promtool for tests.
source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/lib/unpacked.sh"

# Prints the folder that has prometheus and promtool.
prometheus_folder() { # work-folder
  local program
  program=$(unpacked_program "$1" prometheus promtool) || return
  dirname "$program"
}
