"""How exact solvers get when they are asked for all there is, on problems of the literature."""

from __future__ import annotations

from functools import partial

from fastopt.commands.bench.cases import Case, Contest
from fastopt.commands.bench.sizes import Sizes
from fastopt.commands.bench.suites.solves import make_solves
from fastopt.testing import RegressionProblem, problem

__all__ = ["cases"]

# Four of Moré, Garbow and Hillstrom, and two of NIST's regressions.
PROBLEMS = ("Wood", "Brown and Dennis", "Bard", "Osborne 1", "Gauss1", "Thurber")


def cases(_sizes: Sizes) -> list[Case]:
    return [
        Case(f"{name}, {method}", partial(make_problem, name, method))
        for method in ("bfgs", "l-bfgs")
        for name in PROBLEMS
    ]


def make_problem(name: str, method: str) -> Contest:
    posed = problem(name)
    # NIST's first start is meant to defeat solvers, and does.
    start = posed.starts[1] if isinstance(posed, RegressionProblem) else posed.x0
    return make_solves(method, posed.fun_and_grad, start, posed.minimizers[0], gtol=0.0)
