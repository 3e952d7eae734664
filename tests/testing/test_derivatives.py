"""`check_grad` and its kin: no false alarm, no mistake missed, and the right name for each."""

import math
import pickle
import zlib

import numpy as np
import pytest
import scipy.sparse as sparse
from numba import carray, cfunc, njit, types
from scipy import LowLevelCallable
from scipy.optimize import rosen, rosen_der, rosen_hess
from scipy.sparse.linalg import aslinearoperator

import fastopt
from fastopt import check_grad, check_hess, check_hessp
from fastopt.testing import DerivativeCheck, more_garbow_hillstrom

PROBLEMS = more_garbow_hillstrom()
every_problem = pytest.mark.parametrize("p", PROBLEMS, ids=lambda p: f"{p.number}-n{p.n}")

X = np.array([-1.2, 1.0, 0.7, 2.0, -0.3])


def points(p):
    """The start and two points around it, inside the domain of every problem."""
    rng = np.random.default_rng(p.number)
    yield p.x0
    for spread in (0.01, 0.1):
        yield p.x0 * (1.0 + spread * rng.standard_normal(p.n)) + spread * rng.uniform(0, 1, p.n)


def changed(vector, **entries):
    """A copy with other entries: ``changed(v, i2=1.0)``."""
    copy = np.array(vector)
    for name, entry in entries.items():
        copy[int(name[1:])] = entry
    return copy


def noise_at(x, seed=0):
    """Standard normal noise that is a function of x."""
    return np.random.default_rng([zlib.crc32(x.tobytes()), seed]).standard_normal()


class Counted:
    """A function that counts its calls and keeps their points."""

    def __init__(self, function):
        self.function = function
        self.points = []

    def __call__(self, x, *args):
        self.points.append(x)
        return self.function(x, *args)


# No false alarms.


@every_problem
def test_right_derivatives_are_found_right(p):
    for x in points(p):
        checks = [
            check_grad(p.fun_and_grad, x),
            check_hess(None, x, jac=p.grad, hess=p.hess),
            check_hess(p.fun, x, hess=p.hess),
            check_hessp(None, x, jac=p.grad, hessp=lambda x, v: p.hess(x) @ v),
            check_hessp(p.fun, x, hessp=lambda x, v: p.hess(x) @ v),
        ]
        for check in checks:
            assert check, check
            assert check.error <= check.tolerance
        assert checks[0].nfev <= 45 + 20 * p.n
        assert checks[1].njev <= 15 + 25 * p.n


@every_problem
def test_what_differences_say_lies_within_their_error(p):
    for x in points(p):
        # A mistake makes the check look as closely as it can.
        check = check_grad(p.fun, x, jac=lambda x: 1.5 * p.grad(x) + 1.0)
        exact = p.grad(x)
        known = np.isfinite(check.differences)
        assert known.all()
        rounding = 100 * np.finfo(float).eps * np.abs(exact)
        apart = np.abs(check.differences - exact)
        assert (apart <= 2.0 * check.uncertainty + rounding).all()


@pytest.mark.parametrize("relative", [1e-12, 1e-9, 1e-6])
@pytest.mark.parametrize("kind", ["additive", "relative"])
@every_problem
def test_noise_is_no_false_alarm(p, relative, kind):
    for seed, x in enumerate(points(p)):
        size = relative * max(p.fun(x), 1e-3)

        def noisy(x, size=size, seed=seed):
            if kind == "additive":
                return p.fun(x) + size * noise_at(x, seed)
            return p.fun(x) * (1.0 + relative * noise_at(x, seed))

        check = check_grad(noisy, x, jac=p.grad)
        assert check, check


def test_noise_is_mentioned_and_measured():
    check = check_grad(lambda x: rosen(x) + 1e-6 * noise_at(x), X, jac=rosen_der)
    assert check
    assert "The function is noisy" in check.message
    level = float(check.message.partition("by about ")[2].partition(",")[0])
    assert 3e-7 < level < 3e-6
    assert "noisy" not in check_grad(rosen, X, jac=rosen_der).message


def test_noise_that_changes_from_call_to_call_is_no_false_alarm():
    rng = np.random.default_rng(1)
    check = check_grad(lambda x: rosen(x) + 1e-6 * rng.standard_normal(), X, jac=rosen_der)
    assert check, check
    assert "different values at the same x" in check.message


@pytest.mark.parametrize("digits", [8, 6, 4, 3])
def test_rounded_function_is_no_false_alarm(digits):
    check = check_grad(lambda x: round(rosen(x), digits), X, jac=rosen_der)
    assert check, check


def test_step_function_is_said_to_be_one():
    check = check_grad(lambda x: round(rosen(x), 3), X, jac=rosen_der)
    assert check
    assert "step function" in check.message


