"""First-order methods for a vector on a GPU, whose state is there as well.

Owns the iteration: what becomes of a value and a gradient, decided on the GPU as
:mod:`fastopt.solvers.first_order` and :mod:`fastopt.solvers.iteration` decide it on the CPU. Once a
solve has ended nothing changes any more, so that whoever drives it may look up that it has ended
some evaluations later. Importing this module imports numba-cuda.
"""

# Functions of kernels are compiled for types that Numba finds.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math
import struct
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastopt.core.abi import Status
from fastopt.device import driver
from fastopt.device.arrays import DeviceArray
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, float64, int32, int64, number_type, pointer
from fastopt.device.streams import on_stream
from fastopt.rules.device_gradients import gathering
from fastopt.solvers.device_stepper import DeviceRule, DeviceStepper

__all__ = ["DeviceFirstOrder", "Facts"]

_THREADS = 256
_ROOM = 8
# At these the answer is where the test holds, at others the lowest point.
_HERE = (Status.GTOL, Status.FTOL, Status.STOPVAL)


class Facts(NamedTuple):
    """The state of a solve, which is in the GPU's memory as so many float64.

    Attributes
    ----------
    status : float
        A `Status`.
    started : float
        1 once the function was finite at x0.
    nit : float
        Iterations.
    value : float
        At the current point, or at x0 where it is not finite.
    lowest : float
        The value of the lowest point seen.
    """

    status: float = float(Status.RUNNING)
    started: float = 0.0
    nit: float = 0.0
    value: float = math.nan
    lowest: float = math.inf


