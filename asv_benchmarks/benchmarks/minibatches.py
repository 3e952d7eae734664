"""Batches of data: what bringing rows together costs, alone and beside what is computed from them.

``python -m benchmarks.minibatches``, from the folder above, prints a table of both. In it, as with
asv, the logistic loss is the compiled one of `fastopt.losses`, and all is float64 on one core.

Measured on a shared server core (a pass in order over the larger data: 12 GB/s), best of 15 but
for the last, medians of 5:

* 60 000 x 784: 11 GB/s of rows gathered, in batches of 32 and of 256, as `numpy.take`; so an epoch
  of shuffled evaluations takes 1.5 to 1.8 times one without a copy, in order.
* Prefetching by instructions, of rows 1 to 8 ahead, whole or their first 2 to 8 lines: between
  2 % more and 2 % less of that. The next batch's rows, before the present one is evaluated: 5 to
  6 % more time an epoch. A batch's rows sorted by their places in memory: the same within 2 %.
* 1 000 000 x 30: 6.3 GB/s; with prefetching 4.6 to 5.0, and 12 to 30 % more time an epoch. Sorted:
  the same.
* 569 x 30, which stays in the cache: 0.16 us for a batch of 32, 2.3 us for one of 256, beside 0.55
  and 5.4 us to evaluate them; with prefetching 0.6 and 2.8.

So the copying is plain, and rows are in the order of the shuffle.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

import fastopt
from fastopt.objectives.gathering import Gatherer
from fastopt.objectives.minibatches import buffers
from fastopt.objectives.shuffling import permutation
from fastopt.objectives.source import ObjectiveSource

SIZES = {"569x30": (569, 30), "60000x784": (60_000, 784)}
BATCHES = (32, 256)
L2 = 1e-3


def data(size: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    n, p = SIZES[size]
    return rng.standard_normal((n, p)), (rng.random(n) < 0.5).astype(float)


class Gather:
    """The rows of one epoch, batch by batch, into a buffer."""

    params = (("fastopt", "numpy"), list(SIZES), BATCHES)
    param_names = ("library", "size", "batch")

    def setup(self, library: str, size: str, batch: int) -> None:
        X, _ = data(size)
        self.bytes = X.nbytes
        order = permutation(len(X), 0, 0)
        starts = range(0, len(X) - batch + 1, batch)
        batches = fastopt.Minibatches(X, batch_size=batch)
        (buffer,) = room = buffers(batches)
        if library == "fastopt":
            gatherer = Gatherer(batches.arrays, room)
            self.gather = lambda: [gatherer.gather(start, batch, order) for start in starts]
        else:
            places = order.astype(np.intp)
            # Without mode="clip", NumPy copies once more, in case a place is out of range.
            self.gather = lambda: [
                X.take(places[start : start + batch], axis=0, out=buffer, mode="clip")
                for start in starts
            ]
        self.gather()

    def track_bandwidth(self, library: str, size: str, batch: int) -> float:
        return self.bytes / seconds(self.gather, 0.1) / 1e9

    track_bandwidth.unit = "GB/s read"


class Order:
    """The order of an epoch."""

    params = (("fastopt", "numpy"), (569, 60_000))
    param_names = ("library", "n")

    def setup(self, library: str, n: int) -> None:
        rng = np.random.default_rng(0)
        self.order = (
            (lambda: permutation(n, 0, 1)) if library == "fastopt" else (lambda: rng.permutation(n))
        )

    def time_order(self, library: str, n: int) -> None:
        self.order()


class Epoch:
    """One epoch of shuffled evaluations of the logistic loss.

    fastopt's objective and "python", which is ``for X_batch, y_batch in data``, are called from
    Python for each batch; "njit" is a whole epoch in one loop, written by hand.
    """

    params = (("fastopt", "njit", "python"), list(SIZES), BATCHES)
    param_names = ("library", "size", "batch")

    def setup(self, library: str, size: str, batch: int) -> None:
        X, y = data(size)
        loss = fastopt.losses.logistic(X, y, l2=L2)
        further = loss.args[2:]
        batches = fastopt.Minibatches(X, y, batch_size=batch)
        theta, grad = np.zeros(loss.n), np.zeros(loss.n)
        self.run: Callable[[], Any]
        if library == "fastopt":
            objective = ObjectiveSource(
                loss.fun, loss.jac, further, loss.n, compile=True, data=batches
            ).objective
            self.run = lambda: [objective.evaluate(theta) for _ in range(len(batches))]
        elif library == "njit":
            loop, room = handwritten(loss.fun), buffers(batches)
            self.run = lambda: loop(theta, grad, X, y, *room, *further)
        else:
            self.run = lambda: [loss.fun(theta, grad, *each, *further) for each in batches]
        self.run()

    def time_epoch(self, library: str, size: str, batch: int) -> None:
        self.run()


def handwritten(fun: Any) -> Callable[..., float]:
    @njit
    def epoch(theta, grad, X, y, X_batch, y_batch, sample_weight, l2):  # type: ignore[no-untyped-def]
        order = np.arange(len(y))
        np.random.shuffle(order)  # noqa: NPY002 - Numba's own
        total = 0.0
        size = len(y_batch)
        for first in range(0, len(y), size):
            rows = min(size, len(y) - first)
            for i in range(rows):
                for j in range(X.shape[1]):
                    X_batch[i, j] = X[order[first + i], j]
                y_batch[i] = y[order[first + i]]
            total += fun(theta, grad, X_batch[:rows], y_batch[:rows], sample_weight, l2)
        return total

    return epoch


def seconds(call: Callable[[], Any], limit: float = 1.0) -> float:
    """The least of as many calls as fit into the limit, and of 5 at least."""
    taken: list[float] = []
    end = time.perf_counter() + limit
    while len(taken) < 5 or time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def print_table(benchmark: Any, call: str) -> None:
    print(f"\n{benchmark.__doc__.splitlines()[0]}\n")
    libraries, *rest = benchmark.params
    for size in rest[0]:
        for last in rest[1:] or ((None,),):
            for batch in last:
                found: dict[str, list[float]] = {library: [] for library in libraries}
                cases = {}
                for library in libraries:
                    cases[library] = benchmark()
                    cases[library].setup(library, *((size,) if batch is None else (size, batch)))
                for _ in range(3):  # by turns: others use the memory too
                    for library in libraries:
                        found[library].append(seconds(getattr(cases[library], call)))
                shown = ", ".join(
                    f"{library} {1e3 * statistics.median(times):.3f} ms"
                    for library, times in found.items()
                )
                print(f"{size:>10} {batch or '':>4}   {shown}")


if __name__ == "__main__":
    print_table(Gather, "gather")
    print_table(Order, "order")
    print_table(Epoch, "run")
