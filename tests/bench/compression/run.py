#!/usr/bin/env python3
"""Compresses float packages with quantize and with coremltools, and prints what each took and gave.

    run.py QUANTIZE PACKAGE... [--python PYTHON] [--checker FILE] [--json FILE]

PACKAGE is an .mlpackage in float, or a folder of `quantize` that holds one; NAME=PACKAGE names its
row. PYTHON has coremltools, scikit-learn and safetensors, and nothing else that coremltools would
import, such as torch: it would be charged for that. Linux only: memory is read from /proc.

Exits 1 where quantize failed, changed what compression has no business with, displeased the checker,
or was less exact than coremltools at the same bits.

docs/compression.md says what is measured and has the table of one run.
"""
import argparse
import collections
import glob
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from measure import Failed, measure

HERE = os.path.dirname(os.path.abspath(__file__))

# Elements below which both tools leave a weight in float; coremltools wants the largest of those.
SMALLEST = 2048

LINEAR, PALETTE = "OpLinearQuantizerConfig", "OpPalettizerConfig"
SCHEMES = {
    "linear-int8": (LINEAR, {"mode": "linear_symmetric", "dtype": "int8"}),
    "linear-int4,block:32": (
        LINEAR, {"mode": "linear_symmetric", "dtype": "int4", "granularity": "per_block", "block_size": 32}),
    "palette-4,group:16": (
        PALETTE, {"mode": "kmeans", "nbits": 4, "granularity": "per_grouped_channel", "group_size": 16}),
    "palette-6": (PALETTE, {"mode": "kmeans", "nbits": 6}),
    "palette-8": (PALETTE, {"mode": "kmeans", "nbits": 8}),
}


def package_in(path):
    """The .mlpackage that a path is or holds."""
    found = [path] if path.rstrip("/").endswith(".mlpackage") else glob.glob(os.path.join(path, "*.mlpackage"))
    if len(found) != 1 or not os.path.isdir(found[0]):
        sys.exit(f"{path}: {len(found)} packages, 1 expected")
    return found[0]


def size(package):
    """Bytes of the weights' file."""
    return os.path.getsize(os.path.join(package, "Data", "com.apple.CoreML", "weights", "weight.bin"))


def decibels(weights):
    """SQNR over some weights, and of the worst one."""
    def ratio(power, noise):
        return 10 * math.log10(power / noise) if noise and power else math.inf

    if not weights:
        return math.inf, math.inf
    total = ratio(sum(w[2] for w in weights), sum(w[3] for w in weights))
    return total, min(ratio(w[2], w[3]) for w in weights)


def tool(command, output, args):
    """One tool on one package: figures, or why there are none."""
    try:
        figures = measure(command, output, args.repeat, args.limit)
    except Failed as why:
        return {"failed": str(why)}
    package = package_in(output)
    return {**figures, "package": package, "weight_bytes": size(package)}


def row(float_package, scheme, args, scratch):
    """Both tools on one package in one scheme."""
    config, options = SCHEMES[scheme]
    options = {**options, "weight_threshold": SMALLEST - 1}
    if config == PALETTE:
        options["num_kmeans_workers"] = args.kmeans_workers
    ours, theirs = os.path.join(scratch, "ours"), os.path.join(scratch, "theirs.mlpackage")
    commands = {
        "quantize": ([args.quantize, "--quiet", "--scheme", scheme, "--min-elements", str(SMALLEST),
                      "--to", "mlpackage", "--output", ours, float_package], ours),
        "coremltools": ([args.python, os.path.join(HERE, "rival.py"), float_package, theirs, config,
                         json.dumps(options)], theirs),
    }
    result = {name: tool(*given, args) for name, given in commands.items()}
    made = [name for name in result if "package" in result[name]]
    if made:
        command = [args.python, os.path.join(HERE, "score.py"), float_package]
        command += [result[name].pop("package") for name in made]
        command += ["--checker", args.checker] if args.checker else []
        scores = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        for name, score in zip(made, json.loads(scores.strip().splitlines()[-1])):
            result[name].update(score)
        sets = [{k for k, w in result[name]["weights"].items() if w[1] is not None} for name in made]
        shared = set.intersection(*sets)
        for name, own in zip(made, sets):
            weights = result[name].pop("weights")
            both = [weights[key] for key in shared]
            total, worst = decibels(both)
            bits = sum(w[1] for w in both) / max(1, sum(w[0] for w in both))
            result[name].update(compressed=len(own), alone=sorted(own - shared), sqnr_db=total,
                                worst_sqnr_db=worst, bits_per_weight=bits)
    return result


