"""What the suites minimize, compiled when it is first called."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

import fastopt


@njit
def chained_rosenbrock(x):
    grad = np.zeros_like(x)
    value = 0.0
    for i in range(x.size - 1):
        rise, rest = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        value += 100.0 * rise * rise + rest * rest
        grad[i] -= 400.0 * x[i] * rise + 2.0 * rest
        grad[i + 1] += 200.0 * rise
    return value, grad


@njit
def solve_each(starts):
    """The minimizer from the last start."""
    x = starts[0]
    for i in range(len(starts)):
        x = fastopt.minimize(
            chained_rosenbrock,
            starts[i],
            method="bfgs",
            jac=True,
            options=fastopt.Options(gtol=1e-8),
        ).x
    return x


@njit
def gaussian_line(line, t, y):
    """Squares of what a line of this height, centre and log-width leaves of `y`."""
    height, centre, width = line[0], line[1], math.exp(line[2])
    value = 0.0
    grad = np.zeros(3)
    for i in range(t.size):
        at = (t[i] - centre) / width
        shape = math.exp(-0.5 * at * at)
        residual = height * shape - y[i]
        value += residual * residual
        grad[0] += 2.0 * residual * shape
        slope = 2.0 * residual * height * shape * at
        grad[1] += slope / width
        grad[2] += slope * at
    return value, grad


@njit
def smoothing(x, y, weight, softness):
    """Half the squared distance from `y`, and the jumps: |jump|, smooth below `softness`."""
    grad = x - y
    value = 0.5 * np.dot(grad, grad)
    for i in range(x.size - 1):
        jump = x[i + 1] - x[i]
        size = math.sqrt(jump * jump + softness * softness)
        value += weight * (size - softness)
        slope = weight * jump / size
        grad[i] -= slope
        grad[i + 1] += slope
    return value, grad
