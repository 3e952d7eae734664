"""Libraries that may be installed beside SciPy."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastopt.commands.bench.suites.peers import minimize_by_nlopt, nlopt

without_nlopt = pytest.mark.skipif(nlopt() is None, reason="NLopt is not installed")


@without_nlopt
def test_nlopt_ends_where_the_gradient_is_as_small_as_asked_for():
    gradients = []

    def fun(x):
        gradients.append(np.abs(rosen_der(x)).max())
        return rosen(x), rosen_der(x)

    x = minimize_by_nlopt(fun, np.array([-1.2, 1.0]), 1e-6)
    assert np.abs(rosen_der(x)).max() == gradients[-1] <= 1e-6
    assert min(gradients[:-1]) > 1e-6


@without_nlopt
def test_nlopt_that_does_not_get_there_has_no_right_digit():
    def plane(x):
        return -x.sum(), np.full_like(x, -1e300)

    assert np.isnan(minimize_by_nlopt(plane, np.ones(2), 1e-6)).all()


@without_nlopt
def test_ctrl_c_within_nlopt_comes_out():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize_by_nlopt(interrupted, np.ones(2), 1e-6)
