"""What compressed packages lost: score.py FLOAT-PACKAGE PACKAGE... [--checker FILE].

Prints a JSON array with an object for each PACKAGE:

  weights    weight of the float package -> [elements, bits or null, sum of w^2, sum of (w - v)^2]:
             bits of codes, scales, zero points and tables if it was compressed; v is the value that
             coremltools' own formulas give
  changed    what differs although compression has no business with it: features, states, functions,
             metadata, operations, weights left in float
  operations operations of each type in the float package, and in this one
  findings   errors and warnings of the strict checker, where there is one

A weight is known by the operation that takes it, as tools rename the constants. The same weight in
several functions counts once.
"""
import argparse
import collections
import hashlib
import importlib.util
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "interop"))

import numpy as np  # noqa: E402
from compare import evaluate, load  # noqa: E402
from coremltools.proto import Model_pb2  # noqa: E402


def bits(op):
    """Bits that a constexpr operation and those that feed it keep in the package."""
    total = 0
    for var in op.inputs.values():
        if var.op.op_type.startswith("constexpr_"):
            total += bits(var.op)
        elif isinstance(var.val, np.ndarray):
            floats = np.issubdtype(var.val.dtype, np.floating)
            total += var.val.size * (var.val.itemsize * 8 if floats else var.dtype.get_bitwidth())
    return total


def taken(block, function, memo):
    """Yields (key, variable) for every float constant that an operation takes."""
    for op in block.operations:
        for inner in op.blocks:
            yield from taken(inner, function, memo)
        if op.op_type.startswith("constexpr_"):
            memo[op.outputs[0]] = evaluate(op, memo)
        elif op.op_type == "const":
            if isinstance(op.val.val, np.ndarray) and np.issubdtype(op.val.val.dtype, np.floating):
                memo[op.outputs[0]] = op.val.val
        else:
            for argument, given in op.inputs.items():
                for i, var in enumerate(given if isinstance(given, (tuple, list)) else [given]):
                    if var in memo:
                        yield f"{function}/{op.outputs[0].name}.{argument}.{i}", var


def constants(package, scratch):
    """Key -> (value, variable) of a package."""
    program, _ = load(package, scratch)
    found = {}
    for function, block in program.functions.items():
        memo = {}
        found.update((key, (memo[var], var)) for key, var in taken(block, function, memo))
    return found


def distinct(found):
    """One key for each weight, however many operations and functions take it."""
    seen, first = set(), {}
    for key, (value, var) in found.items():
        digest = (value.shape, hashlib.blake2b(np.ascontiguousarray(value).view(np.uint8)).digest())
        if digest not in seen:
            seen.add(digest)
            first[key] = (value, var)
    return first


def lost(before, after):
    """The weights' errors, and what is wrong with those that should be as they were."""
    weights, changed = {}, []
    for key, (value, var) in before.items():
        if key not in after:
            changed.append(f"{var.name}: nothing at {key}")
            continue
        new, made = after[key]
        compressed = made.op.op_type.startswith("constexpr_")
        if new.shape != value.shape or new.dtype != value.dtype:
            changed.append(f"{var.name}: {value.dtype} {value.shape} became {new.dtype} {new.shape}")
        elif not compressed and not np.array_equal(new, value):
            changed.append(f"{var.name}: another value, in float")
        else:
            w = value.astype(np.float64)
            error = float(np.sum((w - new.astype(np.float64)) ** 2))
            stored = bits(made.op) if compressed else None
            weights[var.name] = [value.size, stored, float(np.sum(w**2)), error]
    return weights, changed


# What a package says of its own making, which compressing adds to.
PROVENANCE = ("twolane.version", "twolane.options", "twolane.sources")


def specification(package):
    """The package's model, read without coremltools' loader, which rewrites the manifest."""
    with open(os.path.join(package, "Data", "com.apple.CoreML", "model.mlmodel"), "rb") as file:
        return Model_pb2.Model.FromString(file.read())


