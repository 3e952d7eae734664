"""Rows as if they had been measured."""

from datetime import UTC, datetime

import pytest

from fastopt.commands.bench.cases import Answers, Work
from fastopt.commands.bench.report import Report
from fastopt.commands.bench.timing import Peer, Row, Timing

RIGHT = Answers("9 | 10", agree=True, numbers={"fastopt": 9.5, "peer": 10.1})
WRONG = Answers("9 | 1", agree=False, numbers={"fastopt": 9.5, "peer": 1.2})
ALONE = Answers("9", agree=True, numbers={"fastopt": 9.5})


def peer(library, ours, *rounds, answers=RIGHT):
    gains = Timing(tuple(each / own for each, own in zip(rounds, ours.rounds, strict=True)))
    seconds = Timing(rounds)
    return Peer(library, seconds, seconds.median / ours.median, gains, answers)


@pytest.fixture
def rows():
    """Two of one suite, of which one disagrees with NLopt, and one that nobody else has."""
    ours = Timing((1e-4, 2e-4, 1e-4))
    return [
        Row("latency", "bfgs", None, 1, ours, ALONE, (peer("SciPy", ours, 1e-3, 3e-3, 2e-3),)),
        Row(
            "latency",
            "l-bfgs",
            None,
            1,
            ours,
            ALONE,
            (
                peer("SciPy", ours, 4e-4, 4e-4, 4e-4),
                peer("NLopt", ours, 1e-5, 2e-5, 1e-5, answers=WRONG),
            ),
        ),
        Row("kernels", "conv2d forward", Work(0.5, "GFLOP/s"), 1, ours, Answers("", True), ()),
    ]


@pytest.fixture
def report(rows):
    machine = {"Machine": {"CPU": "Abacus Mark I", "cores": "2, of which this process may use 1"}}
    return Report(rows, datetime(2026, 11, 26, 12, tzinfo=UTC), 3, False, machine)
