#!/usr/bin/env bash
# Everything that is linked into what others build of ours has a permissive licence.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo xtask ci licences
