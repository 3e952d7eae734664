"""Settings for tests that drive a `SolverState` directly."""

import numpy as np
import pytest

UNLIMITED = 2**62

SHARED = {
    "gtol": 1e-5,
    "norm": np.inf,
    "ftol": 0.0,
    "xtol": 0.0,
    "stopval": -np.inf,
    "maxiter": 10_000,
    "maxfev": UNLIMITED,
}
SEARCH = {"c1": 1e-4, "c2": 0.9, "maxls": 50, "line_search": "hager-zhang"}
OWN = {
    "bfgs": {**SEARCH, "hess_inv0": None},
    "l-bfgs": {**SEARCH, "maxcor": 10},
    "gd": {"rule": "gd", "hyperparameters": (1e-3,)},
    "adam": {"rule": "adam", "hyperparameters": (1e-2, 0.9, 0.999, 1e-8)},
}


@pytest.fixture
def make_state():
    """``make_state(method, x0, **settings) -> SolverState``."""
    from fastopt.solvers.state import SolverState

    def make(method, x0, **changes):
        solver = "first-order" if "rule" in OWN[method] else method
        settings = {**SHARED, **OWN[method], **changes}
        return SolverState(solver, np.array(x0, dtype=float), settings)

    return make


@pytest.fixture
def chained_start():
    """The usual start of the chained Rosenbrock function in n variables."""
    return lambda n: np.where(np.arange(n) % 2, 1.0, -1.2)
