"""`demo`: many methods on a real problem beside SciPy's, as a table and a picture.

What only this needs is imported where it is used, so that the other commands run on a bare
installation.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np

import fastopt
from fastopt.commands.contests import (
    GTOL,
    TUNING,
    Contest,
    LogisticRegression,
    breast_cancer,
    make_contests,
)
from fastopt.commands.progress import progress_bar
from fastopt.commands.quantities import three_digits
from fastopt.commands.requirements import check_picture, replacing, require_extra
from fastopt.commands.tables import Table, print_table
from fastopt.commands.threads import one_blas_thread

__all__ = ["run_demo"]


def run_demo(options: argparse.Namespace) -> None:
    draw = not options.no_plot
    plotting = ["matplotlib"] if draw else []
    require_extra("the demo", "rich", "scikit-learn", "threadpoolctl", *plotting)
    picture = check_picture("--output", options.output) if draw else None
    problem = breast_cancer()
    contests = make_contests(problem)
    with one_blas_thread(), progress_bar(len(contests) * (options.repeats + 1)) as begin:
        # First, since it warms up what compiles or loads at the first use.
        for contest in contests:
            begin(contest.label)
            contest.trace()
        # In rounds, so that a slow spell of the machine meets every contest.
        for _ in range(options.repeats):
            for contest in contests:
                begin(contest.label)
                contest.run()
    print_table(contest_table(contests, problem, options.repeats))
    if picture is not None:
        save_picture(contests, problem, picture)


def save_picture(contests: list[Contest], problem: LogisticRegression, path: Path) -> None:
    # The contests stop at GTOL; measured from the best of them, it alone would seem exact.
    exact = fastopt.minimize(
        problem, problem.start, jac=True, method="bfgs", options={"gtol": 1e-6 * GTOL}
    )
    with replacing(path) as unfinished:
        fastopt.plot_convergence(
            {contest.label: contest.traced for contest in contests},
            unfinished,
            reference=min(result.fun for result in (exact, *(each.traced for each in contests))),
            title="Logistic regression on the Wisconsin breast-cancer table",
        )
    print(f"Convergence plot: {path.resolve()}")


def contest_table(contests: list[Contest], problem: LogisticRegression, repeats: int) -> Table:
    scipy_median = {
        contest.method.name: statistics.median(contest.seconds)
        for contest in contests
        if contest.library == "SciPy"
    }
    rows = []
    for contest in contests:
        result, name = contest.result, contest.method.name
        median = statistics.median(contest.seconds)
        ours = contest.library == "fastopt"
        rows.append(
            (
                name if ours else "",
                contest.library,
                f"{result.nit:,}",
                f"{result.nfev:,}",
                three_digits(1e3 * median),
                f"{result.fun:.7f}",
                f"{np.abs(result.jac).max():.0e}",
                "converged" if result.success else first_sentence(result.message),
                f"{scipy_median[name] / median:.1f}x" if ours and name in scipy_median else "",
            )
        )
    best = min((contest.result for contest in contests), key=lambda result: result.fun)
    samples, parameters = problem.signed.shape
    return Table(
        title=f"Logistic regression on the Wisconsin breast-cancer data, n = {parameters}",
        columns=(
            "method",
            "library",
            "iters",
            "evals",
            "ms",
            "loss",
            "|g|",
            "status",
            "gain",
        ),
        rows=rows,
        numbers=frozenset({2, 3, 4, 5, 6, 8}),
        caption="\n".join(
            (
                f"Loss: mean of log(1 + exp(-y (Xw + b))) over {samples} samples, plus "
                f"{problem.penalty / 2:g} |w|^2.",
                "Every solve starts at w = 0, b = 0 and ends where no element of the gradient g",
                f"exceeds {GTOL:g}; |g| is the largest. ms: median of {repeats} "
                f"run{'s' if repeats > 1 else ''}.",
                "NumPy computes the loss, on one thread. gain: SciPy's time over fastopt's.",
                f"gd: lr = 1/L = {1 / problem.lipschitz_constant():.3f}, L the Lipschitz constant "
                f"of the gradient. adam: lr = {TUNING['adam']['lr']}.",
                f"The best fit puts {problem.accuracy(best.x):.1%} of the samples on the right "
                "side.",
            )
        ),
    )


def first_sentence(message: str) -> str:
    return message.partition(". ")[0].rstrip(".")
