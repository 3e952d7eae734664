"""To how many digits answers are right: NIST's regressions, and problems with known minima.

``python -m benchmarks.solved --problems nist`` prints the former one by one, from both starts.
"""

import math

import numpy as np

from fastopt.testing import more_garbow_hillstrom, nist_strd

from .solved import (
    NLOPT,
    OWN,
    SCIPY,
    Case,
    Solver,
    digits_agreed,
    fastopt_solver,
    nlopt_solver,
    run,
    scipy_solver,
)

# A solve ends when its library can get no further, or here.
EVALUATIONS = 300
# Nor does a loop without evaluations go on for ever.
SECONDS = 20.0
SOLVERS = {
    **{f"fastopt {name}": (fastopt_solver, name, EVALUATIONS, SECONDS, {}) for name in OWN},
    **{f"scipy {name}": (scipy_solver, name, EVALUATIONS) for name in SCIPY},
    **{f"nlopt {name}": (nlopt_solver, name) for name in NLOPT},
}


class Digits:
    """The mean over the problems, each from its standard start; the nearer one of a regression."""

    params = (list(SOLVERS),)
    param_names = ("library",)
    unit = "digits"
    timeout = 300

    def setup(self, library: str) -> None:
        make, *arguments = SOLVERS[library]
        self.solver = make(*arguments)

    def track_digits_of_regressions(self, library: str) -> float:
        """In the parameter that agrees least with the certified one, of eleven."""
        found = [
            digits_agreed(answer(self.solver, each, each.starts[1]), each.minimizers[0])
            for each in nist_strd()
        ]
        return round(float(np.mean(found)), 2)

    def track_digits_of_minima(self, library: str) -> float:
        """In f, of sixteen; relative to its value at the start, if that minimum is zero."""
        found = []
        for each in more_garbow_hillstrom():
            if each.minima:
                value = each.fun(answer(self.solver, each, each.x0))
                scale = abs(each.fun(each.x0))
                errors = (abs(value - f) / (abs(f) or scale) for f in each.minima)
                found.append(digits(min(errors)))
        return round(float(np.mean(found)), 2)


def answer(solver: Solver, problem, x0: np.ndarray) -> np.ndarray:
    return run(solver, Case("", problem, 1, x0), EVALUATIONS, SECONDS).x


def digits(error: float) -> float:
    if math.isnan(error):
        return 0.0
    return min(max(-math.log10(error), 0.0), 16.0) if error else 16.0
