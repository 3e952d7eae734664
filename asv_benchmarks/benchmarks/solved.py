"""How many problems each method solves, beside SciPy's method of its class.

``python -m benchmarks.solved``, from the folder above. Every problem of Moré, Garbow & Hillstrom
and of Hock & Schittkowski is solved from its standard start x0, from 10 x0 and from 100 x0; from a
vector of 10 or 100 where x0 is zero; moved into the bounds where there are any. Starts that are
the same, or at which the function is not finite, are left out; so are those at which the gradient
is below gtol already, where no method has anything to do.

**Solved.** A run is solved if what it returns is feasible and its value f exceeds a known minimum
f* by at most ``1e-8 max(1, |f*|)``, or is below all of them. Known are:

* the published minima, those at infinity included, without the two that are saddles;
* where runs of any method from any start end at other minima: points with a positive definite
  Hessian (of the variables that no bound holds, scaled to a unit diagonal) at which Newton's step
  promises no more than a tenth of that accuracy.

Which of its minima a problem is solved to is luck, so all count alike. A plateau is no minimum: the
Hessian there is not definite, and f is above all that is known.

**Limits.** gtol = 1e-8, and every other test for convergence off as far as the library allows, so
that no run ends early by its own choice. It is cut off after ``--evaluations`` or ``--seconds``,
and then judged by the best point that it evaluated.

**Evaluations** are those of value and gradient together (a method that asks for one alone is
charged for both); Hessians are not counted. The ratio is the geometric mean over the problems that
at least one of the two solved, of a method's evaluations by those of SciPy's method of its class. A
run that failed counts as ten times the other.

**Audit.** Of runs that end with the claim that the gradient is small: how often the norm of the
projected gradient, computed anew at the point returned, is not. And how often a run claims success
for what is not solved: to be misled by a plateau or a saddle is no fault of the test.

``--problems nist`` prints instead, for each of NIST's regressions from both of its starts, to how
many digits the parameters agree with the certified ones: the least over the parameters, of eleven
that there are. Beside them SciPy's `least_squares` ("lm"), which is made for such problems.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import signal
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import scipy.optimize
from scipy.optimize import Bounds, OptimizeResult

import fastopt
from fastopt.interface.methods import METHODS
from fastopt.testing import (
    Problem,
    RegressionProblem,
    hock_schittkowski,
    more_garbow_hillstrom,
    nist_strd,
)

from . import installed
from .libraries import nlopt_minimize

ACCURACY = 1e-8
GTOL = 1e-8
PENALTY = 10.0

# Numbers of Moré, Garbow & Hillstrom of which the second published minimum is a saddle.
SADDLES = {18, 27}

# SciPy's methods: what each takes, and its options that end no run early.
SCIPY: dict[str, tuple[bool, bool, dict[str, Any]]] = {
    "BFGS": (False, False, {"gtol": GTOL}),
    "L-BFGS-B": (True, False, {"gtol": GTOL, "ftol": 0.0, "maxfun": 10**9}),
    "CG": (False, False, {"gtol": GTOL}),
    "Newton-CG": (False, True, {"xtol": 1e-14}),
    "TNC": (True, False, {"gtol": GTOL, "ftol": 0.0, "xtol": 0.0, "maxfun": 10**9}),
    "trust-ncg": (False, True, {"gtol": GTOL}),
    "trust-krylov": (False, True, {"gtol": GTOL}),
    "trust-exact": (False, True, {"gtol": GTOL}),
    "dogleg": (False, True, {"gtol": GTOL}),
}

# NLopt's methods, each with SciPy's method of its class.
NLOPT = {"LD_LBFGS": "L-BFGS-B", "LD_VAR2": "BFGS", "LD_TNEWTON_PRECOND_RESTART": "TNC"}

# The class of methods that SciPy does not have, where METHODS names no counterpart.
CLASSES = {
    "dfp": "BFGS",
    "sr1": "BFGS",
    "newton": "trust-exact",
    "barzilai-borwein": "CG",
    "nesterov-restart": "CG",
}
# Those that need no step length. Without an l1 term, "fista" is "nesterov-restart" to the bit.
OWN = [name for name, row in METHODS.items() if row.family != "first-order" and name != "fista"]


@dataclass(frozen=True, eq=False)
class Case:
    """A problem from one start."""

    collection: str
    problem: Problem
    factor: int
    x0: np.ndarray

    @property
    def title(self) -> str:
        name = self.problem.name
        if self.collection == "mgh":
            name = f"{self.problem.number} {name}"
        return f"{name}, n={self.problem.n}, {self.factor} x0"


@dataclass(frozen=True)
class Solver:
    """One method of one library, and the method of SciPy's to compare it with."""

    library: str
    method: str
    minimize: Callable[..., OptimizeResult]
    takes_bounds: bool
    uses_hessian: bool
    counterpart: str | None


