#!/bin/sh
# From a fresh clone to a tested build: install what is missing, build, run the tests.
set -e
cd "$(dirname "$0")/.."
sh tools/deps.sh check
exec make check