@pytest.mark.parametrize(("height", "pace"), [(1e-6, 1e7), (1e-3, 1e5), (1e-2, 1e6)])
def test_ripples_do_not_hide_that_wide_steps_agree(height, pace):
    def rippled(x):
        return rosen(x) + height * np.sin(pace * x[0] + 1.0)

    check = check_grad(rippled, X, jac=rosen_der)
    assert check, check

    def with_ripples(x):
        return changed(rosen_der(x), i0=rosen_der(x)[0] + height * pace * np.cos(pace * x[0] + 1.0))

    check = check_grad(rippled, X, jac=with_ripples)
    assert check, check
    # What agrees with neither is wrong.
    assert not check_grad(rippled, X, jac=lambda x: changed(rosen_der(x), i0=1e4))


def test_single_precision_is_no_false_alarm():
    single = check_grad(
        lambda x: float(rosen(x.astype(np.float32))),
        X,
        jac=lambda x: rosen_der(x.astype(np.float32)),
    )
    assert single, single
    exact_value = check_grad(rosen, X, jac=lambda x: rosen_der(x).astype(np.float32))
    assert exact_value, exact_value


def test_noisy_gradient_is_no_false_alarm_of_its_hessian():
    def noisy(x):
        rng = np.random.default_rng(zlib.crc32(x.tobytes()))
        return rosen_der(x) + 1e-6 * rng.standard_normal(x.size)

    check = check_hess(None, X, jac=noisy, hess=rosen_hess)
    assert check, check
    assert "The gradient is noisy" in check.message


# Mistakes, found and named.

