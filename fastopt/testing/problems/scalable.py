"""Problems of Moré, Garbow & Hillstrom in any number of variables.

Each function's formulas are those of the publication. All but Watson and Chebyquad give the
product of weights with the Jacobian in O(n), so that a gradient costs no more than the value:
`pullback` takes weights of shape (..., m) and works along the last axis.
"""

# NumPy types the elements of an array as Any, so every formula in them is Any as well.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numpy as np

from fastopt.testing.problems import tabulated
from fastopt.testing.problems.definition import Array, SumOfSquares


def watson(n: int) -> SumOfSquares:
    """Problem 20. The condition number at the minimiser is 1e5 at n = 6 and 1e14 at n = 12."""
    t = np.arange(1.0, 30.0)[:, np.newaxis] / 29.0
    power = np.arange(n)
    basis = t**power
    derivative = power * t ** np.maximum(power - 1, 0)

    def residuals(x: Array) -> Array:
        return np.concatenate(
            [derivative @ x - (basis @ x) ** 2 - 1.0, [x[0], x[1] - x[0] ** 2 - 1.0]]
        )

    def jacobian(x: Array) -> Array:
        edge = np.zeros((2, n), dtype=x.dtype)
        edge[0, 0] = 1.0
        edge[1, :2] = -2.0 * x[0], 1.0
        return np.concatenate([derivative - 2.0 * (basis @ x)[:, np.newaxis] * basis, edge])

    def curvature(x: Array, weights: Array) -> Array:
        matrix = -2.0 * (basis.T * weights[:29]) @ basis
        matrix[0, 0] -= 2.0 * weights[30]
        return matrix

    minima, minimizers = tabulated.minima_at(tabulated.WATSON, n)
    return SumOfSquares(
        x0=np.zeros(n),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=minima,
        minimizers=minimizers,
    )


