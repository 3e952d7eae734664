"""Minibatches on real data: scikit-learn's digits, fastopt beside PyTorch and scikit-learn.

``python -m benchmarks.digits``, from the folder above, prints a table for each of two models,
softmax regression and a network with one hidden layer of rectifiers, each trained by Adam.

**The data** are 1797 pictures of 8 x 8 pixels, 1437 to train with and 360 to test, the same ones
for all. The loss is the mean cross-entropy.

**What is the same** for fastopt and PyTorch: the start, the batches in their order, all of Adam's
numbers, weight decay. So their losses are, to rounding. PyTorch's loop is the shortest one: batches
by index from tensors in memory, no DataLoader, Adam fused. scikit-learn's estimators get the same
sizes, step length and number of epochs, and have their own start and order. ``SGDClassifier`` is
another model of the kind (each class against the rest) with a step length of its own.

**What is timed** is the call or the loop, on one core, without compiling, one after the other in
each of several rounds, of which the median counts. Losses and accuracies are means over as many
seeds, of starts and of orders; ``to 0.1`` is the time until the loss of all training data is that
low.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numba import njit

import fastopt

from . import installed
from .losses import OnOneThread

BATCH = 32
EPOCHS = 40
LR = 1e-2
SEEDS = 10
CLASSES = 10
HIDDEN = 64
DECAY = 1e-5
LOW = 0.1
MODELS = {"softmax regression": 0, "network": HIDDEN}  # width of the hidden layer

# --- the models ------------------------------------------------------------------------------


@njit(cache=True)
def cross_entropy(scores, y):
    """Its mean; the scores become its slopes."""
    total = 0.0
    for i in range(y.size):
        row = scores[i]
        top = row.max()
        own = row[y[i]] - top
        mass = 0.0
        for j in range(row.size):
            row[j] = np.exp(row[j] - top)
            mass += row[j]
        for j in range(row.size):
            row[j] /= mass * y.size
        row[y[i]] -= 1 / y.size
        total += np.log(mass) - own
    return total / y.size


@njit(cache=True)
def regression(theta, X, y):
    """Of weights (pixels, classes) and an offset for each class, in a row."""
    k = CLASSES
    cut = theta.size - k
    grad = np.empty_like(theta)
    slopes = X @ theta[:cut].reshape(-1, k) + theta[cut:]
    value = cross_entropy(slopes, y)
    np.dot(X.T, slopes, grad[:cut].reshape(-1, k))
    grad[cut:] = slopes.sum(axis=0)
    return value, grad


@njit(cache=True)
def network(theta, X, y):
    """Of the weights and offsets of two layers, in a row."""
    p, k, h = X.shape[1], CLASSES, HIDDEN
    first, second, third = p * h, p * h + h, p * h + h + h * k
    grad = np.empty_like(theta)
    outer = theta[second:third].reshape(h, k)
    hidden = np.maximum(X @ theta[:first].reshape(p, h) + theta[first:second], 0)
    slopes = hidden @ outer + theta[third:]
    value = cross_entropy(slopes, y)
    np.dot(hidden.T, slopes, grad[second:third].reshape(h, k))
    grad[third:] = slopes.sum(axis=0)
    back = (slopes @ outer.T) * np.sign(hidden)
    np.dot(X.T, back, grad[:first].reshape(p, h))
    grad[first:second] = back.sum(axis=0)
    return value, grad


def layers(width: int) -> list[tuple[int, int]]:
    """What goes into each and what comes out."""
    return [(64, width), (width, CLASSES)] if width else [(64, CLASSES)]


def start(width: int, seed: int) -> np.ndarray:
    """Glorot's, as scikit-learn has it for rectifiers."""
    rng = np.random.default_rng(seed)
    parts = []
    for p, k in layers(width):
        bound = np.sqrt(6 / (p + k))
        parts += [rng.uniform(-bound, bound, p * k), rng.uniform(-bound, bound, k)]
    return np.concatenate(parts)


def split(theta: np.ndarray, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and offsets of each layer."""
    parts, place = [], 0
    for p, k in layers(width):
        weights = theta[place : place + p * k].reshape(p, k)
        place += p * k + k
        parts.append((weights, theta[place - k : place]))
    return parts


def join(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The reverse."""
    return np.concatenate([each.ravel() for pair in parts for each in pair]).astype(float)


def scores(theta: np.ndarray, X: np.ndarray, width: int) -> np.ndarray:
    *inner, (weights, offsets) = split(theta, width)
    for inner_weights, inner_offsets in inner:
        X = np.maximum(X @ inner_weights + inner_offsets, 0)
    return X @ weights + offsets


@dataclass(frozen=True)
class Digits:
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


@cache
def digits() -> Digits:
    X, y = installed.find("sklearn.datasets").load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order] / 16, y[order]
    return Digits(X[:1437], y[:1437], X[1437:], y[1437:])


