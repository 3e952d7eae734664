"""The problems of Moré, Garbow & Hillstrom: formulas, derivatives, minima, and the catalogue."""

import ast
import doctest
import pickle
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import least_squares, minimize

import fastopt.testing
from fastopt.testing import more_garbow_hillstrom, problem

EPS = np.finfo(np.float64).eps

# The smallest sizes reach the edges of the banded and chained forms, where slices run empty.
SIZES = (1, 2, 3, 4, 5, 7, 8, 12)
STANDARD = more_garbow_hillstrom()
EVERY = (
    *STANDARD,
    *(
        p
        for n in SIZES
        for p in more_garbow_hillstrom(n)
        if p.number >= 20 and n != problem(p.number).n
    ),
)
SCALABLE_IN_LINEAR_TIME = tuple(range(21, 35))

# Published, to the digits printed there: number, n, minimum.
PUBLISHED_MINIMA = [
    (1, 2, 0.0),
    (2, 2, 0.0),
    (2, 2, 48.9842),
    (3, 2, 0.0),
    (4, 2, 0.0),
    (5, 2, 0.0),
    (6, 2, 124.362),
    (7, 3, 0.0),
    (8, 3, 8.21487e-3),
    (8, 3, 17.4286),
    (9, 3, 1.12793e-8),
    (10, 3, 87.9458),
    (11, 3, 0.0),
    (12, 3, 0.0),
    (13, 4, 0.0),
    (14, 4, 0.0),
    (15, 4, 3.07505e-4),
    (15, 4, 1.02734e-3),
    (16, 4, 85822.2),
    (17, 5, 5.46489e-5),
    (18, 6, 0.0),
    (18, 6, 5.65565e-3),
    (19, 11, 4.01377e-2),
    (20, 6, 2.28767e-3),
    (20, 9, 1.39976e-6),
    (20, 12, 4.72238e-10),
    (21, 10, 0.0),
    (22, 12, 0.0),
    (23, 4, 2.24997e-5),
    (23, 10, 7.08765e-5),
    (24, 4, 9.37629e-6),
    (24, 10, 2.93660e-4),
    (25, 10, 0.0),
    (26, 10, 0.0),
    (26, 10, 2.79506e-5),
    (27, 10, 0.0),
    (27, 10, 1.0),
    (28, 10, 0.0),
    (29, 10, 0.0),
    (30, 10, 0.0),
    (31, 10, 0.0),
    (32, 5, 5.0),
    (33, 5, 1.4638501**2),
    (34, 5, 1.9097274**2),
    (35, 7, 0.0),
    (35, 8, 3.51687e-3),
    (35, 9, 0.0),
    (35, 10, 6.50395e-3),
]

# Number, n, norm of the residuals at the start, as MINPACK's own test of lmder prints it.
STARTING_NORMS = [
    (1, 2, 4.9193496),
    (2, 2, 20.012496),
    (6, 2, 64.585650),
    (7, 3, 50.0),
    (8, 3, 6.4561363),
    (10, 3, 41153.467),
    (12, 3, 32.111584),
    (13, 4, 14.662878),
    (15, 4, 0.072891510),
    (16, 4, 2815.4384),
    (17, 5, 0.93756402),
    (19, 11, 1.4468654),
    (20, 6, 5.4772256),
    (20, 12, 5.4772256),
    (27, 10, 16.530216),
    (27, 40, 128.02636),
    (32, 5, 5.0),
    (33, 5, 291.52187),
    (34, 5, 126.03968),
    (35, 8, 0.19651386),
    (35, 10, 0.18374783),
]

NOT_MINIMA = {18, 27}


def identity(p):
    return f"{p.number}-n{p.n}"


every_problem = pytest.mark.parametrize("p", EVERY, ids=identity)
standard_problem = pytest.mark.parametrize("p", STANDARD, ids=identity)


def probes(p):
    """The start and points around it, inside the domain of every problem."""
    rng = np.random.default_rng(p.number * 100 + p.n)
    yield p.x0
    for spread in (0.01, 0.1):
        yield p.x0 * (1.0 + spread * rng.standard_normal(p.n)) + spread * rng.uniform(0, 1, p.n)


