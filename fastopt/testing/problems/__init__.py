"""Problems with known minima and exact derivatives, on NumPy alone."""

from fastopt.testing.problems.catalogue import hock_schittkowski, more_garbow_hillstrom, problem
from fastopt.testing.problems.problem import LeastSquaresProblem, Problem
from fastopt.testing.problems.regression import RegressionProblem, nist_strd

__all__ = [
    "LeastSquaresProblem",
    "Problem",
    "RegressionProblem",
    "hock_schittkowski",
    "more_garbow_hillstrom",
    "nist_strd",
    "problem",
]
