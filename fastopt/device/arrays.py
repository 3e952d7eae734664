"""Arrays in the memory of a GPU, whoever made them.

Owns how such an array is recognised, described and made: by ``__cuda_array_interface__``, which
Numba's, CuPy's and PyTorch's have. New ones come from the library of one that is given. Knows no
kernel. Importing this module imports nothing that is for GPUs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.device import driver
from fastopt.device.recording import current_recording
from fastopt.device.streams import current_stream, handle_of

__all__ = ["ALLOCATORS", "DeviceArray", "describe", "is_aligned", "is_device_array"]


def is_device_array(value: object) -> bool:
    """Whether a value is an array in the memory of a GPU.

    Examples
    --------
    >>> is_device_array(np.zeros(3))
    False
    """
    if type(value) is np.ndarray:
        return False
    if isinstance(value, DeviceArray):
        return True
    if _library_of(value) == "torch":
        return bool(getattr(value, "is_cuda", False))
    return hasattr(value, "__cuda_array_interface__")


class DeviceArray:
    """Another library's array, as kernels see it.

    Attributes
    ----------
    owner : object
        The array, which keeps its memory.
    address : int
        Of its first element.
    shape : tuple of int
    dtype : dtype
    strides : tuple of int or None
        In bytes; None if it is C-contiguous.
    writeable : bool
    stream : int or None
        The stream on which its contents are made; None if its library does not say.
    """

    __slots__ = ("_stream", "address", "dtype", "owner", "shape", "strides", "writeable")

    def __init__(
        self,
        owner: object,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        strides: tuple[int, ...] | None = None,
        writeable: bool = True,
        stream: int | None = None,
    ) -> None:
        self.owner = owner
        self.address = address
        self.shape = shape
        self.dtype = dtype
        self.strides = strides
        self.writeable = writeable
        self._stream = stream

    @property
    def stream(self) -> int | None:
        # PyTorch's arrays are made on its current stream, whichever that is by now.
        return _stream_of(self.owner) if _library_of(self.owner) == "torch" else self._stream

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes from the first to the last element of an array that is contiguous."""
        return self.size * self.dtype.itemsize

    def reshape(self, *shape: Any) -> DeviceArray:
        """The same memory in another shape, in which one number may be -1."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        if -1 in sizes:
            known = -math.prod(sizes)
            sizes = tuple(self.size // known if size == -1 else size for size in sizes)
        assert math.prod(sizes) == self.size
        return self._part(0, sizes)

    def part(self, start: int, shape: tuple[int, ...]) -> DeviceArray:
        """The elements from a place in the flat array on, in a shape."""
        assert start + math.prod(shape) <= self.size
        return self._part(start * self.dtype.itemsize, shape)

    def __getitem__(self, index: int) -> DeviceArray:
        """What the first axis has at an index; an IndexError ends a loop over it."""
        if not 0 <= index < self.shape[0]:
            raise IndexError(f"{index} of {self.shape[0]}")
        shape = self.shape[1:]
        return self.part(index * math.prod(shape), shape)

    def _part(self, offset: int, shape: tuple[int, ...]) -> DeviceArray:
        assert self.strides is None
        return DeviceArray(
            self.owner, self.address + offset, shape, self.dtype, None, self.writeable, self._stream
        )

    def empty(self, shape: tuple[int, ...], dtype: Any = None) -> DeviceArray:
        """A new array of the library that made this one."""
        library = _library_of(self.owner)
        try:
            allocate = ALLOCATORS[library]
        except KeyError:
            raise TypeError(
                f"`out` must be given for arrays of {library}, in which fastopt makes none"
            ) from None
        wanted = self.dtype if dtype is None else np.dtype(dtype)
        array = describe(allocate(self.owner, shape, wanted))
        recording = current_recording()
        if recording is not None:
            recording.keep(array)
        return array

    def holding(self, values: NDArray[Any]) -> DeviceArray:
        """A new array of that library, with numbers of the CPU."""
        array = self.empty(values.shape, values.dtype)
        driver.current().write(array.address, values.tobytes())
        return array


def is_aligned(*arrays: DeviceArray) -> bool:
    """Whether all begin where four numbers can be read at once.

    Examples
    --------
    >>> is_aligned(DeviceArray(None, 4096 + 16, (8,), np.dtype("float32")))
    True
    """
    return all(each.address % (4 * each.dtype.itemsize) == 0 for each in arrays)


def describe(value: Any) -> DeviceArray:
    """An array of a GPU as kernels see it."""
    if isinstance(value, DeviceArray):
        return value
    if _library_of(value) == "torch":
        return _describe_tensor(value)
    interface = value.__cuda_array_interface__
    address, readonly = interface["data"]
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is not None and _is_contiguous(tuple(strides), shape, dtype.itemsize):
        strides = None
    stream = interface.get("stream")
    if stream is not None:
        stream = handle_of(stream)
    return DeviceArray(value, address or 0, shape, dtype, strides, not readonly, stream)


def _library_of(value: Any) -> str:
    kind = type(value)
    try:
        return _LIBRARIES[kind]
    except KeyError:
        return _LIBRARIES.setdefault(kind, kind.__module__.partition(".")[0])


_LIBRARIES: dict[type, str] = {}


def _is_contiguous(strides: tuple[int, ...], shape: tuple[int, ...], itemsize: int) -> bool:
    if 0 in shape:
        return True
    expected = itemsize
    for stride, size in zip(reversed(strides), reversed(shape), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


# --- PyTorch's, by its own names: its `__cuda_array_interface__` takes ten times as long ----------


def _describe_tensor(value: Any) -> DeviceArray:
    if value.requires_grad:
        raise TypeError(
            "a tensor that requires a gradient cannot be used: PyTorch would not see what is done "
            "to it; pass tensor.detach()"
        )
    current = sys.modules["torch"].cuda.current_device()
    if value.get_device() != current:
        raise ValueError(
            f"arrays must be on the current GPU, {current}, got a tensor on {value.device}; "
            "torch.cuda.device changes which one that is"
        )
    dtype = _tensor_dtype(value.dtype)
    strides = None
    if not value.is_contiguous():
        strides = tuple(dtype.itemsize * step for step in value.stride())
    return DeviceArray(value, value.data_ptr(), tuple(value.shape), dtype, strides)


def _stream_of(tensor: Any) -> int:
    """PyTorch's current stream on a tensor's GPU."""
    torch = sys.modules["torch"]
    try:
        # What its compiler's programs call: the stream as an object takes thirty times as long.
        handle = torch._C._cuda_getCurrentRawStream(tensor.get_device())
    except AttributeError:
        handle = torch.cuda.current_stream(tensor.device)
    return handle_of(handle)


@cache
def _tensor_dtype(dtype: Any) -> np.dtype[Any]:
    name = str(dtype).removeprefix("torch.")
    try:
        return np.dtype(name)
    except TypeError:  # bfloat16 and the like
        raise TypeError(f"tensors of {dtype} cannot be used") from None


# --- new arrays, from the library of one that is there ------------------------------------------


# PyTorch's and CuPy's belong to a stream, after which their memory is used again: the one that
# kernels are launched on, which need not be their own current one.


def _by_torch(like: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    torch = sys.modules["torch"]
    kind = getattr(torch, dtype.name)
    stream = current_stream()
    if _stream_of(like) == stream:
        return torch.empty(shape, dtype=kind, device=like.device)
    with torch.cuda.stream(torch.cuda.ExternalStream(stream, like.device)):
        return torch.empty(shape, dtype=kind, device=like.device)


def _by_cupy(like: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    cupy = sys.modules["cupy"]
    stream = current_stream()
    with like.device:
        if cupy.cuda.get_current_stream().ptr == stream:
            return cupy.empty(shape, dtype)
        with cupy.cuda.ExternalStream(stream):
            return cupy.empty(shape, dtype)


def _by_numba(like: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return sys.modules["numba.cuda"].device_array(shape, dtype)


Allocator = Callable[[Any, tuple[int, ...], np.dtype[Any]], Any]

# By the name of the library: from one of its arrays, a shape and a dtype.
ALLOCATORS: dict[str, Allocator] = {
    "torch": _by_torch,
    "cupy": _by_cupy,
    "numba": _by_numba,
    "numba_cuda": _by_numba,
}
