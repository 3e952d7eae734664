"""Problems of Hock & Schittkowski that are not sums of squares, without constraints but bounds.

Each function's formulas and data are those of the publication, up to a constant factor in some
that the authors' own program scales; ``x1`` is its first variable.
"""

# NumPy types the elements of an array as Any, so every formula in them is Any as well.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.testing.problems.definition import Array, Smooth, points, symmetric


def hs_3() -> Smooth:
    """Problem 3. Nearly linear, and flat along the bound."""

    def function(x: Array) -> Any:
        x1, x2 = x
        return x2 + 1e-5 * (x2 - x1) ** 2

    def gradient(x: Array) -> Array:
        x1, x2 = x
        slope = 2e-5 * (x2 - x1)
        return np.array([-slope, 1.0 + slope])

    def curvature(x: Array) -> Array:
        return np.array([[2e-5, -2e-5], [-2e-5, 2e-5]], dtype=x.dtype)

    return Smooth(
        x0=np.array([10.0, 1.0]),
        low=np.array([-np.inf, 0.0]),
        high=np.full(2, np.inf),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((0.0, 0.0)),
    )


def hs_4() -> Smooth:
    """Problem 4. Both bounds are active."""

    def function(x: Array) -> Any:
        x1, x2 = x
        return (x1 + 1.0) ** 3 / 3.0 + x2

    def gradient(x: Array) -> Array:
        return np.array([(x[0] + 1.0) ** 2, 1.0])

    def curvature(x: Array) -> Array:
        return symmetric(2, {(0, 0): 2.0 * (x[0] + 1.0)})

    return Smooth(
        x0=np.array([1.125, 0.125]),
        low=np.array([1.0, 0.0]),
        high=np.full(2, np.inf),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(8.0 / 3.0,),
        minimizers=points((1.0, 0.0)),
    )


def hs_5() -> Smooth:
    """Problem 5. The bounds are inactive at both minima."""

    def function(x: Array) -> Any:
        x1, x2 = x
        return np.sin(x1 + x2) + (x1 - x2) ** 2 - 1.5 * x1 + 2.5 * x2 + 1.0

    def gradient(x: Array) -> Array:
        x1, x2 = x
        wave = np.cos(x1 + x2)
        return np.array([wave + 2.0 * (x1 - x2) - 1.5, wave - 2.0 * (x1 - x2) + 2.5])

    def curvature(x: Array) -> Array:
        wave = -np.sin(x[0] + x[1])
        return symmetric(2, {(0, 0): wave + 2.0, (0, 1): wave - 2.0, (1, 1): wave + 2.0})

    third = np.pi / 3.0
    lowest = float(-np.sqrt(3.0) / 2.0 - third)
    return Smooth(
        x0=np.zeros(2),
        low=np.array([-1.5, -3.0]),
        high=np.array([4.0, 3.0]),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(lowest, lowest + np.pi),
        minimizers=points((0.5 - third, -0.5 - third), (0.5 - third + np.pi, -0.5 - third + np.pi)),
    )


def hs_45() -> Smooth:
    """Problem 45, from an infeasible start. All upper bounds are active."""
    n = 5

    def product(x: Array, *without: int) -> Any:
        return np.delete(x, without).prod()

    def function(x: Array) -> Any:
        return 2.0 - product(x) / 120.0

    def gradient(x: Array) -> Array:
        return -np.array([product(x, i) for i in range(n)]) / 120.0

    def curvature(x: Array) -> Array:
        return symmetric(
            n, {(i, j): -product(x, i, j) / 120.0 for i in range(n) for j in range(i + 1, n)}
        )

    return Smooth(
        x0=np.full(n, 2.0),
        low=np.zeros(n),
        high=np.arange(1.0, n + 1.0),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(1.0,),
        minimizers=points((1.0, 2.0, 3.0, 4.0, 5.0)),
    )


def hs_110() -> Smooth:
    """Problem 110. Defined between 2 and 10 alone, a little more than its bounds allow."""
    n = 10

    def function(x: Array) -> Any:
        logarithms = np.log(x - 2.0) ** 2 + np.log(10.0 - x) ** 2
        return logarithms.sum() - x.prod() ** 0.2

    def gradient(x: Array) -> Array:
        low, high = x - 2.0, 10.0 - x
        return 2.0 * (np.log(low) / low - np.log(high) / high) - 0.2 * x.prod() ** 0.2 / x

    def curvature(x: Array) -> Array:
        low, high = x - 2.0, 10.0 - x
        power = x.prod() ** 0.2
        straight = 2.0 * ((1.0 - np.log(low)) / low**2 + (1.0 - np.log(high)) / high**2)
        return np.diag(straight + 0.2 * power / x**2) - 0.04 * power * np.multiply.outer(
            1 / x, 1 / x
        )

    return Smooth(
        x0=np.full(n, 9.0),
        low=np.full(n, 2.001),
        high=np.full(n, 9.999),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(-45.77846970744629,),
        minimizers=(np.full(n, 9.350265833069384),),
    )


