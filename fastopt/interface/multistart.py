"""`multistart`: the lowest of the minima that are found from many starts."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, OptimizeResult

from fastopt.core.validate import real_array
from fastopt.interface.bounds import bound_arrays
from fastopt.interface.methods import find_method
from fastopt.interface.minimize_many import minimize_many

if TYPE_CHECKING:
    from scipy.stats import qmc

__all__ = ["multistart"]

SAMPLERS = ("sobol", "halton", "lhs", "uniform")
# As many as Sobol points have.
MOST_STARTS = 2**30


class _Lowest(OptimizeResult):  # type: ignore[misc]  # SciPy has no annotations
    """The result of `multistart`, which prints the summary of its batch, not all of its arrays."""

    def __repr__(self) -> str:
        shown = OptimizeResult(self)
        if "batch" in shown:
            shown.batch = str(shown.batch)
        return repr(shown)

    __str__ = __repr__


def multistart(
    fun: Callable[..., Any],
    bounds: Bounds | Sequence[tuple[float, float]],
    args: Any = (),
    starts: int | ArrayLike = 64,
    sampler: str | qmc.QMCEngine = "sobol",
    method: str | None = None,
    jac: Callable[..., Any] | str | bool | None = None,
    hess: Callable[..., Any] | str | None = None,
    hessp: Callable[..., Any] | None = None,
    tol: float | None = None,
    callback: Callable[[OptimizeResult], Any] | None = None,
    options: Mapping[str, Any] | None = None,
    workers: int | Executor | None = None,
    rng: int | np.random.Generator | None = None,
) -> OptimizeResult:
    """Minimize a function with several minima, from many starts in a box.

    Parameters
    ----------
    fun : callable
        The function to minimize, ``fun(x, *args) -> float``, as in `minimize`.
    bounds : sequence of (low, high) or `scipy.optimize.Bounds`
        The box that the starts are drawn from; all bounds finite.
    args : tuple, optional
        Further arguments of `fun`, `jac`, `hess` and `hessp`.
    starts : int or array_like of shape (B, n), default 64
        How many starts to draw, or the starts themselves.
    sampler : {"sobol", "halton", "lhs", "uniform"} or QMCEngine, default "sobol"
        How to draw them: scrambled Sobol or Halton points, a Latin hypercube, or at random. Or what
        draws them, an engine of `scipy.stats.qmc` for n variables: the next points that it has,
        whatever `rng` says.
    method : str, optional
        The method of the searches, as in `minimize`. By default ``"l-bfgs-b"``, and the searches
        stay within `bounds`. Given by name, a method that takes no bounds searches without: the
        box then only says where to start.
    jac, hess, hessp, tol, callback, options, workers : optional
        As in `minimize_many`.
    rng : int or numpy.random.Generator, default 0
        Where the starts come from: the same number, the same starts.

    Returns
    -------
    OptimizeResult
        Of the search that ended lowest, with ``x``, ``fun``, ``jac``, ``nit``, ``status``,
        ``success``, ``message``, ``converged_to``, ``method`` and ``library`` as in `minimize`;
        ``nfev``, ``njev`` and ``nhev`` count all searches. ``start`` is where it began, ``index``
        its number, and ``batch`` the BatchResult of all.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong; nothing has been evaluated then. Also if `fun` is NaN or inf at all
        of the starts.

    See Also
    --------
    minimize_many : All the minima, and problems with data of their own.

    Examples
    --------
    Rastrigin's function has a minimum near every point of integers, and the lowest at 0:

    >>> import numpy as np
    >>> from numba import njit
    >>> from fastopt import multistart
    >>> @njit
    ... def rastrigin(x):
    ...     turn = 2 * np.pi * x
    ...     return (x**2 - 10 * np.cos(turn) + 10).sum(), 2 * x + 20 * np.pi * np.sin(turn)
    >>> result = multistart(rastrigin, [(-2.1, 2.3)] * 2, starts=256, method="bfgs", jac=True)
    >>> bool(result.fun < 1e-9), result.batch.x.shape
    (True, (256, 2))
    """
    low, high = _box(bounds)
    points = _points(low, high, starts, sampler, rng)
    batch = minimize_many(
        fun,
        points,
        args,
        method=method,
        jac=jac,
        hess=hess,
        hessp=hessp,
        bounds=Bounds(low, high) if method is None or _takes_bounds(method) else None,
        tol=tol,
        callback=callback,
        options=options,
        workers=workers,
    )
    best = batch.best
    if best is None:
        if batch.errors:
            raise next(iter(batch.errors.values()))
        unseen = np.flatnonzero(batch.nfev == 0)  # the time was over before
        if not len(unseen):
            raise ValueError(f"`fun` must be finite at one of the {len(points)} starts, got none")
        best = int(unseen[0])
    return _Lowest(
        x=batch.x[best].copy(),
        fun=float(batch.fun[best]),
        jac=batch.jac[best].copy(),
        nit=int(batch.nit[best]),
        nfev=int(batch.nfev.sum()),
        njev=int(batch.njev.sum()),
        nhev=int(batch.nhev.sum()),
        status=int(batch.status[best]),
        success=bool(batch.success[best]),
        message=batch.message[best],
        converged_to=batch.converged_to[best],
        method=batch.method,
        library=batch.library,
        start=points[best].copy(),
        index=best,
        batch=batch,
    )


# Of SciPy's methods.
_BOUNDED = ("tnc", "slsqp", "powell", "nelder-mead", "trust-constr", "cobyla", "cobyqa")


def _takes_bounds(method: Any) -> bool:
    if not isinstance(method, str):
        return False
    row = find_method(method)
    return method.lower() in _BOUNDED if row is None else row.takes_bounds


def _box(bounds: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lower and the upper bounds, all finite."""
    if isinstance(bounds, np.ndarray):
        if bounds.ndim != 2 or bounds.shape[1] != 2:
            raise ValueError(
                "`bounds` must be a Bounds or a sequence of pairs (low, high), got an array of "
                f"shape {bounds.shape}"
            )
    elif not isinstance(bounds, Bounds):
        try:
            bounds = list(bounds)
        except TypeError:
            raise TypeError(
                "`bounds` must be a Bounds or a sequence of pairs (low, high), got an object of "
                f"type {type(bounds).__name__}"
            ) from None
    n = max(len(bounds.lb), len(bounds.ub)) if isinstance(bounds, Bounds) else len(bounds)
    low, high = bound_arrays(bounds, n)
    wide = np.isfinite(low) & np.isfinite(high) & (low <= high)
    if n == 0 or not wide.all():
        at = int(wide.argmin()) if n else 0
        got = f"({low[at]}, {high[at]}) at index {at}" if n else "none"
        raise ValueError(f"`bounds` must be finite, low <= high, for each variable, got {got}")
    return low, high


