#!/usr/bin/env python3
"""gen_jinja_cases.py: records from Jinja2 itself what the tests of our interpreter expect.

    python3 tools/gen_jinja_cases.py > tests/data/jinja_cases.json
    python3 tools/gen_jinja_cases.py tests/data/templates > tests/data/templates/renders.json

The first: expressions and templates of this file. The second: every *.jinja of a folder with the
conversations of this file.

Needs Jinja2 3.1.6 (pip install jinja2==3.1.6). The environment is that of `transformers` for chat
templates: ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls, the tag
`generation`, tojson without HTML escapes, raise_exception, and strftime_now, here at a fixed time.
An expected text of null: Jinja2 raises.
"""
import copy
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

VARIABLES = {
    "name": "World",
    "empty": "",
    "text": "the quick brown fox",
    "lines": "one\ntwo\n\n  three\r\nfour",
    "html": "<b>\"x\" & 'y'</b>",
    "uni": "Größe 你好 😀 ΑΣ",
    "blank": " \t padded \n ",
    "n": 7,
    "zero": 0,
    "neg": -7,
    "f": 2.5,
    "big": 1e16,
    "yes": True,
    "no": False,
    "nil": None,
    "nums": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "nested": [[1, [2, 3]], {"k": [4]}],
    "d": {"b": 1, "a": 2, "C": 3},
    "msg": {"role": "user", "content": "hi", "items": "shadowed", "x-y": 1},
    "users": [
        {"name": "Ann", "age": 30, "city": "Rome", "on": True, "tag": {"k": "z"}},
        {"name": "bob", "age": 25, "city": "rome", "on": False, "tag": {"k": "y"}},
        {"name": "Cid", "age": 30, "city": "Oslo", "on": True, "tag": {}},
    ],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "say \"hi\" <é>\n",
                "parameters": {"type": "object", "properties": {}, "required": []},
            },
        }
    ],
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U1"},
        {"role": "assistant", "content": "A1", "tool_calls": [{"name": "g", "arguments": {"a": 1}}]},
        {"role": "user", "content": [{"type": "text", "text": "U2"}, {"type": "image"}]},
    ],
}

