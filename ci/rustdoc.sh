#!/usr/bin/env bash
# The documentation builds without a warning: no broken link, no bad example block.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo xtask ci rustdoc
