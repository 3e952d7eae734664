"""`minimize` for an x0 on a GPU: by the first-order methods, whose state stays there.

Owns the checks of what can be asked of such a solve, and when it is looked at. Importing this
module imports numba-cuda.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from fastopt.core.abi import Status
from fastopt.core.result import ENDINGS
from fastopt.core.validate import check_callable
from fastopt.device.arrays import DeviceArray, describe, is_device_array
from fastopt.interface.methods import METHODS, Method, find_method
from fastopt.interface.options import as_mapping, read_options
from fastopt.interface.progress import observer_of, print_summary
from fastopt.interface.tuples import Options
from fastopt.solvers.device_first_order import DeviceFirstOrder, Facts
from fastopt.solvers.device_stepper import device_vector

__all__ = ["minimize_on_gpu"]

# A look at the state waits for the GPU: after 1, 2, 4, ... evaluations, and then after so many.
_EVALUATIONS_BETWEEN_LOOKS = 32
# What would have to be read back in every iteration, or is for functions of the CPU.
_REFUSED = frozenset(
    (
        *("xtol", "norm", "trace", "return_all", "progress"),
        *("finite_diff_rel_step", "workers", "compile"),
    )
)


def minimize_on_gpu(
    fun: Callable[..., Any],
    x0: Any,
    args: Any,
    method: Any,
    jac: Any,
    others: Mapping[str, Any],
    tol: float | None,
    callback: Callable[..., Any] | None,
    options: Mapping[str, Any] | Options | None,
) -> OptimizeResult:
    """`minimize` for an array on a GPU.

    Parameters
    ----------
    fun, x0, args, method, jac, tol, callback, options
        As `minimize` has them.
    others : mapping
        Its other arguments, by name, which have to be None.

    Returns
    -------
    OptimizeResult
        With ``x`` and ``jac`` on the GPU.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or cannot be had on a GPU.
    """
    row = _find_row(method)
    check_callable("fun", fun)
    if jac is not True and not callable(jac):
        raise ValueError(
            "`jac` must be True or callable where `x0` is on a GPU, where there are no finite "
            f"differences, got {jac!r}"
        )
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"`{name}` must be None where `x0` is on a GPU")
    start = device_vector("x0", x0, written=False)
    settings, controls = read_options(row, options, tol, start.size)
    _refuse_options(row, as_mapping(options))
    args = tuple(args) if isinstance(args, tuple) else (args,)
    loop = _Loop(fun, jac, args, DeviceFirstOrder(start, settings))
    observe = None if callback is None else observer_of(callback, _describe)  # type: ignore[arg-type]
    try:
        status = loop.run(settings["maxiter"], settings["maxfev"], controls.maxtime, observe)
    except KeyboardInterrupt:
        if controls.on_interrupt == "raise" or loop.nfev == 0:
            raise
        status = Status.INTERRUPTED
    result = loop.result(status, row.name)
    if controls.disp:
        print_summary(result)
    return result


class _Loop:
    """Evaluations, one after the other, and what is known of them on the CPU."""

    def __init__(
        self, fun: Callable[..., Any], jac: Any, args: tuple[Any, ...], solve: DeviceFirstOrder
    ) -> None:
        self._fun, self._jac, self._args = fun, jac, args
        self.solve = solve
        self.nfev = 0
        self.facts = Facts()

    def run(
        self,
        maxiter: int,
        maxfev: int,
        maxtime: float,
        observe: Callable[[Any], None] | None,
    ) -> Status:
        """Evaluate and step until there is a reason to stop."""
        solve, end = self.solve, perf_counter() + maxtime
        next_look = 1
        while True:
            solve.judge(*self._evaluate())
            self.nfev += 1
            due = self.nfev in (next_look, maxiter + 1, maxfev) or perf_counter() >= end
            if due or observe is not None:
                nit = self.facts.nit
                self.facts = solve.look()
                next_look = self.nfev + min(self.nfev, _EVALUATIONS_BETWEEN_LOOKS)
                if observe is not None and self.facts.nit > nit:
                    try:
                        observe(self)
                    except StopIteration:
                        return Status.CALLBACK
                if self.facts.status != Status.RUNNING:
                    return Status(int(self.facts.status))
                if self.nfev >= maxfev:
                    return Status.MAXFEV
                if perf_counter() >= end:
                    return Status.MAXTIME
            solve.step()

    def _evaluate(self) -> tuple[DeviceArray | float, DeviceArray]:
        x = self.solve.x
        if self._jac is True:
            answer = self._fun(x, *self._args)
            if not isinstance(answer, tuple | list) or len(answer) != 2:
                raise TypeError(
                    "`fun` must return the pair (value, gradient) with jac=True, got an object of "
                    f"type {type(answer).__name__}"
                )
            value, grad = answer
        else:
            value, grad = self._fun(x, *self._args), self._jac(x, *self._args)
        gradient = self.solve.read_gradient(grad)
        if gradient is None:
            array = describe(x)
            raise TypeError(
                "the gradient must be a contiguous array on the GPU of shape "
                f"{array.shape} and dtype {array.dtype}, got {_described(grad)}"
            )
        return _read_value(value), gradient

    def result(self, status: Status, method: str) -> OptimizeResult:
        """What `minimize` returns."""
        facts = self.facts = self.solve.look()
        ending = ENDINGS[status]
        x, fun, jac = self.solve.answer(facts, status)
        return OptimizeResult(
            x=x,
            fun=fun,
            jac=jac,
            nit=int(facts.nit),
            nfev=self.nfev,
            njev=self.nfev,
            nhev=0,
            status=ending.status,
            success=ending.success,
            message=ending.message,
            converged_to=ending.converged_to,
            method=method,
            library="fastopt",
        )


def _describe(loop: _Loop) -> OptimizeResult:
    """What a callback gets: as on the CPU, but for the length of the last step."""
    x, jac = loop.solve.current()
    facts = loop.facts
    return OptimizeResult(
        x=x, fun=facts.value, jac=jac, nit=int(facts.nit), nfev=loop.nfev, njev=loop.nfev
    )


def _find_row(method: Any) -> Method:
    row = find_method(method) if isinstance(method, str) else None
    if row is None or row.rule is None:
        able = ", ".join(repr(name) for name, each in METHODS.items() if each.rule is not None)
        raise TypeError(f"`method` must be one of {able} where `x0` is on a GPU, got {method!r}")
    return row


def _refuse_options(row: Method, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name not in _REFUSED or value is None or value is False:
            continue
        default = row.options[name].default
        if not np.array_equal(value, default):
            raise ValueError(f"`{name}` must be {default!r} where `x0` is on a GPU, got {value!r}")


def _read_value(value: Any) -> DeviceArray | float:
    """The function's value: an array of one number on the GPU, or a number."""
    if is_device_array(value):
        array = describe(value)
        if array.size != 1 or array.dtype.name not in ("float32", "float64"):
            raise TypeError(
                "the value of `fun` must be one number of float32 or float64, got "
                f"{_described(value)}"
            )
        return array
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"the value of `fun` must be a number or an array of one, got {_described(value)}"
        ) from None


def _described(value: Any) -> str:
    if is_device_array(value):
        array = describe(value)
        gaps = "" if array.strides is None else f" and strides {array.strides}"
        return f"an array of shape {array.shape} and dtype {array.dtype}{gaps} on the GPU"
    return f"an object of type {type(value).__name__}"
