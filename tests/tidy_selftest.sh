#!/bin/sh
# Does tools/tidy catch what it says it catches? A small tree that breaks one rule at a time; TAP.
#   tidy_selftest.sh PATH_OF_TIDY
set -u
tidy=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree" "$tree.out" "$tree.count"' EXIT
echo 0 >"$tree.count" # in a file: half of the tests run behind a pipe

result() # EXIT_CODE NAME
{
    n=$(($(cat "$tree.count") + 1))
    echo $n >"$tree.count"
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}

# A tree that keeps every rule.
fresh()
{
    rm -rf "${tree:?}/"* "$tree/".[a-z]*
    mkdir -p "$tree/src/base" "$tree/src/kern/x86" "$tree/src/cmd" "$tree/src/text" "$tree/models"
    printf '#ifndef A_H\n#define A_H\nint a(void);\n#endif\n' >"$tree/src/base/a.h"
    printf '#include "base/a.h"\n\nint a(void)\n{\n    return 1;\n}\n' >"$tree/src/base/a.c"
}

# catches RULE FILE: FILE, read from standard input, makes exactly RULE fail
catches()
{
    fresh
    mkdir -p "$(dirname "$tree/$2")"
    cat >"$tree/$2"
    expect "$1" "$2"
}

expect()
{
    "$tidy" "$tree" >"$tree.out"
    [ $? = 1 ] && [ "$(grep '^not ok' "$tree.out" | sed 's/^not ok [0-9]* - //')" = "$1" ]
    result $? "catches: $1: $2"
}

fresh
"$tidy" "$tree" >/dev/null
result $? "a tidy tree passes"

printf '#include "base/a.h"\n#include "text/b.h"\n' | { fresh; cat >"$tree/src/base/c.c"; }
printf '#ifndef B_H\n#define B_H\n#endif\n' >"$tree/src/text/b.h"
expect "include law" "base includes text"
printf '#include "nowhere.h"\n' | catches "include law" src/base/c.c
fresh
printf '#include "base/a.h"\n' >"$tree/src/kern/x86/kern_avx2.c"
expect "include law" "an instruction set's kernel includes base"
fresh
printf '#ifndef B_H\n#define B_H\n#endif\n' >"$tree/src/text/b.h"
printf '#include "text/b.h"\n' >"$tree/src/cmd/run.c"
expect "include law" "a command includes the tokenizer"
fresh
printf '#include <stdio.h>\n#include "base/a.h"\n' >"$tree/src/base/a.c"
expect "own header first" "a system header before"
printf 'int b(void);\n' | catches "header guards" src/base/b.h
printf 'int b(void);\n#ifndef B_H\n#define B_H\n#endif\n' | catches "header guards" src/base/b.h
printf '#ifndef B_H\n#define C_H\n#endif\n' | catches "header guards" src/base/b.h
printf 'int b;\n' | catches "known rooms" src/elsewhere/b.c
printf 'int b;\n' | catches "unique file names" src/text/a.c
head -c 12582913 /dev/zero | catches "no blobs" models/big.bin
printf '/* %0101d */\n' 1 | catches "100 columns" src/base/b.c
printf 'int\tb;\n' | catches "no tabs, no trailing blanks" src/base/b.c
printf 'int b; \n' | catches "no tabs, no trailing blanks" src/base/b.c
printf 'int b;' | catches "no tabs, no trailing blanks" src/base/b.c
yes 'int b;' | head -n 1001 | catches "file length" src/base/b.c
{ printf 'int b(void)\n{\n'; yes '    b();' | head -n 69; printf '}\n'; } |
    catches "function length" src/base/b.c
printf 'char *b(char *d)\n{\n    return strcpy(d, "x");\n}\n' | catches "banned calls" src/base/b.c
printf 'int b(void)\n{\n    return atoi("1");\n}\n' | catches "banned calls" src/cmd/b.c
printf 'void *b(void)\n{\n    return malloc(1);\n}\n' | catches "allocation through mem.h" src/base/b.c
printf 'void b(void)\n{\n    printf("x");\n}\n' | catches "libraries do not print or exit" src/base/b.c
printf 'void b(void)\n{\n    fputs("x", stderr);\n}\n' |
    catches "libraries do not print or exit" src/base/b.c
printf 'void b(void)\n{\n    exit (1);\n}\n' | catches "libraries do not print or exit" src/base/b.c
printf 'typedef struct b { int c; } b;\n' | catches "no typedef for structs" src/base/b.c
printf '/* %s: later */\n' TO''DO | catches "no reminders" src/base/b.c
printf 'int b;\n' | catches "closed top level" extra.txt

# What only looks like a breach.
fresh
cat >"$tree/src/base/b.c" <<'END'
/* malloc(1), strcpy(a, b): a comment; "an open quote */
const char *b = "printf(\"x\") atoi(1) // no comment";
const char c = '"', d = '\'';
typedef struct e *f(int); // free(x)
int g(struct h *i)
{
    return i->free(1) + i->exit(2) + my_malloc(3);
}
END
"$tidy" "$tree" >/dev/null
result $? "comments, strings, members and longer words are let through"
fresh
printf 'void b(void)\n{\n    printf("x");\n    exit(1);\n}\n' >"$tree/src/cmd/b.c"
"$tidy" "$tree" >/dev/null
result $? "commands may print"
echo "1..$(cat "$tree.count")"
