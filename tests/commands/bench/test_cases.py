"""How answers are compared."""

import numpy as np
import pytest

from fastopt.commands.bench.cases import apart_by_at_most, right_digits


@pytest.mark.parametrize(("error", "agree"), [(0.9e-6, True), (1.1e-6, False)])
def test_arrays_agree_up_to_the_tolerance_relative_to_the_largest_entry(error, agree):
    theirs = np.array([1e3, 1.0])
    answers = apart_by_at_most(1e-6)(theirs + np.array([0.0, 1e3 * error]), theirs)
    assert answers.agree is agree
    assert answers.numbers["apart"] == pytest.approx(error, rel=1e-6)


def test_of_several_arrays_the_worst_counts():
    one, other = np.ones(3), np.full(2, 8.0)
    assert apart_by_at_most(0.1)((one, other), (one, 2 * other)).numbers == {"apart": 0.5}


def test_what_is_not_finite_does_not_agree():
    nan = np.full(2, np.nan)
    assert not apart_by_at_most(1e-6)(np.ones(2), nan).agree
    assert not right_digits(np.ones(2), 4.0)(np.ones(2), nan).agree


def test_digits_are_those_of_the_worst_variable_and_a_point_without_error_has_fifteen():
    compare = right_digits(np.array([200.0, 0.0]), needed=4.0)
    answers = compare(np.array([200.0, 0.0]), np.array([200.0 + 2e-4, 1e-7]))
    assert answers.numbers == {"fastopt": 15.0, "peer": pytest.approx(6.0)}
    assert answers.agree


def test_without_a_peer_digits_are_fastopts_alone():
    answers = right_digits(np.ones(1), needed=4.0)(np.ones(1) + 1e-5, None)
    assert answers.numbers == {"fastopt": pytest.approx(5.0)}
