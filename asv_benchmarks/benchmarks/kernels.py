"""Kernels of neural networks in float32: fastopt's beside PyTorch's on the CPU.

``python -m benchmarks.kernels``, from the folder above, prints all of them; with ``--torch PYTHON``
that interpreter runs PyTorch's, each library in a process of its own in either case. Shapes are
those that networks on small images meet; ``out=`` is given where a library takes it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import installed

LIBRARIES = ("fastopt", "torch")
THREADS = (1, 2)
FOLDER = Path(__file__).parents[1]

# Images (N, C, H, H).
NORMALIZED = ((32, 64, 56), (32, 256, 14), (128, 32, 32))
POOLED = (32, 64, 56)
# Window, stride, padding.
WINDOWS = {"2x2": (2, 2, 0), "3x3": (3, 2, 1)}
# (N, C, H, K, R): images, and K kernels of R x R with padding for results of the same size.
CONVOLVED = (
    (32, 16, 32, 32, 3),
    (16, 64, 28, 64, 3),
    (8, 128, 14, 256, 3),
    (16, 64, 28, 128, 1),
)
DEPTHWISE = ((16, 64, 28, 64, 3),)
# The same of sequences: (N, C, length, K, R).
SEQUENCES = (32, 64, 512, 64, 5)
# Rows, and columns or classes.
SCORES = (4096, 100)
# (N, C, K): rows, columns, and columns of the result.
MULTIPLIED = (256, 512, 512)

Calls = dict[str, Callable[[], Any]]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def set_threads(library: str, threads: int) -> Any:
    """The library's module; raises NotImplementedError where it is missing."""
    if library == "torch":
        module = installed.torch(threads)
        module.set_grad_enabled(False)
        return module
    from fastopt import kernels

    kernels.set_num_threads(threads)
    return kernels


def batchnorm(library: str, k: Any, N: int, C: int, H: int) -> Calls:
    x, grad, weight, bias = normal(N, C, H, H), normal(N, C, H, H), normal(C), normal(C)
    mean, var = np.zeros(C, np.float32), np.ones(C, np.float32)
    if library == "torch":
        x, grad, weight, bias, mean, var = map(k.from_numpy, (x, grad, weight, bias, mean, var))
        forward, backward = k.native_batch_norm, k.ops.aten.native_batch_norm_backward
        _, used, inverse = forward(x, weight, bias, mean, var, True, 0.1, 1e-5)
        rest = (mean, var, used, inverse, True, 1e-5, [True] * 3)
        return {
            "batchnorm_forward": lambda: forward(x, weight, bias, mean, var, True, 0.1, 1e-5),
            "batchnorm_backward": lambda: backward(grad, x, weight, *rest),
            "batchnorm_forward, inference": lambda: forward(
                x, weight, bias, mean, var, False, 0.1, 1e-5
            ),
        }
    parameters = weight, bias, mean, var
    out, saved = k.batchnorm_forward(x, *parameters)
    to = np.empty_like(x), np.empty_like(weight), np.empty_like(bias)
    room = {"out": out, "saved": saved}
    return {
        "batchnorm_forward": lambda: k.batchnorm_forward(x, *parameters, **room),
        "batchnorm_backward": lambda: k.batchnorm_backward(
            grad, x, weight, saved, bias=bias, out=to
        ),
        "batchnorm_forward, inference": lambda: k.batchnorm_forward(x, *parameters, False, **room),
    }


# In torch, the derivative from the gradient and the result.
ACTIVATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "relu": lambda aten, grad, y: aten.threshold_backward(grad, y, 0),
    "leaky_relu": lambda aten, grad, y: aten.leaky_relu_backward(grad, y, 0.01, True),
    "sigmoid": lambda aten, grad, y: aten.sigmoid_backward(grad, y),
    "tanh": lambda aten, grad, y: aten.tanh_backward(grad, y),
}


def activation(library: str, k: Any, name: str) -> Calls:
    N, C, H = POOLED
    x, grad = normal(N, C, H, H), normal(N, C, H, H)
    if library == "torch":
        x, grad = map(k.from_numpy, (x, grad))
        forward, backward = getattr(k.ops.aten, name), ACTIVATIONS[name]
        y = forward(x)
        return {
            name: lambda: forward(x),
            f"{name}_backward": lambda: backward(k.ops.aten, grad, y),
        }
    forward, backward = getattr(k, name), getattr(k, f"{name}_backward")
    y, to = forward(x), np.empty_like(x)
    return {
        name: lambda: forward(x, out=y),
        f"{name}_backward": lambda: backward(grad, y, out=to),
    }


