"""`minimize` is SciPy's call: the same arguments, the same choices, the same result."""

import inspect
import pickle
import re
import warnings
from time import perf_counter

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import (
    BFGS,
    Bounds,
    LinearConstraint,
    OptimizeResult,
    OptimizeWarning,
    rosen,
    rosen_der,
    rosen_hess,
    rosen_hess_prod,
)

import fastopt
from fastopt.interface.methods import METHODS, find_method
from tests.step_lengths import converging, step_length

START = [-1.2, 1.0]
HALF_PLANE = LinearConstraint([[1.0, 1.0]], -np.inf, 1.0)
OWN = pytest.mark.parametrize("method", METHODS)
SECOND_ORDER = pytest.mark.parametrize("method", ["bfgs", "l-bfgs"])


def quadratic(x, centre=3.0):
    return float((x - centre) @ (x - centre))


def quadratic_gradient(x, centre=3.0):
    return 2 * (x - centre)


def test_signature_is_scipys():
    ours = inspect.signature(fastopt.minimize).parameters
    theirs = inspect.signature(scipy.optimize.minimize).parameters
    assert [*ours] == [*theirs, "data"]
    shared = [ours[name] for name in theirs]
    assert [each.default for each in shared] == [each.default for each in theirs.values()]


# --- which library, which method ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "library", "method"),
    [
        ({}, "fastopt", "bfgs"),
        ({"method": "BFGS"}, "fastopt", "bfgs"),
        ({"method": "L-BFGS-B"}, "fastopt", "l-bfgs"),
        ({"method": "L-bfgs-b", "bounds": [(None, None)] * 2}, "fastopt", "l-bfgs"),
        ({"method": "l-bfgs-b", "bounds": Bounds(-np.inf, np.inf)}, "fastopt", "l-bfgs"),
        ({"bounds": [(-np.inf, None), (None, np.inf)]}, "fastopt", "l-bfgs"),
        ({"bounds": [(0, None), (None, None)]}, "fastopt", "l-bfgs-b"),
        ({"bounds": Bounds(-2, 2, keep_feasible=True)}, "fastopt", "l-bfgs-b"),
        ({"bounds": zip([-2, -2], [2, 2], strict=True)}, "fastopt", "l-bfgs-b"),
        ({"method": "L-BFGS-B", "bounds": np.array([[-2, 2], [-2, 2]])}, "fastopt", "l-bfgs-b"),
        ({"method": "l-bfgs", "bounds": [(-2, 2), (-2, 2)]}, "fastopt", "l-bfgs-b"),
        ({"method": "tnc", "bounds": [(-2, 2), (-2, 2)]}, "scipy", "tnc"),
        ({"method": "bfgs", "bounds": [(None, None)] * 2}, "fastopt", "bfgs"),
        ({"method": "gd", "bounds": [(None, None)] * 2, "tol": 1e9}, "fastopt", "gd"),
        ({"constraints": HALF_PLANE}, "scipy", "slsqp"),
        ({"constraints": [HALF_PLANE], "bounds": [(-2, 2)] * 2}, "scipy", "slsqp"),
        ({"constraints": ()}, "fastopt", "bfgs"),
        ({"constraints": None, "bounds": None}, "fastopt", "bfgs"),
        ({"method": "Nelder-Mead"}, "scipy", "nelder-mead"),
        ({"method": "TNC"}, "scipy", "tnc"),
        ({"method": "CG"}, "fastopt", "cg"),
        ({"method": "trust-exact", "hess": rosen_hess}, "fastopt", "trust-exact"),
        ({"method": "trust-krylov", "hess": rosen_hess}, "scipy", "trust-krylov"),
        ({"method": "newton-cg", "hess": "2-point"}, "fastopt", "newton-cg"),
        ({"method": "newton-cg", "hess": "3-point"}, "scipy", "newton-cg"),
        ({"method": "trust-ncg", "hess": BFGS()}, "scipy", "trust-ncg"),
    ],
)
def test_result_says_who_solved_it(arguments, library, method):
    jac = None if arguments.get("method") == "Nelder-Mead" else rosen_der
    result = fastopt.minimize(rosen, START, jac=jac, **arguments)
    assert (result.library, result.method) == (library, method)
    assert result.success
    assert (result.converged_to is None) == (library == "scipy")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"bounds": [(None, None)] * 2},
        {"bounds": [(-2, 2), (-2, 2)]},
        {"constraints": [HALF_PLANE]},
    ],
    ids=["nothing", "infinite bounds", "bounds", "constraints"],
)
def test_default_method_gives_hess_inv_the_type_that_scipy_gives_it(arguments):
    ours = fastopt.minimize(rosen, START, jac=rosen_der, **arguments)
    theirs = scipy.optimize.minimize(rosen, START, jac=rosen_der, **arguments)
    assert type(ours.get("hess_inv")) is type(theirs.get("hess_inv"))


