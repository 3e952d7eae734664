"""Problems with known minima and exact derivatives, on NumPy alone."""

from fastopt.testing.problems.catalogue import hock_schittkowski, more_garbow_hillstrom, problem
from fastopt.testing.problems.problem import LeastSquaresProblem, Problem

__all__ = [
    "LeastSquaresProblem",
    "Problem",
    "hock_schittkowski",
    "more_garbow_hillstrom",
    "problem",
]