def extended_rosenbrock(n: int) -> SumOfSquares:
    """Problem 21; with n = 2, problem 1."""

    def residuals(x: Array) -> Array:
        odd, even = x[0::2], x[1::2]
        values = np.empty_like(x)
        values[0::2] = 10.0 * (even - odd * odd)
        values[1::2] = 1.0 - odd
        return values

    def pullback(x: Array, weights: Array) -> Array:
        valley, slope = weights[..., 0::2], weights[..., 1::2]
        product = np.empty_like(weights)
        product[..., 0::2] = -20.0 * x[0::2] * valley - slope
        product[..., 1::2] = 10.0 * valley
        return product

    def curvature(x: Array, weights: Array) -> Array:
        diagonal = np.zeros_like(weights)
        diagonal[0::2] = -20.0 * weights[0::2]
        return np.diag(diagonal)

    return SumOfSquares(
        x0=np.tile([-1.2, 1.0], n // 2),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
        minimizers=(np.ones(n),),
    )


def extended_powell_singular(n: int) -> SumOfSquares:
    """Problem 22; with n = 4, problem 13. The Hessian at the minimiser is singular."""
    root5 = np.sqrt(5.0)
    root10 = np.sqrt(10.0)

    def residuals(x: Array) -> Array:
        x1, x2, x3, x4 = x.reshape(-1, 4).T
        return np.stack(
            [x1 + 10.0 * x2, root5 * (x3 - x4), (x2 - 2.0 * x3) ** 2, root10 * (x1 - x4) ** 2],
            axis=1,
        ).ravel()

    def pullback(x: Array, weights: Array) -> Array:
        x1, x2, x3, x4 = x.reshape(-1, 4).T
        w1, w2 = weights[..., 0::4], root5 * weights[..., 1::4]
        w3 = 2.0 * (x2 - 2.0 * x3) * weights[..., 2::4]
        w4 = 2.0 * root10 * (x1 - x4) * weights[..., 3::4]
        product = np.empty_like(weights)
        product[..., 0::4] = w1 + w4
        product[..., 1::4] = 10.0 * w1 + w3
        product[..., 2::4] = w2 - 2.0 * w3
        product[..., 3::4] = -w2 - w4
        return product

    def curvature(x: Array, weights: Array) -> Array:
        matrix = np.zeros((n, n), dtype=weights.dtype)
        first = np.arange(0, n, 4)
        for offset, weight in enumerate(weights.reshape(-1, 4)):
            i = first[offset]
            matrix[i + 1 : i + 3, i + 1 : i + 3] += (
                2.0 * weight[2] * np.array([[1.0, -2.0], [-2.0, 4.0]])
            )
            matrix[i : i + 4 : 3, i : i + 4 : 3] += (
                2.0 * root10 * weight[3] * np.array([[1.0, -1.0], [-1.0, 1.0]])
            )
        return matrix

    return SumOfSquares(
        x0=np.tile([3.0, -1.0, 0.0, 1.0], n // 4),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
        minimizers=(np.zeros(n),),
    )


def penalty_1(n: int) -> SumOfSquares:
    """Problem 23. Every stationary point has equal coordinates, so the minimum is known."""
    small = 1e-5
    root = np.sqrt(small)

    def residuals(x: Array) -> Array:
        return np.append(root * (x - 1.0), x @ x - 0.25)

    def pullback(x: Array, weights: Array) -> Array:
        return root * weights[..., :-1] + 2.0 * weights[..., -1:] * x

    def curvature(x: Array, weights: Array) -> Array:
        return 2.0 * weights[-1] * np.eye(n)

    # The coordinate solves a (s - 1) + 2 s (n s^2 - 1/4) = 0, whose root near 1 / (2 sqrt(n)) is
    # the minimiser (the two others, where they are real, are negative and small).
    coordinate = 0.5 / np.sqrt(n)
    for _ in range(20):
        slope = small + 6.0 * n * coordinate**2 - 0.5
        coordinate -= (
            small * (coordinate - 1.0) + 2.0 * coordinate * (n * coordinate**2 - 0.25)
        ) / slope
    minimum = small * n * (coordinate - 1.0) ** 2 + (n * coordinate**2 - 0.25) ** 2
    return SumOfSquares(
        x0=np.arange(1.0, n + 1.0),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(float(minimum),),
        minimizers=(np.full(n, coordinate),),
    )


def penalty_2(n: int) -> SumOfSquares:
    """Problem 24, m = 2n."""
    root = np.sqrt(1e-5)
    i = np.arange(1.0, n + 1.0)
    y = np.exp(i[1:] / 10.0) + np.exp(i[:-1] / 10.0)
    floor = np.exp(-0.1)
    descending = i[::-1].copy()

    def residuals(x: Array) -> Array:
        growth = np.exp(x / 10.0)
        return np.concatenate(
            [
                x[:1] - 0.2,
                root * (growth[1:] + growth[:-1] - y),
                root * (growth[1:] - floor),
                [descending @ (x * x) - 1.0],
            ]
        )

    def pullback(x: Array, weights: Array) -> Array:
        slope = root / 10.0 * np.exp(x / 10.0)
        pairs, singles = weights[..., 1:n], weights[..., n : 2 * n - 1]
        product = 2.0 * weights[..., -1:] * (descending * x)
        product[..., 0] += weights[..., 0]
        product[..., 1:] += slope[1:] * (pairs + singles)
        product[..., :-1] += slope[:-1] * pairs
        return product

    def curvature(x: Array, weights: Array) -> Array:
        bend = root / 100.0 * np.exp(x / 10.0)
        pairs, singles = weights[1:n], weights[n : 2 * n - 1]
        diagonal = 2.0 * weights[-1] * descending
        diagonal[1:] += bend[1:] * (pairs + singles)
        diagonal[:-1] += bend[:-1] * pairs
        return np.diag(diagonal)

    minima, minimizers = tabulated.minima_at(tabulated.PENALTY_2, n)
    return SumOfSquares(
        x0=np.full(n, 0.5),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=minima,
        minimizers=minimizers,
    )


def variably_dimensioned(n: int) -> SumOfSquares:
    """Problem 25."""
    j = np.arange(1.0, n + 1.0)

    def residuals(x: Array) -> Array:
        offset = x - 1.0
        moment = j @ offset
        return np.concatenate([offset, [moment, moment * moment]])

    def pullback(x: Array, weights: Array) -> Array:
        moment = j @ (x - 1.0)
        return (
            weights[..., :n] + (weights[..., n : n + 1] + 2.0 * moment * weights[..., n + 1 :]) * j
        )

    def curvature(x: Array, weights: Array) -> Array:
        return 2.0 * weights[-1] * np.outer(j, j)

    return SumOfSquares(
        x0=1.0 - j / n,
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
        minimizers=(np.ones(n),),
    )


def trigonometric(n: int) -> SumOfSquares:
    """Problem 26."""
    i = np.arange(1.0, n + 1.0)

    def residuals(x: Array) -> Array:
        cosine = np.cos(x)
        return n - cosine.sum() + i * (1.0 - cosine) - np.sin(x)

    def pullback(x: Array, weights: Array) -> Array:
        sine = np.sin(x)
        return weights.sum(axis=-1, keepdims=True) * sine + weights * (i * sine - np.cos(x))

    def curvature(x: Array, weights: Array) -> Array:
        cosine = np.cos(x)
        return np.diag(cosine * weights.sum() + weights * (i * cosine + np.sin(x)))

    minima, minimizers = tabulated.minima_at(tabulated.TRIGONOMETRIC, n)
    return SumOfSquares(
        x0=np.full(n, 1.0 / n),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0, *minima),
        minimizers=(np.zeros(n), *minimizers),
    )


def brown_almost_linear(n: int) -> SumOfSquares:
    """Problem 27.

    The published value 1 is no minimum: (0, ..., 0, n + 1) is a stationary point so flat that
    solvers stop there, but along (-1, ..., -1, n) f falls to one side or both. (It is not
    stationary at n = 2 and a plain saddle at n = 3, where it is left out.)
    """

    def products_without_one(x: Array) -> Array:
        before = np.concatenate([[1.0], np.cumprod(x[:-1])])
        after = np.concatenate([np.cumprod(x[:0:-1])[::-1], [1.0]])
        return before * after

    def products_without_two(x: Array) -> Array:
        """Entry (j, k): the product of all x but x[j] and x[k], safe where some are zero."""
        before = np.concatenate([[1.0], np.cumprod(x[:-1])])
        after = np.concatenate([np.cumprod(x[:0:-1])[::-1], [1.0]])
        between = np.ones((n, n), dtype=x.dtype)
        between[:, 1:] = np.cumprod(np.triu(np.tile(x, (n, 1)), 1) + np.tri(n), axis=1)[:, :-1]
        upper = np.triu(before[:, np.newaxis] * between * after, 1)
        return upper + upper.T

    def residuals(x: Array) -> Array:
        values = x + (x.sum() - (n + 1.0))
        values[-1] = np.prod(x) - 1.0
        return values

    def pullback(x: Array, weights: Array) -> Array:
        product = weights[..., :-1].sum(axis=-1, keepdims=True) + (
            weights[..., -1:] * products_without_one(x)
        )
        product[..., :-1] += weights[..., :-1]
        return product

    def curvature(x: Array, weights: Array) -> Array:
        return weights[-1] * products_without_two(x)

    stops = np.append(np.zeros(n - 1), n + 1.0)
    return SumOfSquares(
        x0=np.full(n, 0.5),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0, 1.0) if n > 3 else (0.0,),
        minimizers=(np.ones(n), stops) if n > 3 else (np.ones(n),),
    )


