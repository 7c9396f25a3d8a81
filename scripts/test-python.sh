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
awk -v status="$status" -v what='Python' -f ../../scripts/pytest-totals.awk "$log"
exit "$status"
