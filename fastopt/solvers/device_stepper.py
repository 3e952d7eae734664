"""A vector of parameters on a GPU that a rule steps in place.

Owns the slots, the number of the step, what a step is launched with, and the division of the vector
into groups, as :mod:`fastopt.training.stepper` does for vectors of the CPU. Knows nothing of
options and their names, which have been checked. Importing this module imports numba-cuda.

No step waits for the GPU, and none but the first makes anything. Where steps are `stored`, all that
a step depends on is in the GPU's memory, the number of the step too, so that a CUDA graph can hold
one; and a step may turn out on the GPU to be one that is not taken.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.device import driver
from fastopt.device.arrays import DeviceArray, describe, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.streams import handle_of, on_stream
from fastopt.rules._precision import in_double, in_own_precision
from fastopt.rules.device_gradients import SURVEYED, limit_kernel, survey_blocks, survey_kernel
from fastopt.rules.device_steps import (
    SHAPING,
    blocks_of,
    coefficient_count,
    fill_kernel,
    numbers_kernel,
    step_kernel,
)
from fastopt.rules.steps import rule_functions
from fastopt.rules.table import find_rule
from fastopt.schedules._multiplier import multiplier

__all__ = ["DeviceRule", "DeviceStepper", "device_vector"]

_PRECISIONS = ("float32", "float64")


def device_vector(name: str, value: Any, written: bool = True) -> DeviceArray:
    """A vector of a GPU that is to be stepped in place, or, if it is not written, to be copied."""
    array = describe(value)
    if array.dtype.name not in _PRECISIONS:
        raise TypeError(f"`{name}` must be an array of float32 or float64, got dtype {array.dtype}")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"`{name}` must be one-dimensional with at least one element, got an array of shape "
            f"{array.shape}"
        )
    if array.strides is not None:
        raise ValueError(f"`{name}` must be contiguous, got an array with strides {array.strides}")
    if written and not array.writeable:
        raise ValueError(f"`{name}` must be writeable, got a read-only array")
    return array


class DeviceRule:
    """A rule with its numbers: what `BoundRule` is for vectors of the CPU.

    Parameters
    ----------
    settings : dict
        As `BoundRule` takes them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.row = find_rule(settings["rule"], settings.get("flavor", "textbook"))
        self.names = tuple(each.name for each in self.row.hyperparameters)
        self.numbers = list(map(float, settings["hyperparameters"]))
        self.weight_decay = float(settings.get("weight_decay", 0.0))
        self.clip_norm = float(settings.get("clip_norm", math.inf))
        self.clip_value = float(settings.get("clip_value", math.inf))
        self.schedule = settings.get("schedule")
        self.tell: Callable[[DeviceRule], None] | None = None  # whom to tell of new numbers

    def get(self, name: str) -> float:
        """A hyperparameter by its name, or the gradient's ``weight_decay``."""
        if name in self.names:
            return self.numbers[self.names.index(name)]
        assert name == "weight_decay"
        return self.weight_decay

    def set(self, name: str, value: float) -> None:
        """Set it, for the next step."""
        if name in self.names:
            self.numbers[self.names.index(name)] = value
        else:
            self.weight_decay = value
        if self.tell is not None:
            self.tell(self)


