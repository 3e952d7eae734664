"""Counters of three digits, which lie in shared memory and count on by a fixed step.

A pixel is an image, a row and a column; a tap a channel, and a row and a column of the window. A
GPU divides in some 40 instructions, most of which wait for the one before: here it does so only to
begin.
"""

from __future__ import annotations

from fastopt.device.language import inlined, int32, load4, quotient, store4

__all__ = ["NOWHERE", "begin_counter", "counted_on", "digits_of", "set_step"]

# A row or column that lies in no image, and stays so when others are added.
NOWHERE = 1 << 29


@inlined
def digits_of(number, first, second):
    """``number = high first + middle second + low``, with ``first`` a multiple of ``second``."""
    high = quotient(number, first)
    rest = int32(number - high * first)
    middle = quotient(rest, second)
    return high, middle, int32(rest - middle * second)


@inlined
def begin_counter(counters, slot, number, first, second):
    """Let a counter begin at a number, and return its digits."""
    high, middle, low = digits_of(number, first, second)
    store4(counters, int32(4 * slot), (high, middle, low, int32(0)))
    return high, middle, low


@inlined
def set_step(counters, slot, step, first, second):
    """Put into a slot the step that counters are to count by."""
    high, middle, low = digits_of(step, first, second)
    store4(counters, int32(4 * slot), (high, middle, low, quotient(first, second)))


@inlined
def counted_on(counters, slot, step_slot, second):
    """Let a counter count on by the step that another slot has, and return its digits."""
    high, middle, low, _ = load4(counters, int32(4 * slot))
    more_high, more_middle, more_low, middles = load4(counters, int32(4 * step_slot))
    high, middle, low = int32(high + more_high), int32(middle + more_middle), int32(low + more_low)
    if low >= second:
        low, middle = int32(low - second), int32(middle + int32(1))
    if middle >= middles:
        middle, high = int32(middle - middles), int32(high + int32(1))
    store4(counters, int32(4 * slot), (high, middle, low, int32(0)))
    return high, middle, low
