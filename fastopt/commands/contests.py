"""Every method of fastopt, and SciPy's where it has the same one, on one real problem.

Owns the problem and what each solve is asked for. Knows nothing of how it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult
from scipy.special import expit

import fastopt
from fastopt.interface.methods import METHODS, Method

__all__ = [
    "GTOL",
    "TUNING",
    "Contest",
    "History",
    "LogisticRegression",
    "breast_cancer",
    "make_contests",
]

Array = NDArray[np.float64]

Objective = Callable[[Array], tuple[float, Array]]

# The demo stops every solve at the same accuracy, so L-BFGS's test on the decrease is turned off.
GTOL = 1e-6
TUNING: dict[str, dict[str, float]] = {"l-bfgs": {"ftol": 0.0}, "adam": {"lr": 0.1}}


class LogisticRegression:
    """The mean logistic loss of a linear classifier, plus an L2 penalty on its weights.

    The last parameter is the intercept, which carries no penalty. Calling it gives the value and
    the gradient.
    """

    def __init__(self, features: Array, labels: Array, penalty: float) -> None:
        standardised = (features - features.mean(axis=0)) / features.std(axis=0)
        ones = np.ones((len(labels), 1))
        self.signed = labels[:, np.newaxis] * np.hstack([standardised, ones])
        self.penalty = penalty
        self.penalties = np.append(np.full(features.shape[1], penalty), 0.0)
        self.start = np.zeros(self.penalties.size)

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        margins = self.signed @ parameters
        penalised = self.penalties * parameters
        loss = np.logaddexp(0.0, -margins).mean() + 0.5 * parameters @ penalised
        return float(loss), penalised - expit(-margins) @ self.signed / margins.size

    def hessian(self, parameters: Array) -> Array:
        margins = self.signed @ parameters
        weights = expit(margins) * expit(-margins) / margins.size
        curvature: Array = (self.signed.T * weights) @ self.signed
        return curvature + np.diag(self.penalties)

    def lipschitz_constant(self) -> float:
        """Of the gradient: log(1 + exp(-m)) has second derivatives of at most 1/4."""
        curvature = self.signed.T @ self.signed / (4 * len(self.signed))
        return float(np.linalg.eigvalsh(curvature + np.diag(self.penalties))[-1])

    def accuracy(self, parameters: Array) -> float:
        """The part of the samples on the right side of the classifier's plane."""
        return float((self.signed @ parameters > 0).mean())


def breast_cancer() -> LogisticRegression:
    from sklearn.datasets import load_breast_cancer

    features, target = load_breast_cancer(return_X_y=True)
    return LogisticRegression(features, np.where(target == 1, 1.0, -1.0), penalty=1e-3)


@dataclass
class Contest:
    """One method of one library on the problem, and what came of it."""

    method: Method
    library: str
    problem: LogisticRegression
    options: dict[str, Any]
    traced: OptimizeResult = field(init=False)
    result: OptimizeResult = field(init=False)
    seconds: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.method.name}, {self.library}"

    def run(self) -> None:
        """One solve that nothing watches but the clock."""
        started = time.perf_counter()
        self.result = self.solve(self.problem)
        self.seconds.append(time.perf_counter() - started)

    def trace(self) -> None:
        """One solve that keeps its history, whose time does not count."""
        if self.library == "fastopt":
            self.traced = self.solve(self.problem, trace=True)
        else:
            history = History(self.problem)
            self.traced = self.solve(history, callback=history.record)
            self.traced.trace = history.as_trace()
        self.traced.method = self.method.name

    def solve(self, fun: Objective, trace: bool = False, callback: Any = None) -> OptimizeResult:
        keywords: dict[str, Any] = {"jac": True, "options": self.options}
        if self.method.second_order:
            keywords["hess"] = self.problem.hessian
        start = self.problem.start
        if self.library == "fastopt":
            keywords["options"] = self.options | {"trace": trace}
            return fastopt.minimize(fun, start, method=self.method.name, **keywords)
        return scipy.optimize.minimize(
            fun, start, method=self.method.scipy, callback=callback, **keywords
        )


class History:
    """What SciPy's solvers do not keep: time, evaluations and loss after each iteration."""

    def __init__(self, problem: LogisticRegression) -> None:
        self.problem = problem
        self.evaluations = 0
        self.entries: list[tuple[float, int, float]] = []
        self.started = time.perf_counter()

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        loss, gradient = self.problem(parameters)
        self.evaluations += 1
        if self.evaluations == 1:
            self.append(loss)
        return loss, gradient

    def record(self, intermediate_result: OptimizeResult) -> None:
        self.append(intermediate_result.fun)

    def append(self, loss: float) -> None:
        self.entries.append((time.perf_counter() - self.started, self.evaluations, loss))

    def as_trace(self) -> dict[str, Array]:
        return dict(zip(("time", "nfev", "fun"), np.array(self.entries).T, strict=True))


def is_shown(method: Method) -> bool:
    """Whether the demo has a contest for a method.

    Most rules are for noisy gradients, of which the problem has none, and without an l1 term FISTA
    is another name for accelerated gradients.
    """
    if method.family == "first-order":
        return method.name in ("gd", "adam")
    return method.name != "fista"


def make_contests(problem: LogisticRegression) -> list[Contest]:
    contests = []
    for method in METHODS.values():
        if not is_shown(method):
            continue
        options = {"gtol": GTOL, **TUNING.get(method.name, {})}
        if method.family == "first-order":
            options["maxiter"] = 50_000
        if method.name == "gd":
            options["lr"] = 1.0 / problem.lipschitz_constant()
        contests.append(Contest(method, "fastopt", problem, options))
        if method.scipy is not None:
            # Newton-CG has no test of the gradient there; this is about as hard to pass.
            theirs = options if "gtol" in method.scipy_options else {"xtol": GTOL}
            contests.append(Contest(method, "SciPy", problem, theirs))
    return contests
