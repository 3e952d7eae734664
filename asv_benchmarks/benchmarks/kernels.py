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
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = ("fastopt", "torch")
THREADS = (1, 2)

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

Calls = dict[str, Callable[[], Any]]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def set_threads(library: str, threads: int) -> Any:
    """The library's module; raises NotImplementedError where it is missing."""
    if library == "torch":
        try:
            import torch
        except ImportError:
            raise NotImplementedError("torch is not installed") from None
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        return torch
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
            "forward": lambda: forward(x, weight, bias, mean, var, True, 0.1, 1e-5),
            "backward": lambda: backward(grad, x, weight, *rest),
            "inference": lambda: forward(x, weight, bias, mean, var, False, 0.1, 1e-5),
        }
    out, saved = k.batchnorm_forward(x, weight, bias, mean, var)
    to = np.empty_like(x), np.empty_like(weight), np.empty_like(bias)
    room = {"out": out, "saved": saved}
    return {
        "forward": lambda: k.batchnorm_forward(x, weight, bias, mean, var, **room),
        "backward": lambda: k.batchnorm_backward(grad, x, weight, saved, bias=bias, out=to),
        "inference": lambda: k.batchnorm_forward(x, weight, bias, mean, var, False, **room),
    }


def relu(library: str, k: Any) -> Calls:
    N, C, H = POOLED
    x, grad = normal(N, C, H, H), normal(N, C, H, H)
    if library == "torch":
        x, grad = map(k.from_numpy, (x, grad))
        y = k.relu(x)
        return {
            "forward": lambda: k.relu(x),
            "backward": lambda: k.ops.aten.threshold_backward(grad, y, 0),
        }
    y, to = k.relu(x), np.empty_like(x)
    return {
        "forward": lambda: k.relu(x, out=y),
        "backward": lambda: k.relu_backward(grad, y, out=to),
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
            "maximum": lambda: aten.max_pool2d_with_indices(x, *how),
            "maximum backward": lambda: aten.max_pool2d_with_indices_backward(
                grad, x, *how, [1, 1], False, where
            ),
            "mean": lambda: aten.avg_pool2d(x, *how),
            "mean backward": lambda: aten.avg_pool2d_backward(grad, x, *how, False, True, None),
        }
    options = {"stride": stride, "padding": padding}
    out, where = k.max_pool2d(x, size, **options)
    to = np.empty_like(x)
    return {
        "maximum": lambda: k.max_pool2d(x, size, **options, out=out, where=where),
        "maximum backward": lambda: k.max_pool2d_backward(grad, where, x.shape, out=to),
        "mean": lambda: k.avg_pool2d(x, size, **options, out=out),
        "mean backward": lambda: k.avg_pool2d_backward(grad, x.shape, size, **options, out=to),
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
            "forward": lambda: k.nn.functional.conv2d(x, weight, padding=pad, groups=groups),
            "backward data": lambda: backward(True, False, False),
            "backward weight": lambda: backward(False, True, False),
        }
    options = {"padding": pad, "groups": groups}
    options["workspace"] = np.empty(k.conv2d_workspace(x.shape, weight.shape, **options), "f4")
    out, to_x, to_weight = (np.empty_like(each) for each in (grad, x, weight))
    return {
        "forward": lambda: k.conv2d(x, weight, out=out, **options),
        "backward data": lambda: k.conv2d_backward_data(grad, weight, x.shape, out=to_x, **options),
        "backward weight": lambda: k.conv2d_backward_weight(
            x, grad, weight.shape, out=to_weight, **options
        ),
    }


CASES: dict[str, Callable[[str, Any], Calls]] = {
    **{
        f"batchnorm {shape}": lambda library, k, shape=shape: batchnorm(library, k, *shape)
        for shape in NORMALIZED
    },
    f"relu {POOLED}": relu,
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
}
PASSES = {
    "batchnorm": ("forward", "backward", "inference"),
    "relu": ("forward", "backward"),
    "pooling": ("maximum", "maximum backward", "mean", "mean backward"),
    "convolution": ("forward", "backward data", "backward weight"),
    "depthwise": ("forward", "backward data", "backward weight"),
}
EVERYTHING = [f"{case}: {each}" for case in CASES for each in PASSES[case.partition(" ")[0]]]


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
            command = [python, str(Path(__file__)), library, str(threads), only]
            ran = subprocess.run(command, env=environment, capture_output=True, text=True)
            if ran.returncode:
                print(f"without {library}: {ran.stderr.strip().splitlines()[-1]}")
                continue
            for name, taken in json.loads(ran.stdout).items():
                times[library].setdefault(name, []).append(taken)
    print(f"\n{threads} thread{'s' * (threads > 1)}, milliseconds\n")
    for name in times["fastopt"]:
        ours, theirs = (times[library].get(name) for library in LIBRARIES)
        shown = f"{name:50}{statistics.median(ours):9.3f}"
        if theirs:
            ratio = statistics.median(ours) / statistics.median(theirs)
            shown += f"{statistics.median(theirs):9.3f}, ratio {ratio:.2f}"
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