def complex_step(fun, x):
    """Differentiate an analytic function of x to full precision: last axis is the variable."""
    step = 1e-40
    columns = []
    for j in range(x.size):
        z = x.astype(np.complex128)
        z[j] += 1j * step
        columns.append(np.imag(fun(z)) / step)
    return np.stack(columns, axis=-1)


@every_problem
def test_jacobian_matches_complex_step(p):
    for x in probes(p):
        jacobian = p.jacobian(x)
        assert jacobian.shape == (p.m, p.n)
        atol = 1e3 * EPS * np.abs(jacobian).max()
        assert_allclose(jacobian, complex_step(p.residuals, x), rtol=1e-10, atol=atol)


@every_problem
def test_gradient_matches_complex_step(p):
    for x in probes(p):
        # The terms that cancel in the gradient set its rounding error, not what is left of it.
        scale = (2.0 * np.abs(p.residuals(x)) @ np.abs(p.jacobian(x))).max()
        assert_allclose(p.grad(x), complex_step(p.fun, x), rtol=0, atol=1e3 * EPS * scale)


@every_problem
def test_gradient_matches_three_point_differences(p):
    for x in probes(p):
        scale = (2.0 * np.abs(p.residuals(x)) @ np.abs(p.jacobian(x))).max()
        steps = np.diag(EPS ** (1 / 3) * np.maximum(np.abs(x), 1e-2))
        differences = [
            (p.fun(x + step) - p.fun(x - step)) / ((x + step)[j] - (x - step)[j])
            for j, step in enumerate(steps)
        ]
        roundoff = [10.0 * EPS * p.fun(x + step) / step[j] for j, step in enumerate(steps)]
        uneven_steps = 10.0 * EPS * np.abs(p.hess(x)) @ np.abs(x)
        atol = 1e-5 * scale + max(roundoff) + uneven_steps.max()
        assert_allclose(p.grad(x), differences, rtol=1e-6, atol=atol)


@every_problem
def test_hessian_matches_complex_step_of_the_gradient(p):
    for x in probes(p):
        hessian = p.hess(x)
        assert hessian.shape == (p.n, p.n)
        jacobian = np.abs(p.jacobian(x))
        scale = max((2.0 * jacobian.T @ jacobian).max(), np.abs(hessian).max())
        assert_allclose(hessian, complex_step(p.grad, x), rtol=1e-10, atol=1e3 * EPS * scale)


@every_problem
def test_hessian_is_symmetric(p):
    hessian = p.hess(p.x0)
    assert_allclose(hessian, hessian.T, rtol=0, atol=10 * EPS * np.abs(hessian).max())


@every_problem
def test_value_is_the_sum_of_squared_residuals(p):
    for x in probes(p):
        residuals = p.residuals(x)
        assert residuals.shape == (p.m,)
        assert_allclose(p.fun(x), np.sum(residuals**2), rtol=100 * EPS)


@every_problem
def test_gradient_is_twice_the_jacobian_applied_to_the_residuals(p):
    for x in probes(p):
        residuals, jacobian = p.residuals(x), p.jacobian(x)
        scale = (2.0 * np.abs(residuals) @ np.abs(jacobian)).max()
        assert_allclose(p.grad(x), 2.0 * residuals @ jacobian, rtol=0, atol=100 * EPS * scale)


@every_problem
def test_value_and_gradient_have_the_same_bits_alone_and_together(p):
    value, gradient = p.fun_and_grad(p.x0)
    assert type(value) is float
    assert value == p.fun(p.x0)
    assert gradient.shape == (p.n,)
    assert gradient.dtype == np.float64
    assert_array_equal(gradient, p.grad(p.x0))


@pytest.mark.parametrize(("number", "n", "norm"), STARTING_NORMS)
def test_residuals_at_the_start_have_the_norm_that_minpack_prints(number, n, norm):
    p = problem(number, n)
    assert_allclose(np.sqrt(p.fun(p.x0)), norm, rtol=1e-7)


@pytest.mark.parametrize(("number", "n", "published"), PUBLISHED_MINIMA)
def test_minima_are_those_published(number, n, published):
    # The publication cuts digits off here and rounds there: one unit of the sixth digit.
    p = problem(number, n)
    assert any(abs(minimum - published) <= 1e-5 * published for minimum in p.minima), p.minima


@every_problem
def test_minima_are_ascending(p):
    assert list(p.minima) == sorted(p.minima)


