#!/usr/bin/env bash
# The built wheel in an empty environment must run the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/runtime.txt
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps dist/octmargin-*.whl
wheel_version=$("$folder/venv/bin/octmargin" --version)
echo "installed from the wheel: $wheel_version"
(cd "$folder" && ./venv/bin/octmargin demo --headless --seconds 5 --json "$folder/out.json")
cat "$folder/out.json"
