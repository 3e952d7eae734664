from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from numba import njit

from fastopt.rules import gd_step

rng = np.random.default_rng(0)
n, p = 4096, 20
X = rng.standard_normal((n, p)) * np.logspace(0, -0.8, p)
y = (X @ rng.standard_normal(p) + rng.logistic(size=n) > 0).astype(float)


@njit
def gradient(w, X, y):
    """Of the mean cross-entropy, with a little ridge."""
    return (1 / (1 + np.exp(-(X @ w))) - y) @ X / len(y) + 1e-3 * w


@njit
def loss(w, X, y):
    z = X @ w
    return (np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0) - y * z).mean() + 5e-4 * w @ w


@njit
def train(X, y, lr, size, steps, rng):
    """Minibatches of `size` of shuffled samples; the weights after every step."""
    w, none = np.zeros(X.shape[1]), np.zeros((0, X.shape[1]))
    path = np.empty((steps, w.size))
    first = len(y)
    for t in range(1, steps + 1):
        if first + size > len(y):  # an epoch begins
            order = rng.permutation(len(y))
            X, y, first = X[order], y[order], 0
        gd_step(w, gradient(w, X[first : first + size], y[first : first + size]), none, (lr,), t)
        first += size
        path[t - 1] = w
    return path


def steps_to(target, size, lr):
    """How many steps until the loss of all samples stays below `target`; inf if it never does."""
    counts = []
    for _ in range(3):
        path = train(X, y, lr, size, 300 + 6 * n // size, rng)
        looks = np.unique(np.geomspace(1, len(path), 60).astype(int))
        above = [k for k, look in enumerate(looks) if loss(path[look - 1], X, y) > target]
        after = above[-1] + 1 if above else 0
        counts.append(looks[after] if after < looks.size else np.inf)
    return np.median(counts)


def time_of_epoch(size):
    taken = []
    for _ in range(7):
        begun = perf_counter()
        train(X, y, 1e-3, size, n // size, rng)
        taken.append(perf_counter() - begun)
    return min(taken)


best = loss(train(X, y, 2.0, n, 4000, rng)[-1], X, y)
target = best + 0.01 * (np.log(2) - best)
start = np.zeros(p)
exact = gradient(start, X, y)

sizes = 2 ** np.arange(0, 13)
seconds, noise, needed = [], [], []
lengths = 2.0 ** np.arange(-8, -3)
for size in sizes:
    batches = [rng.integers(n, size=size) for _ in range(200)]
    errors = [gradient(start, X[batch], y[batch]) - exact for batch in batches]
    noise.append(np.sqrt(np.mean(np.square(errors)) / np.mean(exact**2)))
    seconds.append(time_of_epoch(size))
    # The best step length is another one for each size: about that of half the size, or longer.
    counts = [steps_to(target, size, lr) for lr in lengths]
    needed.append(min(counts))
    lengths = lengths[np.argmin(counts)] * 2.0 ** np.arange(-0.5, 1.5, 0.5)
needed = np.array(needed)

figure, axes = plt.subplots(1, 4, figsize=(13, 3.5), layout="constrained")
for ax, title, unit, values in (
    (axes[0], "Noise of the gradient", "error / length", noise),
    (axes[1], "Time of an epoch", "milliseconds", 1e3 * np.array(seconds)),
    (axes[2], "Steps to the loss", "steps", needed),
    (axes[3], "Epochs to the loss", "epochs", needed * sizes / n),
):
    ax.plot(sizes, values, "o-", ms=4, color="#0072B2")
    ax.set_xscale("log", base=2)
    ax.set(title=title, xlabel="batch size", ylabel=unit)
    ax.grid(alpha=0.3)
for ax in axes[[0, 2]]:
    ax.set_yscale("log")
for ax in axes[[1, 3]]:
    ax.set_ylim(bottom=0)
