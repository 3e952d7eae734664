"""Extrapolated differences: what they say lies within the error that they claim."""

import math
import zlib

import numpy as np
import pytest

from fastopt.testing.differences import measure, noise_along
from fastopt.testing.lines import COARSEST, FINEST, Line


def noise_at(x, seed):
    """Standard normal noise that is a function of x."""
    return np.random.default_rng([zlib.crc32(x.tobytes()), seed]).standard_normal()


@pytest.mark.parametrize("level", [1e-12, 1e-6, 1e-2])
def test_noise_level_is_estimated_within_a_factor_of_three(level):
    x = np.array([0.3, 0.7])
    estimates = []
    for seed in range(40):

        def noisy(x, seed=seed):
            return np.array([np.exp(x).sum() + level * noise_at(x, seed)])

        estimates.append(noise_along(Line(noisy, x, x, noisy(x)))[0] / level)
    assert 1 / 3 < np.median(estimates) < 3
    assert np.mean((np.array(estimates) > 0.2) & (np.array(estimates) < 5)) > 0.9


@pytest.mark.parametrize(
    ("function", "x", "slope"),
    [
        (np.exp, 1.0, math.e),
        (np.sin, 1e6, math.cos(1e6)),
        (np.tanh, 0.1, 1 - math.tanh(0.1) ** 2),
        (lambda x: 1 / (1 + x * x), 2.0, -4 / 25),
        (lambda x: np.sin(1e5 * x), 0.0, 1e5),
        (lambda x: np.exp(-x * x), 0.0, 0.0),
        (lambda x: x**1.5, 1e-8, 1.5e-4),
    ],
)
def test_extrapolation_is_far_better_than_one_difference(function, x, slope):
    at = np.array([x])

    def f(point):
        return np.array([function(point[0])])

    line = Line(f, at, np.array([2.0 ** round(math.log2(x)) if x else 1.0]), f(at))
    unit = line.direction[0]
    noise = noise_along(line)
    reading = measure(line, np.array([slope * unit + 1.0]), noise, np.zeros(1))
    apart = abs(reading.value[0] / unit - slope)
    assert apart <= 2.0 * reading.error[0] / unit
    assert apart <= 1e-9 * abs(slope) + 1e-12


@pytest.mark.parametrize("function", [np.tanh, lambda x: np.exp(-x * x), lambda x: 1 / (1 + x**4)])
def test_what_is_flat_far_away_is_not_taken_for_the_derivative_at_x(function):
    x = np.array([0.8])

    def f(point):
        with np.errstate(all="ignore"):
            return np.array([function(point[0])])

    line = Line(f, x, np.array([1.0]), f(x))
    line.sample(range(COARSEST, FINEST + 1))
    reading = measure(line, np.array([7.0]), noise_along(line), np.zeros(1))
    step = 1e-6
    slope = (function(0.8 + step) - function(0.8 - step)) / (2 * step)
    assert reading.value[0] == pytest.approx(slope, rel=1e-8)
