"""Checks of what a caller passes to a kernel, made before any work is done.

Owns the wording: every error names the argument, what was expected and what came. A value of the
wrong type is a TypeError, one out of range or of the wrong shape a ValueError. Arrays are never
converted and never copied. Knows no kernel.

A shape is written as a tuple in which a number stands for itself and a name for any positive
number: ``("N", 3, "H", "W")``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastopt.core.validate import Integer
from fastopt.device.arrays import DeviceArray
from fastopt.kernels.geometry import Pair, same_padding

__all__ = [
    "MOST_ON_GPU",
    "array",
    "check_apart",
    "check_written",
    "computed",
    "empty",
    "is_array",
    "is_contiguous",
    "output",
    "padding",
    "pair",
    "positive",
    "precision",
    "products",
    "scratch",
    "shape_of",
    "sides",
    "workspace_of",
    "wrong_shape",
]

Array = NDArray[Any]
Shape = tuple[int | str, ...]

# A mask would be lost, and a matrix has two dimensions whatever it is reshaped to.
_OTHER_ARRAYS = (np.ma.MaskedArray, np.matrix)
_PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))
_HALF = np.dtype(np.float16)
_PRODUCTS = ("ieee", "3xtf32", "tf32")
# Kernels of a GPU count in int32, with room for a block more.
MOST_ON_GPU = 2**31 - 2**20
# More than any memory has, and so few that no number of bytes overflows.
MOST_ON_CPU = 2**50
_POSITIVE = Integer(low=1)
_NONNEGATIVE = Integer(low=0)
_PADDING_1D = "a nonnegative integer, (before, after), 'same' or 'valid'"
_PADDING_2D = (
    "a nonnegative integer, (height, width), ((top, bottom), (left, right)), 'same' or 'valid'"
)


def array(
    name: str,
    value: Any,
    shape: Shape,
    dtype: Any = None,
    like: str | None = "x",
    half: bool = False,
) -> Array:
    """`value`, if it is an array that a kernel reads as it is.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What came.
    shape : tuple of int or str
        What is expected, see above.
    dtype : dtype, optional
        The one that it must have because the argument `like` has it; either of the two if None.
    like : str or None, default "x"
        The argument that has `dtype`; None if it has another one.
    half : bool, default False
        Whether it may be float16, on a GPU.

    Returns
    -------
    ndarray
        `value` itself: C-contiguous, float32 or float64, or float16.

    Examples
    --------
    >>> import numpy as np
    >>> array("x", np.zeros((2, 3), np.float32), ("N", "C")).shape
    (2, 3)
    >>> array("x", np.zeros((2, 3), np.float32), ("N", 4))
    Traceback (most recent call last):
        ...
    ValueError: `x` must be of shape (N, 4), got shape (2, 3)
    """
    if not is_array(value):
        raise TypeError(f"`{name}` must be a NumPy array, got {_described(value)}")
    if value.dtype not in _PRECISIONS and not _is_half(value, half or dtype is not None):
        remark = ""
        if value.dtype == _HALF:
            on_gpu = isinstance(value, DeviceArray)
            remark = f", which is for {'some functions of ' if on_gpu else ''}inference on a GPU"
        raise TypeError(f"`{name}` must be of dtype float32 or float64, got {value.dtype}{remark}")
    if dtype is not None and value.dtype != dtype:
        same = "" if like is None else f" as `{like}` is"
        raise TypeError(f"`{name}` must be of dtype {np.dtype(dtype)}{same}, got {value.dtype}")
    if not _fits(value.shape, shape):
        wrong_shape(name, shape, value.shape)
    if isinstance(value, DeviceArray):
        _check_size(name, value.size)
    if 0 in value.shape:
        raise ValueError(f"`{name}` must not be empty, got shape {value.shape}")
    if not is_contiguous(value):
        raise ValueError(
            f"`{name}` must be C-contiguous, got strides {value.strides} at shape {value.shape}; "
            f"np.ascontiguousarray({name}) makes a copy that is"
        )
    return value  # type: ignore[no-any-return]


def _is_half(value: Any, allowed: bool) -> bool:
    return allowed and value.dtype == _HALF and isinstance(value, DeviceArray)


def computed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that numbers of one are computed in, and that parameters and sums are kept in.

    Examples
    --------
    >>> import numpy as np
    >>> computed(np.dtype("float64")), computed(np.dtype("float16"))
    (dtype('float64'), dtype('float32'))
    """
    return _PRECISIONS[0] if dtype == _HALF else dtype


