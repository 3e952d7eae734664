"""Symmetric systems against NumPy, and against SciPy's own LDL' factors."""

import numpy as np
import pytest
from scipy.linalg import ldl

from fastopt.solvers.symmetric import solve_system

# Below and above the size from which LAPACK factors, and odd ones.
SIZES = (1, 2, 3, 7, 16, 95, 96, 131)


def symmetric(n, lowest, seed=0):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    matrix = (basis * np.linspace(lowest, 10.0, n)) @ basis.T
    return (matrix + matrix.T) / 2, rng.standard_normal(n)


@pytest.mark.parametrize("n", SIZES)
def test_a_positive_definite_system_is_solved(n):
    matrix, vector = symmetric(n, 0.1)
    x, product = solve_system(matrix, vector)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, vector), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(product, vector, atol=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_only_the_lower_triangle_is_read(n):
    matrix, vector = symmetric(n, 0.1)
    spoilt = np.tril(matrix) + np.triu(np.full((n, n), np.nan), 1)
    for clean, found in zip(
        solve_system(matrix, vector), solve_system(spoilt, vector), strict=True
    ):
        np.testing.assert_array_equal(clean, found)


@pytest.mark.parametrize("n", SIZES)
def test_a_shift_is_added_to_the_diagonal(n):
    matrix, vector = symmetric(n, -1.0)
    x, _ = solve_system(matrix, vector, shift=11.5)
    expected = np.linalg.solve(matrix + 11.5 * np.eye(n), vector)
    np.testing.assert_allclose(x, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n", [n for n in SIZES if n > 1])
def test_what_is_not_positive_definite_is_noticed(n):
    matrix, vector = symmetric(n, -1.0)
    assert np.isnan(solve_system(matrix, vector)[0]).all()
    assert np.isnan(solve_system(np.zeros((n, n)), vector)[0]).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", SIZES)
def test_negative_curvature_counts_as_positive_of_the_same_size(n, seed):
    matrix, vector = symmetric(n, -9.1, seed)
    lower, blocks, _ = ldl(matrix, lower=False)
    values, vectors = np.linalg.eigh(blocks)
    positive = lower @ (vectors * np.abs(values)) @ vectors.T @ lower.T
    x, _ = solve_system(matrix, vector, made_positive=True)
    np.testing.assert_allclose(positive @ x, vector, rtol=1e-8, atol=1e-8)
    assert vector @ x > 0  # so -x leads downhill where `vector` is the gradient


def test_a_positive_definite_matrix_is_as_it_is():
    matrix, vector = symmetric(9, 0.1)
    x, _ = solve_system(matrix, vector, made_positive=True)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, vector), rtol=1e-10)


def test_a_block_of_two_is_turned():
    x, _ = solve_system([[0.0, 1.0], [1.0, 0.0]], [1.0, 2.0], made_positive=True)
    np.testing.assert_allclose(x, [1.0, 2.0])  # eigenvalues 1 and -1 become 1 and 1
