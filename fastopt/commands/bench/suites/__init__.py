"""SUITES: what `bench` measures, as data; each suite is a module of its name.

Knows no library, so that the command's arguments can be read before any is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from fastopt.commands.bench.cases import Case
from fastopt.commands.bench.sizes import Sizes

__all__ = ["SUITES", "Suite"]


@dataclass(frozen=True)
class Suite:
    """What its rows have in common; `answers` names the column that compares them."""

    name: str
    title: str
    answers: str
    remark: str = ""

    @property
    def caption(self) -> str:
        return f"{self.answers}: {MEANING[self.answers]}. {self.remark}".rstrip()

    def cases(self, sizes: Sizes) -> Sequence[Case]:
        load: Callable[[Sizes], Sequence[Case]] = import_module(f"{__name__}.{self.name}").cases
        return load(sizes)


MEANING = {
    "digits": "how many of the minimizer's fastopt and the other have right",
    "apart": "how far results differ, relative to the largest",
}

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "latency",
            "a whole call for Rosenbrock's function of two variables, in Python",
            "digits",
            "Both stop at a gradient of 1e-8.",
        ),
        Suite(
            "compiled",
            "chained Rosenbrock functions by @njit, the same for all",
            "digits",
            "Both stop at a gradient of 1e-8. In @njit: the time of a solve in a loop that is "
            "compiled itself.",
        ),
        Suite(
            "many",
            "fits of a Gaussian line in 50 channels, by minimize_many",
            "apart",
            "SciPy does some of the fits in a loop, with the same @njit function; its time is "
            "what all of them would take.",
        ),
        Suite(
            "large",
            "a noisy signal smoothed by L-BFGS, an @njit function",
            "apart",
            "Results are losses. Both stop at a gradient of 1e-3.",
        ),
        Suite(
            "rules",
            "one step of an optimizer for so many parameters, in float64",
            "apart",
            "Results are of three steps. rate: what a step has to read and write. NumPy: the "
            "formula as one writes it, where there is no PyTorch.",
        ),
        Suite("kernels", "layers of a network, in float32", "apart"),
        Suite(
            "digits",
            "solves that go on to the last digit, gtol = 0 and ftol = 0",
            "digits",
            "NIST's fits (Gauss1, Thurber) are certified to eleven.",
        ),
    )
}
