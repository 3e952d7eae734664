"""Minimisers of quadratic models within a radius, against the conditions that mark them."""

import numpy as np
import pytest

from fastopt.solvers.subproblem import minimize_in_ball


def model(hess, gradient, step):
    return gradient @ step + 0.5 * step @ hess @ step


def minimum_in_ball(hess, gradient, radius):
    """The lowest value of the model in the ball, from the eigenvalues: the secular equation."""
    values, vectors = np.linalg.eigh(hess)
    along = vectors.T @ gradient
    lowest = max(0.0, -values[0])

    def length(shift):
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.where(along == 0, 0.0, along / (values + shift))
        return np.linalg.norm(parts)

    if lowest == 0 and values[0] > 0 and length(0.0) <= radius:
        return model(hess, gradient, -np.linalg.solve(hess, gradient))
    low, high = lowest, lowest + np.linalg.norm(gradient) / radius + 1
    for _ in range(200):
        middle = (low + high) / 2
        if length(middle) > radius:
            low = middle
        else:
            high = middle
    parts = -np.where(np.abs(along) < 1e-14, 0.0, along / (values + high))
    rest = radius**2 - parts @ parts
    if rest > 1e-8 * radius**2:  # the hard case
        parts[0] += np.sqrt(rest)
    return model(hess, gradient, vectors @ parts)


def random_model(n, lowest, seed):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    values = np.sort(rng.uniform(lowest, 5.0, n))
    hess = (basis * values) @ basis.T
    return (hess + hess.T) / 2, rng.standard_normal(n), basis, values


@pytest.mark.parametrize("radius", [1e-3, 0.3, 2.0, 100.0])
@pytest.mark.parametrize("lowest", [-5.0, 0.0, 0.5])
@pytest.mark.parametrize("n", [1, 2, 5, 20, 120])
@pytest.mark.parametrize("seed", range(4))
def test_the_exact_step_is_as_low_as_promised(n, lowest, radius, seed):
    """Moré and Sorensen: within 1.1 radii, at least 0.81 of the greatest decrease."""
    hess, gradient, _, _ = random_model(n, lowest, seed)
    step, multiplier = minimize_in_ball(hess, gradient, radius)
    assert np.linalg.norm(step) <= 1.1 * radius * (1 + 1e-12)
    assert multiplier >= 0
    best = minimum_in_ball(hess, gradient, radius)
    assert model(hess, gradient, step) <= 0.81 * best


@pytest.mark.parametrize("n", [2, 5, 20, 120])
@pytest.mark.parametrize("seed", range(4))
def test_inside_the_ball_the_step_is_newtons(n, seed):
    hess, gradient, _, _ = random_model(n, 0.5, seed)
    step, multiplier = minimize_in_ball(hess, gradient, 1e6)
    np.testing.assert_allclose(step, -np.linalg.solve(hess, gradient), rtol=1e-9, atol=1e-12)
    assert multiplier == 0


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("seed", range(4))
def test_in_the_hard_case_the_rest_of_the_way_goes_along_the_least_curvature(n, seed):
    """The gradient has no part along the eigenvector of the lowest eigenvalue."""
    hess, gradient, basis, values = random_model(n, -5.0, seed)
    lowest = basis[:, 0]
    hess = hess + (-3.0 - values[0]) * np.outer(lowest, lowest)  # -3, far below the others
    values[0] = -3.0
    others = basis[:, 1:] @ np.diag(np.abs(values[1:]) + 0.1) @ basis[:, 1:].T
    hess = others - 3.0 * np.outer(lowest, lowest)
    hess = (hess + hess.T) / 2
    gradient -= (gradient @ lowest) * lowest
    radius = 10 * np.linalg.norm(gradient)
    step, multiplier = minimize_in_ball(hess, gradient, radius)
    assert multiplier == pytest.approx(3.0, rel=0.3)
    assert abs(step @ lowest) > 0.5 * radius
    assert np.linalg.norm(step) == pytest.approx(radius, rel=0.1)
    assert model(hess, gradient, step) <= 0.8 * minimum_in_ball(hess, gradient, radius)


def test_the_step_on_the_sphere_solves_the_shifted_system():
    hess, gradient, _, _ = random_model(8, -2.0, 1)
    step, multiplier = minimize_in_ball(hess, gradient, 0.5)
    np.testing.assert_allclose((hess + multiplier * np.eye(8)) @ step, -gradient, atol=1e-10)
    assert np.linalg.eigvalsh(hess)[0] + multiplier > 0


def test_without_a_hessian_the_step_goes_down_the_gradient_to_the_radius():
    for way in ("exact", "dogleg"):
        step, _ = minimize_in_ball(np.zeros((3, 3)), [3.0, 0.0, 4.0], 2.0, way)
        np.testing.assert_allclose(step, [-1.2, 0.0, -1.6], rtol=0.11)


@pytest.mark.parametrize("radius", [1e-3, 0.3, 2.0, 100.0])
@pytest.mark.parametrize("lowest", [-5.0, 0.5])
@pytest.mark.parametrize("n", [1, 2, 5, 20])
@pytest.mark.parametrize("seed", range(4))
def test_the_dogleg_is_no_worse_than_the_gradient(n, lowest, radius, seed):
    hess, gradient, _, _ = random_model(n, lowest, seed)
    step, _ = minimize_in_ball(hess, gradient, radius, "dogleg")
    norm = np.linalg.norm(gradient)
    curvature = gradient @ hess @ gradient
    way = radius / norm if curvature <= 0 else min(norm**2 / curvature, radius / norm)
    assert np.linalg.norm(step) <= radius * (1 + 1e-12)
    cauchy = model(hess, gradient, -way * gradient)
    assert model(hess, gradient, step) <= cauchy + 1e-12 * abs(cauchy)


def test_the_dogleg_bends_where_powell_bends_it():
    """H = diag(1, 10), g = (1, 1): the Cauchy point is -2/11 g, Newton's (-1, -0.1)."""
    hess, gradient = np.diag([1.0, 10.0]), np.array([1.0, 1.0])
    cauchy, newton = -2 / 11 * gradient, np.array([-1.0, -0.1])
    radius = 0.6
    step, _ = minimize_in_ball(hess, gradient, radius, "dogleg")
    share = (step - cauchy)[0] / (newton - cauchy)[0]
    assert 0 < share < 1
    np.testing.assert_allclose(step, cauchy + share * (newton - cauchy))
    assert np.linalg.norm(step) == pytest.approx(radius)
