"""An @njit function: handed to minimize, and solved for in compiled code."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastopt.commands.bench.cases import Call, Case, Contest, right_digits
from fastopt.commands.bench.sizes import Sizes
from fastopt.commands.bench.suites.objectives import chained_rosenbrock, solve_each
from fastopt.commands.bench.suites.solves import DIGITS, GTOL, Array, make_solves, solve_by_scipy

__all__ = ["cases"]


def cases(sizes: Sizes) -> list[Case]:
    return [
        *(
            Case(
                f"{name}, n = {n}",
                # From 0, a descent does not end in the other minimum, at -1.
                partial(
                    make_solves, name, chained_rosenbrock, np.zeros(n), np.ones(n), compiled=True
                ),
            )
            for name in ("bfgs", "l-bfgs")
            for n in sizes.compiled
        ),
        Case("bfgs, n = 2, in @njit", partial(make_inside, sizes)),
    ]


def make_inside(sizes: Sizes) -> Contest:
    starts = np.random.default_rng(0).uniform(-2.0, 2.0, (sizes.solves_inside, 2))
    sample = starts[-sizes.sample :]

    def by_scipy() -> Array:
        for start in sample:
            x = solve_by_scipy("bfgs", chained_rosenbrock, start, GTOL)
        return x

    return Contest(
        Call(partial(solve_each, starts), part=len(starts)),
        {"SciPy": Call(by_scipy, part=len(sample))},
        right_digits(np.ones(2), DIGITS),
    )
