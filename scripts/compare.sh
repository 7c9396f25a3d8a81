#!/bin/sh
# Builds both sides and compares them: one JSON object per line on standard output, progress on standard error.
#
#   compare.sh DIR [arguments of the program `compare`; --help lists them]
#
# DIR keeps what is expensive: parameters that the reference makes (10 to 20 minutes, once) and keys converted from parameters. The
# reference comes from the crate registry and is compiled into a folder of its own; nothing of it enters Cairn.
set -eu
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    printf 'usage: %s DIR [arguments]\n' "$0" >&2
    exit 2
fi
folder=$1
shift

scripts/setup.sh compare
cargo build --locked --release --manifest-path proofs/compare/Cargo.toml --bins >&2
cargo build --locked --release -p cairn-compute --example msm_bench >&2

# A value out of a run that fails must not look like one out of a run that succeeds: both must succeed.
cargo run --quiet --locked --release --manifest-path proofs/compare/Cargo.toml --bin compare -- --dir "$folder" "$@"
# Sums and transforms of 2^20 terms: ours, arkworks' and blst's, with the bound of each and the share of it that is reached.
cargo run --quiet --locked --release -p cairn-compute --example msm_bench -- 20 "$(nproc)" 3
