"""Where a network is computed: the CPU, or a GPU.

Owns which kernels do the work there, and how arrays are made, cut and filled. Knows nothing of
networks. What is for GPUs is imported when the first array of one comes.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastopt.device import driver
from fastopt.device.arrays import DeviceArray
from fastopt.device.recording import ALIGNMENT
from fastopt.device.streams import current_stream, on_stream
from fastopt.kernels.arguments import MOST_ON_GPU
from fastopt.kernels.cpu.threads import get_num_threads
from fastopt.nn.memory import Block, empty_arena, view

__all__ = ["CPU", "GPU", "Kernels", "Place", "kernels_of"]

Shape = tuple[int, ...]


class Kernels:
    """The modules of kernels for one place, by name; those of all places have the same functions.

    Parameters
    ----------
    place : {"cpu", "cuda"}
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def __getattr__(self, name: str) -> Any:
        module = import_module(f"fastopt.kernels.{self._place}.{name}")
        setattr(self, name, module)
        return module


kernels_of = cache(Kernels)


class Place(Protocol):
    """What plans and states need of a place.

    Attributes
    ----------
    kernels : Kernels
    binds : bool
        Whether programs use the caller's arrays themselves; otherwise they are copied.
    most : float
        Elements that an array may have at most.
    """

    kernels: Kernels
    binds: bool
    most: float

    def begin(self, arrays: Sequence[Any]) -> Hashable:
        """Begin an evaluation: what programs for these arrays depend on, besides mode and size."""

    def empty(self, shape: Shape, dtype: Any) -> Any:
        """A new array."""

    def arena(self, size: int) -> Any:
        """So many bytes, for `view`."""

    def leave(self) -> None:
        """Be done with evaluations, so that what they have used may be let go of."""

    def view(self, arena: Any, block: Block, shape: Shape, dtype: Any) -> Any:
        """The array of that shape at the beginning of a block."""

    def part(self, vector: Any, start: int, shape: Shape) -> Any:
        """Elements of a vector, in a shape, which share its memory."""

    def constant(self, values: NDArray[Any]) -> Any:
        """An array of these numbers, which is as good as long as the place."""

    def read(self, array: Any) -> bytes:
        """What is in an array, when all is done that has been begun."""

    def write(self, array: Any, data: bytes) -> None:
        """Fill an array."""


class CPU:
    """The memory and the kernels of the CPU."""

    binds = False
    most = math.inf

    def __init__(self) -> None:
        self.kernels = kernels_of("cpu")

    def begin(self, arrays: Sequence[Any]) -> Hashable:
        return get_num_threads()  # which workspaces are made for

    def empty(self, shape: Shape, dtype: Any) -> NDArray[Any]:
        return np.empty(shape, dtype)

    def arena(self, size: int) -> NDArray[np.uint8]:
        return empty_arena(size)

    def leave(self) -> None:
        pass

    def view(self, arena: NDArray[np.uint8], block: Block, shape: Shape, dtype: Any) -> Any:
        return view(arena, block, shape, dtype)

    def part(self, vector: NDArray[Any], start: int, shape: Shape) -> Any:
        return vector[start : start + math.prod(shape)].reshape(shape)

    def constant(self, values: NDArray[Any]) -> NDArray[Any]:
        return values

    def read(self, array: NDArray[Any]) -> bytes:
        return array.tobytes()

    def write(self, array: NDArray[Any], data: bytes) -> None:
        np.copyto(array, np.frombuffer(data, array.dtype).reshape(array.shape))


class GPU:
    """A GPU, by the library of one of its arrays.

    Parameters
    ----------
    like : DeviceArray
        Whose library makes the others. It is not kept.

    Attributes
    ----------
    stream : int
        The one of the last evaluation.
    """

    binds = True
    most = MOST_ON_GPU

    def __init__(self, like: DeviceArray) -> None:
        self.kernels = kernels_of("cuda")
        self.stream = current_stream()
        self._like = like.empty((1,), np.float64)
        self._constants: dict[tuple[np.dtype[Any], bytes], DeviceArray] = {}
        self._streams: set[int] = set()  # of evaluations

    def begin(self, arrays: Sequence[DeviceArray | None]) -> Hashable:
        self.stream = current_stream()
        self._streams.add(self.stream)
        # Kernels for arrays that are aligned read several numbers at once.
        return tuple([each and (each.dtype.char, each.address % ALIGNMENT) for each in arrays])

    def empty(self, shape: Shape, dtype: Any) -> DeviceArray:
        return self._like.empty(shape, dtype)

    def arena(self, size: int) -> DeviceArray:
        return self.empty((size,), np.uint8)

    def leave(self) -> None:
        # Memory that is let go of is used again by the stream it was made on, after which nothing
        # but other streams can still be at work on it.
        if len(self._streams) > 1:
            driver.current().wait()

    def view(self, arena: DeviceArray, block: Block, shape: Shape, dtype: Any) -> DeviceArray:
        return DeviceArray(arena.owner, arena.address + block.offset, shape, np.dtype(dtype))

    def part(self, vector: DeviceArray, start: int, shape: Shape) -> DeviceArray:
        return vector.part(start, shape)

    def constant(self, values: NDArray[Any]) -> DeviceArray:
        key = values.dtype, values.tobytes()
        if key not in self._constants:
            self._constants[key] = self._like.holding(values)  # programs know its address alone
        return self._constants[key]

    # An evaluation that was captured as a CUDA graph is made again on a stream that nobody knows.

    def read(self, array: DeviceArray) -> bytes:
        device = driver.current()
        device.wait()
        with on_stream(0):
            return device.read(array.address, array.nbytes)

    def write(self, array: DeviceArray, data: bytes) -> None:
        device = driver.current()
        device.wait()
        with on_stream(0):
            device.write(array.address, data)
        device.wait()
