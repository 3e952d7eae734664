"""The chained Rosenbrock function with a stiffness, and its derivatives, in Numba's language."""

import numpy as np
from numba import njit


@njit
def value(x, stiffness):
    total = 0.0
    for i in range(x.size - 1):
        total += stiffness * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


@njit
def grad(x, stiffness):
    slopes = np.zeros(x.size)
    for i in range(x.size - 1):
        bend = x[i + 1] - x[i] ** 2
        slopes[i] += -4.0 * stiffness * bend * x[i] - 2.0 * (1.0 - x[i])
        slopes[i + 1] += 2.0 * stiffness * bend
    return slopes


@njit
def hess(x, stiffness):
    matrix = np.zeros((x.size, x.size))
    for i in range(x.size - 1):
        matrix[i, i] += stiffness * (12.0 * x[i] ** 2 - 4.0 * x[i + 1]) + 2.0
        matrix[i + 1, i] -= 4.0 * stiffness * x[i]
        matrix[i, i + 1] -= 4.0 * stiffness * x[i]
        matrix[i + 1, i + 1] += 2.0 * stiffness
    return matrix


@njit
def hessp(x, p, stiffness):
    product = np.zeros(x.size)
    for i in range(x.size - 1):
        diagonal = stiffness * (12.0 * x[i] ** 2 - 4.0 * x[i + 1]) + 2.0
        product[i] += diagonal * p[i] - 4.0 * stiffness * x[i] * p[i + 1]
        product[i + 1] += 2.0 * stiffness * p[i + 1] - 4.0 * stiffness * x[i] * p[i]
    return product


def start(n):
    return np.where(np.arange(n) % 2, 1.0, -1.2)