@standard_problem
def test_a_minimum_is_known_at_the_standard_dimension(p):
    assert p.minima


EXTRA_MINIMIZERS = [problem(20, 9), problem(20, 12), problem(24, 4), problem(35, 10)]


@pytest.mark.parametrize("p", [*EVERY, *EXTRA_MINIMIZERS], ids=identity)
def test_minimizers_are_stationary_points_with_the_minimum_value(p):
    for x in p.minimizers:
        value, gradient = p.fun_and_grad(x)
        residuals, jacobian = p.residuals(x), p.jacobian(x)
        # What rounding x to double precision does to the gradient and, squared, to the value.
        blur = 100 * EPS * (np.abs(p.hess(x)) @ np.abs(x) + np.abs(residuals) @ np.abs(jacobian))
        assert np.all(np.abs(gradient) <= blur + 1e-15)
        closest = min(p.minima, key=lambda minimum: abs(minimum - value))
        assert_allclose(value, closest, rtol=1e-9, atol=1e-28)


@pytest.mark.parametrize("p", [*EVERY, *EXTRA_MINIMIZERS], ids=identity)
def test_no_direction_descends_from_a_minimizer(p):
    minima = p.minimizers[:1] if p.number in NOT_MINIMA else p.minimizers
    for x in minima:
        eigenvalues = np.linalg.eigvalsh(p.hess(x))
        assert eigenvalues[0] >= -100 * EPS * eigenvalues[-1]


def test_the_second_published_value_of_biggs_is_a_saddle():
    p = problem("Biggs EXP6")
    saddle = p.minimizers[1]
    eigenvalues, vectors = np.linalg.eigh(p.hess(saddle))
    assert eigenvalues[0] < -1e-3
    assert p.fun(saddle + 0.1 * vectors[:, 0]) < p.minima[1] - 1e-6


@pytest.mark.parametrize("n", [4, 5, 10])
def test_the_second_published_value_of_brown_almost_linear_is_not_a_minimum(n):
    p = problem("Brown almost-linear", n)
    downhill = np.append(np.ones(n - 1), -float(n))
    assert p.fun(p.minimizers[1] + 0.3 * downhill) < 1.0


def test_bard_tends_to_its_second_minimum_far_out():
    p = problem("Bard")
    mean = p.residuals([0.0, 1e200, 1e200]).mean()
    assert_allclose(p.fun([mean, -1e200, -1e200]), p.minima[1], rtol=100 * EPS)


def test_kowalik_and_osborne_tends_to_its_second_minimum_far_out():
    p = problem("Kowalik and Osborne")
    far = 1e9
    # The ratios are what is left of x1, x3 and x4; fitted over them and x2.
    fit = least_squares(
        lambda z: p.residuals([far, z[0], far * z[1], far * z[2]]),
        [-14.0, -5.0, -5.0],
        method="lm",
        xtol=1e-12,
        ftol=1e-12,
    )
    assert_allclose(2.0 * fit.cost, p.minima[1], rtol=1e-7)


def assert_known_minimum(p, value):
    distances = [abs(value - minimum) - 1e-6 * minimum for minimum in p.minima]
    assert min(distances) <= 1e-11, f"reached {value}, known {p.minima}"


@standard_problem
def test_bfgs_with_the_gradient_reaches_a_known_minimum_from_the_start(p):
    with np.errstate(all="ignore"):  # SciPy goes on reckoning with what overflowed
        result = minimize(
            p.fun_and_grad, p.x0, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000}
        )
    assert_known_minimum(p, result.fun)


# The trigonometric problem has a minimum of its own near the start at every n; only that at
# n = 10 is published. From the start of Biggs EXP6, rounding errors decide where a method ends that
# sees the negative curvature at the saddle or takes long steps.
TABULATED = [p for p in EVERY if p.minima and p.number != 18 and (p.number != 26 or p.n == 10)]


@pytest.mark.parametrize("p", [p for p in STANDARD if p.number != 18], ids=identity)
def test_trust_region_with_the_hessian_reaches_a_known_minimum_from_the_start(p):
    with np.errstate(all="ignore"):  # SciPy goes on reckoning with what overflowed
        result = minimize(
            p.fun_and_grad,
            p.x0,
            jac=True,
            hess=p.hess,
            method="trust-exact",
            options={"gtol": 1e-9, "maxiter": 5000},
        )
    assert_known_minimum(p, result.fun)


