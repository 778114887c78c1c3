#!/usr/bin/env python3
"""Makes the cases of tests/golden; documents their origin, is no part of the build. Needs numpy.

    python3 tools/gen_golden.py SOURCE tests/golden

SOURCE is a directory of golden fixtures (case.json, model.gguf, *.ref.bin) with npref.py and gg.py, the float64
forward pass they were made with. 60 models of random float32 weights would be 30 MB, so only the quantised
ones are copied. A float32 model is replaced by one of the same keys, tensors and small tensors (norms, biases,
routers, convolutions), whose matrices come from a seed: item i is k * 2^-shift with the integer
k = splitmix64(seed, i) mod (2 amp + 1) - amp, which every language and CPU computes exactly, amp and shift chosen for
the spread of the matrix that it replaces. Its logits are computed here, by the float64 forward pass, after that
pass has reproduced the logits of the fixture. As in the fixtures, prompts are repaired until no router decision
is closer than GAP_MIN and no greedy choice closer than MARGIN_MIN, so that float32 has no excuse.
"""
import json
import math
import os
import shutil
import sys
import zlib

import numpy as np

GAP_MIN, MARGIN_MIN = 1.6e-3, 5e-3  # of the fixtures
ROUTER_GAP_ROUNDS = 2000            # repairs before giving up
SEEDED_ITEMS_MIN = 1024             # smaller tensors are kept as they are
ALIGN = 32
SKIP = {"llada-moe"}                # diffusion: no causal logits
COPIED = ("name", "arch", "n_vocab", "n_ctx", "quant", "tol_abs_f32_vs_ref",
          "tol_abs_q8act_vs_ref", "tol_rms_q8act_vs_ref")
COPIED_SEQ = ("tokens", "rows", "greedy", "greedy_rows", "ref_logits_file", "greedy_ref_logits_file")


def splitmix64(seed, n):
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def seeded(weight):
    """The float64 items of a weight row of case.json."""
    span = 2 * weight["amp"] + 1
    k = (splitmix64(weight["seed"], weight["n"]) % np.uint64(span)).astype(np.int64) - weight["amp"]
    return k * 2.0 ** -weight["shift"]


def weight_row(name, kind, shape, data):
    """How the runner gets this tensor's bytes: from the file, or from a seed."""
    n = int(np.prod(shape))
    if len(shape) < 2 or n < SEEDED_ITEMS_MIN or kind not in (0, 1):
        return {"bytes": len(data)}
    std = float(np.frombuffer(data, "<f4" if kind == 0 else "<f2").astype(np.float64).std())
    half_width = std * math.sqrt(3)  # of a uniform distribution
    shift = min(10 - math.floor(math.log2(half_width)), 14)  # 11 bits, exact and normal in F16 too
    return {"seed": zlib.crc32(name.encode()), "n": n, "f16": kind == 1, "amp": round(half_width * 2 ** shift),
            "shift": shift}


def encode(weight):
    x = seeded(weight)
    data = x.astype("<f2" if weight["f16"] else "<f4")
    assert (data.astype(np.float64) == x).all()
    return data.tobytes()