def discrete_boundary_value(n: int) -> SumOfSquares:
    """Problem 28: x'' = (x + t + 1)^3 / 2 on [0, 1], zero at both ends."""
    h = 1.0 / (n + 1.0)
    t = h * np.arange(1.0, n + 1.0)

    def residuals(x: Array) -> Array:
        values = 2.0 * x + h * h * (x + t + 1.0) ** 3 / 2.0
        values[1:] -= x[:-1]
        values[:-1] -= x[1:]
        return values

    def pullback(x: Array, weights: Array) -> Array:
        product = (2.0 + 1.5 * h * h * (x + t + 1.0) ** 2) * weights
        product[..., 1:] -= weights[..., :-1]
        product[..., :-1] -= weights[..., 1:]
        return product

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag(3.0 * h * h * (x + t + 1.0) * weights)

    return SumOfSquares(
        x0=t * (t - 1.0),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
    )


def discrete_integral_equation(n: int) -> SumOfSquares:
    """Problem 29: the boundary value problem 28 as an integral equation."""
    h = 1.0 / (n + 1.0)
    t = h * np.arange(1.0, n + 1.0)

    def integrate(density: Array) -> Array:
        """Apply the kernel h/2 min(s, t) (1 - max(s, t)), which is its own transpose."""
        below = np.cumsum(t * density, axis=-1)
        above = np.zeros_like(density)
        tail = ((1.0 - t) * density)[..., :0:-1]
        above[..., :-1] = np.cumsum(tail, axis=-1)[..., ::-1]
        return h / 2.0 * ((1.0 - t) * below + t * above)

    def residuals(x: Array) -> Array:
        return x + integrate((x + t + 1.0) ** 3)

    def pullback(x: Array, weights: Array) -> Array:
        return weights + 3.0 * (x + t + 1.0) ** 2 * integrate(weights)

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag(6.0 * (x + t + 1.0) * integrate(weights))

    return SumOfSquares(
        x0=t * (t - 1.0),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
    )


