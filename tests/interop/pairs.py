#!/usr/bin/env python3
"""`--pairs coremltools` beside coremltools' own activation quantization, operation by operation.

    pairs.py QUANTIZE FOLDER [SHARED]

A network of this file's own and, where SHARED is, other people's: `quantize calibrate` counts the
float package on noise; coremltools' passes get the extremes of that file as their ranges, since its
own calibration needs a Mac; `quantize --activations int8 --pairs coremltools` gets the file, and writes into FOLDER. Then:

- the same operations in the same order, but for the pairs; the same edges, each with or without a
  pair; the same scales, bit for bit, and zero points: of what the two passes and the elimination
  of equal pairs leave;
- the same again for symmetric ranges, after the rest of coremltools' passes for quantized programs
  went over both. They divide the scales around `add` by that of its second operand, and let `reshape`
  and its like move codes. No package needs either, so ours holds what they begin with.

Scales of asymmetric ranges may be one FP16 step apart and zero points one code: coremltools computes
both in FP16, with every step rounded, and ours are computed exactly and rounded once. Exits 1 if anything differs; needs
coremltools, numpy and safetensors.
"""
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import coremltools as ct  # noqa: E402
import coremltools.optimize.coreml as cto  # noqa: E402
import numpy as np  # noqa: E402
from coremltools.converters.mil import Builder as mb  # noqa: E402
from coremltools.converters.mil import mil  # noqa: E402
from coremltools.converters.mil.frontend.milproto import load as milproto  # noqa: E402
from coremltools.converters.mil.mil.passes.graph_pass import PassOption  # noqa: E402
from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

PREFIX = "compression::insert_prefix_quantize_dequantize_pair"
SUFFIX = "compression::insert_suffix_quantize_dequantize_pair"
# What makes two ways of writing one structure the same: a zero point of 0, pairs in a row, pairs
# side by side, and pairs that nobody reads.
TIDY = ["nullify_redundant_quantization_zero_point", "dequantize_quantize_pair_elimination",
        "remove_redundant_ops", "dead_code_elimination"]
REST = ["int_op_canonicalization", "nullify_redundant_quantization_zero_point",
        "dequantize_quantize_pair_elimination",
        "distributive_quantized_binary_op_scale_normalization", "remove_redundant_ops",
        "dead_code_elimination"]
SHARED = ["mlp_ios16_f16", "mlp_ios18_f16", "cnn_ios16_f16", "cnn_ios18_f16", "convbn_ios16_f16",
          "resnet20_ios16_f16", "encoder_ios18_f16"]