MISTAKES = {
    "off by 1e-4": (lambda g, i, j: changed(g, **{f"i{i}": g[i] * 1.0001}), "a relative 0.0001"),
    "sign": (lambda g, i, j: changed(g, **{f"i{i}": -g[i]}), "sign flipped"),
    "twice": (lambda g, i, j: changed(g, **{f"i{i}": 2 * g[i]}), "twice that"),
    "half": (lambda g, i, j: changed(g, **{f"i{i}": g[i] / 2}), "half of it"),
    "zero": (lambda g, i, j: changed(g, **{f"i{i}": 0.0}), "it is zero"),
    "swapped": (
        lambda g, i, j: changed(g, **{f"i{i}": g[j], f"i{j}": g[i]}),
        "are swapped",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@every_problem
def test_planted_mistake_is_found_in_its_component(p, mistake):
    plant, words = MISTAKES[mistake]
    planted = 0
    for x in points(p):
        exact = p.grad(x)
        # The largest component, and the next one that is not about as large.
        i = int(np.argmax(np.abs(exact)))
        others = np.abs(exact - exact[i]) > 1e-2 * abs(exact[i])
        if exact[i] == 0.0 or (mistake == "swapped" and not others.any()):
            continue
        j = int(np.argmax(np.where(others, np.abs(exact), -1.0)))
        check = check_grad(p.fun, x, jac=lambda x, i=i, j=j: plant(p.grad(x), i, j))
        planted += 1
        assert not check
        assert check.error > check.tolerance
        assert check.index in ((i, j) if mistake == "swapped" else (i,))
        assert check.given == plant(exact, i, j)[check.index]
        assert math.isclose(check.expected, exact[check.index], rel_tol=1e-5, abs_tol=1e-12)
        assert f"Component {check.index} looks wrong" in check.message
        whole = p.n == 1 or np.count_nonzero(exact) == 1  # it is every component then
        assert words in check.message or whole, check.message
    assert planted or mistake == "swapped"


WHOLE = {
    "sign": (lambda g, x: -g, "the sign of every component is flipped"),
    "factor 2": (lambda g, x: 2 * g, "every component is twice that"),
    "pi": (lambda g, x: g / math.pi, "every component is that over pi"),
    "factor": (lambda g, x: 1.7 * g, "every component is 1.7 times"),
    "times x": (lambda g, x: g * x, "every component is multiplied by its x"),
    "over x": (lambda g, x: g / x, "every component is divided by its x"),
    "reversed": (lambda g, x: g[::-1], "reverse order"),
    "shifted": (lambda g, x: np.roll(g, 1), "that of the variable before it"),
    "shifted back": (lambda g, x: np.roll(g, -1), "that of the variable after it"),
    "shuffled": (lambda g, x: g[[2, 0, 1, 4, 3]], "in another order"),
    "nothing": (lambda g, x: 0 * g, "every component is zero"),
}


@pytest.mark.parametrize("mistake", WHOLE)
def test_mistake_of_all_components_is_named(mistake):
    plant, words = WHOLE[mistake]
    check = check_grad(rosen, X, jac=lambda x: plant(rosen_der(x), x))
    assert not check
    assert words in check.message


def test_all_wrong_components_are_listed():
    def jac(x):
        gradient = rosen_der(x)
        return changed(gradient, i0=-gradient[0], i3=1.3 * gradient[3])

    check = check_grad(rosen, X, jac=jac)
    assert check.index == 0
    assert check.message.endswith("Wrong, too: 3.")


def test_component_that_should_be_zero_is_said_so():
    check = check_grad(lambda x: (x[0] ** 2 + 0.0 * x[1], [2 * x[0], 5.0]), [1.0, 2.0])
    assert check.index == 1
    assert "given 5, differences say 0 +- " in check.message
    assert "it should be zero" in check.message


def test_gradient_of_another_component_is_recognised():
    check = check_grad(rosen, X, jac=lambda x: changed(rosen_der(x), i3=rosen_der(x)[1]))
    assert check.index == 3
    assert "which is that of component 1" in check.message


def test_gradient_that_does_not_depend_on_x_is_recognised():
    first = rosen_der(np.full(5, 0.3))
    check = check_grad(rosen, X, jac=lambda x: first)
    assert not check
    assert "the gradient is the same at another point" in check.message


def test_gradient_of_the_last_point_of_the_function_is_recognised():
    last = {}

    def fun(x):
        last["x"] = x
        return rosen(x)

    check = check_grad(fun, X, jac=lambda x: rosen_der(last["x"]))
    assert not check
    assert "kept between calls" in check.message


@pytest.mark.parametrize("pace", [0.5, 0.999, 1.001])
def test_function_that_drifts_from_call_to_call_is_recognised(pace):
    calls = iter(range(10**6))
    check = check_grad(lambda x: (rosen(x) * pace ** next(calls), rosen_der(x)), X)
    assert not check
    assert "different values at the same x" in check.message


def test_mistake_in_a_noisy_function_is_found():
    check = check_grad(
        lambda x: rosen(x) + 1e-6 * noise_at(x),
        X,
        jac=lambda x: changed(rosen_der(x), i2=1.0001 * rosen_der(x)[2]),
    )
    assert not check
    assert check.index == 2


def test_mistake_in_a_step_function_is_found():
    check = check_grad(
        lambda x: round(rosen(x), 6), X, jac=lambda x: changed(rosen_der(x), i2=-rosen_der(x)[2])
    )
    assert check.index == 2
    assert math.isclose(check.expected, rosen_der(X)[2], rel_tol=1e-4)


# Scales, and how much is evaluated.


@pytest.mark.parametrize("at", [0.0, 1.3])
@pytest.mark.parametrize("wrong", [None, 0, 2, 4])
def test_variables_of_scales_from_tiny_to_huge(at, wrong):
    scale = 10.0 ** np.arange(-8, 9, 4)

    def fun(x):
        gradient = np.cos(x / scale) / scale
        if wrong is not None:
            gradient[wrong] *= 1.0001
        return np.sin(x / scale).sum(), gradient

    check = check_grad(fun, at * scale)
    assert bool(check) == (wrong is None), check
    assert wrong is None or check.index == wrong


def test_hessian_of_variables_of_scales_from_tiny_to_huge():
    scale = 10.0 ** np.arange(-8, 9, 4)
    half = np.random.default_rng(0).standard_normal((5, 5))
    coupling = half @ half.T

    def jac(x):
        return coupling @ np.exp(-0.5 * x / scale) / scale

    def jacobian(x):
        return coupling * (-0.5 * np.exp(-0.5 * x / scale)) / np.outer(scale, scale)

    at = 0.3 * scale  # a field without potential: its derivatives are right, but not symmetric
    assert "looks wrong:" not in check_hess(None, at, jac=jac, hess=jacobian).message

    def wrong(x):
        matrix = jacobian(x)
        matrix[4, 0] *= 1.0001
        return matrix

    check = check_hess(None, at, jac=jac, hess=wrong)
    assert check.index == (4, 0)
    assert "Entry [4, 0] looks wrong" in check.message


def test_one_variable():
    assert check_grad(lambda x: (x[0] ** 3, 3 * x**2), 2.0)
    check = check_grad(lambda x: (x[0] ** 3, 2 * x**2), 2.0)
    assert (bool(check), check.index, check.given) == (False, 0, 8.0)
    assert check.expected == pytest.approx(12.0)
    assert check_hess(lambda x: x[0] ** 3, 2.0, hess=lambda x: [[6 * x[0]]])
    assert not check_hess(lambda x: x[0] ** 3, 2.0, hess=lambda x: [[5 * x[0]]])


@pytest.mark.parametrize("factor", [1.0001, -1.0, 0.0])
def test_of_a_thousand_variables_the_wrong_one_is_found(factor):
    x = np.random.default_rng(3).standard_normal(1000)
    right = check_grad(rosen, x, jac=rosen_der)
    assert right
    assert right.nfev <= 60
    assert right.index is None
    assert right.differences is None
    check = check_grad(
        rosen, x, jac=lambda x: changed(rosen_der(x), i617=factor * rosen_der(x)[617])
    )
    assert not check
    assert check.index == 617
    assert check.nfev <= 500


@pytest.mark.parametrize("i", [850, 473])
def test_of_a_thousand_variables_one_may_be_wrong_whose_term_is_small(i):
    x = np.random.default_rng(i).standard_normal(1000)
    exact = rosen_der(x)
    share = abs(1e-4 * exact[i] * x[i]) / np.linalg.norm(exact * x)
    assert 1e-8 < share < 1e-6  # less than `rtol`
    check = check_grad(
        rosen, x, jac=lambda x: changed(rosen_der(x), **{f"i{i}": 1.0001 * rosen_der(x)[i]})
    )
    assert check.index == i


def test_of_a_thousand_variables_a_factor_of_all_is_named():
    x = np.random.default_rng(3).standard_normal(1000)
    check = check_grad(rosen, x, jac=lambda x: 2 * rosen_der(x))
    assert "every component is twice that" in check.message
    assert check.nfev <= 900


def test_many_wrong_components_cost_no_more_than_a_few():
    x = np.random.default_rng(3).standard_normal(90)
    check = check_grad(rosen, x, jac=lambda x: -rosen_der(x))
    assert "the sign of every component is flipped" in check.message
    assert check.nfev <= 25 * 90


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, aslinearoperator])
@pytest.mark.parametrize("by_values", [False, True])
def test_of_a_thousand_variables_the_wrong_entry_of_the_hessian_is_found(form, by_values):
    x = np.random.default_rng(3).standard_normal(1000)

    def hess(x, factor):
        matrix = rosen_hess(x)
        matrix[616, 617] *= factor
        matrix[617, 616] *= factor
        return form(matrix)

    jac = None if by_values else rosen_der
    right = check_hess(lambda x, _: rosen(x), x, 1.0, jac and (lambda x, _: jac(x)), hess)
    assert right, right
    check = check_hess(lambda x, _: rosen(x), x, 1.01, jac and (lambda x, _: jac(x)), hess)
    assert not check
    assert check.index in ((616, 617), (617, 616))
    assert check.nfev + check.njev <= 1500