def softmax(library: str, k: Any) -> Calls:
    x, grad = normal(*SCORES), normal(*SCORES)
    if library == "torch":
        x, grad = map(k.from_numpy, (x, grad))
        y = k.softmax(x, 1)
        return {
            "softmax": lambda: k.softmax(x, 1),
            "softmax_backward": lambda: k.ops.aten._softmax_backward_data(grad, y, 1, k.float32),
        }
    y, to = k.softmax(x), np.empty_like(x)
    return {
        "softmax": lambda: k.softmax(x, out=y),
        "softmax_backward": lambda: k.softmax_backward(grad, y, out=to),
    }


def losses(library: str, k: Any) -> Calls:
    """Each with its gradient, which fastopt's compute in the same pass."""
    x, target = normal(*SCORES), abs(normal(*SCORES)) % 1
    labels = np.random.default_rng(0).integers(0, SCORES[1], SCORES[0])
    targets = {
        "l1_loss": target,
        "mse_loss": target,
        "smooth_l1_loss": target,
        "binary_cross_entropy": target,
        "multilabel": np.round(target),
        "softmax_cross_entropy": labels,
    }
    if library == "torch":
        named = {
            "binary_cross_entropy": "binary_cross_entropy_with_logits",
            "multilabel": "multilabel_soft_margin_loss",
            "softmax_cross_entropy": "cross_entropy",
        }
        leaf = k.from_numpy(x).requires_grad_()

        def with_gradient(name: str) -> Callable[[], Any]:
            loss = getattr(k.nn.functional, named.get(name, name))
            target = k.from_numpy(targets[name])

            def call() -> Any:
                with k.enable_grad():
                    return k.autograd.grad(loss(leaf, target), leaf)

            return call

        return {name: with_gradient(name) for name in targets}
    to = np.empty_like(x)
    return {name: partial(getattr(k, name), x, each, out=to) for name, each in targets.items()}


