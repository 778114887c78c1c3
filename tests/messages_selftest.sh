#!/bin/sh
# Does tools/messages find what it says it finds? Small sources and docs; TAP.
#   messages_selftest.sh PATH_OF_MESSAGES
set -u
messages=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/src"
n=0

# expect NAME CODE PATTERN: the tool's exit code, and a pattern of what it says
expect()
{
    n=$((n + 1))
    said=$("$messages" "$tree/doc.md" "$tree/src" "$tree/no-such-room")
    code=$?
    # shellcheck disable=SC2254  # a pattern is wanted
    case "$code $said" in
    "$2 "$3) echo "ok $n - $1" ;;
    *) echo "not ok $n - $1: exit code $code, $said" ;;
    esac
}

cat >"$tree/src/a.c" <<'C'
/* err_set(ERR_RUN, "in a comment") */
#define AGAIN "; try again"
static const char *text = "err_set(ERR_RUN, \"in a string\")";
enum err a(int error)
{
    if (error) return err_set(ERR_RUN, "%s: plain", "name, with a comma");
    if (error) return err_set(error == 1 ? f(1, ")") : ERR_RUN, "%5.1f %%, split "
                              "over %" PRIu64 " lines" AGAIN, text);
    if (error) return err_set(ERR_RUN, error > 1 ? "one '%s'" : "the other \"%s\"", text);
    return err_wrap(ERR_RUN, "%s", text);
}
C
cat >"$tree/doc.md" <<'D'
Prose is no entry, <file>: not even so.

    <file>: plain
    <x> %, split over <n> lines; ...
    one '<word>'
    the other "<word>"
D
expect 'all is listed' 0 '*ok 2 - * all of 4 messages*'
sed -i '/plain/d' "$tree/doc.md"
expect 'a message is missing' 1 '*#     <file>: plain*not ok 2*'
echo '    <file>: plain' >>"$tree/doc.md"
echo '    <file>: plane' >>"$tree/doc.md"
expect 'an entry is stale' 1 '*#     <file>: plane*not ok 3*'
sed -i '/plane/d' "$tree/doc.md"
echo '    one ...' >>"$tree/doc.md"
expect 'an entry may be a beginning' 0 '*ok 3*'
echo 'enum err b(const char *format) { return err_set(ERR_RUN, format, 1); }' >"$tree/src/b.c"
expect 'a format is no literal' 1 '*b.c:1: *not ok 1*'
echo "1..$n"
