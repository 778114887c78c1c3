#!/bin/sh
# From a fresh clone to generated text: install what is missing, build, run the embedded model.
set -e
cd "$(dirname "$0")/.."
sh tools/deps.sh build
exec make -j"$(nproc)" demo
