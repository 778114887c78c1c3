"""stdio_drive.py: programs on the other end of `moxie stdio`: three conversations at once of which
one is cancelled, and readers and writers that behave badly. MOXIE names the program. Prints a line
for each test, `pass NAME` or `fail NAME: why`; test_stdio.sh makes TAP of it.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
import stdio_client

STALL_S = 20  # whoever takes longer is stuck
FLOOD = 40000  # pings whose pongs fill a pipe and the queue behind it
MORE_BYTES = 48 << 20  # that bad behaviour may cost: the longest line, held while it is copied
os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1"  # what is freed is free


def start(*options):
    """The bare process, for tests that break the rules."""
    p = subprocess.Popen([os.environ["MOXIE"], "stdio", "-q", *options], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert json.loads(p.stdout.readline())["type"] == "hello"
    return p


def line(**fields):
    return json.dumps(fields).encode() + b"\n"


def say(p, **fields):
    p.stdin.write(line(**fields))
    p.stdin.flush()


def cpu_seconds(p):
    with open("/proc/%d/stat" % p.pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes(p):
    """The most memory it had so far."""
    with open("/proc/%d/status" % p.pid) as f:
        return int(next(s for s in f if s.startswith("VmHWM")).split()[1]) * 1024


def wait_until_asleep(p):
    """Until it computes nothing for a while."""
    end = time.monotonic() + STALL_S
    before = -1.0
    while cpu_seconds(p) != before:
        assert time.monotonic() < end, "it never rests"
        before = cpu_seconds(p)
        time.sleep(0.25)


def end(p, code, *, out=None):
    p.stdin.close()
    rest = p.stdout.read() if out is None else out
    assert p.wait(STALL_S) == code, "exit code %d" % p.returncode
    return [json.loads(s) for s in rest.splitlines()]


QUESTIONS = {"red": "Once upon a time", "green": "The dog ran", "blue": "One day, Lily"}
ENDLESS = {"logit_bias": {"2": -100}}  # the demo model's end of text never comes


def three_conversations():
    def options(name):
        return {"prompt": QUESTIONS[name], "conversation": name, "temperature": 0.7, "seed": 11,
                "max_tokens": 700 if name == "green" else 120, **ENDLESS}

    alone = {}
    with stdio_client.Moxie("-q", "--parallel", "1") as moxie:
        for name in QUESTIONS:
            alone[name] = moxie.generate(**options(name)).text()
    with stdio_client.Moxie("-q", "--parallel", "3") as moxie:
        assert moxie.hello["parallel"] == 3
        answers = {name: moxie.generate(**options(name)) for name in QUESTIONS}
        green = iter(answers["green"])
        begun = next(green)
        answers["green"].cancel()
        begun += "".join(green)
        for name in ("red", "blue"):
            assert answers[name].text() == alone[name], name + " differs from being alone"
            assert answers[name].done["conversation"] == name
        assert answers["green"].done["finish_reason"] == "cancelled", "green was not cancelled"
        assert alone["green"].startswith(begun), "green differs from being alone"
        assert 0 < len(begun) < len(alone["green"])
        again = moxie.generate(prompt="Then", conversation="green", max_tokens=3)
        again.text()
        usage = again.done["usage"]
        assert usage["cached_tokens"] >= len(begun) // 8, "a conversation is not computed anew"
        assert usage["prompt_tokens"] > usage["cached_tokens"]
    assert moxie.process.returncode == 0


def together():
    """Events of several requests mix: they are written at once."""
    p = start("--parallel", "3")
    for name in "abc":
        say(p, type="generate", id=name, prompt="Once", raw=True, max_tokens=60, **ENDLESS)
    events = end(p, 0)
    ids = [e["id"] for e in events if e["type"] == "token"]
    changes = sum(a != b for a, b in zip(ids, ids[1:]))
    assert changes > len(ids) // 2, "%d changes in %d tokens" % (changes, len(ids))
    texts = {n: "".join(e["text"] for e in events if e.get("id") == n and e["type"] == "token")
             for n in "abc"}
    assert len(texts["a"]) > 10


def same_as_run():
    p = start()
    for seed in (1, 2, 3):
        say(p, type="generate", id=seed, prompt="Once upon a time", raw=True, seed=seed,
            max_tokens=80, stream=seed != 2)
    events = end(p, 0)
    for seed in (1, 2, 3):
        expected = subprocess.run(
            [os.environ["MOXIE"], "run", "-q", "--raw", "--seed", str(seed), "-n", "80", "-p",
             "Once upon a time"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)
        mine = [e for e in events if e.get("id") == seed]
        text = "".join(e.get("text", "") for e in mine)
        assert text == expected.stdout.decode(), "seed %d" % seed
        assert mine[-1]["seed"] == seed
    assert sum(e["type"] == "token" for e in events if e.get("id") == 2) == 0


def random_seed_is_told():
    with stdio_client.Moxie("-q") as moxie:
        fields = {"prompt": "Once upon a time", "max_tokens": 60, "temperature": 3, "top_k": 0,
                  "top_p": 1, "min_p": 0}  # so wild that no two answers are alike
        first, second = moxie.generate(**fields), moxie.generate(**fields)
        text = first.text()
        assert text != second.text()
        assert first.done["seed"] != second.done["seed"]
        assert moxie.generate(seed=first.done["seed"], **fields).text() == text


def reader_that_stalls():
    """Unread events pause the answers, and nothing else."""
    p = start("--parallel", "2")
    pings = b'{"type":"ping"}\n' * FLOOD
    p.stdin.write(pings + line(type="generate", id="a", prompt="Once", max_tokens=1000))
    p.stdin.write(line(type="generate", id="b", prompt="Once", max_tokens=4))
    p.stdin.flush()
    wait_until_asleep(p)
    say(p, type="cancel", id="a")
    wait_until_asleep(p)
    say(p, type="bye")
    events = end(p, 0)
    assert sum(e["type"] == "pong" for e in events) == FLOOD
    done = {e["id"]: e for e in events if e["type"] == "done"}
    assert done["a"]["finish_reason"] == "cancelled"
    assert done["a"]["usage"]["completion_tokens"] == 0, "it wrote for nobody"
    assert done["b"]["usage"]["completion_tokens"] == 4
    assert events[-1]["type"] == "bye"


def writer_that_never_reads():
    """Memory is bounded, and nothing is lost when it reads after all."""
    p = start()
    usual = peak_bytes(p)
    n = 400000
    child = os.fork()
    if child == 0:
        for _ in range(n // 1000):
            p.stdin.write(b'{"type":"ping"}\n' * 1000)
        p.stdin.close()
        os._exit(0)
    p.stdin.close()
    wait_until_asleep(p)
    assert peak_bytes(p) - usual < MORE_BYTES, "%d bytes" % (peak_bytes(p) - usual)
    events = end(p, 0)
    os.waitpid(child, 0)
    assert len(events) == n + 1


def killed_while_nobody_reads():
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        p = start()
        p.stdin.write(b'{"type":"ping"}\n' * FLOOD + line(type="generate", prompt="Once"))
        p.stdin.flush()
        wait_until_asleep(p)
        p.send_signal(number)
        assert p.wait(STALL_S) == code, "exit code %d" % p.returncode


def interrupted():
    for prompt in (None, "Once"):
        p = start()
        if prompt:
            say(p, type="generate", prompt=prompt, **ENDLESS)
            assert p.stdout.readline()
        p.send_signal(signal.SIGINT)
        assert p.wait(STALL_S) == 130, "exit code %d" % p.returncode
        assert b"interrupted" in p.stderr.read()


def reader_that_leaves():
    for prompt in (None, "Once"):
        p = start()
        if prompt:
            say(p, type="generate", prompt=prompt)
        p.stdout.close()
        assert p.wait(STALL_S) == 0, "exit code %d" % p.returncode
        assert p.stderr.read() == b""


def lingers():
    p = start("--linger", "1")
    p.stdin.write(b'{"type":"ping"}\n' * FLOOD)
    p.stdin.close()
    assert p.wait(STALL_S) == 1, "exit code %d" % p.returncode
    assert b"--linger" in p.stderr.read()
    p = start("--linger", "1")
    p.stdin.write(b'{"type":"ping"}\n' * FLOOD)
    p.stdin.flush()
    wait_until_asleep(p)
    time.sleep(1.2)  # before the end a reader has all the time there is
    assert len(end(p, 0)) == FLOOD + 1


def byte_by_byte():
    p = start()
    text = line(type="generate", id="ä", prompt="Ä", max_tokens=3, raw=True).replace(
        b"\\u00e4", "ä".encode()).replace(b"\\u00c4", "Ä".encode()) + b'\xff\n{"type":"ping"}'
    for i in range(len(text)):
        p.stdin.write(text[i:i + 1])
        p.stdin.flush()
    events = end(p, 0)
    assert [e["code"] for e in events if e["type"] == "error"] == ["not_utf8"]
    assert any(e["type"] == "done" and e["id"] == "ä" for e in events)
    assert any(e["type"] == "pong" for e in events)


def line_that_is_too_long():
    p = start()
    usual = peak_bytes(p)
    say(p, type="ping", id=1)
    for _ in range(300):  # 75 MiB without a newline
        p.stdin.write(b"x" * (256 << 10))
    p.stdin.write(b"\n")
    say(p, type="ping", id=3)
    p.stdin.flush()
    assert json.loads(p.stdout.readline())["id"] == 1
    error = json.loads(p.stdout.readline())
    assert (error["code"], error["line"]) == ("too_long", 2)
    assert json.loads(p.stdout.readline())["id"] == 3
    assert peak_bytes(p) - usual < MORE_BYTES, "%d bytes" % (peak_bytes(p) - usual)
    longest = b'{"type":"ping","id":4}'
    p.stdin.write(longest + b" " * ((8 << 20) - len(longest)) + b"\n")
    p.stdin.write(longest + b" " * ((8 << 20) + 1 - len(longest)) + b"\n")
    events = end(p, 0)
    assert [e.get("code", e["type"]) for e in events] == ["pong", "too_long", "bye"]


def too_much_that_waits():
    """Behind a request that does not get on, those of the same conversation wait unread."""
    p = start()
    p.stdin.write(b'{"type":"ping"}\n' * FLOOD)
    say(p, type="generate", id="first", conversation="c", prompt="Once")
    for i in range(17):
        say(p, type="generate", id=i, conversation="c", prompt="x" * (4 << 20))
    say(p, type="generate", id="small", prompt="Once", max_tokens=1)
    wait_until_asleep(p)
    say(p, type="bye", cancel=True)
    events = [e for e in end(p, 0) if e["type"] != "pong"]
    codes = {e["id"]: e.get("code") or e["finish_reason"] for e in events if "id" in e}
    assert codes.pop(15) == codes.pop(16) == "busy"
    assert set(codes.values()) == {"cancelled"} and len(codes) == 17, codes


def too_many_conversations():
    with stdio_client.Moxie("-q") as moxie:
        for i in range(256):
            moxie.generate(prompt="x", conversation=i, max_tokens=0).text()
        try:
            moxie.generate(prompt="x", conversation=256, max_tokens=0).text()
            assert False, "no error"
        except stdio_client.Failed as e:
            assert e.code == "busy"
        moxie.generate(prompt="x", conversation=255, max_tokens=0).text()
        moxie.send("close", conversation=7)
        moxie.generate(prompt="x", conversation=256, max_tokens=0).text()
        assert moxie.others.get()["type"] == "closed"


def bye_with_open_input():
    p = start()
    say(p, type="generate", id="a", prompt="Once", max_tokens=5)
    say(p, type="bye", id="z")
    events = [json.loads(s) for s in p.stdout.read().splitlines()]
    assert p.wait(STALL_S) == 0
    assert events[-1] == {"type": "bye", "id": "z"}
    assert events[-2]["type"] == "done" and events[-2]["id"] == "a"


def model_that_shrinks():
    """Every request is told, then the program ends."""
    demo = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "demo",
                        "tinymoe-q8_0.gguf")
    shutil.copy(demo, "shrinks.gguf")
    os.chmod("shrinks.gguf", 0o600)
    p = start("-m", "shrinks.gguf", "--parallel", "1")
    p.stdin.write(line(type="generate", id="runs", prompt="Once", **ENDLESS) +
                  line(type="generate", id="waits", prompt="Once"))
    p.stdin.flush()
    assert json.loads(p.stdout.readline())["type"] == "token"
    os.truncate("shrinks.gguf", 100000)
    events = end(p, 1)
    codes = {e["id"]: e["code"] for e in events if e["type"] == "failed"}
    assert codes == {"runs": "model", "waits": "model"}, codes
    assert events[-1]["type"] == "failed"
    assert b"shrinks.gguf" in p.stderr.read()


def fails_with(code, answer):
    try:
        answer.text()
        assert False, "no error"
    except stdio_client.Failed as e:
        assert e.code == code, e.code


def client_reports_errors():
    with stdio_client.Moxie("-q") as moxie:
        hot = moxie.generate(prompt="x", temperature="hot")
        fails_with("bad_field", hot)
        fails_with("bad_field", hot)  # again, and not for ever
        fails_with("bad_field", moxie.generate(id="x" * 300, prompt="x"))
        fails_with("too_long", moxie.generate(id="long", prompt="x" * (9 << 20)))
        assert moxie.answers == {}
    try:
        stdio_client.Moxie("-q", "-m", "/nonexistent.gguf")
        assert False, "no error"
    except RuntimeError as e:
        assert "exit code 3" in str(e)


def client_keeps_requests_apart():
    """What else is said with the id of a request does not end it."""
    with stdio_client.Moxie("-q", "-c", "16384") as moxie:
        answer = moxie.generate(id=0, prompt="Once", **ENDLESS)
        try:
            moxie.generate(id=0, prompt="Once")
            assert False, "an id twice"
        except ValueError:
            pass
        moxie.send("generate", id=0, prompt="Once", wrong=1)
        moxie.send("generate", id=0, prompt="Once")
        moxie.send("cancel", id=0, wrong=1)
        moxie.send("ping", id=0)
        answer.cancel()
        answer.text()
        assert answer.done["id"] == 0 and answer.done["finish_reason"] == "cancelled"
        said = [moxie.others.get() for _ in range(4)]
        assert [e.get("code", e["type"]) for e in said] == [
            "unknown_field", "duplicate_id", "unknown_field", "pong"]
        moxie.generate(id="request-1", prompt="Once", **ENDLESS)
        assert moxie.generate(prompt="x").id == "request-2"
        moxie.process.kill()
        moxie.process.wait()
        try:
            moxie.generate(id="late", prompt="x")
            assert False, "written to nobody"
        except BrokenPipeError:
            assert "late" not in moxie.answers


def killed_in_a_line():
    """What has come ends with a whole line, whatever it was doing."""
    for number in (signal.SIGTERM, signal.SIGINT):
        p = start()
        p.stdin.write(b"x\n" * FLOOD)  # the answers are longer, so the pipe fills within one
        p.stdin.flush()
        wait_until_asleep(p)
        p.send_signal(number)
        assert p.wait(STALL_S) == 128 + number
        said = p.stdout.read()
        assert said.endswith(b"}\n"), said[-40:]
        assert all(json.loads(s)["type"] == "error" for s in said.splitlines())


TESTS = [three_conversations, together, same_as_run, random_seed_is_told, reader_that_stalls,
         writer_that_never_reads, killed_while_nobody_reads, interrupted, reader_that_leaves,
         lingers, byte_by_byte, line_that_is_too_long, too_much_that_waits, too_many_conversations,
         bye_with_open_input, model_that_shrinks, client_reports_errors, client_keeps_requests_apart,
         killed_in_a_line]

for test in TESTS:
    name = test.__name__.replace("_", " ")
    try:
        test()
        print("pass " + name, flush=True)
    except Exception as e:  # every test is to be heard
        at = traceback.extract_tb(e.__traceback__)[-1].lineno
        print("fail %s: line %d: %r" % (name, at, e), flush=True)
