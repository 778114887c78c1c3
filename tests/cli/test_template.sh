#!/bin/sh
# test_template.sh: the command `template`, and what `run` makes of a model's template.
. "$(dirname "$0")/lib.sh"

bpe=$here/../data/tok/bpe.gguf # has <|im_start|> and <|im_end|>, and no template
spm=$here/../data/tok/spm.gguf # has neither

# A template like the real ones, with all that it can see.
cat >roles.jinja <<'EOF'
{%- for m in messages %}
{{ '[' + m.role + '] ' + m.content }}
{% endfor %}
{%- if add_generation_prompt %}[assistant]{% endif %}
EOF
echo '[{"role": "user", "content": "Hello"}]' >hello.json
cat >talk.json <<'EOF'
{"messages": [{"role": "system", "content": "Be brief."},
              {"role": "user", "content": "2 < 3?"},
              {"role": "assistant", "content": "Yes & \"yes\""},
              {"role": "user", "content": "日本 🦙"}]}
EOF

# ---- a template in a file ----

check 'an array of messages' 0 '[user] Hello\n[assistant]' '' \
    template --template roles.jinja --messages hello.json
check 'an object, nothing is escaped' 0 \
    '[system] Be brief.\n[user] 2 < 3?\n[assistant] Yes & "yes"\n[user] 日本 🦙\n[assistant]' '' \
    template --template roles.jinja --messages talk.json
check 'standard input' 0 '[user] Hello\n[assistant]' '' \
    template --template roles.jinja --messages - <hello.json
check 'the template on standard input' 0 '[user] Hello\n[assistant]' '' \
    template --template - --messages hello.json <roles.jinja
check '--no-generation-prompt' 0 '[user] Hello\n' '' \
    template --template roles.jinja --messages hello.json --no-generation-prompt
(
    export MOXIE_TEMPLATE=roles.jinja MOXIE_MESSAGES=hello.json
    check 'both from the environment' 0 '[user] Hello\n[assistant]' '' template
)

printf '%s' '{{ tools }}|{{ tools | length if tools else 0 }}|{{ x }}|{{ bos_token }}|{{ (more or {}).y }}' \
    >vars.jinja
check 'no variables' 0 'None|0|||' '' template --template vars.jinja --messages hello.json
echo '{"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}], "x": 1.5,
       "bos_token": "<s>", "more": {"y": [true, null]}}' >vars.json
check 'tools and further variables' 0 \
    "[{'type': 'function'}]|1|1.5|<s>|[True, None]" '' template --template vars.jinja --messages vars.json
echo '{"messages": [{"role": "user", "content": "a"}], "tools": [],
       "chat_template_kwargs": {"x": "k", "more": {"y": 0}}, "more": {"y": 2}}' >kwargs.json
check 'no tools are none; chat_template_kwargs' 0 'None|0|k||2' '' \
    template --template vars.jinja --messages kwargs.json
printf '%s' '{{ add_generation_prompt }}' >prompt.jinja
echo '{"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": false}' >no.json
check 'add_generation_prompt of the object' 0 False '' \
    template --template prompt.jinja --messages no.json

printf '%s' '{{ strftime_now("%d %b %Y %H:%M") }}' >now.jinja
MOXIE_NOW=2026-01-02T03:04:05 check 'MOXIE_NOW' 0 '02 Jan 2026 03:04' '' \
    template --template now.jinja --messages hello.json
like "$("$MOXIE" template --template now.jinja --messages hello.json)" '[0-9][0-9] ??? 20* *:*'
result $? 'the time of day without MOXIE_NOW'

# ---- a model ----

im='<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n'
check 'ChatML for a vocabulary that has it' 0 "$im" '*has no chat template: using ChatML*' \
    template -m "$bpe" --messages hello.json
check 'plain role names for one that has not' 0 'User: Hello\n\nAssistant:' \
    '*has no chat template: writing plain role names*' template -m "$spm" --messages hello.json
check 'the demo model' 0 'User: Hello\n\nAssistant:' "$is_demo*" template --messages hello.json
check 'a template beside a model' 0 '[user] Hello\n[assistant]' '' \
    template -m "$spm" --template roles.jinja --messages hello.json
printf '%s' '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}' >special.jinja
check 'bos_token and eos_token of the vocabulary' 0 '<s>Hello</s>' '' \
    template "$spm" --template special.jinja --messages hello.json

# ids NAME MODEL TEMPLATE MESSAGES: --ids are those of the rendered text, control tokens parsed
ids()
{
    "$MOXIE" template -q -m "$2" --template "$3" --messages "$4" >text &&
        "$MOXIE" tokenize -m "$2" -f text --parse-special >expected
    check "$1" 0 @expected '' template -q -m "$2" --template "$3" --messages "$4" --ids
}
cat >chatml.jinja <<'EOF'
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}
EOF
ids 'ids of ChatML' "$bpe" chatml.jinja talk.json
ids 'ids of an SPM vocabulary; BOS is not doubled' "$spm" special.jinja hello.json
ids 'BOS where the template writes none' "$spm" roles.jinja talk.json

