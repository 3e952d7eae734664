"""What a test or a benchmark of an optimizer needs: problems with known minima."""

from fastopt.testing.problems import (
    LeastSquaresProblem,
    Problem,
    hock_schittkowski,
    more_garbow_hillstrom,
    problem,
)

__all__ = [
    "LeastSquaresProblem",
    "Problem",
    "hock_schittkowski",
    "more_garbow_hillstrom",
    "problem",
]
