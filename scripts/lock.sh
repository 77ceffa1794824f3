#!/usr/bin/env bash
# Pin every dependency with its hashes, for all platforms and Python >= 3.11, without any address.
set -euo pipefail
cd "$(dirname "$0")/.."
options=(--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links
         --no-annotate --no-header --quiet)
uv pip compile "${options[@]}" pyproject.toml --output-file requirements/runtime.txt "$@"
uv pip compile "${options[@]}" pyproject.toml --group dev --output-file requirements/dev.txt "$@"
