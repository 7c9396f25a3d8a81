#!/bin/sh
# The S3 interface, read by its clients as they ship, against the binary that the tests before have built. Totals in the
# form that .ci/run counts. A client that is not there is skipped, and named.
#
#   test-s3.sh [ARGUMENTS OF PYTEST]
set -eu
cd "$(dirname "$0")/.."

wanted=retrieval/s3/tests/clients/requirements.txt
if ! cmp -s "$wanted" .venv-s3/requirements.txt; then
    printf 'making .venv-s3 for the clients of S3\n'
    rm -rf .venv-s3
    if ! { python3 -m venv .venv-s3 && .venv-s3/bin/pip install --quiet --disable-pip-version-check --no-compile --requirement "$wanted"; } >&2; then
        rm -rf .venv-s3
        printf 'check skipped: the S3 interface with real clients (python3 with its venv module and a package index are needed)\n'
        exit 0
    fi
    cp "$wanted" .venv-s3/requirements.txt
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
.venv-s3/bin/pytest --quiet -rs -p no:cacheprovider "$@" retrieval/s3/tests/clients >"$log" 2>&1 || status=$?
cat "$log"
awk -v status="$status" -v what='S3 clients' -f scripts/pytest-totals.awk "$log"
exit "$status"