@dataclass
class Fit:
    """Seconds until the end of each epoch, and the parameters there: a vector, or a function that
    gives scores of data. Of some fits, the last epoch alone."""

    times: np.ndarray
    points: list[Any]


Train = Callable[[str, int], Fit]


# --- fastopt ---------------------------------------------------------------------------------


def minibatches(seed: int, dtype: Any = np.float64) -> fastopt.Minibatches:
    data = digits()
    return fastopt.Minibatches(data.X.astype(dtype), data.y, batch_size=BATCH, seed=seed)


def function(model: str) -> Any:
    return network if MODELS[model] else regression


def by_minimize(model: str, seed: int) -> Fit:
    width = MODELS[model]
    options = {"epochs": EPOCHS, "lr": LR, "weight_decay": DECAY, "compile": True}
    fit = fastopt.minimize(
        function(model),
        start(width, seed),
        method="adam",
        jac=True,
        data=minibatches(seed),
        options=options | {"trace": True, "return_all": True},
    )
    return Fit(fit.trace["time"], fit.allvecs)


def by_loop(dtype: Any, model: str, seed: int) -> Fit:
    width = MODELS[model]
    fun = function(model)
    theta = start(width, seed).astype(dtype)
    opt = fastopt.Adam(theta, lr=LR, weight_decay=DECAY)
    data = minibatches(seed, dtype)
    times, points = [], []
    begun = time.perf_counter()
    for _ in range(EPOCHS):
        for X, y in data:
            opt.step(fun(theta, X, y)[1])
        times.append(time.perf_counter() - begun)
        points.append(theta.copy())
    return Fit(np.array(times), points)


# --- peers -----------------------------------------------------------------------------------


def by_torch(name: str, model: str, seed: int) -> Fit:
    torch = installed.torch()
    width = MODELS[model]
    dtype = getattr(torch, name)
    linear = [torch.nn.Linear(p, k, dtype=dtype) for p, k in layers(width)]
    for layer, (weights, offsets) in zip(linear, split(start(width, seed), width), strict=True):
        layer.weight.data = torch.tensor(weights.T.copy(), dtype=dtype)
        layer.bias.data = torch.tensor(offsets, dtype=dtype)
    between = [torch.nn.ReLU()] if width else []
    net = torch.nn.Sequential(linear[0], *between, *linear[1:])
    data = digits()
    X, y = torch.tensor(data.X, dtype=dtype), torch.tensor(data.y)
    order = fastopt.Minibatches(np.arange(len(y)), batch_size=BATCH, seed=seed)
    opt = torch.optim.Adam(net.parameters(), lr=LR, weight_decay=DECAY, fused=True)
    loss = torch.nn.CrossEntropyLoss()
    times, points = [], []
    begun = time.perf_counter()
    for _ in range(EPOCHS):
        for (rows,) in order:
            chosen = torch.from_numpy(rows)
            opt.zero_grad()
            loss(net(X[chosen]), y[chosen]).backward()
            opt.step()
        times.append(time.perf_counter() - begun)
        points.append(
            join([(each.weight.detach().numpy().T, each.bias.detach().numpy()) for each in linear])
        )
    return Fit(np.array(times), points)


def by_mlp_classifier(model: str, seed: int) -> Fit:
    MLPClassifier = installed.find("sklearn.neural_network").MLPClassifier
    width = MODELS[model]
    if not width:
        raise NotImplementedError("this is for networks")
    data = digits()
    net = MLPClassifier(
        (width,), alpha=BATCH * DECAY, batch_size=BATCH, learning_rate_init=LR, max_iter=EPOCHS,
        n_iter_no_change=EPOCHS, tol=0.0, random_state=seed,
    )  # fmt: skip
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # epochs end it, and it says so
        net.fit(data.X, data.y)
    taken = time.perf_counter() - begun
    found = list(zip(net.coefs_, net.intercepts_, strict=True))
    return Fit(np.array([taken]), [join(found)])


