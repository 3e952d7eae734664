"""The textbook's form of each rule: the papers' formulas, line by line, and what they say of them.

The transcriptions are NumPy in double, from the papers and in their order and symbols. They differ
from a paper where the textbook's form does: `eps` is where its docstring says, although Duchi et
al. have it outside the root, and Tieleman & Hinton, AdaMax, AMSGrad and RAdam have none at all.
"""

import doctest
import importlib
import math
import pkgutil

import numpy as np
import pytest

import fastopt.rules
from fastopt.rules.nadam import nadam_momentum, nadam_weights
from fastopt.rules.radam import radam_length
from fastopt.rules.steps import njit_step, rule_functions
from fastopt.rules.table import RULES
from tests.rules import golden

EPS = np.finfo(float).eps
BY_RULE = pytest.mark.parametrize("name", RULES)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Without a unit: a gradient of another unit gives the same steps, but for eps.
SCALE_FREE = [
    "adagrad",
    "rmsprop",
    "rmsprop-momentum",
    "rmsprop-centered",
    "adam",
    "nadam",
    "adamw",
    "amsgrad",
    "adamax",
    "lion",
    "adan",
]
# A set of hyperparameters other than the default, not in a corner where nothing happens.
OTHER = {
    "gd": (0.1,),
    "momentum": (0.02, 0.5),
    "nesterov": (0.02, 0.99),
    "adagrad": (0.5, 1e-3),
    "adadelta": (0.75, 1e-2),
    "rmsprop": (0.05, 0.5, 1e-4),
    "rmsprop-momentum": (0.05, 0.75, 0.5, 1e-4),
    "rmsprop-centered": (0.01, 0.95, 0.9, 1e-4),
    "adam": (0.1, 0.0, 0.5, 1e-3),
    "nadam": (0.05, 0.99, 0.9, 1e-12),
    "adamw": (0.01, 0.99, 0.9, 1e-12, 0.03),
    "amsgrad": (0.05, 0.5, 0.9, 1e-3),
    "adamax": (0.05, 0.5, 0.9, 1e-3),
    "radam": (0.05, 0.5, 0.9, 1e-3),
    "lion": (0.03, 0.5, 0.75, 0.1),
    "adan": (0.02, 0.9, 0.6, 0.8, 1e-3, 0.1),
}
SETTINGS = pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [(name, setting) for name in RULES for setting in (RULES[name].defaults, OTHER[name])],
)


def gd(theta, grads, eta):
    """Cauchy 1847; with the gradient of a sample, Robbins & Monro 1951, equation 6."""
    for g in grads:
        theta = theta - eta * g
        yield theta


def momentum(theta, grads, alpha, beta):
    """Polyak 1964, equation 9: the last step is kept as a difference of iterates."""
    before = theta
    for g in grads:
        theta, before = theta - alpha * g + beta * (theta - before), theta
        yield theta


def nesterov(theta, grads, epsilon, mu):
    """Sutskever et al. 2013, equations 3 and 4, with the gradient taken at theta + mu*v."""
    v = np.zeros_like(theta)
    for g in grads:
        v = mu * v - epsilon * g
        theta = theta + v
        yield theta + mu * v  # where the next gradient is taken


def adagrad(x, grads, eta, delta):
    """Duchi et al. 2011, figure 1, with s_i the norm of all g_i so far."""
    for t in range(1, len(grads) + 1):
        squares = (grads[:t] ** 2).sum(axis=0)
        x = x - eta * grads[t - 1] / np.sqrt(squares + delta)
        yield x


def adadelta(x, grads, rho, epsilon):
    """Zeiler 2012, algorithm 1."""
    square_g = square_dx = np.zeros_like(x)
    for g in grads:
        square_g = rho * square_g + (1 - rho) * g**2
        dx = -np.sqrt(square_dx + epsilon) / np.sqrt(square_g + epsilon) * g
        square_dx = rho * square_dx + (1 - rho) * dx**2
        x = x + dx
        yield x


def rmsprop(w, grads, eta, decay, eps):
    """Tieleman & Hinton 2012, slide 29."""
    mean_square = np.zeros_like(w)
    for g in grads:
        mean_square = decay * mean_square + (1 - decay) * g**2
        w = w - eta * g / np.sqrt(mean_square + eps)
        yield w