def broyden_tridiagonal(n: int) -> SumOfSquares:
    """Problem 30."""

    def residuals(x: Array) -> Array:
        values = (3.0 - 2.0 * x) * x + 1.0
        values[1:] -= x[:-1]
        values[:-1] -= 2.0 * x[1:]
        return values

    def pullback(x: Array, weights: Array) -> Array:
        product = (3.0 - 4.0 * x) * weights
        product[..., :-1] -= weights[..., 1:]
        product[..., 1:] -= 2.0 * weights[..., :-1]
        return product

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag(-4.0 * weights)

    return SumOfSquares(
        x0=np.full(n, -1.0),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
    )


def broyden_banded(n: int) -> SumOfSquares:
    """Problem 31. Residual i meets the five variables before x_i and the one after."""
    below, above = 5, 1

    def gather(values: Array) -> Array:
        """Sum over the neighbours of each variable."""
        total = np.zeros_like(values)
        for k in range(1, below + 1):
            total[k:] += values[:-k]
        for k in range(1, above + 1):
            total[:-k] += values[k:]
        return total

    def scatter(weights: Array) -> Array:
        """Apply the transpose of `gather`."""
        total = np.zeros_like(weights)
        for k in range(1, below + 1):
            total[..., :-k] += weights[..., k:]
        for k in range(1, above + 1):
            total[..., k:] += weights[..., :-k]
        return total

    def residuals(x: Array) -> Array:
        return x * (2.0 + 5.0 * x * x) + 1.0 - gather(x * (1.0 + x))

    def pullback(x: Array, weights: Array) -> Array:
        return (2.0 + 15.0 * x * x) * weights - (1.0 + 2.0 * x) * scatter(weights)

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag(30.0 * x * weights - 2.0 * scatter(weights))

    return SumOfSquares(
        x0=np.full(n, -1.0),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(0.0,),
    )


