"""What a test or a benchmark of an optimizer needs: problems with known minima, and whether the
derivatives are right.
"""

from fastopt.testing.derivatives import DerivativeCheck, check_grad, check_hess, check_hessp
from fastopt.testing.problems import (
    LeastSquaresProblem,
    Problem,
    RegressionProblem,
    hock_schittkowski,
    more_garbow_hillstrom,
    nist_strd,
    problem,
)

__all__ = [
    "DerivativeCheck",
    "LeastSquaresProblem",
    "Problem",
    "RegressionProblem",
    "check_grad",
    "check_hess",
    "check_hessp",
    "hock_schittkowski",
    "more_garbow_hillstrom",
    "nist_strd",
    "problem",
]