def seed_model(gg, source, target, work):
    """Writes target (the head and the small tensors) and work (the whole model); returns the weight rows."""
    raw = open(source, "rb").read()
    _, tensors = gg.read(source)
    rows, body, kept = [], b"", b""
    sizes = [-(-len(data) // ALIGN) * ALIGN for _, _, data in tensors.values()]
    head = raw[:len(raw) - sum(sizes)]
    for name, (kind, shape, data) in tensors.items():
        row = weight_row(name, kind, shape, data)
        new = data if "bytes" in row else encode(row)
        assert len(new) == len(data)
        kept += new if "bytes" in row else b""
        body += new + b"\0" * (-len(new) % ALIGN)
        rows.append(row)
    open(target, "wb").write(head + kept)
    open(work, "wb").write(head + body)
    again = gg.read(work)[1]
    assert all(again[n][:2] == tensors[n][:2] for n in tensors)
    return {"head_bytes": len(head), "align": ALIGN, "tensors": rows}


def repair(ref, tokens, n_vocab, rng):
    """Replaces tokens until no router decision of the prompt is close."""
    for _ in range(ROUTER_GAP_ROUNDS):
        logits = ref.forward(tokens)
        close = np.nonzero(ref.gap < GAP_MIN)[0]
        if not len(close):
            return logits
        tokens[close[0]] = int(rng.integers(n_vocab))
    raise RuntimeError("no prompt without close router decisions")


def greedy(ref, tokens, logits, n):
    """n ids that follow, and the rows after feeding each; None where a decision is close."""
    ids, rows, row = [], [], logits[-1]
    for _ in range(n):
        top = np.sort(row)[-2:]
        if top[1] - top[0] < MARGIN_MIN:
            return None
        ids.append(int(row.argmax()))
        row = ref.forward(tokens + ids)[-1]
        if ref.gap.min() < GAP_MIN:
            return None
        rows.append(row)
    return ids, np.array(rows)


def sequence(ref, old, n_vocab, rng):
    for _ in range(ROUTER_GAP_ROUNDS):
        tokens = [int(t) for t in rng.integers(n_vocab, size=len(old["tokens"]))]
        logits = repair(ref, tokens, n_vocab, rng)
        following = greedy(ref, tokens, logits, len(old["greedy"]))
        if following:
            return tokens, logits, *following
    raise RuntimeError("no prompt without close greedy choices")


def error_in_f32(Ref, path, tokens, want):
    """What the same forward pass is off when it computes in float32."""
    ref = Ref(path)
    ref.W = {name: w.astype(np.float32) for name, w in ref.W.items()}
    return float(np.abs(ref.forward(tokens) - want).max())


def store(path, rows):
    rows.astype("<f4").tofile(path)


def make_seeded(gg, Ref, case, source, target):
    work = os.path.join(target, "model.gguf")
    model = os.path.join(source, "model.gguf")
    first = case["sequences"][1]
    stored = np.fromfile(os.path.join(source, first["ref_logits_file"]), "<f4").reshape(-1, case["n_vocab"])
    assert np.abs(Ref(model).forward(first["tokens"])[first["rows"]] - stored).max() < 1e-5
    weights = seed_model(gg, model, os.path.join(target, "model.part"), work)
    ref, rng, worst, sequences = Ref(work), np.random.default_rng(zlib.crc32(case["name"].encode())), 0.0, []
    for old in case["sequences"]:
        tokens, logits, ids, following = sequence(ref, old, case["n_vocab"], rng)
        store(os.path.join(target, old["ref_logits_file"]), logits[old["rows"]])
        store(os.path.join(target, old["greedy_ref_logits_file"]), following[old["greedy_rows"]])
        sequences.append({**old, "tokens": tokens, "greedy": ids})
        worst = max(worst, error_in_f32(Ref, work, tokens, logits))
    os.remove(work)
    tol = max(case["tol_abs_f32_vs_ref"], float("%.0e" % (10 * worst)))
    print(f"  float32 is off by {worst:.1e}; tolerance {case['tol_abs_f32_vs_ref']} -> {tol}")
    return {**case, "tol_abs_f32_vs_ref": tol, "sequences": sequences, "weights": weights}


def make_copied(case, source, target):
    shutil.copyfile(os.path.join(source, "model.gguf"), os.path.join(target, "model.gguf"))
    for seq in case["sequences"]:
        for key in ("ref_logits_file", "greedy_ref_logits_file"):
            shutil.copyfile(os.path.join(source, seq[key]), os.path.join(target, seq[key]))
    return case


def trim(case):
    short = {key: case[key] for key in COPIED if key in case}
    short["sequences"] = [{key: seq[key] for key in COPIED_SEQ} for seq in case["sequences"]]
    if "weights" in case:
        short["weights"] = case["weights"]
    return short


def main(source, target, *names):
    sys.path.insert(0, source)
    import gg
    from npref import Ref
    for name in names or sorted(os.listdir(source)):
        path = os.path.join(source, name, "case.json")
        if name in SKIP or not os.path.exists(path):
            continue
        print(name, flush=True)
        case, out = json.load(open(path)), os.path.join(target, name)
        os.makedirs(out, exist_ok=True)
        if case.get("quant", "F32") == "F32":
            case = make_seeded(gg, Ref, case, os.path.join(source, name), out)
        else:
            case = make_copied(case, os.path.join(source, name), out)
        with open(os.path.join(out, "case.json"), "w") as f:
            json.dump(trim(case), f, separators=(",", ":"))
            f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
