"""What an iteration of Adam costs in `minimize`, with a compiled objective.

``python -m benchmarks.iterations``, from the folder above, prints nanoseconds of an iteration out
of 10 000, beside a loop with the same arithmetic that is written by hand and compiled by Numba, and
beside optax under ``jax.lax.scan`` and torch where they are installed. Everyone takes turns, round
by round, on one processor. A figure is the median of the rounds; so is a ratio, to the loop by
hand.

fastopt tests for termination (gtol = 0, so that it never comes), looks whether every point is
finite, keeps the best one, and hands the function arrays that are the function's own; the loop by
hand does nothing of this. "jac=True" is an objective that returns the pair of value and gradient,
in an array that it makes; "inplace" is one that fills an array.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import njit

import fastopt

from . import installed
from .libraries import jax_rosenbrock

STEPS = 10_000
# torch takes as long for so many.
TORCH_STEPS = 200
LR, BETA1, BETA2, EPS = 0.01, 0.9, 0.999, 1e-8

Run = Callable[[], Any]


# --- the objectives ------------------------------------------------------------------------------


@njit
def rosenbrock(x, grad):
    """The chained Rosenbrock function; `grad` is filled."""
    value = 0.0
    carried = 0.0
    last = x.size - 1
    for i in range(last):
        a = x[i + 1] - x[i] * x[i]
        b = 1.0 - x[i]
        value += 100.0 * (a * a) + b * b
        if grad.size > 0:
            grad[i] = carried - 400.0 * x[i] * a - 2.0 * b
            carried = 200.0 * a
    if grad.size > 0:
        grad[last] = carried
    return value


@njit
def rosenbrock_pair(x):
    grad = np.empty_like(x)
    value = 0.0
    carried = 0.0
    last = x.size - 1
    for i in range(last):
        a = x[i + 1] - x[i] * x[i]
        b = 1.0 - x[i]
        value += 100.0 * (a * a) + b * b
        grad[i] = carried - 400.0 * x[i] * a - 2.0 * b
        carried = 200.0 * a
    grad[last] = carried
    return value, grad


@njit
def logistic(x, grad, X, y, l2):
    """The mean logistic loss with a penalty, row by row; `grad` is filled."""
    value = 0.0
    grad[:] = 0.0
    for i in range(X.shape[0]):
        z = 0.0
        for j in range(X.shape[1]):
            z += X[i, j] * x[j]
        tail = math.exp(-abs(z))
        value += max(z, 0.0) - y[i] * z + math.log1p(tail)
        residual = (1.0 if z >= 0.0 else tail) / (1.0 + tail) - y[i]
        for j in range(grad.size):
            grad[j] += residual * X[i, j]
    value /= X.shape[0]
    for j in range(grad.size):
        grad[j] = grad[j] / X.shape[0] + l2 * x[j]
        value += 0.5 * l2 * x[j] * x[j]
    return value


@njit
def logistic_pair(x, X, y, l2):
    grad = np.empty_like(x)
    value = logistic(x, grad, X, y, l2)
    return value, grad


def classification() -> tuple[np.ndarray, np.ndarray, float]:
    """Of the shape of the breast cancer data."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((569, 30))
    y = (X @ rng.standard_normal(30) + rng.standard_normal(569) > 0).astype(float)
    return X, y, 1e-3


class Problem:
    """An objective in both forms, where it starts and what it takes besides."""

    def __init__(self, fill: Any, pair: Any, x0: np.ndarray, args: tuple[Any, ...] = ()) -> None:
        self.fill, self.pair, self.x0, self.args = fill, pair, x0, args


def rosenbrock_of(n: int) -> Problem:
    return Problem(rosenbrock, rosenbrock_pair, np.resize([-1.2, 1.0], n))


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "Rosenbrock, n = 10": partial(rosenbrock_of, 10),
    "Rosenbrock, n = 100": partial(rosenbrock_of, 100),
    "logistic, 569 x 30": lambda: Problem(logistic, logistic_pair, np.zeros(30), classification()),
}


# --- who minimizes them --------------------------------------------------------------------------


def by_fastopt(problem: Problem, jac: bool | str) -> Run:
    fun = problem.pair if jac is True else problem.fill
    options = {"lr": LR, "maxiter": STEPS, "gtol": 0.0, "compile": True}
    return partial(
        fastopt.minimize, fun, problem.x0, problem.args, "adam", jac=jac, options=options
    )


def by_hand(problem: Problem) -> Run:
    descend = descend_logistic if problem.args else descend_rosenbrock
    return partial(descend, problem.x0, STEPS, LR, BETA1, BETA2, EPS, *problem.args)


@njit(error_model="numpy")
def descend_rosenbrock(x0, steps, lr, beta1, beta2, eps):
    """Nothing is called in the loop, and nothing allocated."""
    x = x0.copy()
    grad, mean, square = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    last = x.size - 1
    power1 = power2 = 1.0
    value = 0.0
    for _ in range(steps):
        value = carried = 0.0
        for i in range(last):
            a = x[i + 1] - x[i] * x[i]
            b = 1.0 - x[i]
            value += 100.0 * (a * a) + b * b
            grad[i] = carried - 400.0 * x[i] * a - 2.0 * b
            carried = 200.0 * a
        grad[last] = carried
        power1 *= beta1
        power2 *= beta2
        root2 = math.sqrt(1.0 - power2)
        step = lr * root2 / (1.0 - power1)
        small = eps * root2
        for i in range(x.size):
            mean[i] = beta1 * mean[i] + (1.0 - beta1) * grad[i]
            square[i] = beta2 * square[i] + (1.0 - beta2) * grad[i] * grad[i]
            x[i] -= step * mean[i] / (math.sqrt(square[i]) + small)
    return x, value


