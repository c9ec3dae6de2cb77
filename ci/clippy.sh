#!/usr/bin/env bash
# Neither the compiler nor clippy has anything to say, with all features, tests
# included; the benches without their competitors.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo xtask ci clippy
