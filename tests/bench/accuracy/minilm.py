#!/usr/bin/env python3
"""all-MiniLM-L6-v2 in INT8, ours and onnxruntime's: how near to float, and how fast.

    minilm.py QUANTIZE MODEL [near] [fast]

MODEL is the folder of sentence-transformers. Prints the tables of docs/accuracy.md and exits 1 if a goal is
missed. Of the 149 sentences of fixtures/stdlib-llama/eval.txt with 30 to 200 characters, the first
100 judge and the others give the ranges. Times are of 128 tokens: of the processor on one thread, which
others who work on the machine hardly change, and by the clock on two, ours and theirs in turns. Needs numpy, safetensors and tokenizers; torch, transformers, onnx and onnxruntime for the peer.
"""
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import peers  # noqa: E402
from run import hold, missed, table  # noqa: E402

TEXT = os.path.join(HERE, "../../../fixtures/stdlib-llama/eval.txt")
THREADS = 2
TOKENS = 128
# Turns of each; the best counts, for others may work on this machine.
ROUNDS = 5
# Runs that are timed on one thread.
RUNS = 100


def sentences():
    with open(TEXT) as file:
        parts = re.split(r"(?<=[.!?])\s+", file.read().replace("\n", " "))
    parts = [part.strip() for part in parts if 30 <= len(part.strip()) <= 200]
    return parts[:100], parts[100:]


class Ours:
    """Packages of one model, made and run by `quantize`."""

    def __init__(self, quantize, model, scratch):
        self.quantize, self.model, self.scratch = quantize, model, scratch
        self.judge, self.calibration = sentences()
        for name, lines in (("judge.txt", self.judge), ("calibration.txt", self.calibration)):
            with open(self.path(name), "w") as file:
                file.write("\n".join(lines) + "\n")

    def path(self, name):
        return os.path.join(self.scratch, name)

    def call(self, *words, threads=THREADS):
        env = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        done = subprocess.run([self.quantize, *words], capture_output=True, text=True, env=env)
        if done.returncode:
            sys.exit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def make(self, name, *words):
        self.call("-q", *words, self.model, "-o", self.path(name))
        return self.path(name)

    def counts(self, package):
        self.call("calibrate", "-q", package, self.path("calibration.txt"), "--out", package + ".counts")
        return package + ".counts"

    def packages(self):
        """What each is, and its folder, the one in float first."""
        exact = self.make("float", "-s", "float16")
        counts = self.counts(exact)
        smooth = self.make("smooth", "-s", "float16", "--smooth", "--calibration", counts)
        smooth_counts = self.counts(smooth)
        int8 = ("-s", "linear-int8")
        yield "FP16", exact
        yield "W8A16", self.make("w8", *int8)
        ways = ("int8,symmetric", "int8", "int8,asymmetric")
        for way in ways:
            words = ("--activations", way, "--calibration")
            yield f"W8A8 `{way}`", self.make(f"a-{way}", *int8, *words, counts)
        for way in ways:
            [package] = [f"{smooth}/{name}" for name in os.listdir(smooth) if name.endswith(".mlpackage")]
            out = self.path(f"s-{way}")
            self.call("-q", *int8, "--activations", way, "--calibration", smooth_counts, package, "-o", out)
            # What turns texts into tokens travels with the folder.
            for name in os.listdir(smooth):
                if not os.path.exists(f"{out}/{name}"):
                    os.symlink(f"{smooth}/{name}", f"{out}/{name}")
            yield f"`--smooth`, then W8A8 `{way}`", out

    def vectors(self, package):
        told = json.loads(self.call("embed", package, "--file", self.path("judge.txt"), "--json"))
        return np.array([text["embedding"] for text in told["texts"]], np.float64)

    def speed(self, package, inputs):
        """What `validate` says of the speed, and the probe of the machine, in a process of its own."""
        save_file({f"step0.{name}": array for name, array in inputs.items()}, self.path("inputs.safetensors"))
        words = ("--on", "cpu", "--inputs", self.path("inputs.safetensors"), "--json")
        found = json.loads(self.call("validate", package, *words))
        return found["speed"][0], found["probe"]

    def processor(self, package, inputs):
        """Milliseconds of the processor for a run on one thread: what more runs take more."""
        def seconds(runs):
            steps = {f"step{n}.{name}": array for n in range(runs) for name, array in inputs.items()}
            save_file(steps, self.path("steps.safetensors"))
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            words = ("--on", "cpu", "--inputs", self.path("steps.safetensors"), "--out", self.path("out.safetensors"))
            self.call("run", "-q", package, *words, threads=1)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        return 1e3 * (seconds(RUNS + 5) - seconds(5)) / RUNS


