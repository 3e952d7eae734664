"""Numbers as text."""

import pytest

from fastopt.commands.quantities import duration, three_digits, times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.0, "2.00 s"),
        (123.4, "123 s"),
        (0.0123, "12.3 ms"),
        (9.999e-4, "1,000 µs"),
        (4.56e-6, "4.56 µs"),
        (7.8e-8, "78.0 ns"),
        (9.9999e-3, "10.0 ms"),
    ],
)
def test_durations_have_three_digits_and_a_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("gain", "text"), [(1834.2, "1,834x"), (23.46, "23.5x"), (0.084, "0.08x")])
def test_gains_have_at_most_two_decimals(gain, text):
    assert times(gain) == text


def test_nothing_has_no_digits_behind_the_point():
    assert three_digits(0.0) == "0"
