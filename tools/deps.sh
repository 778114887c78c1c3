#!/bin/sh
# deps.sh: the packages that moxie needs, in one table.
#
#   sh tools/deps.sh build|check          install what is missing (Debian, Ubuntu)
#   sh tools/deps.sh --test build|check   only look; exit code 1 and a message when something is missing
#
# `check` includes `build`. What is there already is found by trying it (a command runs, a file with the
# header links statically), so it does not matter where it came from; then nothing is called. Installing
# takes apt-get and root, or sudo without a password. Where that is not given, one message names the
# packages and nothing else is tried.
set -u

# set | Debian package | how to see that it is there
table='
build make            command make
build gcc             command ${CC:-gcc}
build libc6-dev       link c      stdio.h
build libpcre2-dev    link pcre2-8    pcre2.h
build libutf8proc-dev link utf8proc   utf8proc.h
build libjansson-dev  link jansson    jansson.h
check libcmocka-dev   header cmocka   cmocka.h
'

# present KIND NAME HEADER: true when it is there
present()
{
    case $1 in
    command) command -v "$(eval "set -- $2; echo \$1")" >/dev/null 2>&1 ;;
    link) probe "$3" -static -o /dev/null "-l$2" ;;
    header) probe "$3" -o /dev/null "-l$2" ;;
    esac
}

# probe HEADER FLAGS..: compile (and link) an empty program that includes HEADER
probe()
{
    header=$1
    shift
    printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n%s\n%s\n' \
        "#include <$header>" 'int main(void) { return 0; }' |
        ${CC:-gcc} -DPCRE2_CODE_UNIT_WIDTH=8 -x c - "$@" >/dev/null 2>&1
}

# missing SET: the packages of SET that are not there, on one line
missing()
{
    printf '%s\n' "$table" | while read -r set package kind name header; do
        [ -n "$set" ] || continue
        [ "$1" = check ] || [ "$set" = build ] || continue
        present "$kind" "$name" "$header" </dev/null || printf '%s ' "$package"
    done
}

complain()
{
    echo "moxie: missing: $packages($1)" >&2
    echo "moxie: on Debian or Ubuntu run, as root: apt-get install ${packages% }" >&2
    exit 1
}

look_only=
if [ "${1:-}" = --test ]; then
    look_only=1
    shift
fi
case ${1:-} in
build | check) ;;
*) echo "usage: deps.sh [--test] build|check" >&2; exit 2 ;;
esac

packages=$(missing "$1")
[ -n "$packages" ] || exit 0
[ -z "$look_only" ] || complain "or run: sh tools/deps.sh $1"

command -v apt-get >/dev/null 2>&1 || complain "no apt-get here; other systems name them differently"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root=sudo
else
    complain "not root, and no sudo without a password"
fi

echo "moxie: installing $packages" >&2
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0"
# A stale package list is no reason to stop: the install says whether it mattered.
$apt update >&2 || true
# shellcheck disable=SC2086  # words are wanted
$apt install -y --no-install-recommends $packages >&2 </dev/null || complain "apt-get could not install them"
packages=$(missing "$1")
[ -z "$packages" ] || complain "still not usable after apt-get; see above"