@pytest.mark.parametrize(
    "arguments",
    [{"bounds": [(0, 2), (0, 2)]}, {"constraints": [HALF_PLANE]}],
    ids=["bounds", "constraints"],
)
def test_bfgs_with_bounds_or_constraints_is_scipys_which_warns(arguments):
    with pytest.warns(RuntimeWarning, match="cannot handle"):
        result = fastopt.minimize(rosen, START, method="bfgs", jac=rosen_der, **arguments)
    assert (result.library, result.method) == ("scipy", "bfgs")


def test_problem_with_bounds_gets_scipys_answer():
    arguments = {"jac": rosen_der, "bounds": [(0, 0.5), (0, 1)], "options": {"maxcor": 5}}
    ours = fastopt.minimize(rosen, [0.3, 0.3], method="l-bfgs", **arguments)
    theirs = scipy.optimize.minimize(rosen, [0.3, 0.3], method="L-BFGS-B", **arguments)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-5)
    np.testing.assert_allclose(ours.jac, theirs.jac, atol=1e-4)
    assert ours.converged_to == "gtol"


def test_gtol_holds_for_the_projected_gradient_recomputed():
    low, high = np.array([-2.0, -2.0]), np.array([0.5, 2.0])
    options = {"gtol": 1e-7, "ftol": 0.0, "trace": True}
    result = fastopt.minimize(
        rosen, START, jac=rosen_der, bounds=Bounds(low, high), options=options
    )
    projected = np.clip(result.x - rosen_der(result.x), low, high) - result.x
    assert result.converged_to == "gtol"
    assert np.abs(projected).max() <= 1e-7
    assert result.trace["gnorm"][-1] == pytest.approx(np.abs(projected).max(), abs=1e-15)
    np.testing.assert_array_equal(result.jac, rosen_der(result.x))


@pytest.mark.parametrize("method", [None, "l-bfgs-b", "l-bfgs"])
def test_bounds_that_are_all_infinite_change_no_bit(method, recorder):
    plain = fastopt.minimize(rosen, START, method="l-bfgs", jac=rosen_der)
    result = fastopt.minimize(rosen, START, method=method, jac=rosen_der, bounds=Bounds())
    np.testing.assert_array_equal(result.x, plain.x)
    assert (result.nfev, result.method) == (plain.nfev, "l-bfgs")


def test_a_solver_with_bounds_pauses_and_pickles():
    arguments = {"jac": rosen_der, "bounds": [(-2, 0.5), (None, 2)]}
    whole = fastopt.minimize(rosen, START, **arguments)
    solver = fastopt.Solver(rosen, START, **arguments)
    while solver.advance(2):
        solver = pickle.loads(pickle.dumps(solver))
    assert solver.result().method == "l-bfgs-b"
    np.testing.assert_array_equal(solver.x, whole.x)


def test_a_solver_refuses_bounds_that_its_method_does_not_take():
    with pytest.raises(ValueError, match="`method` must be one that takes bounds, got 'bfgs'"):
        fastopt.Solver(rosen, START, method="bfgs", bounds=[(0, 1), (0, 1)])


