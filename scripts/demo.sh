#!/bin/sh
# Stores the dataset of fixtures/ on a one-machine network in DIR (default: .demo, emptied first), proves it twice, and fetches it back.
# Usage: scripts/demo.sh [DIR]. Needs target/release/cairn: `make demo` builds it.
set -eu
cd "$(dirname "$0")/.."

folder=${1:-.demo}
[ "$folder" != .demo ] || rm -rf .demo
exec "${CARGO_TARGET_DIR:-target}/release/cairn" devnet --demo --exit --dir "$folder"
