"""Problems with known minima and exact derivatives, on NumPy alone."""

from fastopt.testing.problems.catalogue import more_garbow_hillstrom, problem
from fastopt.testing.problems.problem import Problem

__all__ = ["Problem", "more_garbow_hillstrom", "problem"]