def network(path):
    """A package with every case that the passes tell apart."""
    noise = np.random.default_rng(1)

    def weight(*shape):
        return (noise.standard_normal(shape) * 0.2).astype(np.float16)

    half = mil.types.fp16

    @mb.program(input_specs=[mb.TensorSpec((1, 8, 8, 8), dtype=half)], opset_version=ct.target.iOS17)
    def program(x):
        def conv(x, name, out=8, size=3):
            channels = x.shape[1]
            return mb.conv(x=x, weight=weight(out, channels, size, size), pad_type="same", name=name)

        # An activation taken along; a value that a layer and a sum read; a sum with a constant.
        a = mb.relu(x=conv(x, "a_conv"), name="a")
        b = mb.leaky_relu(x=conv(a, "b_conv"), alpha=np.float16(0.1), name="b")
        s = mb.relu(x=mb.add(x=a, y=b, name="s_sum"), name="s")
        shifted = mb.add(x=s, y=weight(1, 8, 1, 1), name="shifted")
        # What is read as it is, too; an activation that is not taken along.
        c = conv(shifted, "c")
        d = mb.mul(x=mb.sigmoid(x=c, name="d_sigmoid"), y=c, name="d")
        e = mb.silu(x=conv(d, "e_conv"), name="e")
        # A sum whose output an activation reads first, and others after it.
        f = mb.add(x=d, y=e, name="f")
        g = mb.tanh(x=f, name="g")
        h = mb.sub(x=f, y=g, name="h")
        i = conv(f, "i", size=1)
        # Poolings, joined; one range for all of a chain of joins.
        p = mb.max_pool(x=g, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid", name="p")
        q = mb.avg_pool(x=mb.add(x=h, y=i, name="q_sum"), kernel_sizes=[2, 2], strides=[2, 2],
                        pad_type="valid", name="q")
        one = mb.concat(values=[p, q], axis=1, name="one")
        two = mb.concat(values=[one, p], axis=1, name="two")
        j = mb.relu6(x=conv(two, "j_conv"), name="j")
        # A value added to itself; codes that move; an output behind an activation; one straight away.
        k = mb.add(x=j, y=j, name="k")
        flat = mb.reshape(x=k, shape=[1, 8 * 16], name="flat")
        wide = mb.linear(x=flat, weight=weight(16, 128), name="wide")
        y = mb.scaled_tanh(x=wide, alpha=np.float16(1.5), beta=np.float16(0.5), name="y")
        z = mb.linear(x=mb.relu(x=flat, name="z_relu"), weight=weight(4, 128), name="z")
        return y, z

    model = ct.convert(program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS17,
                       pass_pipeline=ct.PassPipeline.EMPTY, skip_model_load=True)
    model.save(path)


def load(package, scratch):
    """A copy, opened: coremltools rewrites the manifest of what it opens."""
    copy = os.path.join(tempfile.mkdtemp(dir=scratch), "copy.mlpackage")
    shutil.copytree(package, copy)
    return ct.models.MLModel(copy, skip_model_load=True)


def program(model, version=None):
    spec = model.get_spec()
    version = max(version or 0, spec.specificationVersion)
    return milproto.load(spec, specification_version=version, file_weights_dir=model.weights_dir)


def noise(model, path):
    """Eight samples of every input, wider to one side."""
    draw = np.random.default_rng(7)
    arrays = {}
    for feature in model.get_spec().description.input:
        shape = list(feature.type.multiArrayType.shape)
        arrays[feature.name] = (draw.standard_normal([8 * shape[0], *shape[1:]]) + 0.3).astype(np.float32)
    save_file(arrays, path)


def ranges(calibration):
    """By value, the extremes that were counted."""
    stats = {}
    with safe_open(calibration, "numpy") as file:
        for name in json.loads(file.metadata()["twolane.calibration"])["values"]:
            numbers = file.get_tensor(name + ".codes").view(np.float16)
            numbers = numbers[np.isfinite(numbers)]
            stats[name] = {"rmin": numbers.min(), "rmax": numbers.max()}
    return stats


def joined(model, stats):
    """coremltools' one range for what `concat` reads and gives, from its own functions."""
    from coremltools.optimize.coreml.experimental import _post_training_quantization as own
    from coremltools.optimize.coreml.experimental._model_debugger import ModelDebugger

    own._adjust_concat_surrounding_activation_stats(ModelDebugger(model)._get_concat_op_info(), stats)


def apply(names, program):
    for name in names:
        PASS_REGISTRY["common::" + name].apply(program)


def quantized(model, stats, mode):
    """The float program behind coremltools' passes."""
    result = program(model, ct._SPECIFICATION_VERSION_IOS_17)
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(mode=mode))
    for name in (PREFIX, SUFFIX):
        one = PASS_REGISTRY[name]
        one.set_options([PassOption("config", config), PassOption("activation_stats", stats)])
        one.apply(result)
    return result


def number(value):
    return None if value is None else np.asarray(value.val).reshape(-1)[0]


def edge(var):
    """Where a value comes from, and through which numbers of a pair."""
    halves = []
    while var.op is not None and var.op.op_type in ("quantize", "dequantize"):
        halves.append((var.op.op_type, number(var.op.scale), number(var.op.zero_point)))
        var = var.op.input
    return var.name, tuple(reversed(halves))


def form(function):
    """The operations in order, and by reader and place the edges that are no constants."""
    operations, edges = [], {}
    for op in function.operations:
        kind = op.op_type
        if kind in ("const", "quantize", "dequantize") or kind.startswith("constexpr_"):
            continue
        name = op.outputs[0].name
        operations.append((name, kind))
        for param, read in op.inputs.items():
            for at, var in enumerate(read if isinstance(read, (list, tuple)) else [read]):
                source = var.op.op_type if var.op is not None else ""
                if source != "const" and not source.startswith("constexpr_"):
                    edges[name, param, at] = edge(var)
    for at, var in enumerate(function.outputs):
        edges["output", "", at] = edge(var)
    return operations, edges