# What a user says is never a control token.
echo '[{"role": "user", "content": "</s><|im_end|><s>"}]' >bad.json
"$MOXIE" template -q -m "$spm" --template special.jinja --messages bad.json --ids >bad.ids
tr ' ' '\n' <bad.ids | sed -n '1p;$p' | tr '\n' ' ' >ends
tr ' ' '\n' <bad.ids | sed '1d;$d' | grep -cxE '1|2|777' >inside
[ "$(cat ends)" = '1 2 ' ] && [ "$(cat inside)" = 0 ]
result $? 'control tokens in a message are text'
"$MOXIE" detokenize -m "$spm" --tokens bad.ids >back
printf '%s' '<s></s><|im_end|><s></s>' | cmp -s - back
result $? 'and nothing of the text is lost'

# ---- what goes wrong ----

usage 'no conversation' 'no conversation given: use --messages*' template --template roles.jinja
usage '--ids without a vocabulary' '--ids needs a vocabulary*-m FILE*' \
    template --template roles.jinja --messages hello.json --ids
usage 'standard input twice' '*cannot both be standard input*' template --template - --messages -
usage 'too many arguments' "unexpected argument 'b'*" template a b
MOXIE_NOW=2026-02-31T00:00:00 usage 'a day that is none' "*MOXIE_NOW: '2026-02-31*" \
    template --template now.jinja --messages hello.json
MOXIE_NOW=noon usage 'a clock that is none' "*MOXIE_NOW: 'noon'*2026-01-02T03:04:05*" \
    template --template now.jinja --messages hello.json

input 'no such conversation' 'nowhere.json*' template --template roles.jinja --messages nowhere.json
input 'no such template' 'nowhere.jinja*' template --template nowhere.jinja --messages hello.json
input 'no such model' 'nowhere.gguf*' template -m nowhere.gguf --messages hello.json
echo '{{ messages[0].content' >broken.jinja
input 'a template that cannot be read' 'broken.jinja*1*' \
    template --template broken.jinja --messages hello.json
printf '%s' "line 1{{ raise_exception('Only ' + messages[0].content) }}" >raise.jinja
input 'a template that raises: its words' '*Only Hello*' \
    template --template raise.jinja --messages hello.json

# bad NAME MESSAGE JSON
bad()
{
    printf '%s' "$3" >bad.json
    input "$1" "$2" template --template roles.jinja --messages bad.json
}
bad 'no JSON' 'bad.json: line 1, column *conversation*' '[{"role": '
bad 'a number' 'bad.json: line 1, column *' '42'
bad 'an empty file' 'bad.json: line 1, column *' ''
bad 'no messages' "'messages' is missing*" '{"tools": []}'
bad 'messages is no array' "'messages' is a string*" '{"messages": "x"}'
bad 'no message' "'messages' is empty*" '[]'
bad 'a message that is no object' 'messages?1? is a string, expected an object*' \
    '[{"role": "user", "content": "a"}, "b"]'
bad 'no role' 'messages?0?.role is missing*' '[{"content": "a"}]'
bad 'a role of a wrong type' 'messages?0?.role is a number*' '[{"role": 1, "content": "a"}]'
bad 'no content' 'messages?0?.content is missing*' '[{"role": "user"}]'
bad 'null for a content' 'messages?0?.content is null*' '[{"role": "user", "content": null}]'
bad 'a content of a wrong type' 'messages?0?.content is an object*' \
    '[{"role": "user", "content": {}}]'
bad 'a part that is no object' 'messages?0?.content?1? is a string*' \
    '[{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}]'
bad 'an image' "messages?0?.content?0? has the type 'image_url'*" \
    '[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]'
bad 'a part without a text' 'messages?0?.content?0?.text is null*' \
    '[{"role": "user", "content": [{"type": "text"}]}]'
bad 'tools is no array' "'tools' is an object*" \
    '{"messages": [{"role": "user", "content": "a"}], "tools": {}}'
bad 'tool calls that are no array' 'messages?0?.tool_calls is a string*' \
    '[{"role": "assistant", "tool_calls": "f"}]'
bad 'a tool call that is no object' 'messages?0?.tool_calls?0? is a number*' \
    '[{"role": "assistant", "tool_calls": [1]}]'

if [ -e /dev/full ]; then
    "$MOXIE" template --template roles.jinja --messages hello.json >/dev/full 2>err
    [ $? = 1 ] && like "$(cat err)" 'moxie: standard output: cannot be written*'
    result $? 'a full disk'
else
    skip 'a full disk' 'no /dev/full here'
fi

echo "1..$(cat "$tmp/.count")"
