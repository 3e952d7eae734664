"""The command line: ``python -m fastopt demo | info | methods``.

Owns the commands, their arguments and what they print. Everything it measures or reports goes
through what users call. What only `demo` needs is imported there, so that the other commands run
on a bare installation.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130  # as shells number an end by SIGINT


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what it comes from: a module whose loading it stops may raise another."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def report_interrupt() -> int:
    print("Interrupted.", file=sys.stderr)
    return INTERRUPTED


# For most commands, to load these is most of the time in which Ctrl-C can come.
try:
    import argparse
    import os
    import statistics
    import time
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager, contextmanager
    from dataclasses import dataclass, field
    from importlib import import_module
    from importlib.util import find_spec
    from pathlib import Path
    from textwrap import fill
    from typing import Any

    import numpy as np
    import scipy.optimize
    from numpy.typing import NDArray
    from scipy.optimize import OptimizeResult
    from scipy.special import expit

    import fastopt
    from fastopt.core.system import describe_system
    from fastopt.core.validate import UNLIMITED
    from fastopt.interface.methods import METHODS, Method, find_method
except BaseException as error:
    if not is_interrupt(error):
        raise
    sys.exit(report_interrupt())

Array = NDArray[np.float64]

Objective = Callable[[Array], tuple[float, Array]]

# The demo stops every solve at the same accuracy, so L-BFGS's test on the decrease is turned off.
GTOL = 1e-6
TUNING: dict[str, dict[str, float]] = {"l-bfgs": {"ftol": 0.0}, "adam": {"lr": 0.1}}


class CommandError(Exception):
    """The command cannot run, for a reason that one line tells."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = make_parser()
    try:
        options = parser.parse_args(arguments)
        options.command(options)
        # What is still buffered fails here, where it is handled, if the reader has gone.
        sys.stdout.flush()
    except CommandError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # As in ``python -m fastopt info | head -1``; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if not is_interrupt(error):
            raise
        return report_interrupt()
    return 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastopt",
        description="Minimise smooth functions: SciPy's minimize without the interpreter in the "
        "way.",
    )
    parser.add_argument("--version", action="version", version=f"fastopt {fastopt.__version__}")
    # Without a command, which one there are is what the caller wants to know.
    parser.set_defaults(command=lambda _options: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="minimise a real problem by every method, beside SciPy",
        description="Fit a logistic regression with an L2 penalty to the Wisconsin breast-cancer "
        "table (569 samples, 30 features) by every method of fastopt and, where SciPy has the "
        "same one, by SciPy's. Prints a table and saves a picture of how each converges.",
        epilog="Needs pip install 'fastopt[demo]'. Takes some seconds.",
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("fastopt-demo.png"),
        metavar="FILE",
        help="where to save the picture; the suffix chooses the format (default: %(default)s)",
    )
    demo.add_argument(
        "--repeats",
        type=positive_integer,
        default=5,
        metavar="N",
        help="how often to run each solve; the median time counts (default: %(default)s)",
    )
    demo.add_argument("--no-plot", action="store_true", help="print the table, draw nothing")
    demo.set_defaults(command=run_demo)

    info = commands.add_parser(
        "info",
        help="versions, threads, BLAS, SIMD, Numba and CUDA: what a bug report needs",
        description="Print what a bug report needs to know about this installation and machine.",
    )
    info.set_defaults(command=run_info)

    methods = commands.add_parser(
        "methods",
        help="the methods that fastopt has, and when to choose which",
        description="List the methods that fastopt has or, given one, its options.",
    )
    methods.add_argument(
        "name",
        nargs="?",
        type=canonical_name,
        choices=list(METHODS),
        help="a method whose options to list: %(choices)s",
        metavar="METHOD",
    )
    methods.set_defaults(command=run_methods)
    return parser


def positive_integer(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return number


def canonical_name(text: str) -> str:
    """The name of a method by any that `minimize` takes for it."""
    method = find_method(text)
    return text if method is None else method.name


def run_info(_options: argparse.Namespace) -> None:
    rows = []
    for section, facts in describe_system().items():
        for index, (name, value) in enumerate(facts.items()):
            rows.append((section if index == 0 else "", name, value))
    print_table(Table(columns=("", "", ""), rows=rows))


def run_methods(options: argparse.Namespace) -> None:
    if options.name is not None:
        print_options(METHODS[options.name])
        return
    rows = [
        (method.name, method.title, method.family, method.scipy or "-", method.when)
        for method in METHODS.values()
    ]
    print_table(
        Table(
            title=f"Methods of fastopt {fastopt.__version__}",
            columns=("method", "", "family", "in SciPy", "choose it when"),
            rows=rows,
            caption="Options: python -m fastopt methods METHOD. "
            "Every other method of scipy.optimize.minimize is handed to SciPy.",
        )
    )


def print_options(method: Method) -> None:
    names = {name: [name] for name in method.options}
    for alias, name in method.option_aliases.items():
        names[name].append(alias)
    print_table(
        Table(
            title=f"{method.title}: choose it when {method.when}",
            columns=("option", "default", "meaning"),
            rows=[
                (", ".join(names[name]), default_text(option.default), option.description)
                for name, option in method.options.items()
            ],
            caption=f"Reference: {method.reference}.",
        )
    )


def default_text(default: object) -> str:
    return "inf" if default == UNLIMITED else str(default)


@dataclass(frozen=True)
class Table:
    """Text in rows and columns. A row that starts with "" belongs to the one above it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    caption: str = ""
    numbers: frozenset[int] = field(default_factory=frozenset)  # columns to align on the right


def print_table(table: Table) -> None:
    if find_spec("rich") is None:
        print(plain_text(table))
    else:
        print_rich(table)


def plain_text(table: Table) -> str:
    widths = [max(map(len, cells)) for cells in zip(table.columns, *table.rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if index in table.numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(aligned).rstrip()

    lines = [table.title, ""] if table.title else []
    if any(table.columns):
        lines += [line(table.columns), line(["-" * width for width in widths])]
    lines += [line(row) for row in table.rows]
    if table.caption:
        lines += ["", fill(table.caption, 100)]
    return "\n".join(lines)


def print_rich(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        # A file or a pipe has no width, and rich would fold at 80 columns.
        console.width = 150
    picture = RichTable(
        *(
            Column(Text(name), justify="right", no_wrap=True)
            if index in table.numbers
            else Column(Text(name), overflow="fold")
            for index, name in enumerate(table.columns)
        ),
        title=Text(table.title) if table.title else None,
        title_style="bold",
        title_justify="left",
        caption=Text(table.caption) if table.caption else None,
        caption_style="dim",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        show_header=any(table.columns),
        pad_edge=False,
        collapse_padding=True,
    )
    grouped = not all(row[0] for row in table.rows)
    for row in table.rows:
        if grouped and row[0]:
            picture.add_section()
        picture.add_row(Text(row[0], style="bold cyan"), *(Text(cell) for cell in row[1:]))
    if console.is_terminal:
        console.print(picture)
        return
    with console.capture() as capture:
        console.print(picture)
    # Rich pads each line to the width of the table.
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


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


def make_contests(problem: LogisticRegression) -> list[Contest]:
    contests = []
    for method in METHODS.values():
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


if __name__ == "__main__":
    sys.exit(main())