@pytest.mark.parametrize("p", TABULATED, ids=identity)
def test_least_squares_reaches_a_known_minimum_from_the_start_at_every_size(p):
    result = least_squares(
        p.residuals,
        p.x0,
        jac=p.jacobian,
        method="lm",
        x_scale="jac",
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=5000,
    )
    assert_known_minimum(p, 2.0 * result.cost)


@every_problem
@pytest.mark.parametrize("scale", [-1e308, -1e150, -1e30, 1e30, 1e150, 1e308, np.inf, np.nan])
def test_overflow_is_silent_far_from_the_solution(p, scale):
    x = np.full(p.n, scale)
    # Stricter than a warning: any floating-point error that escapes raises.
    with np.errstate(all="raise"):
        value, gradient = p.fun_and_grad(x)
        hessian = p.hess(x)
    assert gradient.shape == (p.n,)
    assert hessian.shape == (p.n, p.n)
    assert np.isnan(value) or value >= 0.0
    if np.isnan(scale):
        assert np.isnan(value)


def test_overflow_gives_infinity():
    assert problem("Rosenbrock").fun([1e200, 0.0]) == np.inf
    assert problem("Meyer").fun([1.0, 1e6, 0.0]) == np.inf


@standard_problem
def test_evaluation_leaves_its_point_alone_and_shares_no_memory_with_it(p):
    x = p.x0.copy()
    for evaluate in (p.grad, p.hess, p.residuals, p.jacobian):
        assert not np.shares_memory(evaluate(x), x)
        assert evaluate(x) is not evaluate(x)
    assert_array_equal(x, p.x0)


@standard_problem
def test_start_and_minimizers_are_read_only(p):
    for point in (p.x0, *p.minimizers):
        with pytest.raises(ValueError, match="read-only"):
            point[0] = 7.0


@standard_problem
def test_extended_precision_is_kept(p):
    x = p.x0.astype(np.longdouble)
    assert p.residuals(x).dtype == np.longdouble
    assert p.jacobian(x).dtype == np.longdouble
    assert p.grad(x).dtype == np.longdouble
    assert p.hess(x).dtype == np.longdouble


@pytest.mark.parametrize("x", [[2, 3], (2.0, 3.0), np.float32([2, 3]), np.array([2, 3])])
def test_points_are_promoted_to_double_precision(x):
    p = problem("Beale")
    assert p.fun(x) == p.fun(np.array([2.0, 3.0]))
    assert p.grad(x).dtype == np.float64


def test_helical_valley_measures_angles_from_minus_a_quarter_turn():
    p = problem("Helical valley")

    def turns(x1, x2):
        return -p.residuals([x1, x2, 0.0])[0] / 100.0

    assert turns(1.0, 0.0) == 0.0
    assert turns(0.0, 1.0) == turns(-0.0, 1.0) == 0.25
    assert turns(-1.0, 0.0) == turns(-1.0, -0.0) == 0.5
    assert turns(0.0, -1.0) == turns(-0.0, -1.0) == -0.25
    assert_allclose(turns(-1e-9, -1.0), 0.75)


