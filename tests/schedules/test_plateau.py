"""A multiplier that falls when a metric does not; beside PyTorch's in test_peers.py."""

import itertools
import math
import pickle

import numpy as np
import pytest

from fastopt.schedules import Plateau


def reported(plateau, metrics):
    return [plateau.report(metric) for metric in metrics]


def test_lowered_at_the_last_of_so_many_reports_without_improvement():
    for patience in (1, 2, 5):
        plateau = Plateau(0.5, patience=patience)
        expected = [1.0, *[1.0] * (patience - 1), 0.5, *[0.5] * (patience - 1), 0.25]
        assert reported(plateau, [1.0] * len(expected)) == expected


def test_improvement_starts_the_count_again():
    plateau = Plateau(0.5, patience=3)
    assert reported(plateau, [3, 3, 3, 2, 2, 2, 1, 1, 1]) == [1.0] * 9
    assert plateau.best == 1.0


def test_improvement_is_relative_whatever_the_sign():
    for best, better, not_better in [(2.0, 1.79, 1.81), (-2.0, -2.21, -2.19)]:
        improving, stale = Plateau(patience=1, threshold=0.1), Plateau(patience=1, threshold=0.1)
        assert reported(improving, [best, better])[-1] == 1.0
        assert reported(stale, [best, not_better])[-1] == 0.1
        assert (improving.best, stale.best) == (better, best)


def test_small_improvements_add_up():
    """The best so far stays where it was until it is improved by the threshold."""
    plateau = Plateau(patience=3, threshold=0.1)
    assert reported(plateau, [1.0, 0.96, 0.92, 0.88, 0.84, 0.80, 0.76]) == [1.0] * 7


def test_reports_while_cooling_are_not_counted():
    plateau = Plateau(0.5, patience=2, cooldown=3)
    found = reported(plateau, [1.0] * 12)
    assert found == [1.0, 1.0, *[0.5] * 5, *[0.25] * 5]


def test_never_below_the_minimum():
    plateau = Plateau(0.1, patience=1, minimum=0.03)
    assert reported(plateau, [1.0] * 5) == [1.0, 0.1, 0.03, 0.03, 0.03]


def test_nan_and_inf_improve_nothing():
    plateau = Plateau(0.5, patience=2)
    assert reported(plateau, [math.nan, math.inf]) == [1.0, 0.5]
    assert reported(plateau, [3.0, math.nan, math.nan]) == [0.5, 0.5, 0.25]
    assert plateau.best == 3.0


def test_minus_infinity_is_the_best_there_is():
    plateau = Plateau(0.5, patience=1)
    assert reported(plateau, [1.0, -math.inf, -math.inf]) == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("k", range(12))
def test_goes_on_from_a_saved_state_as_if_it_had_not_stopped(k, tmp_path):
    metrics = [3.0, 2.0, 2.5, 2.0, 2.5, 1.5, 1.6, 1.6, 1.6, 1.6, 1.6, 1.0]
    options = {"factor": 0.3, "patience": 2, "cooldown": 1}
    whole = reported(Plateau(**options), metrics)
    begun, resumed = Plateau(**options), Plateau(**options)
    reported(begun, metrics[:k])
    np.savez(tmp_path / "state.npz", **begun.state_dict())
    with np.load(tmp_path / "state.npz") as saved:
        resumed.load_state_dict(saved)
    assert resumed.state_dict() == begun.state_dict()
    copied = pickle.loads(pickle.dumps(begun))
    assert reported(resumed, metrics[k:]) == reported(copied, metrics[k:]) == whole[k:]


GOOD = Plateau().state_dict()


@pytest.mark.parametrize(
    ("state", "error", "name"),
    [
        ({**GOOD, "stale": -1}, ValueError, r"state\['stale'\]"),
        ({**GOOD, "stale": 1.5}, ValueError, r"state\['stale'\]"),
        ({**GOOD, "cooling": None}, TypeError, r"state\['cooling'\]"),
        ({**GOOD, "multiplier": 2.0}, ValueError, r"state\['multiplier'\]"),
        ({**GOOD, "multiplier": math.nan}, ValueError, r"state\['multiplier'\]"),
        ({**GOOD, "best": math.nan}, ValueError, r"state\['best'\]"),
        ({**GOOD, "best": "1"}, TypeError, r"state\['best'\]"),
        ({**GOOD, "worst": 1.0}, ValueError, "state"),
        (dict(itertools.islice(GOOD.items(), 3)), ValueError, "state"),
        ({}, ValueError, "state"),
        (3, TypeError, "state"),
    ],
)
def test_refused_state_changes_nothing(state, error, name):
    plateau = Plateau(patience=1)
    reported(plateau, [1.0, 1.0])
    before = plateau.state_dict()
    with pytest.raises(error, match=rf"^`{name}` must "):
        plateau.load_state_dict(state)
    assert plateau.state_dict() == before


@pytest.mark.parametrize("metric", ["1", None, 1j, [1.0, 2.0], np.ones(2), True])
def test_refused_report_changes_nothing(metric):
    plateau = Plateau()
    plateau.report(2.0)
    before = plateau.state_dict()
    with pytest.raises(TypeError, match=r"^`metric` must be a number"):
        plateau.report(metric)
    assert plateau.state_dict() == before


def test_metric_may_be_any_real_number():
    plateau = Plateau()
    for metric in (3, np.float32(2.5), np.array(2.0), np.array([1.5])):
        plateau.report(metric)
    assert plateau.best == 1.5


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("factor", 0.0, ValueError),
        ("factor", 1.0, ValueError),
        ("factor", None, TypeError),
        ("patience", 0, ValueError),
        ("patience", 1.5, ValueError),
        ("threshold", -1.0, ValueError),
        ("threshold", math.inf, ValueError),
        ("cooldown", -1, ValueError),
        ("minimum", 1.5, ValueError),
        ("minimum", "0", TypeError),
    ],
)
def test_bad_argument_is_named(argument, value, error):
    with pytest.raises(error, match=f"^`{argument}` must "):
        Plateau(**{argument: value})


def test_repr_is_how_it_was_made():
    text = "Plateau(0.5, patience=3, threshold=0.01, cooldown=2, minimum=0.125)"
    assert repr(eval(text)) == text
