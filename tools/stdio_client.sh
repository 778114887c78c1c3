#!/bin/sh
# stdio_client.sh: the smallest client of `moxie stdio`: a conversation, a line of standard input is
# a message, the answers come as they are written.
#
#   sh tools/stdio_client.sh [OPTION...]          options of `moxie stdio`; MOXIE names the program
#   printf '%s\n' 'Hello' 'Say that again' | sh tools/stdio_client.sh -m model.gguf
#
# A pipeline is all it takes: lines become requests of one conversation, which moxie answers in
# order, and the texts of its events become the output. Needs nothing but a shell and sed.
set -u

# Standard input as requests.
requests()
{
    tr -d '\000-\010\013-\037' | sed -u 's/\\/\\\\/g; s/"/\\"/g; s/\t/\\t/g
        s/.*/{"type":"generate","conversation":"shell","prompt":"&"}/'
}

# Events as text: of a token its text, where \" is the one escape that printf does not know; an
# empty line ends an answer; what went wrong goes to standard error as it is.
answers()
{
    sed -u -n -e '/^{"type":"token"/{s/.*,"text":"\(.*\)"}$/t\1/;s/\\\\/\\0134/g;s/\\"/"/g;p;}' \
        -e 's/^{"type":"done".*/d/p' -e '/^{"type":"failed"/s/^/e/p' -e '/^{"type":"error"/s/^/e/p' |
        while IFS= read -r line; do
            case $line in
            t*) printf '%b' "${line#t}" ;;
            d) printf '\n\n' ;;
            e*) printf 'stdio_client: %s\n' "${line#e}" >&2 ;;
            esac
        done
}

requests | "${MOXIE:-moxie}" stdio "$@" | answers