def near(a, b):
    """Whether halves of pairs are the same but for one step of FP16 and one code."""
    if len(a) != len(b):
        return False
    for (kind, scale, zero), (other, other_scale, other_zero) in zip(a, b):
        codes = abs(int(zero or 0) - int(other_zero or 0))
        steps = abs(int(np.float16(scale).view(np.int16)) - int(np.float16(other_scale).view(np.int16)))
        if kind != other or codes > 1 or steps > 1:
            return False
    return True


def differences(ours, theirs, exact):
    """Yields what differs between two programs; their constants aside."""
    for name, function in theirs.functions.items():
        (operations, edges), (others, other_edges) = form(ours.functions[name]), form(function)
        if operations != others:
            here, there = set(operations) - set(others), set(others) - set(operations)
            yield f"{name}: in another order, or {sorted(here)} here and {sorted(there)} there"
        for key in sorted(edges.keys() | other_edges.keys()):
            (source, halves), (other, other_halves) = (e.get(key, ("nothing", ())) for e in (edges, other_edges))
            is_same = halves == other_halves if exact else near(halves, other_halves)
            if source != other or not is_same:
                reads = f"reads {source} {halves} here, {other} {other_halves} there"
                yield f"{name}: {key} {reads}"


def check(name, package, quantize, folder, scratch):
    """What differs, and a line of what was compared."""
    found, told = [], []
    model = load(package, scratch)
    data, counts = (os.path.join(scratch, f"{name}.{what}.safetensors") for what in ("noise", "counts"))
    noise(model, data)
    subprocess.run([quantize, "calibrate", "-q", package, data, "--out", counts], check=True, stdout=subprocess.DEVNULL)
    stats = ranges(counts)
    joined(model, stats)
    target = "ios18" if model.get_spec().specificationVersion > 8 else "ios17"
    for mode, word in (("linear_symmetric", "int8"), ("linear", "int8,asymmetric")):
        out = os.path.join(folder, name, mode)
        subprocess.run(
            [quantize, "-q", "--scheme", "linear-int8", "--min-elements", "1", "--to", "mlpackage,dense", "--target", target,
             "--activations", word, "--pairs", "coremltools", "--calibration", counts, "-o", out, package],
            check=True, stdout=subprocess.DEVNULL)
        written = next(f for f in os.listdir(out) if f.endswith(".mlpackage"))
        ours, theirs = program(load(os.path.join(out, written), scratch)), quantized(model, stats, mode)
        apply(TIDY, ours)
        apply(TIDY, theirs)
        exact = mode == "linear_symmetric"
        found += [f"{mode}: {text}" for text in differences(ours, theirs, exact)]
        (operations, edges), (_, others) = (form(p.functions["main"]) for p in (ours, theirs))
        coded = sum(bool(halves) for _, halves in edges.values())
        same = sum(others.get(key) == found for key, found in edges.items())
        told.append(f"{mode} {coded} of {len(edges)} edges of {len(operations)} operations in INT8, {same} equal")
        if exact:
            apply(REST, ours)
            apply(REST, theirs)
            found += [f"{mode}, behind the other passes: {text}" for text in differences(ours, theirs, exact)]
    return found, "; ".join(told)


def main():
    quantize, folder = sys.argv[1:3]
    shared = sys.argv[3] if len(sys.argv) > 3 else ""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        own = os.path.join(scratch, "own.mlpackage")
        network(own)
        packages = {"own": own}
        for name in SHARED:
            path = os.path.join(shared, "fixtures", "coreml", name, "model.mlpackage")
            if os.path.isdir(path):
                packages[name] = path
        for name, package in packages.items():
            found, told = check(name, package, quantize, folder, scratch)
            failed += bool(found)
            print(f"{'FAILED' if found else 'ok'}  {name}: {told}")
            for line in found[:20]:
                print("  ", line)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
