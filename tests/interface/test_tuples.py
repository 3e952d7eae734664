"""`Options`: a field for each option that is a number, and a float in each field."""

import copy
import math
import pickle

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning, rosen, rosen_der

import fastopt
from fastopt.core.validate import (
    Callback,
    Choice,
    CurvaturePairs,
    Flag,
    InverseHessian,
    Preconditioner,
    StepSchedule,
    Switch,
    Workers,
)
from fastopt.interface.methods import METHODS, OPTIONS_OF_DATA
from fastopt.interface.tuples import Options

# What no number expresses.
OTHER = (
    Callback
    | Choice
    | CurvaturePairs
    | Flag
    | InverseHessian
    | Preconditioner
    | StepSchedule
    | Switch
    | Workers
)


def test_every_option_of_a_method_that_is_a_number_has_a_field():
    numbers = {
        name
        for row in METHODS.values()
        for name, option in row.options.items()
        if not isinstance(option.check, OTHER)
    }
    # The latter does nothing.
    assert set(Options._fields) == numbers - OPTIONS_OF_DATA - {"iprint"}


def test_fields_are_floats_whatever_is_given():
    options = Options(1e-3, maxiter=7, xtol=np.float32(0.5), maxfev=np.int64(3), lr=None)
    assert all(type(value) is float for value in options)
    assert options.given() == {"gtol": 1e-3, "xtol": 0.5, "maxiter": 7.0, "maxfev": 3.0}
    assert Options().given() == {}
    assert Options(maxiter=math.inf).given() == {"maxiter": math.inf}


def test_options_behave_as_a_named_tuple():
    options = Options(gtol=1e-8, maxiter=100)
    assert options.gtol == 1e-8
    assert options._replace(maxiter=5, gtol=None).given() == {"maxiter": 5.0}
    for twin in (pickle.loads(pickle.dumps(options)), copy.deepcopy(options), Options(*options)):
        assert type(twin) is Options
        assert twin.given() == options.given()
    assert repr(options) == "Options(gtol=1e-08, maxiter=100)"
    assert repr(Options(maxiter=math.inf, lr=0.1)) == "Options(maxiter=inf, lr=0.1)"


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ((), {"gtool": 1.0}, "`Options` takes gtol, .* each once, got 'gtool'"),
        ((1.0,), {"gtol": 1.0}, "each once, got 'gtol'"),
        ((1.0,) * 99, {}, "each once, got 99 values"),
        ((), {"gtol": "small"}, "`gtol` must be a number, got 'small'"),
        ((), {"maxiter": True}, "`maxiter` must be a number, got True"),
        ((), {"eps": np.ones(2)}, "`eps` must be a number, got an array"),
    ],
)
def test_what_is_no_option_or_no_number_is_refused(values, named, message):
    with pytest.raises(TypeError, match=message):
        Options(*values, **named)


@pytest.mark.parametrize("method", ["bfgs", "l-bfgs"])
def test_options_say_the_same_as_a_dict(method):
    given = {"gtol": 1e-3, "maxls": 5, "c2": 0.5, "maxfev": 30}
    by_dict = fastopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, method=method, options=given)
    options = Options(**given)
    for result in (
        fastopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, method=method, options=options),
        fastopt.Solver(rosen, [-1.2, 1.0], jac=rosen_der, method=method, options=options).run(),
    ):
        np.testing.assert_array_equal(result.x, by_dict.x)
        assert result.nfev == by_dict.nfev
    many = fastopt.minimize_many(
        rosen, [[-1.2, 1.0]], jac=rosen_der, method=method, options=options
    )
    np.testing.assert_array_equal(many.x[0], by_dict.x)


def test_options_are_checked_and_sorted_out_as_a_dict_is():
    with pytest.raises(ValueError, match=r"`maxiter` must be a .* integer or inf, got 1\.5"):
        fastopt.minimize(rosen, [-1.2, 1.0], options=Options(maxiter=1.5))
    with pytest.warns(OptimizeWarning, match="method bfgs has no option 'maxcor'"):
        fastopt.minimize(rosen, [-1.2, 1.0], options=Options(maxcor=3))


def test_options_reach_scipy():
    bounds = [(0, 0.5), (0, 1)]
    result = fastopt.minimize(
        rosen, [0.3, 0.3], method="slsqp", jac=rosen_der, bounds=bounds, options=Options(maxiter=2)
    )
    assert (result.library, result.nit) == ("scipy", 2)
    with pytest.raises(ValueError, match="`stopval` must not be among the options here"):
        fastopt.minimize(
            rosen, [0.3, 0.3], method="tnc", bounds=bounds, options=Options(stopval=1.0)
        )
