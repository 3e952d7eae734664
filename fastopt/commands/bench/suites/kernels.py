"""Layers of a network, forward and backward, beside PyTorch where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt import kernels
from fastopt.commands.bench.cases import Call, Case, Contest, Work, apart_by_at_most
from fastopt.commands.bench.sizes import Sizes
from fastopt.commands.bench.suites.peers import torch

__all__ = ["cases"]

Array = NDArray[np.float32]
Passes = Mapping[str, Contest]

CHANNELS, SIDE, WINDOW = 64, 28, 3
EPS, MOMENTUM = 1e-5, 0.1

# Sums of thousands of float32 products, in another order.
TOLERANCE = 1e-4


def cases(sizes: Sizes) -> list[Case]:
    N = sizes.images
    pixels = N * SIDE * SIDE
    products = 2e-9 * pixels * (CHANNELS * WINDOW) ** 2
    matrix = 2e-9 * pixels * sizes.width**2 / SIDE
    images = 4e-9 * pixels * CHANNELS
    return [
        *two_cases("conv2d", partial(make_convolution, N), "GFLOP/s", products, 2 * products),
        # It reads them twice and writes once; then it reads both twice and writes once.
        *two_cases("batchnorm", partial(make_batchnorm, N), "GB/s", 3 * images, 5 * images),
        *two_cases("linear", partial(make_linear, sizes), "GFLOP/s", matrix, 2 * matrix),
    ]


def two_cases(
    name: str, make: Callable[[], Passes], unit: str, forward: float, backward: float
) -> list[Case]:
    return [
        Case(f"{name} {each}", partial(prepare, make, each), Work(amount, unit))
        for each, amount in (("forward", forward), ("backward", backward))
    ]


def prepare(make: Callable[[], Passes], name: str) -> Contest:
    return make()[name]


def contest(ours: Callable[[], Any], theirs: Callable[[Any], Callable[[], Any]]) -> Contest:
    """`theirs` makes of PyTorch what is to be called; its answer is a tensor or several."""
    peers = {} if torch() is None else {"PyTorch": Call(theirs(torch()))}
    return Contest(Call(ours), peers, apart_by_at_most(TOLERANCE))


def normal(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def make_convolution(N: int) -> Passes:
    x, grad = normal(N, CHANNELS, SIDE, SIDE), normal(N, CHANNELS, SIDE, SIDE)[::-1].copy()
    weight = normal(CHANNELS, CHANNELS, WINDOW, WINDOW)
    room = kernels.conv2d_workspace(x.shape, weight.shape, padding=1)
    options: Any = {"padding": 1, "workspace": np.empty(room, np.float32)}
    out, to_x, to_weight = (np.empty_like(each) for each in (grad, x, weight))

    def forward() -> Array:
        return kernels.conv2d(x, weight, out=out, **options)

    def backward() -> tuple[Array, Array]:
        kernels.conv2d_backward_data(grad, weight, x.shape, out=to_x, **options)
        kernels.conv2d_backward_weight(x, grad, weight.shape, out=to_weight, **options)
        return to_x, to_weight

    def forward_by_torch(torch: Any) -> Callable[[], Any]:
        return partial(torch.conv2d, *map(torch.from_numpy, (x, weight)), padding=1)

    def backward_by_torch(torch: Any) -> Callable[[], Any]:
        arrays = map(torch.from_numpy, (grad, x, weight))
        convolution = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)  # stride, padding, dilation, ...
        wanted = (True, True, False)
        call = partial(torch.ops.aten.convolution_backward, *arrays, None, *convolution, wanted)
        return lambda: call()[:2]

    return {
        "forward": contest(forward, forward_by_torch),
        "backward": contest(backward, backward_by_torch),
    }


def make_batchnorm(N: int) -> Passes:
    x, grad = normal(N, CHANNELS, SIDE, SIDE), normal(N, CHANNELS, SIDE, SIDE)[::-1].copy()
    weight, bias = normal(CHANNELS), np.zeros(CHANNELS, np.float32)
    mean, var = np.zeros(CHANNELS, np.float32), np.ones(CHANNELS, np.float32)
    out, saved = kernels.batchnorm_forward(x, weight, bias, mean, var)
    to = np.empty_like(x), np.empty_like(weight), np.empty_like(bias)

    def forward() -> Array:
        return kernels.batchnorm_forward(x, weight, bias, mean, var, out=out, saved=saved)[0]

    def backward() -> tuple[Array, ...]:
        return kernels.batchnorm_backward(grad, x, weight, saved, bias=bias, out=to)

    def forward_by_torch(torch: Any) -> Callable[[], Any]:
        arrays = [torch.from_numpy(each.copy()) for each in (x, weight, bias, mean, var)]
        return lambda: torch.native_batch_norm(*arrays, True, MOMENTUM, EPS)[0]

    def backward_by_torch(torch: Any) -> Callable[[], Any]:
        arrays = [torch.from_numpy(each.copy()) for each in (x, weight, bias, mean, var)]
        _, used, inverse = torch.native_batch_norm(*arrays, True, MOMENTUM, EPS)
        given = torch.from_numpy(grad), arrays[0], arrays[1], *arrays[3:]
        call = torch.ops.aten.native_batch_norm_backward
        return lambda: call(*given, used, inverse, True, EPS, [True] * 3)

    return {
        "forward": contest(forward, forward_by_torch),
        "backward": contest(backward, backward_by_torch),
    }


def make_linear(sizes: Sizes) -> Passes:
    examples, width = sizes.images * SIDE, sizes.width
    x, grad = normal(examples, width), normal(examples, width)[::-1].copy()
    weight, bias = normal(width, width), normal(width)
    out, to_x, to_weight, to_bias = (np.empty_like(each) for each in (grad, x, weight, bias))

    def forward() -> Array:
        return kernels.linear(x, weight, bias, out=out)

    def backward() -> tuple[Array, Array, Array]:
        kernels.linear_backward_data(grad, weight, out=to_x)
        kernels.linear_backward_weight(x, grad, out=to_weight)
        kernels.linear_backward_bias(grad, out=to_bias)
        return to_x, to_weight, to_bias

    def forward_by_torch(torch: Any) -> Callable[[], Any]:
        return partial(torch.nn.functional.linear, *map(torch.from_numpy, (x, weight, bias)))

    def backward_by_torch(torch: Any) -> Callable[[], Any]:
        g, features, w = map(torch.from_numpy, (grad, x, weight))
        return lambda: (g @ w, g.T @ features, g.sum(0))

    return {
        "forward": contest(forward, forward_by_torch),
        "backward": contest(backward, backward_by_torch),
    }