# One expression each; rendered as {{ expression }}.
EXPRESSIONS = r"""
1
-1
007
1_000
0x1F + 0b101 + 0o17
1.5
1e3
1.0
1e16
1e15
1e-5
0.0001
123456789.123456789
1/3
0.1+0.2
2**10
2**-1
2**0.5
2**3**2
-2**2
2*-3
7//2
-7//2
7//-2
7%3
-7%3
7%-3
-7.5//2
-7.5%2
7.5%-2
1e308*10
0.0*-1
10/4
10/5
1//0
1/0
1%0
1.0//0
0**-1
9223372036854775807
1+True
True+True
-True
+True
yes*3
not 1
not not 0
not nil
1 and 2
0 and 2
1 or 2
0 or ''
nil or 'x'
1 < 2 < 3
1 < 3 < 2
3 > 2 >= 2 == 2
1 == 1.0
1 == True
'a' < 'b'
'a' < 1
[1,2] < [1,3]
[1] == (1,)
(1,2) == (1,2)
{'a':1} == {'a':1.0}
nil == none
missing == other
missing != 1
nil < 1
1 in [1,2]
'ell' in 'hello'
1 in 'hello'
'a' in d
'a' not in d
not 'a' in d
2 in (1,2)
1 in missing
'x' in nil
missing in [1]
'a' ~ 1 ~ none ~ 2.0 ~ missing ~ true
'a' + 'b' * 2
3 * 'ab'
'ab' * -1
'ab' * 0
[1] + [2]
[1,2] * 2
(1,) + (2,)
[1] + (2,)
'a' + 1
1 + 'a'
'a' - 'b'
nil + 1
missing + 1
missing.x
missing['x']
missing()
missing|length
missing|list
missing|upper
-missing
[1,2,3][0]
[1,2,3][-1]
[1,2,3][5]
[1,2,3][5] is defined
[1,2,3]['0']
'abc'[1]
'abc'[-4]
'abc'[1:]
'abc'[:-1]
'abc'[::-1]
'abcdef'[1:5:2]
'abcdef'[5:1:-2]
'abcdef'[-2:]
'abcdef'[10:]
'abcdef'[:10]
'abcdef'[-10:2]
'abcdef'[::0]
uni[6:8]
uni[::-1]
uni[-2:]
uni|length
[1,2,3,4,5][1:3]
[1,2,3,4,5][::-2]
[1,2,3,4,5][-1:0:-1]
(1,2,3)[1:]
nums[1:][0]
nums[none:2]
nums['a':2]
d[1:2]
nil[1:]
missing[1:]
range(10)[2:5]
range(10)[::3]
range(10)[-1]
range(3)
range(1,10,3)|list
range(5,0,-2)|list
range(0)|list
range(1,2,0)
range('a')
range(1000000)
range(-9223372036854775807-1, 9223372036854775807, 4611686018427387904)|list
range(-9223372036854775807-1, 9223372036854775807, 4611686018427387904)[4:]|list
range(-9223372036854775807-1, 9223372036854775807, 4611686018427387904)[1:3]|list
range(-9223372036854775807-1, 9223372036854775807, 4611686018427387904)[-1]
range(-9223372036854775807-1, 9223372036854775807, 4611686018427387904)[::-1]|list
range(-9223372036854775807-1, 9223372036854775807, 4611686018427387904)[3::9]|list
range(9223372036854775807, -9223372036854775807-1, -4611686018427387904)|list
range(9223372036854775807, -9223372036854775807-1, -4611686018427387904)[4:]|list
range(9223372036854775807, -9223372036854775807-1, -4611686018427387904)[::-1]|list
range(9223372036854775807, -9223372036854775807-1, -4611686018427387904)[-2:]|list
d.a
d['a']
d.zzz
d.zzz.y
d['zzz'] is undefined
d.items()
d.keys()
d.values()
d.items()|list
d.keys()|list|sort
d.get('a')
d.get('q')
d.get('q', 5)
d.get('q') is none
d.items
msg.items
msg['items']
msg['x-y']
msg.x-y
msg.content.upper()
msg['content']
msg.get('role')
users[0].name
users.0.name
users[0]['tag'].k
users[-1].tag.k is defined
nested[0][1][0]
nested[1].k[0]
nested
(1,)
()
(1,2)
1,2
[]
{}
{'a': 1, 'b': [1, {'c': none}]}
{1: 'x', 2.5: 'y', true: 'z', none: 0}
{'a': 1, 'a': 2}
{(1,2): 3}[(1,2)]
{[1]: 2}
['it\'s', "q\"q", 'both\'"', 'nl\n', 'tab\t', 'é', '\x01', '\u200b']
'\x41\u00e9\U0001F600\101\n\\'
'\q'
'a' 'b' "c"
"it's"
'say "x"'
none
true
True
False
None
yes
1 if true
1 if false
(1 if false) is undefined
1 if false else 2
1 if n > 5 else 2 if n > 3 else 3
'a' if 0 else 'b' if 0 else 'c'
(1 if false)|default('d')
[x for x in nums]
n is odd
n is even
n is not odd
n is divisibleby 7
n is divisibleby(3)
n is number
n is integer
f is float
f is integer
yes is integer
yes is number
yes is boolean
yes is true
yes is false
no is false
nil is none
nil is not none
missing is defined
name is defined
name is undefined
name is string
n is string
d is mapping
nums is sequence
nums is iterable
d is sequence
n is iterable
name is iterable
missing is iterable
missing is sequence
missing is callable
d.items() is sequence
range is callable
name is callable
name.upper is callable
'abc' is lower
'ABC' is upper
'A1' is upper
'' is lower
n is eq 7
n is equalto 7
n == 7 is true
n is ne 8
n is gt 3
n is lessthan 3
n is >= 7
n is in [7]
'a' is in 'abc'
n is sameas 7
nil is sameas none
1 is sameas true
'upper' is filter
'nope' is filter
'odd' is test
'x' is escaped
'x'|e is escaped
n is nosuchtest
n|nosuchfilter
1 if true else (n|nosuchfilter)
n|nosuchfilter if false else 3
n is odd and n is number
n is odd or missing.x.y
n is defined is true
not n is odd
name|upper|lower|title
-1|abs
-1.5|abs
'x'|abs
(-1)|abs
[1,2,3]|batch(2)|list
[1,2,3]|batch(2, 'x')|list
[]|batch(2)|list
'hello world'|capitalize
'ÉCOLE'|capitalize
'ab'|center(7)
'abc'|center(8)
'abc'|center(9)
name|count
missing|d('x')
missing|default('x')
''|default('x')
''|default('x', true)
none|default('x')
none|default('x', boolean=true)
missing|default
d|dictsort
d|dictsort(true)
d|dictsort(false, 'value')
d|dictsort(reverse=true)
d|dictsort(by='nope')
[1]|dictsort
html|e
html|escape
html|e|e
html|forceescape
html|e|forceescape
html|safe|e
html|e + '<'
'<' + html|e
html|e ~ '<'
(html|e)[0:4] + '<'
html|e|upper
html|e|replace('&', '+')
1000|filesizeformat
1|filesizeformat
0|filesizeformat
999|filesizeformat
1234567|filesizeformat
1234567|filesizeformat(true)
1536|filesizeformat(binary=true)
1e30|filesizeformat
'x'|filesizeformat
nums|first
''|first
'abc'|first
[]|first
d|first
missing|first
n|first
'3.7'|float
'x'|float
'x'|float(1.5)
'1e5'|float
' 2 '|float
'inf'|float
nil|float
true|float
'%s-%s'|format(1, 'a')
'%(a)s'|format(a=1)
'%s'|format(1, 2)
'%d %5d|%-5d|%05d|%+d'|format(1, 2, 3, 4, 5)
'%.2f %5.1f %e %g'|format(1.005, 2.25, 12345.678, 0.0001)
'%x %X %o %#x %#o'|format(255, 255, 8, 255, 8)
'%r %s %%'|format('a', 'a')
'%c%c'|format(65, 'b')
'%s %s'|format(1)
'%d'|format('x')
'%5s|%-5s|%.2s'|format('ab', 'ab', 'abc')
'%s' % 5
'%s %s' % (1, 2)
'%s' % [1,2]
'%(x)s %(y)d' % {'x': 'a', 'y': 3}
'%d%%' % 50
'%s' % none
'%i' % 3.99
'%.200s|%.200r' % ('abc', 'abc')
'%.2r' % 'abc'
'%#.100f' % 1e308
'%+.100f' % -1e308
'{:.200}'.format('abc')
'{:.200s}'.format('abc')
'{:,.100f}'.format(1e308)
'{:,.100f}'.format(-1e308)
'{:_.100f}'.format(1e308)
'{:+_.100f}'.format(1e308)
'{:+#_.100f}'.format(-1e308)
'{:,.100%}'.format(1e306)
'{:+#,.100%}'.format(-1e306)
'{:_.100%}'.format(-1e308)
'{:+#,.100e}'.format(-1e308)
'{:+#,.100g}'.format(-1e308)
'{:+,.100}'.format(-1e308)
'{:,}'.format(1e15)
'{:_b} {:_o} {:_x} {:_X}'.format(255, 511, 65535, 65535)
'{:#_b}'.format(-9223372036854775807 - 1)
'{:,x}'.format(1)
'%5.3d' % 7
'%*d' % (5, 3)
'%' % 1
'%y' % 1
'abc' % ()
'abc' % 1
users|groupby('city')
users|groupby('age')|map(attribute='grouper')|list
(users|groupby('city'))[0].list|map(attribute='name')|join(',')
users|groupby('city', case_sensitive=true)|map('first')|list
users|groupby('tag.k', default='q')|map(attribute=0)|list
lines|indent
lines|indent(2)
lines|indent(2, true)
lines|indent(2, blank=true)
lines|indent('> ')
lines|indent(width='> ', first=true, blank=true)
''|indent(2, true)
n|indent
'12'|int
'12.9'|int
'x'|int
'x'|int(-1)
'0x1f'|int
'0x1f'|int(base=16)
'ff'|int(0, 16)
'101'|int(base=2)
'0b101'|int(base=0)
' 5 '|int
'1_000'|int
'-5'|int
'+5'|int
12.9|int
-12.9|int
true|int
nil|int
nil|int(3)
missing|int
[]|int
'1e3'|int
''|int
d|items|list
missing|items|list
nil|items|list
nums|join
nums|join(', ')
nums|join(d='-')
users|join(', ', attribute='name')
users|join('|', 'tag.k')
'abc'|join('-')
d|join(',')
missing|join(',')
nil|join
[1,none,missing,true]|join(' ')
nums|last
'abc'|last
[]|last
d|last
missing|last
nums|select|last
nums|length
d|length
'abc'|length
nil|length
5|length
nums|select|length
d|list
'abc'|list
5|list
'ÀB'|lower
uni|lower
'ΑΣ ΑΣΑ Σ'|lower
5|lower
nil|lower
users|map(attribute='name')|list
users|map(attribute='tag.k')|list
users|map(attribute='tag.k', default='-')|list
users|map(attribute='nope')|list
users|map('length')|list
words|map('upper')|join
words|map('replace', 'a', 'x')|join(',')
['1','x']|map('int', default=9)|list
nums|map
nums|map('nosuch')|list
[]|map('nosuch')|list
nums|map(nope=1)|list
nil|map('upper')|list
nums|max
nums|min
words|max
words|min
words|min(case_sensitive=true)
users|max(attribute='age')|string|length
users|min(attribute='age')
[]|max
[]|min is defined
[1,'a']|max
['b','B','a']|max
d|pprint
[1,2]|pprint
nums|reject('odd')|list
nums|select('odd')|list
nums|select('gt', 1)|list
nums|select('>', 1)|list
[0,1,'',none,'x']|select|list
[0,1,'',none,'x']|reject|list
users|selectattr('on')|map(attribute='name')|list
users|rejectattr('on')|map(attribute='name')|list
users|selectattr('age', 'equalto', 30)|map(attribute='name')|list
users|selectattr('age', '==', 30)|list|length
users|selectattr('name', 'in', ['Ann','bob'])|list|length
users|selectattr('tag.k', 'defined')|list|length
users|selectattr('nope')|list
users|selectattr
users|selectattr('age', 'nosuch')|list
nums|select('nosuch')|list
nums|select|first
nums|select is iterable
nums|select and 'yes'
[]|select and 'yes'
(nums|select)[0]
'abcabc'|replace('a', 'x')
'abcabc'|replace('a', 'x', 1)
'abc'|replace('', '-')
5|replace('5', 'x')
'aaa'|replace('a', '', 2)
nums|reverse|list
'abc'|reverse
uni|reverse
d|reverse|list
nums|reverse|length
nums|select|reverse
5|reverse
2.5|round
3.5|round
2.675|round(2)
-2.5|round
42|round
42|round(1)
15|round(-1)
25|round(-1)
1234.5|round(-2)
2.1|round(0, 'ceil')
2.9|round(0, 'floor')
2.123|round(2, 'ceil')
-2.5|round(method='floor')
1|round(method='nope')
'x'|round
1e300|round(2)
'<b>'|safe
[1,2,3,4,5]|slice(2)|list
[1,2,3,4,5]|slice(3)|list
[1,2,3,4,5]|slice(3, 'x')|list
[1]|slice(0)|list
nums|sort
nums|sort(reverse=true)
words|sort
words|sort(case_sensitive=true)
words|sort(true)
users|sort(attribute='age')|map(attribute='name')|list
users|sort(attribute='age,name')|map(attribute='name')|list
users|sort(attribute='age', reverse=true)|map(attribute='name')|list
d|sort
[1,'a']|sort
[3,none]|sort
nil|string
[1,'a']|string
'<p>a &amp; b</p> <!-- c --> <i>d</i>'|striptags
'a &lt; b &#39;c&#x27;'|striptags
nums|sum
users|sum(attribute='age')
nums|sum(start=10)
[]|sum
[[1],[2]]|sum(start=[])
['a']|sum
[1.5, 2]|sum
'hello wORLD-foo (bar) {baz}'|title
"they're bill's"|title
'a_b c'|title
'  x '|trim
'xxaxx'|trim('x')
'xyaxy'|trim('yx')
blank|trim
5|trim
text|truncate(9)
text|truncate(9, true)
text|truncate(12, false, '!')
text|truncate(17)
text|truncate(17, leeway=0)
text|truncate(2)
text|truncate(length=10, end='')
'aaaaaaaaaaaaaaaaaaaaaaaa'|truncate(10)
words|unique|list
words|unique(true)|list
[1,1.0,true,2]|unique|list
users|unique(attribute='city')|map(attribute='name')|list
[[1]]|unique|list
uni|upper
'straße ﬁ ŉ ǰ'|upper
'a b/c?d=é&~'|urlencode
{'a b': 'c/d', 'e': 1}|urlencode
[('a', 1), ('b', 'x y')]|urlencode
5|urlencode
'one two, three-four'|wordcount
'the quick brown fox jumps'|wordwrap(10)
'abcdefghijklmnopq'|wordwrap(5)
'abcdefghijklmnopq rs'|wordwrap(5, false)
'a-b well-known hyphen-ated words'|wordwrap(8)
'a-b well-known hyphen-ated words'|wordwrap(8, break_on_hyphens=false)
'größe-maß größe-m1 éé-éé'|wordwrap(6)
'------------'|wordwrap(5)
'one two\nthree four'|wordwrap(7, wrapstring='|')
'  lead and trail  '|wordwrap(6)
'the quick brown'|wordwrap(4)
'a bb'|wordwrap(1)
{'class': 'a', 'id': none, 'x': '<'}|xmlattr
{'class': 'a'}|xmlattr(false)
{'a b': 1}|xmlattr
{}|xmlattr
d|attr('a')
d|attr('items') is callable
d|attr('append') is defined
nums|attr('append') is defined
tools|tojson
tools|tojson(indent=2)
tools|tojson(indent=2, ensure_ascii=true)
uni|tojson
uni|tojson(ensure_ascii=true)
d|tojson(sort_keys=true)
d|tojson(separators=(',', ':'))
d|tojson(separators=[',', ':'], indent=1)
d|tojson(indent='--')
d|tojson(indent=0)
[]|tojson(indent=2)
{}|tojson(indent=2)
[[], {}]|tojson(indent=2)
(1, 2.0, none, true)|tojson
{1: 2, none: 3, true: 4, 1.5: 5}|tojson
{(1,2): 3}|tojson
missing|tojson
d.items()|tojson
range(3)|tojson
'\x00\x1f\x7f\b\f\n\r\t"\\/'|tojson
'\x7f'|tojson(ensure_ascii=true)
1e16|tojson
('inf'|float)|tojson
('nan'|float)|tojson
html|tojson
tools|tojson(false)
tools|tojson(nope=1)
{'b':1,1:2}|tojson(sort_keys=true)
[1, [2, {'a': [3]}]]|tojson(indent=4)
'x'|tojson|e
name.upper()
name.lower().title()
'hello'.capitalize()
'HeLLo'.swapcase()
'they\'re x2y'.title()
'ǆx ﬁ ŉ ᾳ ᾲ'.title()
'Straße'.casefold()
'ab'.center(7)
'abc'.center(8, '*')
'abc'.center(9, '**')
'banana'.count('an')
'banana'.count('')
'banana'.count('a', 2)
'banana'.count('a', 2, 4)
'banana'.endswith('na')
'banana'.endswith(('x', 'na'))
'banana'.endswith('n', 0, 5)
'banana'.startswith('ba')
'banana'.startswith(('x', 'b'))
'banana'.startswith(['b'])
'banana'.startswith('an', 1)
'banana'.startswith('')
'a\tb\tcc\td'.expandtabs()
'a\tb'.expandtabs(4)
'banana'.find('n')
'banana'.find('x')
'banana'.find('n', 3)
'banana'.rfind('n')
'banana'.index('n')
'banana'.index('x')
'banana'.rindex('n')
uni.find('好')
uni.rfind('Σ')
'abc123'.isalnum()
'abc'.isalpha()
'é你'.isalpha()
'12'.isdigit()
'²'.isdigit()
'²'.isdecimal()
'½'.isnumeric()
''.isdigit()
'a'.islower()
'A'.isupper()
' \n'.isspace()
'Ab Cd'.istitle()
'ab_1'.isidentifier()
'1a'.isidentifier()
'a\n'.isprintable()
'é'.isascii()
'-'.join(['a','b'])
'-'.join(nums)
'-'.join('abc')
''.join(users|map(attribute='name'))
'ab'.ljust(4) + '|'
'ab'.rjust(4, '.')
'  ab '.lstrip() + '|'
'  ab '.rstrip() + '|'
'  ab '.strip() + '|'
'xxabxx'.strip('x')
'xyab'.lstrip('yx')
'abxy'.rstrip('yx')
'ab'.strip('')
'ab'.strip(none)
'ab'.strip(1)
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('=')
'abc'.rpartition('=')
'abc'.partition('')
'prefix-x'.removeprefix('prefix-')
'x-suffix'.removesuffix('-suffix')
'x'.removesuffix('xx')
'aXbXc'.replace('X', '--')
'aXbXc'.replace('X', '--', 1)
'abc'.replace('', '.')
'abc'.replace('', '.', 2)
'abc'.replace('b')
'a b  c'.split()
'a b  c'.split(' ')
' a b  c '.split(none, 1)
'a,b,c'.split(',', 1)
'a,b,c'.split(',', maxsplit=1)
'a,b,c'.rsplit(',', 1)
' a b  c '.rsplit(none, 1)
' a b  c '.rsplit()
'a,b'.split('')
''.split()
''.split(',')
'<think>x</think>y'.split('</think>')[-1].lstrip('\n')
'<think>x</think>y'.split('</think>')[0].split('<think>')[-1]
lines.splitlines()
lines.splitlines(true)
''.splitlines()
'a\x0bb\x0cc\x1cd\x85e\u2028f'.splitlines()
'42'.zfill(5)
'-42'.zfill(5)
'abc'.zfill(2)
'abc'.nosuch
'abc'.nosuch()
'abc'.__class__
'abc'.__class__.__mro__
''.__class__.__base__
nums.append(1)
nums.append
nums.index(1)
nums.index(9)
nums.count(1)
nums.copy()
nums.sort()
nums.pop()
d.copy()
d.pop('a')
d.update({'q': 1})
d.setdefault('q', 1)
d.clear()
(1,2).count(1)
(1,2,1).index(2)
(5).bit_length()
(2.0).is_integer()
'{} {}'.format(1, 'a')
'{0} {1} {0}'.format('a', 'b')
'{a} {b.x} {c[0]} {c[k]}'.format(a=1, b={'x': 2}, c={'k': 3})
'{c[0]}'.format(c=[7])
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:5d}|{:05d}|{:+d}|{:,}|{:_}'.format(42, 42, 42, 1234567, 1234567)
'{:.2f}|{:8.3f}|{:e}|{:g}|{:%}'.format(3.14159, 2.5, 12345.678, 0.5, 0.25)
'{:x} {:X} {:#x} {:b} {:o}'.format(255, 255, 255, 5, 8)
'{!r} {!s}'.format('a', 'b')
'{{}} {}'.format(1)
'{:{}}|'.format('a', 5)
'{:{w}.{p}f}'.format(3.14159, w=8, p=2)
'{}'.format()
'{x}'.format()
'{'.format()
'}'.format()
'{:d}'.format('a')
'{:s}'.format(1)
'{:5}'.format(none)
'{}'.format(none)
'{} {0}'.format(1)
'{:.3}'.format('abcdef')
'{:5}|'.format(true)
'{:5}|'.format(1.5)
'{:.3}'.format(1234.5)
'{a}'.format_map({'a': 1})
'{0.__class__}'.format(1)
dict(a=1, b=2)
dict([('a', 1), ('b', 2)])
dict({'a': 1}, b=2)
dict(1)
dict(**d)
namespace(a=1).a
namespace(a=1).b is defined
namespace({'a': 1}).a
namespace(a=1)['a']
cycler('a','b').next()
joiner()
joiner('|')()
cycler()
raise_exception('boom')
raise_exception()
strftime_now('%Y-%m-%d %H:%M:%S')
strftime_now('%d %b %Y, %A %B %j %p %I %y %%')
strftime_now('%-d/%-m %e')
strftime_now('%c|%x|%X|%D|%F|%T|%R|%r')
strftime_now('Today é 你')
strftime_now()
range(3, 1)|list
(range(3)|list)[::-1]
range(1, 4)|sum
loop
loop.index
self is defined
caller is defined
varargs is defined
[1,2,3]|map('string')|map('upper')|join('+')
('a' ~ 'b')|length
[missing]|first is undefined
{'a': missing}.a is defined
messages|map(attribute='role')|join(' ')
messages[-1].content is string
messages[-1]['content'][0].text
messages[1:]|length
messages|selectattr('role', 'equalto', 'user')|list|length
(messages|selectattr('role', 'equalto', 'user')|list)[-1].content[0]['text']
messages|selectattr('role', 'equalto', 'tool')|first is defined
messages[0]['role'] == 'system' and messages[0].content or 'none'
messages[2].tool_calls[0].arguments|tojson
messages[2].tool_calls is defined and messages[2].tool_calls is not none
messages[1].tool_calls is defined
messages[::-1][0].role
messages|length - 1
(messages|length) % 2 == 0
tools[0].function.parameters.properties.items()|list
tools[0]['function']['name']
tools is iterable and tools|length > 0
not tools is none
tools[0].function|tojson(indent=4)
'a' is string and 'b' or 'c'
"a\
b"
"%s" % ("x",)
[1, 2,]
{'a': 1,}
(1, 2,)
range(3,)|list
[1,2][0] + [3][0]
d.a.b
d.a.b.c
nil.x
nil.x is defined
5.x
'abc'|first|upper
1 < 'x'
{} < {}
[1,2,3] is iterable
'a,b;c'.replace(';', ',').split(',')|map('trim')|list
('x' if n == 7 else 'y') ~ 'z'
users|map(attribute='name')|map('lower')|sort|join(',')
users|sort(attribute='name', case_sensitive=true)|map(attribute='name')|list
users|map(attribute='age')|sum / 3
[[3,'c'],[1,'a']]|sort
[[3,'c'],[1,'a']]|map('last')|list
[1,2,3]|first + 1
2 in d.values()
('a', 2) in d.items()
'a' in d.keys()
d.keys() == d.keys()
d == d.copy()
[1,2] == [1,2.0]
'%s' % d
'%s' % (d,)
d|string
[none, true, 1.0]|string
[1e100, 1e-10, 123456.789e3]|string
1e22
1e21 + 1
5e-324
1.7976931348623157e308
0.1
100.0
1234567890123456789
12345678901234567.0
3.0 * 2
7 / 7
6 // 2.0
2 ** 62
2 ** 3.0
10 ** -2
(-8) ** 2
(2).x
[]
'' ~ []
foo.bar is defined
(foo is defined and foo.bar) is defined
((1))
- 1
+ 1
1 if
1 +
(1
[1
{1
{'a'}
a b
1 2
name.
name|
name is
name[
name[]
name(
'unclosed
d['a'
d.a)
{% if %}
@
$x
a ? b : c
!x
x!y
a && b
1.
.5
1.e5
1e
0x
"\u12"
"\ud800"
name.upper(1)
name.upper(x=1)
name|upper(1)
name|replace('a')
name|default(1, 2, 3)
name|default(nope=1)
name|truncate(1, 2, 3, 4, 5)
f(*[1])
dict(*[[('a',1)]], **{'b': 2})
range(*[1, 4])|list
range(*nums)|list
namespace(**{'q': 1}).q
dict(a=1, *[])
dict(**{}, a=1)
'{}{}'.format(*'ab')
n is divisibleby 3 or n is divisibleby 7
n is not divisibleby 3
n is not none and n is not string
'x' is in ['x'] and 1
'a' in 'abc' and 'd' not in 'abc'
1 if 'a' in 'abc' else 2
not 'a' in 'abc' or 1
1 == 1 in [true]
2 > 1 == true
n|string|length == 1
'-' * 3 ~ '|'
1 + 2 ~ 3
'a' ~ 1 + 2
1 ~ 2 * 3
-n|abs
-n.x
2 ** -1 * 4
not n == 7
n == 7 or missing.a.b
n == 8 and missing.a.b
"a" "b"|upper
['a','b']|join|upper
{'a':1}.a
{'a':{'b':2}}['a'].b
[[1,2],[3,4]][1][0]
(nums|sort)[0]
nums|sort|first
nums.0
d.get
d.get('a') + d['b']
name|e|length
"\\d"
'a\\nb'
"tab\there"
'\'' ~ "\""
'{{ not }}'
'{% not %}'
'#}'
"""