# Where there is no derivative, or no value.


def test_subgradient_at_a_kink_is_right_and_others_are_not():
    for given in (-1.0, 0.0, 0.3, 1.0):
        check = check_grad(lambda x, given=given: (abs(x[0]) + x[1], [given, 1.0]), [0.0, 1.0])
        assert check, check
        assert "has a kink at x along component 0, with slopes of -1 and 1" in check.message
    check = check_grad(lambda x: (abs(x[0]) + x[1], [1.5, 1.0]), [0.0, 1.0])
    assert not check
    assert "given 1.5, but the function has a kink at x, with slopes of -1 and 1" in check.message


@pytest.mark.parametrize("distance", [1e-2, 1e-5, 1e-8])
def test_kink_beside_x_does_no_harm(distance):
    def fun(x, factor):
        return np.abs(x - 1.0).sum(), factor * np.sign(x - 1.0)

    x = [1.0 + distance, 1.0 - 2 * distance]
    right = check_grad(fun, x, 1.0)
    assert right, right
    assert "kink at x" not in right.message
    assert not check_grad(fun, x, 1.0001)


def test_jump_at_x_is_said_to_be_one():
    def fun(x, given):
        return math.floor(x[0]) + x[1] ** 2, [given, 2 * x[1]]

    check = check_grad(fun, [1.0, 2.0], 0.0)
    assert check, check
    assert "has a jump at x along component 0" in check.message
    check = check_grad(fun, [1.0, 2.0], 1.0)
    assert check.index == 0
    assert "has a jump at x" in check.message


def test_flat_step_is_right_beside_its_jumps():
    check = check_grad(lambda x: (math.floor(x[0]) + x[1] ** 2, [0, 2 * x[1]]), [0.3, 2.0])
    assert check, check


def test_function_with_partial_derivatives_alone_is_said_not_to_be_differentiable():
    def fun(x):
        return (x[0] ** 3 / (x @ x) if x.any() else 0.0), [1.0, 0.0]

    check = check_grad(fun, [0.0, 0.0])
    assert "does not look differentiable" in check.message


@pytest.mark.parametrize("factor", [1.0, 1.0001])
@pytest.mark.parametrize("x", [[1e-9, 1.0, 1e5], [1e-300, 2.0, 3.0]])
def test_logarithm_beside_the_edge_of_its_domain(x, factor):
    def fun(x):
        return np.log(x).sum(), changed(1 / x, i0=factor / x[0])

    check = check_grad(fun, x)
    assert bool(check) == (factor == 1.0), check
    assert factor == 1.0 or check.index == 0


@pytest.mark.parametrize("factor", [1.0, 1.0001])
def test_edge_at_x_leaves_one_side(factor):
    def fun(x):
        value = math.inf if x[0] < 0 else math.exp(x[0]) + x[1] ** 2
        return value, [factor * math.exp(x[0]), 2 * x[1]]

    check = check_grad(fun, [0.0, 3.0])
    assert bool(check) == (factor == 1.0), check
    assert factor != 1.0 or "on one side of x only" in check.message
    assert factor == 1.0 or check.index == 0