def hs_213() -> Smooth:
    """Problem 213: the fourth power of a quadratic."""
    return _of_a_quadratic(
        np.array([[11.0, -10.0], [-10.0, 10.0]]),
        outer=lambda q: (q**4, 4.0 * q**3, 12.0 * q**2),
        x0=np.array([3.0, 1.0]),
        center=np.ones(2),
    )


def hs_257() -> Smooth:
    """Problem 257, from an infeasible start: Wood's function with x1 for x2 in one product."""
    return _two_valleys(
        power=2,
        coupling=symmetric(4, {(0, 3): 19.8, (1, 1): 20.2, (3, 3): 20.2}),
        x0=np.array([-3.0, -1.0, -3.0, -1.0]),
        low=np.array([0.0, -np.inf, 0.0, -np.inf]),
        high=np.full(4, np.inf),
        known=(
            (0.0, (1.0, 1.0, 1.0, 1.0)),
            (0.6330435523978472, (0.0, 0.09173478655767484, 1.4015784510987308, 1.966013925200685)),
        ),
    )


def hs_259() -> Smooth:
    """Problem 259: near Wood's function, with a cube for a square.

    No bound is active at the published minimum, but without them there are lower ones.
    """
    return _two_valleys(
        power=3,
        coupling=symmetric(4, {(1, 1): 20.2, (1, 3): 19.8, (3, 3): 2.0}),
        x0=np.zeros(4),
        low=np.full(4, -np.inf),
        high=np.array([np.inf, np.inf, np.inf, 1.0]),
        known=(
            (
                -8.54462101481016,
                (1.4358419096659212, 2.0631597120360765, 0.06897451056564516, -0.09996821614788827),
            ),
            (
                -2.8610358972700975,
                (-1.405618288658074, 1.9843199268992642, 0.07426901137011535, -0.09064107177815632),
            ),
        ),
    )


def hs_273() -> Smooth:
    """Problem 273: a quadratic and its square."""
    return _of_a_quadratic(
        np.diag(16.0 - np.arange(1.0, 7.0)),
        outer=lambda q: (10.0 * q * (1.0 + q), 10.0 + 20.0 * q, 20.0),
        x0=np.zeros(6),
        center=np.ones(6),
    )


def hs_274(n: int) -> Smooth:
    """Problems 274 to 276: the quadratic of the Hilbert matrix of n = 2, 4, 6."""
    i = np.arange(1.0, n + 1.0)
    return _of_a_quadratic(
        1.0 / (np.add.outer(i, i) - 1.0),
        outer=lambda q: (q, 1.0, 0.0),
        x0=-4.0 / i,
        center=np.zeros(n),
    )


def hs_283() -> Smooth:
    """Problem 283: the cube of a quadratic."""
    return _of_a_quadratic(
        np.diag(np.arange(1.0, 11.0) ** 3),
        outer=lambda q: (q**3, 3.0 * q**2, 6.0 * q),
        x0=np.zeros(10),
        center=np.ones(10),
    )


def hs_289() -> Smooth:
    """Problem 289, n = 30: a dent in a plain, which is flat far from the start."""
    n = 30
    i = np.arange(1.0, n + 1.0)

    def outer(q: Any) -> tuple[Any, Any, Any]:
        decay = np.exp(-q / 60.0)
        return -np.expm1(-q / 60.0), decay / 60.0, -decay / 3600.0

    return _of_a_quadratic(
        np.eye(n), outer=outer, x0=(-1.0) ** i * (1.0 + i / 30.0), center=np.zeros(n)
    )


def hs_290(n: int) -> Smooth:
    """Problems 290 to 293: the square of a quadratic of n = 2, 10, 30, 50 variables."""
    return _of_a_quadratic(
        np.diag(np.arange(1.0, n + 1.0)),
        outer=lambda q: (q * q, 2.0 * q, 2.0),
        x0=np.ones(n),
        center=np.zeros(n),
    )


