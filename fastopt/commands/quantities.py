"""Numbers as text, with as many digits as mean something."""

from __future__ import annotations

import math

__all__ = ["duration", "three_digits", "times"]

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def duration(seconds: float) -> str:
    scale, unit = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    return f"{three_digits(seconds / scale)} {unit}"


def three_digits(number: float) -> str:
    """Or more, before the point."""
    rounded = float(f"{number:.2e}")  # which may have another digit before the point
    decimals = max(0, 2 - math.floor(math.log10(rounded))) if rounded else 0
    return f"{number:,.{decimals}f}"


def times(gain: float) -> str:
    return f"{gain:,.0f}x" if gain >= 100.0 else f"{gain:.{1 if gain >= 10.0 else 2}f}x"
