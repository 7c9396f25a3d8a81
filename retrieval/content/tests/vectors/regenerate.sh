#!/bin/sh
# Regenerates roots.json from cases.json with the npm package ipfs-car. Needs node 20 or newer, npm, and 2 GB of space in
# the temporary folder. Run it when cases.json changes, and look at the difference before committing it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd "$scratch" && npm init --yes >/dev/null && npm install --silent ipfs-car@3.1)
node "$here/regenerate.mjs" "$here/cases.json" "$scratch/node_modules/ipfs-car/bin.js" "$scratch" > "$scratch/roots.json"
mv "$scratch/roots.json" "$here/roots.json"
