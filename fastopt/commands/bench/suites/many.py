"""Thousands of small fits in one call."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.optimize import minimize

import fastopt
from fastopt.commands.bench.cases import Call, Case, Contest, Work, apart_by_at_most
from fastopt.commands.bench.sizes import Sizes
from fastopt.commands.bench.suites.objectives import gaussian_line
from fastopt.commands.bench.suites.solves import Array
from fastopt.interface.methods import METHODS
from fastopt.interface.minimize_many import usable_cores

__all__ = ["cases"]

CHANNELS = np.linspace(0.0, 1.0, 50)
NOISE = 0.05
GTOL = 1e-5


def cases(sizes: Sizes) -> list[Case]:
    work = Work(sizes.fits, "fits/s")
    found = [Case(name, partial(make_fits, name, 1, sizes), work) for name in ("bfgs", "l-bfgs")]
    cores = usable_cores()
    if cores > 1:
        prepare = partial(make_fits, "bfgs", cores, sizes)
        found.append(Case(f"bfgs, {cores} threads", prepare, work, threads=cores))
    return found


def make_fits(name: str, threads: int, sizes: Sizes) -> Contest:
    starts, spectra = lines(sizes.fits)

    def by_fastopt() -> Array:
        fits: Array = fastopt.minimize_many(
            gaussian_line,
            starts,
            (CHANNELS, spectra),
            batched=(False, True),
            jac=True,
            method=name,
            options={"gtol": GTOL, "compile": True},
            workers=threads,
        ).x
        return fits[: sizes.sample]

    def by_scipy() -> Array:
        method = METHODS[name].scipy
        options = {"gtol": GTOL}
        return np.array(
            [
                minimize(
                    gaussian_line, start, (CHANNELS, y), method=method, jac=True, options=options
                ).x
                for start, y in zip(starts[: sizes.sample], spectra, strict=False)
            ]
        )

    # A loop over SciPy has one thread.
    peers = {"SciPy": Call(by_scipy, part=sizes.sample / sizes.fits)} if threads == 1 else {}
    return Contest(Call(by_fastopt), peers, apart_by_at_most(1e-3))


def lines(count: int) -> tuple[Array, Array]:
    """Where fits start, (count, 3), and noisy lines, (count, channels)."""
    rng = np.random.default_rng(0)
    height, centre = rng.uniform(1.0, 3.0, count), rng.uniform(0.3, 0.7, count)
    width = rng.uniform(0.05, 0.15, count)
    at = (CHANNELS - centre[:, np.newaxis]) / width[:, np.newaxis]
    spectra = height[:, np.newaxis] * np.exp(-0.5 * at**2)
    spectra += rng.normal(scale=NOISE, size=spectra.shape)
    starts = np.stack(
        [
            spectra.max(axis=1),
            CHANNELS[spectra.argmax(axis=1)],
            np.full(count, np.log(0.1)),
        ],
        axis=1,
    )
    return starts, spectra
