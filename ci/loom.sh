#!/usr/bin/env bash
# The loom models hold: every interleaving of the hand-written atomics, within a bound.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo xtask ci loom