def test_function_that_is_finite_at_x_alone_tells_nothing():
    check = check_grad(lambda x: (1.0 if x[0] == 1.0 else math.nan, [0.0]), 1.0)
    assert not check
    assert "Nothing could be compared" in check.message


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_value_that_is_not_finite_at_x_is_named(value):
    check = check_grad(lambda x: (value, x), [1.0, 2.0])
    assert (bool(check), check.index, check.nfev) == (False, None, 1)
    assert f"fun is {value} at x" in check.message


def test_derivative_that_is_not_finite_is_named():
    check = check_grad(lambda x: (x @ x, changed(2 * x, i1=math.nan)), [1.0, 2.0, 3.0])
    assert (bool(check), check.index) == (False, 1)
    matrix = rosen_hess(X)
    matrix[2, 3] = math.inf
    check = check_hess(rosen, X, jac=rosen_der, hess=lambda x: matrix)
    assert (bool(check), check.index) == (False, (2, 3))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, aslinearoperator])
@pytest.mark.parametrize("jac", [rosen_der, None])
def test_entry_of_a_large_hessian_that_is_not_finite_is_named(form, jac):
    x = np.random.default_rng(3).standard_normal(200)
    matrix = rosen_hess(x)
    matrix[17, 17] = math.nan
    check = check_hess(rosen, x, jac=jac, hess=lambda x: form(matrix))
    assert not check
    assert "Component 17 of its product with a vector is nan" in check.message


def test_forgotten_entry_of_an_array_to_fill_is_named():
    def fun(x, grad):
        if grad.size:
            grad[:2] = 2 * x[:2]
        return x @ x

    check = check_grad(fun, [1.0, 2.0, 3.0], jac="inplace")
    assert (bool(check), check.index) == (False, 2)


# Hessians.

PAIR_FLIPPED = np.ones((5, 5))
PAIR_FLIPPED[2, 3] = PAIR_FLIPPED[3, 2] = -1.0
HESSIAN_MISTAKES = {
    "sign": (lambda h: -h, None, "the sign of every entry is flipped"),
    "twice": (lambda h: 2 * h, None, "every entry is twice that"),
    "upper triangle": (np.triu, None, "only its upper triangle is filled"),
    "lower triangle": (np.tril, None, "only its lower triangle is filled"),
    "diagonal": (lambda h: np.diag(np.diag(h)), None, "only its diagonal is filled"),
    "nothing": (lambda h: 0 * h, None, "every entry is zero"),
    "diagonal halved": (
        lambda h: h - np.diag(np.diag(h)) / 2,
        None,
        "every diagonal entry is half of it",
    ),
    "off-diagonal doubled": (
        lambda h: 2 * h - np.diag(np.diag(h)),
        None,
        "every off-diagonal entry is twice that",
    ),
    "one entry": (
        lambda h: h + 1e-4 * h[2, 3] * np.outer(np.eye(5)[2], np.eye(5)[3]),
        (2, 3),
        "It is not symmetric: [2, 3]",
    ),
    "pair of entries": (lambda h: h * PAIR_FLIPPED, (2, 3), "sign flipped. Wrong, too: [3, 2]"),
}


@pytest.mark.parametrize("mistake", HESSIAN_MISTAKES)
@pytest.mark.parametrize("jac", [rosen_der, None], ids=["gradients", "values"])
@pytest.mark.parametrize("kind", ["dense", "sparse", "operator", "product"])
def test_mistake_in_a_hessian_is_named(mistake, jac, kind):
    plant, at, words = HESSIAN_MISTAKES[mistake]

    def hess(x):
        return plant(rosen_hess(x))

    if kind == "product":
        check = check_hessp(rosen, X, jac=jac, hessp=lambda x, p: hess(x) @ p)
    else:
        form = {"dense": np.asarray, "sparse": sparse.coo_matrix, "operator": aslinearoperator}
        check = check_hess(rosen, X, jac=jac, hess=lambda x: form[kind](hess(x)))
    assert not check
    assert words in check.message
    assert at is None or check.index == at


@every_problem
def test_planted_mistake_in_a_hessian_is_found(p):
    for x in points(p):
        exact = p.hess(x)
        i, j = (int(k) for k in np.unravel_index(np.argmax(np.abs(exact)), exact.shape))
        for factor in (1.0001, -1.0):
            matrix = exact.copy()
            matrix[i, j] *= factor
            matrix[j, i] = matrix[i, j]
            check = check_hess(None, x, jac=p.grad, hess=lambda x, matrix=matrix: matrix)
            assert not check
            assert check.index in ((i, j), (j, i))