class DeviceFirstOrder:
    """One solve.

    Parameters
    ----------
    x0 : DeviceArray
        Where it starts; copied.
    settings : dict
        As `BoundRule` takes them, and ``gtol``, ``ftol``, ``stopval`` and ``maxiter``.
    """

    def __init__(self, x0: DeviceArray, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._dtype = x0.dtype.name
        with on_stream(x0.stream or 0):
            self._x = x0.empty(x0.shape)
            self._lowest = x0.empty((2 * x0.size,))  # the point, and its gradient
            self._facts = x0.holding(np.array(Facts()))
            self._value = x0.holding(np.zeros(1))
            # Whether the last point is the lowest; and true.
            self._flags = x0.holding(np.array([0.0, 1.0], x0.dtype))
            self._copy(x0, self._x.address, always=True)
            self._stepper = DeviceStepper(
                self._x.owner, [DeviceRule(settings)], [(0, x0.size, 0)], stored=True
            )
        self._stream = x0.stream or 0
        self._grad: DeviceArray | None = None

    @property
    def x(self) -> Any:
        """The current point, an array of x0's library; it is stepped in place."""
        return self._x.owner

    def read_gradient(self, grad: Any) -> DeviceArray | None:
        """`grad` as kernels see it; None if it is none."""
        return self._stepper.read(grad)

    def judge(self, value: DeviceArray | float, grad: DeviceArray) -> None:
        """Take note of the value and the gradient at `x`."""
        self._stream, self._grad = grad.stream or 0, grad
        settings, stepper, facts = self._settings, self._stepper, self._facts
        with on_stream(self._stream):
            if not isinstance(value, DeviceArray):
                driver.current().write(self._value.address, struct.pack("d", value))
                value = self._value
            stepper.survey(grad)
            _judge_kernel(self._dtype, value.dtype.name).launch(
                (1,),
                *(value.address, stepper.found.address, stepper.blocks),
                *(settings["gtol"], settings["ftol"], settings["stopval"], settings["maxiter"]),
                *(settings["clip_norm"], facts.address, stepper.control.address),
                self._flags.address,
            )
            n = self._x.size
            self._copy(self._x, self._lowest.address)
            self._copy(grad, self._lowest.address + n * grad.dtype.itemsize)

    def step(self) -> None:
        """Step `x` along the gradient, if the solve has not ended."""
        assert self._grad is not None
        with on_stream(self._stream):
            self._stepper.take(self._grad)

    def _copy(self, source: DeviceArray, to: int, always: bool = False) -> None:
        n = source.size
        when = self._flags.address + always * self._flags.dtype.itemsize
        _copy_kernel(self._dtype).launch((-(-n // _THREADS),), source.address, to, n, when)

    # --- what waits for the GPU

    def look(self) -> Facts:
        """The state after the last point that was judged."""
        with on_stream(self._stream):
            data = driver.current().read(self._facts.address, self._facts.nbytes)
        return Facts(*struct.unpack(f"{len(Facts._fields)}d", data))

    def answer(self, facts: Facts, status: Status) -> tuple[Any, float, Any]:
        """The point that a result holds, with value and gradient; arrays of their own."""
        if status in _HERE or not facts.started:
            here, gradient = self.current()
            return here, facts.value, gradient
        n = self._x.size
        with on_stream(self._stream):
            x, grad = (self._x.empty((n,)) for _ in range(2))
            self._copy(self._lowest.part(0, (n,)), x.address, always=True)
            self._copy(self._lowest.part(n, (n,)), grad.address, always=True)
        return x.owner, facts.lowest, grad.owner

    def current(self) -> tuple[Any, Any]:
        """Copies of the current point and of the gradient there."""
        assert self._grad is not None
        with on_stream(self._stream):
            copies = []
            for source in (self._x, self._grad):
                copy = self._x.empty(self._x.shape)
                self._copy(source, copy.address, always=True)
                copies.append(copy.owner)
        return copies[0], copies[1]


@cache
def _judge_kernel(dtype: str, value_dtype: str) -> Kernel:
    """What becomes of a value and a gradient, by one block, in float64."""
    real, number = number_type(dtype), number_type(value_dtype)
    gather = gathering()
    running, gtol_holds, ftol_holds, stopval_holds, out_of_iterations, unbounded = (
        float(status)
        for status in (
            *(Status.RUNNING, Status.GTOL, Status.FTOL, Status.STOPVAL),
            *(Status.MAXITER, Status.UNBOUNDED),
        )
    )
    not_finite, diverged = float(Status.NOT_FINITE), float(Status.DIVERGED)
    bottom = -math.inf
    at_status, at_started, at_nit, at_value, at_lowest = range(len(Facts._fields))

    def judge(value, found, blocks, gtol, ftol, stopval, maxiter, longest, facts, control, flags):
        room = cuda.shared.array(_ROOM, float64)
        room_of_scaled = cuda.shared.array(_ROOM, float64)
        room_of_largest = cuda.shared.array(_ROOM, float64)
        thread = int32(cuda.threadIdx.x)
        length, largest = gather(found, blocks, room, room_of_scaled, room_of_largest, thread)
        if thread == 0:
            new, previous = float64(value[0]), facts[at_value]
            status, first = facts[at_status], facts[at_started] == 0.0
            lower = False
            if status == running:
                if new == bottom:
                    status = unbounded
                elif new - new != 0.0 or largest - largest != 0.0:
                    status = not_finite if first else diverged
                if status == running or first:
                    facts[at_value] = new
                if status == running:
                    nit = 0.0 if first else facts[at_nit] + 1.0
                    facts[at_started] = 1.0
                    facts[at_nit] = nit
                    lower = new < facts[at_lowest]
                    if lower:
                        facts[at_lowest] = new
                    size = 1.0
                    if abs(new) > size:
                        size = abs(new)
                    if abs(previous) > size:
                        size = abs(previous)
                    if new <= stopval:
                        status = stopval_holds
                    elif largest <= gtol:
                        status = gtol_holds
                    elif nit > 0.0 and ftol > 0.0 and abs(previous - new) <= ftol * size:
                        status = ftol_holds
                    elif nit >= maxiter:
                        status = out_of_iterations
                facts[at_status] = status
            control[0] = real(longest / length) if length > longest else real(1)
            control[1] = real(1) if status == running else real(0)
            flags[0] = real(1) if lower else real(0)

    doubles, reals = pointer(float64), pointer(real)
    kinds = [pointer(number), doubles, int32, *[float64] * 5, doubles, reals, reals]
    return Kernel(judge, kinds, _THREADS)


@cache
def _copy_kernel(dtype: str) -> Kernel:
    """Copies n numbers, if another number is not 0."""
    real = number_type(dtype)

    def copy(source, to, n, when):
        i = int64(cuda.blockIdx.x) * int64(_THREADS) + int64(cuda.threadIdx.x)
        if i < n and when[0] != real(0):
            to[i] = source[i]

    return Kernel(copy, [pointer(real), pointer(real), int64, pointer(real)], _THREADS)
