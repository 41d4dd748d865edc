#!/usr/bin/env python3
"""What INT8 activations cost, on small trained networks, beside other people's static INT8.

    run.py QUANTIZE SHARED [digits] [resnet20] [disparity] [stories260k]

SHARED holds the fixtures of `tests/shared`. Prints the tables of docs/accuracy.md, "Activations in
INT8", and exits 1 if a goal is missed. Every package is calibrated on one part of the data, or on
inputs drawn with another seed, and judged on the rest. Needs numpy and safetensors, and torch
for ResNet-20's images, with coremltools for `disparity`; onnx with onnxruntime, and torch, add the rows of peers where installed.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import peers  # noqa: E402

# What stands behind `--activations`, and further words.
WAYS = [
    ("int8", []),
    ("int8,symmetric", []),
    ("int8,asymmetric", []),
    ("int8,min-max", []),
    ("int8,moving-average", []),
    ("int8,percentile:99.99", []),
    ("int8,entropy", []),
    ("int8", ["--pairs", "coremltools"]),
]
# Of packages, whose data the same command counts, before and after.
REWRITES = [
    ("int8", ["--smooth"]),
    ("int8", ["--equalize"]),
    ("int8", ["--bias-correction"]),
    ("int8", ["--smooth", "--bias-correction"]),
]
missed = []


class NothingToMove(Exception):
    """`--smooth` found no column that is worth it."""


def hold(what, value, limit):
    """Notes a goal that does not hold: `value` must not be below `limit`."""
    if not value >= limit:
        missed.append(f"{what}: {value:.5g}, and not {limit:.5g}")


def table(title, head, rows):
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print("|", " | ".join(str(cell) for cell in row), "|", flush=True)


class Model:
    """A source, its counts, and the packages made from it."""

    def __init__(self, quantize, source, scratch, options=(), function="main"):
        self.quantize, self.source, self.scratch = quantize, source, tempfile.mkdtemp(dir=scratch)
        self.options, self.function, self.made = list(options), function, 0

    def call(self, *words):
        done = subprocess.run([self.quantize, *words], capture_output=True, text=True)
        if "reads a column worth moving" in done.stderr:
            raise NothingToMove
        if done.returncode:
            sys.exit(f"{' '.join(words)}\n{done.stderr}")
        return done.stdout

    def path(self, name):
        return os.path.join(self.scratch, name)

    def package(self, scheme, *words):
        self.made += 1
        out = self.path(f"package-{self.made}")
        self.call("-q", "--scheme", scheme, "--to", "mlpackage", *self.options, *words, "-o", out, self.source)
        return out

    def calibrate(self, package, samples, *words):
        """Counts what `samples`, by input, make of the float package."""
        self.data = self.path("calibration.safetensors")
        save_file(samples, self.data)
        self.counts = self.path("counts.safetensors")
        self.call("calibrate", "-q", package, self.data, "--function", self.function,
                  "--out", self.counts, *words)

    def int8(self, way, words):
        recounts = {"--smooth", "--equalize"} & set(words)
        given = self.data if recounts else self.counts
        return self.package("linear-int8", "--activations", way, *words, "--calibration", given)

    def w8a8(self, ways):
        """The packages of these ways, but those where nothing is to be moved."""
        for way, words in ways:
            try:
                package = self.int8(way, words)
            except NothingToMove:
                continue
            yield " ".join(["W8A8", f"`{way}`", *(f"`{' '.join(words)}`" for _ in words[:1])]), package

    def weights_alone(self):
        """W8A16 and W4A16, each also with what data or other weights do to them."""
        for scheme in ("linear-int8", "linear-int4"):
            for words in ([], ["--equalize"], ["--bias-correction"]):
                given = ["--calibration", self.counts] if words == ["--bias-correction"] else []
                yield " ".join([f"`{scheme}`", *(f"`{w}`" for w in words)]), self.package(scheme, *words, *given)

    def run(self, package, steps, output="logits"):
        """The output of every step, joined along the first axis."""
        inputs = {f"step{n}.{name}": array for n, step in enumerate(steps) for name, array in step.items()}
        save_file(inputs, self.path("inputs.safetensors"))
        self.call("run", "-q", package, "--function", self.function, "--inputs", self.path("inputs.safetensors"),
                  "--out", self.path("outputs.safetensors"))
        outputs = load_file(self.path("outputs.safetensors"))
        return np.concatenate([outputs[f"step{n}.{output}"] for n in range(len(steps))]).astype(np.float64)

    def share(self, package, which):
        """Of the multiply-accumulates, `all` or those with `weights`, how many are INT8 times INT8."""
        told = json.loads(self.call("inspect", "--int8-path", "--json", package))
        functions = [f for p in told["packages"] for f in p["functions"] if f["function"] == self.function]
        macs = functions[0]["shares"][which]
        return macs["w8a8"] / sum(macs.values())


def batches(array, size):
    return [{"x": array[i : i + size]} for i in range(0, len(array), size)]


def decibels(exact, other):
    noise = ((exact - other) ** 2).sum()
    return 10 * np.log10((exact**2).sum() / noise) if noise else np.inf


def digits(quantize, shared, scratch):
    calibration = load_file(f"{shared}/fixtures/digits/calib.safetensors")
    test = load_file(f"{shared}/fixtures/digits/test.safetensors")
    for name, shape, goal in (("mlp", (64,), 357), ("cnn", (1, 8, 8), 356)):
        def pixels(images):
            return (images.astype(np.float32) / 16).reshape(-1, *shape)

        model = Model(quantize, f"{shared}/fixtures/coreml/{name}_ios18_f16/model.mlpackage", scratch,
                      ["--min-elements", "1"])
        steps = batches(pixels(test["images"]), 8)
        exact = model.run(model.source, steps)

        def row(what, logits, share="", goal=None):
            correct = int((logits.argmax(-1) == test["labels"]).sum())
            if goal:
                hold(f"digits {name}, {what}, correct", correct, goal)
            return correct, [what, correct, f"{decibels(exact, logits):.1f}", share]

        _, first = row("FP16 weights and activations", exact)
        rows = [first]
        model.calibrate(model.source, {"x": pixels(calibration["images"])})
        rows += [row(what, model.run(package, steps))[1] for what, package in model.weights_alone()]
        best = None
        for what, package in model.w8a8([*WAYS, *REWRITES]):
            share = model.share(package, "all")
            correct, line = row(what, model.run(package, steps), f"{share:.1%}", None if best else goal)
            if best is None:
                best = correct
                hold(f"digits {name}, share of MACs", share, 0.95)
            rows.append(line)
        for what, logits in peers.digits(name, f"{shared}/fixtures/digits/{name}_f32.safetensors",
                                         pixels(calibration["images"]), pixels(test["images"]), scratch):
            correct, line = row(what, logits)
            hold(f"digits {name}, ours beside {what}", best, correct - 2)
            rows.append(line)
        table(f"Digits, {name}: 360 test images, ranges from 128 others",
              ["activations", "correct", "logits SQNR, dB", "MACs in INT8"], rows)


def smooth(seed, count):
    """Noise of 6 × 6 points, enlarged to 32 × 32, and a tenth of fine noise on it: what the package's
    fixture was made with (seed 60), so that images differ and some of them look like something."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 6, 6, generator=draw)
    large = torch.nn.functional.interpolate(coarse, 32, mode="bicubic")
    return (large + 0.1 * torch.randn(count, 3, 32, 32, generator=draw)).numpy()