def test_transposed_derivative_of_a_field_is_recognised():
    matrix = np.arange(25.0).reshape(5, 5) + np.eye(5)
    check = check_hess(None, X, jac=lambda x: matrix @ x, hess=lambda x: matrix.T)
    assert not check
    assert "it is the transposed" in check.message
    check = check_hess(None, X, jac=lambda x: matrix @ x, hess=lambda x: matrix)
    assert not check
    assert "It is not symmetric" in check.message
    assert "the gradient itself looks wrong" in check.message


def test_symmetry_is_tested_without_differences_that_could_tell():
    def hess(x):
        matrix = rosen_hess(x)
        matrix[0, 4] = 1e-3
        return matrix

    # So much noise hides the entry, not that it has no mirror image.
    def noisy(x):
        rng = np.random.default_rng(zlib.crc32(x.tobytes()))
        return rosen_der(x) + 10.0 * rng.standard_normal(x.size)

    check = check_hess(None, X, jac=noisy, hess=hess)
    assert not check
    assert "[0, 4] is 0.001, [4, 0] is 0" in check.message


def test_product_that_is_not_linear_is_recognised():
    x = np.random.default_rng(3).standard_normal(200)
    for size in (1e-3, 0.0):

        def hessp(x, p, size=size):
            return rosen_hess(x) @ p + size * np.abs(p)

        check = check_hessp(None, x, jac=rosen_der, hessp=hessp)
        assert ("It is not linear" in check.message) == (size > 0)
        assert bool(check) == (size == 0)


def test_product_that_is_not_symmetric_is_recognised():
    x = np.random.default_rng(3).standard_normal(200)
    matrix = np.diag(np.ones(199), 1)
    check = check_hessp(None, x, jac=lambda x: matrix @ x, hessp=lambda x, p: matrix @ p)
    assert not check
    assert "It is not symmetric" in check.message


def test_kink_of_a_gradient_is_said_to_be_one():
    def hess(x, factor):
        return np.diag(2.0 * factor * (x > 0))

    check = check_hess(None, [0.0, 1.0], 1.0, lambda x, _: 2 * np.maximum(x, 0), hess)
    assert check, check
    assert "The gradient has a kink at x along component 0" in check.message
    assert not check_hess(None, [0.0, 1.0], 1.1, lambda x, _: 2 * np.maximum(x, 0), hess)


# The forms of functions.


@njit
def bowl(x, centre, factor):
    difference = x - centre
    return (difference**4).sum(), 4.0 * factor * difference**3


@njit
def bowl_inplace(x, grad, centre, factor):
    difference = x - centre
    if grad.size:
        grad[:] = 4.0 * factor * difference**3
    return (difference**4).sum()


@njit
def bowl_value(x, centre, factor):
    return ((x - centre) ** 4).sum()


@njit
def bowl_gradient(x, centre, factor):
    return 4.0 * factor * (x - centre) ** 3