def hs_300(n: int) -> Smooth:
    """Problems 300 to 302: a tridiagonal quadratic of n = 20, 50, 100 variables."""
    matrix = 2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    matrix[0, 0] = 1.0
    return _of_a_quadratic(
        matrix,
        outer=lambda q: (q - n, 1.0, 0.0),
        x0=np.zeros(n),
        center=np.arange(n, 0.0, -1.0),
        minimum=-float(n),
    )


def hs_306() -> Smooth:
    """Problem 306. Two saddles, and a plain where the function rises to zero."""
    weights = np.array([2.0, 3.0])

    def function(x: Array) -> Any:
        return -np.exp(-(x @ x)) * (weights @ x**2)

    def gradient(x: Array) -> Array:
        return -np.exp(-(x @ x)) * 2.0 * x * (weights - weights @ x**2)

    def curvature(x: Array) -> Array:
        total = weights @ x**2
        mixed = np.multiply.outer(weights * x, x)
        straight = np.diag(2.0 * (weights - total))
        bend = 4.0 * (total * np.multiply.outer(x, x) - mixed - mixed.T)
        return -np.exp(-(x @ x)) * (straight + bend)

    return Smooth(
        x0=np.ones(2),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(float(-3.0 * np.exp(-1.0)),),
        minimizers=points((0.0, 1.0), (0.0, -1.0)),
    )


def hs_309() -> Smooth:
    """Problem 309: a quartic in x1, a quadratic in x2."""

    def function(x: Array) -> Any:
        x1, x2 = x
        quartic = (((1.41 * x1 - 12.76) * x1 + 39.91) * x1 - 51.93) * x1 + 24.37
        return quartic + (x2 - 3.9) ** 2

    def gradient(x: Array) -> Array:
        x1, x2 = x
        return np.array([((5.64 * x1 - 38.28) * x1 + 79.82) * x1 - 51.93, 2.0 * (x2 - 3.9)])

    def curvature(x: Array) -> Array:
        return symmetric(2, {(0, 0): (16.92 * x[0] - 76.56) * x[0] + 79.82, (1, 1): 2.0})

    return Smooth(
        x0=np.zeros(2),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(-3.987170807581877,),
        minimizers=points((3.482684305981154, 3.9)),
    )


def hs_313() -> Smooth:
    """Problem 313: a cliff on one side of a long slope."""

    def function(x: Array) -> Any:
        x1, x2 = x
        return 1e-4 * (x1 - 3.0) ** 2 - (x2 - x1) + np.exp(20.0 * (x2 - x1))

    def gradient(x: Array) -> Array:
        x1, x2 = x
        slope = 20.0 * np.exp(20.0 * (x2 - x1)) - 1.0
        return np.array([2e-4 * (x1 - 3.0) - slope, slope])

    def curvature(x: Array) -> Array:
        bend = 400.0 * np.exp(20.0 * (x[1] - x[0]))
        return symmetric(2, {(0, 0): 2e-4 + bend, (0, 1): -bend, (1, 1): bend})

    drop = np.log(20.0) / 20.0
    return Smooth(
        x0=np.array([0.0, -1.0]),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(float(drop + 0.05),),
        minimizers=points((3.0, 3.0 - drop)),
    )


def hs_328() -> Smooth:
    """Problem 328, from an infeasible start. The bounds are inactive."""

    def function(x: Array) -> Any:
        u, v = x**2
        return 0.1 * (12.0 + u + (1.0 + v) / u + (1.0 + 100.0 / (u * v)) / (u * v))

    def gradient(x: Array) -> Array:
        x1, x2 = x
        u, v = x**2
        product = u * v
        common = (2.0 + 400.0 / product) / product
        return 0.1 * np.array(
            [2.0 * x1 - 2.0 * (1.0 + v) / (u * x1) - common / x1, 2.0 * x2 / u - common / x2]
        )

    def curvature(x: Array) -> Array:
        u, v = x**2
        product = u * v
        straight = (6.0 + 2000.0 / product) / product
        mixed = (4.0 + 1600.0 / product) / product
        return 0.1 * symmetric(
            2,
            {
                (0, 0): 2.0 + 6.0 * (1.0 + v) / u**2 + straight / u,
                (0, 1): (mixed - 4.0 * v / u) / x.prod(),
                (1, 1): 2.0 / u + straight / v,
            },
        )

    return Smooth(
        x0=np.full(2, 0.5),
        low=np.ones(2),
        high=np.full(2, 3.0),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(1.7441520055877389,),
        minimizers=points((1.7434520869414165, 2.0296947100006877)),
    )