@pytest.mark.parametrize("method", ["gd", "adam"])
@pytest.mark.parametrize(
    "arguments", [{"bounds": [(0, 1), (0, 1)]}, {"constraints": [HALF_PLANE]}], ids=[*"bc"]
)
def test_first_order_methods_refuse_bounds_and_constraints(method, arguments, recorder):
    with pytest.raises(ValueError, match=f"`method` must be one that takes bounds .* '{method}'"):
        fastopt.minimize(recorder.fun, START, method=method, **arguments)
    assert recorder.calls == 0


def test_callable_method_is_called_as_scipy_calls_it():
    seen = []

    def method(fun, x0, **arguments):
        seen.append((x0, arguments))
        return OptimizeResult(x=x0, fun=fun(x0, *arguments["args"]))

    arguments = {
        "args": (2.0,),
        "jac": quadratic_gradient,
        "bounds": [(0, 1)],
        "tol": 1e-3,
        "options": {"colour": "red"},
    }
    ours = fastopt.minimize(quadratic, [1], method=method, **arguments)
    theirs = scipy.optimize.minimize(quadratic, [1], method=method, **arguments)
    assert seen[0] == seen[1]
    assert ours == theirs == {"x": np.array([1.0]), "fun": 1.0}
    fastopt.minimize(quadratic, [1], (2.0,), method, options=fastopt.Options(maxiter=3))
    assert seen[2][1]["maxiter"] == 3


@pytest.mark.parametrize(
    ("method", "options", "named"),
    [
        ("nelder-mead", {"maxtime": 1.0}, "maxtime"),
        ("nelder-mead", {"stopval": 1.0}, "stopval"),
        ("powell", {"trace": True}, "trace"),
        ("tnc", {"progress": True}, "progress"),
        ("cobyla", {"on_interrupt": "return"}, "on_interrupt"),
        ("trust-constr", {"line_search": "more-thuente"}, "line_search"),
        ("newton-cg", {"gtol": 1e-3}, "gtol"),
        ("bfgs", {"ftol": 1e-3}, "ftol"),
        ("bfgs", {"maxfev": 9}, "maxfev"),
        ("tnc", {"stopval": 1e-3}, "stopval"),
    ],
)
def test_option_that_scipy_lacks_is_refused_where_scipy_solves(method, options, named, recorder):
    bounds = [(-2, 2), (-2, 2)] if method == "tnc" or find_method(method) else None
    with pytest.raises(ValueError, match=f"^`{named}` must not be among the options"):
        fastopt.minimize(recorder.fun, START, method=method, bounds=bounds, options=options)
    assert recorder.calls == 0


def test_names_of_options_are_translated_for_scipy():
    with pytest.warns(RuntimeWarning, match="cannot handle constraints"):
        result = fastopt.minimize(
            rosen, START, method="l-bfgs", constraints=[HALF_PLANE], options={"maxfev": 1}
        )
    assert (result.library, result.status) == ("scipy", 1)


# --- arguments ---------------------------------------------------------------------------------


@SECOND_ORDER
@pytest.mark.parametrize(
    "jac", [None, False, "2-point", "3-point", "cs", rosen_der, True, "inplace"]
)
def test_every_form_of_jac_leads_to_the_minimum(method, jac, recorder):
    fun = {True: recorder.pair, "inplace": recorder.filling}.get(jac, recorder.fun)
    result = fastopt.minimize(fun, START, method=method, jac=jac)
    assert result.success
    np.testing.assert_allclose(result.x, [1.0, 1.0], atol=1e-4)
    assert result.nfev == recorder.calls


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "tnc", "bounds": [(-2, 0.5), (-2, 2)]},
        {"constraints": HALF_PLANE},
        {"method": "tnc"},
        {"method": "trust-constr", "hess": "2-point"},
        {"method": "nelder-mead", "bounds": [(-2, 2), (-2, 2)]},
        {"method": lambda fun, x0, args, jac, **rest: OptimizeResult(x=fun(x0) * jac(x0))},
    ],
    ids=["bounds", "constraints", "tnc", "trust-constr", "nelder-mead", "callable"],
)
def test_a_gradient_that_is_filled_in_is_a_returned_one_to_scipy(arguments, recorder):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Method nelder-mead does not use", RuntimeWarning)
        ours = fastopt.minimize(recorder.filling, START, jac="inplace", **arguments)
        theirs = scipy.optimize.minimize(recorder.pair, START, jac=True, **arguments)
    np.testing.assert_array_equal(ours.x, theirs.x)


