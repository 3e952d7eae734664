"""Logistic regression, fastopt beside those who fit it: time until no slope exceeds 1e-6.

``python -m benchmarks.logistic``, from the folder above, prints a table for each data set.

**The objective**, the same for all, is the mean of the logistic loss and ``l2/2`` times the sum of
squares of the coefficients, without intercept: ``l2 = 1 / n``, which is scikit-learn's ``C=1``.

**The data.** Breast cancer (scikit-learn's, 569 x 30, standardised); 100 000 x 100, dense, each
column correlated 0.9 with the next, standardised; and 100 000 x 100 000, sparse, 20 entries a row,
in columns of which the k-th most frequent has 1/k as many as the first (Zipf), as words have.

**What ends a solve** is the infinity norm of the gradient, 1e-6, by each library's own test. Where
that is of another norm, its tolerance is the largest of 1e-6 sqrt(n) divided by powers of 2 with
which the answer is good. All answers are judged by one NumPy function; ! marks those that fail.

**What is timed** is the call, from data in memory to coefficients, without compiling: all of them
on one core, one after the other in each of several rounds, of which the median counts. liblbfgs and
LBFGSpp call fastopt's compiled loss from C and are timed there, without Python. What fastopt's rows
take besides (a Hessian, its diagonal) is part of their time.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special

import fastopt

from . import installed
from .libraries import jax_minimizer
from .losses import OnOneThread
from .peers import LIBRARIES as NATIVE

GTOL = 1e-6
MAXITER = 10_000
# Above it no n x n matrix.
MOST_DENSE = 2_000
HALVINGS = 12
# A solver that has been timed for so many seconds is left out of the rounds that remain.
ENOUGH = 15.0

Answer = tuple[np.ndarray, str]  # the coefficients, and how many evaluations or iterations
Solve = Callable[[], Answer]


@dataclass(frozen=True)
class Data:
    """A data set with its objective."""

    name: str
    X: Any
    y: np.ndarray
    rounds: int
    repeats: int  # of a solve, timed as one

    @property
    def l2(self) -> float:
        return 1.0 / len(self.y)

    @property
    def loss(self) -> Any:
        return fastopt.losses.logistic(self.X, self.y, l2=self.l2)

    @property
    def is_sparse(self) -> bool:
        return scipy.sparse.issparse(self.X)

    def value(self, theta: np.ndarray) -> float:
        z = self.X @ theta
        return (np.logaddexp(0.0, z) - self.y * z).mean() + 0.5 * self.l2 * theta @ theta

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        slopes = scipy.special.expit(self.X @ theta) - self.y
        return self.X.T @ slopes / len(self.y) + self.l2 * theta

    def norm(self, theta: np.ndarray) -> float:
        return float(np.abs(self.gradient(theta)).max())


# --- data ------------------------------------------------------------------------------------


def breast_cancer() -> Data:
    X, y = installed.find("sklearn.datasets").load_breast_cancer(return_X_y=True)
    return Data("breast cancer", (X - X.mean(axis=0)) / X.std(axis=0), y * 1.0, 15, 30)


def dense(n: int = 100_000, p: int = 100, rounds: int = 5) -> Data:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = 0.9 * X[:, j - 1] + np.sqrt(1.0 - 0.9**2) * X[:, j]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    truth = 3.0 * rng.standard_normal(p) / np.sqrt(p)
    return Data(f"{n} x {p}", X, labels(X @ truth, rng), rounds, 1)


def sparse(n: int = 100_000, p: int = 100_000, rounds: int = 3) -> Data:
    rng, entries = np.random.default_rng(0), 20
    frequency = 1.0 / np.arange(1.0, p + 1.0)
    columns = rng.choice(p, size=n * entries, p=frequency / frequency.sum())
    columns = rng.permutation(p)[columns].astype(np.int32)
    indptr = np.arange(0, n * entries + 1, entries, dtype=np.int32)
    X = scipy.sparse.csr_array((rng.standard_normal(n * entries), columns, indptr), (n, p))
    X.sum_duplicates()
    scores = X @ (0.5 * rng.standard_normal(p))
    return Data(f"sparse {n} x {p}", X, labels(scores, rng), rounds, 1)


def labels(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (scores + rng.logistic(size=len(scores)) > 0).astype(float)


# --- fastopt ---------------------------------------------------------------------------------


def by_fastopt(
    method: str,
    data: Data,
    second: str | None = None,
    start: Callable[[Any], dict[str, Any]] = lambda loss: {},
) -> Solve:
    """With second derivatives by name, and options that are made of the loss."""
    loss = data.loss
    derivatives = {second: getattr(loss, second)} if second else {}
    limits = {"gtol": GTOL, "maxiter": MAXITER} | ({"ftol": 0.0} if method == "l-bfgs" else {})

    def solve() -> Answer:
        options = limits | start(loss)
        fit = fastopt.minimize(
            *(loss.fun, loss.x0, loss.args, method, loss.jac), **derivatives, options=options
        )
        products = f" + {fit.nhev} {second}" if second else ""
        return fit.x, f"{fit.nfev}{products}"

    return solve


def inverse_hessian(loss: Any) -> dict[str, Any]:
    return {"hess_inv0": np.linalg.inv(loss.hess(loss.x0, *loss.args))}


def diagonal(loss: Any) -> dict[str, Any]:
    return {"preconditioner": 1.0 / loss.hess_diag(loss.x0, *loss.args)}


# --- peers -----------------------------------------------------------------------------------


@dataclass
class TimedInside:
    """A native library's solve: it says itself how long it took."""

    library: str
    data: Data

    def __post_init__(self) -> None:
        from native.regression import as_problem  # compiles, where it is imported

        self.problem = as_problem(self.data.name, self.data.loss)
        self.seconds = 0.0

    def __call__(self) -> Answer:
        found = NATIVE[self.library].solve("l-bfgs", self.problem, gtol=GTOL, maxiter=MAXITER)
        self.seconds = found.seconds
        return found.x[0], str(found.answers["nfev"][0])