def cosines(exact, other):
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (exact, other)]
    return (unit[0] * unit[1]).sum(1)


def tokens(model):
    """Ids of a text, as `peers.minilm` takes them."""
    tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: np.array([tokenizer.encode(text).ids], np.int64)


def near(ours, packages, theirs):
    exact, rows, best = ours.vectors(packages["FP16"]), [], 0
    for what, package in list(packages.items())[1:]:
        cosine = cosines(exact, ours.vectors(package))
        rows.append([what, f"{cosine.mean():.5f}", f"{cosine.min():.5f}"])
        best = max(best, cosine.mean() if "W8A8" in what else 0)
    hold("W8A8, mean cosine", best, 0.995)
    vectors = {}
    for what, run, _ in theirs:
        vectors[what] = np.concatenate([peers.pooled(run(ids)) for ids in map(tokens(ours.model), ours.judge)])
    for what, got in list(vectors.items())[1:]:
        cosine = cosines(next(iter(vectors.values())), got)
        rows.append([what, f"{cosine.mean():.5f}", f"{cosine.min():.5f}"])
        hold(f"W8A8, mean cosine beside {what}", best, cosine.mean())
    table("100 sentences, cosine with the same program's float", ["", "mean", "worst"], rows)


def fast(ours, packages, theirs):
    ids = tokens(ours.model)(" ".join(ours.judge))[:, :TOKENS]
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    inputs = {name: array.astype(np.int32) for name, array in inputs.items()}
    chosen = {what: package for what, package in packages.items() if what in ("FP16", "W8A16") or what.endswith("`int8`")}
    one, two, probe = {}, {}, {}

    def enter(times, what, ms):
        times[what] = min(ms, times.get(what, ms))

    for _ in range(ROUNDS):
        for what, package in chosen.items():
            speed, now = ours.speed(package, inputs)
            enter(two, what, speed["median_ms"])
            enter(one, what, ours.processor(package, inputs))
            probe = {key: max(value, probe.get(key, 0)) for key, value in now.items()}
        for what, run, session in theirs:
            enter(two, what, median(lambda: run(ids)))
            alone = session(1)
            alone(ids)
            begin = time.process_time()
            for _ in range(RUNS):
                alone(ids)
            enter(one, what, 1e3 * (time.process_time() - begin) / RUNS)
    rows = []
    for what in two:
        int8 = "W8A8" in what or "QDQ" in what
        rate = speed["macs"] / two[what] / 1e6
        share = rate / probe["int8_gmac_per_second" if int8 else "gmac_per_second"]
        rows.append([what, f"{one[what]:.2f}", f"{one['FP16'] / one[what]:.2f}", f"{two[what]:.2f}",
                     f"{two['FP16'] / two[what]:.2f}", f"{rate:.0f}", f"{share:.0%}"])
    table(f"{TOKENS} tokens, the best of {ROUNDS} turns; the probe's rates are {probe['gmac_per_second']:.0f} GMAC/s in f32 "
          f"and {probe['int8_gmac_per_second']:.0f} in INT8",
          ["", "one thread, ms of the processor", "times as fast as FP16", f"{THREADS} threads, median ms",
           "times as fast as FP16", "GMAC/s", "of the probe"], rows)
    w8a8 = min(ms for what, ms in one.items() if "W8A8" in what)
    for what, ms in one.items():
        if "W8A8" not in what:
            hold(f"W8A8 beside {what}, times as fast", ms / w8a8, 1)


def median(work, seconds=1.5):
    """Milliseconds of a run, after some that warm up: as `quantize validate` measures."""
    end = time.perf_counter() + seconds / 10
    while time.perf_counter() < end:
        work()
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1e3 * float(np.median(taken))


def main():
    quantize, model, *parts = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        ours = Ours(os.path.abspath(quantize), os.path.abspath(model), scratch)
        packages = dict(ours.packages())
        calibration = [tokens(ours.model)(text) for text in ours.calibration]
        theirs = list(peers.minilm(ours.model, calibration, THREADS, scratch))
        for name, part in (("near", near), ("fast", fast)):
            if not parts or name in parts:
                part(ours, packages, theirs)
    for goal in missed:
        print("MISSED", goal)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
