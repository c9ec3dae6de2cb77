#!/usr/bin/env bash
# Neither the compiler nor clippy has anything to say, with all features, tests included.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo clippy --all-targets --all-features -- -D warnings
