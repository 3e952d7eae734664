"""A directive that measures while the page is built: the solver's own time per evaluation.

The table says what was measured and where. It is a glance at this build, by a stopwatch, on
whatever machine that is; `asv_benchmarks` is where numbers are kept and compared.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np
import scipy
from data_tables import list_table
from docutils import nodes
from docutils.parsers.rst import directives
from scipy.optimize import rosen, rosen_der
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import fastopt
from fastopt.commands.threads import one_blas_thread
from fastopt.core.system import describe_system
from fastopt.interface.methods import METHODS


class Measurement(NamedTuple):
    evaluations: int
    own_microseconds: float  # per evaluation, outside the user's function
    solve_milliseconds: float


def measure(minimize: Callable, method: str, n: int, repeats: int) -> Measurement:
    """Medians over repeated solves of the chained Rosenbrock function, gradient given."""
    start = np.tile([-1.2, 1.0], n // 2)
    inside = 0.0

    def fun(x):
        nonlocal inside
        entered = perf_counter()
        value = rosen(x), rosen_der(x)
        inside += perf_counter() - entered
        return value

    own, whole = [], []
    for _ in range(repeats + 1):
        inside = 0.0
        begun = perf_counter()
        result = minimize(fun, start, jac=True, method=method)
        elapsed = perf_counter() - begun
        own.append((elapsed - inside) / result.nfev)
        whole.append(elapsed)
    # The first solve warms caches up.
    return Measurement(
        result.nfev,
        1e6 * statistics.median(own[1:]),
        1e3 * statistics.median(whole[1:]),
    )


class MeasuredOverhead(SphinxDirective):
    """``.. measured-overhead:: METHOD ...``: fastopt beside SciPy, on this machine."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {  # noqa: RUF012  (docutils declares it so)
        "n": directives.positive_int,
        "repeats": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        n = self.options.get("n", 10)
        repeats = self.options.get("repeats", 15)
        rows = []
        for method in self.arguments[0].split():
            for library, minimize, name in (
                ("fastopt", fastopt.minimize, method),
                ("SciPy", scipy.optimize.minimize, METHODS[method].scipy),
            ):
                with one_blas_thread():
                    m = measure(minimize, name, n, repeats)
                rows.append(
                    (
                        f"{library}, ``{name}``",
                        str(m.evaluations),
                        f"{m.solve_milliseconds:.2f} ms",
                        f"**{m.own_microseconds:.1f} \u00b5s**",
                    )
                )
        processor = describe_system()["Machine"]["CPU"]
        header = ("", "Evaluations", "Whole solve", "Own time per evaluation")
        text = list_table(header, rows, "34 18 20 28")
        note = (
            f"\nChained Rosenbrock function, n = {n}, gradient given; medians of {repeats} solves, "
            f"BLAS on one thread, measured while this page was built ({processor}, Python "
            f"{platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}). "
            "*Own time* is what the library spends outside your function.\n"
        )
        return self.parse_text_to_nodes(text + note)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("measured-overhead", MeasuredOverhead)
    # Measurements side by side would measure one another.
    return {"parallel_read_safe": False, "parallel_write_safe": True}
