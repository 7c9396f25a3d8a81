#!/bin/sh
# The Python package: its wheel, lints and tests, against the binary that the tests before have built. Totals in the form that .ci/run counts.
#
#   test-python.sh [ARGUMENTS OF PYTEST]
set -eu
cd "$(dirname "$0")/.."

if [ ! -x .venv-test/bin/pytest ]; then
    printf 'check skipped: the Python package (no .venv-test: scripts/setup.sh test makes it)\n'
    exit 0
fi
bin=$PWD/.venv-test/bin
cd retrieval/python

"$bin/ruff" check --no-cache .
"$bin/ruff" format --no-cache --check .
"$bin/mypy" --cache-dir=/dev/null

# The tests read the installed wheel, not the sources.
wheels=$(mktemp -d)
log=$(mktemp)
trap 'rm -rf "$wheels" "$log"' EXIT
"$bin/pip" wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir "$wheels" .
"$bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
printf 'wheel: %s, %d bytes\n' "$(basename "$wheels"/*.whl)" "$(cat "$wheels"/*.whl | wc -c)"
"$bin/cairn-data" bench

status=0
"$bin/pytest" --quiet -rs --durations=5 "$@" >"$log" 2>&1 || status=$?
cat "$log"
awk -v status="$status" '
    / in [0-9.]+s/ { for (i = 2; i <= NF; i++) { word = $i; sub(",", "", word); count[word] = $(i - 1) } }
    /^FAILED|^ERROR/ { printf "test %s ... FAILED\n", $2 }
    END {
        failed = count["failed"] + count["errors"] + count["error"]
        if (status != 0 && failed == 0) failed = 1
        printf "test result: %s. %d passed; %d failed; %d ignored (Python)\n", status == 0 ? "ok" : "FAILED", count["passed"], failed, count["skipped"]
    }
' "$log"
exit "$status"