class DeviceStepper:
    """Parameters, slots, and a rule for each group of parameters.

    Parameters
    ----------
    theta : array of a GPU
        The parameters, see `device_vector`; kept, and stepped in place.
    rules : list of DeviceRule
        One for each group, all of one rule in one flavor, with one schedule and one clipping.
    pieces : list of (start, stop, group)
        Which parameters belong to which group: all of them, each to one.
    stored : bool, default False
        Whether all that a step depends on is to be in the GPU's memory.
    nonfinite : {"propagate", "skip", "raise"}, default "propagate"
        With "skip", steps along gradients that are not finite are left out; they are then stored.
        With "raise", `is_finite` is asked before each step.

    Attributes
    ----------
    theta, slots : array, list of array
        Of the library that made `theta`.
    array : DeviceArray
        `theta`, as kernels see it.
    control : DeviceArray
        What multiplies the gradient in a step, and whether there is to be one.
    found, blocks : DeviceArray, int
        What `survey` has found, and how many blocks have found it.
    """

    def __init__(
        self,
        theta: Any,
        rules: Sequence[DeviceRule],
        pieces: Sequence[tuple[int, int, int]],
        stored: bool = False,
        nonfinite: str = "propagate",
    ) -> None:
        first = rules[0]
        self.theta = theta
        self.array = array = describe(theta)
        self._row, self._rules, self._pieces = first.row, list(rules), list(pieces)
        self._skips = nonfinite == "skip"
        self._stored, self._capturable = stored or self._skips, stored
        self._clip_norm, self._clip_value = first.clip_norm, first.clip_value
        self._surveys = nonfinite != "raise" and (self._skips or first.clip_norm < math.inf)
        self._decoupled = first.row.flavor == "keras"
        self._t = self._skipped = 0
        self._stream = array.stream or 0
        self._dtype = array.dtype.name
        self._kernels: dict[tuple[int, str], Kernel] = {}
        self._coefficients = rule_functions(first.row.name, first.row.flavor)[1]
        self._number = in_own_precision if first.row.single else in_double
        self._scheduled = [first.names.index(name) for name in first.row.scheduled]
        self._table: tuple[float, ...] = ()
        if first.schedule is not None:
            self._table = tuple(first.schedule.table.ravel().tolist())
        self._rows = 0 if first.schedule is None else len(first.schedule.table)
        with on_stream(self._stream):
            self._allocate()
        for rule in rules:
            rule.tell = self._send if self._stored else None

    def _allocate(self) -> None:
        array, row = self.array, self._row
        self._slots = [array.empty(array.shape) for _ in range(row.slots)]
        self.slots = [slot.owner for slot in self._slots]
        self._vectors = [array.address, *(slot.address for slot in self._slots)]
        self._aligned = is_aligned(array, *self._slots)
        for slot in self._slots:
            self._fill(slot)
        self.control = array.holding(np.ones(2, array.dtype))
        self.blocks = survey_blocks(array.size)
        self.found = array.empty((SURVEYED * self.blocks,), np.float64)
        if self._stored:
            groups = len(self._rules)
            self._counts = array.holding(np.zeros(2, np.int64))
            self._hyper = array.holding(
                np.array([[*rule.numbers, rule.weight_decay] for rule in self._rules])
            )
            self._table_there = array.holding(np.array(self._table or (0.0,)))
            self._stride = len(SHAPING) + coefficient_count(row)
            self._numbers = array.empty((groups * self._stride,))
            self._numbers_kernel = numbers_kernel(
                row, self._dtype, multiplier if self._rows else None, self._decoupled
            )

    def _fill(self, array: DeviceArray) -> None:
        fill_kernel(self._dtype).launch((blocks_of(0, array.size, 1),), array.address, array.size)

    # --- stepping

    def read(self, grad: Any) -> DeviceArray | None:
        """`grad` as kernels see it; None if it is no array that can be stepped along."""
        try:
            array, theta = describe(grad), self.array
        except AttributeError:  # asked for only once, since PyTorch takes its time to answer
            return None
        fits = (
            array.dtype == theta.dtype
            and array.shape == theta.shape
            and array.strides is None
            and array.address % theta.dtype.itemsize == 0
        )
        return array if fits else None

    def step(self, grad: Any, stream: Any = None) -> bool:
        """One step along `grad`, on a stream or on the one on which `grad` is made.

        False, and nothing is changed, if it does not fit.
        """
        array = self.read(grad)
        if array is None:
            return False
        self._stream = (array.stream or 0) if stream is None else handle_of(stream)
        with on_stream(self._stream):
            if self._surveys:
                self._limit(array, self._skips)
            self.take(array)
        return True

    def _limit(self, grad: DeviceArray, careful: bool) -> None:
        """Find out on the device what `control` is to say."""
        self.survey(grad)
        limit_kernel(self._dtype).launch(
            (1,), self.found.address, self.blocks, self._clip_norm, careful, self.control.address
        )

    def survey(self, grad: DeviceArray) -> None:
        """Look through a gradient, on the current stream."""
        survey_kernel(self._dtype, self._width(grad)).launch(
            (self.blocks,), grad.address, grad.size, self.found.address
        )

    def take(self, grad: DeviceArray) -> None:
        """One step on the current stream, as `control` says."""
        width = self._width(grad)
        address = grad.address
        theta, *slots = self._vectors
        numbers: list[tuple[str, Sequence[float]]]
        if self._stored:
            self._store_numbers()
            size = self._stride * self.array.dtype.itemsize
            first = self._numbers.address
            numbers = [("stored", (first + k * size,)) for k in range(len(self._rules))]
        else:
            self._t += 1
            numbers = [self._numbers_of(rule) for rule in self._rules]
        for start, stop, group in self._pieces:
            form, arguments = numbers[group]
            kernel = self._kernels.get((width, form))
            if kernel is None:
                kernel = step_kernel(self._row, self._dtype, width, form)
                self._kernels[width, form] = kernel
            blocks = blocks_of(start, stop, width)
            kernel.launch((blocks,), theta, address, *slots, start, stop, *arguments)

    def _width(self, grad: DeviceArray) -> int:
        """How many numbers can be read at once."""
        return 4 if self._aligned and is_aligned(grad) else 1

    def _numbers_of(self, rule: DeviceRule) -> tuple[str, Sequence[float]]:
        """The form of a step, and what it is launched with besides the vectors."""
        numbers, t = rule.numbers, self._t
        if self._rows:
            numbers = numbers.copy()
            factor = multiplier(self._table, self._rows, t)
            for k in self._scheduled:
                numbers[k] *= factor
        try:
            coefficients = self._coefficients(self._number(t, self.array), *numbers)
        except ZeroDivisionError:  # where compiled code divides, and goes on with what it gets
            coefficients = (math.nan,) * coefficient_count(self._row)
        decay = rule.weight_decay
        if decay == 0 and self._clip_norm == self._clip_value == math.inf:
            return "plain", coefficients
        shrink = 0.0
        if self._decoupled:
            decay, shrink = 0.0, decay * numbers[0] if "lr" in rule.names else 0.0
        return "shaped", (self.control.address, self._clip_value, decay, shrink, *coefficients)

    def _store_numbers(self) -> None:
        self._numbers_kernel.launch(
            (1,),
            *(self.control.address, self._counts.address, self._hyper.address),
            *(self._table_there.address, self._rows, self._clip_value),
            *(self._numbers.address, len(self._rules)),
        )

    def _send(self, rule: DeviceRule) -> None:
        """Put new numbers of a rule where steps find them."""
        values = [*rule.numbers, rule.weight_decay]
        place = self._hyper.address + 8 * len(values) * self._rules.index(rule)
        self._write(place, struct.pack(f"{len(values)}d", *values))

    # --- what waits for the GPU

    def is_finite(self, grad: Any, stream: Any = None) -> bool:
        """Whether all of a gradient that fits is finite; then a step along it may follow."""
        array = describe(grad)
        self._stream = (array.stream or 0) if stream is None else handle_of(stream)
        with on_stream(self._stream):
            self._limit(array, True)
        return bool(self.read_back(self.control)[1])

    @property
    def t(self) -> int:
        """Steps taken."""
        return int(self._settled(self._counts)[0]) if self._stored else self._t

    @t.setter
    def t(self, t: int) -> None:
        self._t = t
        if self._stored:
            self._write(self._counts.address, struct.pack("q", t))

    @property
    def skipped(self) -> int:
        """Steps left out."""
        return int(self._settled(self._counts)[1]) if self._skips else self._skipped

    @skipped.setter
    def skipped(self, skipped: int) -> None:
        self._skipped = skipped
        if self._skips:
            self._write(self._counts.address + 8, struct.pack("q", skipped))

    def read_slots(self) -> list[NDArray[Any]]:
        """The slots, on the CPU."""
        return [self._settled(slot) for slot in self._slots]

    def write_slots(self, values: Sequence[NDArray[Any]]) -> None:
        """Fill the slots with arrays of the CPU."""
        for slot, array in zip(self._slots, values, strict=True):
            self._write(slot.address, array.tobytes())

    def read_back(self, array: DeviceArray) -> NDArray[Any]:
        """A contiguous array, on the CPU, as it is after the last step that was launched here."""
        return self._read(array, self._stream)

    # A step that was captured as a CUDA graph is taken again on a stream that nobody knows.

    def _settled(self, array: DeviceArray) -> NDArray[Any]:
        """A contiguous array, on the CPU, as it is after all steps."""
        driver.current().wait()
        return self._read(array, 0)

    @staticmethod
    def _read(array: DeviceArray, stream: int) -> NDArray[Any]:
        with on_stream(stream):
            data = driver.current().read(array.address, array.nbytes)
        return np.frombuffer(data, array.dtype).reshape(array.shape).copy()

    def _write(self, address: int, data: bytes) -> None:
        """Put bytes behind all steps that there were, and before all that there will be."""
        device = driver.current()
        if not self._capturable:
            with on_stream(self._stream):
                device.write(address, data)
            return
        device.wait()
        with on_stream(0):
            device.write(address, data)
        device.wait()
