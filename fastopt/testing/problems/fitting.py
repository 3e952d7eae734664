"""Problems of Moré, Garbow & Hillstrom that fit a model to data; their n is fixed.

Each function's formulas and data are those of the publication; ``x1`` is its first variable.
Where the number of data is free there, it is the one for which the minimum is published.
"""

# NumPy types the elements of an array as Any, so every formula in them is Any as well.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numpy as np

from fastopt.testing.problems.definition import Array, SumOfSquares, points, symmetric


def jennrich_sampson() -> SumOfSquares:
    """Problem 6, m = 10."""
    i = np.arange(1.0, 11.0)

    def residuals(x: Array) -> Array:
        return 2.0 + 2.0 * i - (np.exp(i * x[0]) + np.exp(i * x[1]))

    def jacobian(x: Array) -> Array:
        return np.stack([-i * np.exp(i * x[0]), -i * np.exp(i * x[1])], axis=1)

    def curvature(x: Array, weights: Array) -> Array:
        weights = weights * -i * i
        return symmetric(
            2, {(0, 0): weights @ np.exp(i * x[0]), (1, 1): weights @ np.exp(i * x[1])}
        )

    return SumOfSquares(
        x0=np.array([0.3, 0.4]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(124.36218235561485,),
        minimizers=points((0.2578252136703641, 0.2578252136703641)),
    )


def bard() -> SumOfSquares:
    """Problem 8."""
    y = np.array(
        [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39]
    )
    u = np.arange(1.0, 16.0)
    v = 16.0 - u
    w = np.minimum(u, v)

    def residuals(x: Array) -> Array:
        x1, x2, x3 = x
        return y - (x1 + u / (v * x2 + w * x3))

    def jacobian(x: Array) -> Array:
        _, x2, x3 = x
        slope = u / (v * x2 + w * x3) ** 2
        return np.stack([-np.ones_like(slope), slope * v, slope * w], axis=1)

    def curvature(x: Array, weights: Array) -> Array:
        _, x2, x3 = x
        bend = -2.0 * weights * u / (v * x2 + w * x3) ** 3
        return symmetric(
            3, {(1, 1): bend @ (v * v), (1, 2): bend @ (v * w), (2, 2): bend @ (w * w)}
        )

    return SumOfSquares(
        x0=np.array([1.0, 1.0, 1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        # The second as x2 and x3 go to minus infinity: a constant model, so the variance of y.
        minima=(8.21487730657898e-3, float(((y - y.mean()) ** 2).sum())),
        minimizers=points((0.08241055974978899, 1.1330360920297224, 2.3436951786425366)),
    )


def gaussian() -> SumOfSquares:
    """Problem 9."""
    half = [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521]
    y = np.array([*half, 0.3989, *reversed(half)])
    t = (8.0 - np.arange(1.0, 16.0)) / 2.0

    def residuals(x: Array) -> Array:
        x1, x2, x3 = x
        return x1 * np.exp(-x2 * (t - x3) ** 2 / 2.0) - y

    def jacobian(x: Array) -> Array:
        x1, x2, x3 = x
        s = t - x3
        bell = np.exp(-x2 * s * s / 2.0)
        return np.stack([bell, -x1 * bell * s * s / 2.0, x1 * x2 * bell * s], axis=1)

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2, x3 = x
        s = t - x3
        bell = weights * np.exp(-x2 * s * s / 2.0)
        return symmetric(
            3,
            {
                (0, 1): -bell @ (s * s) / 2.0,
                (0, 2): x2 * (bell @ s),
                (1, 1): x1 * (bell @ s**4) / 4.0,
                (1, 2): x1 * (bell @ (s - x2 * s**3 / 2.0)),
                (2, 2): x1 * x2 * (bell @ (x2 * s * s - 1.0)),
            },
        )

    return SumOfSquares(
        x0=np.array([0.4, 1.0, 0.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(1.127932769619e-8,),
        minimizers=points((0.39895613783875666, 1.0000190844878056, 0.0)),
    )


def meyer() -> SumOfSquares:
    """Problem 10. The condition number at the minimiser is about 1e16."""
    y = np.array(
        [
            34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0,
            8261.0, 7030.0, 6005.0, 5147.0, 4427.0, 3820.0, 3307.0, 2872.0,
        ]
    )  # fmt: skip
    t = 45.0 + 5.0 * np.arange(1.0, 17.0)

    def residuals(x: Array) -> Array:
        x1, x2, x3 = x
        return x1 * np.exp(x2 / (t + x3)) - y

    def jacobian(x: Array) -> Array:
        x1, x2, x3 = x
        q = 1.0 / (t + x3)
        growth = np.exp(x2 * q)
        return np.stack([growth, x1 * growth * q, -x1 * x2 * growth * q * q], axis=1)

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2, x3 = x
        q = 1.0 / (t + x3)
        growth = weights * np.exp(x2 * q)
        return symmetric(
            3,
            {
                (0, 1): growth @ q,
                (0, 2): -x2 * (growth @ q**2),
                (1, 1): x1 * (growth @ q**2),
                (1, 2): -x1 * (growth @ (q**2 * (x2 * q + 1.0))),
                (2, 2): x1 * x2 * (growth @ (q**3 * (x2 * q + 2.0))),
            },
        )

    return SumOfSquares(
        x0=np.array([0.02, 4000.0, 250.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(87.945855171,),
        minimizers=points((0.005609636471028053, 6181.346346286372, 345.2236346241365)),
    )


def gulf() -> SumOfSquares:
    """Problem 11, m = 99.

    In the printed residual, the letters "mi" between y and x2 stand for a minus sign. A residual
    has a kink where x2 equals its y.
    """
    t = np.arange(1.0, 100.0) / 100.0
    y = 25.0 + (-50.0 * np.log(t)) ** (2.0 / 3.0)

    def decay(x: Array) -> tuple[Array, Array, Array]:
        """The exponent, the distance of x2 from the data, and its side."""
        x1, x2, x3 = x
        side = np.sign((y - x2).real)
        distance = side * (y - x2)
        return distance**x3 / x1, distance, side

    def residuals(x: Array) -> Array:
        exponent, _, _ = decay(x)
        return np.exp(-exponent) - t

    def exponent_gradient(x: Array, exponent: Array, distance: Array, side: Array) -> Array:
        x1, _, x3 = x
        return np.stack(
            [-exponent / x1, -side * x3 * exponent / distance, exponent * np.log(distance)]
        )

    def jacobian(x: Array) -> Array:
        exponent, distance, side = decay(x)
        gradient = exponent_gradient(x, exponent, distance, side)
        return (-np.exp(-exponent) * gradient).T

    def curvature(x: Array, weights: Array) -> Array:
        x1, _, x3 = x
        exponent, distance, side = decay(x)
        gradient = exponent_gradient(x, exponent, distance, side)
        weights = weights * np.exp(-exponent)
        scaled = weights * exponent
        log = np.log(distance)
        bend = symmetric(
            3,
            {
                (0, 0): scaled.sum() * 2.0 / (x1 * x1),
                (0, 1): scaled @ (side / distance) * x3 / x1,
                (0, 2): -(scaled @ log) / x1,
                (1, 1): x3 * (x3 - 1.0) * (scaled @ distance**-2.0),
                (1, 2): -scaled @ (side / distance * (1.0 + x3 * log)),
                (2, 2): scaled @ (log * log),
            },
        )
        return (gradient * weights) @ gradient.T - bend

    return SumOfSquares(
        x0=np.array([5.0, 2.5, 0.15]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((50.0, 25.0, 1.5)),
    )


def box() -> SumOfSquares:
    """Problem 12, m = 10. The minimum is also reached wherever x1 = x2 and x3 = 0."""
    t = np.arange(1.0, 11.0) / 10.0
    target = np.exp(-t) - np.exp(-10.0 * t)

    def residuals(x: Array) -> Array:
        x1, x2, x3 = x
        return np.exp(-t * x1) - np.exp(-t * x2) - x3 * target

    def jacobian(x: Array) -> Array:
        return np.stack([-t * np.exp(-t * x[0]), t * np.exp(-t * x[1]), -target], axis=1)

    def curvature(x: Array, weights: Array) -> Array:
        weights = weights * t * t
        return symmetric(
            3, {(0, 0): weights @ np.exp(-t * x[0]), (1, 1): -weights @ np.exp(-t * x[1])}
        )

    return SumOfSquares(
        x0=np.array([0.0, 10.0, 20.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((1.0, 10.0, 1.0), (10.0, 1.0, -1.0)),
    )


def kowalik_osborne() -> SumOfSquares:
    """Problem 15."""
    y = np.array(
        [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
    )
    u = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])

    def residuals(x: Array) -> Array:
        x1, x2, x3, x4 = x
        return y - x1 * (u * u + u * x2) / (u * u + u * x3 + x4)

    def jacobian(x: Array) -> Array:
        x1, x2, x3, x4 = x
        top = u * u + u * x2
        bottom = u * u + u * x3 + x4
        slope = x1 * top / bottom**2
        return np.stack([-top / bottom, -x1 * u / bottom, slope * u, slope], axis=1)

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2, x3, x4 = x
        top = u * u + u * x2
        bottom = u * u + u * x3 + x4
        first = weights / bottom
        second = weights / bottom**2
        third = -2.0 * x1 * weights * top / bottom**3
        return symmetric(
            4,
            {
                (0, 1): -first @ u,
                (0, 2): second @ (top * u),
                (0, 3): second @ top,
                (1, 2): x1 * (second @ (u * u)),
                (1, 3): x1 * (second @ u),
                (2, 2): third @ (u * u),
                (2, 3): third @ u,
                (3, 3): third.sum(),
            },
        )

    return SumOfSquares(
        x0=np.array([0.25, 0.39, 0.415, 0.39]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        # The second as x1 goes to infinity and x3, x4 to minus infinity.
        minima=(3.075056038492378e-4, 1.0273430486954e-3),
        minimizers=points(
            (0.1928069345790379, 0.1912823287343668, 0.12305650692632074, 0.13606233068379475)
        ),
    )


def brown_dennis() -> SumOfSquares:
    """Problem 16, m = 20."""
    t = np.arange(1.0, 21.0) / 5.0
    line = np.stack([np.ones_like(t), t, np.zeros_like(t), np.zeros_like(t)], axis=1)
    wave = np.stack([np.zeros_like(t), np.zeros_like(t), np.ones_like(t), np.sin(t)], axis=1)

    def misfits(x: Array) -> tuple[Array, Array]:
        return line @ x - np.exp(t), wave @ x - np.cos(t)

    def residuals(x: Array) -> Array:
        first, second = misfits(x)
        return first * first + second * second

    def jacobian(x: Array) -> Array:
        first, second = misfits(x)
        return 2.0 * (first[:, np.newaxis] * line + second[:, np.newaxis] * wave)

    def curvature(x: Array, weights: Array) -> Array:
        return 2.0 * ((line.T * weights) @ line + (wave.T * weights) @ wave)

    return SumOfSquares(
        x0=np.array([25.0, 5.0, -5.0, -1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(85822.20162635631,),
        minimizers=points(
            (-11.594439904762165, 13.203630051207202, -0.4034394881768595, 0.23677877445573628)
        ),
    )


def osborne_1() -> SumOfSquares:
    """Problem 17."""
    y = np.array(
        [
            0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751,
            0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490,
            0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406,
        ]
    )  # fmt: skip
    t = 10.0 * np.arange(33.0)

    def residuals(x: Array) -> Array:
        x1, x2, x3, x4, x5 = x
        return y - (x1 + x2 * np.exp(-t * x4) + x3 * np.exp(-t * x5))

    def jacobian(x: Array) -> Array:
        _, x2, x3, x4, x5 = x
        slow = np.exp(-t * x4)
        fast = np.exp(-t * x5)
        return np.stack([-np.ones_like(slow), -slow, -fast, x2 * t * slow, x3 * t * fast], axis=1)

    def curvature(x: Array, weights: Array) -> Array:
        _, x2, x3, x4, x5 = x
        slow = weights * t * np.exp(-t * x4)
        fast = weights * t * np.exp(-t * x5)
        return symmetric(
            5,
            {
                (1, 3): slow.sum(),
                (2, 4): fast.sum(),
                (3, 3): -x2 * (slow @ t),
                (4, 4): -x3 * (fast @ t),
            },
        )

    return SumOfSquares(
        x0=np.array([0.5, 1.5, -1.0, 0.01, 0.02]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(5.4648946974829e-5,),
        minimizers=points(
            (
                0.37541005210695194,
                1.9358469127123559,
                -1.4646871366134115,
                0.012867534640057266,
                0.02212269966167266,
            )
        ),
    )


def biggs_exp6() -> SumOfSquares:
    """Problem 18, m = 13.

    The published value 5.65565e-3 is no minimum: the start lies in the subspace x1 = x5, x3 = x6,
    whose lowest point is a saddle of the whole space. Descent leaves it by rounding errors alone.
    """
    t = np.arange(1.0, 14.0) / 10.0
    y = np.exp(-t) - 5.0 * np.exp(-10.0 * t) + 3.0 * np.exp(-4.0 * t)

    def residuals(x: Array) -> Array:
        x1, x2, x3, x4, x5, x6 = x
        return x3 * np.exp(-t * x1) - x4 * np.exp(-t * x2) + x6 * np.exp(-t * x5) - y

    def jacobian(x: Array) -> Array:
        x1, x2, x3, x4, x5, x6 = x
        first, second, third = np.exp(-t * x1), np.exp(-t * x2), np.exp(-t * x5)
        return np.stack(
            [-t * x3 * first, t * x4 * second, first, -second, -t * x6 * third, third], axis=1
        )

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2, x3, x4, x5, x6 = x
        weights = weights * t
        first, second, third = np.exp(-t * x1), np.exp(-t * x2), np.exp(-t * x5)
        return symmetric(
            6,
            {
                (0, 0): x3 * (weights @ (t * first)),
                (0, 2): -weights @ first,
                (1, 1): -x4 * (weights @ (t * second)),
                (1, 3): weights @ second,
                (4, 4): x6 * (weights @ (t * third)),
                (4, 5): -weights @ third,
            },
        )

    return SumOfSquares(
        x0=np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0, 5.6556499254999e-3),
        minimizers=points(
            (1.0, 10.0, 1.0, 5.0, 4.0, 3.0),
            (
                1.7114159947195877,
                17.68319818094906,
                1.1631436609188926,
                5.18656155199345,
                1.7114159947195877,
                1.1631436609188926,
            ),
        ),
    )


def osborne_2() -> SumOfSquares:
    """Problem 19. A decay and three bells: heights x2..x4, widths x6..x8, centres x9..x11."""
    y = np.array(
        [
            1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746,
            0.679, 0.608, 0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649,
            0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395,
            0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653,
            0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739,
            0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054,
        ]
    )  # fmt: skip
    t = np.arange(65.0) / 10.0

    def bells(x: Array) -> tuple[Array, Array, Array, Array]:
        """Heights (3, 1), widths (3, 1), distances from the centres (3, m), and the bells."""
        height, width, centre = x[1:4, np.newaxis], x[5:8, np.newaxis], x[8:11, np.newaxis]
        s = t - centre
        return height, width, s, np.exp(-width * s * s)

    def residuals(x: Array) -> Array:
        height, _, _, bell = bells(x)
        return y - x[0] * np.exp(-t * x[4]) - (height * bell).sum(axis=0)

    def jacobian(x: Array) -> Array:
        height, width, s, bell = bells(x)
        decay = np.exp(-t * x[4])
        rows = np.empty((11, 65), dtype=bell.dtype)
        rows[0] = -decay
        rows[1:4] = -bell
        rows[4] = x[0] * t * decay
        rows[5:8] = height * s * s * bell
        rows[8:11] = -2.0 * height * width * s * bell
        return rows.T

    def curvature(x: Array, weights: Array) -> Array:
        height, width, s, bell = bells(x)
        decay = weights * t * np.exp(-t * x[4])
        bell = weights * bell
        entries = {(0, 4): decay.sum(), (4, 4): -x[0] * (decay @ t)}
        height_width = (s * s * bell).sum(axis=1)
        height_centre = (-2.0 * width * s * bell).sum(axis=1)
        width_width = (-height * s**4 * bell).sum(axis=1)
        width_centre = (2.0 * height * s * (width * s * s - 1.0) * bell).sum(axis=1)
        centre_centre = (2.0 * height * width * (1.0 - 2.0 * width * s * s) * bell).sum(axis=1)
        for k in range(3):
            entries[1 + k, 5 + k] = height_width[k]
            entries[1 + k, 8 + k] = height_centre[k]
            entries[5 + k, 5 + k] = width_width[k]
            entries[5 + k, 8 + k] = width_centre[k]
            entries[8 + k, 8 + k] = centre_centre[k]
        return symmetric(11, entries)

    return SumOfSquares(
        x0=np.array([1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(4.01377362935477e-2,),
        minimizers=points(
            (
                1.3099771546273007,
                0.431553794602989,
                0.633661698960724,
                0.5994305347859162,
                0.7541832263280114,
                0.9042885798596336,
                1.3658118352370279,
                4.823698817227157,
                2.3986848661317546,
                4.568874597667672,
                5.6753414705806415,
            )
        ),
    )
