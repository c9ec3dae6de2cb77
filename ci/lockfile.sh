#!/usr/bin/env bash
# Cargo.lock is current: building changes nothing in it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo metadata --locked --format-version 1 >/dev/null