def by_scipy(compiled: bool, data: Data) -> Solve:
    loss = data.loss
    grad = np.empty(loss.n)
    options = {"gtol": GTOL, "ftol": 0.0, "maxiter": MAXITER, "maxfun": MAXITER}

    def with_loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        return loss.fun(theta, grad, *loss.args), grad

    def with_numpy(theta: np.ndarray) -> tuple[float, np.ndarray]:
        z = data.X @ theta
        value = (np.logaddexp(0.0, z) - data.y * z).mean() + 0.5 * data.l2 * theta @ theta
        slopes = scipy.special.expit(z) - data.y
        return value, data.X.T @ slopes / len(data.y) + data.l2 * theta

    def solve() -> Answer:
        fit = scipy.optimize.minimize(
            with_loss if compiled else with_numpy,
            *(loss.x0, (), "L-BFGS-B", True),
            options=options,
        )
        return fit.x, str(fit.nfev)

    return solve


def by_scikit_learn(solver: str, data: Data) -> Solve:
    LogisticRegression = installed.find("sklearn.linear_model").LogisticRegression

    def solve(tol: float) -> Answer:
        model = LogisticRegression(
            C=1.0, tol=tol, solver=solver, fit_intercept=False, max_iter=MAXITER
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a tolerance that is too tight for it
            model.fit(data.X, data.y)
        return model.coef_[0], f"{model.n_iter_[0]} iterations"

    return tuned(solve, data, GTOL)


def tuned(solve: Callable[[float], Answer], data: Data, tol: float) -> Solve:
    """With the largest tolerance that is enough."""
    for _ in range(HALVINGS):
        if data.norm(solve(tol)[0]) <= GTOL:
            break
        tol *= 0.5
    return partial(solve, tol)


def jax_objective(data: Data) -> tuple[Any, tuple[Any, ...], Any]:
    """A function of coefficients and data, the data, and where to start."""
    jax = installed.jax()
    jnp = jax.numpy

    def mean(z: Any, y: Any, theta: Any) -> Any:
        return (jnp.logaddexp(0.0, z) - y * z).mean() + 0.5 * data.l2 * theta @ theta

    def of_dense(theta: Any, X: Any, y: Any) -> Any:
        return mean(X @ theta, y, theta)

    def of_sparse(theta: Any, entries: Any, columns: Any, rows: Any, y: Any) -> Any:
        products = entries * theta[columns]
        z = jax.ops.segment_sum(products, rows, len(data.y), indices_are_sorted=True)
        return mean(z, y, theta)

    start = jnp.zeros(data.X.shape[1])
    if not data.is_sparse:
        return of_dense, (jnp.asarray(data.X), jnp.asarray(data.y)), start
    rows = np.repeat(np.arange(len(data.y)), np.diff(data.X.indptr))
    arrays = (data.X.data, data.X.indices, rows, data.y)
    return of_sparse, tuple(map(jnp.asarray, arrays)), start


def by_jaxopt(data: Data) -> Solve:
    """Its test is of the Euclidean norm."""
    fun, args, start = jax_objective(data)

    @cache
    def compiled(tol: float) -> Any:
        solve = jax_minimizer("jaxopt", "l-bfgs", fun, gtol=tol, maxiter=MAXITER)
        return installed.jax().jit(solve)

    def solve(tol: float) -> Answer:
        x, nit = compiled(tol)(start, *args)
        return np.asarray(x), f"{int(nit)} iterations"

    return tuned(solve, data, GTOL * np.sqrt(len(start)))


def by_optax(data: Data) -> Solve:
    fun, args, start = jax_objective(data)
    minimize = jax_minimizer("optax", "l-bfgs", fun, gtol=GTOL, maxiter=MAXITER)
    run = installed.jax().jit(minimize)

    def solve() -> Answer:
        x, nit = run(start, *args)
        return np.asarray(x), f"{int(nit)} iterations"

    return solve


# Who solves it: library, method, how (if it is installed), and up to which size.
Row = tuple[str, str, Callable[[Data], Solve], float]

ROWS: tuple[Row, ...] = (
    ("fastopt", "l-bfgs", partial(by_fastopt, "l-bfgs"), np.inf),
    ("fastopt", "bfgs", partial(by_fastopt, "bfgs"), MOST_DENSE),
    (
        *("fastopt", "bfgs from hess(x0)"),
        partial(by_fastopt, "bfgs", start=inverse_hessian),
        MOST_DENSE,
    ),
    ("fastopt", "newton, hess", partial(by_fastopt, "newton", second="hess"), MOST_DENSE),
    ("fastopt", "newton-cg, hessp", partial(by_fastopt, "newton-cg", second="hessp"), np.inf),
    ("fastopt", "cg", partial(by_fastopt, "cg"), np.inf),
    ("fastopt", "cg, hess_diag(x0)", partial(by_fastopt, "cg", start=diagonal), np.inf),
    ("fastopt", "barzilai-borwein", partial(by_fastopt, "barzilai-borwein"), np.inf),
    ("fastopt", "nesterov-restart", partial(by_fastopt, "nesterov-restart"), np.inf),
    ("liblbfgs", "L-BFGS", partial(TimedInside, "liblbfgs"), np.inf),
    ("LBFGSpp", "L-BFGS", partial(TimedInside, "LBFGSpp"), np.inf),
    ("scipy", "L-BFGS-B, our loss", partial(by_scipy, True), np.inf),
    ("scipy", "L-BFGS-B, NumPy", partial(by_scipy, False), np.inf),
    ("scikit-learn", "lbfgs", partial(by_scikit_learn, "lbfgs"), np.inf),
    ("scikit-learn", "newton-cg", partial(by_scikit_learn, "newton-cg"), np.inf),
    (
        *("scikit-learn", "newton-cholesky"),
        partial(by_scikit_learn, "newton-cholesky"),
        MOST_DENSE,
    ),
    ("jaxopt", "LBFGS", by_jaxopt, np.inf),
    ("optax", "lbfgs", by_optax, np.inf),
)


# --- asv -------------------------------------------------------------------------------------

SMALL = {
    "breast cancer": breast_cancer,
    "sparse 10000 x 10000": partial(sparse, 10_000, 10_000),
}
BY_NAME = {f"{library} {method}": row for row in ROWS for library, method in [row[:2]]}


class Fit(OnOneThread):
    """One fit, until no slope exceeds 1e-6."""

    params = (list(BY_NAME), list(SMALL))
    param_names = ("library", "data")
    timeout = 300

    def setup(self, library: str, data: str) -> None:
        self.limit_threads()
        try:
            made = SMALL[data]()
            _, _, prepare, most = BY_NAME[library]
            if made.X.shape[1] > most:
                raise NotImplementedError("no n x n matrix of this size")
            self.solve = prepare(made)
            self.solve()
        except NotImplementedError:
            self.teardown()
            raise

    def time_fit(self, library: str, data: str) -> None:
        self.solve()


# --- the tables ------------------------------------------------------------------------------


def seconds_of(solve: Solve, repeats: int) -> float:
    begun = time.perf_counter()
    inside = 0.0
    for _ in range(repeats):
        solve()
        inside += getattr(solve, "seconds", 0.0)
    return (inside or time.perf_counter() - begun) / repeats


def print_table(data: Data, libraries: list[str]) -> None:
    found: dict[tuple[str, str], Solve] = {}
    missing = set()
    for library, method, prepare, most in ROWS:
        if data.X.shape[1] > most or library not in libraries:
            continue
        try:
            found[library, method] = prepare(data)
        except NotImplementedError as reason:
            missing.add(f"without {library}: {reason}")
    answers = {key: solve() for key, solve in found.items()}  # compiles
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in found}
    for _ in range(data.rounds):
        for key, solve in found.items():
            if sum(seconds[key]) < ENOUGH:
                seconds[key].append(seconds_of(solve, data.repeats))
    print(f"\n{data.name}: milliseconds, evaluations, infinity norm of the gradient\n")
    for line in sorted(missing):
        print(line)
    for (library, method), times in seconds.items():
        x, count = answers[library, method]
        norm = data.norm(x)
        mark = " " if norm <= GTOL else "!"
        middle = 1e3 * statistics.median(times)
        print(f"{library:14}{method:22}{middle:11.3f}  {count:18}{norm:9.1e} {mark}", flush=True)


def main() -> None:
    makers = {"breast-cancer": breast_cancer, "dense": dense, "sparse": sparse}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", choices=[*makers, []], help="all, if none is named")
    everyone = list(dict.fromkeys(row[0] for row in ROWS))
    parser.add_argument("--libraries", nargs="+", choices=everyone, default=everyone)
    given = parser.parse_args()
    installed.bind_to_one_processor()
    installed.limit_threads()
    for name in given.data or makers:
        try:
            print_table(makers[name](), given.libraries)
        except NotImplementedError as missing:
            print(f"without {name}: {missing}")


if __name__ == "__main__":
    main()
