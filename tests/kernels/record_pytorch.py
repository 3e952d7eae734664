"""Record PyTorch's kernels: ``python tests/kernels/record_pytorch.py``, needs torch.

Writes ``pytorch.json`` beside this file: inputs, options, and the outputs and derivatives that
PyTorch's functions and its differentiation find, in double precision. Inputs are multiples of 1/4,
which float32 holds exactly, so that the same numbers do for both precisions; many are equal, so
that it shows which of them a maximum takes.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

PLACE = Path(__file__).with_name("pytorch.json")
COMPACT = (",", ":")


def multiples(generator, shape, low=-10, high=10):
    return generator.randint(low, high + 1, shape) / 4


def padded(x, padding):
    """What PyTorch's own padding cannot do: ((top, bottom), (left, right)) that differ."""
    (top, bottom), (left, right) = padding
    return F.pad(x, (left, right, top, bottom))


def conv2d(x, weight, bias=None, padding=0, **options):
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        x, padding = padded(x, padding), 0
    return F.conv2d(x, weight, bias, padding=padding, **options)


def conv1d(x, weight, bias=None, padding=0, **options):
    if isinstance(padding, tuple):
        x, padding = F.pad(x, padding), 0
    return F.conv1d(x, weight, bias, padding=padding, **options)


def batchnorm(x, relu=False, running_mean=None, running_var=None, **options):
    out = F.batch_norm(x, running_mean, running_var, **{"training": True, **options})
    return F.relu(out) if relu else out


def max_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False):
    return F.max_pool2d(x, kernel_size, stride, padding, 1, ceil_mode)


def softmax(x):
    return F.softmax(x, dim=1)


def leaky_relu(x, slope=0.01):
    return F.leaky_relu(x, slope)


def global_avg_pool2d(x):
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def softmax_cross_entropy(x, labels, **options):
    return F.cross_entropy(x, labels, **options)


LOSSES = (
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
    "binary_cross_entropy",
    "multilabel",
    "softmax_cross_entropy",
)
PEERS = {
    "conv2d": conv2d,
    "conv1d": conv1d,
    "batchnorm": batchnorm,
    "linear": F.linear,
    "max_pool2d": max_pool2d,
    "avg_pool2d": F.avg_pool2d,
    "global_avg_pool2d": global_avg_pool2d,
    "relu": F.relu,
    "leaky_relu": leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": softmax,
    "l1_loss": F.l1_loss,
    "mse_loss": F.mse_loss,
    "smooth_l1_loss": F.smooth_l1_loss,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "multilabel": F.multilabel_soft_margin_loss,
    "softmax_cross_entropy": softmax_cross_entropy,
}