def by_sgd_classifier(model: str, seed: int) -> Fit:
    SGDClassifier = installed.find("sklearn.linear_model").SGDClassifier
    if MODELS[model]:
        raise NotImplementedError("this is for linear models")
    data = digits()
    line = SGDClassifier("log_loss", max_iter=EPOCHS, tol=None, random_state=seed)
    begun = time.perf_counter()
    line.fit(data.X, data.y)
    taken = time.perf_counter() - begun
    return Fit(np.array([taken]), [line.decision_function])


ROWS: dict[str, Train] = {
    "fastopt minimize": by_minimize,
    "fastopt.Adam, float64": partial(by_loop, np.float64),
    "fastopt.Adam, float32": partial(by_loop, np.float32),
    "torch, float64": partial(by_torch, "float64"),
    "torch, float32": partial(by_torch, "float32"),
    "MLPClassifier": by_mlp_classifier,
    "SGDClassifier": by_sgd_classifier,
}


# --- what has been found -----------------------------------------------------------------------


def training_loss(point: Any, width: int) -> float:
    if callable(point):
        return np.nan
    data = digits()
    return float(cross_entropy(scores(point.astype(float), data.X, width), data.y))


def accuracy(point: Any, width: int) -> float:
    data = digits()
    found = point(data.X_test) if callable(point) else scores(point, data.X_test, width)
    return float((found.argmax(axis=1) == data.y_test).mean())


# --- asv -------------------------------------------------------------------------------------


class Training:
    """A whole training, and how many of the test's pictures it gets right."""

    params = (list(ROWS), list(MODELS))
    param_names = ("library", "model")
    timeout = 300

    def setup_cache(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Seconds, after a training that compiles, and the share of the test data."""
        found = {}
        limits = OnOneThread()
        limits.limit_threads()
        for library, train in ROWS.items():
            for model, width in MODELS.items():
                try:
                    fits = [train(model, 0) for _ in range(2)]
                except NotImplementedError:
                    continue
                best = min(float(fit.times[-1]) for fit in fits)
                found[library, model] = best, accuracy(fits[0].points[-1], width)
        limits.teardown()
        return found

    setup_cache.timeout = 600

    def setup(self, found: dict[tuple[str, str], Any], library: str, model: str) -> None:
        if (library, model) not in found:
            raise NotImplementedError("not installed, or for the other model")

    def track_seconds(self, found: dict[tuple[str, str], Any], library: str, model: str) -> float:
        return round(found[library, model][0], 4)

    track_seconds.unit = "s"

    def track_accuracy(self, found: dict[tuple[str, str], Any], library: str, model: str) -> float:
        return found[library, model][1]

    track_accuracy.unit = "share of the test data"


# --- the table -------------------------------------------------------------------------------


def print_table(model: str, seeds: int) -> None:
    width = MODELS[model]
    found: dict[str, list[Fit]] = {}
    for name, train in ROWS.items():
        try:
            train(model, 0)  # compiles
            found[name] = []
        except NotImplementedError as reason:
            print(f"without {name}: {reason}")
    for seed in range(seeds):
        for name, fits in found.items():
            fits.append(ROWS[name](model, seed))
    steps = EPOCHS * -(-len(digits().y) // BATCH)
    print(f"\n{model}, {EPOCHS} epochs, {steps} steps\n")
    print(f"{'':24}{'ms':>8}{'us/step':>9}{'to 0.1':>9}{'loss':>9}{'test accuracy':>16}")
    for name, fits in found.items():
        seconds = statistics.median(fit.times[-1] for fit in fits)
        loss = np.mean([training_loss(fit.points[-1], width) for fit in fits])
        right = np.mean([accuracy(fit.points[-1], width) for fit in fits])
        soon = statistics.median(seconds_to(LOW, fit, width) for fit in fits)
        print(
            f"{name:24}{1e3 * seconds:8.0f}{1e6 * seconds / steps:9.1f}{1e3 * soon:9.0f}"
            f"{loss:9.4f}{100 * right:14.2f} %",
            flush=True,
        )


def seconds_to(loss: float, fit: Fit, width: int) -> float:
    """NaN if only the end is known, infinite if it never is so low."""
    if len(fit.points) == 1:
        return np.nan
    low = [training_loss(point, width) <= loss for point in fit.points]
    return float(fit.times[np.argmax(low)]) if any(low) else np.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    given = parser.parse_args()
    installed.bind_to_one_processor()
    installed.limit_threads()
    try:
        digits()
    except NotImplementedError as missing:
        print(f"without digits: {missing}")
        return
    for model in MODELS:
        print_table(model, given.seeds)


if __name__ == "__main__":
    main()