def arithmetic(library: str, k: Any) -> Calls:
    N, C, H = POOLED
    a, b = normal(N, C, H, H), normal(N, C, H, H)
    if library == "torch":
        a, b = map(k.from_numpy, (a, b))
        return {
            "add": lambda: a + b,
            "add_relu": lambda: k.relu(a + b),
            "concatenate": lambda: k.cat([a, b], 1),
            "split": lambda: [each.clone() for each in k.split(a, C // 2, 1)],
            "dropout": lambda: k.nn.functional.dropout(a, 0.5),
        }
    to, both = np.empty_like(a), np.empty((N, 2 * C, H, H), np.float32)
    return {
        "add": lambda: k.add(a, b, out=to),
        "add_relu": lambda: k.add_relu(a, b, out=to),
        "concatenate": lambda: k.concatenate([a, b], out=both),
        "split": lambda: k.split(a, [C // 2, C // 2]),
        "dropout": lambda: k.dropout(a, 0.5, 0, out=to),
    }


def linear(library: str, k: Any) -> Calls:
    N, C, K = MULTIPLIED
    x, weight, bias, grad = normal(N, C), normal(K, C), normal(K), normal(N, K)
    if library == "torch":
        x, weight, bias, grad = map(k.from_numpy, (x, weight, bias, grad))
        return {
            "linear": lambda: k.nn.functional.linear(x, weight, bias),
            "linear_backward_data": lambda: grad @ weight,
            "linear_backward_weight": lambda: grad.T @ x,
            "linear_backward_bias": lambda: grad.sum(0),
        }
    out, to_x, to_weight, to_bias = (np.empty_like(each) for each in (grad, x, weight, bias))
    return {
        "linear": lambda: k.linear(x, weight, bias, out=out),
        "linear_backward_data": lambda: k.linear_backward_data(grad, weight, out=to_x),
        "linear_backward_weight": lambda: k.linear_backward_weight(x, grad, out=to_weight),
        "linear_backward_bias": lambda: k.linear_backward_bias(grad, out=to_bias),
    }


def pooling(library: str, k: Any, window: str) -> Calls:
    N, C, H = POOLED
    size, stride, padding = WINDOWS[window]
    x = normal(N, C, H, H)
    side = (H + 2 * padding - size) // stride + 1
    grad = normal(N, C, side, side)
    if library == "torch":
        x, grad = map(k.from_numpy, (x, grad))
        aten, how = k.ops.aten, ([size] * 2, [stride] * 2, [padding] * 2)
        where = aten.max_pool2d_with_indices(x, *how)[1]
        return {
            "max_pool2d": lambda: aten.max_pool2d_with_indices(x, *how),
            "max_pool2d_backward": lambda: aten.max_pool2d_with_indices_backward(
                grad, x, *how, [1, 1], False, where
            ),
            "avg_pool2d": lambda: aten.avg_pool2d(x, *how),
            "avg_pool2d_backward": lambda: aten.avg_pool2d_backward(
                grad, x, *how, False, True, None
            ),
        }
    options = {"stride": stride, "padding": padding}
    out, where = k.max_pool2d(x, size, **options)
    to = np.empty_like(x)
    return {
        "max_pool2d": lambda: k.max_pool2d(x, size, **options, out=out, where=where),
        "max_pool2d_backward": lambda: k.max_pool2d_backward(grad, where, x.shape, out=to),
        "avg_pool2d": lambda: k.avg_pool2d(x, size, **options, out=out),
        "avg_pool2d_backward": lambda: k.avg_pool2d_backward(
            grad, x.shape, size, **options, out=to
        ),
    }


def convolution(library: str, k: Any, shape: tuple[int, ...], groups: int = 1) -> Calls:
    N, C, H, K, R = shape
    x, grad, weight = normal(N, C, H, H), normal(N, K, H, H), normal(K, C // groups, R, R)
    pad = R // 2
    if library == "torch":
        x, grad, weight = map(k.from_numpy, (x, grad, weight))

        def backward(*mask: bool) -> Any:
            return k.ops.aten.convolution_backward(
                grad, x, weight, [0], [1] * 2, [pad] * 2, [1] * 2, False, [0] * 2, groups, mask
            )

        return {
            "conv2d": lambda: k.nn.functional.conv2d(x, weight, padding=pad, groups=groups),
            "conv2d_backward_data": lambda: backward(True, False, False),
            "conv2d_backward_weight": lambda: backward(False, True, False),
            "conv2d_backward_bias": lambda: grad.sum((0, 2, 3)),
        }
    options = {"padding": pad, "groups": groups}
    options["workspace"] = np.empty(k.conv2d_workspace(x.shape, weight.shape, **options), "f4")
    out, to_x, to_weight = (np.empty_like(each) for each in (grad, x, weight))
    return {
        "conv2d": lambda: k.conv2d(x, weight, out=out, **options),
        "conv2d_backward_data": lambda: k.conv2d_backward_data(
            grad, weight, x.shape, out=to_x, **options
        ),
        "conv2d_backward_weight": lambda: k.conv2d_backward_weight(
            x, grad, weight.shape, out=to_weight, **options
        ),
        "conv2d_backward_bias": lambda: k.conv2d_backward_bias(grad),
    }


def convolution1d(library: str, k: Any) -> Calls:
    N, C, L, K, R = SEQUENCES
    x, grad, weight = normal(N, C, L), normal(N, K, L), normal(K, C, R)
    pad = R // 2
    if library == "torch":
        x, grad, weight = map(k.from_numpy, (x, grad, weight))

        def backward(*mask: bool) -> Any:
            return k.ops.aten.convolution_backward(
                grad, x, weight, [0], [1], [pad], [1], False, [0], 1, mask
            )

        return {
            "conv1d": lambda: k.nn.functional.conv1d(x, weight, padding=pad),
            "conv1d_backward_data": lambda: backward(True, False, False),
            "conv1d_backward_weight": lambda: backward(False, True, False),
            "conv1d_backward_bias": lambda: grad.sum((0, 2)),
        }
    out, to_x, to_weight = (np.empty_like(each) for each in (grad, x, weight))
    return {
        "conv1d": lambda: k.conv1d(x, weight, padding=pad, out=out),
        "conv1d_backward_data": lambda: k.conv1d_backward_data(
            grad, weight, x.shape, padding=pad, out=to_x
        ),
        "conv1d_backward_weight": lambda: k.conv1d_backward_weight(
            x, grad, weight.shape, padding=pad, out=to_weight
        ),
        "conv1d_backward_bias": lambda: k.conv1d_backward_bias(grad),
    }


def global_pooling(library: str, k: Any) -> Calls:
    N, C, H = POOLED
    x, grad = normal(N, C, H, H), normal(N, C)
    if library == "torch":
        x, grad = map(k.from_numpy, (x, grad))
        return {
            "global_avg_pool2d": lambda: x.mean((2, 3)),
            "global_avg_pool2d_backward": lambda: (
                (grad / H**2)[:, :, None, None].expand(x.shape).contiguous()
            ),
        }
    grad = grad.reshape(k.global_avg_pool2d(x).shape)
    to = np.empty_like(x)
    return {
        "global_avg_pool2d": lambda: k.global_avg_pool2d(x),
        "global_avg_pool2d_backward": lambda: k.global_avg_pool2d_backward(grad, x.shape, out=to),
    }


CASES: dict[str, Callable[[str, Any], Calls]] = {
    **{
        f"batchnorm {shape}": lambda library, k, shape=shape: batchnorm(library, k, *shape)
        for shape in NORMALIZED
    },
    **{
        f"{name} {POOLED}": lambda library, k, name=name: activation(library, k, name)
        for name in ACTIVATIONS
    },
    f"softmax {SCORES}": softmax,
    f"losses {SCORES}": losses,
    f"arithmetic {POOLED}": arithmetic,
    f"linear {MULTIPLIED}": linear,
    **{
        f"pooling {window} {POOLED}": lambda library, k, window=window: pooling(library, k, window)
        for window in WINDOWS
    },
    **{
        f"convolution {shape}": lambda library, k, shape=shape: convolution(library, k, shape)
        for shape in CONVOLVED
    },
    **{
        f"depthwise {shape}": lambda library, k, shape=shape: convolution(
            library, k, shape, groups=shape[1]
        )
        for shape in DEPTHWISE
    },
    f"convolution1d {SEQUENCES}": convolution1d,
    f"global pooling {POOLED}": global_pooling,
}
OF_CONVOLUTION = ("", "_backward_data", "_backward_weight", "_backward_bias")
PASSES = {
    "batchnorm": ("batchnorm_forward", "batchnorm_backward", "batchnorm_forward, inference"),
    **{name: (name, f"{name}_backward") for name in (*ACTIVATIONS, "softmax")},
    "losses": (
        *("l1_loss", "mse_loss", "smooth_l1_loss", "binary_cross_entropy", "multilabel"),
        "softmax_cross_entropy",
    ),
    "arithmetic": ("add", "add_relu", "concatenate", "split", "dropout"),
    "linear": tuple(f"linear{each}" for each in OF_CONVOLUTION),
    "pooling": ("max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward"),
    "global": ("global_avg_pool2d", "global_avg_pool2d_backward"),
    "convolution": tuple(f"conv2d{each}" for each in OF_CONVOLUTION),
    "depthwise": tuple(f"conv2d{each}" for each in OF_CONVOLUTION),
    "convolution1d": tuple(f"conv1d{each}" for each in OF_CONVOLUTION),
}
# With asv, one shape of each kind; the script has all.
SMALL = {case.partition(" ")[0]: case for case in reversed(CASES)}
EVERYTHING = [f"{case}: {each}" for kind, case in SMALL.items() for each in PASSES[kind]]


class Kernel:
    """One pass over one batch."""

    params = (LIBRARIES, THREADS, EVERYTHING)
    param_names = ("library", "threads", "kernel")

    def setup(self, library: str, threads: int, kernel: str) -> None:
        case, _, name = kernel.partition(": ")
        self.call = CASES[case](library, set_threads(library, threads))[name]
        self.call()

    def time_pass(self, library: str, threads: int, kernel: str) -> None:
        self.call()


def milliseconds(call: Callable[[], Any], seconds: float = 0.5) -> float:
    """The median of as many calls as fit into the time, and of 5 at least."""
    call()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(taken)


def measure(library: str, threads: int, only: str) -> dict[str, float]:
    k, found = set_threads(library, threads), {}
    for case, make in CASES.items():
        if only in case:
            for name, call in make(library, k).items():
                found[f"{case}: {name}"] = milliseconds(call)
    return found


def print_side_by_side(pythons: dict[str, str], threads: int, only: str, rounds: int = 3) -> None:
    """Medians over rounds in which the libraries take turns, each in its own process."""
    times: dict[str, dict[str, list[float]]] = {library: {} for library in LIBRARIES}
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": str(threads),
    }
    for _ in range(rounds):
        for library, python in pythons.items():
            command = [python, "-m", "benchmarks.kernels", library, str(threads), only]
            ran = subprocess.run(
                command, cwd=FOLDER, env=environment, capture_output=True, text=True
            )
            if ran.returncode:
                print(f"without {library}: {ran.stderr.strip().splitlines()[-1]}")
                continue
            for name, taken in json.loads(ran.stdout).items():
                times[library].setdefault(name, []).append(taken)
    title = f"milliseconds, {threads} thread{'s' * (threads > 1)}"
    print(f"\n{title:55}{'fastopt':>9}{'PyTorch':>9}{'ratio':>7}\n")
    for name in times["fastopt"]:
        ours, theirs = (times[library].get(name) for library in LIBRARIES)
        shown = f"{name:55}{statistics.median(ours):9.3f}"
        if theirs:
            ratio = statistics.median(ours) / statistics.median(theirs)
            shown += f"{statistics.median(theirs):9.3f}{ratio:7.2f}"
        print(shown)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in LIBRARIES:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--torch", default=sys.executable, help="an interpreter that has it")
        parser.add_argument("--only", default="", help="cases with this in their name")
        chosen = parser.parse_args()
        for count in THREADS:
            print_side_by_side(
                {"fastopt": sys.executable, "torch": chosen.torch}, count, chosen.only
            )