def rmsprop_momentum(w, grads, eta, decay, kept, eps):
    """The same quotient in Graves' 2013 equations 40 and 41."""
    n = delta = np.zeros_like(w)
    for g in grads:
        n = decay * n + (1 - decay) * g**2
        delta = kept * delta - eta * g / np.sqrt(n + eps)
        w = w + delta
        yield w


def rmsprop_centered(w, grads, eta, decay, kept, eps):
    """Graves 2013, equations 38 to 41."""
    n = mean = delta = np.zeros_like(w)
    for g in grads:
        n = decay * n + (1 - decay) * g**2
        mean = decay * mean + (1 - decay) * g
        delta = kept * delta - eta * g / np.sqrt(n - mean**2 + eps)
        w = w + delta
        yield w


def adam(theta, grads, alpha, beta1, beta2, eps):
    """Kingma & Ba 2015, algorithm 1."""
    m = v = np.zeros_like(theta)
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - alpha * m_hat / (np.sqrt(v_hat) + eps)
        yield theta


def nadam(theta, grads, alpha, beta1, nu, eps):
    """Dozat 2016, algorithm 2 without the factor nu that its n_hat has and its text has not."""
    steps = np.arange(1, len(grads) + 2)
    mu = np.array([math.nan, *beta1 * (1 - 0.5 * 0.96 ** (steps / 250))])
    m = n = np.zeros_like(theta)
    for t, g in enumerate(grads, start=1):
        m = mu[t] * m + (1 - mu[t]) * g
        n = nu * n + (1 - nu) * g**2
        m_hat = mu[t + 1] * m / (1 - mu[1 : t + 2].prod())
        m_hat = m_hat + (1 - mu[t]) * g / (1 - mu[1 : t + 1].prod())
        n_hat = n / (1 - nu**t)
        theta = theta - alpha / (np.sqrt(n_hat) + eps) * m_hat
        yield theta


def adamw(theta, grads, alpha, beta1, beta2, eps, decay):
    """Loshchilov & Hutter 2019, algorithm 2, with a schedule that is 1 throughout."""
    m = v = np.zeros_like(theta)
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - (alpha * m_hat / (np.sqrt(v_hat) + eps) + decay * theta)
        yield theta


def amsgrad(x, grads, alpha, beta1, beta2, eps):
    """Reddi et al. 2018, algorithm 2, on the whole space."""
    m = v = v_hat = np.zeros_like(x)
    for g in grads:
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_hat = np.maximum(v_hat, v)
        x = x - alpha * m / (np.sqrt(v_hat) + eps)
        yield x


def adamax(theta, grads, alpha, beta1, beta2, eps):
    """Kingma & Ba 2015, algorithm 2."""
    m = u = np.zeros_like(theta)
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        u = np.maximum(beta2 * u, abs(g))
        theta = theta - alpha / (1 - beta1**t) * m / (u + eps)
        yield theta


def radam(theta, grads, alpha, beta1, beta2, eps):
    """Liu et al. 2020, algorithm 2."""
    rho_inf = 2 / (1 - beta2) - 1
    m = v = np.zeros_like(theta)
    for t, g in enumerate(grads, start=1):
        v = beta2 * v + (1 - beta2) * g**2
        m = beta1 * m + (1 - beta1) * g
        m_hat = m / (1 - beta1**t)
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 4:
            length = np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)
            r = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
            theta = theta - alpha * math.sqrt(r) * m_hat * length
        else:
            theta = theta - alpha * m_hat
        yield theta


def lion(theta, grads, eta, beta1, beta2, decay):
    """Chen et al. 2023, algorithm 2."""
    m = np.zeros_like(theta)
    for g in grads:
        c = beta1 * m + (1 - beta1) * g
        theta = theta - eta * (np.sign(c) + decay * theta)
        m = beta2 * m + (1 - beta2) * g
        yield theta


def adan(theta, grads, eta, keep1, keep2, keep3, eps, decay):
    """Xie et al. 2024, algorithm 1, whose betas are what is not kept; its k counts from 0."""
    beta1, beta2, beta3 = 1 - keep1, 1 - keep2, 1 - keep3
    for k, g in enumerate(grads):
        if k == 0:
            m, v, n = g, np.zeros_like(g), g**2
        else:
            change = g - grads[k - 1]
            m = (1 - beta1) * m + beta1 * g
            v = change if k == 1 else (1 - beta2) * v + beta2 * change
            n = (1 - beta3) * n + beta3 * (g + (1 - beta2) * change) ** 2
        step = eta / (np.sqrt(n) + eps)
        theta = (theta - step * (m + (1 - beta2) * v)) / (1 + decay * eta)
        yield theta


