"""In what order libraries are called, and what becomes of their times, by a clock of our own."""

import gc
import warnings

import numpy as np
import pytest

from fastopt.commands.bench import timing
from fastopt.commands.bench.cases import Call, Case, Contest, apart_by_at_most
from fastopt.commands.bench.timing import Timing, measure


def case(ours, theirs, part=1.0):
    def prepare():
        return Contest(Call(ours), {"SciPy": Call(theirs, part)}, apart_by_at_most(1e-6))

    return Case("a row", prepare)


@pytest.fixture
def clock(monkeypatch):
    """Time passes where it is told to."""
    now = [0.0]
    original = timing.Timer
    monkeypatch.setattr(timing, "Timer", lambda call: original(call, timer=lambda: now[0]))

    def taking(seconds, answer=1.0):
        def call():
            now[0] += seconds
            return answer

        return call

    return taking


def test_libraries_take_turns_and_the_ratio_is_taken_round_by_round(clock):
    called = []

    def noted(name, call):
        def noting():
            called.append(name)
            return call()

        return noting

    ours, theirs = noted("fastopt", clock(0.5)), noted("SciPy", clock(2.0))
    row = measure("suite", case(ours, theirs), 3, lambda label: None)
    # To compare answers, to count, and in each of three rounds.
    assert called == ["fastopt", "SciPy"] * 5
    assert row.seconds.rounds == (0.5, 0.5, 0.5)
    (peer,) = row.peers
    assert peer.seconds.median == 2.0
    assert peer.gain == 4.0
    assert peer.gains.rounds == (4.0, 4.0, 4.0)


def test_short_calls_are_repeated_and_the_time_is_of_one(clock):
    ours = clock(timing.SECONDS / 4)
    row = measure("suite", case(ours, clock(1.0)), 2, lambda label: None)
    assert row.seconds.median == pytest.approx(timing.SECONDS / 4)


def test_time_of_a_part_stands_for_the_whole(clock):
    row = measure("suite", case(clock(1.0), clock(0.5), part=0.01), 2, lambda label: None)
    assert row.peers[0].seconds.median == pytest.approx(50.0)
    assert row.peers[0].gain == pytest.approx(50.0)


@pytest.mark.parametrize(("answer", "agree"), [(1.0, True), (1.1, False)])
def test_answers_of_the_first_call_are_compared(clock, answer, agree):
    row = measure("suite", case(clock(1.0), clock(1.0, answer)), 1, lambda label: None)
    assert row.peers[0].answers.agree is agree


def test_every_round_begins_with_the_label_and_so_does_the_preparation(clock):
    labels = []
    measure("suite", case(clock(1.0), clock(1.0)), 4, labels.append)
    assert labels == ["suite: a row"] * 5


def test_warnings_of_a_peer_are_not_shown():
    def warn():
        warnings.warn("precision loss", RuntimeWarning, stacklevel=1)
        return 1.0

    measure("suite", case(lambda: 1.0, warn), 1, lambda label: None)
    assert gc.isenabled()


def test_half_of_the_rounds_lie_between_the_quartiles():
    rounds = tuple(np.random.default_rng(0).permutation(101) / 1.0)
    assert Timing(rounds).quartiles == (25.0, 75.0)
    assert Timing((3.0,)).quartiles == (3.0, 3.0)
