#!/usr/bin/env python3
"""`--scheme auto` beside uniform 6-bit palettes of the same bytes, on text that it was not measured on.

    auto.py QUANTIZE SHARED

SHARED holds the fixtures of `tests/shared`. Each model's text is cut in two: a plan is measured on one half and
judged on the other, both ways round. Prints the table of docs/auto.md, and exits 1 where a plan is
not nearer to the model in float than uniform palettes are, by mean KL. Standard errors are of the mean
over windows, of differences window by window. Needs numpy, safetensors and tokenizers.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))

class Model:
    """A language model's folder, and windows of tokens that it is judged on."""

    def __init__(self, quantize, source, windows, scratch):
        self.quantize, self.source, self.scratch = quantize, source, tempfile.mkdtemp(dir=scratch)
        self.windows = np.array(windows, np.int32)
        length = self.windows.shape[1]
        context = 2 * length
        self.options = ["--min-elements", "1024", "--context", str(context), "--prefill-chunk", str(length),
                        "--prefill-logits", "all"]
        mask = np.where(np.arange(context) <= np.arange(length)[:, None], 0, -30000)
        steps = {}
        for n, window in enumerate(self.windows):
            steps[f"step{n}.input_ids"] = window[None]
            steps[f"step{n}.position"] = np.zeros(1, np.int32)
            steps[f"step{n}.causal_mask"] = mask.astype(np.float32)[None, None]
        save_file(steps, self.path("inputs.safetensors"))

    def path(self, name):
        return os.path.join(self.scratch, name)

    def call(self, *words):
        done = subprocess.run([self.quantize, *words], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(words)}\n{done.stderr}")

    def package(self, name, *words):
        """Bits a weight, and log probabilities of all tokens at every position."""
        out = self.path(name)
        self.call("-q", "--to", "mlpackage", *self.options, *words, "-o", out, self.source)
        self.call("run", "-q", out, "--function", "prefill", "--inputs", self.path("inputs.safetensors"),
                  "--out", self.path("outputs.safetensors"))
        outputs = load_file(self.path("outputs.safetensors"))
        logits = np.stack([outputs[f"step{n}.logits"][0] for n in range(len(self.windows))]).astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        with open(os.path.join(out, "report.json")) as report:
            bits = json.load(report)["totals"]["bits_per_weight"]
        return bits, logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def moved(self, exact, other):
        """By window: how much the mean NLL grew, and the mean KL from `exact`."""
        def nll(logs):
            return -np.take_along_axis(logs[:, :-1], self.windows[:, 1:, None].astype(np.int64), -1).mean((1, 2))

        return nll(other) - nll(exact), (np.exp(exact) * (exact - other)).sum(-1).mean(1)


def stories260k(shared):
    """Samples of the model itself: 16 of 256 tokens for each half."""
    folder = f"{shared}/fixtures/stories260k"
    ids = load_file(f"{folder}/reference.safetensors")["eval.ids"]
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    texts = ["\n".join(tokenizer.decode(row.tolist()) for row in half) for half in (ids[:16], ids[16:])]
    return folder, texts, [list(ids[:16]), list(ids[16:])]


def stdlib_llama(_):
    """60 lines of documentation for each half, in windows of 128 tokens."""
    folder = os.path.join(HERE, "../../../fixtures/stdlib-llama")
    with open(f"{folder}/eval.txt") as text:
        lines = text.readlines()
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    texts = ["".join(lines[:60]), "".join(lines[60:])]

    def windows(text):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return [[0] + ids[at : at + 127] for at in range(0, len(ids) - 126, 127)]

    return folder, texts, [windows(text) for text in texts]


def main():
    quantize, shared = (os.path.abspath(path) for path in sys.argv[1:3])
    missed = []
    print("| model | measured on | judged on | uniform: NLL, KL | auto: NLL, KL | differences |\n|" + " --- |" * 6)
    with tempfile.TemporaryDirectory() as scratch:
        for find in (stories260k, stdlib_llama):
            folder, texts, windows = find(shared)
            model = Model(quantize, folder, windows[0] + windows[1], scratch)
            halves = (slice(0, len(windows[0])), slice(len(windows[0]), None))
            _, exact = model.package("float", "--scheme", "float16")
            bits, logs = model.package("uniform", "--scheme", "palette-6")
            uniform = model.moved(exact, logs)
            for half, name in enumerate(("first", "second")):
                with open(model.path(f"{name}.txt"), "w") as file:
                    file.write(texts[half])
                budget = ["--target-bpw", repr(bits), "--data", model.path(f"{name}.txt")]
                taken, logs = model.package(name, "--scheme", "auto", *budget)
                auto = model.moved(exact, logs)
                if taken > bits:
                    missed.append(f"{find.__name__}: {taken} bits a weight of {bits}")
                for judge, where in zip(halves, ("first", "second")):
                    def told(pair):
                        return ", ".join(f"{each[judge].mean():+.5f}" for each in pair)

                    def paired(which):
                        each = (auto[which] - uniform[which])[judge]
                        return f"{each.mean():+.5f} ± {each.std(ddof=1) / len(each) ** 0.5:.5f}"

                    print(f"| {find.__name__}, {taken:.3f} bits | {name} half | {where} half | {told(uniform)} | {told(auto)} | "
                          f"{paired(0)}, {paired(1)} |", flush=True)
                    if auto[1][judge].mean() >= uniform[1][judge].mean():
                        missed.append(f"{find.__name__}, measured on the {name} half, judged on the {where}: KL")
    for goal in missed:
        print("MISSED", goal)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