@pytest.mark.parametrize("number", SCALABLE_IN_LINEAR_TIME)
def test_a_gradient_takes_memory_linear_in_n(number):
    n = 4000
    p = problem(number, n)
    tracemalloc.start()
    try:
        p.fun_and_grad(p.x0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * p.x0.nbytes


@standard_problem
def test_a_pickled_problem_evaluates_to_the_same_bits(p):
    copy = pickle.loads(pickle.dumps(p))
    assert repr(copy) == repr(p)
    assert copy.fun(p.x0) == p.fun(p.x0)
    assert_array_equal(copy.hess(p.x0), p.hess(p.x0))


def test_the_collection_has_all_35_problems_in_order():
    assert [p.number for p in STANDARD] == list(range(1, 36))
    assert len({p.name for p in STANDARD}) == 35


def test_the_collection_at_one_n_holds_the_problems_that_accept_it():
    assert [p.number for p in more_garbow_hillstrom(2)][:6] == [1, 2, 3, 4, 5, 6]
    numbers = {p.number for p in more_garbow_hillstrom(1000)}
    assert numbers == set(range(21, 36))
    odd = {p.number for p in more_garbow_hillstrom(7)}
    assert odd == set(range(20, 36)) - {21, 22}
    assert all(p.n == p.x0.size == 12 for p in more_garbow_hillstrom(12))


@standard_problem
def test_a_problem_is_found_by_name_in_any_spelling_and_by_number(p):
    spellings = (p.name, p.name.upper(), p.name.replace(" and ", "-"), p.name.replace(" ", "_"))
    for key in (*spellings, p.number, np.int64(p.number)):
        assert repr(problem(key)) == repr(p)


@pytest.mark.parametrize(
    ("number", "n", "message"),
    [
        (1, 3, r"^`n` must be 2 for Rosenbrock, got 3$"),
        (19, 10, r"^`n` must be 11 for Osborne 2, got 10$"),
        (20, 1, r"^`n` must be an integer, at least 2 and at most 31, for Watson, got 1$"),
        (20, 32, r"^`n` must be .* at most 31, for Watson, got 32$"),
        (21, 5, r"^`n` must be a multiple of 2, at least 2, for Extended Rosenbrock, got 5$"),
        (22, 6, r"^`n` must be a multiple of 4, .* for Extended Powell singular, got 6$"),
        (27, 1, r"^`n` must be an integer, at least 2, for Brown almost-linear, got 1$"),
        (34, 2, r"^`n` must be an integer, at least 3, .* got 2$"),
        (35, 0, r"^`n` must be an integer, at least 1, for Chebyquad, got 0$"),
        (30, -4, r"^`n` must be an integer, at least 1, for Broyden tridiagonal, got -4$"),
    ],
)
def test_a_dimension_that_a_problem_does_not_have_is_refused(number, n, message):
    with pytest.raises(ValueError, match=message):
        problem(number, n)


@pytest.mark.parametrize("n", [2.0, "2", [2]])
def test_a_dimension_that_is_no_integer_is_refused(n):
    with pytest.raises(TypeError, match=r"^`n` must be an integer, got"):
        problem("Watson", n)
    with pytest.raises(TypeError, match=r"^`n` must be an integer, got"):
        more_garbow_hillstrom(n)


def test_a_collection_in_no_variables_is_refused():
    with pytest.raises(ValueError, match=r"^`n` must be positive, got 0$"):
        more_garbow_hillstrom(0)


def test_an_unknown_name_is_refused_with_the_closest_known_one():
    with pytest.raises(ValueError, match=r"got 'Rosenbrok'; did you mean 'Rosenbrock'\?$"):
        problem("Rosenbrok")
    with pytest.raises(ValueError, match=r"`name_or_number` must be .* got 'qqq'$"):
        problem("qqq")


@pytest.mark.parametrize("number", [0, 36, -1])
def test_an_unknown_number_is_refused(number):
    with pytest.raises(ValueError, match=rf"^`name_or_number` must be from 1 to 35, got {number}$"):
        problem(number)


def test_a_key_of_another_type_is_refused():
    with pytest.raises(
        TypeError, match=r"^`name_or_number` must be a name or an integer, got 1.0$"
    ):
        problem(1.0)


@pytest.mark.parametrize("x", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], 1.0])
@pytest.mark.parametrize("method", ["fun", "grad", "fun_and_grad", "hess", "residuals", "jacobian"])
def test_a_point_of_another_shape_is_refused(method, x):
    with pytest.raises(ValueError, match=r"^`x` must have shape \(2,\), got \("):
        getattr(problem("Beale"), method)(x)


def test_examples_hold():
    finder = doctest.DocTestFinder(exclude_empty=False)
    for name in fastopt.testing.__all__:
        for example in finder.find(getattr(fastopt.testing, name), name, globs={}):
            attribute = example.name.rpartition(".")[2]
            assert example.examples or attribute.startswith("_"), f"{example.name} has no example"
            assert doctest.DocTestRunner().run(example).failed == 0, example.name


def test_the_problems_need_numpy_alone():
    allowed = {*sys.stdlib_module_names, "numpy", "fastopt.testing.problems"}
    for path in (Path(fastopt.testing.__file__).parent / "problems").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.module is not None
                names = [node.module]
            for name in names:
                roots = {name.split(".")[0], ".".join(name.split(".")[:3])}
                assert roots & allowed, f"{path.name} imports {name}"