def _points(
    low: NDArray[np.float64], high: NDArray[np.float64], starts: Any, sampler: Any, rng: Any
) -> NDArray[np.float64]:
    """The starts, of shape (B, n)."""
    n = len(low)
    if not isinstance(starts, numbers.Integral):
        points = real_array("starts", "an integer or a two-dimensional array", starts)
        if points.ndim != 2 or points.shape[1] != n or not len(points):
            raise ValueError(
                f"`starts` must be a positive integer or an array of shape (B, {n}), got an array "
                f"of shape {points.shape}"
            )
        if not np.isfinite(points).all():
            row, column = (int(k) for k in np.argwhere(~np.isfinite(points))[0])
            value = float(points[row, column])
            raise ValueError(
                f"`starts` must be finite, got {value!r} in row {row}, at index {column}"
            )
        return points
    if isinstance(starts, bool) or starts < 1:
        raise ValueError(f"`starts` must be a positive integer or an array, got {starts}")
    if int(starts) > MOST_STARTS:
        raise ValueError(f"`starts` must be at most 2**30, got {starts}")
    unit = _unit_points(sampler, int(starts), n, _generator(rng))
    return np.clip(low * (1.0 - unit) + high * unit, low, high)  # high - low may overflow


def _generator(rng: Any) -> np.random.Generator:
    # NumPy tries any sequence for a seed, and does not survive a np.matrix.
    kinds = np.random.Generator | np.random.BitGenerator | np.random.SeedSequence | int | np.integer
    if rng is not None and (isinstance(rng, bool) or not isinstance(rng, kinds)):
        raise TypeError(
            "`rng` must be a nonnegative integer or a numpy.random.Generator, got an object of "
            f"type {type(rng).__name__}"
        )
    if isinstance(rng, int | np.integer) and rng < 0:
        raise ValueError(
            f"`rng` must be a nonnegative integer or a numpy.random.Generator, got {rng}"
        )
    return np.random.default_rng(0 if rng is None else rng)


def _unit_points(
    sampler: Any, count: int, n: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    if isinstance(sampler, str) and sampler not in SAMPLERS:
        names = ", ".join(map(repr, SAMPLERS))
        raise ValueError(f"`sampler` must be one of {names}, got {sampler!r}")
    from scipy.stats import qmc  # takes half a second to load

    if not isinstance(sampler, str):
        expected = f"`sampler` must be a string or a QMCEngine for {n} variables"
        if not isinstance(sampler, qmc.QMCEngine):
            raise TypeError(f"{expected}, got {type(sampler).__name__}")
        if sampler.d != n:
            raise ValueError(f"{expected}, got one for {sampler.d}")
        return np.asarray(sampler.random(count))
    if sampler == "uniform":
        return generator.random((count, n))
    if sampler == "sobol":
        # Whole powers of two are balanced; the rest is left out.
        engine = qmc.Sobol(n, rng=generator)
        return np.asarray(engine.random_base2(math.ceil(math.log2(count)))[:count])
    kind = qmc.Halton if sampler == "halton" else qmc.LatinHypercube
    return np.asarray(kind(n, rng=generator).random(count))