def published(name, x, grads, hyperparameters):
    """`x` after every step, by the transcription."""
    method = globals()[name.replace("-", "_")]
    return np.array(list(method(x.astype(float), grads.astype(float), *hyperparameters)))


def walk(name, x, grads, hyperparameters):
    """`x` after every step, by the compiled step, and the slots after the last."""
    x, slots, path = x.copy(), np.zeros((RULES[name].slots, x.size), x.dtype), []
    for t, grad in enumerate(grads, start=1):
        njit_step(name)(x, grad, slots, hyperparameters, t)
        path.append(x.copy())
    return np.array(path), slots


def chosen(name, **values):
    """The defaults, but for `values`, with an `eps` that is as good as none."""
    values = {"eps": 1e-300, **values}
    return tuple(values.get(each.name, each.default) for each in RULES[name].hyperparameters)


def amplification(name, hyperparameters):
    """How many roundings of a step show in it: 1 - beta**t is a difference of like numbers."""
    values = dict(zip((h.name for h in RULES[name].hyperparameters), hyperparameters, strict=True))
    decays = [values[key] for key in ("momentum", "decay", "beta1", "beta2") if key in values]
    return 1 / (1 - max(decays, default=0.0))


@SETTINGS
def test_follows_the_formulas_of_its_paper_for_200_steps(name, hyperparameters):
    x, grads = golden.start("float64"), golden.gradients("float64")
    path, _ = walk(name, x, grads, hyperparameters)
    expected = published(name, x, grads, hyperparameters)
    # Each step brings a few roundings of the parameter, and some of its own.
    steps = np.abs(np.diff(expected, axis=0, prepend=x[None]))
    bound = 8 * EPS * np.abs(expected).max(axis=0) * len(grads)
    bound += 8 * EPS * amplification(name, hyperparameters) * steps.sum(axis=0)
    assert np.all(np.abs(path - expected) <= bound)


@SETTINGS
def test_float32_stays_near_the_path_in_double(name, hyperparameters):
    x, grads = golden.start("float32"), golden.gradients("float32")
    path, slots = walk(name, x, grads, hyperparameters)
    assert path.dtype == slots.dtype == np.float32
    expected = published(name, x, grads, hyperparameters)
    bound = 200 * 4 * np.finfo(np.float32).eps * np.abs(expected).max(axis=0)
    assert np.all(np.abs(path - expected) <= bound)


@BY_RULE
def test_a_parameter_without_gradient_stays_but_for_its_decay(name):
    path, _ = walk(name, np.ones(3), np.zeros((10, 3)), RULES[name].defaults)
    if name == "adamw":
        steps = np.arange(1, 11)[:, None]
        np.testing.assert_allclose(path, np.tile(0.99**steps, 3), rtol=10 * EPS)
    else:
        assert np.all(path == 1)


@BY_RULE
def test_a_gradient_that_is_not_finite_reaches_its_own_parameter_alone(name):
    grads = np.array([[1.0, math.nan, 2.0]])
    path, slots = walk(name, np.zeros(3), grads, RULES[name].defaults)
    assert np.isfinite(path[0]).tolist() == [True, False, True]
    assert np.isfinite(slots[:, [0, 2]]).all()


@BY_RULE
def test_parameters_do_not_see_one_another(name):
    x, grads = golden.start("float64"), golden.gradients("float64")
    together, _ = walk(name, x, grads, OTHER[name])
    alone, _ = walk(name, x[7:8], grads[:, 7:8].copy(), OTHER[name])
    assert np.array_equal(together[:, 7:8], alone)


@pytest.mark.parametrize("name", SCALE_FREE)
def test_the_unit_of_the_gradient_does_not_matter(name):
    """By a power of two, and with no eps to speak of, not even in the last bit."""
    x, grads = golden.start("float64"), golden.gradients("float64")
    path, _ = walk(name, x, grads, chosen(name))
    scaled, _ = walk(name, x, grads * 2.0**20, chosen(name))
    assert np.array_equal(path, scaled)


@pytest.mark.parametrize("name", ["adagrad", "adam", "adamax", "lion", "adan"])
def test_first_step_has_length_lr_whatever_the_scale_of_the_gradient(name):
    grad = np.array([1e-100, -1e-3, 1.0, -1e100])
    path, _ = walk(name, np.zeros(4), grad[None], chosen(name, lr=0.25))
    np.testing.assert_allclose(path[0], -0.25 * np.sign(grad), rtol=1000 * EPS)