def pair(result, text):
    """A cell: quantize's figure, coremltools' figure."""
    return " / ".join("–" if "failed" in result[name] else text(result[name]) for name in result)


def megabytes(count):
    return f"{count / 1e6:.1f}" if count < 1e8 else f"{count / 1e6:.0f}"


COLUMNS = {
    "weights": lambda t: f"{t['compressed']}" + ("*" if t["alone"] else ""),
    "wall, s": lambda t: f"{t['wall_s']:.2f}" + (f" ({t['work_s']:.2f})" if "work_s" in t else ""),
    "CPU, s": lambda t: f"{t['cpu_s']:.2f}",
    "peak, MB": lambda t: f"{megabytes(t['peak_bytes'])} ({megabytes(t['anonymous_bytes'])})",
    "weight.bin": lambda t: f"{t['weight_bytes']:,}",
    "SQNR, dB": lambda t: f"{t['sqnr_db']:.2f}",
    "worst, dB": lambda t: f"{t['worst_sqnr_db']:.2f}",
    "else changed": lambda t: f"{len(t['changed'])}",
}


def print_row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def notes(rows):
    """Sentences under the table, each once, with the schemes that they are true of."""
    said = {}
    for r in rows:
        result = r["result"]
        sentences = [f"{who}: {t['failed']}" for who, t in result.items() if "failed" in t]
        if len(sentences) == len(result):
            sentences = [f"no row: {sentences[0]}"]
        for who, t in result.items():
            if t.get("alone"):
                names = ", ".join(t["alone"][:3]) + (", ..." if len(t["alone"]) > 3 else "")
                sentences.append(f"only {who} compresses {len(t['alone'])}: {names}")
            before, after = map(collections.Counter, t.get("operations", ({}, {})))
            gone, new = before - after, after - before
            if gone or new:
                parts = [f"{-n:+d} {kind}" for kind, n in gone.items()] + [f"{n:+d} {kind}" for kind, n in new.items()]
                sentences.append(f"{who}: {before.total()} operations became {after.total()}: {', '.join(parts)}")
            sentences += [f"checker on {who}: {finding}" for finding in t.get("findings") or []]
        bits = [t["bits_per_weight"] for t in result.values() if "failed" not in t]
        if bits and max(bits) > 1.001 * min(bits):
            sentences.append("bits a weight: " + " / ".join(f"{b:.3f}" for b in bits))
        for sentence in sentences:
            said.setdefault((r["package"], sentence), []).append(r["scheme"])
    return [f"{package} ({'; '.join(schemes)}): {sentence}" for (package, sentence), schemes in said.items()]


def summary(rows):
    """What the checker said of all packages, and the ratios over all rows that both tools made."""
    checked = [t["findings"] for r in rows for t in r["result"].values() if t.get("findings") is not None]
    if checked:
        print(f"\nThe checker passes {checked.count([])} of {len(checked)} packages.")
    both = [r["result"] for r in rows if not any("failed" in t for t in r["result"].values())]
    if not both:
        return

    def ratio(top, bottom):
        return [r["coremltools"][top] / r["quantize"][bottom] for r in both if r["quantize"][bottom]]

    print(f"\n{len(both)} rows with both tools; coremltools' figure over quantize's, median (least to most):")
    for text, top, bottom in [("time", "wall_s", "wall_s"), ("time without importing", "work_s", "wall_s"),
                              ("processor time", "cpu_s", "cpu_s"), ("peak memory", "peak_bytes", "peak_bytes"),
                              ("bits a weight", "bits_per_weight", "bits_per_weight")]:
        values = ratio(top, bottom)
        print(f"- {text}: {statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})")
    for text, key in [("all weights", "sqnr_db"), ("the worst weight", "worst_sqnr_db")]:
        pairs = [(r["quantize"][key], r["coremltools"][key]) for r in both]
        # Both without loss is infinite on both sides, and no gain.
        gains = [0.0 if ours == theirs else ours - theirs for ours, theirs in pairs]
        lower = sum(g < -0.005 for g in gains)
        print(f"- SQNR of {text}, quantize less coremltools: {statistics.median(gains):+.2f} dB "
              f"({min(gains):+.2f} to {max(gains):+.2f}); quantize is lower in {lower} rows")


