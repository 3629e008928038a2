# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154  # variables are shared with quickstart.sh
# Progress and errors. Everything for people goes to stderr; stdout belongs to the result.

started=$(date +%s)

say() { printf '[%3d s] %s\n' "$(($(date +%s) - started))" "$*" >&2; }

# One clear line, an exit code of 1 (or $fail_code), and with --output json a document on stdout too.
fail() {
  printf '%s: error: %s\n' "$program" "$*" >&2
  if [[ ${output:-} == json ]]; then
    printf '{"ok": false, "error": "%s"}\n' "$(printf '%s' "$*" | tr '\n\t' '  ' | sed 's/[\\"]/\\&/g')"
  fi
  exit "${fail_code:-1}"
}

# A wrong option: one line, exit code 2.
wrong() { fail_code=2 fail "$* (--help lists the options)"; }

# Runs a command quietly: its output goes to a log; its errors are shown if it fails.
# Usage: quietly LOG WHAT COMMAND...
quietly() {
  local log=$1 what=$2
  shift 2
  if ! "$@" >"$log" 2>&1; then
    # The errors may stand far from the end.
    { grep -m 5 -A 4 -i 'error' "$log" || tail -n 20 "$log"; } >&2
    fail "$what failed; the whole log is $log"
  fi
}
