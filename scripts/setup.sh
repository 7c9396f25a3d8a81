#!/bin/sh
# Makes sure that the system packages for a build are there. Silent when they are; safe to run any number of times.
#
#   setup.sh            for Cairn
#   setup.sh compare    for the comparison with the reference implementation too, which links libhwloc
#   setup.sh test       for the tests too: schemathesis and the data loaders, from PyPI, into .venv-test, and clients of other people, from
#                       npm, into retrieval/gateway/tests/clients/node_modules; without them their tests are skipped loudly
#
# What needs them: RocksDB is C++ (a C++ compiler), and its Rust bindings are generated during the build (libclang with its headers).
# As root on Debian the missing ones are installed; otherwise the exact command is printed and the build stops here.
set -eu

say() { printf 'setup: %s\n' "$*" >&2; }

has_command() { command -v "$1" >/dev/null 2>&1; }

# The places where the bindings' generator looks, in its order.
has_libclang() {
    for library in "${LIBCLANG_PATH:-/nonexistent}"/libclang*.so* /usr/lib/llvm-*/lib/libclang*.so* /usr/lib64/libclang*.so* \
        /usr/lib/*-linux-gnu*/libclang*.so* /usr/lib/libclang*.so* /usr/local/lib/libclang*.so*; do
        # libclang-cpp is another library.
        case $library in *libclang-cpp*) continue ;; esac
        [ ! -e "$library" ] || return 0
    done
    return 1
}

# Makes .venv-test unless it holds what the lists say. What fails here costs the tests in Python, not the build.
make_venv() {
    lists='market/rpc/tests/requirements.txt retrieval/python/requirements-test.txt'
    # shellcheck disable=SC2086
    wanted=$(cat $lists)
    [ "$wanted" != "$(cat .venv-test/requirements.txt 2>/dev/null)" ] || return 0
    say 'making .venv-test for the tests'
    rm -rf .venv-test
    # shellcheck disable=SC2046,SC2086
    if ! { python3 -m venv .venv-test && .venv-test/bin/pip install --quiet --disable-pip-version-check $(printf -- '--requirement %s ' $lists); } >&2; then
        rm -rf .venv-test
        say 'no tests in Python: python3 with its venv module and a package index are needed'
        return 0
    fi
    printf '%s\n' "$wanted" >.venv-test/requirements.txt
}

# Installs the Node packages of the gateway's tests unless the lock's are there.
make_clients() {
    clients=retrieval/gateway/tests/clients
    ! cmp -s "$clients/package-lock.json" "$clients/node_modules/installed-lock.json" || return 0
    if ! { has_command node && has_command npm; }; then
        say 'no Helia and no ipfs-car: node and npm are needed'
        return 0
    fi
    say 'installing the Node packages of the tests'
    if ! (cd "$clients" && npm ci --ignore-scripts --no-progress --loglevel=error) >&2; then
        rm -rf "$clients/node_modules"
        say 'no Helia and no ipfs-car: the package registry does not answer'
        return 0
    fi
    cp "$clients/package-lock.json" "$clients/node_modules/installed-lock.json"
}

[ "${1:-}" != test ] || (cd "$(dirname "$0")/.." && make_venv && make_clients)

if ! has_command cargo; then
    say 'cargo is missing. Cairn needs Rust 1.88 or newer: install it with rustup, open a new shell and run this again.'
    exit 1
fi

missing=''
has_command cc || missing="$missing gcc"
has_command c++ || has_command g++ || missing="$missing g++"
has_command make || missing="$missing make"
has_libclang || missing="$missing libclang-dev"
if [ "${1:-}" = compare ]; then
    has_command pkg-config || missing="$missing pkg-config"
    # Its build looks for the library through pkg-config, and fails late and obscurely without it.
    pkg-config --atleast-version=2.0 hwloc 2>/dev/null || missing="$missing libhwloc-dev"
fi
missing=${missing# }
[ -n "$missing" ] || exit 0

if ! has_command apt-get; then
    say "missing (Debian's package names): $missing"
    say 'this script installs them on Debian alone: install their equivalents and run it again.'
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    say "missing system packages: $missing. Run this command, then the same make target again:"
    say "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing"
    exit 1
fi

say "installing $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# $missing is a list of words.
# shellcheck disable=SC2086
if ! { apt-get -o DPkg::Lock::Timeout=300 update && apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "could not install them; the command was: apt-get update && apt-get install -y --no-install-recommends $missing"
    exit 1
fi
