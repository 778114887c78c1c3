#!/bin/sh
# check_chroot.sh: what a new user does, on a machine that has nothing but git and the clone.
#
# Builds a minimal Debian 12 with debootstrap in a temporary directory, clones this repository (the
# last commit, not the working tree) into it, runs the two commands of the README there with an empty
# environment, and runs the program in a chroot that holds nothing else. TAP. Needs root, debootstrap
# and a network; says SKIP where it cannot. CHROOT_KEEP=1 keeps the directory.
set -u

skip() { echo "1..0 # SKIP $1"; exit 0; }
[ "$(id -u)" = 0 ] || skip "needs root"
command -v debootstrap >/dev/null || skip "needs debootstrap"

top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
sys=$work/debian
n=0
failed=0

cleanup()
{
    umount "$sys/proc" 2>/dev/null
    umount "$sys/dev/pts" 2>/dev/null
    umount "$sys/dev" 2>/dev/null
    # A mount that is still there must not be emptied.
    grep -q " $work/" /proc/mounts && return
    [ "${CHROOT_KEEP:-}" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

result() # EXIT_CODE NAME
{
    n=$((n + 1))
    if [ "$1" = 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
    fi
}

# run NAME COMMAND...: in the chroot, with an empty environment
run()
{
    name=$1
    shift
    chroot "$sys" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" \
        >"$work/$name.out" 2>"$work/$name.err" </dev/null
}

# show NAME: the ends of what it said, as TAP comments
show()
{
    tail -n 15 "$work/$1.out" "$work/$1.err" | sed 's/^/# /'
}

# The mirror and the proxy of this machine's apt: the chroot has to reach the same.
mirror=$(sed -n -e 's/^URIs: *\([^ ]*debian\)\/*$/\1/p' -e 's/^deb  *\([^ ]*debian\)\/*  *bookworm .*/\1/p' \
    /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
mkdir -p "$sys"
debootstrap --variant=minbase --include=git,ca-certificates bookworm "$sys" ${mirror:+"$mirror"} \
    >"$work/debootstrap.out" 2>"$work/debootstrap.err"
code=$?
[ $code = 0 ] || show debootstrap
result $code "debootstrap of a minimal Debian 12"
[ $code = 0 ] || { echo "1..$n"; exit 1; }
cp /etc/resolv.conf "$sys/etc/resolv.conf"
cp -r /etc/apt/apt.conf.d/. "$sys/etc/apt/apt.conf.d/"
# A container may not mount; debootstrap's own /dev is enough for most.
mount --bind /dev "$sys/dev" 2>/dev/null
mount --bind /dev/pts "$sys/dev/pts" 2>/dev/null
mount -t proc proc "$sys/proc" 2>/dev/null || mount --bind /proc "$sys/proc" 2>/dev/null

git clone -q --no-hardlinks "$top" "$sys/root/moxie"
result $? "clone"

run demo sh /root/moxie/tools/demo.sh
code=$?
show demo
result $code "sh tools/demo.sh"
[ "$(wc -c <"$work/demo.out")" -gt 200 ]
result $? "the demo wrote a text"

run check sh /root/moxie/tools/check.sh
code=$?
show check
result $code "sh tools/check.sh"
tail -n 1 "$work/check.out" | grep -Eq '^[1-9][0-9]* passed, 0 failed(, [0-9]+ skipped)?$'
result $? "the last line counts: $(tail -n 1 "$work/check.out")"

run again sh /root/moxie/tools/demo.sh
result $? "the demo again, with nothing to install"

mkdir "$work/empty"
cp "$sys/root/moxie/moxie" "$work/empty/"
chroot "$work/empty" /moxie run -n 40 --seed 1 -p "Once upon a time" >"$work/empty.out" 2>"$work/empty.err" </dev/null
result $? "./moxie runs in an empty chroot"

echo "1..$n"
exit $failed
