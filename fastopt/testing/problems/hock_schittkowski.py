"""Problems of Hock & Schittkowski that are sums of squares, without constraints but bounds.

Each function's formulas and data are those of the publication, up to a constant factor in some
that the authors' own program scales; ``x1`` is its first variable. Those that differ from a
problem of Moré, Garbow & Hillstrom by start or bounds alone are made of it.
"""

# NumPy types the elements of an array as Any, so every formula in them is Any as well.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fastopt.testing.problems import fitting, small, tabulated
from fastopt.testing.problems.definition import Array, SumOfSquares, points, symmetric


def _valley(
    steep: float,
    slope: float = 1.0,
    power: int = 2,
    x0: tuple[float, float] = (-1.2, 1.0),
    low: tuple[float, float] | None = None,
    high: tuple[float, float] | None = None,
    known: tuple[tuple[float, tuple[float, float]], ...] = ((0.0, (1.0, 1.0)),),
) -> SumOfSquares:
    """Rosenbrock's valley: residuals ``steep (x2 - x1^power)`` and ``slope (1 - x1)``."""

    def residuals(x: Array) -> Array:
        x1, x2 = x
        return np.array([steep * (x2 - x1**power), slope * (1.0 - x1)])

    def jacobian(x: Array) -> Array:
        return np.array([[-steep * power * x[0] ** (power - 1), steep], [-slope, 0.0]])

    def curvature(x: Array, weights: Array) -> Array:
        bend = -steep * power * (power - 1) * x[0] ** (power - 2)
        return symmetric(2, {(0, 0): weights[0] * bend})

    return SumOfSquares(
        x0=np.array(x0),
        low=None if low is None else np.array(low),
        high=None if high is None else np.array(high),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=tuple(minimum for minimum, _ in known),
        minimizers=points(*(minimizer for _, minimizer in known)),
    )


def hs_1() -> SumOfSquares:
    """Problem 1. The bound is inactive."""
    return _valley(10.0, x0=(-2.0, 1.0), low=(-np.inf, -1.5))


def hs_2() -> SumOfSquares:
    """Problem 2, from an infeasible start. The bound is active."""
    return _valley(
        10.0,
        x0=(-2.0, 1.0),
        low=(-np.inf, 1.5),
        known=(
            (0.05042618789360708, (1.2243707487363524, 1.5)),
            (4.941229317989185, (-1.2210262421071016, 1.5)),
        ),
    )


def hs_25() -> SumOfSquares:
    """Problem 25: the Gulf problem in a box. At the start it is flat to the last digits."""
    return replace(
        fitting.gulf(),
        x0=np.array([100.0, 12.5, 3.0]),
        low=np.array([0.1, 0.0, 0.0]),
        high=np.array([100.0, 25.6, 5.0]),
    )


def hs_38() -> SumOfSquares:
    """Problem 38: Wood's function in a box; no bound is active."""
    return replace(small.wood(), low=np.full(4, -10.0), high=np.full(4, 10.0))


def hs_201() -> SumOfSquares:
    """Problem 201."""
    return _linear(np.diag([2.0, 1.0]), x0=np.array([8.0, 9.0]), solution=np.array([5.0, 6.0]))


def hs_202() -> SumOfSquares:
    """Problem 202: Freudenstein and Roth's function from another start."""
    return replace(small.freudenstein_roth(), x0=np.array([15.0, -2.0]))


def hs_203() -> SumOfSquares:
    """Problem 203: Beale's function from another start."""
    return replace(small.beale(), x0=np.array([2.0, 0.2]))


def hs_205() -> SumOfSquares:
    """Problem 205: Beale's function from a third start."""
    return replace(small.beale(), x0=np.zeros(2))


def hs_206() -> SumOfSquares:
    """Problem 206."""
    return _valley(1.0, slope=10.0)


def hs_207() -> SumOfSquares:
    """Problem 207."""
    return _valley(1.0)


def hs_209() -> SumOfSquares:
    """Problem 209."""
    return _valley(100.0)


def hs_210() -> SumOfSquares:
    """Problem 210."""
    return _valley(1000.0)


def hs_211() -> SumOfSquares:
    """Problem 211."""
    return _valley(10.0, power=3)


