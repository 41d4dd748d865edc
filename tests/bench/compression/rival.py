"""coremltools' side of run.py: rival.py PACKAGE OUTPUT CONFIG-CLASS OPTIONS-JSON.

Compresses one package and prints the seconds of importing, and of loading, compressing and saving.
"""
import json
import sys
import time

started = time.perf_counter()

PALETTES = sys.argv[3] == "OpPalettizerConfig"
if not PALETTES:
    # coremltools imports it where it is installed (a second, and 60 MB), and needs it for k-means only.
    sys.modules["sklearn"] = None

import coremltools as ct  # noqa: E402
import coremltools.optimize.coreml as cto  # noqa: E402


def main():
    package, output, config, options = sys.argv[1:]
    if PALETTES:
        # coremltools imports it in the middle of its work, for tensors that are small or in FP32.
        import sklearn.cluster  # noqa: F401
    imported = time.perf_counter()

    compress = cto.palettize_weights if PALETTES else cto.linear_quantize_weights
    model = ct.models.MLModel(package, skip_model_load=True)
    chosen = getattr(cto, config)(**json.loads(options))
    compress(model, cto.OptimizationConfig(global_config=chosen)).save(output)
    print(json.dumps({"import_s": imported - started, "work_s": time.perf_counter() - imported}))


# coremltools forks workers for k-means where it is asked to.
if __name__ == "__main__":
    main()
