"""Adam against the paper, PyTorch, and what the paper says of the size of its steps."""

import doctest

import numpy as np
import pytest

import fastopt.rules.adam
from fastopt.rules.steps import njit_step

SETTINGS = [
    (0.001, 0.9, 0.999, 1e-8),
    (0.1, 0.0, 0.5, 1e-3),  # no memory of the mean, a large eps
    (0.01, 0.99, 0.9, 1e-12),
]


def gradients(steps, n, dtype=np.float64):
    """Random, of magnitudes from 1e-6 to 1e3, with some parameters that rarely have any."""
    generator = np.random.default_rng(1412)
    scale = 10.0 ** generator.uniform(-6, 3, size=n)
    present = (np.arange(n) % 5 != 0) | (generator.random((steps, n)) < 0.1)
    return (generator.normal(size=(steps, n)) * scale * present).astype(dtype)


def trajectory(x, grads, hyperparameters):
    """`x` after every step, by the compiled step."""
    x, slots, path = x.copy(), np.zeros((2, x.size), x.dtype), []
    for t, grad in enumerate(grads, start=1):
        njit_step("adam")(x, grad, slots, hyperparameters, t)
        path.append(x.copy())
    return np.array(path), slots


def algorithm_1(x, grads, lr, beta1, beta2, eps):
    """Kingma & Ba 2015, algorithm 1, line by line, in double."""
    theta = x.astype(float)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    path = []
    for t, g in enumerate(grads.astype(float), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
        path.append(theta.copy())
    return np.array(path), np.array([m, v])


@pytest.mark.parametrize("hyperparameters", SETTINGS)
def test_follows_algorithm_1_of_the_paper_for_1000_steps(hyperparameters):
    grads = gradients(1000, 37)
    x = np.random.default_rng(6980).normal(size=37)
    path, slots = trajectory(x, grads, hyperparameters)
    expected, moments = algorithm_1(x, grads, *hyperparameters)
    # A step is at most about lr/sqrt(1 - beta2) long; each brings a few roundings of it and of x,
    # and 1 - beta2**t is formed by a subtraction that costs up to eps/(1 - beta2) of it.
    lr, _, beta2, _ = hyperparameters
    eps = np.finfo(float).eps
    bound = 1000 * (8 * eps * np.abs(expected).max() + lr * eps / (1 - beta2))
    np.testing.assert_allclose(path, expected, rtol=0, atol=bound)
    scale = np.abs(grads).max(axis=0)
    assert np.all(np.abs(slots[0] - moments[0]) <= 100 * eps * scale)
    np.testing.assert_allclose(slots[1], moments[1], rtol=1000 * eps)


def test_float32_keeps_the_mean_square_to_a_few_ulp_in_the_first_steps():
    """The arrangement that this rule avoids loses more than 1000."""
    grads = gradients(20, 1000, np.float32)
    x = np.zeros(1000, np.float32)
    for steps in (1, 2, 5, 20):
        _, slots = trajectory(x, grads[:steps], SETTINGS[0])
        _, moments = algorithm_1(x, grads[:steps], *SETTINGS[0])
        ulps = np.abs(slots[1] - moments[1]) / np.spacing(np.float32(moments[1]))
        assert slots.dtype == np.float32
        assert ulps.max() <= 2 * steps + 4


@pytest.mark.parametrize("hyperparameters", SETTINGS)
def test_float32_stays_near_the_path_in_double(hyperparameters):
    grads = gradients(200, 37, np.float32)
    x = np.random.default_rng(6980).normal(size=37).astype(np.float32)
    path, _ = trajectory(x, grads, hyperparameters)
    expected, _ = algorithm_1(x, grads, *hyperparameters)
    bound = 200 * 4 * np.finfo(np.float32).eps * np.abs(expected).max()
    np.testing.assert_allclose(path, expected, rtol=0, atol=bound)


def test_first_step_has_length_lr_whatever_the_scale_of_the_gradient():
    grad = np.array([1e-100, -1e-3, 1.0, -1e100])
    x = np.zeros(4)
    njit_step("adam")(x, grad, np.zeros((2, 4)), (0.25, 0.9, 0.999, 1e-300), 1)
    np.testing.assert_allclose(x, -0.25 * np.sign(grad), rtol=1e-12)


def test_a_parameter_without_gradient_stays():
    x, slots = np.ones(3), np.zeros((2, 3))
    for t in range(1, 11):
        njit_step("adam")(x, np.zeros(3), slots, SETTINGS[0], t)
    assert np.all(x == 1)


def test_a_gradient_that_is_not_finite_reaches_its_own_parameter_alone():
    grad = np.array([1.0, np.nan, np.inf, 1.0])
    x = np.zeros(4)
    njit_step("adam")(x, grad, np.zeros((2, 4)), SETTINGS[0], 1)
    assert np.isfinite(x).tolist() == [True, False, False, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hyperparameters", SETTINGS)
def test_follows_pytorch(hyperparameters, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    lr, beta1, beta2, eps = hyperparameters
    grads = gradients(200, 37, dtype)
    x = np.random.default_rng(6980).normal(size=37).astype(dtype)
    path, _ = trajectory(x, grads, hyperparameters)
    theta = torch.nn.Parameter(torch.from_numpy(x.copy()))
    peer = torch.optim.Adam([theta], lr=lr, betas=(beta1, beta2), eps=eps)
    bound = 200 * 8 * np.finfo(dtype).eps * np.abs(path).max() + 200 * lr * 1e-13 / (1 - beta2)
    for grad, ours in zip(grads, path, strict=True):
        theta.grad = torch.from_numpy(grad)
        peer.step()
        np.testing.assert_allclose(ours, theta.detach().numpy(), rtol=0, atol=bound)


def test_docstring_examples_hold():
    result = doctest.testmod(fastopt.rules.adam)
    assert result.attempted > 0
    assert result.failed == 0