def hs_212() -> SumOfSquares:
    """Problem 212."""

    def residuals(x: Array) -> Array:
        x1, x2 = x
        first = 4.0 * (x1 + x2)
        return np.array([first, first + (x1 - x2) * ((x1 - 2.0) ** 2 + x2 * x2 - 1.0)])

    def jacobian(x: Array) -> Array:
        x1, x2 = x
        circle = (x1 - 2.0) ** 2 + x2 * x2 - 1.0
        return np.array(
            [
                [4.0, 4.0],
                [
                    4.0 + circle + 2.0 * (x1 - x2) * (x1 - 2.0),
                    4.0 - circle + 2.0 * (x1 - x2) * x2,
                ],
            ]
        )

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2 = x
        return symmetric(
            2,
            {
                (0, 0): weights[1] * (4.0 * (x1 - 2.0) + 2.0 * (x1 - x2)),
                (0, 1): weights[1] * (2.0 * x2 - 2.0 * (x1 - 2.0)),
                (1, 1): weights[1] * (2.0 * (x1 - x2) - 4.0 * x2),
            },
        )

    return SumOfSquares(
        x0=np.array([2.0, 0.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((0.0, 0.0)),
    )


def hs_229() -> SumOfSquares:
    """Problem 229. The bounds are inactive."""
    return _valley(10.0, low=(-2.0, -2.0), high=(2.0, 2.0))


def hs_240() -> SumOfSquares:
    """Problem 240."""
    matrix = np.array([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])
    return _linear(matrix, x0=np.array([100.0, -1.0, 2.5]), solution=np.zeros(3))


def hs_241() -> SumOfSquares:
    """Problem 241."""

    def residuals(x: Array) -> Array:
        x1, x2, x3 = x
        plane = x1 * x1 + x2 * x2
        return np.array(
            [
                plane + x3 * x3 - 1.0,
                plane + (x3 - 2.0) ** 2 - 1.0,
                x1 + x2 + x3 - 1.0,
                x1 + x2 - x3 + 1.0,
                x1**3 + 3.0 * x2 * x2 + (5.0 * x3 - x1 + 1.0) ** 2 - 36.0,
            ]
        )

    def jacobian(x: Array) -> Array:
        x1, x2, x3 = x
        last = 2.0 * (5.0 * x3 - x1 + 1.0)
        return np.array(
            [
                [2.0 * x1, 2.0 * x2, 2.0 * x3],
                [2.0 * x1, 2.0 * x2, 2.0 * (x3 - 2.0)],
                [1.0, 1.0, 1.0],
                [1.0, 1.0, -1.0],
                [3.0 * x1 * x1 - last, 6.0 * x2, 5.0 * last],
            ]
        )

    def curvature(x: Array, weights: Array) -> Array:
        both = 2.0 * (weights[0] + weights[1])
        return symmetric(
            3,
            {
                (0, 0): both + weights[4] * (6.0 * x[0] + 2.0),
                (0, 2): -10.0 * weights[4],
                (1, 1): both + 6.0 * weights[4],
                (2, 2): both + 50.0 * weights[4],
            },
        )

    return SumOfSquares(
        x0=np.array([1.0, 2.0, 0.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((0.0, 0.0, 1.0)),
    )


def hs_242() -> SumOfSquares:
    """Problem 242: Box's function in a box. At the published minimiser a bound is active."""
    return replace(
        fitting.box(),
        x0=np.array([2.5, 10.0, 10.0]),
        low=np.zeros(3),
        high=np.full(3, 10.0),
        minimizers=points((1.0, 10.0, 1.0)),
    )


def hs_246() -> SumOfSquares:
    """Problem 246."""

    def residuals(x: Array) -> Array:
        x1, x2, x3 = x
        return np.array([10.0 * (x3 - ((x1 + x2) / 2.0) ** 2), 1.0 - x1, 1.0 - x2])

    def jacobian(x: Array) -> Array:
        x1, x2, _ = x
        slope = -5.0 * (x1 + x2)
        return np.array([[slope, slope, 10.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

    def curvature(x: Array, weights: Array) -> Array:
        bend = -5.0 * weights[0]
        return symmetric(3, {(0, 0): bend, (0, 1): bend, (1, 1): bend})

    return SumOfSquares(
        x0=np.array([-1.2, 2.0, 0.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((1.0, 1.0, 1.0)),
    )


def hs_261() -> SumOfSquares:
    """Problem 261. The Hessian at the minimiser is singular."""

    def residuals(x: Array) -> Array:
        x1, x2, x3, x4 = x
        return np.array(
            [
                (np.exp(x1) - x2) ** 2,
                10.0 * (x2 - x3) ** 3,
                np.tan(x3 - x4) ** 2,
                x1**4,
                x4 - 1.0,
            ]
        )

    def jacobian(x: Array) -> Array:
        x1, x2, x3, x4 = x
        first = 2.0 * (np.exp(x1) - x2)
        second = 30.0 * (x2 - x3) ** 2
        tangent = np.tan(x3 - x4)
        third = 2.0 * tangent * (1.0 + tangent * tangent)
        return np.array(
            [
                [first * np.exp(x1), -first, 0.0, 0.0],
                [0.0, second, -second, 0.0],
                [0.0, 0.0, third, -third],
                [4.0 * x1**3, 0.0, 0.0, 0.0],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2, x3, x4 = x
        growth = np.exp(x1)
        second = weights[1] * 60.0 * (x2 - x3)
        square = np.tan(x3 - x4) ** 2
        third = weights[2] * 2.0 * (1.0 + square) * (1.0 + 3.0 * square)
        return symmetric(
            4,
            {
                (0, 0): weights[0] * 2.0 * growth * (2.0 * growth - x2)
                + weights[3] * 12.0 * x1 * x1,
                (0, 1): weights[0] * -2.0 * growth,
                (1, 1): weights[0] * 2.0 + second,
                (1, 2): -second,
                (2, 2): second + third,
                (2, 3): -third,
                (3, 3): third,
            },
        )

    return SumOfSquares(
        x0=np.zeros(4),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((0.0, 1.0, 1.0, 1.0)),
    )


def hs_267() -> SumOfSquares:
    """Problem 267, m = 11."""
    t = np.arange(1.0, 12.0) / 10.0
    y = np.exp(-t) - 5.0 * np.exp(-10.0 * t) + 3.0 * np.exp(-4.0 * t)

    def residuals(x: Array) -> Array:
        x1, x2, x3, x4, x5 = x
        return x3 * np.exp(-x1 * t) - x4 * np.exp(-x2 * t) + 3.0 * np.exp(-x5 * t) - y

    def jacobian(x: Array) -> Array:
        x1, x2, x3, x4, x5 = x
        first, second, third = np.exp(-x1 * t), np.exp(-x2 * t), np.exp(-x5 * t)
        return np.stack(
            [-x3 * t * first, x4 * t * second, first, -second, -3.0 * t * third], axis=1
        )

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2, x3, x4, x5 = x
        first, second, third = np.exp(-x1 * t), np.exp(-x2 * t), np.exp(-x5 * t)
        once = weights * t
        twice = once * t
        return symmetric(
            5,
            {
                (0, 0): x3 * (twice @ first),
                (0, 2): -once @ first,
                (1, 1): -x4 * (twice @ second),
                (1, 3): once @ second,
                (4, 4): 3.0 * (twice @ third),
            },
        )

    return SumOfSquares(
        x0=np.full(5, 2.0),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((1.0, 10.0, 1.0, 5.0, 4.0), (10.0, 1.0, -5.0, -1.0, 4.0)),
    )


def hs_271() -> SumOfSquares:
    """Problem 271."""
    weights = 10.0 * (16.0 - np.arange(1.0, 7.0))
    return _linear(np.diag(np.sqrt(weights)), x0=np.zeros(6), solution=np.ones(6))


def hs_282() -> SumOfSquares:
    """Problem 282."""
    n = 10
    steep = np.sqrt(10.0 * (n - np.arange(1.0, n)))

    def residuals(x: Array) -> Array:
        chain = steep * (x[:-1] * x[:-1] - x[1:])
        return np.concatenate([chain, x[[0, -1]] - 1.0])

    def pullback(x: Array, weights: Array) -> Array:
        gradient = np.zeros((*weights.shape[:-1], n), dtype=np.result_type(x, weights))
        chain = steep * weights[..., :-2]
        gradient[..., :-1] += 2.0 * x[:-1] * chain
        gradient[..., 1:] -= chain
        gradient[..., 0] += weights[..., -2]
        gradient[..., -1] += weights[..., -1]
        return gradient

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag(np.append(2.0 * steep * weights[:-2], 0.0 * weights[-1]))

    x0 = np.zeros(n)
    x0[0] = -1.2
    return SumOfSquares(
        x0=x0,
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
        minimizers=(np.ones(n),),
    )


def hs_287() -> SumOfSquares:
    """Problem 287: five independent functions of Wood's, n = 20."""
    copies = 5
    wood = small.wood()

    def residuals(x: Array) -> Array:
        return np.concatenate([wood.residuals(each) for each in x.reshape(4, copies).T])

    def jacobian(x: Array) -> Array:
        matrix = np.zeros((copies, 6, 4, copies), dtype=x.dtype)
        for i, each in enumerate(x.reshape(4, copies).T):
            matrix[i, :, :, i] = wood.dense_jacobian(each)
        return matrix.reshape(6 * copies, 4 * copies)

    def curvature(x: Array, weights: Array) -> Array:
        matrix = np.zeros((4, copies, 4, copies), dtype=np.result_type(x, weights))
        for i, each in enumerate(x.reshape(4, copies).T):
            matrix[:, i, :, i] = wood.curvature(each, weights[6 * i : 6 * (i + 1)])
        return matrix.reshape(4 * copies, 4 * copies)

    return SumOfSquares(
        x0=np.repeat([-3.0, -1.0, -3.0, -1.0], copies),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=(np.ones(4 * copies),),
    )


def hs_294(n: int) -> SumOfSquares:
    """Problems 294 to 299: the chained Rosenbrock function of n = 6, 10, 16, 30, 50, 100.

    Not the extended one of Moré, Garbow & Hillstrom, whose pairs do not overlap. At these n it has
    a second minimum, near x1 = -1.
    """

    def residuals(x: Array) -> Array:
        return np.concatenate([10.0 * (x[1:] - x[:-1] * x[:-1]), 1.0 - x[:-1]])

    def pullback(x: Array, weights: Array) -> Array:
        gradient = np.zeros((*weights.shape[:-1], n), dtype=np.result_type(x, weights))
        steep = 10.0 * weights[..., : n - 1]
        gradient[..., 1:] += steep
        gradient[..., :-1] -= 2.0 * x[:-1] * steep + weights[..., n - 1 :]
        return gradient

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag(np.append(-20.0 * weights[: n - 1], 0.0 * weights[-1]))

    return SumOfSquares(
        x0=np.resize([-1.2, 1.0], n),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0, tabulated.CHAINED_ROSENBROCK[n]),
        minimizers=(np.ones(n),),
    )


def hs_303(n: int) -> SumOfSquares:
    """Problems 303 to 305: Zakharov's function of n = 20, 50, 100."""
    half = np.arange(1.0, n + 1.0) / 2.0

    def residuals(x: Array) -> Array:
        total = half @ x
        return np.append(x, [total, total * total])

    def pullback(x: Array, weights: Array) -> Array:
        total = half @ x
        return weights[..., :n] + np.multiply.outer(
            weights[..., n] + 2.0 * total * weights[..., n + 1], half
        )

    def curvature(x: Array, weights: Array) -> Array:
        return 2.0 * weights[-1] * np.multiply.outer(half, half)

    return SumOfSquares(
        x0=np.full(n, 0.1),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
        minimizers=(np.zeros(n),),
    )


def hs_308() -> SumOfSquares:
    """Problem 308."""

    def residuals(x: Array) -> Array:
        x1, x2 = x
        return np.array([x1 * x1 + x2 * x2 + x1 * x2, np.sin(x1), np.cos(x2)])

    def jacobian(x: Array) -> Array:
        x1, x2 = x
        return np.array([[2.0 * x1 + x2, 2.0 * x2 + x1], [np.cos(x1), 0.0], [0.0, -np.sin(x2)]])

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2 = x
        return symmetric(
            2,
            {
                (0, 0): 2.0 * weights[0] - weights[1] * np.sin(x1),
                (0, 1): weights[0],
                (1, 1): 2.0 * weights[0] - weights[2] * np.cos(x2),
            },
        )

    minimizer = (-0.15543723585956104, 0.6945637753029045)
    return SumOfSquares(
        x0=np.array([3.0, 0.1]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.7731990564929238,),
        minimizers=points(minimizer, tuple(-each for each in minimizer)),
    )


def hs_310() -> SumOfSquares:
    """Problem 310, m = 1. The minimum is reached wherever x1 = 0, x1 = 1 or x2 = 0."""

    def factors(x: Array) -> tuple[Array, Array]:
        """The residual's two factors: ``x1 x2 (1 - x1)`` and what is left."""
        x1, x2 = x
        return x1 * x2 * (1.0 - x1), 1.0 - x1 - x2 * (1.0 - x1) ** 5

    def factor_gradients(x: Array) -> tuple[Array, Array]:
        x1, x2 = x
        first = np.array([x2 * (1.0 - 2.0 * x1), x1 * (1.0 - x1)])
        second = np.array([5.0 * x2 * (1.0 - x1) ** 4 - 1.0, -((1.0 - x1) ** 5)])
        return first, second

    def residuals(x: Array) -> Array:
        first, second = factors(x)
        return np.array([first * second])

    def jacobian(x: Array) -> Array:
        first, second = factors(x)
        first_slope, second_slope = factor_gradients(x)
        return (first_slope * second + first * second_slope)[np.newaxis]

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2 = x
        first, second = factors(x)
        mixed = np.multiply.outer(*factor_gradients(x))
        first_bend = symmetric(2, {(0, 0): -2.0 * x2, (0, 1): 1.0 - 2.0 * x1})
        second_bend = symmetric(
            2, {(0, 0): -20.0 * x2 * (1.0 - x1) ** 3, (0, 1): 5.0 * (1.0 - x1) ** 4}
        )
        return weights[0] * (first_bend * second + mixed + mixed.T + first * second_bend)

    return SumOfSquares(
        x0=np.array([-1.2, 1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points((0.0, 1.0), (1.0, 1.0), (0.5, 0.0)),
    )


def hs_311() -> SumOfSquares:
    """Problem 311: Himmelblau's function."""

    def residuals(x: Array) -> Array:
        x1, x2 = x
        return np.array([x1 * x1 + x2 - 11.0, x1 + x2 * x2 - 7.0])

    def jacobian(x: Array) -> Array:
        x1, x2 = x
        return np.array([[2.0 * x1, 1.0], [1.0, 2.0 * x2]])

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag(2.0 * weights)

    return SumOfSquares(
        x0=np.array([1.0, 1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0,),
        minimizers=points(
            (3.0, 2.0),
            (3.5844283403304917, -1.8481265269644036),
            (-3.779310253377747, -3.2831859912861696),
            (-2.805118086952745, 3.131312518250573),
        ),
    )


def hs_312() -> SumOfSquares:
    """Problem 312. The far minimum attracts most solvers from the standard start."""

    def residuals(x: Array) -> Array:
        x1, x2 = x
        return np.array(
            [
                x1 * x1 + 12.0 * x2 - 1.0,
                49.0 * (x1 * x1 + x2 * x2) + 84.0 * x1 + 2324.0 * x2 - 681.0,
            ]
        )

    def jacobian(x: Array) -> Array:
        x1, x2 = x
        return np.array([[2.0 * x1, 12.0], [98.0 * x1 + 84.0, 98.0 * x2 + 2324.0]])

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag([2.0 * weights[0] + 98.0 * weights[1], 98.0 * weights[1]])

    return SumOfSquares(
        x0=np.array([1.0, 1.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.0, 5.922562761244027),
        minimizers=points(
            (-21.0266522626692, -36.76000878126764), (0.2858157266775301, 0.2793257732289014)
        ),
    )


def hs_333() -> SumOfSquares:
    """Problem 333, m = 8: relative errors of an exponential model."""
    t = np.array([4.0, 5.75, 7.5, 24.0, 32.0, 48.0, 72.0, 96.0])
    y = np.array([72.1, 65.6, 55.9, 17.1, 9.8, 4.5, 1.3, 0.6])

    def residuals(x: Array) -> Array:
        x1, x2, x3 = x
        return 1.0 - (x1 * np.exp(-x2 * t) + x3) / y

    def jacobian(x: Array) -> Array:
        x1, x2, _ = x
        decay = np.exp(-x2 * t) / y
        return np.stack([-decay, x1 * t * decay, -1.0 / y + 0.0 * decay], axis=1)

    def curvature(x: Array, weights: Array) -> Array:
        x1, x2, _ = x
        decay = weights * np.exp(-x2 * t) / y
        return symmetric(3, {(0, 1): decay @ t, (1, 1): -x1 * (decay @ (t * t))})

    return SumOfSquares(
        x0=np.array([30.0, 0.04, 3.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(0.04327035403703114,),
        minimizers=points((89.90199291450051, 0.06699204350366296, 0.4780852008549673)),
    )


def hs_351() -> SumOfSquares:
    """Problem 351, m = 7: relative errors, in percent, of a rational model."""
    t = np.array([0.0, 0.000428, 0.001, 0.00161, 0.00209, 0.00348, 0.00525])
    y = np.array([7.391, 11.18, 16.44, 16.2, 22.2, 24.02, 31.32])
    scale = 100.0 / y
    powers = np.stack([np.ones_like(t), t, t * t])

    def residuals(x: Array) -> Array:
        return scale * (x[:3] ** 2 @ powers / (1.0 + t * x[3] ** 2) - y)

    def jacobian(x: Array) -> Array:
        bottom = 1.0 + t * x[3] ** 2
        top = x[:3] ** 2 @ powers
        over = scale / bottom
        return np.stack(
            [*(2.0 * x[:3, np.newaxis] * powers * over), -2.0 * x[3] * t * top * over / bottom],
            axis=1,
        )

    def curvature(x: Array, weights: Array) -> Array:
        bottom = 1.0 + t * x[3] ** 2
        top = x[:3] ** 2 @ powers
        over = weights * scale / bottom
        straight = 2.0 * (powers @ over)
        mixed = -4.0 * x[:3] * x[3] * (powers @ (over * t / bottom))
        last = (over * t * top / bottom) @ (-2.0 + 8.0 * t * x[3] ** 2 / bottom)
        diagonal = {(i, i): straight[i] for i in range(3)}
        return symmetric(4, {**diagonal, **{(i, 3): mixed[i] for i in range(3)}, (3, 3): last})

    return SumOfSquares(
        x0=np.array([2.7, 90.0, 1500.0, 10.0]),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(318.5717487911235,),
        minimizers=points(
            (2.7143660598692927, 140.43580597030413, 1707.5156166470892, 31.51286927231665)
        ),
    )


def hs_352() -> SumOfSquares:
    """Problem 352, m = 40: Brown & Dennis's data, fitted by two lines instead of their squares."""
    t = np.arange(1.0, 21.0) / 5.0
    one, zero = np.ones_like(t), np.zeros_like(t)
    line = np.stack([one, t, zero, zero], axis=1)
    wave = np.stack([zero, zero, one, np.sin(t)], axis=1)
    matrix = np.concatenate([line, wave])
    target = np.concatenate([np.exp(t), np.cos(t)])
    solution, (minimum,), _, _ = np.linalg.lstsq(matrix, target)
    return _linear(
        matrix,
        x0=np.array([25.0, 5.0, -5.0, -1.0]),
        solution=solution,
        target=target,
        minimum=float(minimum),
    )


def hs_358() -> SumOfSquares:
    """Problem 358: Osborne's first problem in a box; no bound is active."""
    return replace(
        fitting.osborne_1(),
        low=np.array([-0.5, 1.5, -2.0, 0.001, 0.001]),
        high=np.array([0.5, 2.5, -1.0, 0.1, 0.1]),
    )


def _linear(
    matrix: Array,
    x0: Array,
    solution: Array,
    target: Array | None = None,
    minimum: float = 0.0,
) -> SumOfSquares:
    """Residuals ``matrix @ x - target``; by default the target that `solution` meets."""
    n = matrix.shape[1]
    goal: npt.NDArray[np.float64] = matrix @ solution if target is None else target

    def residuals(x: Array) -> Array:
        return matrix @ x - goal

    def jacobian(x: Array) -> Array:
        return matrix.astype(x.dtype)

    def curvature(x: Array, weights: Array) -> Array:
        return np.zeros((n, n), dtype=weights.dtype)

    return SumOfSquares(
        x0=x0,
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(minimum,),
        minimizers=(solution,),
    )
