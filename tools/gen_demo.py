#!/usr/bin/env python3
"""Documents how models/demo/tinymoe-q8_0.gguf was made; needs numpy, and is no part of the build.

    python3 tools/gen_demo.py tinymoe-f32.gguf models/demo/tinymoe-q8_0.gguf

Reads a GGUF v3 file with F32 tensors. Every matrix (2-D or 3-D) whose rows are a multiple of 32 items
becomes Q8_0, except the router (ffn_gate_inp), which stays F32 like the norms. The keys are copied;
general.name and general.file_type are set anew.
"""
import struct
import sys

import numpy as np

ALIGN, F32, Q8_0, BLOCK = 32, 0, 8, 32
U32, STR, ARR = 4, 8, 9
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
NAME = "tinymoe 5.7M (demo: a small mixture of experts that writes childish stories)"
FILE_TYPE_Q8_0 = 7


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, n):
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def number(self, fmt):
        return struct.unpack("<" + fmt, self.take(struct.calcsize(fmt)))[0]

    def string(self):
        return self.take(self.number("Q"))

    def skip_value(self, kind):
        if kind == STR:
            self.string()
        elif kind == ARR:
            item, n = self.number("I"), self.number("Q")
            for _ in range(n):
                self.skip_value(item)
        else:
            self.take(SCALAR_BYTES[kind])


def string(s):
    return struct.pack("<Q", len(s)) + s


def quantise(x):
    """Rows of 32: d = max|x| / 127 in float32, stored as f16; q = x * (1 / d), halves away from zero."""
    x = x.reshape(-1, BLOCK).astype(np.float32)
    d = (np.abs(x).max(axis=1) / np.float32(127)).astype(np.float32)
    inverse = np.divide(np.float32(1), d, out=np.zeros_like(d), where=d != 0)
    scaled = x * inverse[:, None]
    q = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    return np.concatenate([d.astype("<f2").view(np.uint8).reshape(-1, 2), q.view(np.uint8)], axis=1).tobytes()


def read(data):
    r = Reader(data)
    assert r.take(4) == b"GGUF" and r.number("I") == 3
    n_tensor, n_key = r.number("Q"), r.number("Q")
    keys = []
    for _ in range(n_key):
        key, kind, start = r.string(), r.number("I"), r.pos
        r.skip_value(kind)
        keys.append((key, kind, data[start:r.pos]))
    tensors = []
    for _ in range(n_tensor):
        name, n_dim = r.string(), r.number("I")
        dims = [r.number("Q") for _ in range(n_dim)]
        kind, offset = r.number("I"), r.number("Q")
        assert kind == F32, name
        tensors.append((name, dims, offset))
    base = -(-r.pos // ALIGN) * ALIGN
    return keys, [(name, dims, np.frombuffer(data, "<f4", int(np.prod(dims)), base + offset))
                  for name, dims, offset in tensors]


def convert(name, dims, x):
    if len(dims) < 2 or dims[0] % BLOCK or b"ffn_gate_inp" in name:
        return F32, x.tobytes()
    return Q8_0, quantise(x)


def main(source, target):
    keys, tensors = read(open(source, "rb").read())
    new = {b"general.name": (STR, string(NAME.encode())),
           b"general.file_type": (U32, struct.pack("<I", FILE_TYPE_Q8_0))}
    keys = [(key, *new.get(key, (kind, value))) for key, kind, value in keys]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    head += b"".join(string(key) + struct.pack("<I", kind) + value for key, kind, value in keys)
    body = b""
    for name, dims, x in tensors:
        kind, data = convert(name, dims, x)
        head += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(body))
        body += data + b"\0" * (-len(data) % ALIGN)
    with open(target, "wb") as f:
        f.write(head + b"\0" * (-len(head) % ALIGN) + body)


if __name__ == "__main__":
    main(*sys.argv[1:])