def precision(name: str, value: Any, half: bool = False) -> np.dtype[Any]:
    """A dtype passed as an argument; with `half`, it may be float16.

    Examples
    --------
    >>> precision("dtype", "float32")
    dtype('float32')
    """
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    if value is None or not (dtype in _PRECISIONS or (half and dtype == _HALF)):
        allowed = "float16, float32 or float64" if half else "float32 or float64"
        raise TypeError(f"`{name}` must be {allowed}, got {value!r}")
    return dtype


def products(name: str, value: Any, like: Array) -> str:
    """How numbers are multiplied on a GPU: float32 and float16 as they are, or by tensor cores.

    TF32 has float16's among its numbers, so that there is nothing to split.

    Examples
    --------
    >>> import numpy as np
    >>> products("precision", "ieee", np.zeros(1))
    'ieee'
    """
    if not isinstance(value, str) or value not in _PRODUCTS:
        raise ValueError(f"`{name}` must be 'ieee', '3xtf32' or 'tf32', got {_described(value)}")
    if value != "ieee" and not isinstance(like, DeviceArray):
        raise ValueError(f"`{name}` must be 'ieee' on the CPU, got {value!r}")
    if value == "3xtf32" and like.dtype == _HALF:
        raise ValueError(f"`{name}` must be 'ieee' or 'tf32' for float16, got {value!r}")
    if value != "ieee" and like.dtype not in (_HALF, np.float32):
        raise ValueError(f"`{name}` must be 'ieee' for {like.dtype}, got {value!r}")
    return value


def output(
    name: str,
    value: Any,
    shape: tuple[int, ...],
    like: Array,
    apart: Sequence[tuple[str, Any]] = (),
    dtype: Any = None,
) -> Array:
    """`value` as an array to write to, or a new one if it is None.

    Parameters
    ----------
    name, value, shape : str, object, tuple of int
        As in :func:`array`; the shape is made of numbers alone.
    like : ndarray
        An array where the new one is to be, and of its dtype.
    apart : sequence of (str, ndarray or None), optional
        Arguments by name that it must not overlap, because they are read after it is written.
    dtype : dtype, optional
        Another one.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> output("out", None, (2, 3), np.zeros(1, np.float32)).shape
    (2, 3)
    """
    if value is None:
        size = math.prod(shape)
        if isinstance(like, DeviceArray):
            _check_size(name, size)
        elif size > MOST_ON_CPU:
            raise ValueError(f"`{name}` must have at most {MOST_ON_CPU} elements, got {size}")
        return empty(shape, like, dtype)
    array(name, value, shape, like.dtype if dtype is None else dtype)
    check_written(name, value, apart)
    return value  # type: ignore[no-any-return]


