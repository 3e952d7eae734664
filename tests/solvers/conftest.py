"""Settings for tests that drive a `SolverState` directly."""

import numpy as np
import pytest

from fastopt.interface.methods import METHODS

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
RADIUS = {"initial_trust_radius": None, "max_trust_radius": np.inf, "eta": 1e-4}
OWN = {
    "bfgs": {**SEARCH, "hess_inv0": None, "damping": False},
    "l-bfgs": {**SEARCH, "maxcor": 10, "hess_inv0": None, "damping": False, "threads": 1},
    "l-bfgs-b": {**SEARCH, "maxcor": 10, "hess_inv0": None, "damping": False},
    "dfp": {**SEARCH, "c2": 0.1, "hess_inv0": None, "damping": False},
    "sr1": RADIUS,
    "cg": {**SEARCH, "c2": 0.4, "beta": "hz"},
    "newton": SEARCH,
    "newton-cg": SEARCH,
    "trust-exact": RADIUS,
    "trust-ncg": RADIUS,
    "dogleg": RADIUS,
    "barzilai-borwein": {},
    "nesterov-restart": {},
    "fista": {"l1": 0.0},
    "gd": {"rule": "gd", "hyperparameters": (1e-3,)},
    "adam": {"rule": "adam", "hyperparameters": (1e-2, 0.9, 0.999, 1e-8)},
}


@pytest.fixture
def make_state():
    """``make_state(method, x0, **settings) -> SolverState``."""
    from fastopt.solvers.state import SolverState

    def make(method, x0, **changes):
        solver = "first-order" if "rule" in OWN[method] else METHODS[method].solver
        settings = {**SHARED, **OWN[method], **changes}
        if method == "l-bfgs-b":
            settings.setdefault("bounds", np.outer([-1, 1], np.full(len(x0), np.inf)))
        return SolverState(solver, np.array(x0, dtype=float), settings)

    return make


@pytest.fixture
def chained_start():
    """The usual start of the chained Rosenbrock function in n variables."""
    return lambda n: np.where(np.arange(n) % 2, 1.0, -1.2)