def wrong(rows):
    """Sentences about rows in which quantize is not what it promises."""
    for r in rows:
        ours, theirs = r["result"]["quantize"], r["result"]["coremltools"]
        where = f"{r['package']}, {r['scheme']}"
        if "failed" in ours:
            # Where neither has the scheme for this target, that is what quantize should say.
            if "failed" not in theirs:
                yield f"{where}: {ours['failed']}"
            continue
        yield from (f"{where}: changed {what}" for what in ours["changed"])
        yield from (f"{where}: {finding}" for finding in ours["findings"] or [])
        if "failed" not in theirs and ours["bits_per_weight"] > 1.001 * theirs["bits_per_weight"]:
            yield f"{where}: more bits a weight than coremltools"
        if "failed" not in theirs and ours["sqnr_db"] < theirs["sqnr_db"] - 0.005:
            yield f"{where}: {ours['sqnr_db']:.2f} dB, coremltools {theirs['sqnr_db']:.2f} dB"


def versions(args):
    """What the figures belong to."""
    code = ("from importlib.metadata import distributions as d; import json; "
            "print(json.dumps({p.metadata['Name']: p.version for p in d()}))")
    found = json.loads(subprocess.run([args.python, "-c", code], check=True, capture_output=True, text=True).stdout)
    names = [name for name in ("coremltools", "numpy", "scikit-learn") if name in found]
    ours = subprocess.run([args.quantize, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    return {"quantize": ours, **{name: found[name] for name in names},
            "cores": len(os.sched_getaffinity(0))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quantize")
    parser.add_argument("packages", nargs="+", metavar="[NAME=]PACKAGE")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--checker", help="a strict checker of packages, as tests/interop/strict.py takes")
    parser.add_argument("--json", help="write every figure there")
    parser.add_argument("--scheme", action="append", choices=SCHEMES, help="only this one; may be repeated")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs of what takes less than 10 s")
    parser.add_argument("--limit", type=float, default=600, help="seconds that one run may take")
    parser.add_argument("--kmeans-workers", type=int, default=1, help="coremltools' own default is 1")
    args = parser.parse_args()
    environment, rows = versions(args), []
    print(", ".join(f"{name} {version}" for name, version in environment.items()) + "\n")
    print_row(["package", "scheme", *COLUMNS])
    print_row(["---"] * (2 + len(COLUMNS)))
    for given in args.packages:
        name, _, path = given.rpartition("=")
        package = package_in(path)
        name = name or os.path.basename(os.path.dirname(os.path.abspath(package)))
        for scheme in args.scheme or SCHEMES:
            with tempfile.TemporaryDirectory() as scratch:
                # coremltools rewrites the manifest of what it opens.
                copy = shutil.copytree(package, os.path.join(scratch, "float.mlpackage"))
                result = row(copy, scheme, args, scratch)
            rows.append({"package": name, "scheme": scheme, "float_bytes": size(package), "result": result})
            if not all("failed" in t for t in result.values()):
                print_row([name, scheme, *(pair(result, text) for text in COLUMNS.values())])
    print("\nquantize / coremltools. In brackets: seconds without importing; anonymous memory. *: weights that "
          "the other\nleft in float are among them; bits and SQNR are those of the weights that both compressed.\n")
    for note in notes(rows):
        print(f"- {note}")
    summary(rows)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"environment": environment, "rows": rows}, file, indent=1)
    faults = list(wrong(rows))
    for fault in faults:
        print(f"WRONG {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
