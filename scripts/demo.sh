#!/bin/sh
# Stores the dataset of fixtures/ on a one-machine network in DIR (default: .demo, emptied first), proves it twice, and fetches it back.
# Usage: scripts/demo.sh [DIR [PARAMS]]. Needs target/release/cairn: `make demo` builds it. The parameters of the proofs are made on first
# use, which takes a minute or two, and kept in PARAMS (default: .cairn-params): the next run finds them.
set -eu
cd "$(dirname "$0")/.."

folder=${1:-.demo}
params=${2:-.cairn-params}
[ "$folder" != .demo ] || rm -rf .demo
exec "${CARGO_TARGET_DIR:-target}/release/cairn" devnet --demo --exit --dir "$folder" --params "$params"