@pytest.mark.parametrize("true", [np.True_, True])
def test_a_numpy_true_is_true(true, recorder):
    assert fastopt.minimize(recorder.pair, START, jac=true).success


@SECOND_ORDER
@pytest.mark.parametrize(
    ("jac", "options"),
    [
        (None, {"eps": 1e-4}),
        (None, {"eps": [1e-4, 1e-5, 1e-6]}),
        ("2-point", {}),
        ("2-point", {"finite_diff_rel_step": 1e-4}),
        ("2-point", {"finite_diff_rel_step": [1e-4, 1e-5, 1e-6], "eps": 1.0}),
        ("3-point", {}),
        ("3-point", {"finite_diff_rel_step": 1e-4}),
        ("cs", {"finite_diff_rel_step": 1e-4}),
    ],
)
def test_steps_of_differences_are_scipys(method, jac, options):
    """Seen in the points that the first gradient asks for."""
    start = np.array([0.3, -20.0, 5.0])
    count = 7 if jac == "3-point" else 4
    options = {**options, "maxiter": 1}

    def steps(library, name):
        points = []

        def record(x):
            points.append(x.copy())
            return np.prod(x * x)

        library.minimize(record, start, method=name, jac=jac, options=options)
        moves = np.array(points[:count]) - start
        return moves[np.lexsort((moves.real + moves.imag).T)]

    ours = steps(fastopt, method)
    theirs = steps(scipy.optimize, METHODS[method].scipy)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=0)


@SECOND_ORDER
def test_by_default_the_step_of_a_difference_suits_the_size_of_its_variable(method):
    points = []

    def record(x):
        points.append(x.copy())
        return np.sum(np.cos(x))

    start = np.array([0.3, -2e9, 5e3])
    fastopt.minimize(record, start, method=method, options={"maxiter": 0})
    moves = np.diagonal(np.array(points[1:4]) - start)
    np.testing.assert_allclose(moves, 2**-26 * np.array([1, -2e9, 5e3]), rtol=1e-6)


@OWN
def test_relative_step_without_a_scheme_holds_only_where_there_is_no_absolute_one(method):
    """As in SciPy, whose `finite_diff_rel_step` gives way to `eps`."""
    start = np.array([0.5, -4.0])

    def moves(**options):
        points = []

        def record(x):
            points.append(x.copy())
            return np.sum(np.cos(x))

        options = {"maxiter": 0, **options}
        fastopt.minimize(record, start, method=method, options=options)
        return np.diagonal(np.array(points[1:3]) - start)

    given = moves(finite_diff_rel_step=1e-3)
    expected = moves() if METHODS[method].has_absolute_step else 1e-3 * start
    np.testing.assert_allclose(given, expected, rtol=1e-9)


def test_workers_map_the_points_of_a_difference():
    batches = []

    def record(function, points):
        points = list(points)
        batches.append(len(points))
        return [function(point) for point in points]

    options = {"workers": record}
    result = fastopt.minimize(quadratic, [0.0] * 5, jac="2-point", options=options)
    assert result.success
    assert set(batches) == {5}
    assert result.nfev == len(batches) * 6


@OWN
@pytest.mark.parametrize("args", [(1.0,), 1.0, np.float64(1.0)])
def test_args_may_be_a_tuple_or_the_one_argument(method, args):
    options = converging(method)
    result = fastopt.minimize(
        quadratic, [4.0, 5.0], args, method=method, jac=quadratic_gradient, options=options
    )
    np.testing.assert_allclose(result.x, [1.0, 1.0], atol=1e-4)