def scratch(
    value: Any,
    size: int,
    like: Array,
    apart: Sequence[tuple[str, Any]] = (),
    name: str = "workspace",
) -> Array:
    """`value` as room for intermediate values, or new room if it is None.

    Parameters
    ----------
    value : object
        What came: a one-dimensional array of `size` elements or more, of any content.
    size : int
        Elements that are needed.
    like, apart : ndarray, sequence of (str, ndarray or None)
        As in :func:`output`.
    name : str, default "workspace"
        Of the argument.

    Returns
    -------
    ndarray
        Of the dtype that `like` is :func:`computed` in.

    Examples
    --------
    >>> import numpy as np
    >>> scratch(None, 5, np.zeros(1)).size
    5
    """
    dtype = computed(like.dtype)
    if value is None:
        return empty((size,), like, dtype)
    if is_array(value) and value.ndim == 1 and value.size == size == 0:
        return value  # type: ignore[no-any-return]
    array(name, value, ("n",), dtype, "x" if dtype == like.dtype else None)
    if value.size < size:
        raise ValueError(f"`{name}` must have at least {size} elements, got {value.size}")
    check_written(name, value, apart)
    return value  # type: ignore[no-any-return]


def workspace_of(
    plan: Any, which: str, value: Any, like: Array, apart: Sequence[tuple[str, Any]] = ()
) -> Array | None:
    """The workspace of a plan's "forward", "data" or "weight" pass, as :func:`scratch`.

    On the CPU passes share one size. On a GPU each has its own, and if that is 0 nothing is asked
    of the arrays' library: it is None.
    """
    if not isinstance(like, DeviceArray):
        return scratch(value, plan.workspace, like, apart)
    size = getattr(plan, f"{which}_workspace")
    return None if value is None and size == 0 else scratch(value, size, like, apart)


