#!/bin/sh
# test_repack.sh: what `-v` and `doctor` say about repacked weights. That the logits are the same
# without is golden.c's to show, for all types.
. "$(dirname "$0")/lib.sh"

golden=$here/../golden
q8=$golden/quant-llama-q8_0/model.gguf
echo 3 1 4 1 5 9 2 6 5 3 >ids

# ---- what is said ----

check 'repacked by default' 0 '' '*moxie: weights: * repacked in *.?? s*' \
    eval -v -m "$q8" --tokens ids --logits a.f32
for no in -nr --no-repack; do
    check "$no" 0 '' '*moxie: weights: mapped, not repacked, as --no-repack says*' \
        eval -v $no -m "$q8" --tokens ids --logits b.f32
    cmp -s a.f32 b.f32
    result $? "$no: the same logits"
done
MOXIE_NO_REPACK=1
export MOXIE_NO_REPACK
check 'MOXIE_NO_REPACK' 0 '' '*weights: mapped, not repacked, as*' \
    eval -v -m "$q8" --tokens ids --logits b.f32
unset MOXIE_NO_REPACK
check 'float32 activations read rows' 0 '' '*weights: mapped, not repacked, for float32*' \
    eval -v --act-f32 -m "$q8" --tokens ids --logits b.f32
check 'nothing to repack' 0 '' '*weights: mapped: none are of a type*' \
    eval -v -m "$golden/quant-llama-f16/model.gguf" --tokens ids --logits b.f32
check 'silent without -v' 0 '' '' eval -m "$q8" --tokens ids --logits b.f32

# ---- while it answers ----

# The demo model is in memory, as a file in the page cache is.
unset MOXIE_MODEL
late='*weights: * mapped, to be repacked*'
done='*weights: * repacked in *.?? s, not counted*'
check 'run repacks late' 0 '~*' "$late$done" run -v -n 20 --temp 0 -p Once
cp out late
check 'run -nr' 0 '~*' '*as --no-repack says*' run -v -nr -n 20 --temp 0 -p Once
cmp -s out late
result $? 'the same text'
check 'a short answer' 0 '~*' "$late" run -v -n 16 --temp 0 -p Once
like "$(cat err)" '*repacked in*'
result $((! $?)) 'a short answer: nothing is repacked'
check 'a prompt longer than a batch' 0 '~*' "$late$done" \
    run -v -n 1 -b 2 --temp 0 -p 'Once upon a time'
check 'said without -v' 0 '~*' "$done" \
    run -n 20 --temp 0 -p Once
check 'run -q' 0 '~*' '' run -q -n 20 --temp 0 -p Once

# ---- too little memory ----

if group memory limit_in_bytes; then
    limit_memory 67108864
    inside eval -v -m "$q8" --tokens ids --logits b.f32
    like "$(cat err)" '*weights: mapped, not repacked: needs * of memory, * are free*'
    result $? 'a limit of 64 MiB leaves no room'
    cmp -s a.f32 b.f32
    result $? 'mapped for want of memory: the same logits'
else
    skip 'mapped for want of memory' 'no control group can be made here'
fi

# Contexts of 4 TiB together: no machine has room for them and the weights, and nothing is packed
# before the sessions are opened, which the wrong option keeps from happening.
for command in "batch -i ids -o -" stdio; do
    check "${command%% *}: sessions without room" 2 '' \
        '*moxie: weights: mapped, not repacked: needs 4*.? TiB of memory, *--logit-bias*' \
        $command -v -m "$q8" -c 67108864 --parallel 255 --logit-bias 999999+1 </dev/null
done

if { (ulimit -v 240000 && "$MOXIE" --version); } >/dev/null 2>&1; then
    (ulimit -v 240000 && "$MOXIE" eval -v -m "$q8" --tokens ids --logits b.f32) >out 2>err
    result $? 'ulimit -v: runs'
    like "$(cat err)" '*weights: mapped, not repacked: needs * of memory, * are free*'
    result $? 'ulimit -v leaves no room'
else
    skip 'ulimit -v leaves no room' 'this build does not run under ulimit -v'
fi

# ---- what will be done ----

check 'doctor foretells it' 0 '~*weights*will be repacked*' '*' doctor -m "$q8" -t 1
check 'doctor --json does' 0 '~*"repack": true*"repack_bytes": *"repack_need_bytes": *' '*' \
    doctor --json -m "$q8" -t 1

echo "1..$(cat "$tmp/.count")"