def resnet20(quantize, shared, scratch):
    model = Model(quantize, f"{shared}/fixtures/coreml/resnet20_ios16_f16/model.mlpackage", scratch,
                  ["--min-elements", "1", "--target", "ios18"])
    images, calibration = smooth(61, 500), smooth(62, 128)
    steps = batches(images, 4)
    exact = model.run(model.source, steps)
    top = np.sort(exact, -1)
    margin = top[:, -1] - top[:, -2]
    sure = margin > np.median(margin)
    model.calibrate(model.source, {"x": calibration})

    def row(what, logits, share=""):
        same = logits.argmax(-1) == exact.argmax(-1)
        classes = len(set(logits.argmax(-1)))
        return same[sure].mean(), [what, f"{same[sure].mean():.1%}", f"{same.mean():.1%}",
                                   f"{decibels(exact, logits):.1f}", classes, share]

    rows = [row("FP16 weights and activations", exact)[1]]
    rows += [row(what, model.run(package, steps))[1] for what, package in model.weights_alone()]
    for n, (what, package) in enumerate(model.w8a8([*WAYS, *REWRITES])):
        share = model.share(package, "all")
        agreement, line = row(what, model.run(package, steps), f"{share:.1%}")
        if n == 0:
            hold("resnet20, agreement where the margin exceeds its median", agreement, 0.97)
        rows.append(line)
    for what, logits in peers.resnet20(f"{shared}/fixtures/resnet20/resnet20_f32.safetensors", calibration, images):
        rows.append(row(what, logits)[1])
    table("ResNet-20: 500 images of smooth noise, ranges from 128 others",
          ["activations", "top-1 agreement, margin above its median", "top-1 agreement, all", "logits SQNR, dB",
           "classes hit", "MACs in INT8"], rows)