@njit(error_model="numpy")
def descend_logistic(x0, steps, lr, beta1, beta2, eps, X, y, l2):
    x = x0.copy()
    grad, mean, square = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    power1 = power2 = 1.0
    value = 0.0
    for _ in range(steps):
        value = 0.0
        grad[:] = 0.0
        for i in range(X.shape[0]):
            z = 0.0
            for j in range(X.shape[1]):
                z += X[i, j] * x[j]
            tail = math.exp(-abs(z))
            value += max(z, 0.0) - y[i] * z + math.log1p(tail)
            residual = (1.0 if z >= 0.0 else tail) / (1.0 + tail) - y[i]
            for j in range(grad.size):
                grad[j] += residual * X[i, j]
        value /= X.shape[0]
        power1 *= beta1
        power2 *= beta2
        root2 = math.sqrt(1.0 - power2)
        step = lr * root2 / (1.0 - power1)
        small = eps * root2
        for j in range(x.size):
            value += 0.5 * l2 * x[j] * x[j]
            grad[j] = grad[j] / X.shape[0] + l2 * x[j]
            mean[j] = beta1 * mean[j] + (1.0 - beta1) * grad[j]
            square[j] = beta2 * square[j] + (1.0 - beta2) * grad[j] * grad[j]
            x[j] -= step * mean[j] / (math.sqrt(square[j]) + small)
    return x, value


def by_optax(problem: Problem) -> Run:
    jax, optax = installed.jax(), installed.find("optax")
    jnp = jax.numpy

    def logistic_value(x: Any, X: Any, y: Any, l2: float) -> Any:
        z = X @ x
        return jnp.mean(jnp.logaddexp(0.0, z) - y * z) + 0.5 * l2 * x @ x

    fun = logistic_value if problem.args else jax_rosenbrock
    args = tuple(jnp.asarray(each) for each in problem.args)
    optimizer = optax.adam(LR, BETA1, BETA2, EPS)
    value_and_grad = jax.value_and_grad(fun)

    @jax.jit
    def descend(x: Any) -> Any:
        def step(carried: Any, _: Any) -> Any:
            x, state = carried
            _, grad = value_and_grad(x, *args)
            updates, state = optimizer.update(grad, state, x)
            return (optax.apply_updates(x, updates), state), None

        (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=STEPS)
        return x

    x0 = jnp.asarray(problem.x0)
    return lambda: descend(x0).block_until_ready()


def by_torch(problem: Problem) -> Run:
    torch = installed.torch()
    X, y, l2 = (torch.as_tensor(each) for each in problem.args or (0.0, 0.0, 0.0))

    def rosenbrock_value(x: Any) -> Any:
        return torch.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    def logistic_value(x: Any) -> Any:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(X @ x, y)
        return loss + 0.5 * l2 * x @ x

    fun = logistic_value if problem.args else rosenbrock_value

    def descend() -> Any:
        x = torch.tensor(problem.x0, requires_grad=True)
        optimizer = torch.optim.Adam([x], LR, (BETA1, BETA2), EPS)
        for _ in range(TORCH_STEPS):
            optimizer.zero_grad()
            fun(x).backward()
            optimizer.step()
        return x

    return descend


LIBRARIES: dict[str, Callable[[Problem], Run]] = {
    "by hand": by_hand,
    "fastopt, inplace": partial(by_fastopt, jac="inplace"),
    "fastopt, jac=True": partial(by_fastopt, jac=True),
    "optax": by_optax,
    "torch": by_torch,
}


def make(library: str, problem: str) -> Run:
    """Compiled, and run once more: fastopt then knows how long an iteration takes."""
    run = LIBRARIES[library](PROBLEMS[problem]())
    run()
    run()
    return run


def nanoseconds(library: str, run: Run) -> float:
    """Of an iteration."""
    begun = time.perf_counter()
    run()
    return 1e9 * (time.perf_counter() - begun) / (TORCH_STEPS if library == "torch" else STEPS)


def print_table(problem: str, rounds: int) -> None:
    runs = {}
    for library in LIBRARIES:
        try:
            runs[library] = make(library, problem)
        except NotImplementedError as missing:
            print(f"without {library}: {missing}")
    found: dict[str, list[float]] = {library: [] for library in runs}
    for _ in range(rounds):
        for library, run in runs.items():
            found[library].append(nanoseconds(library, run))
    print(f"\n{problem}\n{'':20}{'ns / iteration':>16}{'least':>10}{'/ by hand':>12}")
    for library, each in found.items():
        ratios = (a / b for a, b in zip(each, found["by hand"], strict=True))
        numbers = f"{statistics.median(each):16.1f}{min(each):10.1f}"
        print(f"{library:20}{numbers}{statistics.median(ratios):12.2f}", flush=True)


class Iterations:
    """10 000 of them."""

    params = (list(LIBRARIES), list(PROBLEMS))
    param_names = ("library", "problem")
    unit = "ns"
    timeout = 300

    def setup(self, library: str, problem: str) -> None:
        self.run = make(library, problem)

    def track_nanoseconds(self, library: str, problem: str) -> float:
        return round(statistics.median(nanoseconds(library, self.run) for _ in range(9)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Iterations of Adam")
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    installed.bind_to_one_processor()
    for problem in PROBLEMS:
        print_table(problem, arguments.rounds)


if __name__ == "__main__":
    main()