def linear_full_rank(n: int) -> SumOfSquares:
    """Problem 32, m = 2n."""
    m = 2 * n

    def residuals(x: Array) -> Array:
        values = np.full(m, -2.0 / m * x.sum() - 1.0, dtype=x.dtype)
        values[:n] += x
        return values

    def pullback(x: Array, weights: Array) -> Array:
        return weights[..., :n] - 2.0 / m * weights.sum(axis=-1, keepdims=True)

    def curvature(x: Array, weights: Array) -> Array:
        return np.zeros((n, n), dtype=weights.dtype)

    return SumOfSquares(
        x0=np.ones(n),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(float(m - n),),
        minimizers=(np.full(n, -1.0),),
    )


def linear_rank_1(n: int) -> SumOfSquares:
    """Problem 33, m = 2n. The minimisers fill a hyperplane; the one kept is the shortest."""
    m = 2 * n
    row = np.arange(1.0, m + 1.0)
    column = np.arange(1.0, n + 1.0)
    return _rank_1(
        row,
        column,
        minimum=m * (m - 1.0) / (2.0 * (2.0 * m + 1.0)),
        product=3.0 / (2.0 * m + 1.0),
    )


def linear_rank_1_with_zeros(n: int) -> SumOfSquares:
    """Problem 34, m = 2n: as problem 33, with the first and last row and column zero."""
    m = 2 * n
    row = np.arange(m, dtype=np.float64)
    row[-1] = 0.0
    column = np.arange(1.0, n + 1.0)
    column[[0, -1]] = 0.0
    return _rank_1(
        row,
        column,
        minimum=(m * m + 3.0 * m - 6.0) / (2.0 * (2.0 * m - 3.0)),
        product=3.0 / (2.0 * m - 3.0),
    )


def _rank_1(row: Array, column: Array, minimum: float, product: float) -> SumOfSquares:
    """Residuals ``row * (column @ x) - 1``, smallest where ``column @ x == product``."""
    n = column.size

    def residuals(x: Array) -> Array:
        return row * (column @ x) - 1.0

    def pullback(x: Array, weights: Array) -> Array:
        return (weights @ row)[..., np.newaxis] * column

    def curvature(x: Array, weights: Array) -> Array:
        return np.zeros((n, n), dtype=weights.dtype)

    return SumOfSquares(
        x0=np.ones(n),
        residuals=residuals,
        pullback=pullback,
        curvature=curvature,
        minima=(minimum,),
        minimizers=(product / (column @ column) * column,),
    )


def chebyquad(n: int) -> SumOfSquares:
    """Problem 35, m = n: equal-weight quadrature on [0, 1], exact for polynomials to degree n.

    Exact formulas exist for n up to 7 and for n = 9, which is when the minimum is zero.
    """
    degree = np.arange(1, n + 1)
    integral = np.zeros(n)
    integral[1::2] = -1.0 / (degree[1::2] ** 2 - 1.0)

    def polynomials(x: Array) -> tuple[Array, Array, Array]:
        """Shifted Chebyshev polynomials of degrees 1..n at x, and two derivatives: (n, n) each."""
        z = 2.0 * x - 1.0
        value, slope, bend = np.zeros((3, n + 1, n), dtype=x.dtype)
        value[0] = 1.0
        value[1] = z
        slope[1] = 2.0
        for k in range(1, n):
            value[k + 1] = 2.0 * z * value[k] - value[k - 1]
            slope[k + 1] = 4.0 * value[k] + 2.0 * z * slope[k] - slope[k - 1]
            bend[k + 1] = 8.0 * slope[k] + 2.0 * z * bend[k] - bend[k - 1]
        return value[1:], slope[1:], bend[1:]

    def residuals(x: Array) -> Array:
        return polynomials(x)[0].mean(axis=1) - integral

    def jacobian(x: Array) -> Array:
        return polynomials(x)[1] / n

    def curvature(x: Array, weights: Array) -> Array:
        return np.diag(weights @ polynomials(x)[2] / n)

    minima, minimizers = tabulated.minima_at(tabulated.CHEBYQUAD, n)
    if n <= 7 or n == 9:
        minima = (0.0,)
    return SumOfSquares(
        x0=degree / (n + 1.0),
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=minima,
        minimizers=minimizers,
    )
