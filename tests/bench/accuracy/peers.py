"""Static INT8 of onnxruntime and torch, of the same networks from the same calibration data.

Each function yields (what it is, logits of the test inputs), or says that the peer is not installed.
"""
import os
from functools import partial

import numpy as np
from safetensors.numpy import load_file


def digits(name, weights, calibration, test, scratch):
    """onnxruntime's QDQ models, weights per channel."""
    try:
        import onnx
        import onnxruntime as ort
        from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
        from onnxruntime.quantization import quantize_static
    except ImportError as why:
        print("no onnxruntime:", why)
        return

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(calibration)

        def get_next(self):
            image = next(self.rest, None)
            return None if image is None else {"x": image[None]}

    source, out = os.path.join(scratch, f"{name}.onnx"), os.path.join(scratch, f"{name}.qdq.onnx")
    onnx.save(graph(onnx, name, load_file(weights), test.shape[1:]), source)
    for what, method, kind in (("QInt8, symmetric", CalibrationMethod.MinMax, QuantType.QInt8),
                               ("QUInt8", CalibrationMethod.MinMax, QuantType.QUInt8),
                               ("QUInt8, entropy", CalibrationMethod.Entropy, QuantType.QUInt8)):
        quantize_static(source, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=kind,
                        weight_type=QuantType.QInt8, calibrate_method=method,
                        extra_options={"ActivationSymmetric": kind is QuantType.QInt8})
        session = ort.InferenceSession(out, providers=["CPUExecutionProvider"])
        logits = np.concatenate([session.run(None, {"x": image[None]})[0] for image in test])
        yield f"onnxruntime {ort.__version__}, {what}", logits.astype(np.float64)


def graph(onnx, name, weights, shape):
    """The digits networks as their fixture describes them."""
    nodes, last = [], "x"

    def add(kind, *inputs, **attributes):
        nonlocal last
        output = f"{kind}_{len(nodes)}"
        nodes.append(onnx.helper.make_node(kind, [last, *inputs], [output], **attributes))
        last = output

    def linear(layer):
        add("Gemm", layer + ".weight", layer + ".bias", transB=1)

    def conv(layer, stride=1):
        add("Conv", layer + ".weight", layer + ".bias", pads=[1] * 4, strides=[stride] * 2)
        add("Relu")

    if name == "mlp":
        linear("fc1")
        add("Gelu", approximate="none")
        linear("fc2")
        add("Relu")
        linear("fc3")
    else:
        conv("conv1")
        conv("conv2")
        add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        conv("conv3", 2)
        add("GlobalAveragePool")
        add("Flatten")
        linear("fc")
    floats = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info("x", floats, [1, *shape])]
    outputs = [onnx.helper.make_tensor_value_info(last, floats, [1, 10])]
    constants = [onnx.numpy_helper.from_array(value, key) for key, value in weights.items()]
    made = onnx.helper.make_graph(nodes, name, inputs, outputs, constants)
    return onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)


def resnet20(weights, calibration, test):
    """torch's static INT8 by FX, default settings of its x86 backend."""
    try:
        import torch
        from torch import nn
        from torch.ao.quantization import get_default_qconfig_mapping
        from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
    except ImportError as why:
        print("no torch:", why)
        return

    class Block(nn.Module):
        def __init__(self, taken, given, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(taken, given, 3, stride, 1, bias=False), nn.BatchNorm2d(given)
            self.conv2, self.bn2 = nn.Conv2d(given, given, 3, 1, 1, bias=False), nn.BatchNorm2d(given)
            self.is_wider, self.padding = taken != given, (given - taken) // 2

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            if self.is_wider:
                x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
            return torch.relu(y + x)

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
            for n, (taken, given, stride) in enumerate(((16, 16, 1), (16, 32, 2), (32, 64, 2)), 1):
                blocks = [Block(taken, given, stride), Block(given, given, 1), Block(given, given, 1)]
                setattr(self, f"layer{n}", nn.Sequential(*blocks))
            self.linear = nn.Linear(64, 10)

        def forward(self, x):
            x = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x))))))
            return self.linear(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    model = ResNet().eval()
    state = {key: torch.from_numpy(value) for key, value in load_file(weights).items()}
    found = model.load_state_dict(state, strict=False)
    assert not found.unexpected_keys and all("num_batches" in key for key in found.missing_keys), found
    test, calibration = torch.from_numpy(test), torch.from_numpy(calibration)
    with torch.no_grad():
        yield "torch f32", model(test).numpy().astype(np.float64)
        # `onednn` is the backend whose arithmetic the processor does not saturate.
        for engine in ("x86", "onednn"):
            if engine not in torch.backends.quantized.supported_engines:
                continue
            torch.backends.quantized.engine = engine
            prepared = prepare_fx(model, get_default_qconfig_mapping(engine), (calibration[:1],))
            for i in range(0, len(calibration), 16):
                prepared(calibration[i : i + 16])
            converted = convert_fx(prepared)
            yield f"torch {torch.__version__}, {engine}", converted(test).numpy().astype(np.float64)


def minilm(model, calibration, threads, scratch):
    """onnxruntime's sessions of transformers' BERT: in f32, and static INT8 in QDQ form, weights per channel.

    Yields (what it is, a function from ids to hidden states, what makes one of so many threads)."""
    try:
        import onnxruntime as ort
        import torch
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
        from transformers import AutoModel
    except ImportError as why:
        print("no onnxruntime with transformers:", why)
        return

    def inputs(ids):
        return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

        def forward(self, *inputs):
            return self.bert(*inputs).last_hidden_state

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(calibration)

        def get_next(self):
            ids = next(self.rest, None)
            return None if ids is None else inputs(ids)

    def session(file, threads=threads):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        made = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda ids: made.run(None, inputs(ids))[0]

    exact, ready = os.path.join(scratch, "minilm.onnx"), os.path.join(scratch, "minilm.ready.onnx")
    example = {name: torch.from_numpy(ids) for name, ids in inputs(calibration[0]).items()}
    torch.onnx.export(Hidden(), tuple(example.values()), exact, input_names=list(example), output_names=["hidden"],
                      dynamic_axes={name: {1: "tokens"} for name in [*example, "hidden"]}, opset_version=17, dynamo=False)
    quant_pre_process(exact, ready, skip_symbolic_shape=True)
    name = f"onnxruntime {ort.__version__}"
    yield f"{name}, f32", session(exact), partial(session, exact)
    for what, kind, layers in (("QInt8", QuantType.QInt8, None), ("QUInt8", QuantType.QUInt8, None),
                               ("QUInt8, MatMul alone", QuantType.QUInt8, ["MatMul"])):
        out = os.path.join(scratch, f"minilm.{len(what)}.onnx")
        quantize_static(ready, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=kind,
                        weight_type=QuantType.QInt8, op_types_to_quantize=layers,
                        extra_options={"ActivationSymmetric": kind is QuantType.QInt8})
        yield f"{name}, QDQ, {what}", session(out), partial(session, out)


def pooled(hidden):
    """The vector of a text: the mean of its tokens' states."""
    return hidden.astype(np.float64).mean(1)
