"""Where a function of kernels runs: where its arrays are.

Owns the choice between the CPU and a GPU, and what a function returns for arrays of another
library. Knows no kernel. Nothing here imports numba-cuda before an array of a GPU comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, wraps
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastopt.core import _cuda
from fastopt.device.arrays import DeviceArray, describe, is_device_array
from fastopt.device.streams import handle_of, on_stream

__all__ = ["anywhere", "kernels"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def kernels(module: str) -> Callable[[Any], ModuleType]:
    """What does the work of a public module.

    Parameters
    ----------
    module : str
        Its name in :mod:`fastopt.kernels`.

    Returns
    -------
    callable
        From an array to the module of kernels for the place where it is.
    """
    on_cpu = import_module(f"fastopt.kernels.cpu.{module}")
    on_gpu = cache(lambda: import_module(f"fastopt.kernels.cuda.{module}"))

    def choose(array: Any) -> ModuleType:
        return on_gpu() if isinstance(array, DeviceArray) else on_cpu

    return choose


def anywhere(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a function of arrays of the CPU take arrays of a GPU as well.

    The function sees :class:`~fastopt.device.arrays.DeviceArray` in place of these, and what it
    returns of them is given back as the arrays that they stand for. Its argument ``stream`` is
    dealt with here.

    Parameters
    ----------
    function : callable
        It has an argument ``stream``, which it does not look at.

    Returns
    -------
    callable
        It raises TypeError if arrays of the CPU and of a GPU come together, or if ``stream`` is no
        stream, and ImportError if numba-cuda is not installed.
    """

    names = tuple(signature(function).parameters)

    @wraps(function)
    def run(*positional: _P.args, **named: _P.kwargs) -> _R:
        if not any(map(_is_on_gpu, positional)) and not any(map(_is_on_gpu, named.values())):
            if named.get("stream") is not None:
                raise TypeError("`stream` must be None where no array is on a GPU")
            return function(*positional, **named)
        if len(positional) > len(names):
            return function(*positional, **named)  # which says what it takes
        given = dict(zip(names, positional, strict=False))
        result: _R = _run_on_gpu(function, given, named)
        return result

    return run


def _is_on_gpu(value: object) -> bool:
    if value is None or type(value) is np.ndarray or type(value) in _NUMBERS:
        return False
    if isinstance(value, tuple | list):
        return any(map(_is_on_gpu, value))
    return is_device_array(value)


def _run_on_gpu(
    function: Callable[..., Any], positional: dict[str, Any], named: dict[str, Any]
) -> Any:
    _cuda.load()  # says what to install
    stream = named.pop("stream", None)
    seen: dict[int, DeviceArray] = {}
    positional = {name: _described(name, value, seen) for name, value in positional.items()}
    named = {name: _described(name, value, seen) for name, value in named.items()}
    handle = _common_stream(seen.values()) if stream is None else handle_of(stream)
    with on_stream(handle):
        return _given_back(function(*positional.values(), **named))


def _described(name: str, value: Any, seen: dict[int, DeviceArray]) -> Any:
    """An argument with arrays as kernels see them: one object for each that comes."""
    if value is None or type(value) in _NUMBERS:
        return value
    if isinstance(value, tuple | list):
        return type(value)(_described(name, each, seen) for each in value)
    if isinstance(value, np.ndarray):
        raise TypeError(
            f"`{name}` must be on the GPU as other arrays are, got a NumPy array; nothing is "
            "copied unasked"
        )
    if not is_device_array(value):
        return value
    if id(value) not in seen:
        seen[id(value)] = describe(value)
    return seen[id(value)]


# Asking another object whether it is an array takes longer.
_NUMBERS = {bool, int, float, str}


def _common_stream(arrays: Iterable[DeviceArray]) -> int:
    """The stream on which all of them are made; the default one if no library names any."""
    streams = {stream for array in arrays if (stream := array.stream) is not None}
    if len(streams) > 1:
        raise ValueError(
            f"`stream` must be given where arrays are made on several, got {len(streams)}"
        )
    return streams.pop() if streams else 0


def _given_back(result: Any) -> Any:
    if isinstance(result, tuple | list):
        return type(result)(map(_given_back, result))
    return result.owner if isinstance(result, DeviceArray) else result
