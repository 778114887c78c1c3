#!/bin/sh
# deps.sh: the packages that moxie needs, in one table.
#
#   sh tools/deps.sh build|check          install what is missing (Debian, Ubuntu)
#   sh tools/deps.sh --test build|check   only look; exit code 1 and a message when something is missing
#
# `check` includes `build`. What is there already is found by trying it (a command runs, a program that
# calls a function of the library links), so it does not matter where it came from; then nothing is
# called. LINK is how the Makefile links, -static by default. Installing takes apt-get and root, or sudo
# without a password. Where that is not given, one message names the packages and nothing else is tried.
set -u

# set | Debian package | how to see that it is there: a command, or libraries, a header and a function
table='
build make            command make
build gcc             command ${CC:-gcc}
build libc6-dev       link c,m                stdio.h    printf
build libpcre2-dev    link pcre2-8            pcre2.h    pcre2_compile
build libutf8proc-dev link utf8proc           utf8proc.h utf8proc_iterate
build libjansson-dev  link jansson            jansson.h  json_loadb
build zlib1g-dev      link z                  zlib.h     inflate
build libedit-dev     link edit,tinfo,bsd,md  histedit.h el_init
check libcmocka-dev   shared cmocka           cmocka.h   _cmocka_run_group_tests
check tmux            command tmux
check python3         command python3
'

# present KIND NAME HEADER FUNCTION: true when it is there
present()
{
    case $1 in
    command) command -v "$(eval "set -- $2; echo \$1")" >/dev/null 2>&1 ;;
    link) probe "$2" "$3" "$4" "${LINK--static}" ;;
    shared) probe "$2" "$3" "$4" ;;
    esac
}

# probe LIBRARIES HEADER FUNCTION FLAGS: compile and link a program that needs FUNCTION, and with it
# whatever the library itself needs
probe()
{
    libraries=-l$(echo "$1" | sed 's/,/ -l/g')
    # shellcheck disable=SC2086  # words are wanted
    printf '#include <%s>\n' stdarg.h stddef.h stdint.h setjmp.h "$2" |
        sed "\$a void (*volatile needed)(void) = (void (*)(void))$3; int main(void) { return !needed; }" |
        ${CC:-gcc} -DPCRE2_CODE_UNIT_WIDTH=8 -x c - ${4:-} -o /dev/null $libraries >/dev/null 2>&1
}

# missing SET: the packages of SET that are not there, on one line
missing()
{
    printf '%s\n' "$table" | while read -r set package kind name header function; do
        [ -n "$set" ] || continue
        [ "$1" = check ] || [ "$set" = build ] || continue
        present "$kind" "$name" "$header" "$function" </dev/null || printf '%s ' "$package"
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

compiler=${CC:-gcc}
if [ "${compiler%% *}" != gcc ] && ! command -v "${compiler%% *}" >/dev/null 2>&1; then
    echo "moxie: the compiler '${compiler%% *}' (CC) is not there; install it, or leave CC out for gcc" >&2
    exit 1
fi
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
