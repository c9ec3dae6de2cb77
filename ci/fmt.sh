#!/usr/bin/env bash
# The source is as rustfmt writes it.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo fmt --all --check
