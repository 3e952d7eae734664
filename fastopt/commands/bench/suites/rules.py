"""One step of each first-order optimizer on many parameters: what counts is memory's traffic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.commands.bench.cases import Call, Case, Contest, Work, apart_by_at_most
from fastopt.commands.bench.sizes import Sizes
from fastopt.commands.bench.suites.peers import torch
from fastopt.rules.table import RULES
from fastopt.training import optimizers

__all__ = ["cases"]

LR = 1e-3
FEW = 10
# Before the third, whose result is compared: the first forgets what was before it.
STEPS = 2

# Of parameters about 1, which move by LR: PyTorch's Nadam keeps a product of momenta in float32.
TOLERANCE = 1e-10

Array = NDArray[np.float64]
Step = Callable[[], Any]

# PyTorch's: class and settings. Where it has a form in one loop, that.
TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "gd": ("SGD", {"fused": True}),
    "momentum": ("SGD", {"momentum": 0.9, "fused": True}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True, "fused": True}),
    "adagrad": ("Adagrad", {"fused": True}),
    "adadelta": ("Adadelta", {"foreach": True}),
    "rmsprop": ("RMSprop", {"foreach": True}),
    "adam": ("Adam", {"fused": True}),
    "nadam": ("NAdam", {"foreach": True}),
    "adamw": ("AdamW", {"fused": True}),
    "amsgrad": ("Adam", {"amsgrad": True, "fused": True}),
    "adamax": ("Adamax", {"foreach": True}),
    "radam": ("RAdam", {"foreach": True}),
}


def cases(sizes: Sizes) -> list[Case]:
    n = sizes.parameters
    found = [Case(f"Adam, {FEW}", partial(make_step, optimizers.Adam, FEW))]
    for name in optimizers.__all__ if sizes.every_rule else ["Adam"]:
        make = getattr(optimizers, name)
        # The gradient is read; the parameters, and what is kept of each, are read and written.
        traffic = 8e-9 * n * (3 + 2 * len(RULES[make.rule].slot_names))
        work = Work(traffic, "GB/s")
        found.append(Case(f"{name}, {n:,}", partial(make_step, make, n), work))
    return found


def make_step(make: Any, n: int) -> Contest:
    rng = np.random.default_rng(0)
    start, grad = rng.standard_normal((2, n))
    flavor, peers = "textbook", {}
    if torch() is not None:
        if make.rule in TORCH:
            flavor, peers["PyTorch"] = "torch", Call(by_torch(make.rule, start.copy(), grad))
    elif make.rule in PLAIN:
        peers["NumPy"] = Call(by_numpy(make.rule, start.copy(), grad))
    ours = by_fastopt(make, flavor, start.copy(), grad)
    return Contest(Call(ours), peers, apart_by_at_most(TOLERANCE))


def by_fastopt(make: Any, flavor: str, theta: Array, grad: Array) -> Step:
    # The textbook's AdaDelta has no step length.
    number = {} if (make.rule, flavor) == ("adadelta", "textbook") else {"lr": LR}
    optimizer = make(theta, flavor=flavor, **number)

    def step() -> Array:
        optimizer.step(grad)
        return theta

    return warmed(step)


def by_torch(rule: str, theta: Array, grad: Array) -> Step:
    name, settings = TORCH[rule]
    parameters = torch().from_numpy(theta).requires_grad_()  # the same memory
    parameters.grad = torch().from_numpy(grad)
    optimizer = getattr(torch().optim, name)([parameters], lr=LR, **settings)

    def step() -> Array:
        optimizer.step()
        return theta

    return warmed(step)


def by_numpy(rule: str, theta: Array, grad: Array) -> Step:
    slots = [np.zeros_like(theta) for _ in RULES[rule].slot_names]
    t = 0

    def step() -> Array:
        nonlocal t
        t += 1
        PLAIN[rule](theta, grad, t, *slots)
        return theta

    return warmed(step)


def warmed(step: Step) -> Step:
    for _ in range(STEPS):
        step()
    return step


def plain_momentum(x: Array, g: Array, t: int, v: Array) -> None:
    v[:] = 0.9 * v + LR * g
    x -= v


def plain_adagrad(x: Array, g: Array, t: int, total: Array) -> None:
    total += g * g
    x -= LR * g / np.sqrt(total + 1e-8)


def plain_rmsprop(x: Array, g: Array, t: int, v: Array) -> None:
    v[:] = 0.9 * v + 0.1 * g * g
    x -= LR * g / np.sqrt(v + 1e-8)


def plain_adam(x: Array, g: Array, t: int, m: Array, v: Array) -> None:
    m[:] = 0.9 * m + 0.1 * g
    v[:] = 0.999 * v + 0.001 * g * g
    x -= LR * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


PLAIN: dict[str, Callable[..., None]] = {
    "momentum": plain_momentum,
    "adagrad": plain_adagrad,
    "rmsprop": plain_rmsprop,
    "adam": plain_adam,
}
