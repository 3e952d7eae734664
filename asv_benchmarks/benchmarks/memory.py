"""Memory that a solve, a batch of them and a step of a training take at their peak."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import fastopt
from fastopt import nn

from . import installed, peers
from .lenet import torch_lenet5
from .libraries import LIBRARIES, minimizer, rosenbrock, rosenbrock_start


class Solve:
    """A million variables, in vectors of so many: the result, and what SciPy's function makes.

    Counted by tracemalloc, to which NumPy reports, and fastopt with it.
    """

    params = (LIBRARIES, ("l-bfgs", "l-bfgs-b", "cg", "newton-cg", "barzilai-borwein", "adam"))
    param_names = ("library", "method")
    unit = "vectors"
    n = 1_000_000

    def setup(self, library: str, method: str) -> None:
        minimize = minimizer(library, method)
        # Pairs are kept from the first iteration on; SciPy makes room for all of them.
        limits = {"maxiter": 12 if method.startswith("l-bfgs") else 3}
        x0 = rosenbrock_start(self.n)
        self.solve = partial(minimize, rosenbrock, x0, jac=True, options=limits)
        minimize(rosenbrock, x0[:10], jac=True, options=limits)

    def track_peak(self, library: str, method: str) -> float:
        return round(peak(self.solve) / 8 / self.n, 2)


class ManyFits:
    """A hundred thousand fits, in bytes for each; four parameters of it are the answer."""

    params = (("bfgs", "l-bfgs"), (1, 2))
    param_names = ("method", "workers")
    unit = "bytes"
    fits = 100_000

    def setup(self, method: str, workers: int) -> None:
        made = peers.rosenbrock_problems(4, self.fits)
        self.solve = partial(
            fastopt.minimize_many,
            made.fun,
            made.starts,
            method=method,
            jac="inplace",
            workers=workers,
            options={"compile": True, "maxiter": 10},
        )

    def track_peak(self, method: str, workers: int) -> float:
        return round(peak(self.solve) / self.fits, 1)


class TrainingStep:
    """Of LeNet-5 with a batch of 256 pictures, by Adam: the whole process."""

    params = (("fastopt", "torch"),)
    param_names = ("library",)

    def setup(self, library: str) -> None:
        rng = np.random.default_rng(0)
        images = rng.standard_normal((256, 1, 28, 28)).astype(np.float32)
        self.step = STEPS[library](images, rng.integers(0, 10, 256))

    def peakmem_step(self, library: str) -> None:
        for _ in range(3):
            self.step()


def fastopt_step(images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    model = nn.models.lenet5()
    theta = model.init(0)
    grad = np.empty_like(theta)
    opt = fastopt.Adam(theta)

    def step() -> None:
        model.value_and_grad(theta, images, labels, grad)
        opt.step(grad)

    return step


def torch_step(images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    torch = installed.torch()
    net = torch_lenet5()
    opt = torch.optim.Adam(net.parameters(), fused=True)
    loss = torch.nn.CrossEntropyLoss()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)

    def step() -> None:
        opt.zero_grad()
        loss(net(x), y).backward()
        opt.step()

    return step


STEPS = {"fastopt": fastopt_step, "torch": torch_step}


def peak(call: Callable[[], object]) -> int:
    """Bytes that are allocated at most while it runs, its result among them."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
