"""Rates of onnxruntime for the shapes of matrix.rs: a line `PLACE NAME<TAB>GOP/s` for each."""

import os
import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

K = 4096
PLACES = [("M=1 far", 14336, 1), ("M=1 near", 4096, 1), ("M=128", 256, 128), ("M=512", 256, 512)]


def session(node, inputs, constants, result=TensorProto.FLOAT):
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    given = [helper.make_tensor_value_info(name, dtype, shape) for name, dtype, shape in inputs]
    out = [helper.make_tensor_value_info("y", result, None)]
    graph = helper.make_graph([node], "product", given, out, initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count()))
    return ort.InferenceSession(model.SerializeToString(), options)


def rate(product, feed, multiplications):
    best, start, runs = float("inf"), time.perf_counter(), 0
    while runs < 5 or time.perf_counter() - start < 0.6:
        one = time.perf_counter()
        product.run(None, feed)
        best, runs = min(best, time.perf_counter() - one), runs + 1
    return 2 * multiplications / best / 1e9


def main():
    draw = np.random.default_rng(1)
    for place, n, m in PLACES:
        codes = draw.integers(-127, 128, (K, n), dtype=np.int8)
        x8 = draw.integers(0, 256, (m, K), dtype=np.uint8)
        zero = {"xz": np.array(128, np.uint8), "wz": np.array(0, np.int8)}
        node = helper.make_node("MatMulInteger", ["x", "w", "xz", "wz"], ["y"])
        w8a8 = session(
            node, [("x", TensorProto.UINT8, [m, K])], {"w": codes, **zero}, TensorProto.INT32
        )
        print(f"{place} W8A8\t{rate(w8a8, {'x': x8}, n * m * K)}", flush=True)

        x = draw.standard_normal((m, K), dtype=np.float32)
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        given = [("x", TensorProto.FLOAT, [m, K])]
        f32 = session(node, given, {"w": codes.astype(np.float32)})
        print(f"{place} FP16\t{rate(f32, {'x': x}, n * m * K)}", flush=True)

        packed = draw.integers(0, 256, (n, K // 32, 16), dtype=np.uint8)
        scales = np.full(n * (K // 32), 0.01, np.float32)
        node = helper.make_node(
            "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=K, N=n, bits=4, block_size=32
        )
        w4 = session(node, given, {"w": packed, "s": scales})
        print(f"{place} W4A16, blocks of 32\t{rate(w4, {'x': x}, n * m * K)}", flush=True)


main()
