"""Schedules of the step length: multipliers of ``lr`` as functions of the number of the step.

A `Schedule` is data, made by a function for each shape and combined by `Schedule.then` and ``*``.
It is called with the number of the step, from 1, in Python and in ``@njit`` code alike. `Plateau`
is no function of the step alone: it follows what is reported to it.

Nothing here loads Numba; where Numba is at work already, it gets to know schedules.
"""

import sys
from importlib import import_module

from fastopt.schedules.plateau import Plateau
from fastopt.schedules.schedule import (
    Schedule,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    inverse_sqrt,
    linear,
    one_cycle,
    piecewise,
    polynomial,
    step,
    warmup,
)

__all__ = [
    "Plateau",
    "Schedule",
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_sqrt",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "step",
    "warmup",
]

if "numba" in sys.modules:
    import_module("fastopt.schedules.compiled")
