"""A network of depthwise separable convolutions whose channels are of unlike size.

As after training with batch norms, whose gains are drawn 2^N(0, 2) here: folded into the convolutions, they
leave channels that one range serves badly (Nagel et al. 2019, figure 2).
"""
import torch
from torch import nn


def block(inputs, outputs, stride):
    def conv(a, b, kernel, stride, groups):
        return [nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(b), nn.ReLU()]

    return conv(inputs, inputs, 3, stride, inputs) + conv(inputs, outputs, 1, 1, 1)


def network():
    torch.manual_seed(71)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        *block(16, 32, 2), *block(32, 48, 1), *block(48, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).eval()
    x = torch.randn(64, 3, 32, 32)
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.BatchNorm2d):
                # What training would have counted, but for the gain.
                layer.running_mean.copy_(x.mean((0, 2, 3)))
                layer.running_var.copy_(x.var((0, 2, 3)))
                layer.weight.copy_(2 ** (2 * torch.randn(layer.num_features)))
                layer.bias.copy_(layer.weight * 0.5 * torch.randn(layer.num_features))
            x = layer(x)
    return net


def package(path):
    """Writes it as coremltools converts it, in FP16, to `path`.mlpackage."""
    import coremltools as ct

    traced = torch.jit.trace(network(), torch.zeros(4, 3, 32, 32))
    ct.convert(
        traced, inputs=[ct.TensorType("x", (4, 3, 32, 32))], outputs=[ct.TensorType("logits")],
        minimum_deployment_target=ct.target.iOS18, compute_precision=ct.precision.FLOAT16, skip_model_load=True,
    ).save(path)
    return path
