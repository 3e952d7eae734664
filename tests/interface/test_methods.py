"""The table of methods is complete, and says of SciPy what is true of SciPy."""

import inspect
import math

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import LbfgsInvHessProduct, rosen, rosen_der, rosen_hess

import fastopt
from fastopt import schedules
from fastopt.core.validate import UNLIMITED
from fastopt.interface.methods import (
    METHODS,
    OPTIONS_OF_DATA,
    SCIPY_METHODS,
    PerVariable,
    closest,
    find_method,
)
from fastopt.interface.options import read_options
from fastopt.rules.table import FLAVORS, RULES

SOLVERS_OF_SCIPY = {
    "bfgs": scipy.optimize._optimize._minimize_bfgs,
    "l-bfgs": scipy.optimize._lbfgsb_py._minimize_lbfgsb,
    "l-bfgs-b": scipy.optimize._lbfgsb_py._minimize_lbfgsb,
    "cg": scipy.optimize._optimize._minimize_cg,
    "newton-cg": scipy.optimize._optimize._minimize_newtoncg,
    "trust-exact": scipy.optimize._trustregion_exact._minimize_trustregion_exact,
    "trust-ncg": scipy.optimize._trustregion_ncg._minimize_trust_ncg,
    "dogleg": scipy.optimize._trustregion_dogleg._minimize_dogleg,
}
# Where SciPy's trust regions take options of a common function.
TRUST_REGION = ("trust-exact", "trust-ncg", "dogleg")
# Defaults that differ on purpose: the page "Coming from SciPy" says why.
OTHER_DEFAULTS = {
    "newton-cg": {"xtol"},
    **{key: {"initial_trust_radius", "max_trust_radius", "eta"} for key in TRUST_REGION},
}

# Arguments of SciPy's solvers that reach them by other ways than `options`.
NOT_OPTIONS = {
    "fun",
    "x0",
    "args",
    "jac",
    "hess",
    "hessp",
    "bounds",
    "callback",
    "unknown_options",
    "subproblem",
    "trust_region_options",
    "inexact",
    "subproblem_maxiter",
}

ROWS = pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
WITH_SCIPY = pytest.mark.parametrize("name", SOLVERS_OF_SCIPY)


def options_of_scipy(name):
    parameters = dict(inspect.signature(SOLVERS_OF_SCIPY[name]).parameters)
    if name in TRUST_REGION:
        shared = scipy.optimize._trustregion._minimize_trust_region
        parameters |= inspect.signature(shared).parameters
    return {key: each.default for key, each in parameters.items() if key not in NOT_OPTIONS}


def test_rows_with_an_equal_in_scipy_are_the_ones_compared_here():
    assert {row.name for row in METHODS.values() if row.scipy} == set(SOLVERS_OF_SCIPY)


@WITH_SCIPY
def test_every_option_of_scipy_is_accepted_and_handed_back_under_its_name(name):
    row = METHODS[name]
    for option in options_of_scipy(name):
        ours = row.option_aliases.get(option, option)
        assert ours in row.options
        assert row.scipy_options[ours] == option


@WITH_SCIPY
def test_defaults_are_those_of_scipy(name):
    row = METHODS[name]
    theirs = options_of_scipy(name)
    for ours, scipys in row.scipy_options.items():
        if scipys not in theirs:
            continue  # dropped by newer versions
        if ours == "eps" or ours in OTHER_DEFAULTS.get(name, ()):
            continue  # ours suits the size of each variable
        default = row.options[ours].default
        if isinstance(default, PerVariable):
            assert theirs[scipys] is None  # 200 n, as SciPy's documentation says
            assert default == PerVariable(200)
        elif ours in ("disp", "iprint") and not isinstance(theirs[scipys], bool | int):
            continue  # deprecated there: its default stands for "not given"
        else:
            assert theirs[scipys] == default


@WITH_SCIPY
def test_tol_sets_what_scipy_sets(name, monkeypatch):
    row = METHODS[name]
    seen = {}

    def intercept(*args, **options):
        seen.update(options)
        return scipy.optimize.OptimizeResult()

    solver = SOLVERS_OF_SCIPY[name].__name__
    monkeypatch.setattr(scipy.optimize._minimize, solver, intercept)
    second = {"jac": rosen_der, "hess": rosen_hess} if row.second_order else {}
    scipy.optimize.minimize(rosen, [0.0, 0.0], method=row.scipy, tol=1e-3, **second)
    theirs = {key for key, value in seen.items() if value == 1e-3}
    # SciPy's Newton-CG has no test of the gradient.
    assert theirs | ({"gtol"} if name == "newton-cg" else set()) == set(row.tol_options)


@ROWS
def test_rows_are_complete(row):
    assert METHODS[row.name] is row
    for text in (row.title, row.reference, row.when):
        assert text
    assert row.when.endswith(".")
    assert row.family in (
        "quasi-newton",
        "conjugate-gradient",
        "newton",
        "trust-region",
        "gradient",
        "first-order",
    )
    assert set(row.option_aliases.values()) <= set(row.options)
    assert not set(row.option_aliases) & set(row.options)
    assert set(row.scipy_options) <= set(row.options)
    assert set(row.tol_options) <= set(row.options)


