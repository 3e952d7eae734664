"""Copies in another precision, and counts of evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["copy", "increment"]


def copy(x: Any, out: Any) -> None:
    """Numbers of x to `out`, in its dtype; nothing interrupts it."""
    np.copyto(out, x, casting="unsafe")


def increment(counts: Any) -> None:
    """Add 1 to each."""
    counts += 1
