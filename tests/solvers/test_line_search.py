"""Properties of the line searches over many functions of one variable."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt.solvers.line_search import search

KINDS = ("hager-zhang", "more-thuente")


def more_thuente_1(a, beta=2.0):
    return -a / (a * a + beta), (a * a - beta) / (a * a + beta) ** 2


def more_thuente_2(a, beta=0.004):
    return (a + beta) ** 5 - 2 * (a + beta) ** 4, 5 * (a + beta) ** 4 - 8 * (a + beta) ** 3


def more_thuente_3(a, beta=0.01, length=39.0):
    if a <= 1 - beta:
        value, slope = 1 - a, -1.0
    elif a >= 1 + beta:
        value, slope = a - 1, 1.0
    else:
        value, slope = (a - 1) ** 2 / (2 * beta) + beta / 2, (a - 1) / beta
    bend = 2 * (1 - beta) / (length * math.pi)
    angle = length * math.pi * a / 2
    return value + bend * math.sin(angle), slope + (1 - beta) * math.cos(angle)


def yanai(a, beta_1, beta_2):
    gamma_1 = math.sqrt(1 + beta_1**2) - beta_1
    gamma_2 = math.sqrt(1 + beta_2**2) - beta_2
    left = math.sqrt((1 - a) ** 2 + beta_2**2)
    right = math.sqrt(a * a + beta_1**2)
    return gamma_1 * left + gamma_2 * right, -gamma_1 * (1 - a) / left + gamma_2 * a / right


# Section 5 of Moré & Thuente (1994), with their constants; and shapes that solvers meet.
FUNCTIONS = {
    "more-thuente 1": (more_thuente_1, 0.001, 0.1),
    "more-thuente 2": (more_thuente_2, 0.1, 0.1),
    "more-thuente 3": (more_thuente_3, 0.1, 0.1),
    "more-thuente 4": (lambda a: yanai(a, 0.001, 0.001), 0.001, 0.001),
    "more-thuente 5": (lambda a: yanai(a, 0.01, 0.001), 0.001, 0.001),
    "more-thuente 6": (lambda a: yanai(a, 0.001, 0.01), 0.001, 0.001),
    "parabola": (lambda a: ((a - 7) ** 2, 2 * (a - 7)), 1e-4, 0.9),
    "quartic": (lambda a: ((a - 3) ** 4, 4 * (a - 3) ** 3), 1e-4, 0.1),
    "exponential wall": (lambda a: (math.exp(a) - 3 * a, math.exp(a) - 3), 1e-4, 0.1),
    "logarithm": (lambda a: (a - 0.01 * math.log(a + 1e-3), 1 - 0.01 / (a + 1e-3)), 1e-4, 0.1),
    "cosine": (lambda a: (math.cos(a + 0.1), -math.sin(a + 0.1)), 1e-4, 0.5),
    "large offset": (lambda a: (1e8 + (a - 1) ** 2, 2 * (a - 1)), 1e-4, 0.1),
}


def wolfe_holds(function, step, c1, c2, tolerance=1e-6):
    """Wolfe's conditions, or Hager and Zhang's approximate ones below the resolution of f."""
    value_0, slope_0 = function(0.0)
    value, slope = function(step)
    if slope < c2 * slope_0:
        return False
    if value <= value_0 + c1 * step * slope_0:
        return True
    resolution = tolerance * abs(value_0)
    return (
        -step * slope_0 <= resolution
        and slope <= (2 * c1 - 1) * slope_0
        and value <= value_0 + resolution
    )


# Its values cannot tell points near the minimum apart: what the approximate conditions are for.
BEYOND_VALUES = [("large offset", "more-thuente")]


@pytest.mark.parametrize("first_step", [1e-3, 1e-1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in FUNCTIONS for kind in KINDS if (name, kind) not in BEYOND_VALUES],
)
def test_accepted_steps_satisfy_the_wolfe_conditions(name, first_step, kind):
    function, c1, c2 = FUNCTIONS[name]
    if name == "exponential wall" and first_step == 1e3:
        first_step = 500.0  # exp(1000) overflows in math
    outcome, step, value, slope, evaluations = search(
        function, *function(0.0), first_step, kind=kind, c1=c1, c2=c2
    )
    assert outcome == "accepted"
    assert evaluations <= 30
    assert (value, slope) == function(step)
    assert wolfe_holds(function, step, c1, c2)
    if kind == "more-thuente":
        assert abs(slope) <= c2 * abs(function(0.0)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_step_that_is_good_enough_costs_one_evaluation(kind):
    outcome, step, *_, evaluations = search(
        lambda a: ((a - 1) ** 2, 2 * (a - 1)), 1.0, -2.0, 1.0, kind=kind
    )
    assert (outcome, step, evaluations) == ("accepted", 1.0, 1)


def test_a_tight_two_sided_curvature_condition_finds_the_minimum_of_a_cubic():
    outcome, step, *_, evaluations = search(
        lambda a: (a**3 / 3 - 4 * a, a * a - 4), 0.0, -4.0, 5.0, kind="more-thuente", c2=1e-3
    )
    assert outcome == "accepted"
    assert step == pytest.approx(2, rel=1e-3)
    assert evaluations <= 6


POLYNOMIALS = st.tuples(
    st.floats(-5, -0.01),  # slope at 0
    st.floats(-3, 3),
    st.floats(-2, 2),
    st.floats(0.01, 3),  # leading coefficient: bounded below
)


@pytest.mark.parametrize("kind", KINDS)
@given(coefficients=POLYNOMIALS, first_step=st.floats(1e-4, 1e4), offset=st.floats(-10, 10))
@settings(max_examples=300, deadline=None)
def test_any_quartic_that_is_bounded_below_has_an_acceptable_step(
    kind, coefficients, first_step, offset
):
    a1, a2, a3, a4 = coefficients

    def quartic(a):
        value = offset + a * (a1 + a * (a2 + a * (a3 + a * a4)))
        return value, a1 + a * (2 * a2 + a * (3 * a3 + a * 4 * a4))

    outcome, step, *_ = search(quartic, *quartic(0.0), first_step, kind=kind, c1=1e-4, c2=0.9)
    assert outcome == "accepted"
    assert wolfe_holds(quartic, step, 1e-4, 0.9)


@given(
    minimum=st.floats(0.01, 100),
    noise=st.floats(1e-12, 1e-8),
    seed=st.integers(0, 2**32 - 1),
    first_step=st.floats(1e-2, 1e2),
)
@settings(max_examples=200, deadline=None)
def test_noise_below_the_resolution_of_values_is_overcome_by_slopes(
    minimum, noise, seed, first_step
):
    rng = np.random.default_rng(seed)

    def noisy(a):
        return 1 + 1e-9 * (a - minimum) ** 2 + noise * rng.uniform(-1, 1), 2e-9 * (a - minimum)

    outcome, step, *_ = search(noisy, *noisy(0.0), first_step)
    assert outcome == "accepted"
    assert 2e-9 * (step - minimum) >= 0.9 * (-2e-9 * minimum)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@given(edge=st.floats(1e-6, 10), share=st.floats(0.05, 0.95), first_step=st.floats(1e-3, 1e6))
@settings(max_examples=200, deadline=None)
def test_a_wall_of_non_finite_values_is_kept_away_from(kind, bad, edge, share, first_step):
    minimum = share * edge

    def walled(a):
        return ((a - minimum) ** 2, 2 * (a - minimum)) if a < edge else (bad, bad)

    outcome, step, value, *_ = search(walled, *walled(0.0), first_step, kind=kind)
    assert outcome == "accepted"
    assert step < edge
    assert value < walled(0.0)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_finite_value_with_a_non_finite_slope_is_not_accepted(kind):
    def half_known(a):
        return (a - 1) ** 2, (2 * (a - 1) if a < 0.5 else math.nan)

    outcome, step, *_ = search(half_known, 1.0, -2.0, 1.0, kind=kind)
    assert outcome == "accepted"
    assert step < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_non_finite_values_is_no_step(kind):
    calls = []

    def nowhere(a):
        calls.append(a)
        return math.nan, math.nan

    outcome, *_, evaluations = search(nowhere, 0.0, -1.0, kind=kind, max_evaluations=25)
    assert outcome == "no step"
    assert len(calls) == evaluations <= 25
    assert calls == sorted(calls, reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_without_evaluations_the_start_is_what_was_found(kind):
    found = search(lambda a: (0.0, 0.0), 2.0, -1.0, kind=kind, max_evaluations=0)
    assert found == ("no step", 0.0, 2.0, -1.0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_minus_infinity_is_bottomless(kind):
    outcome, *_ = search(lambda a: (-math.inf, -1.0), 0.0, -1.0, kind=kind)
    assert outcome == "bottomless"


@pytest.mark.parametrize("kind", KINDS)
def test_a_slope_of_the_wrong_sign_is_no_step(kind):
    outcome, *_, evaluations = search(lambda a: (a, 1.0), 0.0, -1.0, kind=kind, max_evaluations=40)
    assert outcome == "no step"
    assert evaluations <= 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_straight_line_down_is_followed_to_the_largest_step(kind):
    outcome, step, *_ = search(lambda a: (-a, -1.0), 0.0, -1.0, kind=kind, max_step=10.0)
    assert (outcome, step) == ("accepted", 10.0)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_never_exceed_the_largest(kind):
    steps = []

    def recorded(a):
        steps.append(a)
        return (a - 100) ** 2, 2 * (a - 100)

    search(recorded, 1e4, -200.0, 50.0, kind=kind, max_step=20.0, c2=0.1)
    assert max(steps) == 20.0


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_function_raises_comes_out(kind):
    class Broken(Exception):
        pass

    error = Broken("here")

    def broken(a):
        raise error

    with pytest.raises(Broken) as caught:
        search(broken, 1.0, -1.0, kind=kind)
    assert caught.value is error


@pytest.mark.parametrize("kind", KINDS)
@given(
    values=st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        min_size=1,
        max_size=40,
    ),
    first_step=st.floats(1e-300, 1e300),
)
@settings(max_examples=500, deadline=None)
def test_any_nonsense_ends_within_the_evaluations_allowed(kind, values, first_step):
    stream = iter(values * 50)
    outcome, step, *_, evaluations = search(
        lambda a: next(stream), 0.0, -1.0, first_step, kind=kind, max_evaluations=40
    )
    assert outcome in ("accepted", "no step", "bottomless")
    assert evaluations <= 40
    assert step >= 0