@pytest.mark.parametrize("name", ["adam", "adamax", "adan", "lion"])
def test_under_a_constant_gradient_every_step_has_length_lr(name):
    path, _ = walk(name, np.zeros(3), np.full((100, 3), [1e-3, 1.0, -30.0]), chosen(name, lr=0.25))
    steps = np.diff(path, axis=0, prepend=0)
    np.testing.assert_allclose(np.abs(steps), 0.25, rtol=1e5 * EPS)


def on_a_quadratic(name, dtype, hyperparameters, steps=40):
    """The last error on ``sum(curvature*error**2)/2``."""
    curvature = np.array([0.1, 1.0, 3.0, 9.0], dtype)
    x, slots = np.array([2.0, 2.0, -3.0, 5.0], dtype), np.zeros((RULES[name].slots, 4), dtype)
    for t in range(1, steps + 1):
        njit_step(name)(x, curvature * x, slots, hyperparameters, t)
    return x


@DTYPES
def test_gd_on_a_quadratic_shrinks_each_error_by_its_own_factor(dtype):
    x = on_a_quadratic("gd", dtype, (0.125,))
    factor = 1 - 0.125 * np.array([0.1, 1.0, 3.0, 9.0])
    expected = factor**40 * [2.0, 2.0, -3.0, 5.0]
    np.testing.assert_allclose(x, expected, rtol=40 * np.finfo(dtype).eps)


@DTYPES
@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_momentum_on_a_quadratic_is_a_power_of_a_matrix(name, dtype):
    lr, kept, steps = 0.125, 0.75, 40
    expected = []
    for curvature, start in zip([0.1, 1.0, 3.0, 9.0], [2.0, 2.0, -3.0, 5.0], strict=True):
        pull = lr * curvature  # (error, velocity), with the velocity as it is after the gradient
        velocity = np.array([pull, kept])
        taken = velocity if name == "momentum" else np.array([pull, 0.0]) + kept * velocity
        matrix = np.array([np.array([1.0, 0.0]) - taken, velocity])
        expected.append((np.linalg.matrix_power(matrix, steps) @ [start, 0.0])[0])
    x = on_a_quadratic(name, dtype, (lr, kept), steps)
    np.testing.assert_allclose(x, expected, rtol=0, atol=steps * 5 * np.finfo(dtype).eps)


def test_best_momentum_is_as_fast_as_the_root_of_the_condition_number_allows():
    """Polyak 1964: an error of ((sqrt(k) - 1)/(sqrt(k) + 1))**t, where gd has the k itself."""
    low, high = 0.1, 9.0
    root = math.sqrt(high / low)
    lr, kept = 4 / (math.sqrt(low) + math.sqrt(high)) ** 2, ((root - 1) / (root + 1)) ** 2
    steps = 300
    slow = np.abs(on_a_quadratic("gd", float, (2 / (low + high),), steps)).max()
    fast = np.abs(on_a_quadratic("momentum", float, (lr, kept), steps)).max()
    assert fast <= 5 * 2 * steps * math.sqrt(kept) ** steps
    assert slow >= ((high - low) / (high + low)) ** steps


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_without_momentum_it_is_gradient_descent(name):
    x, grads = golden.start("float64"), golden.gradients("float64")
    assert np.array_equal(walk(name, x, grads, (0.01, 0.0))[0], walk("gd", x, grads, (0.01,))[0])


def test_nesterov_and_momentum_agree_where_the_gradient_is_constant():
    """The point ahead is ahead by the momentum times the step."""
    grads = np.ones((50, 1))
    behind, velocity = walk("momentum", np.zeros(1), grads, (0.01, 0.5))
    ahead, _ = walk("nesterov", np.zeros(1), grads, (0.01, 0.5))
    np.testing.assert_allclose(ahead[-1], behind[-1] - 0.5 * velocity[0], rtol=50 * EPS)


def test_adagrad_under_a_constant_gradient_slows_down_as_the_root_of_the_time():
    path, _ = walk("adagrad", np.zeros(1), np.full((100, 1), 7.0), chosen("adagrad", lr=0.25))
    expected = -0.25 * np.cumsum(1 / np.sqrt(np.arange(1, 101)))
    np.testing.assert_allclose(path[:, 0], expected, rtol=100 * EPS)


