"""An emulator of a GPU: kernels of fastopt run as the Python they are written in, with checks.

Owns what the words of :mod:`fastopt.device.language` mean on a CPU. Each thread of a block is a
greenlet; the threads of a warp stop at shuffles, those of a block at barriers. What a GPU would
pass over is an error here: access outside an array or to memory that was freed, vectors that are
not aligned, barriers and shuffles that not all threads reach, integers that do not fit, and shared
memory that one thread writes and another uses without a barrier between. Memory that nobody wrote
to holds NaN, or -1.

Its limits: numbers are Python's, so that float32 is rounded where it is stored and int32 where it
is made, and there is one order in which threads run.
"""

from __future__ import annotations

import ctypes
import math
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from greenlet import getcurrent, greenlet
from numpy.typing import NDArray

from fastopt.device import driver, language
from fastopt.device.arrays import ALLOCATORS
from fastopt.device.kernel import Kernel

__all__ = ["EmulatedArray", "EmulatedDevice", "EmulationError", "emulated_device"]

_WARP = 32


class EmulationError(RuntimeError):
    """A kernel did what a GPU would not report."""


class EmulatedArray:
    """An array in the memory of an emulated device.

    Other libraries see by its ``__cuda_array_interface__`` that it is not one of theirs to read.
    """

    def __init__(
        self, device: EmulatedDevice, memory: NDArray[np.uint8], array: NDArray[Any]
    ) -> None:
        # The device knows the memory as long as an array in it is alive.
        self._device, self._memory, self._array = device, memory, array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface = self._array.__array_interface__
        return {
            "shape": interface["shape"],
            "typestr": interface["typestr"],
            "data": interface["data"],
            "strides": interface["strides"],
            "version": 3,
            "stream": None,
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its elements."""
        return self._array.dtype

    def __getitem__(self, place: Any) -> EmulatedArray:
        return EmulatedArray(self._device, self._memory, self._array[place])

    def get(self) -> NDArray[Any]:
        """A copy on the CPU."""
        return self._array.copy()


class EmulatedDevice:
    """A GPU that is none: memory, and a launch that runs every thread of every block in Python.

    Attributes
    ----------
    launches : list of (Kernel, tuple)
        What was launched, and over which grid.
    """

    def __init__(self) -> None:
        self.launches: list[tuple[Kernel, tuple[int, int, int]]] = []
        self._memory: WeakValueDictionary[int, NDArray[np.uint8]] = WeakValueDictionary()

    # --- memory

    def empty(self, shape: Sequence[int], dtype: Any = np.float64) -> EmulatedArray:
        """An array of NaN, or of -1."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        # As a GPU's memory is, at multiples of 256 bytes.
        memory = np.full(size + 256, 0xFF, np.uint8)
        start = -memory.ctypes.data % 256
        memory = memory[start : start + size]
        self._memory[memory.ctypes.data] = memory
        return EmulatedArray(self, memory, memory.view(dtype).reshape(shape))

    def array(self, values: Any) -> EmulatedArray:
        """A copy of an array of the CPU."""
        values = np.asarray(values)
        copy = self.empty(values.shape, values.dtype)
        copy._array[...] = values
        return copy

    def read(self, address: int, size: int) -> bytes:
        """Bytes of its memory."""
        memory, offset = self._find(address, size)
        return memory[offset : offset + size].tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into its memory."""
        memory, offset = self._find(address, len(data))
        memory[offset : offset + len(data)] = np.frombuffer(data, np.uint8)

    def wait(self) -> None:
        """Nothing: a launch has ended when it returns."""

    def _find(self, address: int, size: int = 0) -> tuple[NDArray[np.uint8], int]:
        """The allocation that an address lies in, and where in it."""
        for start, memory in self._memory.items():
            offset = address - start
            if 0 <= offset <= memory.size - size:
                return memory, offset
        raise EmulationError(f"{size} bytes at {address:#x} are in no array")

    # --- kernels

    def launch(self, kernel: Kernel, grid: tuple[int, int, int], arguments: Sequence[Any]) -> None:
        """Run a kernel, and return when it has ended."""
        self.launches.append((kernel, grid))
        values = [
            self._argument(kind, value)
            for kind, value in zip(kernel.parameters, arguments, strict=True)
        ]
        _Block(kernel.function, kernel.threads, grid).run(values)

    def _argument(self, kind: Any, value: Any) -> Any:
        if not isinstance(kind, language.cuda.types.CPointer):
            return _ARGUMENTS[str(kind)](value)
        dtype = language.dtype_behind(kind)
        if value % dtype.itemsize:
            raise EmulationError(f"{value:#x} is not the address of a {dtype}")
        if value == 0:
            return _Pointer(b"", 0, 0, dtype)
        memory, offset = self._find(value)
        if dtype == np.float16:
            halves = memory.view(dtype)
            return _HalfPointer(halves, offset // dtype.itemsize, halves.size, dtype)
        code: Any = dtype.char
        view = memoryview(memory.data).cast("B").cast(code)
        return _Pointer(view, offset // dtype.itemsize, len(view), dtype)


@contextmanager
def emulated_device() -> Iterator[EmulatedDevice]:
    """A device that stands in for the GPU until the end of the ``with`` block.

    Yields
    ------
    EmulatedDevice
        Functions of :mod:`fastopt.kernels` take its arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> from fastopt.testing.cuda import emulated_device
    >>> with emulated_device() as device:
    ...     x = device.array(np.array([-1.0, 2.0]))
    ...     y = kernels.relu(x)
    >>> y.get()
    array([0., 2.])
    >>> device.launches
    [(<Kernel of_one(float64*, float64, float64*, int64), 256 threads>, (1, 1, 1))]
    """
    device = EmulatedDevice()
    with driver.use(device):
        yield device


def _allocate(like: EmulatedArray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> EmulatedArray:
    return like._device.empty(shape, dtype)


ALLOCATORS["fastopt"] = _allocate

# --- memory as kernels see it ---------------------------------------------------------------------


class _Pointer:
    """What a kernel is given for an address."""

    __slots__ = ("dtype", "start", "stop", "view")

    def __init__(self, view: Any, start: int, stop: int, dtype: np.dtype[Any]) -> None:
        self.view, self.start, self.stop, self.dtype = view, start, stop, dtype

    def _place(self, index: int, count: int) -> int:
        place = self.start + index
        if not 0 <= place <= self.stop - count:
            raise EmulationError(
                f"{count} numbers at {index} of an array that has {self.stop - self.start}"
            )
        return place

    def __getitem__(self, index: int) -> Any:
        return self.view[self._place(index, 1)]

    def __setitem__(self, index: int, value: Any) -> None:
        place = self._place(index, 1)
        try:
            self.view[place] = value
        except OverflowError:  # of a float32
            self.view[place] = math.copysign(math.inf, value)

    def load(self, index: int, count: int) -> tuple[Any, ...]:
        place = self._aligned(index, count)
        return tuple(self.view[place : place + count].tolist())

    def store(self, index: int, numbers: tuple[Any, ...]) -> None:
        self._aligned(index, len(numbers))
        for k, number in enumerate(numbers):
            self[index + k] = number

    def _aligned(self, index: int, count: int) -> int:
        place = self._place(index, count)
        if place % count:
            raise EmulationError(f"{count} numbers at {place}, which is no multiple of {count}")
        return place


class _HalfPointer(_Pointer):
    """To float16, which are float32 to a kernel. Its view is an array of NumPy."""

    def __getitem__(self, index: int) -> Any:
        return float(self.view[self._place(index, 1)])

    def __setitem__(self, index: int, value: Any) -> None:
        with np.errstate(over="ignore"):
            self.view[self._place(index, 1)] = np.float32(value)


class _Local(list[Any]):
    """An array of one thread."""

    def __init__(self, size: int) -> None:
        super().__init__([math.nan] * size)


class _Shared:
    """An array of one block, which knows who used what since when."""

    __slots__ = ("block", "numbers", "reads", "writes")

    def __init__(self, block: _Block, size: int) -> None:
        self.block = block
        self.numbers: list[Any] = [math.nan] * size
        self.writes: list[_Use | None] = [None] * size
        self.reads: list[_Use | None] = [None] * size

    def __getitem__(self, index: int) -> Any:
        return self.load(index, 1)[0]

    def __setitem__(self, index: int, number: Any) -> None:
        self.store(index, (number,))

    def load(self, index: int, count: int) -> tuple[Any, ...]:
        self._check(index, count)
        thread = self.block.thread
        for k in range(index, index + count):
            self._ordered(self.writes[k], thread, "written", k)
            self.reads[k] = _joined(self.reads[k], thread)
        return tuple(self.numbers[index : index + count])

    def store(self, index: int, numbers: tuple[Any, ...]) -> None:
        self._check(index, len(numbers))
        thread = self.block.thread
        for k, number in enumerate(numbers, index):
            self._ordered(self.writes[k], thread, "written", k)
            self._ordered(self.reads[k], thread, "read", k)
            self.writes[k] = thread.now()
            self.numbers[k] = number

    def _check(self, index: int, count: int) -> None:
        if not 0 <= index <= len(self.numbers) - count:
            raise EmulationError(
                f"{_counted(count)} at {index} of a shared array that has {len(self.numbers)}"
            )
        if index % count:
            raise EmulationError(f"{_counted(count)} at {index}, which is no multiple of {count}")

    def _ordered(self, use: _Use | None, thread: _Thread, done: str, index: int) -> None:
        """Refuse what is not ordered after an earlier use."""
        if use is None or use[0] != thread.moment or use[3] is thread:
            return
        if use[1] is thread.warp and use[2] != thread.warp.moment:
            return
        other = "several threads" if use[3] is None else f"thread {use[3].index}"
        raise EmulationError(
            f"element {index} of a shared array was {done} by {other} and is used by thread "
            f"{thread.index}, with no barrier between"
        )


# When an element was used, and by whom: the moment of the block, the warp and its moment, and the
# thread. None stands for several.
_Use = tuple[int, "_Warp | None", int, "_Thread | None"]


def _joined(use: _Use | None, thread: _Thread) -> _Use:
    """An earlier use and this one."""
    now = thread.now()
    if use is None or use[0] != now[0]:
        return now
    if use[1] is not now[1]:
        return now[0], None, 0, None
    if use[2] != now[2] or use[3] is now[3]:
        return now
    return now[0], now[1], now[2], None


def _counted(count: int) -> str:
    return "a number" if count == 1 else f"{count} numbers"


# --- threads --------------------------------------------------------------------------------------


class _Place:
    """Three coordinates, as ``cuda.threadIdx`` has them."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x: int, y: int = 0, z: int = 0) -> None:
        self.x, self.y, self.z = x, y, z


class _Warp:
    """Threads that exchange numbers."""

    def __init__(self) -> None:
        self.threads: list[_Thread] = []
        self.moment = 0  # synchronisations so far


class _Thread:
    """One thread of a block, with what it waits for and what it has said to its warp."""

    __slots__ = (
        "arrays",  # shared ones that it has named
        "fiber",  # which runs the function
        "heard",
        "index",
        "lane",
        "moment",  # barriers passed
        "place",  # in the source, where it waits
        "said",
        "waits_for",  # "block", "warp", or None if it has not begun or has ended
        "warp",
    )

    def __init__(self, function: Callable[..., None], index: int, warp: _Warp) -> None:
        self.fiber = greenlet(function)
        self.index, self.lane, self.warp = index, index % _WARP, warp
        self.moment = self.arrays = 0
        self.waits_for: str | None = None
        self.place: tuple[Any, int] | None = None
        self.said: Any = None
        self.heard: dict[int, Any] = {}

    def now(self) -> _Use:
        return self.moment, self.warp, self.warp.moment, self


class _Block:
    """The blocks of a grid, one after the other, and what ``cuda`` is to their threads."""

    warpsize = _WARP

    def __init__(
        self, function: Callable[..., None], threads: int, grid: tuple[int, int, int]
    ) -> None:
        self.blockDim = _Place(threads, 1, 1)
        self.gridDim = _Place(*grid)
        self.blockIdx = _Place(0)
        self.function = emulated(function, self)
        self.shared = _Arrays(self._shared_array)
        self.local = _Arrays(lambda size, dtype, alignment=None: _Local(size))
        self.thread: _Thread
        self._arrays: list[_Shared] = []
        self._hub: greenlet

    def run(self, arguments: Sequence[Any]) -> None:
        """Run them all."""
        for z in range(self.gridDim.z):
            for y in range(self.gridDim.y):
                for x in range(self.gridDim.x):
                    self.blockIdx = _Place(x, y, z)
                    self._run_block(arguments)

    def _run_block(self, arguments: Sequence[Any]) -> None:
        self._hub = getcurrent()
        self._arrays = []
        warps: list[_Warp] = []
        threads: list[_Thread] = []
        for index in range(self.blockDim.x):
            if index % _WARP == 0:
                warps.append(_Warp())
            thread = _Thread(self.function, index, warps[-1])
            warps[-1].threads.append(thread)
            threads.append(thread)
        for thread in threads:
            self._resume(thread, *arguments)
        while True:
            for warp in warps:
                self._exchange(warp)
            waiting = [thread for thread in threads if not thread.fiber.dead]
            if not waiting:
                return
            if len(waiting) < len(threads):
                raise EmulationError(
                    f"{len(threads) - len(waiting)} threads have ended, and {len(waiting)} wait "
                    "for them at a barrier"
                )
            _at_one_place(threads, "barriers")
            for thread in threads:
                thread.moment += 1
            for thread in threads:
                self._resume(thread)

    def _exchange(self, warp: _Warp) -> None:
        """Let a warp go on until all of its threads wait for the block, or have ended."""
        while True:
            speaking = [thread for thread in warp.threads if thread.waits_for == "warp"]
            if not speaking:
                return
            if any(thread.waits_for == "block" for thread in warp.threads):
                raise EmulationError("a shuffle, while threads of its warp wait at a barrier")
            _at_one_place(speaking, "shuffles")
            said = {thread.lane: thread.said for thread in speaking}
            warp.moment += 1
            for thread in speaking:
                thread.heard = said
            for thread in speaking:
                self._resume(thread)

    def _resume(self, thread: _Thread, *arguments: Any) -> None:
        self.thread = thread
        thread.waits_for = None
        thread.fiber.switch(*arguments)

    def _shared_array(self, size: int, dtype: Any, alignment: int | None = None) -> _Shared:
        place = self.thread.arrays
        self.thread.arrays += 1
        if place == len(self._arrays):
            self._arrays.append(_Shared(self, size))
        return self._arrays[place]

    # --- what kernels call

    @property
    def threadIdx(self) -> _Place:
        return _Place(self.thread.index)

    @property
    def laneid(self) -> int:
        return self.thread.lane

    def syncthreads(self) -> None:
        self._wait("block", None)

    def syncwarp(self, mask: int = -1) -> None:
        self._wait("warp", None)

    def shfl_sync(self, mask: int, value: Any, lane: int) -> Any:
        heard = self.exchange(value)
        if lane not in heard:
            raise EmulationError(f"a shuffle with lane {lane}, which does not take part")
        return heard[lane]

    def shfl_xor_sync(self, mask: int, value: Any, lanes: int) -> Any:
        return self.shfl_sync(mask, value, self.thread.lane ^ lanes)

    def exchange(self, value: Any) -> dict[int, Any]:
        """What each lane of the warp says."""
        thread = self.thread
        self._wait("warp", value)
        return thread.heard

    def _wait(self, whom: str, value: Any) -> None:
        thread = self.thread
        thread.waits_for, thread.said = whom, value
        frame = sys._getframe(2)
        while frame.f_code.co_filename == __file__ and frame.f_back is not None:
            frame = frame.f_back
        thread.place = frame.f_code, frame.f_lineno
        self._hub.switch()


def _at_one_place(threads: list[_Thread], what: str) -> None:
    if any(thread.place != threads[0].place for thread in threads):
        lines = sorted({thread.place[1] for thread in threads if thread.place is not None})
        raise EmulationError(f"threads have come to different {what}, on lines {lines}")


class _Arrays:
    def __init__(self, make: Callable[..., Any]) -> None:
        self.array = make


# --- the words of kernels -------------------------------------------------------------------------


def emulated(function: Callable[..., Any], block: _Block) -> Callable[..., Any]:
    """A function of a kernel's source, with the meaning that its words have here."""
    known: dict[int, Any] = {id(word): meaning for word, meaning in _WORDS}
    known[id(language.cuda)] = block
    known[id(language.multiply_tf32)] = _multiply_by(block)
    return _translated(function, known)  # type: ignore[no-any-return]


def _translated(value: Any, known: dict[int, Any]) -> Any:
    if id(value) in known:
        return known[id(value)]
    function = getattr(value, "py_func", value)  # of what Numba has wrapped
    if not isinstance(function, types.FunctionType):
        return value
    code = function.__code__
    names = {
        name: function.__globals__[name] for name in code.co_names if name in function.__globals__
    }
    copy = types.FunctionType(
        code,
        {"__builtins__": function.__globals__["__builtins__"]},
        function.__name__,
        function.__defaults__,
        tuple(types.CellType() for _ in function.__closure__ or ()),
    )
    known[id(value)] = copy  # before what it names, which may be itself
    for name, meaning in names.items():
        copy.__globals__[name] = _translated(meaning, known)
    for cell, own in zip(function.__closure__ or (), copy.__closure__ or (), strict=True):
        own.cell_contents = _translated(cell.cell_contents, known)
    return copy


def _int32(value: Any) -> int:
    number = int(value)
    if not -(2**31) <= number < 2**31:
        raise EmulationError(f"{number} is no int32")
    return number


def _float32(value: Any) -> float:
    return ctypes.c_float(value).value


def _load(count: int) -> Callable[..., Any]:
    return lambda where, index: where.load(index, count)


def _store(where: Any, index: int, numbers: tuple[Any, ...]) -> None:
    where.store(index, numbers)


def _rounded_tf32(number: float) -> int:
    bits = _bits_of(number)
    return (bits + 0x1000) & 0xFFFFE000


def _put(where: Any, index: int, beyond: int, number: Any) -> None:
    where[index + beyond] = number


def _bits_of(number: float) -> int:
    return int(np.float32(number).view(np.uint32))


def _split_tf32(number: float) -> tuple[int, int]:
    high = _rounded_tf32(number)
    with np.errstate(all="ignore"):
        return high, _bits_of(number - _as_float(high))


def _as_float(bits: int) -> float:
    return float(np.uint32(bits).view(np.float32))


def _multiply_by(block: _Block) -> Callable[..., Any]:
    def multiply(total: Any, left: Any, right: Any) -> tuple[float, ...]:
        heard = block.exchange((total, left, right))
        if _PRODUCT not in heard:
            heard[_PRODUCT] = _product(heard)
        return heard[_PRODUCT][block.thread.lane]  # type: ignore[no-any-return]

    return multiply


_PRODUCT = -1  # no lane's number, under which the first of a warp leaves the results of all


def _product(heard: dict[int, Any]) -> list[tuple[float, ...]]:
    """What each lane has of ``total + left right``, from what each of them says of the three."""
    said = [heard[lane] for lane in range(_WARP)]
    total, left, right = np.zeros((16, 8)), np.zeros((16, 8)), np.zeros((8, 8))
    lanes = np.arange(_WARP)
    g, q = lanes // 4, lanes % 4
    places = [(g, 2 * q), (g, 2 * q + 1), (g + 8, 2 * q), (g + 8, 2 * q + 1)]
    lefts = [(g, q), (g + 8, q), (g, q + 4), (g + 8, q + 4)]
    rights = [(q, g), (q + 4, g)]
    for matrix, which, where in ((total, 0, places), (left, 1, lefts), (right, 2, rights)):
        numbers = [each[which] for each in said]
        values = np.array(numbers) if which == 0 else _as_tf32(np.array(numbers, np.uint32))
        for k, place in enumerate(where):
            matrix[place] = values[:, k]
    with np.errstate(all="ignore"):
        result = total + left @ right
    return [tuple(row) for row in np.stack([result[place] for place in places], 1).tolist()]


def _as_tf32(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


class _Math:
    """``math`` as a GPU has it: infinite and NaN where Python raises."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, _NUMPY_NAMES.get(name, name))

        def quiet(*arguments: float) -> float:
            with np.errstate(all="ignore"):
                return float(function(*map(np.float64, arguments)))

        return quiet


_NUMPY_NAMES = {"pow": "power", "fabs": "abs"}

_ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "int32": _int32,
    "int64": int,
    "uint32": int,
    "float32": _float32,
    "float64": float,
}

_WORDS = [
    (language.int32, _int32),
    (language.int64, int),
    (language.uint32, lambda value: int(value) & 0xFFFFFFFF),
    (language.uint64, lambda value: int(value) & 0xFFFFFFFFFFFFFFFF),
    (language.float32, _float32),
    (language.float64, float),
    (language.quotient, lambda number, divisor: number // divisor),
    (language.load2, _load(2)),
    (language.load4, _load(4)),
    (language.put, _put),
    (language.store2, _store),
    (language.store4, _store),
    (language.rounded_tf32, _rounded_tf32),
    (language.as_float, _as_float),
    (language.bits_of, _bits_of),
    (language.split_tf32, _split_tf32),
    (math, _Math()),
]
