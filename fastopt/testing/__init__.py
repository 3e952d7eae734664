"""What a test or a benchmark of an optimizer needs: problems with known minima."""

from fastopt.testing.problems import Problem, more_garbow_hillstrom, problem

__all__ = ["Problem", "more_garbow_hillstrom", "problem"]
