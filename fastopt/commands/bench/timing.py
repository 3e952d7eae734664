"""Clocks: several libraries in turn, in one process, so that a slow spell meets all of them."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from timeit import Timer
from typing import Any

from fastopt.commands.bench.cases import Answers, Call, Case, Contest, Work

__all__ = ["Peer", "Row", "Timing", "measure"]

# So long is one measurement at least, by as many calls as it takes: above the slices of time that
# a busy machine hands out.
SECONDS = 0.01


@dataclass(frozen=True)
class Timing:
    """One number a round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Half of the rounds lie between them."""
        if len(self.rounds) == 1:
            return self.rounds * 2
        low, _, high = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True)
class Peer:
    """What another library took.

    `gain` is its time over fastopt's, of the two medians; `gains`, round by round, tell how far
    that can be trusted.
    """

    library: str
    seconds: Timing
    gain: float
    gains: Timing
    answers: Answers


@dataclass(frozen=True)
class Row:
    """A case, measured. `answers` are fastopt's alone."""

    suite: str
    name: str
    work: Work | None
    threads: int
    seconds: Timing
    answers: Answers
    peers: tuple[Peer, ...]

    @property
    def rate(self) -> float | None:
        """Of the work, in its unit a second."""
        return None if self.work is None else self.work.amount / self.seconds.median


def measure(suite: str, case: Case, repeats: int, begin: Callable[[str], None]) -> Row:
    """Time everyone in `repeats` rounds, after a warm-up whose answers are compared."""
    label = f"{suite}: {case.name}"
    begin(label)
    with warnings.catch_warnings():
        # A solver that is asked for more than it can do says so; the answers show it.
        warnings.simplefilter("ignore")
        contest = case.prepare()
        calls = {"fastopt": contest.ours, **contest.peers}
        answers = compare_all(contest)
        counts = {library: repetitions(call) for library, call in calls.items()}
        seconds: dict[str, list[float]] = {library: [] for library in calls}
        for _ in range(repeats):
            begin(label)
            for library, call in calls.items():
                seconds[library].append(time_once(call, counts[library]))
    took = {library: Timing(tuple(rounds)) for library, rounds in seconds.items()}
    ours = took.pop("fastopt")
    peers = tuple(
        Peer(
            library,
            theirs,
            theirs.median / ours.median,
            Timing(tuple(each / own for each, own in zip(theirs.rounds, ours.rounds, strict=True))),
            answers[library],
        )
        for library, theirs in took.items()
    )
    return Row(
        suite=suite,
        name=case.name,
        work=case.work,
        threads=case.threads,
        seconds=ours,
        answers=answers["fastopt"],
        peers=peers,
    )


def compare_all(contest: Contest) -> Mapping[str, Answers]:
    ours: Any = contest.ours.function()
    answers = {"fastopt": contest.compare(ours, None)}
    for library, call in contest.peers.items():
        answers[library] = contest.compare(ours, call.function())
    return answers


def repetitions(call: Call) -> int:
    return max(1, math.ceil(SECONDS / Timer(call.function).timeit(1)))


def time_once(call: Call, count: int) -> float:
    """Seconds of the row's work, by `count` calls; the garbage collector is off."""
    return Timer(call.function).timeit(count) / (count * call.part)