@ROWS
def test_defaults_pass_their_own_checks(row):
    for name, option in row.options.items():
        if isinstance(option.default, PerVariable) or option.default is None:
            continue
        assert option.check(name, option.default, 2) == option.default


@ROWS
def test_every_option_is_documented_in_the_docstring_of_minimize(row):
    documented = fastopt.minimize.__doc__
    for name in (*row.options, *row.option_aliases):
        assert name in documented
    for option in row.options.values():
        assert option.description.endswith(".")


@ROWS
def test_names_and_aliases_are_found_in_any_case(row):
    for name in (row.name, *row.aliases):
        assert find_method(name) is find_method(name.upper()) is row


def test_names_of_both_libraries_do_not_collide():
    ours = {name for row in METHODS.values() for name in (row.name, *row.aliases)}
    assert not ours & set(SCIPY_METHODS)
    assert find_method("nelder-mead") is None


@pytest.mark.parametrize("name", SCIPY_METHODS)
def test_scipy_methods_are_known_to_scipy(name):
    scipy.optimize.show_options("minimize", name, disp=False)


@ROWS
def test_every_option_reaches_a_reader(row):
    """A value other than the default changes what the solver or its driver is given."""
    pairs = LbfgsInvHessProduct(np.eye(2), np.eye(2))
    others = {
        "hess_inv0": pairs if row.name.startswith("l-bfgs") else np.diag([2.0, 3.0]),
        "line_search": "more-thuente",
        "beta": "pr+",
        "preconditioner": np.ones(2),
        "initial_trust_radius": 0.5,
        "max_trust_radius": 9.0,
        "norm": 2.0,
        "stopval": -1.0,
        "on_interrupt": "return",
        "workers": map,
        "finite_diff_rel_step": 1e-3,
        "maxtime": 60.0,
        "compile": False,
        "c1": 1e-3,
        "c2": 0.3,
        "schedule": schedules.constant(0.5),
        "validation": len,
        "averaging": "ema",
        "momentum": 0.5,
        "dampening": 0.5,
        "threshold": 4.5,
        "clip_norm": 1.0,
        "clip_value": 1.0,
    }
    for name, option in row.options.items():
        if name == "iprint":
            continue  # accepted without effect, as its description says
        default = option.default
        if name in others:
            value = others[name]
        elif isinstance(default, bool):
            value = not default
        elif isinstance(default, PerVariable):
            value = 3
        else:
            value = default / 2 if isinstance(default, float) and default else 3
            value = 0.25 if name in ("ftol", "xtol") else value
        flavor = _flavor_with(row, name)
        value = "torch" if name == "flavor" and row.rule not in ("lion", "adan") else value
        value = "optax" if name == "flavor" and row.rule in ("lion", "adan") else value
        if name == "schedule" and row.rule == "adadelta":
            flavor = {"flavor": "torch"}
        with_data = name in OPTIONS_OF_DATA
        before = read_options(row, flavor, None, 2, with_data)
        after = read_options(row, {**flavor, name: value}, None, 2, with_data)
        assert repr(before) != repr(after), name


def _flavor_with(row, name):
    """The options that choose the first flavor of the method's rule with a hyperparameter."""
    for flavor, rule in FLAVORS.get(row.rule, {}).items():
        if flavor != "textbook" and any(each.name == name for each in rule.hyperparameters):
            known = any(each.name == name for each in RULES[row.rule].hyperparameters)
            return {} if known else {"flavor": flavor}
    return {}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_a_row_with_its_hyperparameters(name):
    row = METHODS[name]
    assert row.rule == name
    for hyperparameter in RULES[name].hyperparameters:
        option = row.options[hyperparameter.name]
        assert option.default == hyperparameter.default
        with pytest.raises(ValueError, match=hyperparameter.name):
            option.check(hyperparameter.name, math.nextafter(hyperparameter.low, -math.inf), 2)


def test_settings_hold_the_defaults_that_grow_with_n():
    assert read_options(METHODS["bfgs"], None, None, 7)[0]["maxiter"] == 1400
    assert read_options(METHODS["bfgs"], {"maxiter": None}, None, 7)[0]["maxiter"] == 1400
    assert read_options(METHODS["bfgs"], {"maxiter": math.inf}, None, 7)[0]["maxiter"] == UNLIMITED


def test_settings_of_one_call_do_not_reach_the_next():
    settings, _ = read_options(METHODS["adam"], {"lr": 0.5, "gtol": 1.0}, None, 2)
    assert settings["hyperparameters"][0] == 0.5
    settings["ftol"] = 9.0
    fresh, _ = read_options(METHODS["adam"], None, None, 2)
    assert fresh["hyperparameters"] == RULES["adam"].defaults
    assert (fresh["gtol"], fresh["ftol"]) == (1e-5, 0.0)


def test_closest_finds_a_misspelling_and_nothing_else():
    assert closest("gtoll", METHODS["bfgs"].options) == "gtol"
    assert closest("GTOL", METHODS["bfgs"].options) == "gtol"
    assert closest("colour", METHODS["bfgs"].options) is None


@ROWS
def test_first_order_eps_is_the_rules_and_not_a_difference_step(row):
    _, controls = read_options(row, {"eps": 1e-3} if "eps" in row.options else None, None, 2)
    assert (controls.eps == 1e-3) == (row.family != "first-order")