# Whole templates.
TEMPLATES = [
    # white space
    "a\n",
    "a\n\n",
    "\n",
    "",
    "a\r\nb\rc\r\n",
    "  {{ n }}  ",
    "a {{- n -}} b",
    "a \n {{- n -}} \n b",
    "  {% if true %}x{% endif %}\ny",
    "  {% if true %}\n  x\n  {% endif %}\ny",
    "a  {% if true %}\n  x\n  {% endif %}\ny",
    "{% if true %}\n\nx\n\n{% endif %}\n\ny",
    "  {%- if true %}\n x {% endif -%} \n y",
    "  {%+ if true %}x{% endif %}",
    "{% if true +%}\nx{% endif %}",
    "{% if true -%}\n  x\n{%- endif %}\n",
    "  {# c #}\nx",
    "  {#- c -#}  \nx",
    "a {# c +#}\nx",
    "a{# c #}\n\nb",
    "  {#+ c #}x",
    "\t{% set a = 1 %}\t\n{{ a }}",
    "x\n  {{ n }}\n",
    "x\n  {{- n }}\n",
    "{{ n }}\n\n{{ n }}\n",
    "{% raw %}{{ x }} {% y %} {# z #}{% endraw %}",
    "{%- raw -%}\n  a {{ b }}\n  {%- endraw -%} c",
    "a\n  {% raw %}\n  b\n  {% endraw %}\n  c",
    "{% raw %}x{%+ endraw +%}\ny",
    "a {%- raw %} b{% endraw %}",
    "{% raw %}",
    "{# never closed",
    "{{ n",
    "{% if n %}",
    "{% endif %}",
    "{% else %}",
    "{{ n }",
    "{{ '}}' }}",
    "{{ {'a': {'b': 1}} }}",
    "{{ {'a':{}}}}",
    "{% set x = {'a': '%}'} %}{{ x.a }}",
    "{{-n-}}",
    "{{- -1 -}}",
    "{{+1}}",
    "a\n\n  {%- if true -%}\n\n b \n\n {%- endif -%}\n c",
    "\n  {% for i in [1,2] %}\n  - {{ i }}\n  {% endfor %}\nend",
    "{% for i in [1,2] -%}\n  - {{ i }}\n{% endfor %}\nend",
    "  {% for i in [1,2] %}{{ i }}{% endfor %}  ",
    " {% set a %}\n x \n {% endset %}\n[{{ a }}]",
    "a\u00a0{%- if 1 %}b{% endif %}",
    "\u2003{% if 1 %}b{% endif %}",
    "{{ 1 }}\x0b\n{%- if 1 %}x{% endif %}",
    "{%if true%}x{%endif%}",
    "{%-if true-%}x{%-endif-%}",
    "{%\nif\ntrue\n%}x{%\nendif\n%}",
    "{% if true %}x{% endif %}   \n  {% if true %}y{% endif %}",
    "{{ n }}   {% if true %}\n\n  z{% endif %}",
    # if
    "{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}",
    "{% if 0 %}a{% elif 1 %}b{% endif %}",
    "{% if '' %}a{% else %}b{% endif %}",
    "{% if missing %}a{% else %}b{% endif %}",
    "{% if missing.x %}a{% endif %}",
    "{% if [] or {} or 0.0 or none %}a{% else %}b{% endif %}",
    "{% if 1 if 0 %}x{% endif %}",
    "{% if n, %}x{% endif %}",
    "{% if true %}{% set a = 1 %}{% endif %}{{ a }}",
    "{% if false %}{% set a = 1 %}{% endif %}{{ a is defined }}",
    "{% if false %}{{ n|nosuch }}{% endif %}ok",
    "{% if true %}{{ n|nosuch }}{% endif %}",
    "{% for i in [] %}{{ n|nosuch }}{% endfor %}",
    "{% if n is odd %}{% if n > 3 %}x{% endif %}{% endif %}",
    "{% if not n %}x{% elif not missing %}y{% endif %}",
    # for
    "{% for i in nums %}{{ i }},{% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for i in nums %}x{% else %}none{% endfor %}",
    "{% for i in missing %}x{% else %}none{% endfor %}",
    "{% for i in nil %}x{% endfor %}",
    "{% for i in 5 %}x{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for c in 'aé你' %}[{{ c }}]{% endfor %}",
    "{% for a, b in [(1,2),(3,4)] %}{{ a+b }} {% endfor %}",
    "{% for (a, b), c in [((1,2),3)] %}{{ a+b+c }}{% endfor %}",
    "{% for a, b in [(1,2,3)] %}{{ a }}{% endfor %}",
    "{% for a, b in [(1,)] %}{{ a }}{% endfor %}",
    "{% for a, b in ['xy'] %}{{ a }}-{{ b }}{% endfor %}",
    "{% for a, b in [1] %}{{ a }}{% endfor %}",
    "{% for a, in [(1,)] %}{{ a }}{% endfor %}",
    "{% for i in nums %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for i in nums %}{{ loop.previtem|default('-') }}<{{ i }}>{{ loop.nextitem|default('-') }} {% endfor %}",
    "{% for i in nums %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for i in nums %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for i in nums %}{{ loop.cycle() }}{% endfor %}",
    "{% for i in [1,1,2,2,1] %}{{ loop.changed(i) }} {% endfor %}",
    "{% for i in nums if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}",
    "{% for i in nums if i > 9 %}x{% else %}none{% endfor %}",
    "{% for u in users if u.on %}{{ u.name }}{{ '' if loop.last else ', ' }}{% endfor %}",
    "{% for i in nums|select('gt', 1) %}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for i in range(3) %}{{ i }}{% endfor %}",
    "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}",
    "{% for i in (1, 2) if true else [3] %}{{ i }}{% endfor %}",
    "{% for i in nums %}{% for j in nums %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for i in nums %}{% set outer = loop %}{% for j in [1,2] %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% set x = 1 %}{% for i in nums %}{{ x }}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% for i in nums %}{% set y = i %}{% endfor %}{{ y is defined }}",
    "{% set i = 9 %}{% for i in nums %}{{ i }}{% endfor %}{{ i }}",
    "{% set ns = namespace(x=0) %}{% for i in nums %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = ns.a + 1 %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}",
    "{% set d2 = {} %}{% set d2.a = 1 %}",
    "{% set nope.a = 1 %}",
    "{% set ns = namespace(f=false) %}{% for i in nums if not ns.f %}{{ i }}{% set ns.f = true %}{% endfor %}",
    "{% set ns = namespace(f=false) %}{% for i in nums if not ns.f %}{{ i }}{{ loop.last }}{% set ns.f = true %}{% endfor %}",
    "{% for n in tree recursive %}{{ n.v }}{% if n.kids %}({{ loop(n.kids) }}){% endif %}{% endfor %}",
    "{% for n in tree recursive %}{{ loop.depth }}:{{ n.v }}[{{ loop(n.kids) }}]{% endfor %}",
    "{% for n in tree %}{{ loop(n.kids) }}{% endfor %}",
    "{% for n in tree recursive %}{{ n.v }}{{ loop(n.kids) }}{% else %}.{% endfor %}",
    "{% for i in nums %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in nums %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in nums %}{% break %}{% else %}none{% endfor %}",
    "{% for i in nums %}{% continue %}{% else %}none{% endfor %}",
    "{% for i in nums %}{{ i }}{% break %}x{% else %}none{% endfor %}",
    "{% for i in nums %}{% for j in nums %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% break %}",
    "{% for i in nums %}{% set x %}a{% break %}{% endset %}{% endfor %}ok",
    "{% for i in nums %}{% with %}{% continue %}{% endwith %}x{% endfor %}ok",
    "{% for i in nums %}{% filter upper %}a{% if i == 1 %}{% break %}{% endif %}{% endfilter %}{% endfor %}ok",
    "{% for i in nums %}{{ loop.nosuch is defined }}{% endfor %}",
    "{% for loop in nums %}{% endfor %}",
    "{% for i in nums %}{% set loop = 1 %}{% endfor %}",
    "{% for i in nums %}{{ i }}{% endfor",
    "{% for i nums %}{% endfor %}",
    "{% for 1 in nums %}{% endfor %}",
    "{% for a.b in nums %}{% endfor %}",
    "{% for i in nums %}{% if loop.first %}[{% endif %}{{ i }}{% if not loop.last %}, {% else %}]{% endif %}{% endfor %}",
    "{% for i in d %}{{ loop.length }}{{ loop.revindex }}{% endfor %}",
    "{% for x in [[1,2],[3]] %}{% for y in x %}{{ y }}{% endfor %}|{% endfor %}",
    "{% for m in messages %}{{ m.role }}:{{ loop.index0 % 2 }} {% endfor %}",
    "{% for item in nums|reverse %}{{ item }}{% endfor %}",
    "{% for item in nums|batch(2) %}{{ item|join('+') }};{% endfor %}",
    "{% set g = nums|select %}{% for i in g %}{{ i }}{% endfor %}|{% for i in g %}{{ i }}{% endfor %}",
    "{% for a, b in users|groupby('age') %}{{ a }}:{{ b|length }} {% endfor %}",
    "{% for i in range(3) recursive %}{{ i }}{% endfor %}",
    # set
    "{% set a = 1 %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = b, a %}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set (a, b) = (1, 2) %}{{ a + b }}",
    "{% set a = b = 1 %}",
    "{% set 1 = 2 %}",
    "{% set a.b.c = 1 %}",
    "{% set none = 1 %}",
    "{% set a %}x{{ n }}y{% endset %}{{ a|upper }}",
    "{% set a | upper %}x{{ n }}y{% endset %}{{ a }}",
    "{% set a | replace('x', 'z') | upper %}xyz{% endset %}{{ a }}",
    "{% set a %}{% set b = 1 %}{% endset %}{{ b is defined }}",
    "{% set ns = namespace() %}{% set ns.t %}body{% endset %}{{ ns.t }}",
    "{% set name = 'x' %}{{ name }}",
    "{% set a = missing %}{{ a is defined }}",
    "{% set a = 1 if false %}{{ a is defined }}",
    "{% set ns = namespace(a=1) %}{% set ns.a, b = 2, 3 %}{{ ns.a }}{{ b }}",
    "{% set a = [] %}{% set _ = a.append(1) %}",
    "{% set range = 1 %}{{ range }}",
    "{% set a = {'x': [1]} %}{{ a.x[0] }}",
    "{% set a = a %}{{ a is defined }}",
    "{% set a",
    "{% set = 1 %}",
    "{% set a = %}",
    "{% set x = 'o' %}{% if true %}{% set x = 'i' %}{% endif %}{{ x }}",
    "{% set x = 'o' %}{% with %}{% set x = 'i' %}{{ x }}{% endwith %}{{ x }}",
    # macros
    "{% macro f(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(b=5, a=4) }} {{ f() }}",
    "{% macro f(a) %}{{ a is defined }}{% endmacro %}{{ f() }}",
    "{% macro f(a) %}{{ a.x }}{% endmacro %}{{ f() }}",
    "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{% endmacro %}{{ f(b=2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}",
    "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}",
    "{% macro f(a) %}{{ a }}{{ varargs|join(',') }}{% endmacro %}{{ f(1, 2, 3) }}",
    "{% macro f() %}{{ kwargs.x }}{% endmacro %}{{ f(x=1) }}",
    "{% macro f() %}{% for k, v in kwargs.items() %}{{ k }}{{ v }}{% endfor %}{% endmacro %}{{ f(a=1, b=2) }}",
    "{% macro f() %}x{% endmacro %}{{ f(caller=1) }}",
    "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(3) }}",
    "{% macro f(a=1, b) %}{% endmacro %}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}g{% endmacro %}{{ f() }}",
    "{{ f() }}{% macro f() %}x{% endmacro %}",
    "{% set y = 1 %}{% macro f() %}{{ y }}{% endmacro %}{% set y = 2 %}{{ f() }}",
    "{% macro f() %}{% set z = 1 %}{{ z }}{% endmacro %}{{ f() }}{{ z is defined }}",
    "{% macro f(x) %}{% set x = x + 1 %}{{ x }}{% endmacro %}{{ f(1) }}{{ f(1) }}",
    "{% for i in nums %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}",
    "{% macro f() %}a{% endmacro %}{{ f()|upper }}{{ f() ~ f() }}{{ f().upper() }}",
    "{% macro f() %}{{ n }}{{ name }}{% endmacro %}{{ f() }}",
    "{% macro f(a, b) %}{% endmacro %}{{ f.name }} {{ f.arguments }} {{ f.catch_kwargs }} {{ f.catch_varargs }} {{ f.caller }}",
    "{% macro f() %}  x  {% endmacro %}[{{ f() }}]",
    "{% macro f(x) -%}\n  {{ x }}\n{%- endmacro %}[{{ f(1) }}]",
    "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}body{% endcall %}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}{{ n }}{% endcall %}",
    "{% macro f(xs) %}{% for x in xs %}{{ caller(x) }};{% endfor %}{% endmacro %}{% call(y) f(nums) %}{{ y * 2 }}{% endcall %}",
    "{% macro f() %}{{ caller(1, b=3) }}{% endmacro %}{% call(a, b=2) f() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ f }}{% endmacro %}{{ f() }}{% for i in nums %}{{ loop }}{% endfor %}",
    "{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}",
    "{% macro f(caller=none) %}{{ caller }}{% endmacro %}{{ f() }}",
    "{% call name.upper() %}y{% endcall %}",
    "{% call n %}y{% endcall %}",
    "{% for i in [1,2] %}{% macro g(x) %}{{ x }}{{ i }}{% endmacro %}{{ g('a') }}{% endfor %}",
    "{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}",
    "{% macro f() %}{{ loop is defined }}{% endmacro %}{% for i in [1] %}{{ f() }}{% endfor %}",
    "{% set m = namespace(f=none) %}{% macro g() %}G{% endmacro %}{% set m.f = g %}{{ m.f() }}",
    "{% macro f(a,) %}{{ a }}{% endmacro %}",
    "{% macro f(a b) %}{% endmacro %}",
    "{% macro %}{% endmacro %}",
    "{% macro f() %}{% break %}{% endmacro %}",
    "{% for i in nums %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}",
    "{% macro f(items) %}{{ items|length }}{% endmacro %}{{ f([1,2]) }}{{ f(items=[]) }}",
    "{% macro f(x=[]) %}{{ x }}{% endmacro %}{{ f() }}{{ f(x=none) }}",
    # filter blocks, with, call, scopes, blocks
    "{% filter upper %}a{{ name }}b{% endfilter %}",
    "{% filter replace('a', 'b')|upper %}aaa{% endfilter %}",
    "{% filter indent(2) %}a\nb\n{% endfilter %}",
    "{% filter nosuch %}a{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}",
    "{% with a %}{% endwith %}",
    "{% with a = 1 b = 2 %}{% endwith %}",
    "{% block x %}in{{ n }}{% endblock %}",
    "{% block x %}a{% endblock x %}b",
    "{% for i in nums %}{% block x scoped %}{{ i }}{% endblock %}{% endfor %}",
    "{% for i in nums %}{% block y %}{{ i is defined }}{% endblock %}{% endfor %}",
    "{% set q = 1 %}{% block z %}{{ q }}{% endblock %}",
    "{% block x %}a{% endblock %}{{ self.x() }}{{ self.y is defined }}",
    "{% block x %}a{% endblock %}{% block x %}b{% endblock %}",
    "{{ self.q() }}{% set n = 9 %}{% block q %}{{ n }}{% endblock %}",
    "{% generation %}a{{ n }}{% endgeneration %}",
    "{% for i in nums %}{% generation %}{{ i }}{% endgeneration %}{% endfor %}",
    "{% generation %}{% set g = 1 %}{% endgeneration %}{{ g is defined }}",
    "{% autoescape false %}{{ html }}{% endautoescape %}",
    "{% print 1, 2, name %}",
    "{% print n %}",
    "{% do 1 %}",
    "{% nosuch %}",
    "{% include 'x' %}",
    "{% extends 'x' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% if false %}{% include 'x' %}{% endif %}ok",
    "{% trans %}a{% endtrans %}",
    "{% endfor %}",
    "{% if 1 %}{% endfor %}",
    "{% %}",
    "{{ }}",
    "{% 1 %}",
    "{%- -%}",
    "{% if 1 %}a{% else %}b{% else %}c{% endif %}",
    "{% if 1 %}a{% else %}b{% elif 1 %}c{% endif %}",
    "{% raw %}a{% endraw %}{% raw %}b{% endraw %}",
    "{% set x %}{% raw %}{{ a }}{% endraw %}{% endset %}{{ x }}",
    "{% if true: %}a{% endif %}",
    "{% for i in nums: %}{{ i }}{% endfor %}",
    # as chat templates do
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% else %}<image>{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{%- if messages[0]['role'] == 'system' -%}{%- set loop_messages = messages[1:] -%}{%- set sys = messages[0]['content'] -%}{%- else -%}{%- set loop_messages = messages -%}{%- endif -%}{%- for message in loop_messages -%}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('Conversation roles must alternate') }}{%- endif -%}{{ message.role }},{%- endfor -%}{{ sys }}",
    "{%- set ns = namespace(i=messages|length - 1, go=true) -%}{%- for m in messages[::-1] -%}{%- set index = (messages|length - 1) - loop.index0 -%}{%- if ns.go and m.role == 'user' and m.content is string -%}{%- set ns.go = false -%}{%- set ns.i = index -%}{%- endif -%}{%- endfor -%}{{ ns.i }}",
    "{% for t in tools %}{{ t|tojson(indent=4) }}\n\n{% endfor %}",
    "{%- for k, v in tools[0].function.items() %}{{ k }}: {{ v|tojson if v is mapping else v|trim }}\n{%- endfor %}",
    "{{ messages|map(attribute='role')|list|tojson }}",
    "{%- macro render(p, level=0) -%}{%- if p is mapping -%}{ {%- for k, v in p|dictsort -%}{{ k }}:{{ render(v, level+1) }}{{ ',' if not loop.last }}{%- endfor -%} }{%- elif p is iterable and p is not string -%}[{{ p|map('string')|join(';') }}]{%- else -%}{{ p }}@{{ level }}{%- endif -%}{%- endmacro -%}{{ render(tools[0]) }}",
    "{%- set date_string = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' -%}{{ date_string }}",
    "{%- if not date_string is defined %}{%- set date_string = '26 Jul 2024' %}{%- endif %}{{ date_string }}",
    "{{ (messages|last)['content'][0]['text'] if messages|last is mapping }}",
    "{%- for m in messages if m.role != 'system' %}{{ loop.index }}{{ m.role }}{{ '' if loop.last else '|' }}{%- endfor %}",
    "{{ messages|rejectattr('role', 'equalto', 'system')|map(attribute='role')|join(',') }}",
    "{%- set last = messages | selectattr('role', 'equalto', 'user') | list | last -%}{{ last.content[0].text }}",
    "{% set content = '<think>\nabc\n</think>\n\nanswer' %}{% if '</think>' in content %}{% set r = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}[{{ r }}][{{ content }}]",
    "{%- for tool_call in messages[2].tool_calls %}{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}{{ '{\"name\": \"' ~ tool_call.name ~ '\", \"arguments\": ' }}{{ tool_call.arguments | tojson if tool_call.arguments is not string else tool_call.arguments }}{{ '}' }}{%- endfor %}",
    "{{ '' if messages[0].role == 'x' }}|{{ none if true }}",
    "{{ bos_token }}{{ bos_token is defined }}",
    "{% set x = messages|length > 2 and messages[2].role == 'assistant' %}{{ x }}",
    "{{ messages[1]['content'] | trim ~ '</s>' }}",
    "{{ '[INST] ' ~ messages[1]['content'] | trim ~ ' [/INST]' }}",
    "{% for message in messages %}{% set content = message['content'] if message['content'] is string else message['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('') %}{{ content }};{% endfor %}",
]


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a place.\nSay \"where\" & <when>.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "a town, like Zürich"},
                "days": {"type": "integer", "description": "how many", "default": 1},
                "unit": {"type": "string", "enum": ["C", "F"], "description": "degrees"},
                "points": {"type": "array", "items": {"type": "number"}, "description": "a list"},
            },
            "required": ["place"],
        },
    },
}
CALL = {"id": "call12345", "type": "function",
        "function": {"name": "get_weather", "arguments": {"place": "Köln", "days": 2}}}

