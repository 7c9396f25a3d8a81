#!/bin/sh
# Every file or folder that README.md and ARCHITECTURE.md name in backquotes exists.
set -eu
cd "$(dirname "$0")/.."

status=0
for document in README.md ARCHITECTURE.md; do
    # Paths are what holds a slash, or is a top-level file; `target/` and placeholders are not ours.
    # shellcheck disable=SC2016
    for path in $(grep -oE '`[A-Za-z.-]+(/[A-Za-z0-9_./-]+|\.md|-MIT|-APACHE)`' "$document" | tr -d '`' | grep -vE '^(target/|cache/)' | sort -u); do
        if [ ! -e "$path" ]; then
            printf '%s names %s, which does not exist\n' "$document" "$path" >&2
            status=1
        fi
    done
done
exit "$status"
