"""Copies in another precision, and counts of evaluations."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastopt.device.arrays import DeviceArray, is_aligned
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, inlined, int64, load4, number_type, pointer_to, store4
from fastopt.kernels.cuda.elementwise import THREADS, apply

__all__ = ["copy", "increment"]


def copy(x: DeviceArray, out: DeviceArray) -> None:
    """Numbers of x to `out`, in its dtype. Of float64 and float32, there is float64 in the code.

    Parameters
    ----------
    x : DeviceArray
        Of floats, integers or bool.
    out : DeviceArray
        Of as many float32, float64 or int64.
    """
    wide = x.dtype.itemsize >= 4 and is_aligned(x, out)
    source = np.dtype(np.uint8) if x.dtype == np.bool_ else x.dtype
    width = 4 if wide else 1
    kernel = _kernel(source.name, out.dtype.name, width)
    kernel.launch((-(-out.size // (THREADS * width)),), x.address, out.address, out.size)


def increment(counts: DeviceArray) -> None:
    """Add 1 to each, of int64."""
    apply(_sum, (counts,), 1, counts)


@inlined
def _sum(count, number):
    return count + number


@cache
def _kernel(source: str, target: str, width: int) -> Kernel:
    number = number_type(target)

    def singly(x, out, n):
        i = int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)
        if i < n:
            out[i] = number(x[i])

    def by_fours(x, out, n):
        i = (int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)) * int64(4)
        if i + int64(4) <= n:
            a, b, c, d = load4(x, i)
            store4(out, i, (number(a), number(b), number(c), number(d)))
        else:
            while i < n:
                out[i] = number(x[i])
                i += int64(1)

    function = by_fours if width == 4 else singly
    return Kernel(function, [pointer_to(source), pointer_to(target), int64], THREADS)
