"""Division of an index by a number that is the same for all threads, as a multiplication.

A GPU has no instruction that divides integers: twenty take its place, or four of these.
"""

from __future__ import annotations

from functools import lru_cache

from fastopt.device.language import inlined, int32, int64, uint32

__all__ = ["divided", "reciprocal"]


@lru_cache(maxsize=4096)
def reciprocal(divisor: int) -> tuple[int, int]:
    """What :func:`divided` takes, an uint32 and an int32, in place of a divisor.

    Granlund & Montgomery 1994, theorem 4.2.

    Examples
    --------
    >>> factor, shift = reciprocal(7)
    >>> (2**31 - 1) * factor >> shift == (2**31 - 1) // 7
    True
    """
    shift = 31 + (divisor - 1).bit_length()
    return (1 << shift) // divisor + 1, shift


@inlined
def divided(number, factor, shift):
    """``number // divisor`` for an int32 that is not negative."""
    return int32((int64(uint32(number)) * int64(factor)) >> int64(shift))
