"""LeNet-5 on a GPU: a step, its cost to the host, and a whole training, beside PyTorch.

Data, start, order and numbers are those of :mod:`benchmarks.lenet`; everything is on the GPU before
the time begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmarks.lenet import BATCH, EPOCHS, LR, digits, torch_lenet5

import fastopt
from fastopt import nn

from .timing import host_microseconds, microseconds

__all__ = ["launches", "steps", "trainings"]


class Training:
    """A network with its optimizer; `step` trains on what is in `x` and `y`."""

    def __init__(self, seed: int) -> None:
        X, y = digits()[:2]
        self.X, self.Y = torch.from_numpy(X).cuda(), torch.from_numpy(y).cuda()
        self.x, self.y = self.X[:BATCH].clone(), self.Y[:BATCH].clone()
        self.graph: torch.cuda.CUDAGraph | None = None

    def step(self) -> None:
        raise NotImplementedError

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def capture(self) -> None:
        """From here on `run` replays a graph of one step."""
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()

    def run(self) -> None:
        if self.graph is None:
            self.step()
        else:
            self.graph.replay()


class Fastopt(Training):
    def __init__(self, seed: int, capturable: bool = False) -> None:
        super().__init__(seed)
        self.model = nn.models.lenet5()
        self.theta = torch.from_numpy(self.model.init(seed)).cuda()
        self.grad = torch.empty_like(self.theta)
        named = {"capturable": True} if capturable else {}
        self.opt = fastopt.Adam(self.theta, lr=LR, **named)

    def step(self) -> None:
        self.model.value_and_grad(self.theta, self.x, self.y, self.grad)
        self.opt.step(self.grad)

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model.predict(self.theta, images)
        return found


class PyTorch(Training):
    def __init__(self, seed: int, capturable: bool = False) -> None:
        super().__init__(seed)
        self.net = torch_lenet5().cuda()
        theta = torch.from_numpy(nn.models.lenet5().init(seed)).cuda()
        torch.nn.utils.vector_to_parameters(theta, self.net.parameters())
        self.loss = torch.nn.CrossEntropyLoss()
        self.opt = torch.optim.Adam(self.net.parameters(), lr=LR, fused=True, capturable=capturable)

    def step(self) -> None:
        self.opt.zero_grad()
        self.loss(self.net(self.x), self.y).backward()
        self.opt.step()

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = self.net(images)
        return found


def _captured(make: Callable[..., Training]) -> Callable[[int], Training]:
    def build(seed: int) -> Training:
        training = make(seed, capturable=True)
        training.capture()
        return training

    return build


ROWS: dict[str, Callable[[int], Training]] = {
    "fastopt": Fastopt,
    "fastopt, CUDA graph": _captured(Fastopt),
    "PyTorch": PyTorch,
    "PyTorch, CUDA graph": _captured(PyTorch),
}


def steps() -> dict[str, dict[str, float]]:
    """Microseconds of a step: the GPU's, and the host's."""
    found = {}
    for name, make in ROWS.items():
        run = make(0).run
        found[name] = {"GPU": microseconds(run), "host": host_microseconds(run)}
    return found


def trainings(seeds: int = 2) -> dict[str, dict[str, float]]:
    """Seconds, loss and test accuracy of whole trainings; means over seeds."""
    X_test, y_test = (torch.from_numpy(each).cuda() for each in digits()[2:])
    found = {}
    for name, make in ROWS.items():
        runs = []
        for seed in range(seeds):
            # The graph's steps before the first epoch are part of the training it gets.
            training = make(seed)
            order = fastopt.Minibatches(
                np.arange(len(training.Y)), batch_size=BATCH, seed=seed, drop_last=True
            )
            epochs = [[torch.from_numpy(rows).cuda() for (rows,) in order] for _ in range(EPOCHS)]
            torch.cuda.synchronize()
            begun = time.perf_counter()
            for rows in epochs:
                for each in rows:
                    torch.index_select(training.X, 0, each, out=training.x)
                    torch.index_select(training.Y, 0, each, out=training.y)
                    training.run()
            torch.cuda.synchronize()
            seconds = time.perf_counter() - begun
            loss = torch.nn.functional.cross_entropy(training.predict(training.X), training.Y)
            right = (training.predict(X_test).argmax(1) == y_test).double().mean()
            runs.append((seconds, float(loss), float(right)))
        names = "seconds", "loss", "test accuracy"
        found[name] = dict(zip(names, map(float, np.mean(runs, 0)), strict=True))
    return found


def launches() -> dict[str, float]:
    """Microseconds that the host takes to start something small."""
    from fastopt import kernels

    x, grad = torch.randn(1000, device="cuda"), torch.randn(1000, device="cuda")
    out = torch.empty_like(x)
    ours, theirs = fastopt.Adam(x.clone()), torch.optim.Adam([x.clone()], fused=True)
    theirs.param_groups[0]["params"][0].grad = grad
    calls: dict[str, Callable[[], Any]] = {
        "relu, fastopt": lambda: kernels.relu(x, out=out),
        "relu, PyTorch": lambda: torch.clamp_min(x, 0, out=out),
        "Adam step, fastopt": lambda: ours.step(grad),
        "Adam step, PyTorch fused": theirs.step,
    }
    return {name: host_microseconds(call) for name, call in calls.items()}