# Variables of a render, beside bos_token, eos_token and what a render of transformers always has.
CONVERSATIONS = {
    "user": {"messages": [{"role": "user", "content": "Hello {{ x }} <|im_end|> 你好 😀"}]},
    "system": {"messages": [{"role": "system", "content": " Be  brief.\n"},
                            {"role": "user", "content": "Hi\n"}]},
    "turns": {"messages": [{"role": "user", "content": "2+2?"},
                           {"role": "assistant", "content": "   4   "},
                           {"role": "user", "content": "Why?"}]},
    "no_prompt": {"add_generation_prompt": False,
                  "messages": [{"role": "user", "content": "a"},
                               {"role": "assistant", "content": "<think>\nhm\n</think>\n\nb"}]},
    "thinking": {"enable_thinking": True, "thinking": True,
                 "messages": [{"role": "user", "content": "a"},
                              {"role": "assistant", "content": "b", "reasoning_content": "r\n"},
                              {"role": "user", "content": "c"}]},
    "no_thinking": {"enable_thinking": False, "thinking": False, "reasoning_effort": "low",
                    "messages": [{"role": "system", "content": "S /no_think"},
                                 {"role": "user", "content": "a"},
                                 {"role": "assistant", "content": "<think>x</think>b"},
                                 {"role": "user", "content": "c"}]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "What "},
                                                        {"type": "text", "text": "is this?"}]}]},
    "tools": {"tools": [WEATHER], "messages": [{"role": "user", "content": "Weather?"}]},
    "tool_turns": {"tools": [WEATHER, WEATHER],
                   "messages": [{"role": "system", "content": "S"},
                                {"role": "user", "content": "Weather?"},
                                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                                {"role": "tool", "name": "get_weather", "tool_call_id": "call12345",
                                 "content": '{"degrees": 21.5}'},
                                {"role": "assistant", "content": "21 and a half."},
                                {"role": "user", "content": "Thanks"}]},
    "null_content": {"tools": [WEATHER],
                     "messages": [{"role": "user", "content": "Weather?"},
                                  {"role": "assistant", "content": None,
                                   "tool_calls": [CALL, CALL]},
                                  {"role": "tool", "tool_call_id": "call12345", "content": "rain"},
                                  {"role": "tool", "tool_call_id": "call12345", "content": "sun"}]},
    "wrong_order": {"messages": [{"role": "assistant", "content": "a"},
                                 {"role": "system", "content": "b"}]},
    "odd_role": {"messages": [{"role": "developer", "content": "a"},
                              {"role": "user", "content": "b"}]},
    "none": {"messages": []},
    "documents": {"documents": [{"doc_id": "1", "title": "T", "text": "body"}],
                  "messages": [{"role": "user", "content": "a"}]},
}


