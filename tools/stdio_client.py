#!/usr/bin/env python3
"""stdio_client.py: a client of `moxie stdio` in Python's standard library.

    python3 tools/stdio_client.py "first question" "second question" -- -m model.gguf

asks all questions at once and prints the answers as they are written, each on its own in turn. As a
module it is all that a program needs:

    with Moxie("-m", "model.gguf") as moxie:
        answer = moxie.generate(prompt="Hello", conversation="c1")
        for text in answer:
            print(text, end="", flush=True)
        print(answer.done["usage"])
"""
import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading


class Failed(Exception):
    """A request that ended without an answer; .event is what moxie said, .code its stable name."""

    def __init__(self, event):
        super().__init__("%(code)s: %(message)s" % event)
        self.event = event
        self.code = event["code"]


class Answer:
    """One request: iterate for the text, then look at .done; Failed when there is no answer."""

    def __init__(self, moxie, name):
        self.moxie = moxie
        self.id = name
        self.line = None  # that asked
        self.done = None  # its last event
        self.failed = None
        self.events = queue.Queue()

    def __iter__(self):
        while not self.done:
            if self.failed:
                raise self.failed
            event = self.events.get()
            if event["type"] == "token":
                yield event["text"]
            elif event["type"] == "done":
                self.done = event
            else:
                self.failed = Failed(event)

    def text(self):
        """All of it, when it is there."""
        return "".join(self)

    def cancel(self, **fields):
        self.moxie.send("cancel", id=self.id, **fields)


class Moxie:
    """A running `moxie stdio`. Any thread may ask; one thread of its own reads."""

    def __init__(self, *options, program=os.environ.get("MOXIE", "moxie")):
        self.process = subprocess.Popen(
            [program, "stdio", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("moxie has ended: exit code %d" % self.process.wait())
        self.hello = json.loads(line)
        if self.hello["protocol"] != 1:
            raise RuntimeError("protocol %s is not known here" % self.hello["protocol"])
        self.names = ("request-%d" % i for i in itertools.count(1))
        self.n_lines = 0  # that were sent
        self.answers = {}  # requests at work, by id
        self.lock = threading.Lock()  # of answers and names
        self.writing = threading.Lock()  # apart: who waits in a write must not stop the reader
        self.others = queue.Queue()  # events that belong to no request
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def send(self, kind, /, answer=None, **fields):
        line = json.dumps({"type": kind, **fields}).encode() + b"\n"
        with self.writing:
            self.n_lines += 1
            if answer:
                answer.line = self.n_lines
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def generate(self, **fields):
        """A request, as the fields of docs/STDIO.md; without an id it gets a new one."""
        with self.lock:
            name = fields.pop("id", None)
            if name is None:
                name = next(n for n in self.names if n not in self.answers)
            if name in self.answers:
                raise ValueError("a request of the id %r waits or runs" % name)
            answer = self.answers[name] = Answer(self, name)
        try:
            self.send("generate", answer, id=name, **fields)
        except BaseException:
            with self.lock:
                self.answers.pop(name, None)
            raise
        return answer

    def answer_of(self, event):
        """The request that an event is about, or None."""
        if event["type"] in ("token", "done", "failed"):
            return self.answers.get(event["id"])
        if event["type"] == "error":  # about a line: perhaps one that was to begin a request
            return next((a for a in self.answers.values() if a.line == event["line"]), None)
        return None

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            with self.lock:
                answer = self.answer_of(event)
                if answer and event["type"] != "token":
                    del self.answers[answer.id]
            (answer.events if answer else self.others).put(event)
        gone = {"type": "failed", "code": "gone", "message": "moxie has ended"}
        with self.lock:
            for answer in self.answers.values():
                answer.events.put(gone)

    def close(self):
        """The end of the input: what runs is finished. The exit code."""
        with self.writing, contextlib.suppress(BrokenPipeError):  # it may be gone
            self.process.stdin.close()
        self.reader.join()
        self.process.stdout.close()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.close()


def main(arguments):
    at = arguments.index("--") if "--" in arguments else len(arguments)
    questions, options = arguments[:at], arguments[at + 1:]
    if not questions or questions[0] in ("-h", "--help"):
        sys.exit("usage: stdio_client.py QUESTION... [-- OPTION OF moxie stdio...]")
    with Moxie(*options) as moxie:
        answers = [moxie.generate(prompt=question) for question in questions]
        for question, answer in zip(questions, answers):
            print("> " + question)
            for text in answer:
                print(text, end="", flush=True)
            print("\n[%s, %d tokens]\n" % (answer.done["finish_reason"],
                                           answer.done["usage"]["completion_tokens"]))


if __name__ == "__main__":
    main(sys.argv[1:])