def disparity(quantize, _, scratch):
    import disparity

    source = disparity.package(os.path.join(scratch, "disparity.mlpackage"))
    model = Model(quantize, source, scratch, ["--min-elements", "1"])
    draw = np.random.default_rng(72)
    images, calibration = (draw.normal(size=(n, 3, 32, 32)).astype(np.float32) for n in (256, 128))
    steps = batches(images, 4)
    exact = model.run(source, steps)
    model.calibrate(source, {"x": calibration})
    rows = [[what, f"{decibels(exact, model.run(package, steps)):.1f}"] for what, package in model.weights_alone()]
    for what, package in model.w8a8([("int8", []), *REWRITES]):
        rows.append([what, f"{decibels(exact, model.run(package, steps)):.1f}"])
    table("Depthwise separable convolutions, channels of unlike size: noise", ["", "logits SQNR, dB"], rows)


def stories260k(quantize, shared, scratch):
    reference = load_file(f"{shared}/fixtures/stories260k/reference.safetensors")
    ids = reference["eval.ids"].astype(np.int32)
    length, context = ids.shape[1], 2 * ids.shape[1]
    model = Model(quantize, f"{shared}/fixtures/stories260k", scratch,
                  ["--min-elements", "1024", "--context", str(context), "--prefill-chunk", str(length),
                   "--prefill-logits", "all"], "prefill")
    mask = np.where(np.arange(context) <= np.arange(length)[:, None], 0, -30000).astype(np.float32)[None, None]
    # Half calibrates, half judges: every sequence from position 0, over whatever the cache held.
    # Where nothing was calibrated, all judge as well.
    steps = [{"input_ids": row[None], "position": np.zeros(1, np.int32), "causal_mask": mask} for row in ids]
    half = {"input_ids": ids[:16], "position": np.zeros(16, np.int32), "causal_mask": np.repeat(mask, 16, 0)}

    def log_softmax(package):
        logits = model.run(package, steps)[:, :-1]
        top = logits.max(-1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))

    def of_next(logs):
        return -np.take_along_axis(logs, ids[:, 1:, None].astype(np.int64), -1)[..., 0]

    float16 = model.package("float16")
    exact = log_softmax(float16)
    rows = [["FP16 weights and activations", f"{of_next(exact)[16:].mean():.5f}", "", "", ""]]

    def row(what, package, share=""):
        """The NLL's increase in the judged half, and its line of the table."""
        logs = log_softmax(package)
        each = of_next(logs) - of_next(exact)
        divergence = (np.exp(exact) * (exact - logs)).sum(-1)[16:].mean()
        increase, error = each[16:].mean(), each[16:].std() / np.sqrt(each[16:].size)
        rows.append([what, f"{increase:+.5f} ± {error:.5f}", f"{each.mean():+.5f}", f"{divergence:.5f}", share])
        return increase

    row("W8A16", model.package("linear-int8"))
    model.calibrate(float16, half, "--hessians")
    better = row("W8A16 `--gptq`", model.package("linear-int8", "--gptq", "--calibration", model.counts))
    hold("stories260k W8A16 by GPTQ, −NLL increase", -better, -0.001)
    for n, (what, package) in enumerate(model.w8a8([*WAYS, ("int8", ["--gptq"])])):
        share = model.share(package, "weights")
        increase = row(what, package, f"{share:.1%}")
        if n == 0:
            hold("stories260k, share of MACs with weights", share, 0.95)
            hold("stories260k W8A8, −NLL increase", -increase, -0.01)
    table("stories260K: mean NLL of 16 sequences of `eval.ids` (4,080 tokens), increases with their standard error, and the "
          "KL divergence from FP16; ranges from the other 16 sequences",
          ["activations", "NLL, nats", "of all 32", "KL, nats", "MACs with weights in INT8"], rows)


def main():
    quantize, shared, *chosen = sys.argv[1:]
    parts = {"digits": digits, "resnet20": resnet20, "disparity": disparity, "stories260k": stories260k}
    with tempfile.TemporaryDirectory() as scratch:
        for name in chosen or parts:
            parts[name](os.path.abspath(quantize), os.path.abspath(shared), scratch)
    for goal in missed:
        print("MISSED", goal)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