def test_adadelta_begins_with_steps_as_small_as_the_root_of_eps():
    path, _ = walk("adadelta", np.zeros(2), np.array([[1.0, -1e6]]), (0.9, 1e-6))
    np.testing.assert_allclose(path[0], [-math.sqrt(1e-5), math.sqrt(1e-5)], rtol=1e-5)


def test_rmsprop_without_momentum_is_the_plain_one():
    x, grads = golden.start("float64"), golden.gradients("float64")
    plain, _ = walk("rmsprop", x, grads, (0.01, 0.9, 1e-8))
    assert np.array_equal(plain, walk("rmsprop-momentum", x, grads, (0.01, 0.9, 0.0, 1e-8))[0])


def test_centred_rmsprop_takes_longer_steps_where_the_gradient_has_a_mean():
    x, grads = golden.start("float64"), golden.gradients("float64") + 1.0
    plain, _ = walk("rmsprop", x, grads, (0.01, 0.9, 1e-8))
    centred, _ = walk("rmsprop-centered", x, grads, (0.01, 0.9, 0.0, 1e-8))
    moved = [np.abs(np.diff(path, axis=0)) for path in (plain, centred)]
    assert np.all(moved[1] >= moved[0])


def test_centred_rmsprop_survives_a_gradient_without_variance():
    """Rounding makes the difference under the root negative now and then."""
    grads = np.full((2000, 50), np.random.default_rng(0).uniform(1, 2, 50))
    path, _ = walk("rmsprop-centered", np.zeros(50), grads, (0.01, 0.9, 0.0, 1e-300))
    assert not np.isnan(path).any()


def test_adam_without_memory_is_the_sign_of_the_gradient():
    x, grads = golden.start("float64"), golden.gradients("float64")
    path, _ = walk("adam", x, grads, (0.01, 0.0, 0.0, 1e-300))
    expected = x - 0.01 * np.cumsum(np.sign(grads), axis=0)
    np.testing.assert_allclose(path, expected, rtol=0, atol=200 * 4 * EPS)


def test_adam_in_float32_keeps_the_mean_square_to_a_few_ulp_in_the_first_steps():
    """The arrangement that the rule avoids loses more than 1000."""
    grads = golden.gradients("float32")
    for count in (1, 2, 5, 20):
        _, slots = walk("adam", golden.start("float32"), grads[:count], RULES["adam"].defaults)
        weights = 0.001 * 0.999 ** np.arange(count)[::-1, None]
        square = (weights * grads[:count].astype(float) ** 2).sum(axis=0)
        assert np.all(np.abs(slots[1] - square) <= (2 * count + 4) * np.spacing(slots[1]))


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.99, 0.9999, 1 - 1e-9])
@pytest.mark.parametrize("t", [1, 2, 50, 1000, 10**6])
@pytest.mark.parametrize("rate", [0.004, 1.0, 0.0, 1e-6])
def test_nadam_has_the_product_of_all_momenta(t, beta1, rate):
    mu = beta1 * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * rate))
    log_product = np.log(mu).sum() if beta1 > 0 else -math.inf
    now = (1 - mu[-2]) / -math.expm1(log_product - np.log(mu[-1]) if beta1 > 0 else -math.inf)
    ahead = mu[-1] / -math.expm1(log_product)
    # A sum of t logarithms, and a product of t factors; where t is large, it is of no account.
    np.testing.assert_allclose(nadam_weights(float(t), beta1, rate), (now, ahead), rtol=1e-11)


def test_nadam_has_half_the_momentum_at_first():
    assert nadam_momentum(0.0, 0.9, 0.004) == 0.45
    rising = [nadam_momentum(float(t), 0.9, 0.004) for t in range(0, 100_000, 100)]
    assert rising == sorted(rising)
    assert rising[-1] == pytest.approx(0.9, rel=1e-6)


def test_adamw_without_decay_is_adam():
    x, grads = golden.start("float64"), golden.gradients("float64")
    adam_path, _ = walk("adam", x, grads, (0.01, 0.9, 0.999, 1e-8))
    assert np.array_equal(walk("adamw", x, grads, (0.01, 0.9, 0.999, 1e-8, 0.0))[0], adam_path)


