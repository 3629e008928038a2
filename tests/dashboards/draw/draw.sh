#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Draws the dashboards with Grafana's own parts over some minutes of real data, for people to look at: 450 MB of npm's packages.
# Usage: draw.sh BUILD_FOLDER FOLDER [light]   FOLDER gets a PNG of each dashboard; the rest stays in BUILD_FOLDER/tests/dashboards/draw
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:?usage: draw.sh BUILD_FOLDER FOLDER [light]}" && pwd)
mkdir -p "${2:?usage: draw.sh BUILD_FOLDER FOLDER [light]}"
pictures=$(cd "$2" && pwd)
mode=${3:-dark}
tool=$build/tests/dashboards/draw
mkdir -p "$tool"

if ! cmp -s "$here/package.json" "$tool/installed.json"; then
  echo "fetching what draws"
  cp "$here/package.json" "$tool/"
  (cd "$tool" && npm install --legacy-peer-deps --no-audit --no-fund)
  cp "$here/package.json" "$tool/installed.json"
fi
echo "recording three minutes of two hosts"
"$here/../../ops/with_prometheus.sh" "$build/tests/prometheus" python3 "$here/record.py" "$build" "$tool/recorded.json"
echo "drawing"
(cd "$tool" && node "$here/draw.mjs" recorded.json pictures "$mode")
/usr/bin/python3 - "$tool/pictures" "$pictures" <<'PYTHON'
import sys
from pathlib import Path
from PIL import Image
for picture in sorted(Path(sys.argv[1]).glob("*.png")):
    Image.open(picture).convert("RGB").quantize(64).save(Path(sys.argv[2]) / picture.name, optimize=True)
PYTHON