def test_a_list_as_args_is_one_argument():
    result = fastopt.minimize(lambda x, data: quadratic(x, data[1]), [4.0], [1.0, 2.0])
    np.testing.assert_allclose(result.x, [2.0], atol=1e-4)


@pytest.mark.parametrize("method", [row.name for row in METHODS.values() if not row.second_order])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"hess": rosen_hess}, "hess"),
        ({"hess": "2-point"}, "hess"),
        ({"hess": BFGS()}, "hess"),
        ({"hessp": lambda x, p: p}, "hessp"),
    ],
    ids=["callable", "scheme", "strategy", "hessp"],
)
def test_unused_curvature_is_a_warning_to_the_caller(method, arguments, named):
    with pytest.warns(RuntimeWarning, match=f"{method} does not use `{named}`") as caught:
        fastopt.minimize(rosen, START, method=method, jac=rosen_der, tol=1e9, **arguments)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("gtoll", "; did you mean 'gtol'?"), ("MAXITER", "; did you mean 'maxiter'?"), ("zz", "")],
)
def test_unknown_option_is_a_warning_with_the_closest_name(name, suggestion):
    with pytest.warns(OptimizeWarning) as caught:
        result = fastopt.minimize(rosen, START, jac=rosen_der, options={name: 1})
    (warning,) = caught
    assert str(warning.message) == f"method bfgs has no option {name!r}{suggestion}"
    assert warning.filename == __file__
    assert result.success


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("newton", {"eta": 0.1}, "has no option 'eta': it is one of 'sr1', 'trust-exact', "),
        ("bfgs", {"maxcor": 5}, "has no option 'maxcor': it is one of 'l-bfgs'"),
        ("bfgs", {"lr": 0.1}, "has no option 'lr': it is one of 'gd', 'momentum', "),
        ("l-bfgs", {"xrtol": 0.1}, "has no option 'xrtol'; did you mean 'xtol'?"),
        ("l-bfgs", {"m": 5}, "has no option 'm'; did you mean 'maxcor'?"),
        ("l-bfgs", {"pgtol": 1e-5}, "has no option 'pgtol'; did you mean 'gtol'?"),
        (
            "l-bfgs",
            {"factr": 1e7},
            "has no option 'factr'; did you mean 'ftol' (= factr * 2.2e-16)?",
        ),
        ("bfgs", {"m": 5}, "has no option 'm'"),
    ],
)
def test_warning_of_an_unknown_option_says_where_it_belongs(method, options, message):
    with pytest.warns(OptimizeWarning) as caught:
        fastopt.minimize(rosen, START, method=method, jac=rosen_der, options=options)
    (warning,) = caught
    assert str(warning.message).startswith(f"method {method} {message}")


@pytest.mark.parametrize(("first", "second"), [("maxfev", "maxfun"), ("xrtol", "xtol")])
def test_one_option_under_two_names_is_refused(first, second, recorder):
    message = f"must name an option once, got '{first}' and '{second}'"
    with pytest.raises(ValueError, match=message):
        fastopt.minimize(recorder.fun, START, options={first: 3, second: 4})
    assert recorder.calls == 0


def test_names_by_scipy_and_fastopt_mean_the_same(recorder):
    for name in ("maxfev", "maxfun"):
        recorder.points.clear()
        result = fastopt.minimize(recorder.pair, START, jac=True, options={name: 5})
        assert result.nfev == recorder.calls == 5
        assert (result.status, result.success) == (1, False)


@OWN
def test_tol_gives_way_to_options_by_name(method):
    loose = fastopt.minimize(rosen, START, method=method, jac=rosen_der, tol=1e9)
    assert (loose.nit, loose.converged_to) == (0, "gtol")
    options = {"gtol": 0.0, "ftol": 0.0, "xtol": 0.0, "maxiter": 1}
    strict = fastopt.minimize(rosen, START, method=method, jac=rosen_der, tol=1e9, options=options)
    assert (strict.nit, strict.status) == (1, 1)