def empty(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """A new array where another one is, of its dtype or of the one given."""
    if isinstance(like, DeviceArray):
        return like.empty(shape, dtype)
    return np.empty(shape, like.dtype if dtype is None else dtype)


def is_array(value: object) -> bool:
    """Whether kernels can be given it, if dtype, shape and layout are right."""
    if isinstance(value, np.ndarray):
        return not isinstance(value, _OTHER_ARRAYS)
    return isinstance(value, DeviceArray)


def is_contiguous(value: Any) -> bool:
    """Whether an array's elements are one after the other, each at a multiple of its size."""
    if isinstance(value, DeviceArray):
        return value.strides is None and value.address % value.dtype.itemsize == 0
    return bool(value.flags.c_contiguous and value.flags.aligned)


def check_written(name: str, value: Any, apart: Sequence[tuple[str, Any]]) -> None:
    """An array that is written to: it can be, and overlaps nothing that is still read."""
    writeable = value.writeable if isinstance(value, DeviceArray) else value.flags.writeable
    if not writeable:
        raise ValueError(f"`{name}` must be writeable, got a read-only array")
    check_apart(name, value, apart)


def shape_of(name: str, value: Any, shape: Shape) -> tuple[int, ...]:
    """A shape passed as an argument, for an array that does not exist yet.

    Examples
    --------
    >>> shape_of("input_shape", [2, 3, 8, 8], ("N", 3, "H", "W"))
    (2, 3, 8, 8)
    """
    if not isinstance(value, tuple | list) or len(value) != len(shape):
        raise TypeError(
            f"`{name}` must be a tuple {_written(shape)} of positive integers, "
            f"got {_described(value)}"
        )
    sizes = tuple(_POSITIVE(name, size, 0) for size in value)
    if not _fits(sizes, shape):
        raise ValueError(f"`{name}` must be {_written(shape)}, got {sizes}")
    return sizes


def positive(name: str, value: Any) -> int:
    """A positive integer, such as a number of groups."""
    return _POSITIVE(name, value, 0)


def pair(name: str, value: Any, low: int = 1) -> Pair:
    """One integer for both axes, or two in the order (height, width).

    Examples
    --------
    >>> pair("stride", 2), pair("stride", (2, 1))
    ((2, 2), (2, 1))
    """
    check = Integer(low)
    if isinstance(value, tuple | list) and len(value) == 2:
        return check(name, value[0], 0), check(name, value[1], 0)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` must be {check.expected} or a pair (height, width) of them, "
            f"got {_described(value)}"
        )
    number = check(name, value, 0)
    return number, number


def padding(
    name: str, value: Any, window: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)
) -> tuple[Pair, Pair]:
    """Padding as ((top, bottom), (left, right)), however it was spelled.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        One number for all four sides, a pair (height, width), a pair of pairs, "valid" for none,
        or "same" for what leaves the size as it is, with the greater half behind.
    window, stride, dilation : (int, int)
        Of the convolution or pooling, already checked.

    Returns
    -------
    ((int, int), (int, int))

    Examples
    --------
    >>> padding("padding", (0, 2), (1, 5))
    ((0, 0), (2, 2))
    >>> padding("padding", "same", (3, 4))
    ((1, 1), (1, 2))
    """
    if isinstance(value, str):
        height, width = (
            _sides_by_word(name, value, *axis)
            for axis in zip(window, stride, dilation, strict=True)
        )
        return height, width
    axes = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
    height, width = (_sides(name, axis, value, _PADDING_2D) for axis in axes)
    return height, width


def sides(name: str, value: Any, window: int, stride: int = 1, dilation: int = 1) -> Pair:
    """Padding along one axis as (before, after): as `padding`, of one number or one pair.

    Examples
    --------
    >>> sides("padding", 2, 5), sides("padding", (1, 0), 5), sides("padding", "same", 4)
    ((2, 2), (1, 0), (1, 2))
    """
    if isinstance(value, str):
        return _sides_by_word(name, value, window, stride, dilation)
    return _sides(name, value, value, _PADDING_1D)


def _sides_by_word(name: str, value: str, window: int, stride: int, dilation: int) -> Pair:
    if value not in ("same", "valid"):
        raise ValueError(f"`{name}` must be 'same' or 'valid' if it is a word, got {value!r}")
    if value == "valid":
        return 0, 0
    if stride != 1:
        raise ValueError(f"`{name}` can be 'same' only with stride 1, got a stride of {stride}")
    return same_padding(window, dilation)


def _sides(name: str, sides: Any, value: Any, spellings: str) -> Pair:
    """One axis of a padding `value`."""
    both = tuple(sides) if isinstance(sides, tuple | list) else (sides, sides)
    if len(both) != 2 or any(
        isinstance(side, bool) or not isinstance(side, numbers.Integral) for side in both
    ):
        raise TypeError(f"`{name}` must be {spellings}, got {value!r}")
    return _NONNEGATIVE(name, both[0], 0), _NONNEGATIVE(name, both[1], 0)


def wrong_shape(name: str, expected: Shape, came: tuple[int, ...]) -> NoReturn:
    raise ValueError(f"`{name}` must be of shape {_written(expected)}, got shape {came}")


def check_apart(name: str, value: Array, others: Sequence[tuple[str, Any]]) -> None:
    """Whether `value`, which is written to, overlaps none of the others, None among them."""
    for other, memory in others:
        if memory is not None and _overlap(value, memory):
            raise ValueError(f"`{name}` must not overlap `{other}`, which is still read")


def _check_size(name: str, size: int) -> None:
    """Whether kernels of a GPU can count so many elements."""
    if size > MOST_ON_GPU:
        raise ValueError(f"`{name}` must have at most {MOST_ON_GPU} elements on a GPU, got {size}")


def _overlap(one: Any, other: Any) -> bool:
    if isinstance(one, DeviceArray) and isinstance(other, DeviceArray):
        return (
            one.address < other.address + other.nbytes and other.address < one.address + one.nbytes
        )
    return np.may_share_memory(one, other)


def _fits(came: tuple[int, ...], expected: Shape) -> bool:
    if len(came) != len(expected):
        return False
    # A loop, which takes half the time of `all`: kernels on small arrays take no longer.
    for size, wanted in zip(came, expected, strict=True):
        if size != wanted and not isinstance(wanted, str):
            return False
    return True


def _written(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _described(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, str | numbers.Number | tuple | list) and len(str(value)) < 60:
        return f"{value!r} ({type(value).__name__})"
    return f"an object of type {type(value).__name__}"
