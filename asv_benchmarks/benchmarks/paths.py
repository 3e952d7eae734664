"""fastopt's own ways to a compiled solve, SciPy's with the same jitted function, and JAX's.

Each answers as a library of `native` does.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import scipy.optimize
from native.library import ANSWER, Solutions
from native.objectives import Problems, least_squares, poisson, rosenbrock
from numba import njit, prange
from scipy import LowLevelCallable

import fastopt
from fastopt.interface.methods import METHODS

from . import installed
from .libraries import JAX, jax_minimizer, jax_rosenbrock

QUASI_NEWTON = tuple(name for name, row in METHODS.items() if row.family == "quasi-newton")


@dataclass(frozen=True)
class Path:
    """``solve`` as `native.library.Library` has it; `call` is what differs."""

    name: str
    call: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
    methods: tuple[str, ...] = QUASI_NEWTON
    most: int = 10**9  # so many problems are solved, and stand for the rest
    takes_args: bool = True

    def solve(
        self,
        method: str,
        problems: Problems,
        *,
        gtol: float = 1e-5,
        maxiter: int = 10_000,
        threads: int = 1,
    ) -> Solutions:
        share = min(1.0, self.most / len(problems.starts))
        problems = problems.first(self.most)
        self.call(method, problems.first(2), gtol, maxiter, threads)  # compiles
        begun = time.perf_counter()
        x, nfev, nit = self.call(method, problems, gtol, maxiter, threads)
        seconds = (time.perf_counter() - begun) / share
        answers = np.zeros(len(x), dtype=ANSWER)
        for i in range(len(x)):
            grad = np.empty(x.shape[1])
            answers["value"][i] = problems.fun(x[i], grad, *args_of(problems, i))
            answers["gradient_norm"][i] = np.abs(grad).max()
        answers["nfev"], answers["iterations"] = nfev, nit
        return Solutions(x, answers, seconds)


def args_of(problems: Problems, i: int) -> tuple[Any, ...]:
    pairs = zip(problems.args, problems.batched, strict=True)
    return tuple(arg[i] if each else arg for arg, each in pairs)


def by_minimize_many(
    method: str, problems: Problems, gtol: float, maxiter: int, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    result = fastopt.minimize_many(
        problems.fun,
        problems.starts,
        problems.args,
        batched=problems.batched,
        method=method,
        jac="inplace",
        options={"gtol": gtol, "ftol": 0.0, "maxiter": maxiter, "compile": True},
        workers=threads,
    )
    return result.x, result.nfev, result.nit


def by_njit(
    method: str, problems: Problems, gtol: float, maxiter: int, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    solve = solve_all(problems.fun, method, problems.batched, threads > 1)
    options = fastopt.Options(gtol=gtol, ftol=0.0, maxiter=maxiter)
    return solve(problems.starts, problems.args, options)


def by_c_function(
    method: str, problems: Problems, gtol: float, maxiter: int, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `by_minimize_many`, through the very pointer that the native libraries call."""
    if problems.args:
        raise NotImplementedError("a C function has one pointer to data, for all problems")
    doubles = ctypes.POINTER(ctypes.c_double)
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, doubles, doubles, doubles, ctypes.c_ssize_t, ctypes.c_void_p
    )
    result = fastopt.minimize_many(
        LowLevelCallable(kind(problems.function.address)),
        problems.starts,
        method=method,
        jac=True,
        options={"gtol": gtol, "ftol": 0.0, "maxiter": maxiter},
        workers=threads,
    )
    return result.x, result.nfev, result.nit


@cache
def solve_all(fun: Any, method: str, batched: tuple[bool, ...], parallel: bool) -> Any:
    """A loop over the problems in the caller's own compiled code."""
    if any(batched):

        @njit
        def arguments(args, i):
            return args[0], args[1][i]
    else:

        @njit
        def arguments(args, i):
            return args

    @njit(parallel=parallel, nogil=True)
    def solve(starts, args, options):
        x, nfev, nit = np.empty_like(starts), np.empty(len(starts)), np.empty(len(starts))
        for i in prange(len(starts)):
            found = fastopt.minimize(
                fun, starts[i], arguments(args, i), method, "inplace", options=options
            )
            x[i], nfev[i], nit[i] = found.x, found.nfev, found.nit
        return x, nfev, nit

    return solve


def by_scipy(
    method: str, problems: Problems, gtol: float, maxiter: int, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A loop in the interpreter."""
    name = METHODS[method].scipy
    options = {"gtol": gtol, "maxiter": maxiter} | ({"ftol": 0.0} if method == "l-bfgs" else {})

    def pair(x: np.ndarray, *args: np.ndarray) -> tuple[float, np.ndarray]:
        grad = np.empty_like(x)
        return problems.fun(x, grad, *args), grad

    found = [
        scipy.optimize.minimize(pair, start, args_of(problems, i), name, jac=True, options=options)
        for i, start in enumerate(problems.starts)
    ]
    return tuple(np.array([each[key] for each in found]) for key in ("x", "nfev", "nit"))


# --- JAX: the same functions, and one solve that is mapped over a batch --------------------------


def jax_least_squares(p: Any, t: Any, y: Any) -> Any:
    jnp = installed.jax().numpy
    model = p[0] * jnp.exp(-0.5 * ((t - p[1]) / p[2]) ** 2) + p[3]
    return ((model - y) ** 2).sum()


def jax_poisson(p: Any, t: Any, y: Any) -> Any:
    jnp = installed.jax().numpy
    line = jnp.exp(p[0] - 0.5 * ((t - p[1]) / jnp.exp(p[2])) ** 2)
    rate = line + jnp.exp(p[3])
    return (rate - y * jnp.log(rate)).sum()


JAX_OBJECTIVES = {
    rosenbrock: jax_rosenbrock,
    least_squares: jax_least_squares,
    poisson: jax_poisson,
}


def by_jax(
    library: str, method: str, problems: Problems, gtol: float, maxiter: int, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """On as many threads as XLA likes; what it counts are iterations."""
    solve = mapped(library, method, problems.fun, problems.batched, gtol, maxiter)
    x, nit = solve(problems.starts, *problems.args)
    return np.asarray(x), np.asarray(nit), np.asarray(nit)


@cache
def mapped(
    library: str, method: str, fun: Any, batched: tuple[bool, ...], gtol: float, maxiter: int
) -> Any:
    jax = installed.jax()
    solve = jax_minimizer(library, method, JAX_OBJECTIVES[fun], gtol=gtol, maxiter=maxiter)
    return jax.jit(jax.vmap(solve, in_axes=(0, *(0 if each else None for each in batched))))


PATHS = {
    path.name: path
    for path in (
        Path("fastopt", by_minimize_many),
        Path("fastopt in njit", by_njit),
        Path("fastopt by pointer", by_c_function, takes_args=False),
        Path("scipy", by_scipy, most=100),
        *(Path(name, partial(by_jax, name), methods=("bfgs", "l-bfgs")) for name in JAX),
    )
}