def test_amsgrad_never_lengthens_what_it_makes_of_a_gradient():
    grads = golden.gradients("float64")
    path, _ = walk("amsgrad", golden.start("float64"), grads, chosen("amsgrad", beta1=0.0, lr=1.0))
    lengths = np.abs(np.diff(path, axis=0)) / np.where(grads[1:] == 0, math.nan, np.abs(grads[1:]))
    shortest = np.fmin.accumulate(lengths, axis=0)
    # A length is a difference of parameters up to 10 or so; the shortest are some 1e-5.
    assert np.nanmax(lengths / shortest) <= 1 + 1e7 * EPS
    constant, _ = walk("amsgrad", np.zeros(1), np.ones((2000, 1)), chosen("amsgrad", beta1=0.0))
    steps = -np.diff(constant[:, 0], prepend=0.0)
    assert np.all(steps[1:] <= steps[:-1] + 4 * EPS)


@pytest.mark.parametrize(("name", "end"), [("adam", 1.0), ("amsgrad", -1.0)])
def test_amsgrad_finds_the_minimum_that_adam_runs_away_from(name, end):
    """Reddi et al. 2018, theorem 1: in [-1, 1], every third gradient is C, and the others -1."""
    large = 3.0
    x, slots = np.zeros(1), np.zeros((RULES[name].slots, 1))
    for t in range(1, 20_001):
        grad = np.array([large if t % 3 == 1 else -1.0])
        step = 0.1 / math.sqrt(t), 0.0, 1 / (1 + large**2), 1e-300
        njit_step(name)(x, grad, slots, step, t)
        np.clip(x, -1, 1, out=x)
    assert x[0] == pytest.approx(end, abs=0.01)


def test_adamax_moves_no_further_than_lr():
    x, grads = golden.start("float64"), golden.gradients("float64")
    path, _ = walk("adamax", x, grads, chosen("adamax", lr=0.25))
    assert np.abs(np.diff(path, axis=0, prepend=x[None])).max() <= 0.25 * (1 + 100 * EPS)


def test_radam_begins_as_momentum():
    x, grads = golden.start("float64"), golden.gradients("float64")
    path, _ = walk("radam", x, grads, (0.01, 0.9, 0.999, 1e-8))
    damped, _ = walk("momentum", np.zeros_like(x), grads, (0.1, 0.9))
    m = -np.diff(damped, axis=0, prepend=0.0)
    corrected = 0.01 * m / (1 - 0.9 ** np.arange(1, 201))[:, None]
    expected = x - np.cumsum(corrected, axis=0)
    assert radam_length(4, 0.999) < 4 < radam_length(5, 0.999)
    np.testing.assert_allclose(path[:4], expected[:4], rtol=0, atol=100 * EPS)
    assert not np.allclose(path[4], expected[4])


def test_radam_becomes_adam():
    _, at = rule_functions("radam")
    _, adams = rule_functions("adam")
    late, early = 10**5, 10
    assert at(late, 0.01, 0.9, 0.999, 1e-8)[0] == pytest.approx(adams(late, 0.01, 0.9, 0.999, 0)[0])
    assert at(early, 0.01, 0.9, 0.999, 1e-8)[0] < 0.1 * adams(early, 0.01, 0.9, 0.999, 0)[0]


def test_lion_moves_every_parameter_by_lr_until_it_has_no_direction():
    x, grads = golden.start("float64"), golden.gradients("float64")
    path, _ = walk("lion", x, grads, (0.25, 0.9, 0.99, 0.0))
    moved = np.abs(np.diff(path, axis=0, prepend=x[None]))
    still = np.cumsum(np.abs(grads), axis=0) == 0
    np.testing.assert_allclose(moved, np.where(still, 0.0, 0.25), rtol=0, atol=100 * EPS)


def test_adan_forgets_where_it_keeps_nothing():
    """Then it is the sign of the gradient."""
    x, grads = golden.start("float64"), golden.gradients("float64")
    path, _ = walk("adan", x, grads, chosen("adan", lr=0.01, beta1=0.0, beta2=0.0, beta3=0.0))
    expected = x - 0.01 * np.cumsum(np.sign(grads), axis=0)
    np.testing.assert_allclose(path, expected, rtol=0, atol=200 * 4 * EPS)


MODULES = [module.name for module in pkgutil.iter_modules(fastopt.rules.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples_hold(module):
    if module.startswith("device_"):
        pytest.importorskip("numba_cuda")
    result = doctest.testmod(importlib.import_module(f"fastopt.rules.{module}"))
    assert result.attempted > 0 or module == "_arguments"
    assert result.failed == 0
