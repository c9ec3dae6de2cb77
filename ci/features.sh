#!/usr/bin/env bash
# Each feature of each package compiles alone, and each package with none.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo xtask ci features
