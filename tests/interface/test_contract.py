"""Every method on every problem of Moré, Garbow and Hillstrom, by every form of gradient.

What a result claims is recomputed here from the problem alone.
"""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize import show_options

import fastopt
from fastopt.interface.methods import METHODS
from fastopt.testing import more_garbow_hillstrom, problem
from tests.step_lengths import step_length

PROBLEMS = {problem.name: problem for problem in more_garbow_hillstrom()}
# They reach a published minimum from every standard start,
SUREST = ("bfgs", "l-bfgs", "l-bfgs-b")
# and these from all but a few.
OTHERS = [name for name, row in METHODS.items() if not row.rule and name not in SUREST]
FIRST_ORDER = [name for name, row in METHODS.items() if row.family == "first-order"]
FORMS = ("callable", "joint", "differences")

# Where differences of f cannot give a gradient: its noise is larger than what is left of it.
BEYOND_DIFFERENCES = {"Powell badly scaled", "Brown badly scaled", "Meyer"}


class Counted:
    """A problem's functions, counting the calls and remembering the lowest value."""

    def __init__(self, problem, form):
        self.problem = problem
        self.nfev = 0
        self.njev = 0
        self.lowest = np.inf
        self.fun = self.joint if form == "joint" else self.value
        self.jac = {"callable": self.gradient, "joint": True, "differences": None}[form]

    def value(self, x):
        self.nfev += 1
        value = self.problem.fun(x)
        self.lowest = min(self.lowest, value)
        return value

    def gradient(self, x):
        self.njev += 1
        return self.problem.grad(x)

    def joint(self, x):
        self.njev += 1
        return self.value(x), self.problem.grad(x)


def relative_gap(problem, value):
    """How far `value` is above the nearest published minimum, relative to it or to 1e-4."""
    return min(abs(value - minimum) / max(abs(minimum), 1e-4) for minimum in problem.minima)


