#!/usr/bin/env python3
"""Rebuilds packages through coremltools and compares every weight with the dequantized file.

    compare.py FOLDER...

Each FOLDER is an output of `quantize --to mlpackage,dense`. Every function is rebuilt by
coremltools' MIL reader, every constexpr operation is evaluated by coremltools' own formulas, a
`mul` by channel scales behind a palette is applied, and the weight is compared, bit for bit, with
the tensor of the same original name in `*.dequantized.safetensors`. Exits 1 at the first folder
that differs, after naming all its differences; needs coremltools, numpy and safetensors.
"""
import glob
import inspect
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import coremltools as ct  # noqa: E402
import numpy as np  # noqa: E402
from coremltools.converters.mil.frontend.milproto import load as milproto  # noqa: E402
from safetensors import safe_open  # noqa: E402



def lut_to_dense(cls, indices, lut, vector_axis):
    """coremltools repeats the table for every index (8 GB for 4096x4096 at 8 bits): go by slices
    along axis 0, each of whole groups."""
    groups = lut.shape[0]
    rows = indices.shape[0] // groups
    size = max(1, (1 << 22) // max(1, indices[:1].size * lut.shape[-2] * lut.shape[-1]))
    parts = []
    for g in range(groups):
        for a in range(g * rows, (g + 1) * rows, size):
            b = min(a + size, (g + 1) * rows)
            parts.append(cls.decompress(indices[a:b], lut[g : g + 1], vector_axis))
    return np.concatenate(parts, axis=0)


def evaluate(op, memo):
    """The value of a constexpr operation, from coremltools' own class."""
    cls = type(op)
    args = {k: memo[v] if v in memo else v.val for k, v in op.inputs.items()}
    if op.op_type == "constexpr_lut_to_dense" and "lut" in args and args["lut"].ndim > 1:
        return lut_to_dense(cls, args["indices"], args["lut"], args.get("vector_axis"))
    return cls.decompress(**{k: args.get(k) for k in inspect.signature(cls.decompress).parameters})


def consumer_scale(var, memo):
    """The channel scales of a `mul` behind the operation that takes this weight, or None. Behind a
    `gather` of rows the scales are gathered too."""
    for op in var.child_ops:
        for after in op.outputs[0].child_ops if op.op_type in ("linear", "conv", "matmul", "gather") else ():
            # A value times itself is the square of a norm.
            if after.op_type == "mul" and after.x is not after.y:
                other = after.y if after.x is op.outputs[0] else after.x
                if other.op is not None and other.op.op_type == "gather":
                    other = other.op.x
                # A number alone scales embeddings or logits, not channels.
                if other.val is not None and np.ndim(other.val) > 0:
                    return np.asarray(other.val).reshape(-1)
    return None


def original(name, names):
    """The checkpoint's name of a value. Behind `mul`, the weight and its bias are named for it."""
    for suffix in ("", "_unscaled", "_row"):
        if name.endswith(suffix) and name.removesuffix(suffix) in names:
            return names[name.removesuffix(suffix)]
    return name


def weights(program):
    """Yields (value name, array, channel scales) for every weight of every function."""
    for function in program.functions.values():
        memo = {}
        for op in function.operations:
            if op.op_type.startswith("constexpr_"):
                memo[op.outputs[0]] = evaluate(op, memo)
            elif op.op_type == "const" and isinstance(op.val.val, np.ndarray):
                memo[op.outputs[0]] = op.val.val
        for var, value in memo.items():
            feeds = [c.op_type for c in var.child_ops]
            if any(not f.startswith("constexpr_") for f in feeds):
                yield var.name, value, consumer_scale(var, memo)


def load(package, scratch):
    """The package as a MIL program, read from a copy: coremltools rewrites the manifest."""
    copy = os.path.join(scratch, "copy.mlpackage")
    shutil.rmtree(copy, ignore_errors=True)
    os.mkdir(copy)
    shutil.copy(os.path.join(package, "Manifest.json"), copy)
    os.symlink(os.path.abspath(os.path.join(package, "Data")), os.path.join(copy, "Data"))
    spec = ct.models.MLModel(copy, skip_model_load=True).get_spec()
    where = os.path.join(copy, "Data", "com.apple.CoreML", "weights")
    program = milproto.load(spec, specification_version=spec.specificationVersion, file_weights_dir=where)
    return program, dict(spec.description.metadata.userDefined)


def unused(folder):
    """Weights that the model is used without, such as a pooler before another pooling."""
    with open(os.path.join(folder, "report.json"), encoding="utf-8") as f:
        tensors = json.load(f)["tensors"]
    why = "not in the .mlpackage: the model does without it"
    return {tensor["name"] for tensor in tensors if why in tensor["notes"]}


def stored(packages, scratch):
    """Yields (original name, array, channel scales) for every weight of the packages of a model."""
    for package in packages:
        program, names = load(package, scratch)
        for name, value, scale in weights(program):
            yield original(name, names), value, scale


def compare(folder, scratch):
    packages = sorted(glob.glob(os.path.join(folder, "*.mlpackage")))
    (dense,) = glob.glob(os.path.join(folder, "*.dequantized.safetensors"))
    problems, equal, seen = [], 0, set()
    with safe_open(dense, "np") as reference:
        keys = set(reference.keys())
        for key, value, scale in stored(packages, scratch):
            if key not in keys or value.size < 10:
                continue
            want = reference.get_tensor(key)
            if scale is not None:
                product = value.astype(np.float32) * scale.astype(np.float32).reshape(-1, *[1] * (value.ndim - 1))
                value = product.astype(np.float16)
            if value.dtype != want.dtype or value.size != want.size:
                problems.append(f"{key}: {value.dtype} {value.shape}, dequantized {want.dtype} {want.shape}")
                continue
            seen.add(key)
            a, b = value.reshape(-1), want.reshape(-1)
            if np.array_equal(a, b):
                equal += 1
            else:
                i = int(np.flatnonzero(a != b)[0])
                problems.append(f"{key}: {int((a != b).sum())} of {a.size} differ, first at {i}: {a[i]} against {b[i]}")
        missing = [k for k in keys if k.endswith("weight") and 2 <= len(reference.get_slice(k).get_shape()) <= 5
                   and 0 not in reference.get_slice(k).get_shape() and k not in seen | unused(folder)]
        problems += [f"{k}: not in the package" for k in sorted(missing)]
    return equal, problems


def main():
    folders = sys.argv[1:]
    if not folders:
        sys.exit(__doc__)
    total, bad = 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            equal, problems = compare(folder, scratch)
            total += equal
            bad += bool(problems) or not equal
            print(f"{'FAIL' if problems or not equal else 'ok  '} {folder}: {equal} weights equal, bit for bit")
            for p in problems:
                print(f"       {p}")
    print(f"{len(folders) - bad} passed, {bad} failed, {total} weights compared")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