@dataclass
class Run:
    """What came of a case."""

    case: Case
    value: float
    x: np.ndarray
    evaluations: int
    seconds: float
    success: bool
    small_gradient: bool  # the test that it says holds
    message: str
    solved: bool = field(default=False)


class CutOff(Exception):
    """The limit of evaluations or seconds is reached."""


class Objective:
    """Counts evaluations, keeps the best point, and ends a run at its limits."""

    def __init__(self, problem: Problem, evaluations: int, seconds: float) -> None:
        self.problem = problem
        self.left = evaluations
        self.deadline = time.perf_counter() + seconds
        self.count = 0
        self.best = math.inf
        self.best_x = problem.x0

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        if self.count == self.left:
            raise CutOff
        if time.perf_counter() > self.deadline:
            raise CutOff
        self.count += 1
        value, gradient = self.problem.fun_and_grad(x)
        if value < self.best:
            self.best, self.best_x = value, x.copy()
        return value, gradient


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Cut off SciPy's loops, some of which go round for ever without an evaluation.

    Where the system has such alarms. Compiled code notices it at its next evaluation alone.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return

    def cut_off(number: int, frame: object) -> None:
        raise CutOff

    before = signal.signal(signal.SIGALRM, cut_off)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def problems(collection: str, sizes: Iterable[int]) -> Iterator[tuple[str, Problem]]:
    if collection in ("mgh", "all"):
        standard = more_garbow_hillstrom()
        yield from (("mgh", each) for each in standard)
        usual = {(each.number, each.n) for each in standard}
        for n in sizes:
            for each in more_garbow_hillstrom(n):
                if (each.number, each.n) not in usual:
                    yield "mgh", each
    if collection in ("hs", "all"):
        yield from (("hs", each) for each in hock_schittkowski())


def cases(collection: str, sizes: Iterable[int], factors: Iterable[int]) -> list[Case]:
    found = []
    for origin, problem in problems(collection, sizes):
        seen: set[bytes] = set()
        for factor in factors:
            x0 = problem.x0 * float(factor)
            if factor != 1 and not problem.x0.any():
                x0 = np.full(problem.n, float(factor))
            x0 = np.clip(x0, *problem.bounds)
            value, gradient = problem.fun_and_grad(x0)
            if x0.tobytes() in seen or not np.isfinite([value, *gradient]).all():
                continue
            if projected_gradient_norm(problem, x0) > GTOL:
                seen.add(x0.tobytes())
                found.append(Case(origin, problem, factor, x0))
    return found


def solvers(
    methods: Iterable[str], evaluations: int, seconds: float, changes: dict[str, Any]
) -> list[Solver]:
    """The named methods of fastopt, SciPy's methods of their classes, and others if installed.

    By default all that need no step length, all of SciPy's, and all others.
    """
    named = list(methods)
    chosen = named or OWN
    own = [fastopt_solver(name, evaluations, seconds, changes) for name in chosen]
    counterparts = {solver.counterpart for solver in own}
    peers = [scipy_solver(name, evaluations) for name in SCIPY if not named or name in counterparts]
    return [*own, *peers, *([] if named else nlopt_solvers())]


