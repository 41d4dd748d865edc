#!/usr/bin/env python3
"""Runs a strict package checker over many output folders in one process.

    strict.py CHECKER.py FOLDER...

Each FOLDER is an output of `quantize --to mlpackage,dense`; its package, or each of a model in chunks,
is compared with the dequantized file, except where channel scales stand behind the operation and not in the weight.
"""
import argparse
import glob
import importlib.util
import json
import os
import sys


def main():
    path, folders = sys.argv[1], sys.argv[2:]
    spec = importlib.util.spec_from_file_location("checker", path)
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    bad = 0
    for folder in folders:
        packages = sorted(glob.glob(os.path.join(folder, "*.mlpackage")))
        (dense,) = glob.glob(os.path.join(folder, "*.dequantized.safetensors"))
        with open(os.path.join(folder, "report.json"), encoding="utf-8") as f:
            text = f.read()
        behind = "channel-scale" in text and json.loads(text)["options"]["target"] != "ios26"
        # A package that computes in FP32 does not round what a code stands for to FP16.
        rounding = 3e-4 if "_f32" in folder else 0.0
        args = argparse.Namespace(
            list=False, dump_weights=None, decompress=behind, expect=None if behind else dense,
            max_rel_rmse=rounding, name_map=None, allow_missing=True, min_size=10, proto_only=False,
            warnings_fail=True)
        reports = [checker.check(package, args)[0] for package in packages]
        errors = [e for report in reports for e in report.errors + report.warnings]
        if not packages:
            errors = ["there is no package in it"]
        bad += bool(errors)
        if errors:
            print(f"FAIL {folder}")
            for e in errors:
                print(f"       {e}")
    print(f"{len(folders) - bad} packages pass the strict checker, {bad} fail")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