def check_what_is_always_true(result, counted, form):
    assert result.library == "fastopt"
    assert np.isfinite(result.x).all()
    assert result.nfev == counted.nfev
    if form != "differences":
        assert result.njev == counted.njev
        np.testing.assert_array_equal(result.jac, counted.problem.grad(result.x))
    assert result.fun == counted.problem.fun(result.x)
    assert result.success == (result.status == 0)
    assert result.success == (result.converged_to is not None)
    assert result.fun <= counted.problem.fun(counted.problem.x0)
    if not result.success:
        assert result.fun == counted.lowest or form == "differences"
    assert len(result.message) > 20


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", SUREST)
def test_the_surest_methods_find_the_published_minimum_or_say_why_not(method, name, form):
    problem = PROBLEMS[name]
    counted = Counted(problem, form)
    gtol = 1e-5 if form == "differences" else 1e-8
    x0 = problem.x0.copy()
    result = fastopt.minimize(
        counted.fun,
        x0,
        jac=counted.jac,
        method=method,
        bounds=[(-1e9, 1e9)] * len(x0) if method == "l-bfgs-b" else None,
        options={"gtol": gtol, "ftol": 0, "maxiter": 5000},
    )
    assert result.method == method
    np.testing.assert_array_equal(x0, problem.x0)
    check_what_is_always_true(result, counted, form)
    if result.converged_to == "gtol" and form != "differences":
        assert np.abs(problem.grad(result.x)).max() <= gtol
    if form != "differences":
        assert result.success
        assert relative_gap(problem, result.fun) <= 1e-5
    elif result.success and name not in BEYOND_DIFFERENCES:
        assert relative_gap(problem, result.fun) <= 0.05


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", OTHERS)
def test_another_method_never_claims_what_it_has_not_reached(method, name, form):
    problem = PROBLEMS[name]
    counted = Counted(problem, form)
    gtol = 1e-4 if form == "differences" else 1e-8
    second = METHODS[method].second_order and form != "differences"
    result = fastopt.minimize(
        counted.fun,
        problem.x0,
        jac=counted.jac,
        method=method,
        hess=problem.hess if second else None,
        options={"gtol": gtol, "ftol": 0.0, "maxiter": 300},
    )
    check_what_is_always_true(result, counted, form)
    assert result.nhev <= result.nit + 1
    assert (result.nhev > 0) == (second and result.nit > 0)
    if result.converged_to == "gtol":
        assert np.abs(result.jac).max() <= gtol
    elif result.success:
        assert result.converged_to == "roundoff"
        assert form == "differences" or relative_gap(problem, result.fun) <= 1e-5


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].scipy])
def test_the_set_is_solved_at_least_as_often_as_by_scipys_method(method):
    """From one and ten times the standard starts, to a published minimum."""
    row = METHODS[method]
    known = show_options("minimize", row.scipy, disp=False)
    if method == "trust-exact" and "subproblem_maxiter" not in known:
        pytest.skip("this SciPy sets its iteration within a radius no limit")
    solved = {"fastopt": 0, "scipy": 0}
    for p in PROBLEMS.values():
        for scale in (1, 10):
            x0 = scale * p.x0 if p.x0.any() else np.full(p.n, scale - 1.0)
            keywords = {"jac": True, **({"hess": p.hess} if row.second_order else {})}
            for library, minimize, name in (
                ("fastopt", fastopt.minimize, method),
                ("scipy", scipy_minimize, row.scipy),
            ):
                options = {
                    "gtol": 1e-8,
                    "maxiter": 1000,
                    **({"ftol": 0} if name[0] in "lL" else {}),
                }
                if name == "Newton-CG":
                    options = {"xtol": 1e-10, "maxiter": 200}
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        value = minimize(
                            p.fun_and_grad, x0, method=name, options=options, **keywords
                        ).fun
                    except (ValueError, np.linalg.LinAlgError):  # SciPy's, of an infinite Hessian
                        assert library == "scipy"
                        continue
                solved[library] += relative_gap(p, value) <= 1e-5
    assert solved["fastopt"] >= solved["scipy"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", FIRST_ORDER)
def test_a_first_order_method_never_claims_what_it_has_not_reached(method, name, form):
    problem = PROBLEMS[name]
    counted = Counted(problem, form)
    # RAdam's first steps are as long as the gradient, too.
    lr = 1e-4 if method in ("gd", "momentum", "nesterov", "radam") else 0.05
    result = fastopt.minimize(
        counted.fun,
        problem.x0,
        jac=counted.jac,
        method=method,
        options={**step_length(method, lr), "maxiter": 200},
    )
    check_what_is_always_true(result, counted, form)
    assert result.converged_to in (None, "gtol")
    if result.converged_to == "gtol":
        assert np.abs(result.jac).max() <= 1e-5
    elif result.status != 1:
        assert result.status == 3  # blown up: the best point before it came back
        assert "lr" in result.message


def test_adam_reaches_the_minimum_of_beale_and_wood():
    for name in ("Beale", "Wood"):
        p = problem(name)
        result = fastopt.minimize(
            p.fun_and_grad,
            p.x0,
            jac=True,
            method="adam",
            options={"lr": 0.02, "maxiter": 30_000, "gtol": 1e-6},
        )
        assert result.converged_to == "gtol"
        assert relative_gap(p, result.fun) <= 1e-3


def evaluations_to(values, target):
    """How many evaluations until the lowest value is at most `target`; None if never."""
    lowest = np.minimum.accumulate(np.nan_to_num(values, nan=np.inf))
    reached = np.flatnonzero(lowest <= target)
    return reached[0] + 1 if reached.size else None


@pytest.mark.parametrize(("method", "options"), [("bfgs", {}), ("l-bfgs", {"ftol": 0})])
def test_the_set_takes_no_more_evaluations_than_scipys_method(method, options):
    """Geometric mean over the set of evaluations to 1e-6 of f; a failure counts ten times."""
    logarithms = []
    for p in PROBLEMS.values():
        cost = {}
        for library, minimize in (("fastopt", fastopt.minimize), ("scipy", scipy_minimize)):
            values = []

            def fun(x, p=p, values=values):
                value, gradient = p.fun_and_grad(x)
                values.append(value)
                return value, gradient

            row = METHODS[method]
            with np.errstate(all="ignore"):
                result = minimize(
                    fun,
                    p.x0,
                    jac=True,
                    method=method if library == "fastopt" else row.scipy,
                    options={"gtol": 1e-8, "maxiter": 5000, **options},
                )
            minimum = min(p.minima, key=lambda minimum: abs(minimum - result.fun))
            gap = 1e-6 * abs(minimum) + 1e-8 * min(1.0, values[0] - minimum)
            cost[library] = evaluations_to(values, minimum + gap) or 10 * len(values)
        logarithms.append(np.log(cost["fastopt"] / cost["scipy"]))
    assert np.exp(np.mean(logarithms)) <= 1.0