def fastopt_solver(name: str, evaluations: int, seconds: float, changes: dict[str, Any]) -> Solver:
    row = METHODS[name]
    limits = {
        "gtol": GTOL,
        "ftol": 0.0,
        "xtol": 0.0,
        "maxiter": evaluations,
        "maxfev": evaluations,
        "maxtime": seconds,
    }
    wanted = limits | changes
    options = {option: value for option, value in wanted.items() if option in row.options}
    minimize = partial(fastopt.minimize, jac=True, method=name, options=options)
    return Solver(
        library="fastopt",
        method=name,
        minimize=minimize,
        takes_bounds=keeps(minimize, bounds=Bounds([-2.0], [-1.0])),
        uses_hessian=keeps(minimize, hess=lambda x: np.eye(1)),
        counterpart=CLASSES.get(name, row.scipy),
    )


def keeps(minimize: Callable[..., OptimizeResult], **argument: Any) -> bool:
    """Whether a method of fastopt's takes an argument and neither warns nor hands over to SciPy."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = minimize(lambda x: (float(x @ x) / 2.0, x), np.array([-1.5]), **argument)
        except (RuntimeWarning, ValueError, TypeError):
            return False
    return bool(result.library == "fastopt")


def scipy_solver(name: str, evaluations: int) -> Solver:
    takes_bounds, uses_hessian, options = SCIPY[name]
    # TNC has `maxfun` alone.
    options = options if name == "TNC" else options | {"maxiter": evaluations}
    minimize = partial(scipy.optimize.minimize, jac=True, method=name, options=options)
    return Solver("scipy", name, minimize, takes_bounds, uses_hessian, name)


def nlopt_solver(name: str) -> Solver:
    installed.find("nlopt")
    minimize = partial(nlopt_minimize, method=name, options={"gtol": GTOL})
    return Solver("nlopt", name, minimize, True, False, NLOPT[name])


def nlopt_solvers() -> list[Solver]:
    try:
        return [nlopt_solver(name) for name in NLOPT]
    except NotImplementedError as missing:
        print(f"without NLopt: {missing}")
        return []


def run(solver: Solver, case: Case, evaluations: int, seconds: float) -> Run:
    problem = case.problem
    objective = Objective(problem, evaluations, seconds)
    keywords: dict[str, Any] = {}
    if problem.is_bounded:
        keywords["bounds"] = Bounds(*problem.bounds)
    if solver.uses_hessian:
        keywords["hess"] = problem.hess
    start = time.perf_counter()
    try:
        # Libraries go on reckoning with what overflowed, and warn of what they then cannot do.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with alarm(seconds) if solver.library == "scipy" else nullcontext():
                result = solver.minimize(objective, case.x0.copy(), **keywords)
        if not np.isfinite(result.x).all():
            raise ValueError("x is not finite")
    except Exception as error:
        # What a library raises of its own is a failure of this run, not of this script.
        message = "cut off" if isinstance(error, CutOff) else f"raised {error!r}"
        result = OptimizeResult(x=objective.best_x, success=False, message=message)
    return Run(
        case=case,
        value=problem.fun(result.x),
        x=np.array(result.x),
        evaluations=objective.count,
        seconds=time.perf_counter() - start,
        success=bool(result.success),
        small_gradient=result.success and result.get("converged_to") == "gtol",
        message=str(result.message),
    )


def judge(runs: Iterable[Run]) -> None:
    """Set `solved` of each; the runs have to be all that there are."""
    by_problem = defaultdict(list)
    for each in runs:
        by_problem[each.case.collection, each.case.problem.name, each.case.problem.n].append(each)
    for alike in by_problem.values():
        case = alike[0].case
        known = list(case.problem.minima)
        if case.collection == "mgh" and case.problem.number in SADDLES:
            known = known[:1]
        for each in sorted(alike, key=lambda each: each.value):
            if not reached(each, known) and is_minimizer(case.problem, each.x):
                known.append(each.value)
        for each in alike:
            each.solved = reached(each, known)


def reached(each: Run, known: Iterable[float]) -> bool:
    low, high = each.case.problem.bounds
    if not (math.isfinite(each.value) and np.all((low <= each.x) & (each.x <= high))):
        return False
    below = [minimum for minimum in known if minimum - tolerance(minimum) <= each.value]
    return not below or each.value - max(below) <= tolerance(max(below))


def tolerance(minimum: float) -> float:
    return ACCURACY * max(1.0, abs(minimum))


def is_minimizer(problem: Problem, x: np.ndarray) -> bool:
    value, gradient = problem.fun_and_grad(x)
    low, high = problem.bounds
    free = ~(((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0)))
    hessian = problem.hess(x)[np.ix_(free, free)]
    diagonal = np.diag(hessian)
    if not (np.isfinite(hessian).all() and np.isfinite(value) and np.all(diagonal > 0)):
        return False
    scale = 1.0 / np.sqrt(diagonal)
    eigenvalues, vectors = np.linalg.eigh(hessian * np.multiply.outer(scale, scale))
    if np.any(eigenvalues < 1e-10):
        return False
    promised = ((vectors.T @ (scale * gradient[free])) ** 2 / eigenvalues).sum() / 2.0
    return bool(promised <= 0.1 * tolerance(value))


def projected_gradient_norm(problem: Problem, x: np.ndarray) -> float:
    step = np.clip(x - problem.grad(x), *problem.bounds) - x
    return float(np.abs(step).max())


def ratio_of_evaluations(own: dict[Case, Run], peer: dict[Case, Run]) -> float:
    logarithms = []
    for case in own.keys() & peer.keys():
        mine, theirs = own[case], peer[case]
        if mine.solved and theirs.solved:
            logarithms.append(math.log(mine.evaluations / theirs.evaluations))
        elif mine.solved or theirs.solved:
            logarithms.append(math.log(PENALTY) * (-1.0 if mine.solved else 1.0))
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else math.nan


def report(solver: Solver, runs: list[Run], peers: list[Run]) -> dict[str, Any]:
    dishonest = [
        each.case.title
        for each in runs
        if each.small_gradient
        # The sum x - g of the projection has a rounding error of its own.
        and projected_gradient_norm(each.case.problem, each.x) > GTOL + 1e-15 * np.abs(each.x).max()
    ]
    return {
        "method": solver.method,
        "library": solver.library,
        "runs": len(runs),
        "solved": sum(each.solved for each in runs),
        "success, not solved": sum(each.success and not each.solved for each in runs),
        "gradient not small": dishonest,
        "ratio": ratio_of_evaluations(
            {each.case: each for each in runs}, {each.case: each for each in peers}
        ),
        "counterpart": solver.counterpart,
        "evaluations": sum(each.evaluations for each in runs),
        "seconds": sum(each.seconds for each in runs),
        "failures": [
            {
                "case": each.case.title,
                "value": each.value,
                "evaluations": each.evaluations,
                "message": each.message,
            }
            for each in runs
            if not each.solved
        ],
    }


def print_reports(title: str, reports: list[dict[str, Any]], verbose: bool) -> None:
    print(f"\n{title}\n")
    print(
        f"{'':38}{'runs':>7}{'solved':>8}{'failed':>8}{'claimed':>9}{'dishonest':>11}"
        f"{'evaluations':>13}{'ratio':>8}{'':15}{'seconds':>9}"
    )
    for each in reports:
        print(
            f"{each['method']:28}{each['library']:10}{each['runs']:7}{each['solved']:8}"
            f"{each['runs'] - each['solved']:8}{each['success, not solved']:9}"
            f"{audit(each):>11}{each['evaluations']:13}"
            f"{ratio(each)}"
            f"{each['seconds']:9.1f}"
        )
    if verbose:
        for each in reports:
            print(f"\n{each['library']} {each['method']} failed:")
            for failure in each["failures"]:
                print(
                    f"  {failure['case']:58} f = {failure['value']:.6e} "
                    f"({failure['evaluations']}) {failure['message'][:60]}"
                )
            for case in each["gradient not small"]:
                print(f"  {case:58} claims a small gradient")


def ratio(report: dict[str, Any]) -> str:
    if math.isnan(report["ratio"]):
        return f"{'':23}"
    return f"{report['ratio']:8.2f} x {report['counterpart']:12}"


def print_regressions(found: list[Solver], limits: tuple[int, float]) -> None:
    """Two columns a solver: from the far start and from the near one."""
    print("\nDigits agreed with the certified parameters, from start 1 and from start 2\n")
    titles = [f"{solver.library} {solver.method}" for solver in found]
    titles = [*titles, "least_squares"]
    print(f"{'':12}" + "".join(f"{title:>20}" for title in titles))
    total = np.zeros((len(titles), 2))
    for problem in nist_strd():
        row = f"{problem.name:12}"
        for column, title in enumerate(titles):
            digits = []
            for x0 in problem.starts:
                if title == "least_squares":
                    x = fit(problem, x0)
                else:
                    x = run(found[column], Case("nist", problem, 1, x0), *limits).x
                digits.append(digits_agreed(x, problem.minimizers[0]))
            total[column] += digits
            row += f"{digits[0]:14.1f}{digits[1]:6.1f}"
        print(row, flush=True)
    mean = total / len(nist_strd())
    print(f"{'mean':12}" + "".join(f"{far:14.1f}{near:6.1f}" for far, near in mean))


def fit(problem: RegressionProblem, x0: np.ndarray) -> np.ndarray:
    options = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 10_000}
    try:
        result = scipy.optimize.least_squares(
            problem.residuals, x0, jac=problem.jacobian, method="lm", x_scale="jac", **options
        )
    except ValueError:  # residuals that are not finite at the start
        return x0
    return np.asarray(result.x)


def digits_agreed(x: np.ndarray, certified: np.ndarray) -> float:
    """NIST's log relative error, cut off at none and at all of the digits certified."""
    error = float(np.max(np.abs(x - certified) / np.abs(certified)))
    return 11.0 if error == 0.0 else min(max(-math.log10(error), 0.0), 11.0)