def test_adam_takes_eps_as_its_own():
    """The first step is lr * g / (|g| + eps)."""
    options = {"lr": 0.5, "eps": 2.0, "maxiter": 1, "return_all": True}
    result = fastopt.minimize(
        quadratic, [1.0], method="adam", jac=quadratic_gradient, options=options
    )
    np.testing.assert_allclose(result.allvecs[1], [1.0 + 0.5 * 4.0 / (4.0 + 2.0)], rtol=1e-14)


def test_options_are_not_written_to():
    options = {"gtol": 1e-3, "maxiter": None}
    fastopt.minimize(rosen, START, tol=1e-2, options=options)
    assert options == {"gtol": 1e-3, "maxiter": None}


# --- how it ends -------------------------------------------------------------------------------


@OWN
def test_result_has_the_fields_of_scipys_and_says_which_test_holds(method):
    options = converging(method)
    result = fastopt.minimize(
        quadratic, [4.0, 5.0], method=method, jac=quadratic_gradient, options=options
    )
    assert isinstance(result, OptimizeResult)
    assert (result.success, result.status, result.converged_to) == (True, 0, "gtol")
    assert np.abs(quadratic_gradient(result.x)).max() <= METHODS[method].options["gtol"].default
    assert result.fun == quadratic(result.x)
    np.testing.assert_array_equal(result.jac, quadratic_gradient(result.x))
    assert result.nhev == 0
    assert result.nit < result.nfev
    assert isinstance(result.fun, float)
    assert all(type(result[name]) is int for name in ("nit", "nfev", "njev", "status"))
    assert ("hess_inv" in result) == (method in ("bfgs", "l-bfgs", "l-bfgs-b", "dfp"))


def test_hess_inv_has_the_shape_and_the_kind_that_scipy_gives_it():
    dense = fastopt.minimize(quadratic, [4.0, 5.0], method="bfgs", jac=quadratic_gradient)
    assert dense.hess_inv.shape == (2, 2)
    limited = fastopt.minimize(quadratic, [4.0, 5.0], method="l-bfgs", jac=quadratic_gradient)
    assert isinstance(limited.hess_inv, scipy.sparse.linalg.LinearOperator)
    assert limited.hess_inv.shape == (2, 2)


@OWN
def test_stopval_is_a_success_that_names_itself(method):
    options = {"stopval": 20.0, **step_length(method, 1e-3)}
    result = fastopt.minimize(rosen, START, method=method, jac=rosen_der, options=options)
    assert (result.success, result.converged_to) == (True, "stopval")
    assert result.fun <= 20.0


@OWN
@pytest.mark.parametrize("maxiter", [0, 1, 3.0])
def test_maxiter_is_what_ends_it(method, maxiter):
    options = {"maxiter": maxiter}
    result = fastopt.minimize(rosen, START, method=method, jac=rosen_der, options=options)
    assert (result.nit, result.status, result.success) == (maxiter, 1, False)


@OWN
def test_maxtime_of_zero_still_evaluates_x0(method, recorder):
    options = {"maxtime": 0.0, "trace": True}
    result = fastopt.minimize(recorder.pair, START, method=method, jac=True, options=options)
    assert (result.status, result.success, result.nit) == (6, False, 0)
    assert result.fun == rosen(START)
    assert recorder.calls == 1
    assert len(result.trace["nit"]) == 1


@OWN
def test_no_value_is_computed_after_maxtime(method):
    values = []

    def fun(x):
        values.append((x**4).sum())
        if len(values) == 2:
            outlast(0.2)
        return values[-1]

    options = {"maxtime": 0.2}
    result = fastopt.minimize(fun, [9.0], method=method, jac=lambda x: 4 * x**3, options=options)
    assert (result.status, result.nfev, len(values)) == (6, 2, 2)
    assert result.fun == min(values)


