#!/bin/sh
# Tests of the Python package that need torch: Debian's python3-torch, installed when run as root. Not part of CI.
set -eu
cd "$(dirname "$0")/.."

if ! /usr/bin/python3 -c 'import torch' 2>/dev/null; then
    if [ "$(id -u)" -ne 0 ]; then
        printf 'torch is missing. Run: sudo apt-get install -y --no-install-recommends python3-torch python3-venv\n' >&2
        exit 1
    fi
    apt-get install -y --no-install-recommends python3-torch python3-venv
fi
venv=retrieval/python/.venv-torch
if [ ! -x $venv/bin/pytest ]; then
    rm -rf $venv
    /usr/bin/python3 -m venv --system-site-packages $venv
    grep -E '^(fsspec|hatchling|webdataset|braceexpand|packaging|pathspec|pluggy|trove-classifiers|tomlkit)==' retrieval/python/requirements-test.txt >$venv/wanted
    grep -E '^(pytest|iniconfig|pluggy|packaging|Pygments)==' market/rpc/tests/requirements.txt >>$venv/wanted
    $venv/bin/pip install --quiet --disable-pip-version-check --requirement $venv/wanted
fi
$venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall ./retrieval/python
$venv/bin/pytest --quiet retrieval/python/tests/test_torch.py retrieval/python/tests/test_shards.py "$@"