class Generation(jinja2.ext.Extension):
    """The tag {% generation %}: its body is a call block, as in transformers."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime(2026, 1, 2, 3, 4, 5).strftime(f)
    return env


def render(env, source, variables):
    try:
        text = env.from_string(source).render(**copy.deepcopy(variables))
        text.encode("utf-8")  # a lone surrogate is no text
        return text
    except Exception:  # whatever it is: the template failed
        return None


def print_cases(env):
    expressions = [e for e in EXPRESSIONS.split("\n") if e]
    sources = ["{{ " + e + " }}" for e in expressions] + TEMPLATES
    cases = [[s, render(env, s, VARIABLES)] for s in sources]
    cases = [c for c in cases if c[1] is None or " at 0x" not in c[1]]  # an address is no text
    print('{"what": "recorded from Jinja2 3.1.6 by tools/gen_jinja_cases.py; null: it raises",')
    print('"variables":', json.dumps(VARIABLES, ensure_ascii=False) + ",")
    print('"cases": [')
    print(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases))
    print("]}")


def print_renders(env, folder):
    always = {"tools": None, "documents": None, "add_generation_prompt": True}
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    lines = []
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        source = path.read_bytes().decode()
        for name, variables in CONVERSATIONS.items():
            text = render(env, source, {**always, **tokens, **variables})
            lines.append(json.dumps([path.name, name, text], ensure_ascii=False))
    data = {name: {**always, **variables} for name, variables in CONVERSATIONS.items()}
    print('{"what": "recorded from Jinja2 3.1.6 by tools/gen_jinja_cases.py; null: it raises",')
    print('"own":', json.dumps(tokens) + ",")
    print('"conversations":', json.dumps(data, ensure_ascii=False) + ",")
    print('"renders": [')
    print(",\n".join(lines))
    print("]}")


def main():
    if jinja2.__version__ != "3.1.6":
        sys.exit(f"gen_jinja_cases.py: Jinja2 is {jinja2.__version__}, expected 3.1.6")
    if len(sys.argv) > 1:
        print_renders(environment(), sys.argv[1])
    else:
        print_cases(environment())


if __name__ == "__main__":
    main()