def limit_threads() -> None:
    try:
        import threadpoolctl
    except ImportError:
        print("without threadpoolctl: set OPENBLAS_NUM_THREADS=1 or the like")
    else:
        threadpoolctl.threadpool_limits(1)


def audit(report: dict[str, Any]) -> str:
    """Other libraries do not say which test held."""
    return str(len(report["gradient not small"])) if report["library"] == "fastopt" else "-"


def literal(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=[], choices=METHODS, metavar="METHOD")
    parser.add_argument("--problems", default="all", choices=("mgh", "hs", "nist", "all"))
    parser.add_argument("--sizes", nargs="*", type=int, default=[10, 100])
    parser.add_argument("--starts", nargs="+", type=int, default=[1, 10, 100])
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument(
        "--option",
        nargs=2,
        action="append",
        default=[],
        type=literal,
        metavar=("NAME", "VALUE"),
        help="of fastopt's methods that have it: how a constant is tried out on all problems",
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--verbose", action="store_true", help="list the failures")
    arguments = parser.parse_args()

    # Two threads of BLAS for ten variables wait for each other.
    limit_threads()
    limits = (arguments.evaluations, arguments.seconds)
    found = solvers(arguments.methods, *limits, dict(arguments.option))
    if arguments.problems == "nist":
        print_regressions(found, limits)
        return
    every = cases(arguments.problems, arguments.sizes, arguments.starts)
    runs: dict[tuple[str, str], list[Run]] = {}
    for solver in found:
        print(f"{solver.library} {solver.method}", end=" ", flush=True, file=sys.stderr)
        runs[solver.library, solver.method] = [
            run(solver, case, *limits)
            for case in every
            if solver.takes_bounds or not case.problem.is_bounded
        ]
    print(file=sys.stderr)
    judge(each for alike in runs.values() for each in alike)

    tables = {}
    for title, bounded in (("Without bounds", False), ("With bounds", True)):
        chosen = {
            key: [each for each in alike if each.case.problem.is_bounded == bounded]
            for key, alike in runs.items()
        }
        reports = [
            report(
                solver,
                chosen[solver.library, solver.method],
                chosen.get(("scipy", solver.counterpart or ""), []),
            )
            for solver in found
            if chosen[solver.library, solver.method]
        ]
        if reports:
            print_reports(title, reports, arguments.verbose)
            tables[title] = reports
    if arguments.json:
        versions = {"fastopt": fastopt.__version__, "scipy": scipy.__version__}
        text = json.dumps({"versions": versions, "tables": tables}, indent=1)
        arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