def convolutions(generator):
    """x (N, C, H, W), filters (K, R, S), options."""
    for x, filters, options in [
        ((2, 3, 6, 7), (4, 3, 3), {}),
        ((2, 3, 6, 7), (4, 3, 3), {"padding": 1}),
        ((1, 3, 9, 8), (4, 3, 3), {"padding": 1, "stride": 2}),
        ((2, 5, 4, 5), (3, 1, 1), {}),
        ((2, 4, 5, 7), (3, 1, 1), {"stride": 2}),
        ((1, 2, 4, 9), (3, 1, 7), {"padding": (0, 3)}),
        ((1, 2, 9, 4), (3, 7, 1), {"padding": (3, 0)}),
        ((1, 2, 8, 9), (3, 1, 7), {"stride": (2, 1)}),
        ((2, 2, 5, 5), (7, 5, 5), {}),
        ((1, 2, 9, 9), (3, 3, 3), {"padding": 2, "dilation": 2}),
        ((2, 1, 5, 9), (2, 2, 3), {"dilation": (1, 3), "stride": (1, 2)}),
        ((2, 4, 5, 6), (6, 3, 3), {"padding": 1, "groups": 2}),
        ((1, 6, 5, 5), (9, 3, 2), {"groups": 3, "stride": 2, "padding": (1, 1)}),
        ((2, 5, 6, 5), (5, 3, 3), {"padding": 1, "groups": 5}),
        ((1, 3, 7, 7), (6, 3, 3), {"padding": 1, "groups": 3, "stride": 2}),
        ((1, 4, 8, 6), (4, 3, 3), {"padding": 2, "groups": 4, "dilation": 2}),
        ((1, 4, 5, 4), (8, 1, 1), {"groups": 4}),
        ((2, 2, 6, 5), (3, 3, 2), {"padding": ((1, 0), (2, 1))}),
        ((1, 2, 7, 6), (3, 4, 3), {"padding": ((0, 2), (3, 0)), "stride": 2}),
        ((1, 2, 6, 5), (3, 4, 2), {"padding": "same"}),
        ((1, 2, 6, 7), (2, 3, 2), {"padding": "same", "dilation": (2, 3)}),
        ((1, 2, 6, 5), (3, 4, 2), {"padding": "valid"}),
        ((2, 2, 8, 10), (3, 3, 3), {"stride": (2, 3)}),
        ((1, 1, 7, 3), (1, 2, 3), {"stride": 3}),
        ((1, 1, 3, 4), (2, 5, 5), {"padding": 2}),
        ((1, 2, 2, 2), (2, 1, 1), {"padding": 2}),
        ((1, 1, 1, 1), (1, 1, 1), {}),
        ((1, 3, 3, 33), (2, 3, 3), {"padding": 1}),
        ((1, 1, 3, 19), (17, 3, 3), {"padding": (1, 1)}),
        ((1, 1, 19, 19), (3, 7, 7), {"stride": 2, "padding": 3}),
        ((1, 1, 23, 23), (2, 11, 11), {"stride": 4, "padding": 2}),
    ]:
        K, R, S = filters
        weight = multiples(generator, (K, x[1] // options.get("groups", 1), R, S), -5, 5)
        inputs = {"x": multiples(generator, x), "weight": weight}
        yield "conv2d", inputs | {"bias": multiples(generator, K)}, options
    yield "conv2d", inputs, options  # no bias


def convolutions_of_sequences(generator):
    for x, filters, options in [
        ((2, 3, 9), (4, 3), {}),
        ((1, 4, 11), (6, 4), {"padding": 2, "stride": 3, "groups": 2}),
        ((2, 2, 10), (3, 3), {"padding": (4, 0), "dilation": 2}),
        ((2, 3, 8), (3, 2), {"padding": "same", "groups": 3}),
    ]:
        K, S = filters
        weight = multiples(generator, (K, x[1] // options.get("groups", 1), S))
        inputs = {"x": multiples(generator, x), "weight": weight}
        yield "conv1d", inputs | {"bias": multiples(generator, K)}, options


def normalizations(generator):
    for shape in ((6, 3), (2, 1), (2, 3, 4), (2, 3, 2, 3), (1, 3, 3, 3), (1, 9, 1, 3)):
        C = shape[1]
        affine = {"weight": multiples(generator, C), "bias": multiples(generator, C)}
        running = {
            "running_mean": multiples(generator, C),
            "running_var": multiples(generator, C, low=1),
        }
        x = {"x": multiples(generator, shape)}
        yield "batchnorm", x | affine | running, {}
        yield "batchnorm", x | affine | running, {"training": False}
        yield "batchnorm", x | affine | running, {"momentum": 0.3, "eps": 0.01, "relu": True}
        yield "batchnorm", x | affine | running, {"training": False, "eps": 0.01, "relu": True}
        yield "batchnorm", x | affine, {}
        yield "batchnorm", x | running, {}
        yield "batchnorm", x | running, {"training": False}
        yield "batchnorm", {"x": x["x"] + 1e4} | affine | running, {}


def poolings(generator):
    for x, kernel_size, options in [
        ((2, 3, 6, 8), 2, {}),
        ((1, 2, 7, 9), 3, {"stride": 2}),
        ((1, 2, 7, 8), 3, {"stride": 2, "ceil_mode": True}),
        ((2, 2, 7, 8), 3, {"stride": 2, "padding": 1}),
        ((1, 2, 6, 8), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
        ((1, 2, 5, 9), (2, 3), {"stride": (1, 2), "padding": (1, 0)}),
        ((1, 3, 5, 5), 3, {"stride": 1, "padding": 1}),
        ((1, 2, 7, 7), 2, {"stride": 3, "ceil_mode": True}),
        ((1, 2, 4, 5), (4, 5), {}),
        ((1, 1, 5, 35), 2, {}),
    ]:
        inputs = {"x": multiples(generator, x)}
        options = {"kernel_size": kernel_size, **options}
        yield "max_pool2d", inputs, options
        yield "avg_pool2d", inputs, options
        if "padding" in options:
            yield "avg_pool2d", inputs, {**options, "count_include_pad": False}
    for x in ((2, 3, 4, 5), (1, 1, 1, 1), (1, 2, 7, 7)):
        yield "global_avg_pool2d", {"x": multiples(generator, x)}, {}


def activations(generator):
    for name in ("relu", "leaky_relu", "sigmoid", "tanh", "softmax"):
        for shape in ((1, 1), (3, 19)):
            yield name, {"x": multiples(generator, shape, -24, 24)}, {}
    yield "leaky_relu", {"x": multiples(generator, (2, 5))}, {"slope": 0.25}
    for name in ("relu", "sigmoid", "tanh"):
        yield name, {"x": multiples(generator, (2, 3, 3, 2))}, {}
    for name in ("sigmoid", "tanh", "softmax"):
        yield name, {"x": multiples(generator, (2, 5), -4000, 4000)}, {}


def products(generator):
    for N, C, K in ((3, 5, 4), (1, 7, 3), (5, 1, 2), (2, 3, 1)):
        inputs = {"x": multiples(generator, (N, C)), "weight": multiples(generator, (K, C))}
        yield "linear", inputs | {"bias": multiples(generator, K)}, {}
    yield "linear", inputs, {}


def losses(generator):
    for reduction in ({}, {"reduction": "sum"}, {"reduction": "none"}):
        for shape in ((1,), (7,), (3, 4)):
            inputs = {"x": multiples(generator, shape), "target": multiples(generator, shape)}
            yield "l1_loss", inputs, reduction
            yield "mse_loss", inputs, reduction
            yield "smooth_l1_loss", inputs, reduction
            yield "smooth_l1_loss", inputs, {"beta": 0.25, **reduction}
            between = {"target": multiples(generator, shape, 0, 4)}
            yield "binary_cross_entropy", inputs | between, reduction
            certain = {"x": inputs["x"] * 300, "target": generator.randint(0, 2, shape) / 1}
            yield "binary_cross_entropy", certain, reduction
        for shape in ((1, 1), (3, 4)):
            inputs = {"x": multiples(generator, shape)}
            inputs["target"] = generator.randint(0, 2, shape) / 1
            yield "multilabel", inputs, reduction
        for N, C in ((1, 2), (5, 3), (4, 17)):
            labels = {"labels": generator.randint(0, C, N)}
            inputs = {"x": multiples(generator, (N, C))} | labels
            weight = {"weight": multiples(generator, C, low=1)}
            yield "softmax_cross_entropy", inputs, reduction
            yield "softmax_cross_entropy", inputs, {"label_smoothing": 0.1, **reduction}
            yield "softmax_cross_entropy", inputs | weight, reduction
            yield "softmax_cross_entropy", inputs | weight, {"label_smoothing": 0.3, **reduction}
            yield "softmax_cross_entropy", inputs | {"x": inputs["x"] * 1000}, reduction


FAMILIES = (
    convolutions,
    convolutions_of_sequences,
    normalizations,
    products,
    poolings,
    activations,
    losses,
)


def record(generator, kernel, inputs, options):
    tensors = {name: torch.tensor(values) for name, values in inputs.items()}
    is_loss = kernel in LOSSES
    by = ["x"] if is_loss else [name for name in ("x", "weight", "bias") if name in inputs]
    for name in by:
        tensors[name].requires_grad_()
    others = {name: tensor for name, tensor in tensors.items() if name != "x"}
    out = PEERS[kernel](tensors["x"], **others, **options)
    grad = np.ones(out.shape) if is_loss else multiples(generator, tuple(out.shape))
    grads = torch.autograd.grad(out, [tensors[name] for name in by], torch.tensor(grad))
    outputs = {"out": out, **{f"grad_{name}": g for name, g in zip(by, grads, strict=True)}}
    outputs |= {name: t for name, t in tensors.items() if name.startswith("running_")}
    if not is_loss:
        inputs = inputs | {"grad": grad}
    return {
        "kernel": kernel,
        "inputs": {name: values.tolist() for name, values in inputs.items()},
        "options": options,
        "outputs": {name: values.tolist() for name, values in outputs.items()},
    }


def record_all():
    cases = {}
    for family in FAMILIES:
        # Whose numbers no release of NumPy changes, unlike those of default_rng.
        generator = np.random.RandomState(len(family.__name__))
        for arguments in family(generator):
            name = (
                f"{arguments[0]}-{sum(case['kernel'] == arguments[0] for case in cases.values())}"
            )
            cases[name] = record(generator, *arguments)
    return {"torch": torch.__version__, "cases": cases}


if __name__ == "__main__":
    recorded = record_all()
    lines = [
        f"{json.dumps(name)}: {json.dumps(case, separators=COMPACT)}"
        for name, case in recorded["cases"].items()
    ]
    PLACE.write_text(
        f'{{"torch": "{recorded["torch"]}", "cases": {{\n' + ",\n".join(lines) + "\n}}\n",
        encoding="utf-8",
    )
