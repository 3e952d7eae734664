"""Problems of Moré, Garbow & Hillstrom with two to four variables and no data to fit.

Each function's formulas are those of the publication; ``x1`` is its first variable.
"""

# NumPy types the elements of an array as Any, so every formula in them is Any as well.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numpy as np

from fastopt.testing.problems.definition import Array, SumOfSquares, points, symmetric


def freudenstein_roth() -> SumOfSquares:
    """Problem 2. The far minimum attracts most solvers from the standard start."""

    def residuals(x: Array) -> Array:
        x1, x2 = x
        return np.array(
            [
                x1 + ((5.0 - x2) * x2 - 2.0) * x2 - 13.0,
                x1 + ((x2 + 1.0) * x2 - 14.0) * x2 - 29.0,
            ]
        )

    def jacobian(x: Array) -> Array:
        x2 = x[1]
        return np.array(
            [
                [1.0, (10.0 - 3.0 * x2) * x2 - 2.0],
                [1.0, (3.0 * x2 + 2.0) * x2 - 14.0],
            ]
        )

    def curvature(x: Array, weights: Array) -> Array:
        x2 = x[1]
        return symmetric(
            2, {(1, 1): weights[0] * (10.0 - 6.0 * x2) + weights[1] * (6.0 * x2 + 2.0)}
        )

    root = np.sqrt(22.0)
    return SumOfSquares(
        x0=np.array([0.5, -2.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0, 48.98425367924),
        minimizers=points((5.0, 4.0), ((53.0 - 4.0 * root) / 3.0, (2.0 - root) / 3.0)),
    )


def powell_badly_scaled() -> SumOfSquares:
    """Problem 3."""

    def residuals(x: Array) -> Array:
        x1, x2 = x
        return np.array([1e4 * x1 * x2 - 1.0, np.exp(-x1) + np.exp(-x2) - 1.0001])

    def jacobian(x: Array) -> Array:
        x1, x2 = x
        return np.array([[1e4 * x2, 1e4 * x1], [-np.exp(-x1), -np.exp(-x2)]])

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2 = x
        return symmetric(
            2,
            {
                (0, 0): weights[1] * np.exp(-x1),
                (0, 1): weights[0] * 1e4,
                (1, 1): weights[1] * np.exp(-x2),
            },
        )

    return SumOfSquares(
        x0=np.array([0.0, 1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((1.0981593296998053e-05, 9.106146739866624)),
    )


def brown_badly_scaled() -> SumOfSquares:
    """Problem 4."""

    def residuals(x: Array) -> Array:
        x1, x2 = x
        return np.array([x1 - 1e6, x2 - 2e-6, x1 * x2 - 2.0])

    def jacobian(x: Array) -> Array:
        x1, x2 = x
        return np.array([[1.0, 0.0], [0.0, 1.0], [x2, x1]])

    def curvature(x: Array, weights: Array) -> Array:
        return symmetric(2, {(0, 1): weights[2]})

    return SumOfSquares(
        x0=np.array([1.0, 1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((1e6, 2e-6)),
    )


def beale() -> SumOfSquares:
    """Problem 5."""
    y = np.array([1.5, 2.25, 2.625])

    def residuals(x: Array) -> Array:
        x1, x2 = x
        return y - x1 * (1.0 - np.array([x2, x2**2, x2**3]))

    def jacobian(x: Array) -> Array:
        x1, x2 = x
        return np.array(
            [
                [x2 - 1.0, x1],
                [x2**2 - 1.0, 2.0 * x1 * x2],
                [x2**3 - 1.0, 3.0 * x1 * x2**2],
            ]
        )

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2 = x
        return symmetric(
            2,
            {
                (0, 1): weights[0] + weights[1] * 2.0 * x2 + weights[2] * 3.0 * x2**2,
                (1, 1): weights[1] * 2.0 * x1 + weights[2] * 6.0 * x1 * x2,
            },
        )

    return SumOfSquares(
        x0=np.array([1.0, 1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((3.0, 0.5)),
    )


def helical_valley() -> SumOfSquares:
    """Problem 7. The angle jumps by a full turn across the half-plane x1 = 0, x2 < 0."""

    def turns(x1: Array, x2: Array) -> Array:
        # Adding zero turns -0.0 into 0.0, whose quotient has the sign of x2.
        angle: Array = np.arctan(x2 / (x1 + 0.0)) / (2.0 * np.pi)
        return angle + 0.5 if x1.real < 0.0 else angle

    def residuals(x: Array) -> Array:
        x1, x2, x3 = x
        radius = np.sqrt(x1 * x1 + x2 * x2)
        return np.array([10.0 * (x3 - 10.0 * turns(x1, x2)), 10.0 * (radius - 1.0), x3])

    def jacobian(x: Array) -> Array:
        x1, x2, _ = x
        square = x1 * x1 + x2 * x2
        radius = np.sqrt(square)
        angular = 50.0 / (np.pi * square)
        return np.array(
            [
                [angular * x2, -angular * x1, 10.0],
                [10.0 * x1 / radius, 10.0 * x2 / radius, 0.0],
                [0.0, 0.0, 1.0],
            ]
        )

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2, _ = x
        square = x1 * x1 + x2 * x2
        angular = weights[0] * 50.0 / (np.pi * square * square)
        radial = weights[1] * 10.0 / (square * np.sqrt(square))
        return symmetric(
            3,
            {
                (0, 0): -angular * 2.0 * x1 * x2 + radial * x2 * x2,
                (0, 1): angular * (x1 * x1 - x2 * x2) - radial * x1 * x2,
                (1, 1): angular * 2.0 * x1 * x2 + radial * x1 * x1,
            },
        )

    return SumOfSquares(
        x0=np.array([-1.0, 0.0, 0.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((1.0, 0.0, 0.0)),
    )


def wood() -> SumOfSquares:
    """Problem 14."""
    steep = np.sqrt(90.0)
    joint = np.sqrt(10.0)

    def residuals(x: Array) -> Array:
        x1, x2, x3, x4 = x
        return np.array(
            [
                10.0 * (x2 - x1 * x1),
                1.0 - x1,
                steep * (x4 - x3 * x3),
                1.0 - x3,
                joint * (x2 + x4 - 2.0),
                (x2 - x4) / joint,
            ]
        )

    def jacobian(x: Array) -> Array:
        x1, _, x3, _ = x
        return np.array(
            [
                [-20.0 * x1, 10.0, 0.0, 0.0],
                [-1.0, 0.0, 0.0, 0.0],
                [0.0, 0.0, -2.0 * steep * x3, steep],
                [0.0, 0.0, -1.0, 0.0],
                [0.0, joint, 0.0, joint],
                [0.0, 1.0 / joint, 0.0, -1.0 / joint],
            ]
        )

    def curvature(x: Array, weights: Array) -> Array:
        return symmetric(4, {(0, 0): -20.0 * weights[0], (2, 2): -2.0 * steep * weights[2]})

    return SumOfSquares(
        x0=np.array([-3.0, -1.0, -3.0, -1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((1.0, 1.0, 1.0, 1.0)),
    )