def features(spec):
    """Everything outside the program: name -> bytes."""
    description, found = spec.description, {}
    for field, value in description.ListFields():
        if field.name == "metadata":
            for part, text in value.ListFields():
                if part.name == "userDefined":
                    kept = ((k, v) for k, v in text.items() if not k.startswith(PROVENANCE))
                    found.update((f"metadata {k}", v.encode()) for k, v in kept)
                else:
                    found[f"metadata {part.name}"] = text.encode()
        elif field.is_repeated:
            found.update((f"{field.name} {v.name}", v.SerializeToString(deterministic=True)) for v in value)
        else:
            found[field.name] = repr(value).encode()
    found["specification version"] = str(spec.specificationVersion).encode()
    return found


def operations(spec):
    """Every operation that computes: its place -> its type and what it says, weights aside."""
    found = {}

    def walk(block, place, known):
        known, turns = dict(known), collections.Counter()
        for op in block.operations:
            if op.type.startswith("constexpr_") or op.type == "const":
                value = op.attributes["val"]
                small = op.type == "const" and value.WhichOneof("value") == "immediateValue"
                for out in op.outputs:
                    # A small constant means what its value is, a weight that it is one.
                    known[out.name] = value.SerializeToString(deterministic=True) if small else b"weight"
                continue
            parts = [op.type]
            parts += [out.SerializeToString(deterministic=True) for out in op.outputs]
            for argument in sorted(op.inputs):
                for binding in op.inputs[argument].arguments:
                    parts += [argument, known.get(binding.name, binding.name.encode())]
                    parts.append(binding.value.SerializeToString(deterministic=True))
            turns[op.type] += 1
            # What returns nothing, such as `write_state`, is known by its turn.
            own = f"{place}/{op.outputs[0].name if op.outputs else f'{op.type} {turns[op.type]}'}"
            found[own] = tuple(parts)
            for i, inner in enumerate(op.blocks):
                walk(inner, f"{own}.{i}", known)
        found[f"outputs of {place}"] = repr(list(block.outputs)).encode()

    for name, function in spec.mlProgram.functions.items():
        found[f"inputs of {name}"] = b"".join(v.SerializeToString(deterministic=True) for v in function.inputs)
        found[f"opset of {name}"] = function.opset.encode()
        walk(function.block_specializations[function.opset], name, {})
    return found


def counted(found):
    """How many operations of each type there are."""
    return collections.Counter(parts[0] for parts in found.values() if isinstance(parts, tuple))


def differences(before, after, additions):
    """Sentences about two dictionaries; `additions` are allowed where true."""
    found = [f"{name}: gone" for name in before if name not in after]
    found += [f"{name}: changed" for name in before if name in after and before[name] != after[name]]
    return found + [f"{name}: new" for name in after if name not in before and not additions]


def findings(package, path):
    """What the strict checker says, as tests/interop/strict.py asks it."""
    module = importlib.util.spec_from_file_location("checker", path)
    checker = importlib.util.module_from_spec(module)
    module.loader.exec_module(checker)
    options = argparse.Namespace(
        list=False, dump_weights=None, decompress=False, expect=None, max_rel_rmse=0.0, name_map=None,
        allow_missing=True, min_size=10, proto_only=False, warnings_fail=True)
    report, _ = checker.check(package, options)
    return report.errors + report.warnings


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("float_package")
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--checker")
    args = parser.parse_args()
    spec, answers = specification(args.float_package), []
    computed = operations(spec)
    with tempfile.TemporaryDirectory() as scratch:
        before = distinct(constants(args.float_package, scratch))
        for package in args.packages:
            weights, changed = lost(before, constants(package, scratch))
            compressed = specification(package)
            after = operations(compressed)
            changed += differences(features(spec), features(compressed), additions=True)
            changed += differences(computed, after, additions=False)
            found = findings(package, args.checker) if args.checker else None
            answers.append({"weights": weights, "changed": changed, "findings": found,
                            "operations": [counted(computed), counted(after)]})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