FORMS = {
    "True": (bowl, True),
    "inplace": (bowl_inplace, "inplace"),
    "callable": (bowl_value, bowl_gradient),
    "Python, True": (bowl.py_func, True),
    "Python, inplace": (bowl_inplace.py_func, "inplace"),
    "Python, callable": (bowl_value.py_func, bowl_gradient.py_func),
    "NumPy's True": (bowl.py_func, np.True_),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_function(form):
    fun, jac = FORMS[form]
    centre = np.arange(3.0)
    for factor, right in ((1.0, True), (1.0001, False)):
        args = (centre, factor)
        check = check_grad(fun, [1.0, 2.5, 4.0], args, jac)
        assert bool(check) == right, check

        def hess(x, centre, factor):
            return np.diag(12.0 * factor * (x - centre) ** 2)

        # The factor belongs to the gradient, too, but not to the values.
        assert check_hess(fun, [1.0, 2.5, 4.0], args, jac, hess)
        if jac is not True and callable(jac):
            assert bool(check_hess(fun, [1.0, 2.5, 4.0], args, None, hess)) == right
            assert bool(check_hess(fun, [1.0, 2.5, 4.0], args, False, hess)) == right
            assert check_hess(None, [1.0, 2.5, 4.0], args, jac, hess)


def c_function(factor):
    doubles = types.CPointer(types.float64)

    @cfunc(types.int32(doubles, doubles, doubles, types.intp, types.voidptr))
    def square(x, value, grad, n, data):
        point = carray(x, (n,))
        value[0] = (point * point).sum()
        slopes = carray(grad, (n,))
        slopes[:] = 2.0 * factor * point
        return 0

    return square


def test_c_functions():
    right, wrong = c_function(1.0), c_function(1.5)
    assert check_grad(right, [1.0, 2.0])
    assert check_grad(LowLevelCallable(right.ctypes), [1.0, 2.0])
    assert "1.5 times" in check_grad(wrong, [1.0, 2.0]).message
    assert check_hess(right, [1.0, 2.0], jac=True, hess=lambda x: 2 * np.eye(2))
    with pytest.raises(ValueError, match="`jac` must be True when `fun` is a C function"):
        check_grad(right, [1.0, 2.0], jac=lambda x: 2 * x)


def test_points_are_fresh_copies():
    start = np.array([1.0, 2.0])
    kept = start.copy()

    def jac(x):
        gradient = 2 * x
        x[:] = np.nan
        return gradient

    def fun(x):
        value = x @ x
        x[:] = np.nan
        return value

    fun = Counted(fun)
    assert check_grad(fun, start, jac=jac)
    assert len({id(x) for x in fun.points}) == len(fun.points)
    assert check_hess(fun, start, jac=jac, hess=lambda x: 2 * np.eye(2))
    assert (start == kept).all()


def test_gradient_in_one_array_for_all_calls_is_no_mistake():
    buffer = np.empty(5)

    def jac(x):
        buffer[:] = rosen_der(x)
        return buffer

    assert check_grad(rosen, X, jac=jac)
    assert check_hess(None, X, jac=jac, hess=rosen_hess)


def test_calls_are_counted():
    fun, jac = Counted(rosen), Counted(rosen_der)
    check = check_grad(fun, X, jac=jac)
    assert (check.nfev, check.njev) == (len(fun.points), len(jac.points))
    both = Counted(lambda x: (rosen(x), rosen_der(x)))
    assert check_grad(both, X).nfev == len(both.points)


def test_same_arguments_give_the_same_result():
    def noisy(x):
        return rosen(x) + 1e-6 * noise_at(x)

    first, second = (check_grad(noisy, X, jac=rosen_der, seed=5) for _ in range(2))
    assert first.message == second.message
    assert (first.differences == second.differences).all()
    assert first.nfev == second.nfev


def test_directions_and_their_seed_are_those_that_were_asked_for():
    def points_of(**options):
        fun = Counted(rosen)
        check_grad(fun, np.linspace(1.0, 2.0, 150), jac=rosen_der, **options)
        return np.array(fun.points)

    one, three = points_of(directions=1), points_of(directions=3)
    assert len(one) < len(three)
    assert not np.array_equal(three, points_of(seed=1))


def test_rtol_is_what_is_allowed():
    def jac(x):
        return (1.0 + 1e-4) * rosen_der(x)

    assert not check_grad(rosen, X, jac=jac, rtol=1e-5)
    assert check_grad(rosen, X, jac=jac, rtol=1e-3)


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), KeyboardInterrupt()])
def test_exceptions_come_out_unchanged(error):
    def fun(x):
        if x[0] != 1.0:
            raise error
        return x @ x, 2 * x

    with pytest.raises(type(error)) as caught:
        check_grad(fun, [1.0, 2.0])
    assert caught.value is error


def test_warnings_at_trial_points_are_silenced():
    # Warnings are errors here; the logarithm is asked for values it does not have.
    check = check_grad(lambda x: (np.log(x - 1).sum(), 1 / (x - 1)), [1 + 1e-7, 1.5])
    assert check, check


def fun_and_grad(x):
    return x @ x, 2 * x


WRONG_ARGUMENTS = [
    (lambda: check_grad(3, [1.0]), TypeError, "`fun` must be callable, got 3"),
    (lambda: check_grad(None, [1.0], jac=rosen_der), TypeError, "`fun` must be callable, got None"),
    (lambda: check_grad(fun_and_grad, []), ValueError, "`x` must have at least one element"),
    (lambda: check_grad(fun_and_grad, [[1.0]]), ValueError, "`x` must be one-dimensional"),
    (lambda: check_grad(fun_and_grad, [math.nan]), ValueError, "`x` must be finite, got nan"),
    (lambda: check_grad(fun_and_grad, ["a"]), TypeError, "`x` must be a one-dimensional array"),
    (
        lambda: check_grad(rosen, X, jac=None),
        TypeError,
        "`jac` must be callable, True or 'inplace', got None: there is no derivative to check",
    ),
    (lambda: check_grad(rosen, X, jac=False), TypeError, "'inplace', got False"),
    (lambda: check_grad(rosen, X, jac=7), TypeError, "'inplace', got an object of type int"),
    (
        lambda: check_grad(rosen, X, jac="2-point"),
        ValueError,
        "`jac` must be callable, True or 'inplace', got '2-point'",
    ),
    (lambda: check_grad(fun_and_grad, [1.0], directions=0), ValueError, "`directions` must be a"),
    (lambda: check_grad(fun_and_grad, [1.0], directions="2"), TypeError, "`directions` must be a"),
    (lambda: check_grad(fun_and_grad, [1.0], seed=-1), ValueError, "`seed` must be a nonnegative"),
    (lambda: check_grad(fun_and_grad, [1.0], rtol=0.0), ValueError, "`rtol` must be a number in"),
    (lambda: check_grad(fun_and_grad, [1.0], rtol=None), TypeError, "`rtol` must be a number in"),
    (lambda: check_hess(rosen, X, jac=rosen_der), TypeError, "`hess` must be callable, got None"),
    (lambda: check_hessp(rosen, X, jac=rosen_der), TypeError, "`hessp` must be callable, got None"),
    (lambda: check_hess(None, X, hess=rosen_hess), TypeError, "`fun` must be callable, got None"),
    (
        lambda: check_hess(rosen, X, jac="cs", hess=rosen_hess),
        ValueError,
        "`jac` must be callable, True, 'inplace', False or None, got 'cs'",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), WRONG_ARGUMENTS)
