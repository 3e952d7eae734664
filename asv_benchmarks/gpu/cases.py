"""What is timed on a GPU: each pass of each kernel, and its peers on the same arrays.

A case is a function that makes arrays and returns passes. A pass has the bytes or the
floating-point operations that it cannot do without, and calls by the name of who runs them, the
first of which is fastopt's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

import fastopt
from fastopt import kernels

from .cudnn import ALGORITHMS, convolution

__all__ = ["CASES", "Pass"]

aten = torch.ops.aten


@dataclass
class Pass:
    """Something to be timed."""

    name: str
    calls: dict[str, Callable[[], Any]]
    bytes: int = 0
    flops: int = 0
    # From the name of who runs it, how far its result is from that in float64.
    errors: dict[str, float] = field(default_factory=dict)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, device="cuda")


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


# --- passes over memory ---------------------------------------------------------------------------


def activations(n: int = 1 << 27) -> Iterator[Pass]:
    x, grad, out = normal(n), normal(n), torch.empty(n, device="cuda")
    size = x.nbytes
    calls = {
        "fastopt": lambda: kernels.relu(x, out=out),
        "PyTorch": lambda: torch.clamp_min(x, 0, out=out),
    }
    cupy = cupy_of(x, out)
    if cupy:
        module, x_, out_ = cupy
        calls["CuPy"] = lambda: module.maximum(x_, 0, out=out_)
    yield Pass("ReLU", calls, 2 * size)
    y = kernels.relu(x)
    yield Pass(
        "ReLU backward",
        {
            "fastopt": lambda: kernels.relu_backward(grad, y, out=out),
            "PyTorch": lambda: aten.threshold_backward(grad, y, 0),
        },
        3 * size,
    )
    calls = {
        "fastopt": lambda: kernels.tanh(x, out=out),
        "PyTorch": lambda: torch.tanh(x, out=out),
    }
    if cupy:
        calls["CuPy"] = lambda: module.tanh(x_, out=out_)
    yield Pass("tanh", calls, 2 * size)
    yield Pass(
        "dropout",
        {
            "fastopt": lambda: kernels.dropout(x, 0.5, seed=1, counter=2, out=out),
            "PyTorch": lambda: F.dropout(x, 0.5),
        },
        2 * size,
    )


def cupy_of(*arrays: torch.Tensor) -> tuple[Any, ...] | None:
    try:
        import cupy
    except ImportError:
        return None
    return cupy, *map(cupy.asarray, arrays)


def softmax(rows: int, columns: int) -> Iterator[Pass]:
    x, grad, out = normal(rows, columns), normal(rows, columns), normal(rows, columns)
    y = torch.softmax(x, 1)
    yield Pass(
        "softmax",
        {
            "fastopt": lambda: kernels.softmax(x, out=out),
            "PyTorch": lambda: torch.softmax(x, 1),
        },
        2 * x.nbytes,
    )
    yield Pass(
        "softmax backward",
        {
            "fastopt": lambda: kernels.softmax_backward(grad, y, out=out),
            "PyTorch": lambda: aten._softmax_backward_data(grad, y, 1, torch.float32),
        },
        3 * x.nbytes,
    )


def cross_entropy(rows: int, columns: int) -> Iterator[Pass]:
    x, out = normal(rows, columns), normal(rows, columns)
    labels = torch.randint(columns, (rows,), device="cuda")

    def by_torch() -> Any:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(leaf, labels), leaf)

    yield Pass(
        "softmax cross-entropy, value and gradient",
        {
            "fastopt": lambda: kernels.softmax_cross_entropy(x, labels, out=out),
            "PyTorch": by_torch,
        },
        2 * x.nbytes,
    )


def mean_squared_error(n: int = 1 << 26) -> Iterator[Pass]:
    x, target, out = normal(n), normal(n), normal(n)

    def by_torch() -> Any:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(F.mse_loss(leaf, target), leaf)

    yield Pass(
        "squared error, value and gradient",
        {"fastopt": lambda: kernels.mse_loss(x, target, out=out), "PyTorch": by_torch},
        3 * x.nbytes,
    )


def batchnorm(N: int, C: int, H: int) -> Iterator[Pass]:
    x, grad, out = normal(N, C, H, H), normal(N, C, H, H), normal(N, C, H, H)
    weight, bias, mean, var = normal(C), normal(C), normal(C) * 0, normal(C) * 0 + 1
    statistics = weight, bias, mean, var
    size = x.nbytes
    # In training x is read for its statistics first, and then once more: too much for a cache.
    _, saved = kernels.batchnorm_forward(x, *statistics)
    room = {"out": out, "saved": saved}
    of_cudnn = torch.cudnn_batch_norm(x, *statistics, True, 0.1, 1e-5)
    of_torch = torch.native_batch_norm(x, *statistics, True, 0.1, 1e-5)
    yield Pass(
        "batchnorm",
        {
            "fastopt": lambda: kernels.batchnorm_forward(x, *statistics, **room),
            "PyTorch, cuDNN": lambda: torch.cudnn_batch_norm(x, *statistics, True, 0.1, 1e-5),
            "PyTorch": lambda: torch.native_batch_norm(x, *statistics, True, 0.1, 1e-5),
        },
        3 * size,
    )
    yield Pass(
        "batchnorm + ReLU",
        {
            "fastopt": lambda: kernels.batchnorm_forward(x, *statistics, relu=True, **room),
            "PyTorch, cuDNN": lambda: torch.relu_(
                torch.cudnn_batch_norm(x, *statistics, True, 0.1, 1e-5)[0]
            ),
            "PyTorch": lambda: torch.relu_(
                torch.native_batch_norm(x, *statistics, True, 0.1, 1e-5)[0]
            ),
        },
        3 * size,
    )
    to = out, torch.empty_like(weight), torch.empty_like(bias)
    rest = (mean, var, of_torch[1], of_torch[2], True, 1e-5, [True] * 3)
    yield Pass(
        "batchnorm backward",
        {
            "fastopt": lambda: kernels.batchnorm_backward(
                grad, x, weight, saved, bias=bias, out=to
            ),
            "PyTorch, cuDNN": lambda: aten.cudnn_batch_norm_backward(
                x, grad, weight, mean, var, of_cudnn[1], of_cudnn[2], 1e-5, of_cudnn[3]
            ),
            "PyTorch": lambda: aten.native_batch_norm_backward(grad, x, weight, *rest),
        },
        5 * size,
    )
    yield Pass(
        "batchnorm in inference",
        {
            "fastopt": lambda: kernels.batchnorm_forward(x, *statistics, False, **room),
            "PyTorch": lambda: torch.native_batch_norm(x, *statistics, False, 0.1, 1e-5),
        },
        2 * size,
    )


def pooling(N: int, C: int, H: int, window: int, stride: int, padding: int) -> Iterator[Pass]:
    x, to = normal(N, C, H, H), normal(N, C, H, H)
    how = [window] * 2, [stride] * 2, [padding] * 2
    options = {"stride": stride, "padding": padding}
    out, where = kernels.max_pool2d(x, window, **options)
    _, where_ = aten.max_pool2d_with_indices(x, *how)
    grad = normal(*out.shape)
    name = f"{window}x{window}"
    yield Pass(
        f"maximum pooling {name}",
        {
            "fastopt": lambda: kernels.max_pool2d(x, window, **options, out=out, where=where),
            "PyTorch": lambda: aten.max_pool2d_with_indices(x, *how),
        },
        x.nbytes + out.nbytes + where.nbytes,
    )
    yield Pass(
        f"maximum pooling {name} backward",
        {
            "fastopt": lambda: kernels.max_pool2d_backward(
                grad, where, tuple(x.shape), kernel_size=window, **options, out=to
            ),
            "PyTorch": lambda: aten.max_pool2d_with_indices_backward(
                grad, x, *how, [1, 1], False, where_
            ),
        },
        x.nbytes + grad.nbytes + where.nbytes,
    )
    yield Pass(
        f"mean pooling {name}",
        {
            "fastopt": lambda: kernels.avg_pool2d(x, window, **options, out=out),
            "PyTorch": lambda: aten.avg_pool2d(x, *how),
        },
        x.nbytes + out.nbytes,
    )
    yield Pass(
        f"mean pooling {name} backward",
        {
            "fastopt": lambda: kernels.avg_pool2d_backward(
                grad, tuple(x.shape), window, **options, out=to
            ),
            "PyTorch": lambda: aten.avg_pool2d_backward(grad, x, *how, False, True, None),
        },
        x.nbytes + grad.nbytes,
    )


def global_pooling(N: int, C: int, H: int) -> Iterator[Pass]:
    x = normal(N, C, H, H)
    out = kernels.global_avg_pool2d(x)
    yield Pass(
        "global mean pooling",
        {
            "fastopt": lambda: kernels.global_avg_pool2d(x, out=out),
            "PyTorch": lambda: x.mean((2, 3)),
        },
        x.nbytes,
    )


def halves(N: int, C: int, H: int) -> Iterator[Pass]:
    """Inference with float16, which PyTorch multiplies on tensor cores."""
    x, weight = normal(N, C, H, H).half(), (normal(C, C, 3, 3) / (9 * C) ** 0.5).half()
    statistics = normal(C), normal(C), normal(C) * 0, normal(C) * 0 + 1
    out = torch.empty_like(x)
    yield Pass(
        "ReLU of float16",
        {
            "fastopt": lambda: kernels.relu(x, out=out),
            "PyTorch": lambda: torch.clamp_min(x, 0, out=out),
        },
        2 * x.nbytes,
    )
    yield Pass(
        "batchnorm of float16 in inference",
        {
            "fastopt": lambda: kernels.batchnorm_forward(x, *statistics, False, out=out),
            "PyTorch": lambda: torch.native_batch_norm(x, *statistics, False, 0.1, 1e-5),
        },
        2 * x.nbytes,
    )
    calls = {
        "fastopt": lambda: kernels.conv2d(x, weight, padding=1, out=out),
        "fastopt, TF32": lambda: kernels.conv2d(x, weight, padding=1, precision="tf32", out=out),
        "PyTorch": lambda: F.conv2d(x, weight, padding=1),
    }
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    errors = {who: error(call(), exact) for who, call in calls.items()}
    yield Pass("convolution of float16 forward", calls, flops=18 * C * out.numel(), errors=errors)


# --- products -------------------------------------------------------------------------------------

PRECISIONS = {"fastopt": "ieee", "fastopt, 3xTF32": "3xtf32", "fastopt, TF32": "tf32"}
TF32 = {"PyTorch": False, "PyTorch, TF32": True}


def with_tf32(allowed: bool, call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        return call()

    return run


def linear(N: int, C: int, K: int) -> Iterator[Pass]:
    x, weight, bias, grad = normal(N, C), normal(K, C) / C**0.5, normal(K), normal(N, K)
    flops = 2 * N * C * K
    passes: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
        "linear": (
            lambda **named: kernels.linear(x, weight, bias, **named),
            lambda: F.linear(x, weight, bias),
        ),
        "linear backward data": (
            lambda **named: kernels.linear_backward_data(grad, weight, **named),
            lambda: grad @ weight,
        ),
        "linear backward weight": (
            lambda **named: kernels.linear_backward_weight(x, grad, **named),
            lambda: grad.T @ x,
        ),
    }
    exact = {
        "linear": F.linear(x.double(), weight.double(), bias.double()),
        "linear backward data": grad.double() @ weight.double(),
        "linear backward weight": grad.double().T @ x.double(),
    }
    for name, (ours, theirs) in passes.items():
        out = torch.empty_like(exact[name], dtype=torch.float32)
        calls = {
            who: lambda ours=ours, precision=precision, out=out: ours(precision=precision, out=out)
            for who, precision in PRECISIONS.items()
        }
        calls |= {who: with_tf32(allowed, theirs) for who, allowed in TF32.items()}
        errors = {who: error(call(), exact[name]) for who, call in calls.items()}
        yield Pass(name, calls, flops=flops, errors=errors)


def convolutions(
    N: int, C: int, H: int, K: int, R: int, stride: int = 1, groups: int = 1
) -> Iterator[Pass]:
    padding = R // 2
    x, weight = normal(N, C, H, H), normal(K, C // groups, R, R) / (C // groups * R * R) ** 0.5
    options = {"stride": stride, "padding": padding, "groups": groups}
    y = F.conv2d(x, weight, **options)
    grad = normal(*y.shape)
    shape, of_weight = tuple(x.shape), tuple(weight.shape)
    flops = 2 * y.numel() * (C // groups) * R * R
    deep = x.double(), weight.double(), grad.double()

    def backward(*which: bool, of: Any = (x, weight, grad)) -> Any:
        of_x, of_weight, of_y = of
        found = aten.convolution_backward(
            of_y, of_x, of_weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0],
            groups, [*which, False],
        )  # fmt: skip
        return found[which.index(True)]

    passes: dict[str, tuple[Any, Any, Any]] = {
        "forward": (
            lambda **named: kernels.conv2d(x, weight, **options, **named),
            lambda: F.conv2d(x, weight, **options),
            F.conv2d(*deep[:2], **options),
        ),
        "backward data": (
            lambda **named: kernels.conv2d_backward_data(grad, weight, shape, **options, **named),
            lambda: backward(True, False),
            backward(True, False, of=deep),
        ),
        "backward weight": (
            lambda **named: kernels.conv2d_backward_weight(x, grad, of_weight, **options, **named),
            lambda: backward(False, True),
            backward(False, True, of=deep),
        ),
    }
    depthwise = groups == C
    for name, (ours, theirs, exact) in passes.items():
        precisions = {"fastopt": "ieee"} if depthwise else PRECISIONS
        out = torch.empty_like(exact, dtype=torch.float32)
        calls = {
            who: lambda ours=ours, precision=precision, out=out: ours(precision=precision, out=out)
            for who, precision in precisions.items()
        }
        calls |= {who: with_tf32(allowed, theirs) for who, allowed in TF32.items()}
        errors = {who: error(call(), exact) for who, call in calls.items()}
        if not depthwise:
            place = {"forward": 2, "backward data": 0, "backward weight": 1}[name]
            arrays = [x, weight, grad]
            arrays[place] = torch.empty_like(out)
            for algorithm, number in ALGORITHMS[name].items():
                call = convolution(name, number, *arrays, stride, padding, groups)
                if call is not None:
                    calls[f"cuDNN, {algorithm}"] = call
        kind = "depthwise convolution" if depthwise else "convolution"
        moved = (x.nbytes + y.nbytes) if depthwise else 0
        yield Pass(f"{kind} {name}", calls, moved, flops, errors)


# --- steps ----------------------------------------------------------------------------------------


def steps(n: int = 1 << 26) -> Iterator[Pass]:
    grad = normal(n)

    def mine(name: str) -> Any:
        opt = getattr(fastopt, name)(normal(n), lr=1e-3)
        return lambda: opt.step(grad)

    def theirs(name: str, **named: Any) -> Any:
        theta = normal(n)
        theta.grad = grad
        opt = getattr(torch.optim, name)([theta], lr=1e-3, **named)
        return opt.step

    rows = {
        "Adam": (7, "Adam", {"fused": True}),
        "AdamW": (7, "AdamW", {"fused": True}),
        "SGD": (3, "SGD", {"fused": True}),
        "Momentum": (5, None, {}),
        "RMSProp": (5, "RMSprop", {"foreach": True}),
        "AdaGrad": (5, "Adagrad", {"fused": True}),
        "Nadam": (7, "NAdam", {"foreach": True}),
        "Lion": (5, None, {}),
    }
    for name, (arrays, peer, named) in rows.items():
        calls = {"fastopt": mine(name)}
        if peer is not None:
            try:
                calls["PyTorch"] = theirs(peer, **named)
                calls["PyTorch"]()
            except (RuntimeError, TypeError):  # not fused on this version
                calls["PyTorch"] = theirs(peer, foreach=True)
        yield Pass(f"{name} step", calls, arrays * grad.nbytes)


Case = Callable[[], Iterator[Pass]]


def case(make: Callable[..., Iterator[Pass]], *sizes: int, **named: int) -> tuple[str, Case]:
    words = [*map(str, sizes), *(f"{name}={value}" for name, value in named.items())]
    return f"{make.__name__}({', '.join(words)})", lambda: make(*sizes, **named)


CASES: dict[str, Case] = dict(
    [
        case(activations),
        case(softmax, 1 << 16, 1000),
        case(cross_entropy, 1 << 16, 1000),
        case(mean_squared_error),
        case(batchnorm, 32, 256, 56),
        case(batchnorm, 256, 64, 28),
        case(pooling, 64, 64, 112, 2, 2, 0),
        case(pooling, 64, 64, 112, 3, 2, 1),
        case(global_pooling, 64, 2048, 7),
        case(steps),
        case(halves, 64, 128, 56),
        case(linear, 4096, 1024, 1024),
        case(linear, 128, 4096, 1000),
        case(convolutions, 32, 64, 56, 64, 3),
        case(convolutions, 32, 128, 28, 128, 3),
        case(convolutions, 32, 256, 14, 256, 3),
        case(convolutions, 32, 512, 7, 512, 3),
        case(convolutions, 32, 256, 56, 64, 1),
        case(convolutions, 32, 64, 56, 256, 1),
        case(convolutions, 32, 128, 56, 128, 3, stride=2),
        case(convolutions, 32, 3, 224, 64, 7, stride=2),
        case(convolutions, 128, 256, 28, 256, 3),
        case(convolutions, 32, 256, 56, 256, 3, groups=256),
        case(convolutions, 32, 512, 14, 512, 5, groups=512),
    ]
)
