"""What a test or a benchmark of an optimizer needs: problems with known minima."""

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
    "LeastSquaresProblem",
    "Problem",
    "RegressionProblem",
    "hock_schittkowski",
    "more_garbow_hillstrom",
    "nist_strd",
    "problem",
]
