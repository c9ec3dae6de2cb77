#!/usr/bin/env bash
# docs/DEPENDENCIES.md gives a reason for each direct dependency, and for no other.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo xtask ci dependencies
