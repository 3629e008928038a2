#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the dashboards from their code and compares them with dashboards/json, or writes them anew.
# Usage: made.sh TOOL_FOLDER [FOLDER TO WRITE TO]
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../dashboards" && pwd)
tool=$(cd "${1:?usage: made.sh TOOL_FOLDER [FOLDER TO WRITE TO]}" && pwd)
made=${2:-$tool/json}
mkdir -p "$made"
made=$(cd "$made" && pwd)
(cd "$tool" && node_modules/.bin/tsc --outDir out)
[[ -n ${2:-} ]] || rm -f "$made"/*.json
node "$tool/out/main.js" "$made"
[[ -z ${2:-} ]] || exit 0
diff -r "$source/json" "$made" || {
  echo "dashboards/json is not what dashboards/src makes: tests/dashboards/made.sh $tool dashboards/json writes it anew" >&2
  exit 1
}
echo "dashboards: $(find "$made" -name '*.json' | wc -l) are what their code makes"
