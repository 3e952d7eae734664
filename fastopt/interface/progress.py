"""What a running solve tells its user: history, callbacks, progress bar, printed summary.

Each observer reads a `SolverState` between two iterations and never changes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from fastopt.core.validate import UNLIMITED, check_callable

if TYPE_CHECKING:
    from fastopt.solvers.state import SolverState

__all__ = ["CountingBar", "History", "ProgressBar", "observer_of", "print_summary"]

# Names and types of the columns of a trace.
_COLUMNS = {
    "nit": np.int64,
    "nfev": np.int64,
    "njev": np.int64,
    "time": np.float64,
    "fun": np.float64,
    "gnorm": np.float64,
    "step": np.float64,
}


class History:
    """The rows behind a result's ``trace`` and ``allvecs``: the start, then each iteration."""

    def __init__(self, *, trace: bool, return_all: bool) -> None:
        self._rows: list[tuple[float, ...]] | None = [] if trace else None
        self._points: list[NDArray[np.float64]] | None = [] if return_all else None
        self._nit = -1  # of the last row

    def record(self, state: SolverState, time: float) -> None:
        """Add a row for the last iterate, unless it has one."""
        if not state.started or state.nit == self._nit:
            return
        if self._rows is not None:
            gnorm = state.gradient_norm
            self._rows.append(
                (state.nit, state.nfev, state.njev, time, state.last_fun, gnorm, state.step)
            )
        if self._points is not None:
            self._points.append(state.last_x)
        self._nit = state.nit

    def add_to(self, result: OptimizeResult) -> None:
        if self._rows is not None:
            columns = zip(*self._rows, strict=True) if self._rows else [()] * len(_COLUMNS)
            result["trace"] = {
                name: np.array(column, dtype=dtype)
                for (name, dtype), column in zip(_COLUMNS.items(), columns, strict=True)
            }
        if self._points is not None:
            result["allvecs"] = [point.copy() for point in self._points]


def observer_of(
    callback: Callable[..., Any],
    describe: Callable[[SolverState], OptimizeResult] | None = None,
) -> Callable[[SolverState], None]:
    """What calls `callback` by the one of SciPy's two protocols that its signature asks for.

    A callback whose only parameter is called ``intermediate_result`` gets an OptimizeResult by
    that name; any other gets a copy of x. `describe` makes the former, where it is not to be what
    the state says of its last iterate.
    """
    check_callable("callback", callback)
    try:
        parameters = set(inspect.signature(callback).parameters)
    except (TypeError, ValueError):  # some builtins have no signature to inspect
        parameters = set()
    if parameters == {"intermediate_result"}:
        described = describe or intermediate_result
        return lambda state: callback(intermediate_result=described(state))
    if describe is not None:
        return lambda state: callback(describe(state).x)
    return lambda state: callback(state.last_x)


def intermediate_result(state: SolverState) -> OptimizeResult:
    return OptimizeResult(
        x=state.last_x,
        fun=state.last_fun,
        jac=state.last_jac,
        nit=state.nit,
        nfev=state.nfev,
        njev=state.njev,
        step=state.step,
    )


class ProgressBar:
    """A tqdm bar over the iterations, with the function's value and the gradient's norm."""

    def __init__(self, title: str, done: int, maxiter: int) -> None:
        total = None if maxiter >= UNLIMITED else maxiter
        self._bar = _tqdm()(total=total, initial=done, desc=title, unit="it")

    def update(self, state: SolverState) -> None:
        gnorm = state.gradient_norm
        self._bar.set_postfix_str(f"f={state.last_fun:.6g}, |g|={gnorm:.3g}", refresh=False)
        self._bar.update(state.nit - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class CountingBar:
    """A tqdm bar over things that are counted as they come."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._bar = _tqdm()(total=total, desc=title, unit=unit)

    def update(self, more: int) -> None:
        self._bar.update(more)

    def close(self) -> None:
        self._bar.close()


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "`progress` needs tqdm, which is not installed: pip install 'fastopt[demo]'"
        ) from error
    return tqdm


def print_summary(result: OptimizeResult) -> None:
    print(result.message)
    print(f"  Function value:       {result.fun:.10g}")
    print(f"  Iterations:           {result.nit}")
    print(f"  Function evaluations: {result.nfev}")
    print(f"  Gradient evaluations: {result.njev}")
