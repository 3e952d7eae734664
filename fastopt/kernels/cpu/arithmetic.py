"""Sums of arrays, and copies of channels: what residual blocks and concatenations are made of."""

from __future__ import annotations

from typing import Any

from fastopt.core._jit import RULE, compile_named
from fastopt.kernels.cpu import threads

__all__ = ["PIECE", "accumulate", "add", "add_relu", "copy_channels", "piece", "pieces"]

# Elements of a part.
PIECE = 16384


def add(a: Any, b: Any, out: Any) -> None:
    """a + b. (For ``a + out`` there is `accumulate`.)"""
    flat = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    threads.run(_add, pieces(out), 3 * out.size, *flat)


def add_relu(a: Any, b: Any, out: Any) -> None:
    """max(a + b, 0). From its result, `activations.relu_backward` makes the gradient of both."""
    flat = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    threads.run(_add_relu, pieces(out), 3 * out.size, *flat)


def accumulate(a: Any, out: Any) -> None:
    """Add `a` to `out`."""
    flat = a.reshape(-1), out.reshape(-1)
    threads.run(_accumulate, pieces(out), 3 * out.size, *flat)


def copy_channels(x: Any, begin: int, out: Any, to: int, count: int) -> None:
    """Copy `count` channels of each image, from `begin` of x to `to` of `out`.

    Once for each input it concatenates along channels; once for each output it splits.

    Parameters
    ----------
    x, out : (N, C, ...) array
        Of as many images of the same size; C may differ.
    begin, to, count : int
    """
    N = x.shape[0]
    size = x[0, 0].size
    rows, outs = x.reshape(N, -1), out.reshape(N, -1)
    threads.run(_copy, N, 2 * N * count * size, rows, begin * size, outs, to * size, count * size)


def pieces(array: Any) -> int:
    """How many parts there are of PIECE elements each."""
    return -(-int(array.size) // PIECE)


@RULE
def piece(flat: Any, first: int, last: int) -> Any:
    """Parts first to last - 1 of a flat array: indices from 0 spare a loop the look at signs."""
    return flat[first * PIECE : last * PIECE]


@compile_named
def _add(a: Any, b: Any, out: Any, first: int, last: int, slot: int) -> None:
    a, b, out = piece(a, first, last), piece(b, first, last), piece(out, first, last)
    for i in range(out.size):
        out[i] = a[i] + b[i]


@compile_named
def _add_relu(a: Any, b: Any, out: Any, first: int, last: int, slot: int) -> None:
    zero = out.dtype.type(0)
    a, b, out = piece(a, first, last), piece(b, first, last), piece(out, first, last)
    for i in range(out.size):
        y = a[i] + b[i]
        out[i] = zero if y <= zero else y


@compile_named
def _accumulate(a: Any, out: Any, first: int, last: int, slot: int) -> None:
    a, out = piece(a, first, last), piece(out, first, last)
    for i in range(out.size):
        out[i] += a[i]


@compile_named
def _copy(
    rows: Any, begin: int, outs: Any, to: int, size: int, first: int, last: int, slot: int
) -> None:
    for n in range(first, last):
        outs[n, to : to + size] = rows[n, begin : begin + size]
