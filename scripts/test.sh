#!/bin/sh
# Everything that must hold before a change lands: documents, format, lints, tests, and the demo through the real binary.
#
# One build profile (release) for all of it, so that nothing is compiled twice. A check whose tool this Rust lacks is skipped loudly and counted.
set -eu
cd "$(dirname "$0")/.."

# Prints the skip in the form that .ci/run counts.
skip() {
    printf '\n!!!! %s is not part of this Rust installation: its check is SKIPPED. To have it: rustup component add %s\n\n' "$1" "$1"
    printf 'check skipped: %s\n' "$1"
}

printf '== documents\n'
scripts/check-docs.sh

if cargo fmt --version >/dev/null 2>&1; then
    printf '== format\n'
    cargo fmt --all --check
else
    skip rustfmt
fi

if cargo clippy --version >/dev/null 2>&1; then
    printf '== lints\n'
    cargo clippy --locked --release --workspace --all-targets -- -D warnings
else
    skip clippy
fi

printf '== tests\n'
scripts/setup.sh test
cargo test --locked --release --workspace --no-fail-fast

printf '== S3, by its clients\n'
scripts/test-s3.sh
printf '== the Python package\n'
scripts/test-python.sh

printf '== demo, through the binary\n'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The tests have built the binary. Building it alone would select other features for some dependencies and compile them again.
if scripts/demo.sh "$folder/devnet"; then
    printf 'test result: ok. 1 passed; 0 failed; 0 ignored (demo)\n'
else
    printf 'test demo ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored (demo)\n'
    exit 1
fi