def outlast(seconds):
    start = perf_counter()
    while perf_counter() - start <= seconds:
        pass


def test_disp_prints_what_happened(capsys):
    result = fastopt.minimize(rosen, START, jac=rosen_der, options={"disp": True})
    printed = capsys.readouterr().out
    assert result.message in printed
    for number in (f"{result.fun:.10g}", result.nit, result.nfev, result.njev):
        assert re.search(rf": +{number}$", printed, re.MULTILINE)


def test_nothing_is_printed_unless_asked_for(capsys):
    fastopt.minimize(rosen, START, method="l-bfgs", options={"disp": False, "iprint": 1})
    assert capsys.readouterr() == ("", "")


@OWN
def test_exception_of_the_function_comes_out_unchanged(method):
    problem = LookupError("mine")

    def fun(x):
        raise problem

    with pytest.raises(LookupError) as caught:
        fastopt.minimize(fun, START, method=method)
    assert caught.value is problem


@OWN
def test_stop_iteration_of_the_function_is_an_exception_like_any_other(method):
    def fun(x):
        raise StopIteration

    with pytest.raises(StopIteration):
        fastopt.minimize(fun, START, method=method, callback=lambda x: None)


def test_minimize_may_be_called_from_inside_its_own_function():
    def inner_minimum(x):
        inner = fastopt.minimize(quadratic, [0.0], args=(x[0],), jac=quadratic_gradient)
        return (inner.x[0] - 1.0) ** 2

    result = fastopt.minimize(inner_minimum, [5.0])
    np.testing.assert_allclose(result.x, [1.0], atol=1e-4)


def test_an_empty_dict_is_no_constraint():
    result = fastopt.minimize(rosen, START, jac=rosen_der, constraints={})
    assert (result.library, result.success) == ("fastopt", True)


def test_the_last_row_of_a_trace_is_the_last_iterate_whatever_point_is_returned():
    result = fastopt.minimize(
        lambda x: float(np.abs(x).sum()),
        [1.05],
        jac=np.sign,
        method="gd",
        options={"lr": 0.4, "maxiter": 4, "trace": True, "return_all": True},
    )
    np.testing.assert_allclose(np.ravel(result.allvecs), [1.05, 0.65, 0.25, -0.15, 0.25])
    np.testing.assert_allclose(result.trace["fun"], [1.05, 0.65, 0.25, 0.15, 0.25])
    assert result.x[0] == pytest.approx(-0.15)


def infinite_left_of_0(found, x):
    return found if x[0] > 0 else np.inf * found


@pytest.mark.parametrize(
    ("given", "method", "arguments"),
    [
        ("`hess`", "newton", {"hess": lambda x: infinite_left_of_0(rosen_hess(x), x)}),
        ("`hess`", "trust-exact", {"hess": lambda x: infinite_left_of_0(rosen_hess(x), x)}),
        (
            "`hessp`",
            "trust-ncg",
            {"hessp": lambda x, p: infinite_left_of_0(rosen_hess_prod(x, p), x)},
        ),
        (
            "`preconditioner`",
            "cg",
            {"options": {"preconditioner": lambda g: infinite_left_of_0(g, g)}},
        ),
    ],
)
def test_message_says_that_the_gradient_alone_showed_the_way(given, method, arguments):
    result = fastopt.minimize(rosen, START, jac=rosen_der, method=method, **arguments)
    assert result.fun < 0.01
    assert f"{given} was not finite in " in result.message


def test_message_says_that_differences_for_a_hessian_were_not_finite():
    """At x0, one step of the differences on, the gradient ends."""

    def grad(x):
        return 2 * x - 1 if x[0] <= 1 else np.full(2, np.nan)

    result = fastopt.minimize(lambda x: x @ x - x.sum(), [1.0, 1.0], jac=grad, method="newton")
    assert result.success
    assert "The Hessian by differences was not finite in 1 iteration, " in result.message
