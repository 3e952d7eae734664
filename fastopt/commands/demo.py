"""`demo`: every method on a real problem beside SciPy's, as a table and a picture.

What only this needs is imported where it is used, so that the other commands run on a bare
installation.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
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
from fastopt.commands.tables import Table, print_table

__all__ = ["CommandError", "run_demo"]


class CommandError(Exception):
    """The command cannot run, for a reason that one line tells."""


def run_demo(options: argparse.Namespace) -> None:
    draw = not options.no_plot
    require_extra("rich", "scikit-learn", "threadpoolctl", *(["matplotlib"] if draw else []))
    picture = picture_path(options.output) if draw else None
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


def require_extra(*packages: str) -> None:
    modules = {"scikit-learn": "sklearn"}
    missing = [name for name in packages if find_spec(modules.get(name, name)) is None]
    if missing:
        raise CommandError(
            f"the demo needs {', '.join(missing)}, which cannot be found: "
            "pip install 'fastopt[demo]'"
        )


def picture_path(output: Path) -> Path:
    from matplotlib.figure import Figure

    path = output if output.suffix else output.with_suffix(".png")
    if not path.parent.is_dir():
        raise CommandError(f"--output must lie in an existing folder, got {str(output)!r}")
    formats = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise CommandError(f"--output must end in one of {', '.join(formats)}, got {str(output)!r}")
    return path


def save_picture(contests: list[Contest], problem: LogisticRegression, path: Path) -> None:
    # The contests stop at GTOL; measured from the best of them, it alone would seem exact.
    exact = fastopt.minimize(
        problem, problem.start, jac=True, method="bfgs", options={"gtol": 1e-6 * GTOL}
    )
    try:
        fastopt.plot_convergence(
            {contest.label: contest.traced for contest in contests},
            path,
            reference=min(result.fun for result in (exact, *(each.traced for each in contests))),
            title="Logistic regression on the Wisconsin breast-cancer table",
        )
    except OSError as error:
        raise CommandError(f"cannot write {str(path)!r}: {error.strerror}") from error
    print(f"Convergence plot: {path.resolve()}")


def one_blas_thread() -> AbstractContextManager[object]:
    """Beside other load, threads that wait for one another cost SciPy's L-BFGS-B 100 times."""
    limits: AbstractContextManager[object] = import_module("threadpoolctl").threadpool_limits(
        1, user_api="blas"
    )
    return limits


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    # Drawn between solves only: a thread that refreshes it would be timed with them.
    console = Console(stderr=True)
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=total, completed=-1, visible=False)

        def begin(label: str) -> None:
            progress.update(task, advance=1, description=label, visible=True, refresh=True)

        yield begin


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
                f"{1e3 * median:.2f}",
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