def hs_368() -> Smooth:
    """Problem 368: a nonconvex quintic form in a box, with many local minima."""

    def function(x: Array) -> Any:
        return (x**3).sum() ** 2 - (x**2).sum() * (x**4).sum()

    def gradient(x: Array) -> Array:
        square, cube, fourth = ((x**k).sum() for k in (2, 3, 4))
        return 6.0 * cube * x**2 - 2.0 * fourth * x - 4.0 * square * x**3

    def curvature(x: Array) -> Array:
        square, cube, fourth = ((x**k).sum() for k in (2, 3, 4))
        mixed = np.multiply.outer(x, x**3)
        straight = np.diag(12.0 * cube * x - 2.0 * fourth - 12.0 * square * x**2)
        return straight + 18.0 * np.multiply.outer(x**2, x**2) - 8.0 * (mixed + mixed.T)

    x0 = 1.0 - 1.0 / np.arange(1.0, 9.0)
    x0[6:] = 0.7
    return Smooth(
        x0=x0,
        low=np.zeros(8),
        high=np.ones(8),
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(-0.75,),
        minimizers=points((0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0)),
    )


def _of_a_quadratic(
    matrix: Array,
    outer: Callable[[Any], tuple[Any, Any, Any]],
    x0: Array,
    center: Array,
    minimum: float = 0.0,
) -> Smooth:
    """A function of ``q = (x - center) @ matrix @ (x - center)``, by chain rule.

    ``outer(q)`` gives it and its first and second derivative; `minimum` is that at q = 0.
    """

    def quadratic(x: Array) -> tuple[Any, Array]:
        half_slope = matrix @ (x - center)
        return (x - center) @ half_slope, 2.0 * half_slope

    def function(x: Array) -> Any:
        return outer(quadratic(x)[0])[0]

    def gradient(x: Array) -> Array:
        q, slope = quadratic(x)
        return outer(q)[1] * slope

    def curvature(x: Array) -> Array:
        q, slope = quadratic(x)
        _, first, second = outer(q)
        return 2.0 * first * matrix + second * np.multiply.outer(slope, slope)

    return Smooth(
        x0=x0,
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=(minimum,),
        minimizers=(center,),
    )


def _two_valleys(
    power: int,
    coupling: Array,
    x0: Array,
    low: Array,
    high: Array,
    known: tuple[tuple[float, tuple[float, ...]], ...],
) -> Smooth:
    """Two of Rosenbrock's valleys and ``(x - 1) @ coupling @ (x - 1) / 2``.

    The second has ``(1 - x3)^power`` in place of the square.
    """

    def function(x: Array) -> Any:
        x1, x2, x3, x4 = x
        first = 100.0 * (x2 - x1 * x1) ** 2 + (1.0 - x1) ** 2
        second = 90.0 * (x4 - x3 * x3) ** 2 + (1.0 - x3) ** power
        return first + second + (x - 1.0) @ coupling @ (x - 1.0) / 2.0

    def gradient(x: Array) -> Array:
        x1, x2, x3, x4 = x
        first, second = 200.0 * (x2 - x1 * x1), 180.0 * (x4 - x3 * x3)
        cliff = power * (1.0 - x3) ** (power - 1)
        valleys = [
            -2.0 * x1 * first - 2.0 * (1.0 - x1),
            first,
            -2.0 * x3 * second - cliff,
            second,
        ]
        return np.array(valleys) + coupling @ (x - 1.0)

    def curvature(x: Array) -> Array:
        x1, x2, x3, x4 = x
        cliff = power * (power - 1) * (1.0 - x3) ** (power - 2)
        valleys = symmetric(
            4,
            {
                (0, 0): 1200.0 * x1 * x1 - 400.0 * x2 + 2.0,
                (0, 1): -400.0 * x1,
                (1, 1): 200.0,
                (2, 2): 1080.0 * x3 * x3 - 360.0 * x4 + cliff,
                (2, 3): -360.0 * x3,
                (3, 3): 180.0,
            },
        )
        return valleys + coupling

    return Smooth(
        x0=x0,
        low=low,
        high=high,
        function=function,
        gradient=gradient,
        curvature=curvature,
        minima=tuple(minimum for minimum, _ in known),
        minimizers=points(*(minimizer for _, minimizer in known)),
    )