def test_wrong_arguments_are_named(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


WRONG_RESULTS = [
    (lambda: check_grad(rosen, X), TypeError, "`fun` must return a pair (value, gradient)"),
    (lambda: check_grad(lambda x: "a", X, jac=rosen_der), TypeError, "`fun` must return a real"),
    (lambda: check_grad(lambda x: 1j, X, jac=rosen_der), TypeError, "`fun` must return a real"),
    (lambda: check_grad(lambda x: None, X, jac=rosen_der), TypeError, "real scalar, got None"),
    (lambda: check_grad(lambda x: x, X, jac=rosen_der), ValueError, "`fun` must return a scalar"),
    (lambda: check_grad(rosen, X, jac=lambda x: x[:2]), ValueError, "`jac` must return an array"),
    (lambda: check_grad(rosen, X, jac=lambda x: None), TypeError, "`jac` must return an array"),
    (
        lambda: check_grad(rosen, X, jac=lambda x: [1.0, None, 1.0, 1.0, 1.0]),
        TypeError,
        "`jac` must return an array of real numbers",
    ),
    (
        lambda: check_grad(rosen, X, jac=lambda x: [1.0, [2.0, 3.0]]),
        ValueError,
        "`jac` must return an array of numbers",
    ),
    (lambda: check_grad(lambda x: (1.0, "a"), X), TypeError, "`fun` (jac=True) must return"),
    (
        lambda: check_hess(rosen, X, jac=rosen_der, hess=rosen_der),
        ValueError,
        "`hess` must return a matrix of shape (5, 5), got (5,)",
    ),
    (
        lambda: check_hess(rosen, X, jac=rosen_der, hess=lambda x: "a"),
        TypeError,
        "`hess` must return an array of real numbers",
    ),
    (
        lambda: check_hessp(rosen, X, jac=rosen_der, hessp=lambda x, p: 1.0),
        ValueError,
        "`hessp` must return an array of shape (5,)",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), WRONG_RESULTS)
def test_wrong_results_are_named(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


def test_nothing_is_evaluated_before_the_arguments_are_checked():
    fun = Counted(fun_and_grad)
    for arguments in ({"rtol": -1.0}, {"seed": 0.5}, {"directions": 0}, {"jac": "3-point"}):
        with pytest.raises((TypeError, ValueError)):
            check_grad(fun, [1.0], **arguments)
    with pytest.raises(ValueError, match="`x` must be finite"):
        check_grad(fun, [math.inf])
    assert not fun.points


# The result.


def test_result_is_immutable_pickles_and_prints():
    check = check_grad(rosen, X, jac=lambda x: -rosen_der(x))
    with pytest.raises(AttributeError):
        check.ok = True
    with pytest.raises(ValueError, match="read-only"):
        check.differences[0] = 0.0
    assert isinstance(check, DerivativeCheck)
    copy = pickle.loads(pickle.dumps(check))
    assert str(copy) == str(check)
    assert len(repr(check)) < 80
    assert "gradient: wrong" in str(check)
    assert check.message in str(check)
    assert type(check.ok) is bool
    assert type(check.index) is int


def test_full_arrays_are_there_where_every_component_was_looked_at():
    check = check_grad(rosen, X, jac=rosen_der)
    assert check.differences.shape == check.uncertainty.shape == (5,)
    np.testing.assert_allclose(check.differences, rosen_der(X), rtol=1e-6)
    check = check_hess(rosen, X, hess=rosen_hess)
    assert check.differences.shape == check.uncertainty.shape == (5, 5)
    np.testing.assert_allclose(check.differences, rosen_hess(X), rtol=1e-6, atol=1e-6)


def test_same_functions_in_both_places():
    for name in ("check_grad", "check_hess", "check_hessp"):
        assert getattr(fastopt, name) is getattr(fastopt.testing, name)


def test_a_network_keeps_its_statistics_and_drops_the_same_elements_in_every_evaluation():
    nn = fastopt.nn
    layers = nn.Linear(4), nn.BatchNorm1d(name="norm"), nn.Tanh(), nn.Dropout(0.2), nn.Linear(2)
    model = nn.Model(*layers, input_shape=(3,), dtype="float64")
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((40, 3)), rng.integers(0, 2, 40)
    before = model.buffers
    check = check_grad(model.value_and_grad, model.init(0), (images, labels))
    assert check.ok, check.message
    after = model.buffers
    assert {name: value.tolist() for name, value in after.items()} == {
        name: value.tolist() for name, value in before.items()
    }
