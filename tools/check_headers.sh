#!/bin/sh
# Every header compiles alone, twice included, without a warning; TAP. CC names the compiler.
# Left out: src/kern/simd/, templates over the vectors of the instruction set that includes them.
set -u
n=0
flags='-std=c11 -D_GNU_SOURCE -I. -Isrc -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
       -Wmissing-prototypes -Werror -fsyntax-only'
for header in $(find src models quant offload net tests -name '*.h' | grep -v '^src/kern/simd/' | sort); do
    n=$((n + 1))
    # shellcheck disable=SC2086  # flags are words
    if said=$(printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
        ${CC:-gcc} $flags -x c - 2>&1); then
        echo "ok $n - $header"
    else
        echo "not ok $n - $header"
        printf '%s\n' "$said" | sed 's/^/# /'
    fi
done
echo "1..$n"
