#!/bin/sh
# Tests of the Python package that need torch: DataLoader, mosaicml-streaming, litdata, lance and wids, unchanged. Not part of CI.
#
#   test-loaders.sh [ARGUMENTS OF PYTEST]
#
# 2.8 GB are installed from PyPI, once. torch is built for CUDA there; stubs stand for the libraries that a machine without
# a GPU lacks (tests/stub_cuda.py), which needs a C compiler and readelf. openssl makes the certificate that litdata wants.
set -eu
cd "$(dirname "$0")/../retrieval/python"

for tool in cc readelf openssl; do
    command -v "$tool" >/dev/null || { printf '%s is missing. Run: sudo apt-get install -y gcc binutils openssl\n' "$tool" >&2; exit 1; }
done
venv=.venv-torch
if ! cmp -s requirements-loaders.txt $venv/requirements.txt; then
    rm -rf $venv
    python3 -m venv $venv
    $venv/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-loaders.txt
    $venv/bin/python tests/stub_cuda.py
    cp requirements-loaders.txt $venv/requirements.txt
fi
$venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall .
$venv/bin/pytest --quiet tests/test_torch.py tests/test_shards.py tests/test_training_loaders.py "$@"
